"""The monitor of Cursor's stores, on a road that keeps what it is given."""

import json
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event as Flag
from typing import Any

import orjson
import pytest

from blueplane.capture.cursor import chats, conversations, lists, rotation, tracking
from blueplane.capture.cursor.courier import PACE_MIN
from blueplane.capture.cursor.database import ITEMS, Database, fingerprint, reading
from blueplane.capture.cursor.events import Maker
from blueplane.capture.cursor.workspaces import find_places, read_workspace
from blueplane.capture.databases import DatabaseMonitor
from blueplane.capture.filters import NO_FILTERS, Filters
from blueplane.capture.history import History
from blueplane.capture.pauses import NO_PAUSES, Pauses
from blueplane.capture.sanitise import Sanitiser
from blueplane.clock import NS_PER_S, wall_ms
from blueplane.config import FilterSettings, settle
from blueplane.errors import EditorDatabaseError, QueueError, QueueUnavailableError
from blueplane.event import MAX_PAYLOAD_BYTES, Event, Mark, Settlement
from helpers.cursor import CANARY, SPLIT, VERSIONS, CursorStores
from helpers.cursor_truth import Seen, expect_truth, newest
from helpers.road import turn_clock
from helpers.smallfs import SmallFs
from helpers.waiting import wait_until

SECRET = b"s" * 32
PATIENCE_S = 20.0


class Keeper:
    """A queue and a store in one: every event that comes is a row at once."""

    def __init__(self) -> None:
        self.open = True
        self.releases = True
        self.rows: dict[bytes, Event] = {}
        self.again: list[Event] = []
        self.settlements: dict[str, Settlement] = {}
        self.kept: dict[str, Mark] = {}
        self.stream: list[Event] = []
        self.failures = 0
        self.covered: tuple[str, Mark, set[str]] | None = None
        self.monitor: DatabaseMonitor | None = None

    def emit(self, events: Sequence[Event], stopping: Flag) -> None:
        assert not stopping.is_set()
        assert len({event.source for event in events}) == 1
        if self.failures:
            self.failures -= 1
            message = "away"
            raise QueueUnavailableError(message)
        self.stream += events
        if self.releases:
            self.commit()

    def commit(self) -> None:
        """Write what is in the stream, and let it go."""
        events, self.stream = self.stream, []
        for event in events:
            if event.event_id in self.rows:
                self.again.append(event)
            self.rows.setdefault(event.event_id, event)
        self.settle_marks([event.origin for event in events])
        assert self.monitor is not None
        self.monitor.courier.release([event.origin for event in events])

    def recover(self, _error: QueueError) -> None:
        assert self.monitor is not None
        self.monitor.courier.reconcile({event.origin: b"1-1" for event in self.stream})

    def settled(self, events: Sequence[Event]) -> set[str]:
        known = {(each.event_id, each.captured_ns) for each in self.rows.values()}
        done = {each.origin for each in events if (each.event_id, each.captured_ns) in known}
        return done | {each.origin for each in events if each.origin in self.settlements}

    def settle(self, outcomes: Sequence[Settlement]) -> None:
        self.settlements |= {outcome.origin: outcome for outcome in outcomes}

    def marks(self, source: str) -> dict[str, Mark]:
        assert source == "database"
        return dict(self.kept)

    def mark(self, source: str, item: str) -> Mark | None:
        return self.marks(source).get(item)

    def cover(self, source: str, item: str, mark: Mark, origins: Sequence[str]) -> None:
        assert source == "database"
        self.covered = (item, mark, set(origins))
        self.settle_marks(())

    def settle_marks(self, origins: Sequence[str]) -> None:
        """Keep the mark once all that it covers has its outcome."""
        if self.covered:
            item, mark, waiting = self.covered
            waiting.difference_update(origins)
            if not waiting:
                assert not (mark.fingerprint and self.stream), "a mark came before an outcome"
                self.kept[item] = mark

    # -- what a test asks --------------------------------------------------------------------------

    def of(self, kind: str) -> list[Event]:
        """Return the rows of one kind."""
        return [event for event in self.rows.values() if event.hook_type == kind]

    def kinds(self) -> Counter[str]:
        return Counter(event.hook_type for event in self.rows.values())

    def seen(self) -> list[Seen]:
        """Return the rows as they are compared with the truth."""
        return [
            Seen(
                event.hook_type,
                event.session_id,
                event.project,
                event.turn_id,
                event.timestamp_ms,
                orjson.loads(event.payload) | orjson.loads(event.metadata),
            )
            for event in self.rows.values()
        ]

    def newest(self, kind: str, *keys: str) -> dict[Any, dict[str, Any]]:
        """Return the newest row of each item, named by ``keys``."""
        return newest(self.seen(), kind, *keys)


class Counting(DatabaseMonitor):
    """A monitor that counts how often it goes round and looks at everything."""

    rounds = 0

    def _look_now(self) -> None:
        self.rounds += 1
        super()._look_now()


def make_monitor(
    user_home: Path,
    keeper: Keeper,
    filters: Filters = NO_FILTERS,
    level: Any = "strict",
    pauses: Pauses = NO_PAUSES,
) -> Counting:
    """Make a monitor of a user's stores on the road of ``keeper``."""
    maker = Maker(Sanitiser(level, SECRET), filters, SECRET, lambda: pauses)
    monitor = Counting(lambda: find_places(user_home, {}, system="linux"), maker, keeper, keeper)
    keeper.monitor = monitor
    return monitor


@contextmanager
def watching(monitor: Counting) -> Iterator[Counting]:
    """Run a monitor; whatever it dies of is the test's failure."""
    monitor.start()
    try:
        yield monitor
    finally:
        monitor.stop()
        assert monitor.join(PATIENCE_S)
        assert monitor.error is None


def look(monitor: Counting, broken: int = 0) -> None:
    """Have it look at everything that is there by now, where so many stores cannot be read."""
    end = monitor.rounds + 3

    def went_round() -> bool:
        nonlocal end
        monitor.turn_ended("cursor", "")
        if sum(each.trouble is not None for each in monitor._watched.values()) > broken:
            end = monitor.rounds + 3
        return monitor.rounds >= end

    wait_until(went_round, PATIENCE_S, "the monitor looked")


def capture(user_home: Path, keeper: Keeper, broken: int = 0, **settings: Any) -> None:
    """Read everything that is there, where so many stores cannot be read."""
    with watching(make_monitor(user_home, keeper, **settings)) as monitor:
        look(monitor, broken)


def expect(stores: CursorStores, keeper: Keeper) -> None:
    """Compare every row with the truth."""
    expect_truth(stores, keeper.seen())


@pytest.fixture
def user_home(tmp_path: Path) -> Path:
    """Give the home of a user of Cursor."""
    path = tmp_path / "user"
    path.mkdir()
    return path


# --- what is there -------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [*VERSIONS, 99])
def test_everything_is_captured_as_written_when_a_version_stored_it(
    user_home: Path, version: int
) -> None:
    """Conversations, bubbles, lines and models are as Cursor wrote them, orphans left out."""
    # Given
    stores = CursorStores(user_home, version)
    stores.fill()
    keeper = Keeper()

    # When
    capture(user_home, keeper)

    # Then
    expect(stores, keeper)
    assert not keeper.again
    assert not keeper.settlements
    if version >= SPLIT:
        assert len(stores.truth.orphans) == 3


