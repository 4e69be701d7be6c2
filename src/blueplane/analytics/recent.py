"""What happens now: the sessions that were used last, what they do, and what the day has cost.

Owns which sessions and which things are recent, and ``Recent``, which looks again and again.
Promises to read a conversation again only when its session went on; one whose last event is said to
be of the future is not recent.
Leaves when to look, health and the screen to the interfaces.
"""

from collections.abc import Iterable
from typing import Any, Final, TypeAlias

from blueplane.analytics.metrics.measure import moments_of, outcome_of
from blueplane.analytics.prices import PriceTable
from blueplane.analytics.usage_report import Priced, figures, total
from blueplane.days import local_day
from blueplane.store import usage_reports
from blueplane.store.conversations import Conversation, ToolCall, Turn, conversation
from blueplane.store.exporting import SessionRow, last_sessions
from blueplane.store.queries import Reader
from blueplane.store.usage_reports import Cell, Scope

Row: TypeAlias = dict[str, Any]

#: Milliseconds after the last event for which a session counts as active.
ACTIVE_MS: Final = 5 * 60_000
#: Sessions, and things that happened in them, that are recent.
SESSIONS: Final = 5
THINGS: Final = 10
#: Figures of a session, and of the day.
_FIGURES: Final = ("calls", "total_tokens", "cost_usd")


class Recent:
    """Looks at what happens; conversations are kept from one look to the next."""

    def __init__(self, prices: PriceTable) -> None:
        self._prices = prices
        self._known: dict[int, tuple[int | None, list[Row]]] = {}

    def look(self, reader: Reader, now_ms: int) -> Row:
        """Return today's figures, the sessions that were used last, and their last things."""
        sessions = last_sessions(reader, now_ms + ACTIVE_MS, SESSIONS)
        self._known = {each.number: self._things(reader, each) for each in sessions}
        things = [thing for _, found in self._known.values() for thing in found]
        things.sort(key=lambda thing: (thing["at_ms"], thing["what"]), reverse=True)
        return {
            "today": self._today(reader, now_ms),
            "sessions": self._sessions(reader, sessions, now_ms),
            "things": things[:THINGS],
        }

    def _today(self, reader: Reader, now_ms: int) -> Row:
        day = local_day(now_ms)
        row = total(reader, Scope(since_day=day, until_day=day), Priced(self._prices))
        return {name: row[name] for name in _FIGURES}

    def _sessions(self, reader: Reader, sessions: Iterable[SessionRow], now_ms: int) -> list[Row]:
        priced = Priced(self._prices)
        cells: dict[int, list[Cell]] = {each.number: [] for each in sessions}
        if cells:
            for cell in usage_reports.cells(reader, "session", Scope(), priced.eras, list(cells)):
                cells[cell.group[0]].append(cell)
        rows = []
        for each in sessions:
            row = figures(cells[each.number], priced)
            rows.append({
                **{name: getattr(each, name) for name in _NAMES},
                "active": _is_active(each, now_ms),
                **{name: row[name] for name in _FIGURES},
            })  # fmt: skip
        return rows

    def _things(self, reader: Reader, session: SessionRow) -> tuple[int | None, list[Row]]:
        known = self._known.get(session.number)
        if known is not None and known[0] == session.last_ms:
            return known
        talk = conversation(reader, session.session_id, session.platform)
        return session.last_ms, [] if talk is None else _last_things(talk)


_NAMES: Final = ("session_id", "platform", "project", "branch", "started_ms", "last_ms")


def _is_active(session: SessionRow, now_ms: int) -> bool:
    """Whether a session was used lately, and did not end since."""
    if session.last_ms is None or now_ms - session.last_ms > ACTIVE_MS:
        return False
    return session.ended_ms is None or session.ended_ms < session.last_ms


def _last_things(talk: Conversation) -> list[Row]:
    """Return the last prompts and tool calls of a conversation."""
    found = [_turn(talk, each) for each in talk.turns[-THINGS:] if each.prompt_ms is not None]
    last_ms = max(moments_of(talk), default=0)
    found += [_tool(talk, each, last_ms) for each in talk.tool_calls[-THINGS:]]
    return [each for each in found if each["at_ms"] is not None]


def _turn(talk: Conversation, turn: Turn) -> Row:
    took = turn.ended_ms - turn.prompt_ms if turn.ended_ms and turn.prompt_ms else None
    return _thing(talk, turn.prompt_ms, "prompt", turn.outcome, took)


def _tool(talk: Conversation, tool: ToolCall, last_ms: int) -> Row:
    return _thing(talk, tool.at_ms, tool.name or "tool", outcome_of(tool, last_ms), tool.took_ms)


def _thing(
    talk: Conversation, at_ms: int | None, what: str, outcome: str | None, took_ms: int | None
) -> Row:
    return {
        "at_ms": at_ms, "session_id": talk.session_id, "platform": talk.platform, "what": what,
        "outcome": outcome, "took_ms": took_ms,
    }  # fmt: skip
