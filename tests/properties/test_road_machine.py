"""The whole road, whatever happens to it in which order: nothing lost, nothing twice, sums closed.

The machine drives real parts (SQLite, a real redis-server, the writer) without threads, against a
model of plain dicts: a source that keeps each item until it is let go of, and what strangers sent.
"""

import gc
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)

from blueplane import faults
from blueplane.capture.hook_event import HandOff, HookReader
from blueplane.capture.sanitise import Sanitiser
from blueplane.clock import NS_PER_S
from blueplane.errors import MalformedPayloadError, QueueError
from blueplane.event import Event, Settlement, encode
from blueplane.paths import Home
from blueplane.pipeline.stream import GROUP, Entry
from blueplane.store.queries import reading
from helpers.json_values import json_values
from helpers.redis_server import RedisServer
from helpers.road import CAPTURED_NS, Road, make_event, turn_clock

#: Runs of the machine, and rules in each; more of them by night.
RUNS = int(os.environ.get("BLUEPLANE_MACHINE_RUNS", "150"))
STEPS = int(os.environ.get("BLUEPLANE_MACHINE_STEPS", "30"))
#: Rounds of attaching, reading and trying again until everything must have come to rest.
ROUNDS = 12
#: Seconds that pass in a round: longer than the longest delay of a retry.
ROUND_S = 5.0
#: Where the clock may be turned to: an hour back, now, a day and ten years on.
SHIFTS_S = (-3_600, 0, 86_400, 315_360_000)
#: Places of the writer's road at which a server may die.
DEATHS = (
    "after_begin",
    "mid_batch",
    "before_commit",
    "after_commit",
    "after_ack",
    "before_release",
    "in_dlq",
    "after_retry_commit",
    "after_epoch_commit",
    "after_epoch_set",
)
#: Fields that a stranger's entry may have in any form. Not the origin: who forges that of another
#: item has it let go of, and nobody promises anything against a program of the same user.
FIELDS = (b"v", b"event_id", b"platform", b"timestamp", b"captured_at", b"payload", b"metadata")

json_texts = json_values.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass"))


class KilledError(BaseException):
    """The server dies here; nothing on the way may catch it."""


class Items:
    """A source: it keeps each item until it is let go of, and sends again what vanished."""

    def __init__(self, kept: dict[str, Event], is_settled: Callable[[Event], bool]) -> None:
        self.kept = kept
        self.sent: set[str] = set()
        self._suspects = set(kept)
        self._is_settled = is_settled

    def release(self, origins: Sequence[str]) -> None:
        for origin in origins:
            event = self.kept.pop(origin, None)
            self.sent.discard(origin)
            assert event is None or self._is_settled(event), f"{origin} is let go of too early"

    def reconcile(self, origins: Mapping[str, bytes]) -> None:
        self.sent = origins.keys() & self.kept.keys()
        self._suspects = set(self.kept) - self.sent

    def wake(self) -> None:
        """Nothing sleeps here."""

    def waiting(self) -> int:
        return len(self.kept)

    def unsent(self, road: Road) -> list[Event]:
        """Return what is to be sent; what an earlier server settled is let go of."""
        suspects = [self.kept[origin] for origin in self._suspects & self.kept.keys()]
        if suspects:
            with reading(road.home.database) as reader:
                self.release(list(reader.settled(suspects)))
        self._suspects = set()
        return [event for origin, event in self.kept.items() if origin not in self.sent]