def test_nothing_comes_twice_when_the_monitor_begins_again(user_home: Path) -> None:
    """A second monitor finds what is new, whether the marks of the first are there or not."""
    # Given
    stores = CursorStores(user_home, 11)
    stores.fill()
    keeper = Keeper()
    capture(user_home, keeper)
    before = dict(keeper.rows)

    # When there are marks; when they are lost
    capture(user_home, keeper)
    keeper.kept.clear()
    capture(user_home, keeper)

    # Then
    assert keeper.rows == before
    assert not keeper.again

    # When Cursor went on meanwhile
    stores.converse(7)
    stores.add_turn(next(iter(stores.truth.composers)))
    stores.remember()
    stores.track()
    stores.transcribe()
    capture(user_home, keeper)

    # Then
    expect(stores, keeper)
    assert not keeper.again


@pytest.mark.parametrize("version", VERSIONS)
def test_changes_appear_once_when_the_monitor_runs(user_home: Path, version: int) -> None:
    """Each change makes one row for each thing that it changed."""
    # Given
    stores = CursorStores(user_home, version)
    stores.fill()
    keeper = Keeper()
    with watching(make_monitor(user_home, keeper)) as monitor:
        look(monitor)
        before = keeper.kinds()

        # When
        (composer_id, *_) = stores.truth.composers
        stores.add_turn(composer_id)
        stores.write_more_lines("request-0", 4)
        look(monitor)

        # Then
        expect(stores, keeper)
        changed = keeper.kinds() - before
        # Cursor wrote both of these three times, and the monitor may have seen any of them.
        assert 1 <= changed.pop("composerData") <= 3
        assert 1 <= changed.pop("composerHeaders") <= 3
        assert changed == {"bubbleId": 3, "codeBlockData": 1, "ai_code_hashes": 1}
        assert not keeper.again


@pytest.mark.parametrize("version", [9, 13, 18])
def test_changes_are_found_when_they_were_made_in_place(user_home: Path, version: int) -> None:
    """An UPDATE keeps the number of a row; it is found in what was in use, or what a list names."""
    # Given a conversation that was in use, and an older one
    stores = CursorStores(user_home, version)
    stores.fill()
    keeper = Keeper()
    with watching(make_monitor(user_home, keeper)) as monitor:
        look(monitor)
        old, _, recent = stores.truth.composers
        stores.add_turn(recent)
        look(monitor)

        # When
        stores.change_in_place(*list(stores.truth.bubbles)[-1], "longer than it was before by far")
        stores.touch_in_place(old)
        look(monitor)

        # Then
        expect(stores, keeper)
    assert not keeper.again


