"""Joining what has no id: rows of one conversation that only their times bring together.

Owns the rules by which two rows are of one prompt, one run of a shell, one compaction or one
sub-agent, and by which something belongs to a turn.
Promises the same answer in whatever order rows were stored, and ``joined_by`` ``time`` on all that
an id did not bring together.
Leaves reading rows, and the records that are made of them, to ``conversations.py``.

A row has the columns of its table; labels are texts.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final, TypeAlias

from blueplane.store.conversation_tables import BEGIN, END, NOTE, WHOLE

Row: TypeAlias = dict[str, Any]

#: Milliseconds within which a prompt that has no id is the one that another witness saw.
TWIN_MS: Final = 5_000
#: Milliseconds that a compaction takes at most.
COMPACTING_MS: Final = 600_000

#: How rows of one thing make one: the best of two outcomes is the least, see ``OUTCOMES``.
_LEAST: Final = ("prompt_ms", "outcome")


class Turns:
    """The turns of a conversation in the order of time, and what belongs to which."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = join_turns(rows)
        self._by_key = {key: place for place, row in enumerate(self.rows) for key in row["keys"]}
        asked = [
            (row["prompt_ms"], place)
            for place, row in enumerate(self.rows)
            if row["agent"] is None and row["prompt_ms"] is not None
        ]
        self._times = [at_ms for at_ms, _ in asked]
        self._places = [place for _, place in asked]

    def find(self, key: int | None, at_ms: int | None) -> tuple[int | None, str]:
        """Return the place of a turn, and what told it: its key, or the prompt before a time."""
        if key in self._by_key:
            return self._by_key[key], "id"
        before = bisect_right(self._times, at_ms) if at_ms is not None else 0
        return (self._places[before - 1] if before else None), "time"


def join_turns(rows: Iterable[Row]) -> list[Row]:
    """Join prompts without an id with those of other witnesses, and ends with what they end."""
    turns: list[Row] = []
    ends: list[Row] = []
    asked = _Timed()
    for row in sorted(rows, key=lambda row: (not row["named"], row["evidence"], _turn_ms(row))):
        row |= {"keys": [row["key"]], "joined_by": "id"}
        twin = None if row["named"] else _twin(row, asked)
        if row["prompt_ms"] is None and not row["named"]:
            ends.append(row)
        elif twin is None:
            turns.append(row)
            if row["agent"] is None and row["prompt_ms"] is not None:
                asked.add(row["prompt_ms"], row)
        else:
            _merge(twin, row)
    turns.sort(key=_turn_ms)
    _end_turns(turns, ends)
    return turns


def _end_turns(turns: Iterable[Row], ends: Iterable[Row]) -> None:
    """Join each end that has no id with the turn before it."""
    own = _Timed()
    for turn in turns:
        if turn["agent"] is None:
            own.add(_turn_ms(turn), turn)
    for end in ends:
        before = own.last_until(_turn_ms(end))
        if before is not None:
            _merge(before, end)


class _Timed:
    """Rows in the order of their times: of many, only those near a time are looked at."""

    def __init__(self) -> None:
        self._times: list[int] = []
        self._rows: list[Row] = []

    def add(self, at_ms: int, row: Row) -> None:
        place = bisect_right(self._times, at_ms)
        self._times.insert(place, at_ms)
        self._rows.insert(place, row)

    def last_until(self, at_ms: int) -> Row | None:
        place = bisect_right(self._times, at_ms)
        return self._rows[place - 1] if place else None

    def within(self, at_ms: int, reach_ms: int) -> list[Row]:
        first = bisect_left(self._times, at_ms - reach_ms)
        return self._rows[first : bisect_right(self._times, at_ms + reach_ms)]


def _turn_ms(row: Row) -> int:
    at_ms = row["ended_ms"] if row["prompt_ms"] is None else row["prompt_ms"]
    return int(at_ms or 0)


def _twin(row: Row, asked: _Timed) -> Row | None:
    """Return the turn that another witness saw at the time of a prompt."""
    if row["prompt_ms"] is None:
        return None
    near = [
        (abs(turn["prompt_ms"] - row["prompt_ms"]), turn["key"], turn)
        for turn in asked.within(row["prompt_ms"], TWIN_MS)
        if not turn["evidence"] & row["evidence"]
    ]
    found = min(near, key=itemgetter(0, 1), default=None)
    return found[2] if found else None


