"""Joining what has no id: rows of one conversation that only their times bring together.

Owns the rules by which two rows are of one prompt, one run of a shell, one compaction or one
sub-agent, and by which something belongs to a turn.
Promises the same answer in whatever order rows were stored, and ``joined_by`` ``time`` on all that
an id did not bring together.
Leaves reading rows, and the records that are made of them, to ``conversations.py``.

A row has the columns of its table; labels are texts.
"""

from bisect import bisect_right
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
    for row in sorted(rows, key=lambda row: (not row["named"], row["evidence"], _turn_ms(row))):
        row |= {"keys": [row["key"]], "joined_by": "id"}
        twin = None if row["named"] else _twin(row, turns)
        if row["prompt_ms"] is None and not row["named"]:
            ends.append(row)
        elif twin is None:
            turns.append(row)
        else:
            _merge(twin, row)
    turns.sort(key=_turn_ms)
    for end in ends:
        before = [
            turn for turn in turns if turn["agent"] is None and _turn_ms(turn) <= _turn_ms(end)
        ]
        if before:
            _merge(before[-1], end)
    return turns


def _turn_ms(row: Row) -> int:
    at_ms = row["ended_ms"] if row["prompt_ms"] is None else row["prompt_ms"]
    return int(at_ms or 0)


def _twin(row: Row, turns: Iterable[Row]) -> Row | None:
    """Return the turn that another witness saw at the time of a prompt."""
    if row["prompt_ms"] is None:
        return None
    near = [
        (abs(turn["prompt_ms"] - row["prompt_ms"]), turn["key"], turn)
        for turn in turns
        if turn["agent"] is None and turn["prompt_ms"] is not None
        and not turn["evidence"] & row["evidence"]
    ]  # fmt: skip
    found = min(near, key=itemgetter(0, 1), default=None)
    return found[2] if found and found[0] <= TWIN_MS else None


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
    open_ones: list[Row] = []
    calls: list[Row] = []
    for row in sorted(rows, key=_event_ms):
        row |= {"ends_told": row["name"] in ended}
        what = (row["turn"], row["name"], row["target"])
        begun = next((o for o in open_ones if (o["turn"], o["name"], o["target"]) == what), None)
        if row["part"] == END and begun is not None:
            open_ones.remove(begun)
            begun |= {name: row[name] for name in ("hook_ended_ms", "duration_ms", "outcome")}
            begun["joined_by"] = "time"
        else:
            calls.append(row)
            if row["part"] == BEGIN:
                open_ones.append(row)
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
    open_ones = sorted((r for r in rows if r["part"] == BEGIN), key=itemgetter("started_ms", "key"))
    agents += open_ones
    for row in sorted((r for r in rows if r["part"] == END), key=itemgetter("ended_ms", "key")):
        begun = next((each for each in open_ones if each["type"] == row["type"]), None)
        if begun is None:
            agents.append(row)
        else:
            open_ones.remove(begun)
            _take(begun, row)
            begun["joined_by"] = "time"
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