def test_change_in_place_is_found_when_a_list_names_it_after_its_row_was_passed(
    user_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list in a workspace's database is written last, and may be all that tells of a change."""
    # Given an old conversation that was changed in place, and was passed
    monkeypatch.setattr(rotation.Rotation, "step", lambda _rotation: [])
    stores = CursorStores(user_home, 9)
    stores.fill()
    keeper = Keeper()
    with watching(make_monitor(user_home, keeper)) as monitor:
        look(monitor)
        save = stores._save_list
        monkeypatch.setattr(stores, "_save_list", lambda _header: look(monitor))
        old = next(iter(stores.truth.composers))
        stores.touch_in_place(old)

        # When the list has it
        save(stores._headers[old])
        look(monitor)

        # Then
        expect(stores, keeper)
    assert not keeper.again


def rest(monitor: Counting) -> None:
    """Have it go round through all conversations until nothing is left to look at."""
    look(monitor)
    reader = monitor._watched["composers"].reader
    assert isinstance(reader, conversations.ComposerReader)

    def is_at_rest() -> bool:
        monitor.turn_ended("cursor", "")
        return not reader._rotation.owed

    wait_until(is_at_rest, PATIENCE_S, "it has gone round")


@pytest.mark.fault("D12")
@pytest.mark.parametrize("failing", [0, 1, 2, 3])
def test_changes_in_place_are_found_when_nothing_else_tells_of_them(
    user_home: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """An old row that no list names is found by going round, once, and at few rows a step."""
    # Given conversations of which the first is forgotten, and that were gone round through
    monkeypatch.setattr(rotation, "ROWS", 7)
    monkeypatch.setattr(conversations, "REMEMBERED", 4)
    stores = CursorStores(user_home, 13)
    for number in range(8):
        stores.converse(number, turns=4)
    keeper = Keeper()
    with watching(make_monitor(user_home, keeper)) as monitor:
        rest(monitor)
        (first, second, *_), before = stores.truth.composers, len(keeper.rows)

        # When two are changed in place, and a look for it fails
        stores.change_in_place(*next(iter(stores.truth.bubbles)), "longer than it was by far")
        stores.change_composer_in_place(second)
        monkeypatch.setattr(conversations, "reading", failing_at(failing))
        rest(monitor)
        rest(monitor)

    # Then
    expect(stores, keeper)
    assert len(keeper.rows) == before + 2
    assert not keeper.again
    assert first != second


def failing_at(turn: int) -> Callable[[Path], Any]:
    """Return what opens a database, but not at one turn."""
    turns = iter(range(1, 10**9))

    def open_or_fail(path: Path) -> Any:
        if next(turns) == turn:
            raise EditorDatabaseError(path, "locked")
        return reading(path)

    return open_or_fail


def test_rows_stay_gone_when_the_monitor_begins_again(
    user_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Going round brings nothing back that is gone from the store: it names what changed."""
    # Given everything captured, and then gone; nothing of it is near the mark
    monkeypatch.setattr(conversations, "NEAR", conversations.WINDOW)
    stores = CursorStores(user_home, 13)
    stores.converse(0, turns=9)
    stores.put_blobs(2 * conversations.WINDOW)
    keeper = Keeper()
    capture(user_home, keeper)
    keeper.rows.clear()

    # When
    with watching(make_monitor(user_home, keeper)) as monitor:
        rest(monitor)
        stores.run("DELETE FROM cursorDiskKV WHERE key = 'agentKv:blob:00000000'")
        rest(monitor)

    # Then only the last of what a list calls recent is looked at
    assert len(keeper.of("bubbleId")) == conversations.LAST


def test_change_is_found_when_its_row_has_the_number_of_another_before(user_home: Path) -> None:
    """The newest row goes, and the next one that is written takes its number."""
    # Given
    stores = CursorStores(user_home, 9)
    stores.fill()
    stores.put_blobs(1)
    keeper = Keeper()
    with watching(make_monitor(user_home, keeper)) as monitor:
        look(monitor)

        # When
        stores.run("DELETE FROM cursorDiskKV WHERE key = 'agentKv:blob:00000000'")
        composer_id = next(iter(stores.truth.composers))
        body = stores.truth.composers[composer_id]
        body["totalLinesAdded"] += 1
        stores.put(f"composerData:{composer_id}", body)
        look(monitor)

        # Then
        expect(stores, keeper)
    assert not keeper.again


def test_change_is_found_when_all_rows_have_other_numbers(user_home: Path) -> None:
    """When a table is written anew new rows may have lower numbers than old ones had."""
    # Given
    stores = CursorStores(user_home, 9)
    stores.put_blobs(3 * conversations.WINDOW)
    stores.fill()
    keeper = Keeper()
    with watching(make_monitor(user_home, keeper)) as monitor:
        look(monitor)

        # When as many rows come as went
        stores.run("DELETE FROM cursorDiskKV WHERE key LIKE 'agentKv:blob:000%'")
        stores.renumber()
        composer_id = next(iter(stores.truth.composers))
        body = stores.truth.composers[composer_id]
        body["totalLinesAdded"] += 1
        stores.put(f"composerData:{composer_id}", body)
        stores.put_blobs(3 * conversations.WINDOW)
        look(monitor)

        # Then
        expect(stores, keeper)
    assert not keeper.again


@pytest.mark.parametrize("restart", [False, True])
def test_bubble_is_found_when_it_is_named_long_after_it_was_written(
    user_home: Path, *, restart: bool
) -> None:
    """A row that nobody named is no orphan any more once its conversation names it."""
    # Given a conversation of many bubbles, and a row of it that is named nowhere
    stores = CursorStores(user_home, 9)
    composer_id = stores.converse(0, turns=5)
    keeper = Keeper()
    with watching(make_monitor(user_home, keeper)) as monitor:
        look(monitor)
        bubble = {**next(iter(stores.truth.bubbles.values())), "bubbleId": "late"}
        stores.put(f"bubbleId:{composer_id}:late", bubble)
        stores.put_blobs(2 * conversations.WINDOW)
        look(monitor)
        assert not [event for event in keeper.of("bubbleId") if b"late" in event.payload]

        # When it is named, before all others
        stores.truth.bubbles[composer_id, "late"] = bubble
        headers = stores.truth.composers[composer_id]["fullConversationHeadersOnly"]
        headers.insert(0, {"bubbleId": "late"})
        if not restart:
            stores.save(composer_id)
            look(monitor)
    if restart:
        stores.save(composer_id)
        capture(user_home, keeper)

    # Then
    expect(stores, keeper)
    assert not keeper.again


@pytest.mark.fault("D12")
@pytest.mark.parametrize("failing", range(1, 12))
def test_nothing_is_missed_when_a_database_fails_while_it_is_read(
    user_home: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """What was read before the failure is captured, and the rest at the next attempt."""
    # Given a database that cannot be opened once
    stores = CursorStores(user_home, 13)
    stores.fill()
    opened = 0

    def open_or_fail(path: Path) -> Any:
        nonlocal opened
        opened += 1
        if opened == failing:
            raise EditorDatabaseError(path, "locked")
        return reading(path)

    for reader in (chats, conversations, lists, tracking):
        monkeypatch.setattr(reader, "reading", open_or_fail)
    keeper = Keeper()

    # When
    capture(user_home, keeper)

    # Then
    assert opened > failing
    expect(stores, keeper)
    assert not keeper.again


@pytest.mark.fault("D12")
@pytest.mark.parametrize("failing", [3, 5, 7, 9])
def test_changes_in_place_are_found_when_the_database_fails_at_another(
    user_home: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """What only a list names is not forgotten because something before it could not be read."""
    # Given conversations that are not in use, and a database that cannot be opened at one of them
    stores = CursorStores(user_home, 18)
    stores.fill()
    keeper = Keeper()
    opened = 0

    def open_or_fail(path: Path) -> Any:
        nonlocal opened
        opened += path == stores.state
        if opened == failing:
            raise EditorDatabaseError(path, "locked")
        return reading(path)

    with watching(make_monitor(user_home, keeper)) as monitor:
        look(monitor)
        monkeypatch.setattr(conversations, "reading", open_or_fail)

        # When
        for composer_id in stores.truth.composers:
            stores.touch_in_place(composer_id)
        look(monitor)

    # Then
    assert opened > failing
    expect(stores, keeper)
    assert not keeper.again


def test_what_has_no_time_has_that_of_its_store_when_it_was_first_seen(user_home: Path) -> None:
    """That time stays, also when the file is another one: so a line is known again."""
    # Given
    stores = CursorStores(user_home, 18)
    path = stores.transcribe(2)
    written_ms = path.stat().st_mtime_ns // 1_000_000
    keeper = Keeper()
    capture(user_home, keeper)
    assert {event.timestamp_ms for event in keeper.rows.values()} == {written_ms}

    # When it is written anew, with one line more
    copy = path.with_name("copy")
    shutil.copy(path, copy)
    copy.replace(path)
    stores.transcribe(1)
    capture(user_home, keeper)

    # Then
    assert len(keeper.of("agentTranscript")) == 3
    assert not keeper.again


def test_newest_list_wins_when_versions_kept_it_in_three_places(user_home: Path) -> None:
    """Of an old list only what no newer one knows is captured."""
    # Given a conversation in the list of the workspace, and, newer, in both global ones
    stores = CursorStores(user_home, 18)
    composer_id = stores.converse(0)
    newest_ms = stores.truth.composers[composer_id]["lastUpdatedAt"]
    old = {"composerId": composer_id, "lastUpdatedAt": newest_ms - 10_000, "unifiedMode": "chat"}
    older = {**old, "lastUpdatedAt": newest_ms - 20_000}
    stores.put_item(stores.state, "composer.composerHeaders", {"allComposers": [old]})
    lost = {"composerId": "only-here", "createdAt": newest_ms - 30_000}
    stores.put_item(stores.local, "composer.composerData", {"allComposers": [older, lost]})
    keeper = Keeper()

    # When
    capture(user_home, keeper)

    # Then
    headers = keeper.newest("composerHeaders", "session")
    assert len(keeper.of("composerHeaders")) == 2
    assert headers[composer_id,]["at_ms"] == newest_ms
    assert headers[composer_id,]["unifiedMode"] == "agent"
    assert headers["only-here",]["project"] == stores.folder.name


def test_old_chats_are_captured_when_a_workspace_holds_them_whole(user_home: Path) -> None:
    """Chats from before composers, and composers from before they had rows, have their bubbles."""
    # Given
    stores = CursorStores(user_home, 3)
    bubbles = [{"type": "user", "id": "b1", "text": CANARY}, {"type": "ai", "id": "b2",
               "text": "yes", "modelType": "gpt-4"}]  # fmt: skip
    tabs = {"tabs": [{"tabId": "tab-1", "lastSendTime": stores.now_ms(), "bubbles": bubbles}]}
    stores.put_item(stores.local, "workbench.panel.aichat.view.aichat.chatdata", tabs)
    whole = {"composerId": "whole-1", "createdAt": stores.now_ms(),
             "conversation": [{"bubbleId": "b3", "type": 2, "text": "tea"}]}  # fmt: skip
    stores.put_item(stores.local, "composer.composerData", {"allComposers": [whole]})
    keeper = Keeper()

    # When
    capture(user_home, keeper)

    # Then
    found = keeper.newest("bubbleId", "session", "bubbleId")
    assert {key: row["type"] for key, row in found.items()} == {
        ("tab-1", "b1"): 1, ("tab-1", "b2"): 2, ("whole-1", "b3"): 2
    }  # fmt: skip
    assert found["tab-1", "b2"]["model"] == "gpt-4"


def test_bubbles_are_found_when_their_keys_have_other_ids(user_home: Path) -> None:
    """A conversation names bubbles by the ids that they have themselves; NULL is no bubble."""
    # Given
    stores = CursorStores(user_home, 11)
    composer_id = stores.converse(0)
    named = [{"bubbleId": each} for each in ("store:1", "", "null")]
    stores.truth.composers[composer_id]["fullConversationHeadersOnly"] += named
    stores.save(composer_id)
    for key, bubble_id in (("other", "store:1"), ("empty", ""), ("stray", "nobody's")):
        stores.put(f"bubbleId:{composer_id}:{key}", {"type": 2, "bubbleId": bubble_id})
    stores.run(f"INSERT INTO cursorDiskKV VALUES ('bubbleId:{composer_id}:null', NULL)")
    keeper = Keeper()

    # When
    capture(user_home, keeper)

    # Then
    found = {event for _, event in keeper.newest("bubbleId", "session", "bubbleId")}
    assert found - {key for _, key in stores.truth.bubbles} == {"store:1", "empty"}


# --- on the road ---------------------------------------------------------------------------------


@pytest.mark.fault("D12")
def test_nothing_is_lost_or_doubled_when_the_queue_fails(user_home: Path) -> None:
    """What was refused is sent again; what is in the stream is not; marks wait for outcomes."""
    # Given a queue that fails three times, and then does not let go
    stores = CursorStores(user_home, 13)
    stores.fill()
    keeper = Keeper()
    keeper.failures, keeper.releases = 3, False
    with watching(make_monitor(user_home, keeper)) as monitor:
        wait_until(lambda: keeper.stream, PATIENCE_S, "something is in the stream")
        sent = list(keeper.stream)

        # When it is attached anew, first with all of it, then with only one of them
        monitor.courier.reconcile({event.origin: b"1-1" for event in sent})
        assert monitor.courier.waiting() == len(sent)
        keeper.stream = sent[:1]
        monitor.courier.reconcile({sent[0].origin: b"1-1"})
        wait_until(lambda: len(keeper.stream) == len(sent), PATIENCE_S, "the others came again")
        keeper.releases = True
        keeper.commit()
        look(monitor)
        assert monitor.courier.waiting() == 0

    # Then
    expect(stores, keeper)
    assert not keeper.again


def test_what_is_in_the_stream_waits_when_another_server_sent_it(user_home: Path) -> None:
    """What a killed server left in the stream is not sent a second time."""
    # Given a server that was killed with everything in the stream
    stores = CursorStores(user_home, 13)
    stores.converse(0)
    before = Keeper()
    before.releases = False
    with watching(make_monitor(user_home, before)):
        wait_until(lambda: before.stream, PATIENCE_S, "something is in the stream")
    left = before.stream

    # When another one begins
    keeper = Keeper()
    keeper.releases = False
    monitor = make_monitor(user_home, keeper)
    keeper.stream = left
    monitor.courier.reconcile({event.origin: b"1-1" for event in left})
    assert monitor.courier.waiting() == len(left)
    with watching(monitor):
        wait_until(lambda: keeper.kept, PATIENCE_S, "it has begun")
        keeper.releases = True
        keeper.commit()
        look(monitor)

    # Then
    expect(stores, keeper)
    assert not keeper.again


@pytest.mark.fault("D12")
def test_nothing_is_passed_over_when_the_monitor_stops_with_events_in_hand(user_home: Path) -> None:
    """What had no outcome when a server ended is read again by the next one."""
    # Given a server that ended while its events were in the stream, which is lost after it
    stores = CursorStores(user_home, 13)
    stores.fill()
    keeper = Keeper()
    keeper.releases = False
    with watching(make_monitor(user_home, keeper)):
        wait_until(lambda: keeper.stream, PATIENCE_S, "something is in the stream")
    keeper.stream = []
    keeper.releases = True

    # When
    capture(user_home, keeper)

    # Then
    expect(stores, keeper)
    assert not keeper.again


def test_what_is_done_stays_out_when_capture_is_paused(user_home: Path) -> None:
    """What is dated in the pause is left out, whenever it is read, and nothing else is."""
    # Given
    stores = CursorStores(user_home, 11)
    stores.converse(0)
    first_ms = stores.now_ms()
    left_out = stores.converse(1)
    last_ms = stores.now_ms()
    later = stores.converse(2)
    keeper = Keeper()

    # When it is read in the pause, or when that is over
    capture(user_home, keeper, pauses=Pauses(now=((first_ms, 1 << 62),)))
    assert later not in {event.session_id for event in keeper.rows.values()}
    afterwards = Keeper()
    capture(user_home, afterwards, pauses=Pauses(over=((first_ms, last_ms),)))

    # Then
    found = {event.session_id for event in afterwards.rows.values()}
    assert (left_out in found, later in found) == (False, True)
    assert {each.rule for each in keeper.settlements.values()} == {"paused"}
    assert {each.source for each in keeper.settlements.values()} == {"database"}


def test_what_has_no_time_stays_out_when_it_is_written_in_a_pause(user_home: Path) -> None:
    """Prompts and lines of agents have no time: that of their file's last change is theirs."""
    # Given
    stores = CursorStores(user_home, 16)
    stores.fill()
    before = stores.truth.transcript_lines
    for path in (stores.transcribe(0), stores.local):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    keeper = Keeper()
    capture(user_home, keeper)

    # When
    paused_ms = wall_ms() - 60_000
    stores.transcribe(2)
    stores.remember(1)
    capture(user_home, keeper, pauses=Pauses(now=((paused_ms, 1 << 62),)))
    capture(user_home, keeper)

    # Then
    assert len(keeper.of("agentTranscript")) == before
    left_out = Counter(each.hook_type for each in keeper.settlements.values())
    assert left_out == {"agentTranscript": 2, "aiService.prompts": 1}


def test_workspace_is_left_out_when_it_is_ignored(user_home: Path) -> None:
    """Nothing of an ignored directory is captured; each thing is counted by its rule."""
    # Given
    stores = CursorStores(user_home, 13)
    stores.fill()
    none: tuple[str, ...] = ()
    filters = Filters(FilterSettings((str(stores.folder),), none, none, none, none), SECRET)
    keeper = Keeper()

    # When
    capture(user_home, keeper, filters=filters)

    # Then
    left = {event.hook_type for event in keeper.rows.values()}
    assert left == {"scored_commits", "ai_code_hashes", "agentTranscript"}
    assert {each.outcome for each in keeper.settlements.values()} == {"filtered"}


@pytest.mark.fault("D12")
def test_everything_is_captured_again_when_the_store_was_lost(user_home: Path) -> None:
    """A store that was replaced while the server runs knows neither rows nor marks; times stay."""
    # Given
    stores = CursorStores(user_home, 13)
    stores.fill()
    keeper = Keeper()
    with watching(make_monitor(user_home, keeper)) as monitor:
        look(monitor)
        before = dict(keeper.rows)

        # When
        keeper.rows, keeper.kept = {}, {}
        monitor.courier.reconcile({})
        look(monitor)

    # Then
    assert keeper.rows == before
    assert len(keeper.kept) == 6
    assert not keeper.again


def test_nothing_is_read_again_when_only_the_queue_was_away(
    user_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Marks that the store has are believed."""
    # Given
    stores = CursorStores(user_home, 13)
    stores.fill()
    keeper = Keeper()
    with watching(make_monitor(user_home, keeper)) as monitor:
        look(monitor)
        monkeypatch.setattr(conversations.ComposerReader, "_read_all", None)

        # When
        monitor.courier.reconcile({})
        look(monitor)

        # Then
        assert not monitor.courier.reconciled


# --- privacy -------------------------------------------------------------------------------------


@pytest.mark.fault("G14")
@pytest.mark.parametrize("version", VERSIONS)
def test_no_word_of_anybody_passes_when_the_level_is_strict(user_home: Path, version: int) -> None:
    """Neither texts, paths, branches nor titles are in any field of any event."""
    # Given stores with the canary at every place where somebody's words are
    stores = CursorStores(user_home, version)
    stores.fill()
    keeper = Keeper()

    # When
    capture(user_home, keeper)

    # Then
    fields = [field for event in keeper.rows.values() for field in event]
    assert fields
    assert not [field for field in fields if CANARY.encode() in str(field).encode()]
    assert not [mark for mark in keeper.kept.items() if CANARY in str(mark)]


@pytest.mark.fault("G14")
def test_no_secret_is_read_when_the_level_is_full(user_home: Path) -> None:
    """Logins and keys of Cursor are not read at any level."""
    # Given
    stores = CursorStores(user_home, 18)
    stores.fill()
    keeper = Keeper()

    # When
    capture(user_home, keeper, level="full")

    # Then texts are there, secrets are not
    everything = str(list(keeper.rows.values()))
    assert f"{CANARY} number" in everything
    assert f"{CANARY}-secret" not in everything
    assert f"{CANARY}-key" not in everything


# --- files in any state --------------------------------------------------------------------------


def snapshot(directory: Path) -> dict[str, tuple[int, int, bytes]]:
    """Return what is in a directory: inode, mtime and content."""
    return {
        str(path): (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def test_stores_stay_as_they_are_when_they_are_read(user_home: Path) -> None:
    """Reading changes no byte and no time, and leaves no file behind."""
    # Given
    stores = CursorStores(user_home, 16)
    stores.fill()
    before = snapshot(user_home)
    keeper = Keeper()

    # When
    capture(user_home, keeper)

    # Then
    expect(stores, keeper)
    assert snapshot(user_home) == before


def test_last_changes_are_seen_when_cursor_runs(user_home: Path) -> None:
    """What stands only in the -wal is read, and nobody's checkpoint happens."""
    # Given an editor that keeps its database open
    stores = CursorStores(user_home, 16)
    stores.converse(0)
    with closing(sqlite3.connect(stores.state)) as editor:
        editor.execute("PRAGMA wal_autocheckpoint = 0")
        editor.execute("SELECT count(*) FROM ItemTable").fetchall()
        stores.add_turn(next(iter(stores.truth.composers)))
        wal = stores.state.with_name("state.vscdb-wal").read_bytes()
        assert wal
        keeper = Keeper()

        # When
        capture(user_home, keeper)

        # Then
        expect(stores, keeper)
        assert stores.state.with_name("state.vscdb-wal").read_bytes() == wal


def test_amounts_are_known_when_nothing_was_read(user_home: Path) -> None:
    """How much there is is said by names and sizes, each file once, while the queue is away."""
    # Given
    stores = CursorStores(user_home, 18)
    stores.fill()
    keeper = Keeper()
    keeper.open = False
    history = History(settle({}).capture, user_home, {}, SECRET)
    amount = history.survey()[1]
    assert amount.bytes > stores.state.stat().st_size

    # When
    with watching(make_monitor(user_home, keeper)) as monitor:
        wait_until(lambda: monitor.extent().files, PATIENCE_S, "stores are found")
        extent = monitor.extent()

    # Then
    assert not extent.is_read
    assert (extent.files, extent.bytes) == (amount.files, amount.bytes)
    assert extent.files < len(monitor._watched)


def damage(kind: str, stores: CursorStores) -> None:
    """Put the global database into a state in which nobody can read it."""
    path = stores.state
    if kind == "half":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "garbage":
        path.write_bytes(b"no database" * 1000)
    elif kind == "fifo":
        path.unlink()
        os.mkfifo(path)
    elif kind == "link":
        path.rename(path.with_name("elsewhere"))
        path.symlink_to(path.with_name("elsewhere"))
    elif kind == "gone":
        path.unlink()
    elif kind == "empty":
        path.write_bytes(b"")


@pytest.mark.fault("D12", "G11")
@pytest.mark.parametrize("kind", ["half", "garbage", "fifo", "link", "gone", "empty"])
def test_other_stores_are_read_when_a_database_is_broken(user_home: Path, kind: str) -> None:
    """A store that cannot be read costs only itself, and is read when it is whole again."""
    # Given
    stores = CursorStores(user_home, 18)
    stores.fill()
    whole = stores.state.read_bytes()
    damage(kind, stores)
    keeper = Keeper()
    with watching(make_monitor(user_home, keeper)) as monitor:
        look(monitor, broken=2)

        # Then
        assert len(keeper.of("scored_commits")) == 2
        assert not keeper.of("bubbleId")
        unreadable = kind in ("half", "garbage")
        assert (monitor.activity().errors > 0) == unreadable
        wait_until(lambda: monitor.extent().is_read, PATIENCE_S, "all else is read")
        extent = monitor.extent()
        assert [each.path for each in extent.unread] == [str(stores.state)] * unreadable
        assert all(each.reason and each.bytes for each in extent.unread)

        # When it is whole again
        copy = stores.state.with_name("copy")
        copy.write_bytes(whole)
        copy.replace(stores.state)
        look(monitor)
        monitor.look_anew()
        wait_until(lambda: monitor.extent().known, PATIENCE_S, "it looked anew")
        assert not monitor.extent().unread
        assert monitor.extent().is_read
    expect(stores, keeper)
    assert not keeper.again


@pytest.mark.fault("D3")
def test_deep_json_costs_only_its_own_file(user_home: Path) -> None:
    """What is nested deeper than anything of Cursor's is as if it were not there."""
    # Given
    stores = CursorStores(user_home, 16)
    stores.fill()
    deep = b"[" * 300 + b"]" * 300
    for directory in (stores.home / "chats" / "a" / "b", stores.local.parent.with_name("deep")):
        directory.mkdir(parents=True)
        for name in ("meta.json", "workspace.json"):
            (directory / name).write_bytes(b'{"title":' + deep + b',"folder":' + deep + b"}")
    shutil.copy(stores.local, stores.local.parent.with_name("deep"))
    keeper = Keeper()

    # When
    capture(user_home, keeper)

    # Then
    assert {event.session_id for event in keeper.of("chats.meta")} == stores.truth.chats
    assert {event.session_id for event in keeper.of("composerData")} == truth_of(stores)


@pytest.mark.fault("D6", "G14")
def test_directory_whose_name_is_no_text_is_read_and_never_logged(
    user_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A name is bytes of any kind; the log, which may be shown to others, has none of them."""
    # Given a workspace and a transcript that can be read, and a workspace that cannot
    stores = CursorStores(user_home, 16)
    stores.fill()
    shutil.copytree(stores.local.parent, f"{stores.local.parent}\udcff\n")
    broken = stores.local.parent.with_name(f"{CANARY}-broken") / stores.local.name
    broken.parent.mkdir()
    broken.write_bytes(b"no database" * 1000)
    transcript = stores.transcribe(1)
    transcript.parent.rename(f"{transcript.parent}\udcfe")
    keeper = Keeper()

    # When
    with watching(make_monitor(user_home, keeper)) as monitor:
        look(monitor, broken=1)

    # Then
    assert len(keeper.of("aiService.prompts")) == 2 * stores.truth.prompts
    assert len(keeper.of("agentTranscript")) == stores.truth.transcript_lines
    said = str([vars(record) for record in caplog.records])
    assert "cannot be read" in said
    assert CANARY not in said


@pytest.mark.fault("D12")
def test_database_is_read_later_when_it_is_locked(user_home: Path) -> None:
    """A lock that somebody holds is waited for elsewhere."""
    # Given a database without a -wal, and somebody in the middle of writing it
    stores = CursorStores(user_home, 11)
    stores.fill()
    keeper = Keeper()
    with closing(sqlite3.connect(stores.state, isolation_level=None)) as editor:
        editor.execute("PRAGMA journal_mode = DELETE")
        editor.execute("PRAGMA cache_size = 1")
        editor.execute("BEGIN EXCLUSIVE")
        editor.execute("UPDATE cursorDiskKV SET value = value || ' '")
        with watching(make_monitor(user_home, keeper)) as monitor:
            wait_until(lambda: monitor.activity().errors, PATIENCE_S, "it was locked")
            assert not keeper.of("bubbleId")

            # When
            editor.execute("COMMIT")
            look(monitor)

    # Then
    expect(stores, keeper)


@pytest.mark.fault("D12")
def test_database_is_read_anew_when_it_was_replaced(user_home: Path, tmp_path: Path) -> None:
    """Another file under the name is read from its beginning; what is known counts nothing."""
    # Given
    stores = CursorStores(user_home, 11)
    stores.put_blobs(3 * conversations.WINDOW)
    stores.fill()
    keeper = Keeper()
    with watching(make_monitor(user_home, keeper)) as monitor:
        look(monitor)

        # When it is replaced by another one, in which something new has a low number
        other = CursorStores(tmp_path / "other", 11)
        other.truth, other._clock_ms = stores.truth, stores._clock_ms
        other.folder = stores.folder
        other.converse(8, turns=5)
        other.put_blobs(4 * conversations.WINDOW)
        copy = stores.state.with_name("copy")
        shutil.copy(other.state, copy)
        copy.replace(stores.state)
        look(monitor)

    # Then
    assert {event.session_id for event in keeper.of("composerData")} == truth_of(stores)
    assert len(keeper.of("bubbleId")) == len(stores.truth.bubbles)
    assert not keeper.again


def truth_of(stores: CursorStores) -> set[str]:
    """Return the ids of all conversations."""
    return set(stores.truth.composers)


def put_raw(stores: CursorStores, composer_id: str, values: Mapping[str, bytes | None]) -> None:
    """Write bubbles as they are given, and have their conversation name them."""
    body = stores.truth.composers[composer_id]
    body["fullConversationHeadersOnly"] += [{"bubbleId": each} for each in values]
    stores.save(composer_id)
    with closing(sqlite3.connect(stores.state, isolation_level=None)) as connection:
        rows = [(f"bubbleId:{composer_id}:{key}", value) for key, value in values.items()]
        connection.executemany("INSERT INTO cursorDiskKV VALUES (?, ?)", rows)


@pytest.mark.fault("D1", "D3", "D8")
@pytest.mark.parametrize(
    ("value", "rule"),
    [
        (b"{", "not-json"),
        (b" ", "empty"),
        (b"[1]", "not-an-object"),
        (b"null", "not-an-object"),
        (b'"text"', "not-an-object"),
        (b"[" * 100_000, "depth"),
        (b'{"a":' * 100_000, "depth"),
        (b"\xff\xfe{\x00}\x00", "encoding"),
    ],
)
def test_value_is_quarantined_when_it_is_no_object(
    user_home: Path, value: bytes, rule: str
) -> None:
    """What cannot be read is counted by its rule, once, and costs only itself; wherever it is."""
    # Given
    stores = CursorStores(user_home, 11)
    stores.fill()
    composer_id = next(iter(stores.truth.composers))
    put_raw(stores, composer_id, {"bad": value, "null": None})
    stores.run("INSERT INTO ItemTable VALUES ('composer.composerHeaders', '[]')")
    with closing(sqlite3.connect(stores.state, isolation_level=None)) as connection:
        row = ("composerData:00000000-bad", value)
        connection.execute("INSERT INTO cursorDiskKV VALUES (?, ?)", row)
    keeper = Keeper()

    # When
    capture(user_home, keeper)
    capture(user_home, keeper)

    # Then
    rules = Counter(each.rule for each in keeper.settlements.values())
    assert rules == Counter([rule, rule, "not-an-object"])
    assert {each.outcome for each in keeper.settlements.values()} == {"quarantined"}
    expect(stores, keeper)
    assert not keeper.again


@pytest.mark.fault("D2", "D4", "D5", "D6", "D8", "D9")
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b'{"type": 1, "_v": NaN}', {"type": 1, "nulled": 1}),
        (b'{"type": 1, "_v": 1e999, "x": -Infinity}', {"type": 1, "nulled": 2}),
        (b'{"type": 1, "_v": ' + b"9" * 5_000 + b"}", {"type": 1, "big_numbers": 1}),
        (b'{"type": 2, "type": 1}', {"type": 1}),
        (b'\xef\xbb\xbf{"type": 1}', {"type": 1}),
        (b'{"type": 1, "text": "\\ud800"}', {"text": {"chars": 1}, "repaired": 1}),
        (b'{"type": 1, "text": "\xff\xfe"}', {"text": {"chars": 2}, "repaired": 1}),
        (b'{"type": 1, "text": "\\u0000\\u001b[31m"}', {"text": {"chars": 6}}),
        (b'{"type": "x", "text": 7, "tokenCount": [], "timingInfo": 3}', {"tokenCount": None}),
        (b'{"type": 1, "toolFormerData": [1], "modelInfo": "m"}', {"model": None}),
        (b'{"tokenCount": {"inputTokens": -1, "outputTokens": 1e300}}', {"input_tokens": None}),
        (b'{"type": 1, "createdAt": 1000000000000000000}', {"type": 1}),
        (b'{"type": 1, "createdAt": "0000-00-00"}', {"type": 1}),
        (b'{"type": 1, "createdAt": "2026-03-29T02:30:00+14:00"}', {"at_ms": 1_774_701_000_000}),
    ],
)
def test_value_is_stored_and_marked_when_it_can_be_mended(
    user_home: Path, value: bytes, expected: dict[str, Any]
) -> None:
    """What is odd in a value costs only its field, and is counted with the row."""
    # Given
    stores = CursorStores(user_home, 11)
    composer_id = stores.converse(0)
    created_ms = stores.truth.composers[composer_id]["createdAt"]
    put_raw(stores, composer_id, {"odd": value})
    keeper = Keeper()

    # When
    capture(user_home, keeper)

    # Then an absurd time is that of the conversation
    row = keeper.newest("bubbleId", "bubbleId")["odd",]
    assert {"at_ms": created_ms} | expected == {
        key: row.get(key) for key in {"at_ms": created_ms} | expected
    }
    assert not keeper.settlements


@pytest.mark.fault("D7")
@pytest.mark.parametrize("level", ["strict", "full"])
@pytest.mark.parametrize(
    ("key", "value", "count"),
    [("text", "x" * 20_000_000, 1), ("k" * 3_000_000, 1, 1), ("a", {}, 100_000)],
)
def test_large_value_is_stored_as_its_size_when_it_is_over_the_limit(
    user_home: Path, level: str, key: str, value: object, count: int
) -> None:
    """No text, key or number of keys makes a row larger than a row may be."""
    # Given
    stores = CursorStores(user_home, 11)
    composer_id = stores.converse(0)
    body = {f"{key}{number or ''}": value for number in range(count)}
    put_raw(stores, composer_id, {"large": json.dumps({"type": 1, **body}).encode()})
    keeper = Keeper()

    # When
    capture(user_home, keeper, level=level)

    # Then
    assert len(keeper.of("bubbleId")) == len(stores.truth.bubbles) + 1
    assert max(len(event.payload) for event in keeper.rows.values()) <= MAX_PAYLOAD_BYTES
    assert max(len(event.metadata) for event in keeper.rows.values()) < 1_000


@pytest.mark.fault("D10")
def test_ids_are_told_apart_when_they_are_hostile_or_come_again(user_home: Path) -> None:
    """An id of a bubble counts within its conversation; what is written again is one event."""
    # Given odd ids in two conversations, the same in both
    stores = CursorStores(user_home, 11)
    odd = ["../../etc/passwd", "'; DROP TABLE cursorDiskKV; --", "%", "a:b:c", "x" * 10_000,
           "-rf", "\n\x1b[31m", "\u00e9", "e\u0301"]  # fmt: skip
    composers = [stores.converse(number, turns=1) for number in range(2)]
    for composer_id in composers:
        put_raw(stores, composer_id, dict.fromkeys(odd, b'{"type": 1, "text": "tea"}'))
    keeper = Keeper()
    with watching(make_monitor(user_home, keeper)) as monitor:
        look(monitor)
        before = len(keeper.of("bubbleId"))

        # When all rows are written again, and one of them with another text
        for composer_id in composers:
            for each in odd:
                stores.put(f"bubbleId:{composer_id}:{each}", {"type": 1, "text": "tea"})
        stores.put(f"bubbleId:{composers[0]}:{odd[0]}", {"type": 1, "text": "coffee"})
        look(monitor)

    # Then
    assert before == len(stores.truth.bubbles) + len(odd) * len(composers)
    assert len(keeper.of("bubbleId")) == before + 1
    assert not keeper.again


def test_other_tables_are_read_when_the_schema_is_newer(user_home: Path) -> None:
    """A table that is gone, renamed or has become a view is nothing to read, and no error."""
    # Given
    stores = CursorStores(user_home, 16)
    stores.fill()
    stores.run("ALTER TABLE composerHeaders RENAME COLUMN lastUpdatedAt TO changedAt")
    stores.run("ALTER TABLE ItemTable RENAME TO Items")
    stores.run("CREATE VIEW ItemTable AS SELECT key, value FROM Items")
    stores.run("ALTER TABLE ai_code_hashes RENAME COLUMN requestId TO r", stores.tracking)
    keeper = Keeper()

    # When
    with watching(make_monitor(user_home, keeper)) as monitor:
        look(monitor)
        assert monitor.activity().errors == 0

    # Then
    assert {event.session_id for event in keeper.of("bubbleId")} == stores.truth.composers.keys()
    assert not keeper.of("composerHeaders")
    assert not keeper.of("ai_code_hashes")
    assert len(keeper.of("scored_commits")) == 2


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ('{"folder": "file:///home/ada/tea%20shop"}', "file:///home/ada/tea%20shop"),
        ('{"folder": "vscode-remote://wsl%2BUbuntu/home/ada/shop"}', "/home/ada/shop"),
        ('{"workspace": "file:///home/ada/shops/all.code-workspace"}', "file:///home/ada/shops"),
        ('{"folder": 7}', ""),
        ("[]", ""),
        ("no json", ""),
    ],
)
def test_workspace_is_that_of_its_file_when_it_is_read(
    tmp_path: Path, written: str, path: str
) -> None:
    """Local and remote folders, files of several folders, and what is none of them."""
    # Given
    file = tmp_path / "workspace.json"
    file.write_text(written)

    # When / Then
    assert read_workspace(file) == path


def test_any_other_key_is_refused_when_values_are_asked_for(user_home: Path) -> None:
    """Nobody can have a key read that is not on the list."""
    # Given
    stores = CursorStores(user_home, 18)

    # When / Then
    with reading(stores.state) as database:
        for key in ("cursorAuth/accessToken", "agentKv:blob:00", "checkpointId:a:b"):
            with pytest.raises(ValueError, match="not on the list"):
                database.values([key])
        assert {row.key for row in database.items()} <= ITEMS


@pytest.mark.fault("D12")
def test_database_is_read_anew_when_it_is_replaced_while_it_is_read(
    user_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was read of a file that went away meanwhile does not stand for the one that came."""
    # Given a database, and a later copy that takes its place at the first look at values
    stores = CursorStores(user_home, 13)
    stores.converse(0)
    before = stores.state.read_bytes()
    stores.add_turn(stores.converse(1))
    copy = stores.state.with_name("copy")
    stores.state.rename(copy)
    stores.state.write_bytes(before)
    values = Database.values

    def replacing(self: Database, keys: Sequence[str], after: int = 0) -> Any:
        if copy.exists():
            copy.replace(stores.state)
        return values(self, keys, after)

    monkeypatch.setattr(Database, "values", replacing)
    keeper = Keeper()

    # When
    with watching(make_monitor(user_home, keeper)) as monitor:
        wait_until(lambda: not copy.exists(), PATIENCE_S, "it was replaced")
        look(monitor)

    # Then
    expect(stores, keeper)
    assert not keeper.again


@pytest.mark.fault("D12")
def test_whole_transactions_are_read_when_a_wal_is_torn(user_home: Path) -> None:
    """A -wal of which only a part was written counts up to its last whole transaction."""
    # Given a database as it is when the machine stops in the middle of a write
    stores = CursorStores(user_home, 13)
    stores.converse(0)
    with closing(sqlite3.connect(stores.state)) as editor:
        editor.execute("PRAGMA wal_autocheckpoint = 0")
        editor.execute("SELECT count(*) FROM ItemTable").fetchall()
        stores.add_turn(next(iter(stores.truth.composers)))
        whole = stores.state.read_bytes()
        wal = stores.state.with_name("state.vscdb-wal").read_bytes()
    torn = stores.state.with_name("state.vscdb-wal")
    stores.state.write_bytes(whole)
    torn.write_bytes(wal[:-100])
    keeper = Keeper()
    with watching(make_monitor(user_home, keeper)) as monitor:
        look(monitor)
        known = len(keeper.of("bubbleId"))

        # When the rest of it comes
        torn.write_bytes(wal)
        look(monitor)

    # Then
    assert 0 < known <= len(stores.truth.bubbles)
    assert len(keeper.of("bubbleId")) == len(stores.truth.bubbles)
    assert not keeper.again


def put_in_place(path: Path, kind: str, outside: Path) -> None:
    """Put something into the place of a file that is no file, or leads elsewhere."""
    path.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(outside)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "directory":
        path.mkdir()
    else:
        with path.open("wb") as file:
            file.truncate(10 << 30)


@pytest.mark.fault("G11")
@pytest.mark.parametrize("kind", ["fifo", "link", "device", "directory", "sparse"])
def test_nothing_else_is_read_when_no_file_stands_in_its_place(
    user_home: Path, tmp_path: Path, kind: str
) -> None:
    """Beside databases, too, only plain files are read, without waiting, and to a limit."""
    # Given
    stores = CursorStores(user_home, 13)
    stores.fill()
    outside = tmp_path / "outside"
    body = {"folder": f"file:///{CANARY}", "cwd": f"/{CANARY}", "createdAtMs": 1_770_000_000_000}
    outside.write_text(json.dumps({**body, "role": "user"}) + "\n")
    chat = next(path for path in (stores.home / "chats").rglob("meta.json"))
    transcript = next(path for path in stores.home.rglob("*.jsonl"))
    places = (stores.local.parent / "workspace.json", chat, chat.with_name("store.db"), transcript)
    for path in places:
        put_in_place(path, kind, outside)
    project = transcript.parents[2].with_name("other")
    project.mkdir()
    (tmp_path / "transcripts").mkdir()
    shutil.copy(outside, tmp_path / "transcripts" / "there.jsonl")
    (project / "agent-transcripts").symlink_to(tmp_path / "transcripts")
    keeper = Keeper()

    # When
    capture(user_home, keeper, level="full", broken=1)

    # Then
    assert len(keeper.of("bubbleId")) == len(stores.truth.bubbles)
    assert not keeper.of("agentTranscript")
    assert not [each for each in keeper.rows.values() if each.project == CANARY]
    rules = [each.rule for each in keeper.settlements.values()]
    assert rules == (["too-long"] if kind == "sparse" else [])


@pytest.mark.fault("E1", "E2", "E3")
@pytest.mark.parametrize("jump_s", [-3_600, 10 * 365 * 86_400])
def test_changes_are_captured_once_when_the_clock_jumps_and_comes_back(
    user_home: Path, monkeypatch: pytest.MonkeyPatch, jump_s: int
) -> None:
    """What Cursor wrote under a wrong clock hides nothing that it writes under the right one."""
    # Given
    turned = turn_clock(monkeypatch)
    stores = CursorStores(user_home, 16)
    stores._clock_ms = wall_ms() - 3_600_000
    stores.fill()
    keeper = Keeper()
    with watching(make_monitor(user_home, keeper)) as monitor:
        look(monitor)

        # When both clocks jump, and come back an hour later
        for jump in (jump_s, -jump_s):
            turned.wall_shift_ns += jump * NS_PER_S
            stores._clock_ms += jump * 1_000
            stores.converse(len(stores.truth.composers))
            stores.track()
            stores.remember(1)
            look(monitor)

    # and a server begins under the right one
    stores.converse(len(stores.truth.composers))
    stores.track()
    capture(user_home, keeper)

    # Then
    expect(stores, keeper)
    assert not keeper.again
    assert len({event.event_id for event in keeper.rows.values()}) == len(keeper.rows)


@pytest.mark.fault("E3")
def test_mark_stays_behind_when_an_entry_is_of_the_future(user_home: Path) -> None:
    """One entry that is dated ahead is captured, and does not have all others looked at again."""
    # Given
    stores = CursorStores(user_home, 16)
    stores.fill()
    now_ms = stores.now_ms()
    stores._clock_ms = wall_ms() + 10**9
    stores.converse(7)
    stores.track()
    keeper = Keeper()

    # When
    capture(user_home, keeper)

    # Then
    expect(stores, keeper)
    notes = [orjson.loads(mark.fingerprint) for mark in keeper.kept.values()]
    times = [each for note in notes for each in (*note.get("newest", {}).values(), 0)]
    times += [note.get("scored", 0) for note in notes]
    assert 0 < max(times) <= now_ms


@pytest.mark.fault("E1", "E2")
def test_everything_is_caught_up_when_the_server_was_stopped_for_a_day(
    user_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What Cursor wrote, removed and wrote anew meanwhile is captured, and nothing twice."""
    # Given
    turned = turn_clock(monkeypatch)
    stores = CursorStores(user_home, 13)
    stores.fill()
    keeper = Keeper()
    capture(user_home, keeper)

    # When a day passes, in which a table is written anew and a transcript moved
    turned.wall_shift_ns += 86_400 * NS_PER_S
    turned.shift_s += 86_400
    stores._clock_ms += 86_400_000
    stores.renumber()
    stores.add_turn(next(iter(stores.truth.composers)))
    stores.converse(7)
    stores.track()
    stores.remember()
    path = stores.transcribe(2)
    copy = path.with_name("copy")
    shutil.copy(path, copy)
    copy.replace(path)
    capture(user_home, keeper)

    # Then
    expect(stores, keeper)
    assert not keeper.again


@pytest.mark.fault("E1", "E2")
@pytest.mark.parametrize("jump_s", [-3_600, 10 * 365 * 86_400])
def test_pace_is_that_of_the_last_minutes_when_the_wall_clock_jumps(
    user_home: Path, monkeypatch: pytest.MonkeyPatch, jump_s: int
) -> None:
    """Events a minute are counted by the clock that only goes on."""
    # Given
    turned = turn_clock(monkeypatch)
    stores = CursorStores(user_home, 13)
    stores.fill()
    keeper = Keeper()
    with watching(make_monitor(user_home, keeper)) as monitor:
        look(monitor)

        # When
        turned.wall_shift_ns += jump_s * NS_PER_S

        # Then
        assert monitor.activity().events_per_min == len(keeper.rows) / PACE_MIN
        turned.shift_s += PACE_MIN * 60
        assert monitor.activity().events_per_min == 0


@pytest.mark.fault("E1")
def test_stores_are_looked_at_on_time_when_the_wall_clock_goes_back(
    user_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that seems to be of the future is not read again and again."""
    # Given a database that was written before the clock went back by an hour
    turned = turn_clock(monkeypatch)
    stores = CursorStores(user_home, 13)
    stores.fill()
    turned.wall_shift_ns -= 3_600 * NS_PER_S

    # When
    found = fingerprint(stores.state)

    # Then
    assert found is not None
    assert not found.racy


@pytest.mark.fault("D12")
def test_whole_lines_are_read_when_a_transcript_grows_or_is_cut(user_home: Path) -> None:
    """A torn line waits for its end; a file that was cut is read from its beginning, once."""
    # Given
    stores = CursorStores(user_home, 18)
    path = stores.transcribe(4, torn=True)
    keeper = Keeper()
    with watching(make_monitor(user_home, keeper)) as monitor:
        look(monitor)
        assert len(keeper.of("agentTranscript")) == 4

        # When the line is finished, and later all but the first line is cut off
        with path.open("a") as file:
            file.write('age": {"content": []}}\n')
        look(monitor)
        assert len(keeper.rows) == 5
        first = path.read_bytes().splitlines(keepends=True)[0]
        path.write_bytes(first)
        look(monitor)
        with path.open("a") as file:
            file.write('{"type": "turn_ended", "status": "completed"}\n')
        look(monitor)
        assert len(keeper.rows) == 6

    # Then
    assert not keeper.again


def test_huge_values_are_left_out_when_they_cannot_be_held(
    user_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value beyond the limit is quarantined; its neighbours are read."""
    # Given
    monkeypatch.setattr("blueplane.capture.cursor.database.MAX_VALUE_BYTES", 50_000)
    stores = CursorStores(user_home, 18)
    composer_id = stores.converse(0)
    stores.add_bubble(composer_id, "question")
    bubble_id = stores.add_bubble(composer_id, "question")
    stores.change_in_place(composer_id, bubble_id, "x" * 60_000)
    keeper = Keeper()

    # When
    capture(user_home, keeper)

    # Then
    assert len(keeper.of("bubbleId")) == len(stores.truth.bubbles) - 1
    assert [each.rule for each in keeper.settlements.values()] == ["not-json"]


def test_memory_is_bounded_when_there_are_many_conversations(user_home: Path) -> None:
    """Only the last conversations are remembered; what changes in another is found all the same."""
    # Given
    stores = CursorStores(user_home, 13)
    for number in range(conversations.REMEMBERED + 4):
        stores.converse(number, turns=1)
    keeper = Keeper()
    with watching(make_monitor(user_home, keeper)) as monitor:
        look(monitor)

        # When
        for composer_id in stores.truth.composers:
            stores.add_bubble(composer_id, "question")
        look(monitor)

    # Then
    expect(stores, keeper)
    assert not keeper.again


def test_places_are_those_of_the_system_when_none_is_given(tmp_path: Path) -> None:
    """Each system has its own place, and a setting or the environment moves it."""
    # Given, When
    places = {
        system: find_places(tmp_path, {}, system=system).user.relative_to(tmp_path)
        for system in ("linux", "darwin", "win32")
    }
    moved = find_places(tmp_path, {"XDG_CONFIG_HOME": "/x"}, system="linux")
    chosen = find_places(tmp_path, {}, "/data/Cursor", "/agents")

    # Then
    assert places == {
        "linux": Path(".config/Cursor/User"),
        "darwin": Path("Library/Application Support/Cursor/User"),
        "win32": Path("AppData/Roaming/Cursor/User"),
    }
    assert moved.user == Path("/x/Cursor/User")
    assert (chosen.user, chosen.home) == (Path("/data/Cursor/User"), Path("/agents"))


def test_database_is_read_when_its_folder_is_read_only(user_home: Path) -> None:
    """Where nothing can be written nothing needs to be."""
    # Given stores on a disk that became read-only when Cursor had closed them
    with SmallFs(user_home, 8) as disk:
        stores = CursorStores(user_home, 16)
        stores.fill()
        disk.protect(on=True)
        keeper = Keeper()

        # When
        capture(user_home, keeper)

        # Then
        expect(stores, keeper)
