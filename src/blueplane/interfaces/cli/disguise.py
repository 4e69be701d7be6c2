"""Other names for what says who somebody is: projects, sessions, branches and ids.

Owns which columns of an export are such names, and their new names.
Promises the same new name for the same old one under one key, and that nobody without the secret
of the install can test a guess.
Leaves everything else as it is.
"""

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from blueplane.digests import blake2b, random_bytes

#: Columns with names, and what their new names begin with.
_NAMES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("session_id", "parent_session_id", "parent_id", "continues"), "session"),
    **dict.fromkeys(("agent_id", "agent"), "agent"),
    "project": "project",
    "branch": "branch",
    "call_id": "call",
}
#: Columns with numbers made of names.
_NUMBERS: Final = frozenset({"key", "tool", "file", "target"})
#: What the name of a tool begins with that somebody else has made.
_FOREIGN_TOOL: Final = "mcp__"
_DIGEST_BYTES: Final = 8
_CACHED: Final = 4096


class Disguise:
    """New names under one key: that of a word, or one that is never used again."""

    def __init__(self, secret: bytes, word: str | None) -> None:
        chosen = random_bytes(_DIGEST_BYTES * 4) if word is None else os.fsencode(word)
        self._key = blake2b(chosen, key=secret, person=b"export").digest()
        self._digest = lru_cache(_CACHED)(self._make)

    def row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row under new names."""
        return {name: self._value(name, value) for name, value in row.items()}

    def _value(self, name: str, value: Any) -> Any:  # noqa: ANN401 - a cell of any type
        if value is None:
            return None
        if name in _NAMES:
            return f"{_NAMES[name]}-{self._digest(_NAMES[name], str(value)).hex()}"
        if name in _NUMBERS:
            return int.from_bytes(self._digest("number", str(value)), "big", signed=True)
        if name == "name" and value.startswith(_FOREIGN_TOOL):
            return f"{_FOREIGN_TOOL}{self._digest('tool', value).hex()}"
        return value

    def _make(self, kind: str, text: str) -> bytes:
        said = f"{kind}\0{text}".encode("utf-8", "surrogatepass")
        return blake2b(said, key=self._key, digest_size=_DIGEST_BYTES).digest()
