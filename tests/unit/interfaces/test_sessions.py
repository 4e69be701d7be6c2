"""``blueplane sessions``: which sessions are listed, with which figures, in which form."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from blueplane.analytics.metrics.catalogue import CATALOGUE
from blueplane.analytics.metrics.vector import merged
from blueplane.analytics.session_report import ORDERS
from blueplane.days import date_of, local_day
from blueplane.errors import BlueplaneError
from blueplane.interfaces.cli import sessions as module
from blueplane.paths import Home
from blueplane.store.metric_rollups import bodies_of_session
from blueplane.store.queries import reading
from blueplane.store.usage_reports import session_number
from helpers.desk import T0_MS, Desk, answer, at
from helpers.told import (
    HOSTILE,
    NOW_MS,
    answered,
    hostile_sessions,
    printed,
    run,
    sessions,
    told,
)

SUMMED = ("calls", "total_tokens", "input_tokens", "output_tokens", "unpriced_calls")
FIRST = date_of(local_day(T0_MS) - 1).isoformat()
SECOND = date_of(local_day(T0_MS)).isoformat()
ALL = ["going-on", "unpriced", "calls", "two-days", "story-claude", "story-cursor"]


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Give a home that knows a session of each kind."""
    return told(tmp_path_factory.mktemp("known"), sessions())


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have it be soon after the last event."""
    monkeypatch.setattr(module, "wall_ms", lambda: NOW_MS)


def names(home: Home, *options: str) -> list[str]:
    """Return the ids of the sessions that are listed."""
    return [row["session_id"] for row in answered(home, "sessions", *options)["rows"]]


def sums(rows: Any) -> list[int]:
    """Return what rows add up to."""
    return [sum(int(row[name] or 0) for row in rows) for name in SUMMED]


@pytest.mark.parametrize(
    "scope",
    [
        (),
        ("--since", SECOND),
        ("--until", FIRST),
        ("--project", "first"),
        ("--project", "second", "--until", FIRST),
        ("--platform", "claude_code"),
        ("--limit", "1", "--offset", "1"),
    ],
)
def test_sessions_sum_to_the_total_of_usage_when_the_same_is_asked(
    known: Home, scope: tuple[str, ...]
) -> None:
    """Tokens and money, in the total of any page, in all rows and in CSV."""
    # Given
    wanted = answered(known, "usage", "model", *scope)["total"]
    whole = [each for each in scope if not each.isdigit() and each not in {"--limit", "--offset"}]
    # When
    answer_ = answered(known, "sessions", *scope)
    rows = answered(known, "sessions", *whole)["rows"]
    table = [*csv.DictReader(io.StringIO(printed(known, "sessions", *whole, "--format", "csv")))]
    # Then
    assert {name: answer_["total"][name] for name in wanted} == wanted
    assert sums([wanted]) == sums(rows) == sums(table)
    assert sum(row["cost_usd"] or 0 for row in rows) == pytest.approx(wanted["cost_usd"] or 0)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ((), ALL),
        (("--since", SECOND), ALL),
        (("--until", FIRST, "--since", FIRST), ["two-days"]),
        (("--project", "second"), ["calls", "two-days"]),
        (("--platform", "cursor"), ["story-cursor"]),
        (("--with-errors",), ["story-claude", "story-cursor"]),
        (("--min-acceptance", "0"), ["story-claude", "story-cursor"]),
        (("--min-acceptance", "50", "--max-acceptance", "50"), ["story-claude", "story-cursor"]),
        (("--min-acceptance", "50.5"), []),
        (("--max-acceptance", "49.5"), []),
        (("--min-productivity", "70"), ["story-claude"]),
        (("--with-errors", "--min-productivity", "100"), []),
        (("--limit", "2", "--offset", "1"), ALL[1:3]),
    ],
)
def test_sessions_are_those_that_have_what_is_asked_for(
    known: Home, options: tuple[str, ...], found: list[str]
) -> None:
    """The newest first; a session without a figure has it neither at least nor at most."""
    # Given / When
    listed = [name for name in names(known, *options) if not name.startswith("0a1b")]
    # Then
    assert listed == found


def test_a_filter_counts_only_what_it_leaves(known: Home) -> None:
    """The total of filtered sessions is that of their rows."""
    # Given / When
    answer_ = answered(known, "sessions", "--with-errors")
    # Then
    assert sums([answer_["total"]]) == sums(answer_["rows"])
    assert answer_["total"]["sessions"] == 2
    assert answer_["total"]["failed"] == sum(row["failed"] for row in answer_["rows"])


@pytest.mark.parametrize("order", ORDERS)
def test_the_most_is_first_when_sorted(known: Home, order: str) -> None:
    """In every order, with what is unknown at the end, and the same sessions in it."""
    # Given
    key = {
        "last": "last_ms", "start": "started_ms", "duration": "duration_ms", "tools": "tool_calls",
        "errors": "failed", "acceptance": "acceptance_rate", "productivity": "productivity_score",
        "tokens": "total_tokens", "cost": "cost_usd",
    }.get(order, order)  # fmt: skip
    # When
    rows = answered(known, "sessions", "--sort", order)["rows"]
    page = names(known, "--sort", order, "--limit", "2", "--offset", "2")
    # Then
    values = [row[key] for row in rows]
    assert [each or 0 for each in values] == sorted((each or 0 for each in values), reverse=True)
    assert page == [row["session_id"] for row in rows[2:4]]


def test_a_session_has_the_figures_of_the_catalogue(known: Home) -> None:
    """What is listed of a session is what its metrics say."""
    # Given
    rows = {row["session_id"]: row for row in answered(known, "sessions")["rows"]}
    with reading(known.database) as reader:
        for name in ("story-claude", "story-cursor"):
            number = session_number(reader, name)
            assert number is not None
            # When
            vector = merged(body for _, body in bodies_of_session(reader, number))
            # Then
            for figure in ("acceptance_rate", "productivity_score", "tool_calls"):
                assert rows[name][figure] == CATALOGUE[figure].make(vector).value, figure
            assert rows[name]["duration_ms"] == vector["session_ms"]["sum"]


def test_it_is_said_how_each_session_ended(known: Home) -> None:
    """As the editor said, by a pause, or not yet."""
    # Given / When
    rows = {row["session_id"]: row["ended_by"] for row in answered(known, "sessions")["rows"]}
    # Then
    assert rows["two-days"] == "logout"
    assert rows["story-claude"] == "idle"
    assert rows["going-on"] == "open"
    assert rows["unpriced"] == "open"


def test_a_session_that_is_not_measured_yet_is_listed_with_its_calls(tmp_path: Path) -> None:
    """Its tokens count at once; its other figures are unknown, not 0."""
    # Given what the worker of usage derived, before the others
    home = told(tmp_path, [answer(1, session_id="one", **at(0))])
    desk = Desk(home.database)
    desk.execute("DELETE FROM session_figures")
    desk.execute("DELETE FROM session_summaries")
    desk.execute("INSERT INTO touched SELECT id, 1 FROM sessions")
    desk.execute("UPDATE sessions SET evidence = 0, started_ms = NULL, last_ms = NULL")
    desk.close()
    for scope in ((), ("--since", FIRST)):
        # When
        (row,) = answered(home, "sessions", *scope)["rows"]
        # Then
        assert (row["total_tokens"], row["prompts"], row["acceptance_rate"]) == (15, None, None)
        assert row["ended_by"] is None
    assert "15" in printed(home, "analyze", "one")


def test_names_steer_nothing_when_they_are_shown(tmp_path: Path) -> None:
    """No escape in a table, no formula in CSV; in JSON the name as it is."""
    # Given
    home = told(tmp_path, hostile_sessions())
    # When
    texts = {form: printed(home, "sessions", "--format", form) for form in ("table", "csv")}
    rows = list(csv.DictReader(io.StringIO(texts["csv"])))
    # Then
    assert not any("\x1b" in text for text in texts.values())
    assert not [row for row in rows if row["project"].startswith(("=", "+", "-", "@"))]
    projects = {row["project"] for row in answered(home, "sessions")["rows"]}
    assert projects == set(HOSTILE)


@pytest.mark.parametrize("form", ["table", "chart"])
def test_one_line_is_said_when_there_is_no_session(tmp_path: Path, form: str) -> None:
    """An empty store is no error."""
    # Given
    home = told(tmp_path, [])
    # When
    text = printed(home, "sessions", "--format", form)
    # Then
    assert text.startswith("no sessions yet")
    assert text.count("\n") == 1
    assert answered(home, "sessions")["rows"] == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--min-acceptance", "60", "--max-acceptance", "50"), "no session can have both"),
        (("--project", "secnd"), "did you mean second?"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(
    known: Home, options: tuple[str, ...], said: str
) -> None:
    """An error of the user's, with what to do."""
    # Given / When
    ended = run(known, "sessions", *options)
    # Then
    assert isinstance(ended.exception, BlueplaneError)
    assert said in str(ended.exception)
