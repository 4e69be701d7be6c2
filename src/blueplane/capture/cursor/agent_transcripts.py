"""Transcripts of Cursor's agents: files of one JSON object a line.

Owns reading whole lines from a byte offset, and what a line says.
Promises that only a regular file is read, reached without a link, and memory for one block.
Leaves where the files are to ``workspaces.py``.
"""

import os
import stat
from collections.abc import Iterator
from typing import Final

from blueplane.capture.cursor.found import (
    Broken,
    Found,
    Piece,
    Reader,
    Thing,
    broken,
    noted,
    pieces,
)
from blueplane.capture.cursor.values import as_object, columns, objects, taken, word
from blueplane.capture.parse import parse_leniently
from blueplane.errors import EditorDatabaseError, MalformedPayloadError
from blueplane.event import Mark

#: Bytes of a transcript that are read at once, which is also the longest line.
BLOCK: Final = 4 * 1024 * 1024

_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ASKED: Final = ("tool_name", "tool_input")


class AgentTranscriptReader(Reader):
    """Reads the whole lines of an agent's transcript; the mark is an offset in bytes."""

    def read(self, mark: Mark) -> Iterator[Piece]:
        """Yield lines that were appended; a file that is shorter than before is begun anew."""
        offset = mark.offset
        while True:
            block, size = self._block(offset)
            if size < offset:
                offset = 0
                continue
            things: list[Thing] = []
            end = block.rfind(b"\n") + 1
            for line in block[:end].split(b"\n")[:-1]:
                if line.strip():
                    things.append(self._read_line(offset, line))
                offset += len(line) + 1
            if not end and len(block) == BLOCK:
                things.append(Broken("agentTranscript", (self._store.item, str(offset)), "",
                                     "too-long", size - offset))  # fmt: skip
                offset = size
            yield from pieces(things, noted(mark, offset))
            if not end:
                return

    def _read_line(self, offset: int, line: bytes) -> Thing:
        try:
            return read_line(self._store.path.stem, self._store.item, offset, line)
        except MalformedPayloadError as error:
            return broken("agentTranscript", f"{self._store.item}:{offset}", line, error)

    def _block(self, offset: int) -> tuple[bytes, int]:
        """Return the bytes from an offset on, as many as are read at once, and the file's size."""
        try:
            descriptor = os.open(self._store.path, _READ)
            try:
                found = os.fstat(descriptor)
                if not stat.S_ISREG(found.st_mode):
                    raise EditorDatabaseError(self._store.path, "no plain file")
                return os.pread(descriptor, BLOCK, offset), found.st_size
            finally:
                os.close(descriptor)
        except OSError as error:
            raise EditorDatabaseError(self._store.path, error.strerror or "unreadable") from error


def read_line(session_id: str, place: str, offset: int, line: bytes) -> Found:
    """Read a line of an agent's transcript, which has no time; raises MalformedPayloadError."""
    body, marks = parse_leniently(line)
    role = word(body.get("role")) or word(body.get("type"))
    parts = objects(as_object(body.get("message")).get("content"))
    kept = taken(body, ("role", "status", "error"))
    kept["message"] = [
        taken(part, ("type", "text"))
        | taken({"tool_name": part.get("name"), "tool_input": part.get("input")}, _ASKED)
        for part in parts
    ]
    tools = [word(part.get("name")) for part in parts if part.get("type") == "tool_use"]
    return Found(
        kind="agentTranscript",
        session_id=session_id,
        identity=("line", place, str(offset), role),
        body={key: item for key, item in kept.items() if item != []},
        columns=columns(tool_name=tools[0] if len(tools) == 1 else None),
        size=len(line),
        marks=marks,
    )
