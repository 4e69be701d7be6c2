"""Which days are asked for, and the forms of a report."""

import csv
import io
from datetime import date
from typing import Any

import pytest

from blueplane.days import day_of
from blueplane.errors import UsageError
from blueplane.figures import dollars, tokens
from blueplane.interfaces.cli import bars, reporting
from blueplane.interfaces.cli.output import Column, Table
from blueplane.interfaces.cli.reporting import Bars, Shown, read_asked, show, write_csv

#: A Wednesday.
TODAY = day_of(date(2026, 3, 11))
HOSTILE = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\x1b[2J", "a,b", 'a"b', "a\nb", "ordinary"]


@pytest.fixture(autouse=True)
def calendar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have it be a Wednesday."""
    monkeypatch.setattr(reporting, "today", lambda: TODAY)


def asked(**said: Any) -> Any:
    """Read options, those that are not given being as they are by default."""
    none = dict.fromkeys(("since", "until", "period", "platform", "project", "limit"))
    return read_asked({**none, "offset": 0, "form": "table", **said})


def show_all(names: list[str], form: Any, values: list[float | None] | None = None) -> None:
    """Print rows with these names in a form."""
    rows: list[dict[str, Any]] = [
        {"name": name, "cost": cost}
        for name, cost in zip(names, values or [1.0] * len(names), strict=True)
    ]
    table = Table((Column("name", "name"),), rows, {"cost": 1.0})
    drawn = Bars(lambda row: str(row["name"]), lambda row: row["cost"], dollars)
    show(Shown(table, ["name", "cost"], drawn, {"more": 1}, "nothing"), form)


@pytest.mark.parametrize(
    ("said", "days"),
    [
        ({}, (None, None)),
        ({"since": "2026-01-31"}, ("2026-01-31", None)),
        ({"since": "yesterday", "until": "TODAY"}, ("2026-03-10", "2026-03-11")),
        ({"since": "6w", "until": "1d"}, ("2026-01-28", "2026-03-10")),
        ({"period": "today"}, ("2026-03-11", "2026-03-11")),
        ({"period": "yesterday"}, ("2026-03-10", "2026-03-10")),
        ({"period": "week"}, ("2026-03-09", "2026-03-11")),
        ({"period": "month"}, ("2026-03-01", "2026-03-11")),
        ({"period": "year"}, ("2026-01-01", "2026-03-11")),
        ({"period": "7d"}, ("2026-03-05", "2026-03-11")),
        ({"period": "all"}, (None, None)),
    ],
)
def test_days_are_those_that_a_person_means_when_they_are_written(
    said: dict[str, str], days: tuple[str | None, ...]
) -> None:
    """A last span ends today, with it; a week begins on Monday."""
    # Given / When
    found = asked(**said)
    # Then
    wanted = [None if each is None else day_of(date.fromisoformat(each)) for each in days]
    assert [found.since_day, found.until_day] == wanted


@pytest.mark.parametrize(
    "said",
    [
        {"since": "tomorrow"}, {"until": "2026-02-30"}, {"since": "7"}, {"period": "0d"},
        {"period": "fortnight"}, {"since": "2026-03-02", "until": "2026-03-01"},
        {"period": "week", "since": "7d"}, {"since": "\x1b[2J"}, {"since": ""},
    ],
)  # fmt: skip
def test_days_are_refused_when_nobody_can_mean_them(said: dict[str, str]) -> None:
    """In one line that says how days are written."""
    # Given / When / Then
    with pytest.raises(UsageError):
        asked(**said)


@pytest.mark.parametrize(
    ("period", "meant"), [("mont", "month"), ("yestreday", "yesterday"), ("Al", "all")]
)
def test_a_period_names_the_nearest_when_it_is_none(period: str, meant: str) -> None:
    """A slip of the finger is answered with what was probably meant."""
    # Given / When / Then
    with pytest.raises(UsageError, match=rf"is none: did you mean {meant}\?"):
        asked(period=period)


@pytest.mark.parametrize(("form", "limit"), [("table", 30), ("chart", 30), ("json", 0), ("csv", 0)])
def test_rows_are_as_many_as_fit_when_nobody_says(form: str, limit: int) -> None:
    """People get some, programs all; whoever says gets what he says."""
    # Given / When / Then
    assert asked(form=form).limit == limit
    assert asked(form=form, limit=0).limit == 0


@pytest.mark.fault("D6")
def test_csv_has_no_formula_when_a_name_looks_like_one(capsys: pytest.CaptureFixture[str]) -> None:
    """A spreadsheet shows the text; a reader of CSV finds a row for each, nothing steers."""
    # Given / When
    show_all(HOSTILE, "csv")
    # Then
    out = capsys.readouterr().out
    names = [row["name"] for row in csv.DictReader(io.StringIO(out))]
    assert names == ["'=1+1", "'+1", "'-1", "'@SUM(A1)", "\\t=1", "\\x1b[2J", "a,b", 'a"b', "a\\nb",
                     "ordinary"]  # fmt: skip
    assert out.count("\n") == len(HOSTILE) + 1
    assert "\x1b" not in out


def test_csv_says_what_json_says_when_values_are_of_all_kinds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Unknown is empty, a number exact and never a text, a list is one cell."""
    # Given / When
    write_csv(["a", "b", "c", "d", "e"],
              [{"a": None, "b": True, "c": -1.25, "d": ["x", "y"], "e": 2**62}])  # fmt: skip
    # Then
    assert capsys.readouterr().out == "a,b,c,d,e\n,true,-1.25,x; y,4611686018427387904\n"


@pytest.mark.parametrize("form", ["table", "chart", "json"])
def test_a_report_steers_no_terminal_when_names_are_hostile(
    form: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Foreign text is escaped in every form."""
    # Given / When
    show_all(HOSTILE, form)
    # Then
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\t" not in out


def test_a_bar_is_as_long_as_its_value_when_rows_are_drawn(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The largest fills the line, an unknown one has none, and 80 columns are enough."""
    # Given / When
    show_all(["a" * 200, "ü" * 3, "none", "zero"], "chart", [4.0, 2.0, None, 0.0])
    # Then
    first, second, third, fourth = capsys.readouterr().out.splitlines()[:4]
    assert len(first) == 80
    assert 40 < 2 * second.count("█") <= first.count("█") <= 2 * second.count("█") + 1
    assert "–" in third  # noqa: RUF001 - a dash for unknown
    assert "$0.00" in fourth
    assert "█" not in third + fourth


def test_a_bar_is_of_ascii_when_the_output_knows_no_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """An old terminal has no eighths of a cell."""
    # Given
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", out)
    # When
    lines = list(bars.drawn([{"n": 1}, {"n": 2}], lambda _: "x", lambda row: row["n"], dollars))
    # Then
    assert lines[0].endswith("  " + "#" * 35)
    assert lines[1].count("#") == 70


def test_a_report_is_one_line_when_it_has_no_rows(capsys: pytest.CaptureFixture[str]) -> None:
    """People get a sentence; programs an empty answer of the usual form."""
    # Given / When
    for form in ("table", "chart", "csv"):
        show_all([], form)
    # Then
    assert capsys.readouterr().out == "nothing\nnothing\nname,cost\n"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0, "0"), (999, "999"), (1000, "1.000 k"), (999_999, "1.000 M"),  # noqa: RUF001
     (12_346, "12.35 k"), (123_456_789, "123.5 M"), (4_571_000_000, "4.571 G"), (1e16, "10000 T")],
)  # fmt: skip
def test_tokens_have_four_figures_when_they_are_shown(value: float | None, text: str) -> None:
    """So that columns stay narrow; programs get all of them."""
    # Given / When / Then
    assert tokens(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0, "$0.00"), (0.0001, "<$0.01"), (0.005, "$0.01"), (1234.5, "$1,234.50")],  # noqa: RUF001
)
def test_money_that_is_not_nothing_is_not_shown_as_nothing(value: float | None, text: str) -> None:
    """Less than half a cent is less than a cent, and not 0."""
    # Given / When / Then
    assert dollars(value) == text
