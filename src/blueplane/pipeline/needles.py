"""What a session's id, or a project's name, looks like where somebody wrote it down.

Owns the patterns that find it in bytes or in a text, however it is written there.
Promises that an id, or a directory, that only contains it is not taken for it.
Leaves where to look, and what to do about it, to ``places.py``.
"""

import json
import re
import unicodedata
from typing import Final
from urllib.parse import quote

#: A letter before an id may be the end of an escape, as of JSON or of a URI.
_ID_BEGINS: Final = r"(?:(?<![0-9A-Za-z])|(?<=\\[bfnrt])|(?<=%[0-9A-Fa-f]{2}))"
_ID_ENDS: Final = r"(?![0-9A-Za-z])"
_SEPARATOR: Final = rb"(?:[/\\]|%2[Ff]|%5[Cc])"
_NAME_ENDS: Final = rb"(?!\.?[0-9A-Za-z_\x80-\xff-])"


def session_in_bytes(session: str) -> re.Pattern[bytes]:
    """Return what finds the id of a session in raw bytes."""
    return re.compile(_id(session).encode())


def session_in_text(session: str) -> re.Pattern[str]:
    """Return what finds the id of a session in a text."""
    return re.compile(_id(session))


def _id(session: str) -> str:
    return _ID_BEGINS + re.escape(session) + _ID_ENDS


def project_in_bytes(name: str) -> re.Pattern[bytes]:
    """Return what finds the name of a project anywhere, also within a word."""
    return re.compile(_spelled(name))


def project_in_path(name: str) -> re.Pattern[bytes]:
    """Return what finds the name of a project where it is a directory of a path."""
    return re.compile(_SEPARATOR + _spelled(name) + _NAME_ENDS)


def _spelled(name: str) -> bytes:
    """Return a pattern of every way to write a name: composed or not, escaped or not."""
    return b"".join(map(_character, unicodedata.normalize("NFC", name)))


def _character(character: str) -> bytes:
    parts = unicodedata.normalize("NFD", character)
    if parts == character:
        return _ways(character)
    return b"(?:%b|%b)" % (_ways(character), b"".join(map(_ways, parts)))


def _ways(character: str) -> bytes:
    """Return a pattern of a character as it is, as a URI has it and as JSON has it."""
    ways = dict.fromkeys((character, quote(character, safe=""), json.dumps(character)[1:-1]))
    found = [re.escape(way.encode()) for way in ways]
    return found[0] if len(found) == 1 else b"(?i:%b)" % b"|".join(found)
