"""A conversation as it was, read from the derived tables and put together.

Owns what is asked of those tables, and the records of a conversation.
Promises each thing once, with who saw it, and whether it was joined by an id or by the time only.
Leaves adding to ``conversation_tables.py``, joining to ``joining.py``, the order to
``timeline.py``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Final, NamedTuple, TypeVar

from blueplane.store.conversation_tables import OUTCOMES
from blueplane.store.derived import WITNESSES
from blueplane.store.joining import (
    Row,
    Turns,
    join_calls,
    join_changes,
    join_compactions,
    join_subagents,
)
from blueplane.store.reading import Reads

#: Of the two clocks of a tool call the better one first.
_CLOCKS: Final = ("hook", "stored")
_LABEL: Final = "labels."
#: Tables with their columns, ``labels.`` before those that are numbers of labels.
_COLUMNS: Final = {
    "conversation_turns": (
        "key", "labels.agent", "labels.project", "named", "evidence", "prompt_ms", "prompt_chars",
        "prompt_words", "prompt_lines", "prompt", "ended_ms", "outcome", "labels.model",
    ),
    "responses": ("key", "turn", "labels.agent", "evidence", "at_ms", "chars", "labels.model"),
    "tool_calls": (
        "key", "turn", "labels.agent", "evidence", "part", "labels.name", "target",
        "hook_started_ms", "hook_ended_ms", "stored_started_ms", "stored_ended_ms", "duration_ms",
        "outcome",
    ),
    "code_changes": (
        "key", "turn", "labels.agent", "tool", "evidence", "hook_ms", "stored_ms", "file",
        "labels.extension", "lines_added", "lines_removed", "created", "tab", "old_hash",
        "new_hash", "decision", "decided",
    ),
    "compactions": (
        "key", "evidence", "part", "at_ms", "cause", "tokens_before", "tokens_after",
    ),
    "subagents": (
        "key", "turn", "evidence", "part", "tool", "child", "labels.type", "started_ms",
        "ended_ms", "duration_ms", "tool_calls", "outcome",
    ),
}  # fmt: skip


def _select(table: str, given: Sequence[str]) -> tuple[Sequence[str], str]:
    """Return the names of columns, and the SELECT of the rows of a session."""
    names = [name.removeprefix(_LABEL) for name in given]
    columns = [
        f"t.{name}" if name == each else f"(SELECT text FROM labels WHERE id = t.{name})"
        for name, each in zip(names, given, strict=True)
    ]
    return names, f"SELECT {', '.join(columns)} FROM {table} t WHERE session = ? ORDER BY key"


_SELECTS: Final = {table: _select(table, given) for table, given in _COLUMNS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Who saw a thing, and whether what they saw, and its turn, were joined by ``id`` or ``time``.

    ``turn`` is the place of its turn among the turns of the conversation, None before the first.
    """

    seen_by: tuple[str, ...]
    joined_by: str
    turn: int | None
    agent: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn(Seen):
    """A prompt and its answer.

    ``first_ms`` is the first tool call or response after the prompt, ``last_ms`` the last sign of
    life. Words, lines and the text are known at the privacy level ``full`` only.
    """

    project: str | None
    prompt_ms: int | None
    prompt_chars: int | None
    prompt_words: int | None
    prompt_lines: int | None
    prompt: str | None
    first_ms: int | None
    last_ms: int | None
    ended_ms: int | None
    outcome: str | None
    model: str | None
    responses: int
    response_chars: int
    tool_calls: int

    @property
    def at_ms(self) -> int | None:
        """When it was asked; of an answer whose prompt nobody saw, when it ended."""
        return self.ended_ms if self.prompt_ms is None else self.prompt_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Response(Seen):
    """A text that the agent answered with."""

    at_ms: int
    chars: int | None
    model: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall(Seen):
    """A call of a tool.

    ``latency_ms`` is its end less its begin by the same clock, ``duration_ms`` what its editor
    says. ``outcome`` is None where no end was seen; ``ends_told`` says that one would have been.
    """

    key: int
    name: str | None
    target: int | None
    started_ms: int | None
    ended_ms: int | None
    latency_ms: int | None
    duration_ms: int | None
    outcome: str | None
    ends_told: bool

    @property
    def at_ms(self) -> int | None:
        """When it began, or else ended."""
        return self.ended_ms if self.started_ms is None else self.started_ms

    @property
    def took_ms(self) -> int | None:
        """How long it took by a clock that saw both its ends, else as its editor says."""
        return self.duration_ms if self.latency_ms is None else self.latency_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeChange(Seen):
    """An edit of a file; what a person decided is ``accepted``, ``rejected`` or ``undecided``."""

    key: int
    tool: int | None
    at_ms: int
    file: int | None
    extension: str | None
    lines_added: int | None
    lines_removed: int | None
    created: bool | None
    tab: bool
    old_hash: int | None
    new_hash: int | None
    decision: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Compaction(Seen):
    """A compaction of the context."""

    at_ms: int
    ended_ms: int | None
    cause: str | None
    tokens_before: int | None
    tokens_after: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subagent(Seen):
    """A sub-agent; ``child`` is its id, or in Cursor the id of its own conversation."""

    key: int
    tool: int | None
    child: str | None
    type: str | None
    started_ms: int | None
    ended_ms: int | None
    duration_ms: int | None
    tool_calls: int | None
    outcome: str | None

    @property
    def at_ms(self) -> int | None:
        """When it began, or else ended."""
        return self.ended_ms if self.started_ms is None else self.started_ms


