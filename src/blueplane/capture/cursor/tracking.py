"""Who wrote the lines of commits: the database ``ai-code-tracking.db``.

Owns its two tables, and what is new in them.
Promises a row for each commit that was scored, and for each request that wrote lines.
Leaves opening the file to ``database.py``.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from blueplane.capture.cursor.database import reading
from blueplane.capture.cursor.found import (
    Found,
    Piece,
    Reader,
    latest,
    noted,
    notes_of,
    pieces,
    since,
)
from blueplane.capture.cursor.values import columns, number, taken, time_ms, word
from blueplane.event import Mark


class TrackingReader(Reader):
    """Reads who wrote the lines of each commit; the mark is a rowid and a time."""

    def read(self, mark: Mark) -> Iterator[Piece]:
        """Yield commits scored since, and requests that wrote lines since."""
        since_ms = since(notes_of(mark).get("scored", 0))
        with reading(self._store.path) as database:
            commits = [read_commit(record) for record in database.commits(since_ms)]
            top, records = database.line_groups(mark.offset)
        groups = [read_line_group(record) for record in records]
        scored = latest(since_ms, (each.timestamp_ms for each in commits))
        yield from pieces([*commits, *groups], noted(mark, top, scored=scored))


def read_commit(record: Mapping[str, Any]) -> Found:
    """Read a scored commit: the lines of it by whoever wrote them."""
    commit, branch = word(record.get("commitHash")), word(record.get("branchName"))
    body = {key: item for key, item in record.items() if item is not None}
    body |= {key: share for key in ("v1AiPercentage", "v2AiPercentage")
             if (share := number(record.get(key))) is not None}  # fmt: skip
    return Found(
        kind="scored_commits",
        session_id="",
        identity=("scored", commit, branch),
        body=body,
        timestamp_ms=time_ms(record.get("scoredAt")) or time_ms(record.get("commitDate")),
    )


def read_line_group(record: Mapping[str, Any]) -> Found:
    """Read how many lines AI wrote for one request in files of one kind."""
    keys = ("requestId", "source", "fileExtension", "items")
    body = taken(record, keys)
    if isinstance(body.get("fileExtension"), str):
        body["fileExtension"] = body["fileExtension"].removeprefix(".")
    session_id = word(record.get("conversationId"))
    named = [str(record.get(key)) for key in ("requestId", "source", "model", "fileExtension")]
    return Found(
        kind="ai_code_hashes",
        session_id=session_id,
        identity=("lines", session_id, *named),
        body=body,
        timestamp_ms=time_ms(record.get("lastMs")),
        columns=columns(model=record.get("model")),
    )
