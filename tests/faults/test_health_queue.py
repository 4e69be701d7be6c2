"""What the queue's health says of faults: the right colour and words, and green when it is over."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event as Flag
from types import SimpleNamespace
from typing import Any, cast

import pytest

from blueplane.clock import monotonic_s, wall_ms
from blueplane.errors import QueueError, QueueRefusedError
from blueplane.health.check import Colour, Moment, Report
from blueplane.health.queue import QueueMonitor
from blueplane.paths import Home
from blueplane.pipeline.intake import Intake
from blueplane.pipeline.pressure import CALM_S, Pressure
from blueplane.store.connection import transaction
from blueplane.store.letters import Letter, Letters
from helpers.issued import Issued
from helpers.nursery import Nursery
from helpers.redis_server import RedisServer
from helpers.road import Road, TurnedClock, make_event, turn_clock
from helpers.server import Server
from helpers.waiting import wait_until

PATIENCE_S = 30.0
LETTERS = 10_000
#: Bytes of such a letter: what must not be read to count it.
LETTER_BYTES = 20_000
PUSHED = 12_000


class Watch:
    """The queue's monitor on a road, with a consumer and a clock that the test turns."""

    def __init__(self, road: Road, clock: TurnedClock) -> None:
        self.road = road
        self.clock = clock
        self.trouble: str | None = None
        self.intake = Intake(road.stream, road.writer, 20_000, 1 << 26)
        self.pressure = Pressure(
            self.intake,
            road.stream,
            road.writer,
            backlog=lambda: 0,
            trouble=lambda: self.trouble,
        )
        probes = SimpleNamespace(
            beats=dict,
            database=road.home.database,
            measures=road.writer.measures,
            redis=self._redis,
            queue=road.stream.observe,
            spool=lambda: (0, 0, None),
            pressure=self.pressure.status,
        )
        self.monitor = QueueMonitor(cast("Any", probes))

    def _redis(self) -> dict[str, Any]:
        return {"mode": "external", "connected": self.road.stream.attached, "trouble": self.trouble}

    def attach(self) -> None:
        """Try to attach, as the consumer does after any error."""
        try:
            self.road.writer.attach()
        except QueueError as error:
            self.road.stream.detach()
            self.trouble = str(error)
        else:
            self.trouble = None

    def look(self, after_s: float = 0) -> Report:
        """Let time pass, and look."""
        self.clock.sleepless(after_s)
        self.pressure.look()
        return self.monitor.look(Moment(wall_ms(), monotonic_s()))

    def emit(self, number: int) -> bool:
        """Have a source emit an event; False when Redis refuses it."""
        try:
            self.intake.emit([make_event(number)], Flag())
        except QueueRefusedError:
            return False
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> TurnedClock:
    """Give the clock of the program."""
    return turn_clock(monkeypatch)


@pytest.fixture
def watch(clock: TurnedClock, road: Road) -> Watch:
    """Give a watch over a queue that is well."""
    watch = Watch(road, clock)
    assert watch.look().colour == Colour.GREEN
    return watch


def found(report: Report) -> dict[str, Colour]:
    """Return the colour of each figure that is not green."""
    return {finding.metric: finding.colour for finding in report.findings}


# --- Redis that will not serve us -----------------------------------------------------------------


def load_slowly(redis: RedisServer) -> None:
    """Restart a server so that it loads for long."""
    redis.restart_loading(20)


def load_quickly(redis: RedisServer) -> None:
    """Have it load the rest at once."""
    redis.config_set("key-load-delay", 0)
    redis.wait_loaded()


#: ID, what breaks, what mends it, and what must be said.
REFUSALS: list[Any] = [
    ("B6", load_slowly, load_quickly, "loading"),
    (
        "B8",
        lambda redis: redis.command("REPLICAOF", "127.0.0.1", "1"),
        lambda redis: redis.command("REPLICAOF", "NO", "ONE"),
        "read only replica",
    ),
    (
        "B12",
        lambda redis: redis.config_set("maxmemory-policy", "allkeys-lru"),
        lambda redis: redis.config_set("maxmemory-policy", "noeviction"),
        "CONFIG SET maxmemory-policy noeviction",
    ),
    (
        "B19",
        lambda redis: redis.config_set("requirepass", "plum-lantern-49"),
        lambda redis: redis.config_set("requirepass", ""),
        "check user and password in redis.url",
    ),
]