_FIELDS: Final[Mapping[type[Seen], Sequence[str]]] = {
    kind: [field.name for field in fields(kind)]
    for kind in (Turn, Response, ToolCall, CodeChange, Compaction, Subagent)
}


class Lines(NamedTuple):
    """Lines that an agent wrote in a conversation, up to a time, and what came of all of them."""

    at_ms: int
    generated: int
    added: int
    removed: int


_S = TypeVar("_S", bound=Seen)


@dataclass(frozen=True, slots=True)
class Conversation:
    """Everything that is known of a conversation, each kind in the order of time.

    ``context`` has how full the context was, as (ms, percent); ``lines`` what its editor counted.
    """

    platform: str
    session_id: str
    turns: tuple[Turn, ...]
    responses: tuple[Response, ...]
    tool_calls: tuple[ToolCall, ...]
    code_changes: tuple[CodeChange, ...]
    compactions: tuple[Compaction, ...]
    subagents: tuple[Subagent, ...]
    context: tuple[tuple[int, float], ...]
    lines: Lines | None = None


def conversation(reader: Reads, session_id: str, platform: str = "") -> Conversation | None:
    """Return a conversation, of any platform if none is named; None when nothing is known of it."""
    found = reader.rows(
        "SELECT id, platform FROM sessions WHERE session_id = ?1 AND ?2 IN ('', platform)"
        " ORDER BY last_ms DESC LIMIT 1",
        (session_id, platform),
    )
    if not found:
        return None
    number, known_platform = found[0]
    return _Maker(reader, number, known_platform, session_id).conversation()


class _Maker:
    """Makes one conversation."""

    def __init__(self, reader: Reads, number: int, platform: str, session_id: str) -> None:
        self._reader = reader
        self._number = number
        self._platform, self._session_id = platform, session_id
        self._turns = Turns(self._rows("conversation_turns"))

    def conversation(self) -> Conversation:
        """Put everything together."""
        responses = _best(self._all(Response, self._rows("responses"), "at_ms"))
        calls = self._all(ToolCall, _timed(join_calls(self._rows("tool_calls"))), "started_ms")
        changes = join_changes(self._rows("code_changes"))
        for row in changes:
            row["at_ms"] = row["stored_ms"] if row["hook_ms"] is None else row["hook_ms"]
        context = self._reader.rows(
            "SELECT at_ms, percent FROM context_usage WHERE session = ? ORDER BY at_ms, key",
            (self._number,),
        )
        return Conversation(
            self._platform,
            self._session_id,
            self._made_turns(responses, calls),
            responses,
            calls,
            self._all(CodeChange, changes, "at_ms"),
            self._all(Compaction, join_compactions(self._rows("compactions")), "at_ms"),
            self._all(Subagent, join_subagents(self._rows("subagents")), "started_ms"),
            tuple(context),
            self._lines(),
        )

    def _lines(self) -> Lines | None:
        """Return what the editor counted; None unless it tells all of it."""
        ((at_ms, *counts),) = self._reader.rows(
            "SELECT max(at_ms), sum(generated), sum(added), sum(removed) FROM line_counts"
            " WHERE session = ?",
            (self._number,),
        )
        return None if None in counts else Lines(at_ms, *counts)

    def _rows(self, table: str) -> list[Row]:
        """Return the rows of a table, in an order that depends on nothing but what they say."""
        names, statement = _SELECTS[table]
        found = self._reader.rows(statement, (self._number,))
        return [dict(zip(names, row, strict=True)) for row in found]

    def _all(self, kind: type[_S], rows: Iterable[Row], time: str) -> tuple[_S, ...]:
        """Make the records of rows, in the order of time."""
        ordered = sorted(rows, key=lambda row: (_moment(row, time) or 0, row["key"]))
        return tuple(
            _made(kind, row, *self._turns.find(row.get("turn"), _moment(row, time)))
            for row in ordered
        )

    def _made_turns(
        self, responses: Sequence[Response], calls: Sequence[ToolCall]
    ) -> tuple[Turn, ...]:
        answers: dict[int | None, list[Response]] = {}
        used: dict[int | None, list[ToolCall]] = {}
        for response in responses:
            answers.setdefault(response.turn, []).append(response)
        for call in calls:
            used.setdefault(call.turn, []).append(call)
        return tuple(
            _made(Turn, row | _reckoned(row, answers.get(place, []), used.get(place, [])), place)
            for place, row in enumerate(self._turns.rows)
        )


