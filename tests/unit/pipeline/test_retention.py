import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from blueplane.capture.quarantine import Quarantine
from blueplane.clock import NS_PER_MS, NS_PER_S, wall_ns
from blueplane.config import RetentionSettings
from blueplane.event import Mark, Settlement
from blueplane.pipeline import retention as module
from blueplane.pipeline.commits import Commits
from blueplane.pipeline.retention import Retention
from blueplane.store.names import Names
from blueplane.store.queries import reading
from blueplane.store.reserve import Reserve
from helpers.road import Road, TurnedClock, heal, ids, make_event, make_row, poison, turn_clock
from helpers.waiting import wait_until

WAIT_S = 20.0
HOUR_S = 3_600
DAY_S = 24 * HOUR_S
YEAR_S = 365 * DAY_S
SETTINGS = RetentionSettings(raw_days=30, dead_letter_days=30, quarantine_days=7, quarantine_mb=50)


class Aging:
    """A road whose writer runs, its retention, and the clocks."""

    def __init__(self, road: Road, turned: TurnedClock) -> None:
        self.road = road
        self.turned = turned
        self.settings = SETTINGS
        self.stopping = threading.Event()
        self.reserve = Reserve(road.home.reserve)
        self.begin_again()
        road.writer.start()

    def begin_again(self) -> None:
        """Be the retention of another server."""
        quarantine = Quarantine(self.road.home.quarantine)
        self.retention = Retention(
            self.road.writer, quarantine, self.reserve, lambda: self.settings, self.stopping
        )

    def write(self, *numbers: int) -> list[str]:
        """Write rows of events that are captured now; return their ids."""
        at_ns = wall_ns()
        events = [
            make_event(number, captured_ns=at_ns, timestamp_ms=at_ns // NS_PER_MS)
            for number in numbers
        ]
        rows = [make_row(self.road.commits, event) for event in events]
        self.road.writer.ask(lambda: self.road.commits.write(rows))
        return ids(*events)

    def bury(self, number: int) -> str:
        """Make an event a dead letter; return the id of its message."""
        event = make_event(number)
        self.ask(lambda: poison(self.road.commits._connection, event))
        before = self.road.commits.letters.counts()["open"]
        self.road.append(event)
        entries = self.road.read()
        for _ in range(3):
            self.ask(lambda: self.road.hand_over(entries))
        wait_until(
            lambda: self.ask(self.road.commits.letters.counts)["open"] > before, WAIT_S, "buried"
        )
        self.ask(lambda: heal(self.road.commits._connection))
        return str(next(iter(self.ask(self.road.commits.letters.open_reasons))))

    def ask(self, work: Any) -> Any:
        """Have the writer do something."""
        return self.road.writer.ask(work)

    def pass_days(self, days: float) -> None:
        """Let time pass on all clocks, without a look at them in between."""
        self.turned.sleepless(days * DAY_S)

    def jump(self, seconds: float) -> None:
        """Set the wall clock, and nothing else."""
        self.turned.wall_shift_ns += int(seconds * NS_PER_S)

    def run_for(self, hours: int) -> None:
        """Let hours pass with a run in each."""
        for _ in range(hours):
            self.turned.sleepless(HOUR_S)
            self.retention.run()

    def rows(self) -> list[str]:
        """Return the ids of all rows."""
        found: list[str] = self.ask(self.road.rows)
        return found

    def totals(self) -> dict[str, int]:
        """Return the counters."""
        totals: dict[str, int] = self.ask(self.road.totals)
        return totals


@pytest.fixture
def aging(road: Road, monkeypatch: pytest.MonkeyPatch) -> Iterator[Aging]:
    """Give a retention that keeps rows and letters for 30 days."""
    return Aging(road, turn_clock(monkeypatch))


# --- what goes ------------------------------------------------------------------------------------


@pytest.mark.fault("C18")
def test_rows_go_when_they_are_old_and_are_counted(aging: Aging) -> None:
    """Rows older than ``raw_days`` go, younger ones stay, and the number of rows is right."""
    # Given old rows and new ones, looked at in between
    old = aging.write(*range(10))
    aging.retention.run()
    aging.pass_days(29)
    new = aging.write(*range(10, 15))
    aging.retention.run()
    assert aging.rows() == old + new
    # When the old ones are 31 days old
    aging.pass_days(2)
    aging.retention.run()
    # Then
    assert aging.rows() == new
    assert aging.totals()["rows.expired"] == 10
    with reading(aging.road.home.database) as reader:
        assert reader.count_rows() == 5
    # and an event that comes is written, with a sequence that none had
    aging.write(99)
    query = "SELECT sequence FROM traces ORDER BY sequence"
    connection = aging.road.commits._connection
    sequences = aging.ask(lambda: connection.execute(query).fetchall())
    assert [sequence for (sequence,) in sequences] == [11, 12, 13, 14, 15, 16]


def test_rows_stay_when_they_are_kept_for_ever(aging: Aging) -> None:
    """0 days, the default, is for ever."""
    # Given
    aging.settings = replace(SETTINGS, raw_days=0, dead_letter_days=0)
    kept = aging.write(1, 2)
    # When
    aging.pass_days(31)
    aging.retention.run()
    aging.run_for(25)
    # Then
    assert aging.rows() == kept


def test_marks_go_when_what_they_are_of_is_gone(aging: Aging) -> None:
    """Marks of old items that are not there any more go; of a source that has nothing none does."""
    # Given marks of two sources, and one of an item that came later
    commits, old, day_ms = aging.road.commits, wall_ns() // NS_PER_MS, DAY_S * 1_000
    for source in ("transcript", "database", "refresh"):
        marks = {each: Mark(9, 7, "f", 0, old) for each in ("here", "gone")}
        marks["young"] = Mark(9, 7, "f", 0, old + 80 * day_ms)
        aging.ask(partial(commits.put_marks, source, marks))
    aging.retention.present = lambda: {"transcript": {"here"}, "database": set()}

    def left(source: str) -> set[str]:
        with reading(aging.road.home.database) as reader:
            return set(reader.marks(source))

    # When
    aging.retention.run()
    aging.run_for(24)
    before = left("transcript")
    aging.pass_days(91)
    aging.retention.run()
    aging.run_for(48)

    # Then
    assert before == {"here", "gone", "young"}
    assert left("transcript") == {"here", "young"}
    assert left("database") == left("refresh") == {"here", "gone", "young"}


def test_laws_close_when_rows_and_letters_have_expired(aging: Aging) -> None:
    """Dropped letters go and stay counted; open and waiting ones stay, however old."""
    # Given rows, a dropped letter, an open one and a settled one
    road = aging.road
    road.append(make_event(1))
    aging.ask(road.drain)
    dropped, opened, settled = (aging.bury(number) for number in (2, 3, 4))
    aging.ask(lambda: road.writer.letters.drop([dropped]))
    aging.ask(lambda: road.writer.letters.retry([settled]))
    wait_until(lambda: aging.ask(lambda: road.stream.counts().length) == 1, WAIT_S, "sent")
    aging.ask(road.drain)
    before = aging.ask(road.settle)
    assert (before["balanced"], before["events"]["dead_lettered"]) == (True, 2)
    # When they are old
    aging.retention.run()
    aging.pass_days(31)
    aging.retention.run()
    # Then
    after = aging.ask(road.settle)
    assert after == before
    letters = road.commits.letters
    kept = [aging.ask(lambda key=key: letters.get(key)) for key in (dropped, opened, settled)]
    assert [letter is not None for letter in kept] == [False, True, False]
    totals = aging.totals()
    assert (totals["letters.expired"], totals["events.letters_expired"]) == (2, 1)


def test_letters_stay_when_they_wait_to_be_sent(aging: Aging) -> None:
    """A retried letter is the source of its event until that has an outcome."""
    # Given a letter that waits, for the stream is away
    waiting = aging.bury(1)
    aging.ask(aging.road.stream.detach)
    aging.ask(lambda: aging.road.writer.letters.retry([waiting]))
    # When
    aging.retention.run()
    aging.pass_days(31)
    aging.retention.run()
    # Then
    assert aging.ask(aging.road.commits.letters.counts)["waiting"] == 1


def test_settlements_go_when_they_are_old_and_their_counts_stay(aging: Aging) -> None:
    """Of what was filtered or quarantined, the record goes after 30 days; the rule counts on."""
    # Given
    records = [Settlement(f"spool:{n}:1", "filtered", "a-rule", "", "", 1) for n in range(3)]
    aging.ask(lambda: aging.road.commits.settle(records))
    aging.retention.run()
    # When
    aging.pass_days(31)
    aging.retention.run()
    # Then
    connection = aging.road.commits._connection
    left = aging.ask(lambda: connection.execute("SELECT count(*) FROM settlements").fetchone())
    assert left == (0,)
    with reading(aging.road.home.database) as reader:
        assert [(each.rule, each.count) for each in reader.rules()] == [("a-rule", 3)]
    assert aging.ask(aging.road.settle)["balanced"]


def test_quarantine_goes_when_it_is_old(aging: Aging) -> None:
    """Files in quarantine go after their days, by both clocks."""
    # Given
    file = aging.road.home.quarantine / "1-1.1.1"
    file.write_bytes(b"half")
    aging.retention.run()
    aging.pass_days(6)
    aging.retention.run()
    assert file.exists()
    # When
    aging.pass_days(2)
    aging.retention.run()
    # Then
    assert not file.exists()


# --- how much -------------------------------------------------------------------------------------


@pytest.mark.fault("C18")
@pytest.mark.parametrize(("rows", "limit"), [(15, 10), (400, 20)])
def test_a_run_removes_no_more_than_its_share_when_all_is_old(
    aging: Aging, monkeypatch: pytest.MonkeyPatch, rows: int, limit: int
) -> None:
    """A twentieth of the rows, but some at least; in small transactions, the oldest first."""
    # Given rows that are all old, and what each transaction removes
    monkeypatch.setattr(module, "AT_LEAST", 10)
    monkeypatch.setattr(module, "PORTION", 7)
    removed: list[int] = []
    expire = Commits.expire

    def noting(commits: Commits, work: Any) -> Mapping[str, int]:
        amounts = expire(commits, work)
        removed.append(amounts.get("rows.expired", 0))
        return amounts

    monkeypatch.setattr(Commits, "expire", noting)
    written = aging.write(*range(rows))
    aging.retention.run()
    # When
    aging.pass_days(31)
    aging.retention.run()
    # Then
    assert aging.rows() == written[limit:]
    assert sum(removed) == limit
    assert max(removed) == 7
    # and the next run goes on
    aging.run_for(1)
    left = rows - limit
    assert len(aging.rows()) == left - min(left, max(10, left // 20))


# --- clocks ---------------------------------------------------------------------------------------


def everything(aging: Aging) -> tuple[list[str], int, set[Path], int]:
    """Return what retention could remove."""
    connection = aging.road.commits._connection
    settled = aging.ask(lambda: connection.execute("SELECT count(*) FROM settlements").fetchone())
    letters = aging.ask(lambda: connection.execute("SELECT count(*) FROM dead_letters").fetchone())
    return aging.rows(), settled[0], set(aging.road.home.quarantine.iterdir()), letters[0]


def fill(aging: Aging) -> None:
    """Make one of everything that retention could remove."""
    aging.write(*range(5))
    aging.ask(
        lambda: aging.road.commits.settle([Settlement("spool:a:1", "filtered", "r", "", "", 1)])
    )
    (aging.road.home.quarantine / "1-1.1.1").write_bytes(b"half")
    dropped = aging.bury(7)
    aging.ask(lambda: aging.road.writer.letters.drop([dropped]))


@pytest.mark.fault("C18", "E2")
def test_nothing_goes_when_the_clock_jumps_ten_years_and_comes_back(aging: Aging) -> None:
    """A jump is not believed for a day; when it is undone, nothing has happened."""
    # Given one of everything, and a look at the clocks
    fill(aging)
    aging.retention.run()
    before = everything(aging)
    # When the clock jumps, for 23 hours, and back
    aging.jump(10 * YEAR_S)
    aging.run_for(23)
    later = aging.write(100)
    assert everything(aging) == (before[0] + later, *before[1:])
    aging.jump(-10 * YEAR_S)
    aging.run_for(3)
    # Then
    assert everything(aging) == (before[0] + later, *before[1:])
    assert aging.ask(aging.road.settle)["balanced"]
    # and the rest goes when it is time, also what came before the row from the future
    newest = aging.write(101)
    aging.run_for(25)
    aging.pass_days(31)
    aging.retention.run()
    assert aging.rows() == later
    assert newest[0] not in aging.rows()


@pytest.mark.fault("C18")
def test_everything_goes_slowly_when_a_jump_lasts_for_a_day(aging: Aging) -> None:
    """A clock that was wrong before, and is right now, is believed in the end."""
    # Given
    fill(aging)
    aging.retention.run()
    # When
    aging.jump(YEAR_S)
    aging.run_for(25)
    # Then
    assert everything(aging) == ([], 0, set(), 0)


@pytest.mark.fault("C18")
@pytest.mark.parametrize(("days", "left"), [(30, 0), (40, 5)])
def test_rows_go_after_a_stop_when_it_was_not_too_long(aging: Aging, days: int, left: int) -> None:
    """After more than 31 days without a server the clock must prove itself first."""
    # Given rows, and a server that stops
    aging.settings = replace(SETTINGS, raw_days=10)
    aging.write(*range(5))
    aging.retention.run()
    # When another one starts after some days
    aging.pass_days(days)
    aging.begin_again()
    aging.retention.run()
    # Then
    assert len(aging.rows()) == left
    aging.run_for(24)
    assert aging.rows() == []


@pytest.mark.fault("C18")
def test_rows_go_after_a_quiet_time_when_a_server_ran(aging: Aging) -> None:
    """What counts is when a server last looked at the clocks, not when the last row came."""
    # Given rows, and a server that runs for 20 days without another one
    aging.write(*range(5))
    aging.retention.run()
    aging.pass_days(20)
    aging.retention.run()
    # When there is no server for 20 days
    aging.pass_days(20)
    aging.begin_again()
    aging.retention.run()
    # Then
    assert aging.rows() == []


@pytest.mark.fault("C18")
def test_rows_stay_when_they_were_captured_long_before_they_were_written(aging: Aging) -> None:
    """Both times of a row must be old: a file may have waited in the spool for weeks."""
    # Given a row of an old capture that was written now, and one from the future
    now_ns = wall_ns()
    events = [
        make_event(number, captured_ns=now_ns + days * DAY_S * NS_PER_S)
        for number, days in enumerate((-60, +60, 0))
    ]
    for event in events:
        aging.ask(
            lambda event=event: aging.road.commits.write([make_row(aging.road.commits, event)])
        )
    aging.retention.run()
    # When / Then
    aging.pass_days(29)
    aging.retention.run()
    assert aging.rows() == ids(*events)
    aging.pass_days(2)
    aging.retention.run()
    assert aging.rows() == ids(events[1])


@pytest.mark.fault("C18")
def test_rows_stay_when_the_first_server_with_retention_has_a_wrong_clock(aging: Aging) -> None:
    """Without a look of an earlier server, the newest row says what time it was."""
    # Given rows of a server that never looked at the clocks
    aging.write(*range(5))
    # When one with a wrong clock does
    aging.jump(10 * YEAR_S)
    aging.run_for(20)
    # Then
    assert len(aging.rows()) == 5


@pytest.mark.fault("C18")
def test_rows_stay_when_they_were_written_while_the_clock_was_behind(aging: Aging) -> None:
    """A row that claims to be old goes after those that came before it, and not sooner."""
    # Given a row, then one of a clock that was years behind
    first = aging.write(1)
    aging.retention.run()
    aging.jump(-5 * YEAR_S)
    behind = aging.write(2)
    aging.jump(5 * YEAR_S)
    # When
    aging.run_for(26)
    # Then
    assert aging.rows() == first + behind
    aging.pass_days(31)
    aging.retention.run()
    assert aging.rows() == []


@pytest.mark.fault("E1")
def test_everything_goes_on_when_the_clock_is_set_back_an_hour(aging: Aging) -> None:
    """Batches, retries of a failing event, the balance and retention do not wait for an hour."""
    # Given an old row, and a balance that was stored before
    road = aging.road
    aging.write(1)
    aging.retention.run()
    aging.pass_days(31)
    first = aging.ask(road.settle)
    # When an event has failed once, and the clock is set back
    aging.ask(lambda: poison(road.commits._connection, make_event(3)))
    road.append(make_event(2), make_event(3))
    entries = road.read()
    aging.ask(lambda: road.hand_over(entries))
    aging.jump(-HOUR_S)
    # Then the other one is written, and this one tried again until it is a dead letter
    for _ in range(10):
        aging.turned.sleepless(2)
        aging.ask(road.writer._retry_due)
    assert road.writer._failures == {}
    # and both laws are taken anew
    balance = aging.ask(road.settle)
    assert (balance["balanced"], balance["written"]) == (True, first["written"] + 1)
    assert balance["open_dead_letters"] == 1
    # and what is old goes
    aging.retention.run()
    assert aging.rows() == ids(make_event(2))


# --- names ----------------------------------------------------------------------------------------


def names(aging: Aging) -> set[str]:
    """Return all interned texts."""
    connection = aging.road.commits._connection
    return {
        row[0] for row in aging.ask(lambda: connection.execute("SELECT text FROM names").fetchall())
    }


def write_session(aging: Aging, number: int, session: str) -> None:
    """Write a row of a session."""
    event = make_event(number, captured_ns=wall_ns(), session_id=session)
    aging.ask(lambda: aging.road.commits.write([make_row(aging.road.commits, event)]))


def test_names_go_when_no_row_uses_them(aging: Aging, monkeypatch: pytest.MonkeyPatch) -> None:
    """The texts of rows that went go, too; a session that comes back has its name again."""
    # Given names of an old row, and of a new one
    monkeypatch.setattr("blueplane.store.names._SPAN", 1)
    write_session(aging, 1, "old")
    aging.retention.run()
    aging.pass_days(31)
    write_session(aging, 2, "new")
    write_session(aging, 3, "newer")
    # When
    aging.retention.run()
    # Then
    assert names(aging) == {"new", "newer", make_event().workspace_hash}
    write_session(aging, 4, "old")
    aging.run_for(1)
    with reading(aging.road.home.database) as reader:
        assert [reader.count_session(name) for name in ("old", "new", "newer")] == [1, 1, 1]


def test_names_are_looked_for_when_rows_went_and_once_a_day(
    aging: Aging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading all rows is worth it only when some went since the last time."""
    # Given how often all rows are read
    looks: list[float] = []
    look = Names.look

    def looking(names: Names) -> bool:
        looks.append(aging.turned.monotonic())
        return look(names)

    monkeypatch.setattr(Names, "look", looking)
    # When rows come, and go one after the other
    for number in range(3):
        write_session(aging, number, f"s-{number}")
        aging.run_for(1)
    assert looks == []
    aging.settings = replace(SETTINGS, raw_days=1)
    aging.run_for(60)
    aging.begin_again()
    aging.run_for(2)
    # Then
    assert aging.totals()["rows.expired"] == 3
    assert len(looks) == 2
    assert looks[1] - looks[0] >= 86_400


def test_a_run_ends_when_the_server_stops(aging: Aging, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop does not wait for the rest of a run."""
    # Given old rows, and a server that is told to stop
    aging.write(1)
    aging.retention.run()
    aging.pass_days(31)
    monkeypatch.setattr(module, "PORTION", 1)
    aging.stopping.set()
    # When
    aging.retention.run()
    # Then nothing more was begun
    assert len(aging.rows()) == 1


def test_names_stay_when_a_row_comes_to_use_them_meanwhile(aging: Aging) -> None:
    """Between the look and the removal a session may go on: its name stays."""
    # Given a name that no row uses, and a look at them
    commits = aging.road.commits
    write_session(aging, 1, "gone")
    write_session(aging, 2, "here")
    aging.ask(lambda: commits._connection.execute("DELETE FROM traces WHERE sequence = 1"))
    look = aging.ask(lambda: Names(commits._connection))
    while aging.ask(look.look):
        pass
    unused = aging.ask(look.unused)
    assert len(unused) == 1
    # When the session goes on, and then the name is to be removed
    interning = commits.interning
    write_session(aging, 3, "gone")
    after = aging.ask(lambda: commits.expire_names(unused, look.last, interning))
    # Then
    assert "gone" in names(aging)
    # and nothing is removed when ids may mean something else by now
    assert after is not None
    assert aging.ask(lambda: commits.expire_names(unused, look.last, interning)) is None


# --- a full disk ----------------------------------------------------------------------------------


@pytest.mark.fault("C1", "C18")
def test_a_full_disk_has_old_rows_removed_once_an_hour_when_there_are_any(
    aging: Aging, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reserve is given back, a share of the old rows goes, and no more before an hour."""
    # Given old rows and a reserve
    monkeypatch.setattr(module, "AT_LEAST", 10)
    monkeypatch.setattr(module, "SMALL_PORTION", 3)
    aging.reserve.keep()
    aging.write(*range(25))
    aging.retention.run()
    aging.pass_days(31)
    # When the disk is full, several times
    for _ in range(5):
        aging.ask(aging.retention.relieve)
    # Then
    assert len(aging.rows()) == 15
    assert not aging.road.home.reserve.exists()
    aging.turned.sleepless(HOUR_S + 1)
    aging.ask(aging.retention.relieve)
    assert len(aging.rows()) == 5


@pytest.mark.fault("C1")
def test_a_full_disk_keeps_the_reserve_when_nothing_is_old(aging: Aging) -> None:
    """The reserve is for removing; without anything to remove it would only be used up."""
    # Given
    aging.reserve.keep()
    aging.write(1)
    # When
    aging.ask(aging.retention.relieve)
    # Then
    assert len(aging.rows()) == 1
    assert aging.road.home.reserve.exists()
