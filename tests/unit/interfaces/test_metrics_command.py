"""``blueplane metrics`` and ``blueplane insights``: each figure the same in every view and form."""

import csv
import io
import json
from collections.abc import Iterator
from contextlib import redirect_stdout
from datetime import datetime, time
from pathlib import Path
from typing import Any

import pytest

from blueplane.analytics.metrics import additions
from blueplane.analytics.metrics.catalogue import figures
from blueplane.analytics.metrics.spans import vector_of
from blueplane.days import date_of, local_day
from blueplane.interfaces.cli import metric_scope, reporting
from blueplane.interfaces.cli.main import main
from blueplane.paths import Home
from blueplane.store.metric_rollups import BoundedScope
from blueplane.store.queries import reading
from helpers.desk import T0_MS, Desk
from helpers.histories import tell_at, tell_days

TODAY = local_day(T0_MS)
#: Days ago on which the story was told: six within the last 30 days, two in those before.
DAYS = (0, 1, 3, 8, 9, 20, 35, 59)
WITHIN = 6
#: Once it went on over midnight, to the first of the last nine days.
MIDNIGHT_MS = round(datetime.combine(date_of(TODAY - 8), time()).timestamp() * 1000)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Give a home with the story of both editors on some days."""
    home = Home(tmp_path_factory.mktemp("told") / "home")
    home.prepare()
    desk = Desk(home.database)
    tell_at(desk, "over", MIDNIGHT_MS - 35_000)
    tell_days(desk, DAYS, T0_MS)
    desk.close()
    return home


@pytest.fixture(autouse=True)
def calendar(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have it be the last day of the story, and third parties be asked for anew."""
    for module in (reporting, metric_scope):
        monkeypatch.setattr(module, "today", lambda: TODAY)
    additions.known_metrics.cache_clear()
    yield
    additions.known_metrics.cache_clear()


def run(home: Home, *arguments: str) -> tuple[int, str]:
    """Return the exit code of a command, and what it prints."""
    out = io.StringIO()
    with redirect_stdout(out):
        code = main([*arguments, "--home", str(home.root)])
    return code, out.getvalue()


def printed(home: Home, *arguments: str) -> str:
    """Return what a command prints; it must succeed."""
    code, text = run(home, *arguments)
    assert code == 0, text
    return text


def answer(home: Home, *arguments: str) -> dict[str, Any]:
    """Return a report as programs get it."""
    found: dict[str, Any] = json.loads(printed(home, *arguments, "--format", "json"))
    return found


def test_metrics_are_those_of_the_catalogue_when_all_are_asked_for(told: Home) -> None:
    """Each with its n; and beside it the figure of the same number of days before."""
    # Given
    with reading(told.database) as reader:
        now = figures(vector_of(reader, BoundedScope(TODAY - 29, TODAY)))
        before = figures(vector_of(reader, BoundedScope(TODAY - 59, TODAY - 30)))
    # When
    found = answer(told, "metrics")
    # Then
    shown = {row["metric"]: (row["value"], row["n"]) for row in found["rows"]}
    assert shown == {name: (each.value, each.n) for name, each in now.items()}
    past = {row["metric"]: (row["before"], row["before_n"]) for row in found["rows"]}
    assert past == {name: (each.value, each.n) for name, each in before.items()}
    days = {"first_day": date_of(TODAY - 29).isoformat(), "last_day": date_of(TODAY).isoformat()}
    assert found["period"] == days
    assert found["metrics"]["error_rate"]["unit"] == "share"


def test_a_score_is_shown_with_its_parts(told: Home) -> None:
    """Each has a line of its own below the score."""
    # Given
    (row,) = answer(told, "metrics", "--metric", "productivity_score")["rows"]
    # When
    lines = printed(told, "metrics", "--metric", "productivity_score").splitlines()
    # Then
    shown = [line.split() for line in lines if line.startswith("  ")]
    assert [name for name, _ in shown] == list(row["parts"])
    assert sum(float(points) for _, points in shown) == pytest.approx(row["value"], abs=0.05)