def _merge(whole: Row, part: Row) -> None:
    """Add to a row what another one says of the same thing."""
    for name, value in part.items():
        known = whole[name]
        if name in {"keys", "evidence"}:
            whole[name] = known + value if name == "keys" else known | value
        elif known is None:
            whole[name] = value
        elif name in _LEAST and value is not None:
            whole[name] = min(known, value)
    whole["joined_by"] = "time"


def join_calls(rows: Sequence[Row]) -> list[Row]:
    """Leave out what hooks of one tool saw where others saw every call with its id; else join it.

    Of a tool of which no end is ever told nobody knows whether it ended.
    """
    calls = [row | {"ends_told": True} for row in rows if row["part"] == WHOLE]
    return calls or _paired(rows)


def _paired(rows: Iterable[Row]) -> list[Row]:
    """Join each end with the first open begin of the same tool and target before it."""
    ended = {row["name"] for row in rows if row["part"] == END}
    open_ones: defaultdict[Any, deque[Row]] = defaultdict(deque)
    calls: list[Row] = []
    for row in sorted(rows, key=_event_ms):
        row |= {"ends_told": row["name"] in ended}
        alike = open_ones[row["turn"], row["name"], row["target"]]
        if row["part"] == END and alike:
            begun = alike.popleft()
            begun |= {name: row[name] for name in ("hook_ended_ms", "duration_ms", "outcome")}
            begun["joined_by"] = "time"
        else:
            calls.append(row)
            if row["part"] == BEGIN:
                alike.append(row)
    return calls


def _event_ms(row: Row) -> int:
    """Return when the hook ran: at an end the begin is only reckoned."""
    return int(row["hook_ended_ms"] or row["hook_started_ms"] or 0)


def join_changes(rows: Sequence[Row]) -> list[Row]:
    """Give edits the decision of their turn and file, which another witness knows."""
    changes = [row for row in rows if row["decided"] is None]
    edits: dict[tuple[int | None, int | None], list[Row]] = {}
    for row in changes:
        edits.setdefault((row["turn"], row["file"]), []).append(row)
    decided = [row for row in rows if row["decided"] is not None]
    for row in sorted(decided, key=itemgetter("decided", "key")):
        known = edits.get((row["turn"], row["file"])) if row["turn"] is not None else None
        for edit in known or ():
            edit["decision"] = row["decision"]
            edit["evidence"] |= row["evidence"]
        if not known:
            changes.append(row)
    return changes


def join_compactions(rows: Iterable[Row]) -> list[Row]:
    """Join begin, end and note: each of them once, within the time that a compaction takes."""
    found: list[Row] = []
    parts: list[set[int]] = []
    for row in sorted(rows, key=itemgetter("at_ms", "part", "key")):
        last = found[-1] if found else None
        fits = last is not None and row["part"] not in parts[-1] and row["part"] != BEGIN
        if last is not None and fits and row["at_ms"] - last["at_ms"] <= COMPACTING_MS:
            parts[-1].add(row["part"])
            _merge(last, row)
            last["ended_ms"] = row["at_ms"]
        else:
            parts.append({row["part"]})
            ended = row["at_ms"] if row["part"] in {END, NOTE} else None
            found.append(row | {"ended_ms": ended})
    return found


def join_subagents(rows: Sequence[Row]) -> list[Row]:
    """Join the begins and ends of Cursor's: of each type the first with the first, and so on."""
    by_child = {row["child"]: row for row in rows if row["part"] == WHOLE}
    agents = list(by_child.values())
    begins = sorted((r for r in rows if r["part"] == BEGIN), key=itemgetter("started_ms", "key"))
    agents += begins
    open_ones: defaultdict[Any, deque[Row]] = defaultdict(deque)
    for row in begins:
        open_ones[row["type"]].append(row)
    for row in sorted((r for r in rows if r["part"] == END), key=itemgetter("ended_ms", "key")):
        alike = open_ones[row["type"]]
        if alike:
            begun = alike.popleft()
            _take(begun, row)
            begun["joined_by"] = "time"
        else:
            agents.append(row)
    return _without_copies(agents, by_child)


def _take(whole: Row, part: Mapping[str, Any]) -> None:
    for name, value in part.items():
        if whole[name] is None:
            whole[name] = value
    whole["evidence"] |= part["evidence"]


def _without_copies(agents: Sequence[Row], by_child: Mapping[str, Row]) -> list[Row]:
    """Join what hooks say of a sub-agent with what its own conversation says, by its id."""
    kept: list[Row] = []
    for row in agents:
        own = by_child.get(row["child"])
        if row["part"] == WHOLE or own is None:
            kept.append(row)
        else:
            _take(own, row)
            own["joined_by"] = row.get("joined_by", "id")
    return kept