class RoadMachine(RuleBasedStateMachine):
    """One home on one Redis, and everything that can happen to both."""

    def __init__(self, redis: RedisServer) -> None:
        super().__init__()
        self.redis = redis
        redis.flush()
        self.patch = pytest.MonkeyPatch()
        self.clock = turn_clock(self.patch)
        self.patch.setattr(faults, "point", self._pass)
        self.directory = Path(tempfile.mkdtemp(prefix="bp-road-"))
        self.home = Home(self.directory / "home")
        self.home.prepare()
        self.reader = HookReader(Sanitiser("strict", b"k" * 32), lambda _hook: False)
        self.old_log = self.directory / "old-log"
        self.death = ""
        self.number = 0
        #: The model: every item that was captured, by origin; what strangers sent, by message id.
        self.captured: dict[str, Event] = {}
        self.quarantined = 0
        self.strangers: dict[str, Event | None] = {}
        self.removed: set[str] = set()
        self.vanished = 0
        self.poisoned: set[bytes] = set()
        self.copies = 0
        self.hand: list[Entry] = []
        self.road = self._be_born({})

    def teardown(self) -> None:
        try:
            self._rest()
            self._judge()
        finally:
            self.patch.undo()
            self.road.close()
            shutil.rmtree(self.directory)
            gc.collect()  # a closed road refers to itself, and holds megabytes

    # -- lives of the server -----------------------------------------------------------------------

    def _be_born(self, kept: dict[str, Event]) -> Road:
        road = Road(self.home, self.redis, max_retries=2)
        self.items = Items(kept, self._is_settled)
        road.writer.sources = [self.items]
        return road

    def _is_settled(self, event: Event) -> bool:
        assert not self.road.commits._connection.in_transaction
        found = self._column("SELECT event_id FROM traces")
        return event.event_id in found | self._column("SELECT event_id FROM dead_letters")

    def _pass(self, point: str) -> None:
        if point == self.death:
            self.death = ""
            raise KilledError(point)

    def _die(self) -> None:
        """A death without a word: what was in hand is gone, what the source has is there."""
        self.road.close()
        self.hand = []
        self.death = ""
        self.road = self._be_born(dict(self.items.kept))

    @rule()
    def crash(self) -> None:
        """The server is killed between two things that it does."""
        self._die()

    @rule(point=st.sampled_from(DEATHS))
    def crash_at(self, point: str) -> None:
        """The server is killed on its way, where a death would show."""
        self.death = point
        with suppress(KilledError):
            self._rest()
        self._die()

    @rule(seconds=st.sampled_from(SHIFTS_S))
    def jump(self, seconds: int) -> None:
        """The wall clock is set."""
        self.clock.wall_shift_ns = seconds * NS_PER_S

    # -- capturing ---------------------------------------------------------------------------------

    def _capture(self, **changes: Any) -> Event:
        self.number += 1
        event = make_event(self.number, **changes)
        self.captured[event.origin] = self.items.kept[event.origin] = event
        return event

    @rule(count=st.integers(1, 4))
    def capture(self, count: int) -> None:
        """Hooks leave events."""
        for _ in range(count):
            self._capture()

    @precondition(lambda self: self.captured)
    @rule(data=st.data())
    def capture_again(self, data: st.DataObject) -> None:
        """An editor sends an event twice."""
        before = data.draw(st.sampled_from(sorted(self.captured)))
        self._capture(event_id=self.captured[before].event_id)

    @rule(raw=json_texts)
    def capture_anything(self, raw: bytes) -> None:
        """A hook leaves any JSON value."""
        self.number += 1
        mtime_ns = CAPTURED_NS + self.number * 1_000_000
        item = HandOff(f"1.1.{self.number}", mtime_ns, raw, "cursor", "postToolUse")
        event = read_or_settle(self.reader, self.road, item)
        if event is None:
            self.quarantined += 1
        else:
            self.captured[event.origin] = self.items.kept[event.origin] = event

    # -- the steps of the road, each by itself -----------------------------------------------------

    def _try(self, *steps: Any) -> None:
        try:
            for step in steps:
                step()
        except QueueError:
            self.road.stream.detach()

    def _attach(self) -> None:
        """Attach with nothing in hand, as the consumer has the writer do."""
        if not self.road.stream.attached:
            self._take_hand()
            self.road.writer.attach()

    def _take_hand(self) -> None:
        entries, self.hand = self.hand, []
        if entries:
            self.road.hand_over(entries)

    def _send(self) -> None:
        if not self.road.stream.attached:
            return
        for event in self.items.unsent(self.road):
            self.items.sent.add(event.origin)
            try:
                self.road.append(event)
            except QueueError:
                self.items.sent.discard(event.origin)
                raise

    @rule()
    def send(self) -> None:
        """The source sends what is not in the stream."""
        self._try(self._attach, self._send)

    @rule(count=st.integers(1, 5))
    def read(self, count: int) -> None:
        """The consumer reads, and keeps in hand what it got."""
        self._try(self._attach, lambda: self.hand.extend(self.road.read(count)))

    @rule()
    def hand_over(self) -> None:
        """The writer takes what the consumer has in hand."""
        self._try(self._take_hand, self.road.writer._finish)

    @rule()
    def settle(self) -> None:
        """Everything comes to rest; then every event has its one place."""
        self._rest()
        self._judge()

    @precondition(lambda self: not self.copies)
    @rule(own=st.integers(0, 4), foreign=st.integers(0, 4), flush=st.booleans())
    def lose(self, own: int, foreign: int, *, flush: bool) -> None:
        """What vanishes after a balance is told exactly: what is sent again, and what is lost."""
        self._rest()
        before = self.road.balance()
        self.capture(own)
        self._send()
        for _ in range(foreign):
            self.stranger(b"v", None)
        self.road.writer.balance()
        self._note_removed(self._ids())
        if flush:
            self.redis.flush()
        else:
            self.redis.command("XTRIM", self.road.stream.events, "MAXLEN", 0)
        self._rest()
        after = self.road.balance()
        assert after["recovered"] - before["recovered"] == own
        assert after["lost"] - before["lost"] == foreign

    # -- poison and letters ------------------------------------------------------------------------

    @rule()
    def poison(self) -> None:
        """A hook leaves an event that the store refuses."""
        event_id = self._capture().event_id.hex()
        self.poisoned.add(bytes.fromhex(event_id))
        self._execute(
            f"CREATE TRIGGER poison_{event_id} BEFORE INSERT ON traces"
            f" WHEN new.event_id = x'{event_id}' BEGIN SELECT RAISE(ABORT, 'poison'); END"
        )

    @rule()
    def heal(self) -> None:
        """The store takes every event again."""
        names = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'poison%'"
        for (name,) in self._execute(names):
            self._execute(f"DROP TRIGGER {name}")

    @precondition(lambda self: self.poisoned)
    @rule(again=st.booleans(), count=st.integers(1, 3))
    def decide(self, *, again: bool, count: int) -> None:
        """A person retries dead letters, or gives them up."""
        self._rest()
        found = self._execute("SELECT message_id FROM dead_letters WHERE state = 'open'")
        chosen = [row[0] for row in found][:count]
        letters = self.road.writer.letters
        self._try(lambda: letters.retry(chosen) if again else letters.drop(chosen))

    # -- strangers in Redis ------------------------------------------------------------------------

    @rule(field=st.sampled_from(FIELDS), value=st.none() | st.binary(max_size=20) | json_texts)
    def stranger(self, field: bytes, value: bytes | None) -> None:
        """Somebody adds an entry: one field is anything, or as it must be."""
        if not self._exists():
            return  # who makes the stream anew has its first entries counted as nobody's
        self.number += 1
        event = make_event(self.number, origin="")
        fields = encode(event)
        if value is not None:
            fields[fields.index(field) + 1] = value
        message_id = self.redis.command("XADD", self.road.stream.events, "*", *fields)
        self.strangers[message_id.decode()] = event if value is None else None

    @rule(count=st.integers(1, 3))
    def copy(self, count: int) -> None:
        """Somebody adds entries of ours once more, as a driver that repeats itself would."""
        stream = self.road.stream.events
        for _, fields in self.redis.command("XRANGE", stream, "-", "+", "COUNT", count):
            self.redis.command("XADD", stream, "*", *fields)
            self.copies += 1

    @rule(data=st.data(), trim=st.booleans())
    def remove(self, data: st.DataObject, *, trim: bool) -> None:
        """Somebody deletes some entries, or trims the stream."""
        ids = self._ids()
        if not ids:
            return
        if trim:
            kept = data.draw(st.integers(0, len(ids)))
            self._note_removed(ids[: len(ids) - kept])
            self.redis.command("XTRIM", self.road.stream.events, "MAXLEN", kept)
        else:
            gone = data.draw(st.lists(st.sampled_from(ids), min_size=1, unique=True))
            self._note_removed(gone)
            self.redis.command("XDEL", self.road.stream.events, *gone)

    @rule()
    def destroy_group(self) -> None:
        """Somebody destroys the group, with what it knew of pending entries."""
        if self._exists():
            self.redis.command("XGROUP", "DESTROY", self.road.stream.events, GROUP)

    @rule(moved=st.booleans())
    def pass_over(self, *, moved: bool) -> None:
        """Somebody moves the group to the end, or acknowledges what it has not written."""
        stream = self.road.stream.events
        if moved and self._has_group():
            self.redis.command("XGROUP", "SETID", stream, GROUP, "$")
        elif ids := self._ids():
            self.redis.command("XACK", stream, GROUP, *ids)

    @rule()
    def flush(self) -> None:
        """Somebody empties Redis."""
        self._note_removed(self._ids())
        self.redis.flush()

    @rule()
    def kill_redis(self) -> None:
        """Redis is killed, and comes back with its log."""
        self.redis.restart()
        self.redis.wait_loaded()

    @rule()
    def lose_redis(self) -> None:
        """Redis is killed, and comes back empty."""
        self._note_removed(self._ids())
        self.redis.kill()
        shutil.rmtree(self.redis.directory / "appendonlydir")
        self.redis.start()

    @rule()
    def keep_log(self) -> None:
        """The disk has the log of Redis as it is now, and nothing of what comes."""
        shutil.rmtree(self.old_log, ignore_errors=True)
        shutil.copytree(self.redis.directory / "appendonlydir", self.old_log)

    @precondition(lambda self: self.old_log.exists())
    @rule()
    def lose_log_end(self) -> None:
        """Redis is killed, and comes back with the end of its log missing."""
        before = self._ids()
        self.redis.kill()
        shutil.rmtree(self.redis.directory / "appendonlydir")
        shutil.copytree(self.old_log, self.redis.directory / "appendonlydir")
        self.redis.start()
        self.redis.wait_loaded()
        self._note_removed(sorted(set(before) - set(self._ids())))

    @rule()
    def forget_epoch(self) -> None:
        """Somebody deletes the mark of the epoch."""
        self.redis.command("DEL", "telemetry:epoch")

    def _exists(self) -> bool:
        return bool(self.redis.command("EXISTS", self.road.stream.events))

    def _has_group(self) -> bool:
        return self._exists() and bool(
            self.redis.command("XINFO", "GROUPS", self.road.stream.events)
        )

    def _ids(self) -> list[bytes]:
        return [key for key, _ in self.redis.command("XRANGE", self.road.stream.events, "-", "+")]

    def _note_removed(self, ids: Sequence[bytes]) -> None:
        self.removed.update(key.decode() for key in ids)
        self.vanished += len(ids)

    # -- coming to rest, and what must hold then ---------------------------------------------------

    def _rest(self) -> None:
        for _ in range(ROUNDS):
            self._try(self._attach, self._read_all)
            self.clock.shift_s += ROUND_S
            self._try(self._round)
            if self.road.stream.attached and not self._unrest():
                return
        pytest.fail(f"no rest after {ROUNDS} rounds: {self._unrest()}")

    def _read_all(self) -> None:
        self._take_hand()
        self.road.hand_over(self.road.stream.read_history(b"0", 1_000))
        self.road.drain()

    def _round(self) -> None:
        writer = self.road.writer
        writer._retry_due()
        writer.letters.send_waiting()
        self._send()
        self._read_all()
        writer.balance()

    def _unrest(self) -> dict[str, object]:
        """Return what is not at rest yet."""
        found = {
            "kept": sorted(self.items.kept),
            "stream": self._ids(),
            "failing": list(self.road.writer._failures),
            "letters": self.road.commits.letters.counts()["waiting"],
        }
        return {name: value for name, value in found.items() if value}

    def _judge(self) -> None:
        """Compare the store with the model."""
        rows = [row[0] for row in self._execute("SELECT event_id FROM traces")]
        self._judge_rows(rows)
        self._judge_strangers(rows)
        self._judge_balance()

    def _judge_rows(self, rows: list[bytes]) -> None:
        own = {event.event_id for event in self.captured.values()}
        dead = self._column("SELECT event_id FROM dead_letters WHERE event_id IS NOT NULL")
        assert len(rows) == len(set(rows)), "a row is there twice"
        assert own - set(rows) <= dead & self.poisoned, "a captured event is nowhere"
        foreign = {event.event_id for event in self.strangers.values() if event}
        if None not in self.strangers.values():
            assert set(rows) <= own | foreign, "a row was invented"

    def _judge_strangers(self, rows: list[bytes]) -> None:
        """What a stranger added has a row or a letter, unless it was removed from the stream."""
        settled = self._column("SELECT message_id FROM raw_traces")
        settled |= self._column("SELECT message_id FROM dead_letters")
        settled |= self._column("SELECT message_id FROM duplicates")
        for message_id, event in self.strangers.items():
            if message_id not in self.removed:
                assert message_id in settled, "an entry of a stranger's is nowhere"
                assert event is None or event.event_id in rows

    def _judge_balance(self) -> None:
        body = self.road.balance()
        events, messages = body["events"], body["messages"]
        assert body["balanced"], body
        assert 2 * messages["enqueued"] == sum(messages.values())
        assert 2 * events["captured"] == sum(events.values())
        assert messages["in_flight"] == events["waiting"] == 0
        assert events["quarantined"] == self.quarantined
        captured = len(self.captured) + self.quarantined
        # A copy of an entry that fails like its original is a dead letter of its own.
        spare = self.copies if self.poisoned else 0
        assert captured <= events["captured"] <= captured + spare
        assert messages["lost"] + messages["recovered"] <= self.vanished
        assert messages["lost"] <= len(self.removed & self.strangers.keys()) + self.copies
        assert self.copies or messages["recovered"] <= len(self.removed - self.strangers.keys())

    def _execute(self, statement: str) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self.road.commits._connection.execute(statement).fetchall()
        return found

    def _column(self, statement: str) -> set[Any]:
        return {row[0] for row in self._execute(statement)}