def test_changes_and_slopes_are_of_the_days_when_there_is_a_period_before(told: Home) -> None:
    """Thrice as many calls as before; better or worse only where one is; n days in a slope."""
    # Given / When
    rows = {row["metric"]: row for row in answer(told, "metrics")["rows"]}
    # Then
    calls, errors = rows["tool_calls"], rows["error_rate"]
    assert calls["change"] == calls["value"] - calls["before"] > 0
    assert calls["change_share"] == pytest.approx((WITHIN + 1) / 2 - 1)
    assert (calls["change_is"], errors["change_is"]) == (None, "same")
    assert (errors["slope_days"], rows["think_time_avg_ms"]["slope_per_day"]) == (WITHIN, 0)
    everything = answer(told, "metrics", "--period", "all")["rows"]
    assert {row["before"] for row in everything} == {None}


@pytest.mark.parametrize("by", ["day", "week", "month", "session", "project", "platform", "tool"])
@pytest.mark.parametrize("period", ["all", "9d"])
def test_groups_sum_to_the_total_when_days_are_grouped(told: Home, by: str, period: str) -> None:
    """In JSON and in CSV, whole months or not."""
    # Given
    asked = ("--metric", "tool_calls", "--period", period)
    (whole,) = answer(told, "metrics", *asked)["rows"]
    # When
    found = answer(told, "metrics", *asked, "--group-by", by)
    text = printed(told, "metrics", *asked, "--group-by", by, "--format", "csv")
    # Then
    table = list(csv.DictReader(io.StringIO(text)))
    assert len(table) == len(found["rows"]) > 1 - (by == "project" or period == "9d")
    assert sum(row["tool_calls"] or 0 for row in found["rows"]) == whole["value"] > 0
    assert sum(int(row["tool_calls"] or 0) for row in table) == whole["value"]
    assert found["total"].get("tool_calls", whole["value"]) == whole["value"]


def test_groups_have_a_few_figures_when_none_are_chosen(told: Home) -> None:
    """Each with its n; a chart has one."""
    # Given / When
    (first, *_) = answer(told, "metrics", "--group-by", "day")["rows"]
    drawn = printed(told, "metrics", "--format", "chart").splitlines()
    # Then
    names = ("error_rate", "acceptance_rate", "lines_net", "productivity_score")
    assert list(first) == ["day", *(key for name in names for key in (name, f"{name}_n"))]
    assert len(drawn) == WITHIN + 1
    assert drawn[-1].startswith("error_rate, ")


def test_groups_of_models_have_their_own_figures_when_asked_for(told: Home) -> None:
    """Calls, tokens and failures of a model; unknown tokens are null."""
    # Given / When
    rows = answer(told, "metrics", "--group-by", "model")["rows"]
    title, *_ = printed(told, "metrics", "--group-by", "model").splitlines()
    # Then
    assert "error_rate" in title  # all that there is of tools of which the model is unknown
    model = next(row for row in rows if row["model"] == "gpt-5")
    assert model["model_calls"] > 0
    assert (model["input_tokens"], model["cache_read_share"]) == (None, None)


@pytest.mark.parametrize("by", ["extension", "pair", "triple", "subagent", "evidence"])
def test_groups_of_parts_have_their_own_figures_when_none_are_chosen(told: Home, by: str) -> None:
    """A row for each part, every one with a figure; a table has the same rows."""
    # Given / When
    rows = answer(told, "metrics", "--group-by", by)["rows"]
    lines = printed(told, "metrics", "--group-by", by).splitlines()
    # Then
    assert len({row[by] for row in rows}) == len(rows) > 0
    assert all(len([each for each in row.values() if each is not None]) > 2 for row in rows)
    assert len(lines) > len(rows)


def test_pages_are_the_newest_when_there_is_a_limit(told: Home) -> None:
    """In the order of time, and the total stays that of all."""
    # Given
    asked = ("metrics", "--group-by", "day", "--metric", "tool_calls")
    # When
    whole, page = answer(told, *asked), answer(told, *asked, "--limit", "2", "--offset", "1")
    # Then
    assert page["rows"] == whole["rows"][-3:-1]
    assert page["total"] == whole["total"]
    sessions = ("metrics", "--group-by", "session", "--metric", "tool_calls")
    assert len(answer(told, *sessions, "--limit", "2", "--offset", "1")["rows"]) == 2
    assert "more rows" in printed(told, *sessions, "--limit", "2")