@pytest.mark.parametrize(
    ("break_it", "mend", "words"),
    [pytest.param(*rest, id=fault, marks=pytest.mark.fault(fault)) for fault, *rest in REFUSALS],
)
def test_redis_turns_red_with_its_reason_when_it_will_not_serve_us(
    watch: Watch,
    break_it: Callable[[RedisServer], None],
    mend: Callable[[RedisServer], None],
    words: str,
) -> None:
    """Orange after 5 s and red after a minute, with what to do, and green when it is done."""
    # Given a Redis that refuses what the consumer asks
    break_it(watch.road.redis)
    watch.road.stream.detach()
    watch.attach()
    assert watch.trouble is not None

    # When
    reports = [watch.look(), watch.look(6), watch.look(55)]

    # Then
    assert [report.colour for report in reports] == [Colour.GREEN, Colour.ORANGE, Colour.RED]
    assert [finding.metric for finding in reports[-1].findings] == ["redis"]
    assert words in reports[-1].findings[0].sentence
    assert reports[-1].figures["queue_depth"] is None
    # When it serves us again / Then it is green by itself
    mend(watch.road.redis)
    watch.attach()
    assert watch.trouble is None
    report = watch.look(1)
    assert (report.colour, report.figures["redis"]["connected"]) == (Colour.GREEN, True)


@pytest.mark.fault("B2")
def test_redis_turns_orange_and_green_when_it_is_killed_and_back(watch: Watch) -> None:
    """While it is gone the depth is unknown; when it is back what it held is counted again."""
    # Given events in flight
    watch.road.append(*[make_event(number) for number in range(300)])
    assert watch.look().figures["queue_depth"] == 300
    # When it is killed
    watch.road.redis.kill()
    watch.look()
    report = watch.look(6)
    # Then the reason is said, and its path is not
    assert found(report) == {"redis": Colour.ORANGE}
    assert report.figures["queue_depth"] is None
    assert "redis does not answer" in report.findings[0].sentence
    assert str(watch.road.redis.socket_path) not in report.findings[0].sentence
    # When it is back
    watch.road.redis.start()
    watch.attach()
    # Then
    assert watch.look().figures["queue_depth"] == 300
    watch.road.drain()
    report = watch.look()
    assert (report.colour, report.figures["queue_depth"]) == (Colour.GREEN, 0)


def flush(redis: RedisServer) -> None:
    """Remove everything."""
    redis.flush()


def destroy_group(redis: RedisServer) -> None:
    """Remove the group, and what is pending with it."""
    redis.command("XGROUP", "DESTROY", "telemetry:events", "processors")


def restart_empty(redis: RedisServer) -> None:
    """Kill it, and start it without what it held."""
    redis.config_set("appendonly", "no")
    redis.kill()
    redis.start("--appendonly", "no")


@pytest.mark.parametrize(
    ("lose", "left"),
    [
        pytest.param(restart_empty, 0, id="B3", marks=pytest.mark.fault("B3")),
        pytest.param(flush, 0, id="B4", marks=pytest.mark.fault("B4")),
        pytest.param(destroy_group, 7, id="B5", marks=pytest.mark.fault("B5")),
    ],
)
def test_queue_is_unknown_and_then_green_when_its_content_was_lost(
    watch: Watch, lose: Callable[[RedisServer], None], left: int
) -> None:
    """A stream or group that is gone is no empty queue; after an attach it is what it is."""
    # Given
    watch.road.append(*[make_event(number) for number in range(7)])
    # When
    lose(watch.road.redis)
    gone = watch.look()
    watch.look(6)
    # Then
    assert gone.figures["queue_depth"] is None
    assert gone.figures["redis"]["connected"] is False
    assert found(watch.look()) == {"redis": Colour.ORANGE}
    # When the consumer attaches
    watch.road.stream.detach()
    watch.attach()
    report = watch.look()
    # Then
    assert report.figures["queue_depth"] == left
    watch.road.drain()
    report = watch.look()
    assert (report.colour, report.figures["queue_depth"]) == (Colour.GREEN, 0)
    assert report.figures["enqueue_rate_events_per_sec"] in (None, 0.0)


@pytest.mark.fault("B14")
def test_redis_turns_orange_when_it_is_frozen(watch: Watch) -> None:
    """A look at a frozen Redis is short, and says that it does not answer."""
    # Given
    watch.road.redis.freeze()
    began_s = monotonic_s()
    # When
    watch.look()
    took_s = monotonic_s() - began_s
    report = watch.look(6)
    # Then
    assert took_s < 1.0
    assert found(report) == {"redis": Colour.ORANGE}
    watch.road.redis.thaw()
    assert watch.look().colour == Colour.GREEN


@pytest.mark.fault("B12")
def test_policy_is_told_when_it_was_changed_under_us(watch: Watch) -> None:
    """Eviction that somebody allows while we are attached is orange, until it is forbidden."""
    # Given
    watch.road.redis.config_set("maxmemory-policy", "allkeys-random")
    # When
    report = watch.look()
    # Then
    assert found(report) == {"redis": Colour.ORANGE}
    assert report.figures["redis"]["policy"] == "allkeys-random"
    watch.road.redis.config_set("maxmemory-policy", "noeviction")
    assert watch.look().colour == Colour.GREEN


