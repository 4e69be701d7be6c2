"""Reports of usage: one total in all views, nothing of what is unknown, and blocks."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest

from blueplane.analytics import blocks
from blueplane.analytics.blocks import by_block, current
from blueplane.analytics.paging import Page
from blueplane.analytics.prices import PriceTable, load_prices
from blueplane.analytics.usage_report import VIEWS, Report, by_session, by_view
from blueplane.clock import MS_PER_HOUR
from blueplane.days import date_of, day_of
from blueplane.store.usage_reports import Scope, spans
from helpers.desk import Desk, answer, hook, read

ALL = Page()
#: Half an hour before the price of a model changes, by UTC; in the zone below it has.
T_MS = int(datetime(2026, 10, 6, 23, 30, tzinfo=UTC).timestamp() * 1000)
PRICES = load_prices()
FIGURES = ("calls", "total_tokens", "cost_usd", "unpriced_calls")


@pytest.fixture(autouse=True)
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have days of half an hour's difference: hours are of two of them."""
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    yield
    os.environ.pop("TZ")
    time.tzset()


def call(number: int, minutes: float = 0, tokens: Any = (1000, 100, 50, 20), **changes: Any) -> Any:
    """Make a call so many minutes after the first."""
    at_ms = T_MS + round(minutes * 60_000)
    return answer(
        number, tokens, **{"timestamp_ms": at_ms, "captured_ns": at_ms * 10**6, **changes}
    )


def of_model(name: str) -> dict[str, Any]:
    """Return what makes a call one of a model."""
    return {"metadata": {"model": name}}


def report(desk: Desk, view: str, scope: Scope = Scope(), page: Page = ALL) -> Report:  # noqa: B008
    """Return a report of any view."""
    if view == "session":
        return read(desk, lambda reader: by_session(reader, scope, PRICES, page))
    if view == "blocks":
        return read(desk, lambda reader: by_block(reader, scope, PRICES, page, T_MS))
    return read(desk, lambda reader: by_view(reader, view, scope, PRICES, page))


def fill(desk: Desk) -> None:
    """Write calls of two platforms, some without a price, and one without tokens."""
    desk.tell(
        *(
            call(
                number, number * 47, session_id=f"s{number % 4}", project=f"p{number % 3}",
                **of_model(("claude-sonnet-5-5", "claude-opus-4-1", "llama")[number % 3]),
            )
            for number in range(40)
        ),
        hook(90, "stop", "turn_end", "cursor", turn_id="g1", session_id="c", timestamp_ms=T_MS),
        hook(91, "stop", "turn_end", "cursor", turn_id="g2", session_id="c", timestamp_ms=T_MS,
             metadata={"model": "gpt-5", "input_tokens": 70, "output_tokens": 7}),
    )  # fmt: skip