@pytest.mark.parametrize(
    "arguments",
    [
        (), ("--category", "errors"), ("--group-by", "tool"), ("--group-by", "model"),
        ("--group-by", "session"), ("--category", "latency", "--group-by", "project"),
        ("--format", "chart"), ("--metric", "lines_*", "--format", "chart"),
    ],
)  # fmt: skip
def test_screens_fit_when_the_terminal_has_80_columns(
    told: Home, arguments: tuple[str, ...]
) -> None:
    """The caption may go on in the next line; unknown is a dash."""
    # Given / When
    lines = printed(told, "metrics", *arguments).splitlines()
    # Then
    assert max(len(line) for line in lines[:-1]) <= 80
    assert "None" not in "".join(lines)
    if not arguments:
        assert any(line.startswith("prompt_words_avg") and "–" in line for line in lines)  # noqa: RUF001
        assert any(line.startswith("error_rate") and "same" in line for line in lines)


@pytest.mark.parametrize("command", ["metrics", "insights"])
def test_a_line_says_so_when_a_period_has_no_data(told: Home, command: str) -> None:
    """And programs get no rows; no figure is 0."""
    # Given
    days = ("--since", "1999-01-01", "--until", "1999-12-31")
    # When / Then
    assert printed(told, command, *days).startswith("no figures for 1999-01-01 to 1999-12-31")
    assert answer(told, command, *days)["rows"] == []
    assert len(printed(told, command, *days, "--format", "csv").splitlines()) == 1
    assert printed(told, command, "--since", days[1], "--until", days[1]).startswith(
        "no figures for 1999-01-01; "
    )


