"""What is stored of transcripts, read from the rows.

Owns the calls that the rows of transcripts tell of, and the counts of their outcomes.
Promises to use the rows alone: neither the worker's tables nor the files.
Leaves comparing to the tests.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import UUID

import orjson

from blueplane.paths import Home
from blueplane.store.codec import load_codec
from helpers.transcripts import Key, Tokens


def rows(home: Home) -> Iterator[dict[str, Any]]:
    """Yield the rows of transcripts, oldest first, with ``payload`` and ``metadata`` parsed."""
    with closing(connect(home)) as connection:
        connection.row_factory = sqlite3.Row
        codec = load_codec(connection)  # type: ignore[arg-type]
        query = "SELECT * FROM raw_traces WHERE source = 'transcript' ORDER BY sequence"
        for row in connection.execute(query):
            event = orjson.loads(codec.decode(row["codec"], row["event_data"]))
            yield {**dict(row), **event}


def calls(home: Home) -> dict[Key, Tokens]:
    """Return the calls that the rows tell of, a replay in a side chain left out."""
    found: dict[Key, Tokens] = {}
    main: set[Key] = set()
    for row in rows(home):
        message = row["payload"].get("message", {})
        if row["hook_type"] != "assistant" or row["model"] == "<synthetic>":
            continue
        nested = message.get("usage", {}).get("cache_creation", {})
        tokens = (
            row["input_tokens"] or 0, row["output_tokens"] or 0, row["cache_creation_tokens"] or 0,
            nested.get("ephemeral_5m_input_tokens", 0), nested.get("ephemeral_1h_input_tokens", 0),
            row["cache_read_tokens"] or 0,
        )  # fmt: skip
        payload = row["payload"]
        key = (message.get("id") or str(UUID(row["event_id"])), payload.get("requestId", ""))
        best = [max(pair) for pair in zip(found.get(key, (0,) * 6), tokens, strict=True)]
        found[key] = (best[0], best[1], best[2], best[3], best[4], best[5])
        if not payload.get("isSidechain"):
            main.add(key)
    messages = {message_id for message_id, _ in main}
    return {key: value for key, value in found.items() if key in main or key[0] not in messages}


def outcomes(home: Home) -> Counter[str]:
    """Return how many lines had which outcome."""
    query = "SELECT outcome, sum(count) FROM outcomes WHERE source = 'transcript' GROUP BY outcome"
    try:
        with closing(connect(home)) as connection:
            return Counter(dict(connection.execute(query)))
    except sqlite3.OperationalError:
        return Counter()  # no database yet


def connect(home: Home) -> sqlite3.Connection:
    """Open the database behind the program's back."""
    return sqlite3.connect(f"file:{home.database}?mode=ro", uri=True, timeout=10)
