"""The list of sessions: which is the dearest, by the prices of each call."""

from datetime import UTC, datetime
from typing import Any

import pytest

from blueplane.analytics.prices import load_prices
from blueplane.analytics.session_report import sessions
from blueplane.store.session_list import Wanted
from blueplane.store.usage_reports import Scope
from helpers.desk import Desk, answer, read

#: A price changes on this day.
T_MS = int(datetime(2026, 10, 7, 12, tzinfo=UTC).timestamp() * 1000)
DAY_MS = 86_400_000


def of_session(number: int, name: str, model: str, tokens: Any, days: int = 0) -> Any:
    """Make a call of a session: input, output, cache read and cache creation tokens."""
    at_ms = T_MS + days * DAY_MS
    return answer(
        number, tokens, session_id=name, project="one" if number % 2 else "other",
        metadata={"model": model}, timestamp_ms=at_ms, captured_ns=at_ms * 10**6,
    )  # fmt: skip


@pytest.mark.parametrize("scope", [Scope(), Scope(platform="claude_code"), Scope(project="one")])
@pytest.mark.parametrize("order", ["cost", "tokens"])
def test_sessions_are_in_the_order_of_what_their_rows_say_when_sorted(
    desk: Desk, order: str, scope: Scope
) -> None:
    """Prices differ by model, day, length of the prompt and kind of token; pages follow on."""
    # Given
    desk.tell(
        of_session(1, "cheap-now", "claude-sonnet-5-5", (0, 0, 1_000_000, 0)),
        of_session(3, "dear-then", "claude-sonnet-5-5", (0, 0, 900_000, 0), -2),
        of_session(5, "long", "claude-sonnet-4-5", (220_000, 0, 0, 0)),
        of_session(6, "short", "claude-sonnet-4-5", (190_000, 0, 0, 0)),
        of_session(7, "written", "claude-opus-4-1", (0, 2_000, 0, 30_000)),
        of_session(8, "cheap-now", "claude-opus-4-1", (0, 2_000_000, 0, 0)),
        of_session(9, "unpriced", "nobody-1", (800_000, 0, 0, 0)),
    )
    ask = Wanted(scope, order=order)
    name = "cost_usd" if order == "cost" else "total_tokens"
    # When
    whole = read(desk, lambda reader: sessions(reader, ask, load_prices(), T_MS)).rows
    part = ask._replace(limit=2, offset=1)
    page = read(desk, lambda reader: sessions(reader, part, load_prices(), T_MS))
    # Then
    amounts = [row[name] or 0 for row in whole if row["calls"]]
    assert amounts == sorted(amounts, reverse=True)
    assert len(amounts) == len(set(amounts)) == (5 if scope.project else 6)
    assert (page.rows, page.more) == (whole[1:3], True)