@pytest.fixture(scope="module")
def seasons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Give a store with calls of half a year, around the day on which a price changes."""
    desk = Desk(tmp_path_factory.mktemp("seasons") / "telemetry.db")
    models = ("claude-sonnet-5-5", "claude-opus-4-1", "llama")
    desk.tell(
        *(
            call(n, (n - 90) * 1441 * 1.3, (n, 0, 7 * n, 1), project=f"p{n % 2}",
                 **of_model(models[n % 3]))
            for n in range(150)
        )
    )  # fmt: skip
    yield desk
    desk.close()


@pytest.mark.parametrize(
    "scope",
    [
        Scope(),
        Scope(since_day=day_of(datetime(2026, 10, 7, tzinfo=UTC).date())),
        Scope(until_day=day_of(datetime(2026, 10, 7, tzinfo=UTC).date())),
        Scope(platform="claude_code"),
        Scope(project="p1"),
    ],
)
def test_every_view_has_the_same_total_when_it_is_of_the_same_calls(
    desk: Desk, scope: Scope
) -> None:
    """In tokens and in money, whatever is filtered: rows sum to the total, and totals are equal."""
    # Given
    fill(desk)
    # When
    found = {view: report(desk, view, scope) for view in (*VIEWS, "session", "blocks")}
    # Then
    totals = [each.total for each in found.values()]
    assert all(total == totals[0] for total in totals)
    assert totals[0]["calls"]
    for each in found.values():
        for key in ("calls", "input_tokens", "total_tokens", "unpriced_calls"):
            assert sum(row[key] or 0 for row in each.rows) == totals[0][key]
        pico = sum(round((row["cost_usd"] or 0) * 10**12) for row in each.rows)
        assert pico == round((totals[0]["cost_usd"] or 0) * 10**12)


@pytest.mark.parametrize("since", [None, (8, 1), (8, 2), (9, 30), (10, 7), (10, 8), (11, 1)])
@pytest.mark.parametrize("until", [None, (10, 6), (10, 7), (10, 31), (11, 30), (12, 1)])
def test_months_and_days_give_the_total_of_the_days_when_a_span_is_long(
    seasons: Desk, since: tuple[int, int] | None, until: tuple[int, int] | None
) -> None:
    """Whole months are read as such, but not one within which a price changes."""
    # Given
    ends = [None if each is None else day_of(date(2026, *each)) for each in (since, until)]
    scope = Scope(*ends)
    # When
    found = {view: report(seasons, view, scope) for view in VIEWS}
    # Then
    assert all(each.total == found["daily"].total for each in found.values())
    for each in found.values():
        assert sum(row["calls"] for row in each.rows) == found["daily"].total["calls"]
    assert found["monthly"].rows == sorted(found["monthly"].rows, key=lambda row: row["month"])


def test_months_are_read_instead_of_days_when_they_are_whole() -> None:
    """Of a span from within one month to within another: the rest of the two, and what cuts."""
    # Given a price that changes on 2026-10-07
    day = [day_of(date(2026, *each)) for each in ((8, 31), (9, 1), (10, 1), (10, 31), (12, 1))]
    # When
    parts = spans(Scope(day[0], day[4]), PRICES.changes())
    # Then
    assert [(table == "usage_days", part[0], part[1]) for table, part in parts] == [
        (True, day[0], day[0]),
        (False, day[1], day[2] - 1),
        (True, day[2], day[3]),
        (False, day[3] + 1, day[4] - 1),
        (True, day[4], day[4]),
    ]


@pytest.mark.parametrize("view", ["daily", "weekly", "monthly"])
def test_a_page_has_the_rows_of_the_whole_when_only_its_days_are_read(
    seasons: Desk, view: str
) -> None:
    """Whatever page; and it says whether there are more rows."""
    # Given
    whole = report(seasons, view)
    rows = whole.rows
    for page in (Page(2), Page(3, 2), Page(2, len(rows) - 1), Page(len(rows)), Page(5, 500)):
        # When
        found = report(seasons, view, page=page)
        # Then
        end = max(0, len(rows) - page.offset)
        assert found.rows == rows[max(0, end - page.limit) : end]
        assert (found.total, found.unpriced) == (whole.total, whole.unpriced)
        assert found.more is (page.offset + len(found.rows) < len(rows))


def test_cost_is_by_the_price_of_the_day_when_it_changes_between_two_calls(desk: Desk) -> None:
    """Days are local ones: a call of the last UTC hour of a day is one of the next day here."""
    # Given two calls that read the same from the cache, the first before the local midnight
    desk.tell(
        call(1, -6 * 60, (0, 0, 1_000_000, 0), **of_model("claude-sonnet-5-5")),
        call(2, 0, (0, 0, 1_000_000, 0), **of_model("claude-sonnet-5-5")),
    )
    # When
    found = report(desk, "daily")
    # Then
    assert [(row["day"], row["cost_usd"]) for row in found.rows] == [
        ("2026-10-06", 0.2), ("2026-10-07", 0.1)
    ]  # fmt: skip
    assert round(found.total["cost_usd"], 12) == 0.3


def test_cache_costs_what_it_was_written_for_when_both_kinds_are_known(desk: Desk) -> None:
    """An hour costs more than five minutes; what is of neither is as of five minutes."""
    # Given
    parts = {"ephemeral_5m_input_tokens": 300_000, "ephemeral_1h_input_tokens": 200_000}
    usage = {"usage": {"cache_creation": parts}}
    desk.tell(call(1, 0, (0, 0, 0, 1_000_000), message=usage, **of_model("claude-opus-4-1")))
    # When
    row = report(desk, "model").total
    # Then
    assert row["cost_usd"] == 0.8 * 18.75 + 0.2 * 30


def test_what_is_unknown_is_none_when_no_call_says_it(desk: Desk) -> None:
    """A call without tokens, or of a model without a price, has a cost that is not 0."""
    # Given
    fill(desk)
    # When
    cursor = report(desk, "model", Scope(platform="cursor"))
    models = {row["model"]: row for row in report(desk, "model").rows}
    # Then
    assert [models["llama"][key] for key in FIGURES] == [13, 13 * 1170, None, 13]
    assert [models[None][key] for key in FIGURES] == [1, None, None, 1]
    assert (cursor.total["unpriced_calls"], cursor.total["reported_cost_usd"]) == (1, None)
    assert report(desk, "daily").unpriced == ["llama"]


def test_nothing_is_of_an_empty_store_when_it_is_asked(desk: Desk) -> None:
    """No rows, no calls, and no figure of anything else."""
    # Given / When
    found = [report(desk, view) for view in (*VIEWS, "session", "blocks")]
    # Then
    for each in found:
        assert each.rows == []
        known = {key for key, value in each.total.items() if value not in (None, [])}
        assert known == {"calls", "final_calls", "unpriced_calls"}


def test_a_page_is_of_the_newest_when_rows_are_limited(desk: Desk) -> None:
    """The total is of all; days stand in order, sessions from the last one used."""
    # Given
    desk.tell(*(call(n, n * 24 * 60, session_id=f"s{n}") for n in range(5)))
    # When
    days = report(desk, "daily", page=Page(2, 1))
    names = report(desk, "session", page=Page(2, 1))
    # Then
    assert [row["day"] for row in days.rows] == ["2026-10-09", "2026-10-10"]
    assert [row["session_id"] for row in names.rows] == ["s3", "s2"]
    assert days.total == names.total
    assert (days.more, names.more, report(desk, "session", page=Page(5)).more) == (
        True,
        True,
        False,
    )


def test_a_week_begins_on_monday_and_a_month_on_its_first_when_days_are_grouped(desk: Desk) -> None:
    """By the local calendar."""
    # Given 2026-10-07, a Wednesday, the Sunday after it, the Monday, and a day of another month
    desk.tell(*(call(n, days * 24 * 60) for n, days in enumerate((0, 4, 5, 30))))
    # When
    weeks = [(row["week"], row["calls"]) for row in report(desk, "weekly").rows]
    months = [(row["month"], row["calls"]) for row in report(desk, "monthly").rows]
    # Then
    assert weeks == [("2026-10-05", 2), ("2026-10-12", 1), ("2026-11-02", 1)]
    assert months == [("2026-10", 3), ("2026-11", 1)]
    assert date_of(0).isoformat() == "1970-01-01"


# --- blocks ---------------------------------------------------------------------------------------


def test_a_block_begins_at_its_full_hour_when_five_hours_have_passed(desk: Desk) -> None:
    """A call at the end of a block begins the next one, which need not be at a multiple of five."""
    # Given calls at 23:30, 03:59, 04:00 and 12:00
    desk.tell(*(call(n, minutes) for n, minutes in enumerate((0, 4 * 60 + 29, 4 * 60 + 30, 750))))
    # When
    rows = report(desk, "blocks").rows
    # Then
    hours = [(row["start_ms"] - T_MS) / MS_PER_HOUR for row in rows]
    assert hours == [-0.5, 4.5, 12.5]
    assert [row["calls"] for row in rows] == [2, 1, 1]
    assert [row["active"] for row in rows] == [True, False, False]


def test_a_block_stays_as_it_is_when_only_a_part_of_it_is_asked_for(desk: Desk) -> None:
    """Whose calls began it does not matter: a project's part is in the block of all."""
    # Given
    desk.tell(call(1, 0, project="p1"), call(2, 4 * 60, project="p2"))
    # When
    rows = report(desk, "blocks", Scope(project="p2")).rows
    # Then
    assert [(row["start_ms"], row["calls"]) for row in rows] == [(T_MS - MS_PER_HOUR // 2, 1)]


def test_a_page_has_the_blocks_of_the_whole_when_only_its_days_are_read(desk: Desk) -> None:
    """Blocks that follow each other for days without a pause are told from their first hour."""
    # Given a block a day, days in which each block begins when the one before ends, and Cursor's
    minutes = [n * 1440 for n in range(-9, 0)] + [n * 61 for n in range(60)]
    desk.tell(
        *(call(n, at_m, project=f"p{n % 3}") for n, at_m in enumerate(minutes)),
        *(
            hook(500 + n, "stop", "turn_end", "cursor", turn_id=f"g{n}", session_id="c",
                 timestamp_ms=T_MS + n * 400 * 60_000, metadata={"input_tokens": n})
            for n in range(9)
        ),
    )  # fmt: skip
    for scope in (Scope(), Scope(project="p1"), Scope(platform="claude_code")):
        whole = report(desk, "blocks", scope)
        rows = whole.rows
        for page in (Page(1), Page(3, 2), Page(4, len(rows) - 2), Page(len(rows)), Page(2, 500)):
            # When
            found = report(desk, "blocks", scope, page)
            # Then
            end = max(0, len(rows) - page.offset)
            assert found.rows == rows[max(0, end - page.limit) : end]
            assert found.total == whole.total
            assert found.more is (page.offset + len(found.rows) < len(rows))


def test_blocks_of_two_platforms_are_apart_when_they_overlap(desk: Desk) -> None:
    """What Cursor does begins no block of Claude."""
    # Given
    fill(desk)
    # When
    rows = report(desk, "blocks").rows
    # Then
    assert {row["platform"] for row in rows} == {"claude_code", "cursor"}


def test_the_current_block_tells_where_it_leads_when_it_is_under_way(desk: Desk) -> None:
    """Half of it has passed: by its end twice as much."""
    # Given
    desk.tell(call(1))
    start_ms = T_MS - MS_PER_HOUR // 2
    now_ms = start_ms + MS_PER_HOUR * 5 // 2
    # When
    row = read(desk, lambda reader: current(reader, "claude_code", PRICES, now_ms))
    # Then
    assert (row["start_ms"], row["minutes_left"], row["calls"]) == (start_ms, 150, 1)
    assert row["projected_tokens"] == 2 * row["total_tokens"] == 2 * 1170
    assert row["tokens_per_minute"] == 1170 / 150
    assert row["projected_cost_usd"] == 2 * row["cost_usd"]


def test_the_current_block_is_found_when_there_was_no_pause_for_days(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a block begins depends on the one before it, back to the last pause."""
    # Given calls each fourth hour, so that each block has two of them, and small reads
    monkeypatch.setattr(blocks, "_AT_ONCE", 7)
    desk.tell(*(call(number, -number * 4 * 60) for number in range(62)))
    # When
    row = read(desk, lambda reader: current(reader, "claude_code", PRICES, T_MS))
    # Then
    assert (row["start_ms"], row["calls"]) == (T_MS - MS_PER_HOUR * 9 // 2, 2)


def test_no_block_is_under_way_when_its_five_hours_are_over(desk: Desk) -> None:
    """Also when there never was one."""

    # Given
    def at(now_ms: int) -> Any:
        return read(desk, lambda reader: current(reader, "claude_code", PRICES, now_ms))

    nothing = at(T_MS)
    desk.tell(call(1))
    # When
    over = at(T_MS + 5 * MS_PER_HOUR)
    # Then
    assert (nothing, over) == (None, None)
    assert at(T_MS) is not None


def test_prices_may_have_no_changes_when_all_are_from_ever(desk: Desk) -> None:
    """A table without dates prices every day alike."""
    # Given
    desk.tell(call(1))
    table = PriceTable("2026-01-01", {}, {})
    # When
    found = read(desk, lambda reader: by_view(reader, "daily", Scope(), table, ALL))
    # Then
    assert (found.total["cost_usd"], found.unpriced) == (None, ["claude-opus-4"])
