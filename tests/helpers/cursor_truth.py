"""Rows that came of Cursor's stores, compared with the truth about these.

Owns what must be in which row of which kind.
Promises to fail on what is missing, on what was never written, and on any field that differs.
Leaves it to the test where the rows come from, and that none is there twice.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

from helpers.cursor import Body, CursorStores

_COMPOSER = ("_v", "createdAt", "lastUpdatedAt", "status", "unifiedMode", "totalLinesAdded",
             "totalLinesRemoved")  # fmt: skip


class Seen(NamedTuple):
    """A row: ``body`` holds its payload and its columns."""

    kind: str
    session: str
    project: str
    turn: str
    at_ms: int
    body: Body


def newest(rows: Iterable[Seen], kind: str, *keys: str) -> dict[Any, Body]:
    """Return the newest row of each item of a kind; ``keys`` name an item."""
    found: dict[Any, Body] = {}
    for row in sorted(rows, key=lambda row: row.at_ms):
        if row.kind == kind:
            body = {**row.body, "session": row.session, "project": row.project, "at_ms": row.at_ms}
            found[tuple(body.get(key) for key in keys)] = body
    return found


def expect_truth(stores: CursorStores, rows: Iterable[Seen]) -> None:
    """Compare the rows with all that was written."""
    rows = list(rows)
    _expect_conversations(stores, rows)
    truth = stores.truth
    blocks = newest(rows, "codeBlockData", "codeblockId")
    assert {key: row["status"] for (key,), row in blocks.items()} == truth.blocks
    generations = {row.turn for row in rows if row.kind == "aiService.generations"}
    assert generations == truth.generations
    assert sum(row.kind == "aiService.prompts" for row in rows) == truth.prompts
    commits = newest(rows, "scored_commits", "commitHash")
    assert {key for (key,) in commits} == truth.commits.keys()
    for (commit,), row in commits.items():
        assert row["humanLinesAdded"] == truth.commits[commit]["humanLinesAdded"]
        assert (row["composerLinesAdded"], row["v2AiPercentage"]) == (20, 66.6)
    lines = newest(rows, "ai_code_hashes", "requestId")
    assert {key: row["items"] for (key,), row in lines.items()} == truth.lines
    assert {row.session for row in rows if row.kind == "chats.meta"} == truth.chats
    assert sum(row.kind == "agentTranscript" for row in rows) == truth.transcript_lines


def _expect_conversations(stores: CursorStores, rows: list[Seen]) -> None:
    truth = stores.truth
    composers = newest(rows, "composerData", "session")
    assert composers.keys() == {(each,) for each in truth.composers}
    for (composer_id,), row in composers.items():
        body = truth.composers[composer_id]
        assert {key: row[key] for key in _COMPOSER} == {key: body[key] for key in _COMPOSER}
        assert row["model"] == body["modelConfig"]["modelName"]
        assert row["project"] == stores.folder.name
    bubbles = newest(rows, "bubbleId", "session", "bubbleId")
    assert bubbles.keys() == truth.bubbles.keys()
    for key, row in bubbles.items():
        _expect_bubble(truth.bubbles[key], row, stores.folder.name)
    headers = newest(rows, "composerHeaders", "session")
    assert {key: row["at_ms"] for (key,), row in headers.items()} == {
        key: body["lastUpdatedAt"] for key, body in truth.composers.items()
    }


def _expect_bubble(body: Body, row: Body, project: str) -> None:
    assert row["type"] == body["type"]
    assert row["text"] == {"chars": len(body["text"])}
    assert row.get("model") == body.get("modelInfo", {}).get("modelName")
    assert row.get("tool_name") == body.get("toolFormerData", {}).get("name")
    tokens = body["tokenCount"]
    known = any(tokens.values())
    assert row.get("input_tokens") == (tokens["inputTokens"] if known else None)
    assert row.get("output_tokens") == (tokens["outputTokens"] if known else None)
    assert row["project"] == project