def read_or_settle(reader: HookReader, road: Road, item: HandOff) -> Event | None:
    """Make an event of a hand-off file, or record that it is quarantined, as the spooler does."""
    try:
        return reader.read(item)
    except MalformedPayloadError as error:
        origin = f"spool:{item.name}:{item.mtime_ns}"
        road.commits.settle(
            [Settlement(origin, "quarantined", error.rule, item.platform, item.hook_name, 0)]
        )
        return None


@pytest.mark.fault(
    "A3", "A5", "A6", "A8", "B3", "B4", "B5", "B11", "B15", "B17", "D11", "D15", "E1"
)
def test_road_loses_and_invents_nothing_when_anything_happens_in_any_order(
    redis_server: RedisServer, request: pytest.FixtureRequest
) -> None:
    """Whatever is killed, lost, forged or refused, each event has one place and both laws close."""
    gc.freeze()  # collecting is quick when it looks at nothing that other tests left behind
    request.addfinalizer(gc.unfreeze)
    run_state_machine_as_test(
        lambda: RoadMachine(redis_server),
        settings=settings(
            max_examples=RUNS,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.fault("D15")
def test_capture_stores_or_names_any_json_value_when_a_hook_leaves_it(
    home: Home, redis_server: RedisServer
) -> None:
    """Any JSON value as a payload is a row, quarantined or a dead letter, and the sum closes."""
    # Given a road, and a reader of hand-off files
    road = Road(home, redis_server, max_retries=1)
    reader = HookReader(Sanitiser("strict", b"k" * 32), lambda _hook: False)
    road.settle()
    taken: list[str] = []

    @settings(max_examples=RUNS, deadline=None)
    @given(st.lists(json_texts, min_size=1, max_size=8))
    def put(texts: list[bytes]) -> None:
        # When any values are captured, sent and written
        for raw in texts:
            name = f"1.1.{len(taken)}"
            taken.append(name)
            item = HandOff(name, CAPTURED_NS, raw, "claude_code", "PostToolUse")
            event = read_or_settle(reader, road, item)
            if event is not None:
                road.append(event)
        events = road.settle()["events"]

        # Then each of them has its place
        assert events["captured"] == len(taken)
        assert events["written"] + events["quarantined"] + events["dead_lettered"] == len(taken)
        assert len(road.rows()) == events["written"]

    put()
    assert road.balance()["balanced"]
    road.close()