@contextmanager
def out_of_memory(redis: RedisServer) -> Iterator[None]:
    """Have Redis refuse what needs memory."""
    redis.config_set("maxmemory", 1)
    yield
    redis.config_set("maxmemory", 0)


@contextmanager
def unable_to_save(redis: RedisServer) -> Iterator[None]:
    """Have Redis refuse writes, for it could not save its snapshot."""
    blocked = redis.directory / "dump.rdb"
    blocked.unlink(missing_ok=True)
    (blocked / "in the way").mkdir(parents=True)
    redis.config_set("save", "3600 1")
    save(redis, "err")
    yield
    (blocked / "in the way").rmdir()
    blocked.rmdir()
    save(redis, "ok")


def save(redis: RedisServer, outcome: str) -> None:
    """Have a snapshot saved, and wait until that ended as it must."""

    def ended() -> bool:
        state = redis.client.info("persistence")
        if not state["rdb_bgsave_in_progress"] and state["rdb_last_bgsave_status"] != outcome:
            redis.command("BGSAVE")
        return bool(state["rdb_last_bgsave_status"] == outcome)

    wait_until(ended, PATIENCE_S, f"the snapshot is {outcome}")


@pytest.mark.parametrize(
    ("refusing", "words"),
    [
        pytest.param(out_of_memory, "maxmemory", id="B7", marks=pytest.mark.fault("B7")),
        pytest.param(unable_to_save, "MISCONF", id="B9", marks=pytest.mark.fault("B9")),
    ],
)
def test_sources_are_told_to_wait_when_redis_takes_no_writes(
    watch: Watch, refusing: Callable[[RedisServer], Any], words: str
) -> None:
    """Yellow while the sources wait, orange after a minute, with what Redis says of it."""
    # Given a Redis that answers and takes nothing
    with refusing(watch.road.redis):
        reports = []
        for _ in range(64):
            assert not watch.emit(1)
            reports.append(watch.look(1))
        # Then
        assert {tuple(found(report)) for report in reports[3:]} == {("sources_wait_s",)}
        assert [reports[at].colour for at in (0, 3, 63)] == [
            Colour.GREEN, Colour.YELLOW, Colour.ORANGE,
        ]  # fmt: skip
        for report in reports[3:]:  # what Redis takes to refuse comes on top of the turned clock
            late = report.figures["sources_wait_s"] > 60
            assert report.colour == (Colour.ORANGE if late else Colour.YELLOW)
        assert words in reports[-1].findings[0].sentence
        assert reports[-1].figures["redis"]["connected"] is True
        assert reports[-1].figures["sources_wait_s"] > 60
    # When it takes them again
    assert watch.emit(1)
    watch.road.drain()
    # Then it is green after a moment of calm
    report = watch.look(CALM_S)
    assert (report.colour, report.figures["sources_wait_s"]) == (Colour.GREEN, 0.0)


# --- a writer that does not get on ----------------------------------------------------------------


def test_consumer_is_stuck_when_nothing_is_acknowledged(watch: Watch) -> None:
    """Events that were read and never settled are one stuck consumer after 30 s."""
    # Given events that were delivered, after an idle hour
    watch.look(3600)
    watch.road.append(*[make_event(number) for number in range(50)])
    entries = watch.road.read()
    # When
    reports = [watch.look(1), watch.look(29), watch.look(2)]
    # Then
    assert [report.figures["stuck_consumers"] for report in reports] == [0, 0, 1]
    assert reports[-1].figures["pending_messages"] == 50
    assert found(reports[-1])["stuck_consumers"] == Colour.ORANGE
    # When they are written
    watch.road.hand_over(entries)
    watch.road.drain()
    # Then
    report = watch.look(1)
    assert (report.colour, report.figures["stuck_consumers"]) == (Colour.GREEN, 0)
    assert report.figures["processing_rate_events_per_sec"] > 0


def test_depth_and_lag_rise_and_fall_when_the_writer_is_held(watch: Watch) -> None:
    """12,000 events that nobody writes: yellow, orange, red by the thresholds, and green again."""
    # Given a writer that takes nothing
    seen = []
    for first in range(0, PUSHED, 500):
        watch.road.append(*[make_event(number) for number in range(first, first + 500)])
        seen.append((watch.look().figures["queue_depth"], found(watch.look()).get("queue_depth")))
    # When time passes
    aged = [found(watch.look(after_s)) for after_s in (0, 6, 26, 30)]
    # Then
    assert seen[0] == (500, None)
    assert seen[1] == (1_000, Colour.YELLOW)
    assert seen[19] == (10_000, Colour.ORANGE)
    assert seen[-1] == (PUSHED, Colour.ORANGE)
    assert [each.get("consumer_lag_ms") for each in aged] == [
        None, Colour.YELLOW, Colour.ORANGE, Colour.RED,
    ]  # fmt: skip
    # When it is released
    watch.road.drain()
    # Then
    report = watch.look(1)
    assert (report.colour, report.figures["queue_depth"]) == (Colour.GREEN, 0)
    assert report.figures["consumer_lag_ms"] == 0
    # and a minute later it is idle
    assert watch.look(61).state == "idle"


