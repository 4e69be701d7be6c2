"""The worker metrics: what it measures again, what a failure costs, and that all adds up."""

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blueplane.analytics.metrics import worker as module
from blueplane.analytics.metrics.measure import measure
from blueplane.analytics.metrics.spans import vector_of
from blueplane.analytics.metrics.vector import merged
from blueplane.analytics.metrics.worker import Metrics
from blueplane.days import month_of
from blueplane.event import MAX_INT, Event
from blueplane.store import metric_rollups
from blueplane.store.activity import Activity
from blueplane.store.derived import Derivation
from blueplane.store.derived_erasure import DerivedRows
from blueplane.store.metric_rollups import MEASURED, BoundedScope, TouchedError, touch
from helpers.desk import Desk, answer, at, hook, read
from helpers.stories import SESSION, Teller, everything

MONTH = 30 * 24 * 60
#: Platform and project of what is of all of them.
WHOLE = ("", None)
#: The end of November in one zone, the first of December in another.
_BORDER_MS = int(datetime(2026, 11, 30, 12, tzinfo=UTC).timestamp() * 1000)
MONTH_ENDS = {"timestamp_ms": _BORDER_MS, "captured_ns": _BORDER_MS * 10**6}
#: A story of both editors, and calls of two other projects on other days and in another month.
EVENTS = [
    *everything(),
    *(
        answer(n, session_id=f"s-{n % 3}", project=f"p-{n % 2}", **at(n * MONTH / 6))
        for n in range(1, 9)
    ),
]


@pytest.fixture
def told(desk: Desk) -> Desk:
    """Give a store of which everything is derived."""
    desk.tell(*EVENTS)
    return desk


def measured(desk: Desk) -> dict[str, Any]:
    """Return what was measured, by table."""
    derived = desk.derived()
    return {table: derived[table] for table in MEASURED}


def rows_of_parts(found: Sequence[Any]) -> list[Any]:
    """Return the rows of a platform and a project, without those of all of them."""
    return [row for row in found if row[2:4] != WHOLE]


def assert_adds_up(desk: Desk) -> None:
    """Assert that days are the sums of their sessions, and months those of their days.

    Each also for all platforms and projects.
    """
    found = measured(desk)
    sessions, days, months = (
        {tuple(row[:4]): row[4] for row in found[table]}
        for table in ("session_figures", "daily_rollups", "monthly_rollups")
    )
    of_days, of_months = defaultdict(list), defaultdict(list)
    for (_, span, *cell), body in sessions.items():
        of_days[0, span, *cell].append(body)
        of_days[0, span, *WHOLE].append(body)
    for (_, span, *cell), body in days.items():
        of_months[0, month_of(span), *cell].append(body)
    assert days == {cell: merged(bodies) for cell, bodies in of_days.items()}
    assert months == {cell: merged(bodies) for cell, bodies in of_months.items()}


def test_a_month_is_the_sum_of_its_days_and_a_day_that_of_its_sessions(told: Desk) -> None:
    """For each platform and project; and any span is the sum of its days."""
    # Given / When
    found = measured(told)
    # Then
    assert_adds_up(told)
    assert len(found["monthly_rollups"]) < len(found["daily_rollups"])
    spans = sorted({row[1] for row in found["daily_rollups"]})
    for first, last in ((spans[0], spans[-1]), (spans[0] + 1, spans[-1] - 1), (spans[2],) * 2):
        parts = rows_of_parts(found["daily_rollups"])
        whole = merged(row[4] for row in parts if first <= row[1] <= last)
        assert read(told, partial(vector_of, scope=BoundedScope(first, last))) == whole