@pytest.mark.parametrize("command", ["metrics", "insights"])
def test_a_line_says_so_when_the_store_is_empty(home: Home, command: str) -> None:
    """And the command succeeds; who has asked for everything is not told to ask for it."""
    # Given
    Desk(home.database).close()
    # When
    asked = [printed(home, command), printed(home, command, "--period", "all")]
    # Then
    assert all(each.startswith("no figures for ") for each in asked)
    assert ["--period all" in each for each in asked] == [True, False]
    assert "`blueplane status`" in asked[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("metrics", "--metric", "error_rat"), "did you mean error_rate?"),
        (("metrics", "--category", "error"), "did you mean errors?"),
        (("metrics", "--group-by", "tool", "--metric", "churn_rate"), "no metric 'churn_rate'"),
        (("metrics", "--project", "orchad"), "did you mean orchard?"),
        (("insights", "--platform", "curser"), "did you mean cursor?"),
        (("insights", "--format", "chart"), "insights are no chart"),
    ],
)
def test_one_line_names_the_nearest_when_a_name_is_wrong(
    told: Home, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    """No traceback, and an exit code."""
    # Given / When
    code, text = run(told, *arguments)
    # Then
    error = capsys.readouterr().err
    assert code
    assert text == ""
    assert said in error
    assert error.count("\n") == 1


def test_insights_have_evidence_when_the_figures_are_beyond_thresholds(told: Home) -> None:
    """The most urgent first; each value is the figure that `metrics` shows of the same days."""
    # Given
    shown = {row["metric"]: row for row in answer(told, "metrics")["rows"]}
    # When
    found = answer(told, "insights")
    # Then
    rows = found["rows"]
    order = ["high", "medium", "low"]
    assert [row["priority"] for row in rows] == sorted(
        (row["priority"] for row in rows), key=order.index
    )
    by_rule = {row["rule"]: row for row in rows}
    assert {"edits_rejected", "frequent_compactions", "tool_fails_often"} <= by_rule.keys()
    rejected = by_rule["edits_rejected"]
    assert rejected["value"] == shown["rejection_rate"]["value"] > rejected["threshold"]
    assert rejected["n"] == shown["rejection_rate"]["n"]
    assert rejected["first_day"] == date_of(TODAY - 29).isoformat()
    assert all(row["suggestion"] and row["n"] > 0 for row in rows)
    text = printed(told, "insights")
    assert text.count("Try:") == text.count("Evidence:") == len(rows)
    assert max(map(len, text.splitlines())) <= 80
    assert len(printed(told, "insights", "--format", "csv").splitlines()) == len(rows) + 1


# -- third parties ---------------------------------------------------------------------------------

KETTLES = """
from blueplane.analytics.metrics.catalogue import Figure, Metric
from blueplane.analytics.metrics.vector import total


def _count(vector):
    n = total(vector, "prompts")
    return Figure(n * 2 or None, n)


def _fail(vector):
    raise LookupError("no kettle")


def _leave(vector):
    raise SystemExit("x" * 1_000)


def _wash(vector):
    vector.clear()
    return Figure(1, 1)


KETTLES = Metric("kettles", "tea", "kettles", "exact", "up", _count)
ALL = [
    KETTLES,
    Metric("washed", "tea", "count", "exact", "", _wash),
    Metric("cups", "tea", "count", "exact", "", _count),
    Metric("leaving", "tea", "count", "exact", "", _leave),
    Metric("spilt", "tea", "count", "exact", "down", _fail),
    Metric("endless", "tea", "count", "exact", "", lambda vector: Figure(float("inf"), 1)),
    Metric("error_rate", "tea", "share", "exact", "", _count),
]
"""


def install(directory: Path, name: str, value: str, text: str) -> None:
    """Write what an installer leaves of a package with a metric."""
    (directory / f"{value.partition(':')[0]}.py").write_text(text)
    metadata = directory / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[blueplane.metrics]\n{name} = {value}\n")


def test_metrics_of_others_are_shown_when_a_package_offers_them(
    told: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ours are; one that fails, takes a name, or cannot be loaded is named, and is not fatal.

    Nor does one that changes what it is given change the figures of others.
    """
    # Given
    install(tmp_path, "teahouse", "teahouse_metrics:ALL", KETTLES)
    install(tmp_path, "leaver", "leaver_metrics:ALL", "raise SystemExit(3)")
    install(tmp_path, "stranger", "stranger_metrics:ALL", "ALL = ['error_rate']")
    install(tmp_path, "shouter", "shouter_metrics:ALL", KETTLES.replace('"kettles"', '"A B"'))
    monkeypatch.syspath_prepend(tmp_path)
    prompts = answer(told, "metrics", "--metric", "prompts_per_session")["total"]["prompts"]
    # When
    found = answer(told, "metrics")
    # Then
    rows = {row["metric"]: row for row in found["rows"]}
    assert (rows["kettles"]["value"], rows["kettles"]["unit"]) == (2 * prompts, "kettles")
    assert (rows["washed"]["value"], rows["cups"]["value"]) == (1, 2 * prompts)
    assert {rows[name]["value"] for name in ("spilt", "endless", "leaving")} == {None}
    assert rows["error_rate"]["category"] == "errors"
    broken = {"spilt", "endless", "leaving", "error_rate", "leaver", "stranger", "shouter"}
    assert broken == set(found["broken_metrics"])
    assert len(found["broken_metrics"]["leaving"]) <= 200
    assert "SystemExit" in found["broken_metrics"]["leaver"]
    text = printed(told, "metrics", "--category", "tea")
    assert f"{2 * prompts} kettles" in text
    assert "the metric spilt does not work: LookupError: no kettle" in " ".join(text.split())


def test_explain_names_the_package_when_a_figure_is_of_another(
    told: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only that package knows what the figure is made of; a near name of it is found, too."""
    # Given
    install(tmp_path, "teahouse", "teahouse_figures:ALL", KETTLES)
    monkeypatch.syspath_prepend(tmp_path)
    # When
    codes = [run(told, "explain", f"metrics.{name}")[0] for name in ("kettles", "kettels")]
    # Then
    theirs, near = capsys.readouterr().err.splitlines()
    assert codes == [2, 2]
    assert "metrics.kettles is of the package teahouse" in theirs
    assert "did you mean metrics.kettles" in near


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("metrics", "--metric", "error_rat"), "error_rate"),
        (("metrics", "--category", "error"), "errors"),
        (("metrics", "--group-by", "toool"), "tool"),
        (("insights", "--format", "jsn"), "json"),
        (("insights", "--period", "mont"), "month"),
        (("usage", "dayly"), "daily"),
    ],
)
def test_a_wrong_value_is_a_usage_error_when_it_is_near_one(
    told: Home, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], meant: str
) -> None:
    """Exit code 2, and one line that ends with what was probably meant."""
    # Given / When
    code, _ = run(told, *arguments)
    # Then
    error = capsys.readouterr().err
    assert code == 2
    assert error.endswith(f"did you mean {meant}?\n")
    assert error.count("\n") == 1