def test_dead_letters_are_red_and_quickly_counted_when_there_are_ten_thousand(
    watch: Watch,
) -> None:
    """10,000 large open letters are red and cost a look next to nothing; dropped ones are green."""
    # Given
    connection = watch.road.commits._connection
    raw = b"x" * LETTER_BYTES
    with transaction(connection):
        for number in range(LETTERS):
            Letters(connection).open(
                Letter(f"{number}-0", None, None, "", "", "", "", raw, "bad", "E", 1, "written"),
                wall_ms(),
            )
    # When
    began_s = monotonic_s()
    report = watch.look()
    took_s = monotonic_s() - began_s
    # Then
    assert report.figures["dlq_size"] == report.figures["dlq_recent_entries"] == LETTERS
    assert found(report) == {"dlq_size": Colour.RED}
    assert report.findings[0].command == "blueplane dlq list"
    assert took_s < 0.5
    plan = connection.execute(
        "EXPLAIN QUERY PLAN SELECT count(*) FROM dead_letters WHERE state = 'open'"
        " AND opened_ms >= 0"
    ).fetchall()
    assert "INDEX" in plan[0][3]
    assert watch.look(3601).figures["dlq_recent_entries"] == 0
    # When they are dropped
    watch.road.commits.drop([f"{number}-0" for number in range(LETTERS)])
    # Then
    assert watch.look().colour == Colour.GREEN


# --- a whole server -------------------------------------------------------------------------------


def queue_health(server: Server) -> dict[str, Any]:
    """Return what the server's last look at its queue found."""
    health: dict[str, Any] = server.ask("health").get("queue", {})
    return health


def colours(health: dict[str, Any]) -> dict[str, str]:
    """Return the colour of each figure that is not green."""
    return {finding["metric"]: finding["colour"] for finding in health.get("findings", ())}


def test_health_turns_and_returns_when_the_writer_of_a_server_is_frozen(
    home: Home, issued: Issued, redis_server: RedisServer, nursery: Nursery
) -> None:
    """A frozen writer and 12,000 events: depth orange, lag yellow; released, all is green."""
    with Server(home, redis_server, nursery) as server:
        # Given a server whose first commit takes nine seconds
        server.start_ready("before_commit:sleep=9")
        # When 12,000 events come
        issued.issue(PUSHED)
        # Then the colours rise
        wait_until(
            lambda: colours(queue_health(server)).get("queue_depth") == "orange",
            PATIENCE_S,
            "the depth is orange",
        )
        wait_until(
            lambda: colours(queue_health(server)).get("consumer_lag_ms") == "yellow",
            PATIENCE_S,
            "the lag is yellow",
        )
        # and fall by themselves
        issued.settle(server, redis_server)
        calm = {"health_status": "green", "queue_depth": 0, "spool_files": 0, "dlq_size": 0}
        wait_until(lambda: queue_health(server).items() >= calm.items(), PATIENCE_S, "all is calm")


def test_spool_grows_visibly_when_redis_is_stopped_while_hooks_fire(
    server: Server, issued: Issued, redis_server: RedisServer
) -> None:
    """Without Redis the files are counted and grow old, nothing is lost, and it is green after."""
    # Given a server that is well
    server.start_ready()
    # When Redis stops, and hooks go on
    redis_server.stop()
    issued.issue(300)
    issued.hook(3)
    # Then the spool is seen to hold all of it, and Redis to be away
    wait_until(lambda: queue_health(server).get("spool_files") == 303, PATIENCE_S, "files are seen")
    wait_until(
        lambda: {"redis", "oldest_spool_age_ms"} <= colours(queue_health(server)).keys(),
        PATIENCE_S,
        "it is not green",
    )
    health = queue_health(server)
    assert colours(health)["redis"] == "orange"
    assert (health["redis"]["connected"], health["queue_depth"]) == (False, None)
    assert health["spool_bytes"] == 303 * 4096
    # When it is back
    redis_server.start()
    balance = issued.settle(server, redis_server)
    # Then nothing is lost, and all is green
    assert balance["lost"] == 0
    wait_until(lambda: queue_health(server)["health_status"] == "green", PATIENCE_S, "it is green")