@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_measuring_in_any_batches_and_orders_is_measuring_anew(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Table by table, as a rebuild from zero of the same rows has it."""
    # Given
    events = data.draw(st.permutations(EVENTS))
    cuts = sorted(data.draw(st.lists(st.integers(1, len(events)), max_size=4)))
    desk = Desk(tmp_path_factory.mktemp("any") / "telemetry.db")
    # When
    for first, last in zip([0, *cuts], [*cuts, len(events)], strict=True):
        desk.tell(*events[first:last])
    # Then
    assert_adds_up(desk)
    before = desk.derived()
    desk.begin_again(emptied=True)
    desk.derive()
    assert desk.derived() == before
    desk.close()


def test_a_session_is_measured_again_when_the_rest_of_its_tool_call_is_of_another_one(
    desk: Desk,
) -> None:
    """Of a fork that was read first, a call has its begin there and its end in the old session."""
    # Given a fork, measured when it had the copy of a call's begin
    fork, old = Teller(session_id="fork"), Teller(session_id="old")
    block = {"type": "tool_use", "id": "t-1", "name": "Bash", "input": {"command": "make"}}
    result = {"type": "tool_result", "tool_use_id": "t-1", "content": "done"}
    desk.tell(fork.line(0, "assistant", message={"id": "m-1", "content": [block]}))
    # When
    desk.tell(old.line(9, "user", message={"content": [result]}))
    # Then
    before = desk.derived()
    ((_, _, _, _, body),) = before["session_figures"]
    assert body["tools"]["Bash"]["ok"] == 1
    desk.begin_again(emptied=True)
    desk.derive()
    assert desk.derived() == before


def test_a_session_is_measured_again_when_it_was_touched_meanwhile(told: Desk) -> None:
    """What was measured before is refused, and stored is what is true in the end."""
    # Given
    before = measured(told)
    told.rebuild(Metrics.name)
    with told.reader() as reader:
        step = Metrics().next(reader)
    # When more is derived of one of them
    touch(told.commits._connection, [1])
    # Then
    with pytest.raises(TouchedError):
        told.commits.derive(Derivation(Metrics.name, None, step.write, told.commits.edition))
    assert measured(told) == {table: [] for table in MEASURED}
    told.derive()
    assert measured(told) == before


def test_the_worker_goes_on_when_a_session_was_touched_meanwhile(
    told: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is no failure of it."""
    # Given a session that is touched while it is measured for the first time
    before = measured(told)
    told.rebuild(Metrics.name)
    meanwhile = [lambda: touch(told.commits._connection, [1])]

    def measure_slowly(activity: Activity) -> Any:
        while meanwhile:
            meanwhile.pop()()
        return measure(activity)

    monkeypatch.setattr(module, "measure", measure_slowly)
    # When
    told.derive()
    # Then
    assert measured(told) == before
    assert told.workers.states()[Metrics.name] == (False, 0, None)
    assert told.execute("SELECT * FROM touched") == []


def test_a_session_that_cannot_be_measured_costs_only_itself(
    told: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no figures, the failure is counted, and all others have theirs."""

    # Given
    def fail(activity: Activity) -> Any:
        if activity.talk.session_id == SESSION:
            raise ZeroDivisionError
        return measure(activity)

    before = measured(told)
    monkeypatch.setattr(module, "measure", fail)
    # When
    told.rebuild(Metrics.name)
    told.derive()
    # Then
    found = measured(told)
    assert found["session_figures"] == [
        row for row in before["session_figures"] if row[0] != SESSION
    ]
    assert_adds_up(told)
    state = told.workers.states()[Metrics.name]
    assert (state.failures, state.last_error) == (1, "ZeroDivisionError")
    assert {mark for _, mark in told.execute("SELECT * FROM watermarks")} == {len(EVENTS)}


@pytest.mark.parametrize(
    ("name", "payload", "metadata"),
    [
        ("afterShellExecution", {"command": "make"}, {"duration_ms": MAX_INT}),
        ("afterFileEdit", {"file_path": "/x/a.py"}, {"lines_added": MAX_INT}),
        ("afterFileEdit", {"file_path": "/x/a.py"}, {"lines_removed": MAX_INT}),
        ("preCompact", {"context_usage_percent": 1e300}, {}),
        ("preCompact", {"context_usage_percent": 1e308}, {}),
        ("beforeSubmitPrompt", {"prompt": {"chars": MAX_INT}}, {}),
    ],
)
def test_nonsense_counts_as_nothing_when_no_sum_could_hold_it(
    desk: Desk, name: str, payload: dict[str, Any], metadata: dict[str, Any]
) -> None:
    """All sessions have their figures, that of the nonsense too, and nothing failed."""
    # Given / When
    said = {"payload": payload, "metadata": metadata}
    nonsense = (
        hook(n, name, "event", "cursor", turn_id=f"g-{n}", **said, **at(n)) for n in range(1, 4)
    )
    desk.tell(*nonsense, *everything())
    # Then
    state = desk.workers.states()["metrics"]
    assert (state.failures, state.last_error) == (0, None)
    assert desk.execute("SELECT count(*) FROM touched") == [(0,)]
    assert desk.execute("SELECT count(*) FROM session_summaries") == [(4,)]


def test_portions_of_one_session_give_the_same_as_one_portion(
    told: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Days and months that several portions have a part of are whole in the end."""
    # Given
    before = measured(told)
    monkeypatch.setattr(module, "PORTION", 1)
    # When
    told.rebuild(Metrics.name)
    told.derive()
    # Then
    assert measured(told) == before


@pytest.mark.fault("A7")
@pytest.mark.parametrize("portions", [0, 1, 3])
def test_measuring_goes_on_when_it_was_broken_off(
    told: Desk, monkeypatch: pytest.MonkeyPatch, portions: int
) -> None:
    """Killed within the transaction after any portion: the same figures in the end."""
    # Given a process that ends while it stores a portion
    before = measured(told)
    told.rebuild(Metrics.name)
    monkeypatch.setattr(module, "PORTION", 1)
    left = [True] * portions
    put = metric_rollups._put

    def die(*arguments: Any) -> None:
        put(*arguments)
        if not left:
            raise KeyboardInterrupt
        left.pop()

    monkeypatch.setattr(metric_rollups, "_put", die)
    with pytest.raises(KeyboardInterrupt):
        told.derive()
    monkeypatch.undo()
    told.commits.close()
    # When
    again = Desk(told.database)
    again.derive()
    # Then
    assert measured(again) == before
    again.close()


def test_a_session_that_was_forgotten_is_in_no_sum(told: Desk) -> None:
    """Nothing of it is left, and the others add up to what they did without it."""
    # Given
    others = merged(row[4] for row in measured(told)["session_figures"] if row[0] != SESSION)
    # When
    told.execute(
        "DELETE FROM traces WHERE session = (SELECT id FROM names WHERE text = ?)", SESSION
    )
    rows = DerivedRows(told.commits._connection, SESSION, (), 0)
    for removal in rows.removals():
        removal(told.commits._connection)
    told.rebuild()
    told.derive()
    # Then
    found = measured(told)
    assert SESSION not in {row[0] for row in found["session_figures"]}
    assert merged(row[4] for row in rows_of_parts(found["monthly_rollups"])) == others
    assert_adds_up(told)


@pytest.fixture
def zones(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Let the machine travel, and bring it back."""
    yield monkeypatch
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("later", [[], [answer(99, session_id="s-1", project="p-1", **at(1))]])
def test_days_are_those_of_the_new_zone_when_the_machine_has_travelled(
    desk: Desk, zones: pytest.MonkeyPatch, later: Sequence[Event]
) -> None:
    """Everything is measured again, also before an event comes; the sum of all days stays."""
    # Given what was derived in one zone
    zones.setenv("TZ", "Pacific/Honolulu")
    time.tzset()
    desk.tell(*EVENTS, answer(98, session_id="s-9", project="p-9", **MONTH_ENDS))
    before = measured(desk)
    # When it goes on in another zone
    zones.setenv("TZ", "Pacific/Kiritimati")
    desk.tell(*later)
    # Then it is as if it had been derived there
    after = desk.derived()
    assert {row[1] for row in after["daily_rollups"]} != {row[1] for row in before["daily_rollups"]}
    assert_adds_up(desk)
    desk.begin_again(emptied=True)
    desk.derive()
    assert desk.derived() == after
