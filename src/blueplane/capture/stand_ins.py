"""Stand-ins: an event without anybody in it, to train compression dictionaries on.

Owns which words of a strict event a dictionary may hold: those of the platforms, none of a user's.
Promises that every id, pseudonym, name and unknown key is replaced by one of the same shape that
only the install's secret leads back to, so that a dictionary learns shapes and no content.
Leaves making an event strict to the sanitiser.
"""

import re
from collections.abc import Set as AbstractSet
from itertools import chain
from string import ascii_lowercase, ascii_uppercase, digits
from typing import Any, Final

from blueplane.capture import vocabulary as words
from blueplane.digests import blake2b
from blueplane.event import COLUMNS

#: Keys of the metadata that are not columns, and the words that may stand there.
METADATA_KEYS: Final = frozenset({"phase", "via", "repaired", "big_numbers", "truncated"})
_WORDS: Final = frozenset(
    chain(
        {"before", "after", "failure", "denied", "claude_code", ""},
        words.KNOWN_TOOLS,
        words.MODEL_SETTING_WORDS,
        *words.ENUMERATIONS.values(),
        *words.LABELS.values(),
    ),
)
_PUBLIC_MODEL: Final = re.compile(
    r"(?:claude|gpt|gemini|grok|composer|cursor|deepseek|kimi|o[1-9])-[a-z0-9.-]{1,40}\Z|default\Z",
)
_PUBLIC_VERSION: Final = re.compile(r"[0-9.]{1,16}\Z")
# Beginnings that are the same for everybody.
_PREFIXES: Final = (
    *("toolu_01", "toolu_", "call-", "call_", "fc_", "msg_01", "msg_", "req_", "agent-", "mcp__"),
    *("p:", "b:", "i:", "k:", "n:"),
)
_ALPHABETS: Final = {
    **dict.fromkeys(ascii_lowercase, ascii_lowercase),
    **dict.fromkeys(ascii_uppercase, ascii_uppercase),
    **dict.fromkeys(digits + "abcdef", digits + "abcdef"),
}


class StandIns:
    """Replaces what is particular in a strict event; ``secret`` has at most 64 bytes."""

    def __init__(self, secret: bytes, known_keys: AbstractSet[str]) -> None:
        self._secret = secret
        self._known_keys = known_keys | METADATA_KEYS | COLUMNS.keys() | {"metadata", "payload"}

    def replace(self, value: Any, key: str = "") -> Any:  # noqa: ANN401 - any JSON value
        """Replace in ``value``, which stands under ``key``."""
        if type(value) is dict:
            return {self._key(name): self.replace(item, name) for name, item in value.items()}
        if type(value) is list:
            return [self.replace(item, key) for item in value]
        if isinstance(value, str) and not _is_public(value, key):
            return self.of(value)
        return value

    def of(self, text: str) -> str:
        """Make the stand-in of one text: the same kind of character at every place."""
        return "\n".join(map(self._line, text.split("\n")))

    def _line(self, text: str) -> str:
        prefix, middle, ending = _split(text)
        noise = blake2b(text.encode("utf-8", "surrogatepass"), key=self._secret).digest()
        disguise = (
            letters[noise[place % len(noise)] % len(letters)]
            for place, letters in enumerate(map(_alphabet, middle))
        )
        return prefix + "".join(disguise) + ending

    def _key(self, key: str) -> str:
        return key if key in self._known_keys else self.of(key)


def _is_public(text: str, key: str) -> bool:
    if key in words.MODELS:
        return _PUBLIC_MODEL.match(text) is not None
    if key in words.VERSIONS:
        return _PUBLIC_VERSION.match(text) is not None
    return text in _WORDS


def _alphabet(character: str) -> str:
    """Return what may stand for a character; punctuation stays."""
    return _ALPHABETS.get(character, character if character.isascii() else ascii_lowercase)


def _split(text: str) -> tuple[str, str, str]:
    prefix = next((prefix for prefix in _PREFIXES if text.startswith(prefix)), "")
    stem, dot, extension = text.rpartition(".")
    if dot and extension in words.EXTENSIONS:
        return prefix, stem[len(prefix) :], dot + extension
    return prefix, text[len(prefix) :], ""
