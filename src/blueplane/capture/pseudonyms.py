"""Keyed hashes: names that say the same thing twice without saying what it is.

Owns the form of every pseudonym: a one-letter prefix for its kind and 12 hex digits of BLAKE2b.
Promises that nobody without the install's secret can test a guess against a pseudonym, and that a
pseudonym is left as it is when it comes by again.
Leaves the choice of what is hashed to the sanitiser.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from blueplane.capture.vocabulary import EXTENSIONS
from blueplane.capture.workspace import normalise
from blueplane.digests import blake2b

#: 48 bits: among 100,000 different texts of one install a chance collision is 1 in 50,000.
DIGEST_BYTES: Final = 6
#: Paths and keys come by many times; longer ones are hashed each time, to bound the memory.
_CACHED: Final = 4096
_MAX_CACHED_CHARS: Final = 512
# A name that begins with its only dot has no extension.
_NO_STEM: Final = frozenset({"", "/", "\\"})
_PSEUDONYM: Final = re.compile(r"[biknp]:[0-9a-f]{12}\Z")


class Pseudonyms:
    """The keyed hashes of one install; ``secret`` has at most 64 bytes."""

    def __init__(self, secret: bytes) -> None:
        self._keyed = blake2b(key=secret, digest_size=DIGEST_BYTES)
        self._short_path = lru_cache(_CACHED)(self._make_path)
        self._short_name = lru_cache(_CACHED)(self._make_name)

    def digest(self, text: str) -> str:
        """Hash ``text``: 12 hex digits."""
        keyed = self._keyed.copy()
        keyed.update(text.encode("utf-8", "surrogatepass"))
        return keyed.hexdigest()

    def path(self, path: str) -> str:
        """Name a path, ``p:0123456789ab.py``: one name for all of its spellings."""
        make = self._short_path if len(path) <= _MAX_CACHED_CHARS else self._make_path
        return make(path)

    def name(self, prefix: str, text: str) -> str:
        """Name anything else, ``<prefix>0123456789ab``."""
        make: Callable[[str, str], str] = (
            self._short_name if len(text) <= _MAX_CACHED_CHARS else self._make_name
        )
        return make(prefix, text)

    def _make_path(self, path: str) -> str:
        stem, _, ending = path.rpartition(".")
        extension = ending.lower() if stem[-1:] not in _NO_STEM else ""
        shown = f".{extension}" if extension in EXTENSIONS else ""
        if not path or _PSEUDONYM.match(path.removesuffix(shown)):
            return path
        return f"p:{self.digest(normalise(path))}{shown}"

    def _make_name(self, prefix: str, text: str) -> str:
        return text if _PSEUDONYM.match(text) else prefix + self.digest(text)