def _made(kind: type[_S], row: Row, place: int | None, told_by: str = "id") -> _S:
    """Make a record of a row, whose turn is in a place that an id or its time told."""
    known = row | {
        "seen_by": _witnesses(row["evidence"]),
        "joined_by": "time" if "time" in (told_by, row.get("joined_by")) else "id",
        "turn": place,
        "outcome": OUTCOMES.get((row.get("outcome") or 0) % 10),
    }
    values: dict[str, Any] = {name: known.get(name) for name in _FIELDS[kind]}
    return kind(**values)


@cache
def _witnesses(evidence: int) -> tuple[str, ...]:
    return tuple(name for name, bit in WITNESSES.items() if evidence & bit)


def _moment(row: Row, time: str) -> int | None:
    moment: int | None = row[time]
    return row.get("ended_ms") if moment is None else moment


def _timed(rows: list[Row]) -> list[Row]:
    """Give calls one begin and one end, of the same clock where it has both."""
    for row in rows:
        pairs = [(row[f"{clock}_started_ms"], row[f"{clock}_ended_ms"]) for clock in _CLOCKS]
        whole = [(begun, ended) for begun, ended in pairs if None not in (begun, ended)]
        started, ended = whole[0] if whole else (_first(pairs, 0), _first(pairs, 1))
        latency = max(0, ended - started) if whole else None
        row |= {"started_ms": started, "ended_ms": ended, "latency_ms": latency}
    return rows


def _first(pairs: Iterable[Sequence[Any]], place: int) -> Any:  # noqa: ANN401 - a time or None
    return next((pair[place] for pair in pairs if pair[place] is not None), None)


def _best(responses: Sequence[Response]) -> tuple[Response, ...]:
    """Leave out what hooks say of a turn whose responses the editor stored: some tell the last."""
    stored = {each.turn for each in responses if each.seen_by != ("hook",)}
    return tuple(each for each in responses if each.seen_by != ("hook",) or each.turn not in stored)


def _reckoned(row: Row, answers: Sequence[Response], calls: Sequence[ToolCall]) -> Row:
    """Reckon what the responses and tool calls of a turn say of it."""
    begins = [each.at_ms for each in answers if each.agent is None]
    begins += [each.started_ms for each in calls if each.agent is None and each.started_ms]
    after = [
        at_ms for at_ms in begins if row["prompt_ms"] is not None and at_ms >= row["prompt_ms"]
    ]
    ends = [each.ended_ms for each in calls if each.ended_ms]
    last = [*begins, *ends, *(at_ms for at_ms in (row["prompt_ms"], row["ended_ms"]) if at_ms)]
    return {
        "first_ms": min(after, default=None),
        "last_ms": max(last, default=None),
        "responses": len(answers),
        "response_chars": sum(each.chars or 0 for each in answers),
        "tool_calls": len(calls),
        "model": row["model"] or next((each.model for each in answers if each.model), None),
    }
