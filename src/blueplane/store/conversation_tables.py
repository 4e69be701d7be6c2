"""The tables of conversations: turns, responses, tool calls, code changes and what goes with them.

Owns the facts that rows of events say, one record for each table, and how a fact is joined with
what is stored under the same key.
Promises that no order of arrival changes what is stored, and that a fact given twice changes
nothing; but of what only one witness says otherwise than before the first stays.
Leaves what an event means to ``analytics/conversations``, reading to ``conversations.py``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

#: What ``outcome`` says: the ones of the number. Its tens say who saw it, the best witness first,
#: so that the least number is the best answer.
INTERRUPTED: Final = 1
DENIED: Final = 2
FAILED: Final = 3
OK: Final = 4
OUTCOMES: Final[Mapping[int, str]] = {
    INTERRUPTED: "interrupted", DENIED: "denied", FAILED: "failed", OK: "ok"
}  # fmt: skip
#: Parts of what has no id of its own: an event that is all of it, its begin, its end, and a note.
WHOLE: Final = 0
BEGIN: Final = 1
END: Final = 2
NOTE: Final = 3


class TurnFact(NamedTuple):
    """A turn: a prompt, and how the answer to it ended. ``named`` says that the platform has an id.

    ``prompt`` and its words and lines are known at the privacy level ``full`` only.
    """

    key: int
    platform: str
    session_id: str
    agent: str | None
    project: str | None
    named: bool
    evidence: int
    prompt_ms: int | None = None
    prompt_chars: int | None = None
    prompt_words: int | None = None
    prompt_lines: int | None = None
    prompt: str | None = None
    ended_ms: int | None = None
    outcome: int | None = None
    model: str | None = None


class ResponseFact(NamedTuple):
    """A text that an agent answered with; ``turn`` is the key of its turn, where an id says so."""

    key: int
    platform: str
    session_id: str
    turn: int | None
    agent: str | None
    evidence: int
    at_ms: int
    chars: int | None
    model: str | None


class ToolCallFact(NamedTuple):
    """A call of a tool, by the clocks of hooks and of the editor's own store.

    ``target`` is a number of the file or command, from a keyed hash. ``part`` is not ``WHOLE``
    where the call has no id, and this is one event of it.
    """

    key: int
    platform: str
    session_id: str
    turn: int | None
    agent: str | None
    evidence: int
    part: int = WHOLE
    name: str | None = None
    target: int | None = None
    hook_started_ms: int | None = None
    hook_ended_ms: int | None = None
    stored_started_ms: int | None = None
    stored_ended_ms: int | None = None
    duration_ms: int | None = None
    outcome: int | None = None


class CodeChangeFact(NamedTuple):
    """An edit of a file: by a tool call, or, with ``tab``, by a completion.

    ``decision`` is what a person decided of it, as of the row ``decided``. ``old_hash`` and
    ``new_hash`` are of the texts: an edit that is undone has another with these two exchanged.
    """

    key: int
    platform: str
    session_id: str
    turn: int | None
    agent: str | None
    tool: int | None
    evidence: int
    hook_ms: int | None = None
    stored_ms: int | None = None
    file: int | None = None
    extension: str | None = None
    lines_added: int | None = None
    lines_removed: int | None = None
    created: bool | None = None
    tab: bool = False
    old_hash: int | None = None
    new_hash: int | None = None
    decision: str | None = None
    decided: int | None = None


class CompactionFact(NamedTuple):
    """An event of a compaction, which has no id: its begin, its end, or a note of the transcript.

    ``cause`` is ``manual`` or ``auto``.
    """

    key: int
    platform: str
    session_id: str
    evidence: int
    part: int
    at_ms: int
    cause: str | None = None
    tokens_before: int | None = None
    tokens_after: int | None = None


class SubagentFact(NamedTuple):
    """A sub-agent: ``child`` is its id, or that of its own conversation, ``tool`` who called it."""

    key: int
    platform: str
    session_id: str
    turn: int | None
    evidence: int
    part: int = WHOLE
    tool: int | None = None
    child: str | None = None
    type: str | None = None
    started_ms: int | None = None
    ended_ms: int | None = None
    duration_ms: int | None = None
    tool_calls: int | None = None
    outcome: int | None = None


class ContextFact(NamedTuple):
    """How full the context of a conversation was at a time."""

    key: int
    platform: str
    session_id: str
    at_ms: int
    percent: float


class LinesFact(NamedTuple):
    """Lines of a conversation: ``generated`` for a request, or what it ``added`` and took away.

    The latter two are as of the row ``decided``.
    """

    key: int
    platform: str
    session_id: str
    at_ms: int
    generated: int | None = None
    added: int | None = None
    removed: int | None = None
    decided: int | None = None


Fact: TypeAlias = (
    TurnFact | ResponseFact | ToolCallFact | CodeChangeFact | CompactionFact | SubagentFact
    | ContextFact | LinesFact
)  # fmt: skip

#: How a column is joined with what is stored: ``{0}`` is its name.
_FIRST: Final = "coalesce({0}, excluded.{0})"
_LEAST: Final = "coalesce(min({0}, excluded.{0}), {0}, excluded.{0})"
_MOST: Final = "coalesce(max({0}, excluded.{0}), {0}, excluded.{0})"
_ALL: Final = "{0} | excluded.{0}"
#: By the best witness, which either always has a value or never.
_BEST: Final = (
    "CASE WHEN (excluded.evidence & -excluded.evidence) < (evidence & -evidence)"
    " THEN coalesce(excluded.{0}, {0}) ELSE coalesce({0}, excluded.{0}) END"
)
_LATEST: Final = "iif(excluded.decided > coalesce(decided, -1), excluded.{0}, {0})"

#: What is not ``_FIRST``.
_JOINED: Final[Mapping[str, str]] = {
    **dict.fromkeys(("evidence", "named"), _ALL),
    **dict.fromkeys(
        ("prompt_ms", "hook_started_ms", "stored_started_ms", "hook_ms", "stored_ms", "at_ms",
         "started_ms", "outcome"),
        _LEAST,
    ),
    **dict.fromkeys(
        ("percent", "prompt_chars", "prompt_words", "prompt_lines", "ended_ms", "hook_ended_ms",
         "stored_ended_ms", "duration_ms", "chars", "lines_added", "lines_removed", "created",
         "decided", "tool_calls", "generated"),
        _MOST,
    ),
    **dict.fromkeys(("name", "model", "type"), _BEST),
    **dict.fromkeys(("decision", "added", "removed"), _LATEST),
}  # fmt: skip
#: Kinds of the columns that are labels.
_LABELS: Final[Mapping[str, str]] = {
    "agent": "agent", "project": "project", "model": "model", "name": "tool",
    "extension": "extension", "type": "agent_type",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Upsert:
    """The statement that adds facts of one kind; ``labels`` are the places of labels in a row.

    ``holders`` asks of which sessions the rows are that a list of keys names.
    """

    statement: str
    holders: str
    labels: tuple[tuple[int, str], ...]


#: The kind of a fact, and its table.
TABLES: Final[Mapping[Any, str]] = {
    TurnFact: "conversation_turns",
    ResponseFact: "responses",
    ToolCallFact: "tool_calls",
    CodeChangeFact: "code_changes",
    CompactionFact: "compactions",
    SubagentFact: "subagents",
    ContextFact: "context_usage",
    LinesFact: "line_counts",
}


def _upsert(kind: Any, table: str) -> Upsert:  # noqa: ANN401 - a class of facts
    columns = ("key", "session", *kind._fields[3:])
    joined = [f"{name} = {_JOINED.get(name, _FIRST).format(name)}" for name in columns[2:]]
    return Upsert(
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        f" ON CONFLICT (key) DO UPDATE SET {', '.join(joined)}",
        f"SELECT DISTINCT session FROM {table} WHERE key IN (SELECT value FROM json_each(?))",
        tuple((place, _LABELS[name]) for place, name in enumerate(columns) if name in _LABELS),
    )


UPSERTS: Final[Mapping[type, Upsert]] = {
    kind: _upsert(kind, table) for kind, table in TABLES.items()
}


#: Columns of labels: table, column and kind.
LABELLED: Final = tuple(
    (table, column, _LABELS[column])
    for kind, table in TABLES.items()
    for column in kind._fields
    if column in _LABELS
)
#: The table, and when what a row of it says was over.
TIMES: Final[Mapping[str, str]] = {
    "conversation_turns": "coalesce(ended_ms, prompt_ms)",
    "responses": "at_ms",
    "tool_calls": ("coalesce(hook_ended_ms, stored_ended_ms, hook_started_ms, stored_started_ms)"),
    "code_changes": "coalesce(hook_ms, stored_ms)",
    "compactions": "at_ms",
    "subagents": "coalesce(ended_ms, started_ms)",
    "context_usage": "at_ms",
    "line_counts": "at_ms",
}


def by_kind(facts: Iterable[Fact]) -> dict[type, list[Fact]]:
    """Return facts by their kind, in the order in which they came."""
    found: dict[type, list[Fact]] = {}
    for fact in facts:
        found.setdefault(type(fact), []).append(fact)
    return found
