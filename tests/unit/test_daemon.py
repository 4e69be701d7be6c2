import gc
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from blueplane import daemon as module
from blueplane import revival
from blueplane.config import Settings, settle
from blueplane.daemon import Daemon
from blueplane.errors import AlreadyRunningError, RemoteError
from blueplane.health import sampler
from blueplane.lock import is_running
from blueplane.paths import Home
from blueplane.pipeline import training
from blueplane.pipeline.health_log import HealthLog
from blueplane.pipeline.trimming import Trimmer
from blueplane.server.control import ask
from blueplane.server.http import HttpServer
from blueplane.store.queries import reading
from blueplane.threads import Service
from helpers.handing import hand_off
from helpers.http import free_port
from helpers.redis_server import RedisServer
from helpers.road import turn_clock
from helpers.waiting import wait_until

WAIT_S = 30.0


@pytest.fixture
def daemon(
    home: Home, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, unchanged: None
) -> Iterator[Daemon]:
    """Give a server in this process, on a Redis of its own; it is stopped in the end."""
    assert unchanged is None
    monkeypatch.setattr(module, "WATCH_S", 0.01)
    monkeypatch.setattr(revival, "RESTART_S", (0.001, 0.002))
    daemon = Daemon(home, settle({"redis.url": redis_server.url, "http.port": 0}))
    daemon.start()
    yield daemon
    daemon.stopping.set()
    if is_running(home):
        daemon.stop()


def rows(home: Home) -> int:
    """Return the number of rows."""
    with reading(home.database) as reader:
        return reader.count_rows()


def test_daemon_writes_what_hooks_leave_when_it_runs(daemon: Daemon) -> None:
    """Hand-off files become rows, the spool is empty in the end, and both laws close."""
    # Given / When
    hand_off(daemon.home, 30)
    wait_until(lambda: not any(daemon.home.spool.iterdir()), WAIT_S, "the spool is empty")
    # Then
    answer = ask(daemon.home.socket("control.sock"), "status")
    with reading(daemon.home.database) as reader:
        snapshot = reader.balance()
    assert snapshot is not None
    body = snapshot.body
    assert body["balanced"] is True
    assert body["captured"] == 30 == rows(daemon.home) + body["duplicate"]
    assert (answer["pid"], answer["store_error"], answer["deaths"]) == (os.getpid(), None, 0)
    assert all(answer["threads"].values())
    assert answer["redis"]["connected"] is True
    assert answer["redis"]["mode"] == "external"


def test_daemon_gives_every_descriptor_back_when_it_stops(
    home: Home, redis_server: RedisServer, unchanged: None
) -> None:
    """A server that was started and stopped leaves no open file, socket or thread behind."""
    # Given a first round, for what is opened once and stays
    assert unchanged is None

    def go_round() -> tuple[int, int]:
        daemon = Daemon(home, settle({"redis.url": redis_server.url, "http.port": 0}))
        daemon.start()
        wait_until(lambda: daemon.stream.attached, WAIT_S, "attached")
        assert daemon.stop() is True
        gc.collect()
        return sum(1 for _ in Path("/dev/fd").iterdir()), threading.active_count()

    first = go_round()
    # When / Then
    assert [go_round() for _ in range(3)] == [first] * 3


def test_daemon_leaves_everything_in_order_when_it_stops(daemon: Daemon) -> None:
    """A stop ends every thread, gives the lock back and leaves no socket."""
    # Given
    wait_until(lambda: daemon.stream.attached, WAIT_S, "attached")
    assert is_running(daemon.home)
    # When
    clean = daemon.stop()
    # Then
    assert clean is True
    assert [service.name for service in daemon.services if service.alive()] == []
    assert is_running(daemon.home) is False
    assert not daemon.home.socket("control.sock").exists()


@pytest.mark.fault("F1")
def test_daemon_is_refused_when_another_one_runs(daemon: Daemon) -> None:
    """The second server of a home names the first, and disturbs it in nothing."""
    # Given a running server / When
    second = Daemon(daemon.home, daemon.settings)
    with pytest.raises(AlreadyRunningError, match=f"pid {os.getpid()} since") as caught:
        second.start()
    # Then
    assert caught.value.exit_code == 3
    hand_off(daemon.home, 3)
    wait_until(lambda: rows(daemon.home) == 3, WAIT_S, "the first one goes on")


def test_daemon_writes_after_a_start_what_was_left_before_it(
    home: Home, redis_server: RedisServer, unchanged: None
) -> None:
    """Hooks work without a server: what they left is written when one starts."""
    # Given
    assert unchanged is None
    hand_off(home, 5)
    daemon = Daemon(home, settle({"redis.url": redis_server.url, "http.port": 0}))
    # When
    daemon.start()
    # Then
    wait_until(lambda: rows(home) == 5, WAIT_S, "all written")
    assert daemon.stop() is True


@pytest.mark.fault("A15")
def test_daemon_starts_a_thread_again_when_it_dies(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that dies of an unforeseen error is started again, and events flow."""
    # Given a writer, a consumer and a spooler that die once each, in the middle of their work
    for service, step in (
        (daemon.writer, "_take"),
        (daemon.consumer, "_follow"),
        (daemon.spooler, "_take"),
    ):
        with monkeypatch.context() as patch:

            def die(*_: object) -> None:
                raise ZeroDivisionError

            patch.setattr(service, step, die)
            daemon.spooler.wake()
            daemon.writer.reattach()
            wait_until(lambda service=service: not service.alive(), WAIT_S, f"{service.name} died")
        # When / Then
        assert daemon.revival.revive(service) is True
        assert service.alive()
    hand_off(daemon.home, 5)
    wait_until(lambda: rows(daemon.home) == 5, WAIT_S, "all written")
    assert daemon.status()["deaths"] == 3


@pytest.mark.fault("A15")
def test_daemon_gives_up_when_its_threads_die_too_often(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five deaths in ten minutes are an exit code for the service manager."""

    # Given a thread that dies at once, whenever it is started
    def die() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(daemon.control, "loop", die)
    daemon.control.stop()
    assert daemon.control.join(WAIT_S)
    # When
    ticks: list[int] = []
    code = daemon.watch(lambda: ticks.append(1))
    # Then
    assert code == 70
    assert len(daemon.revival.deaths) == revival.MAX_DEATHS


@pytest.mark.fault("A15")
def test_daemon_goes_on_when_its_onlookers_die_whenever_they_start(
    home: Home, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, unchanged: None
) -> None:
    """Threads of health and HTTP that die as often as they start cost nothing but themselves."""
    # Given two threads that die whenever they are started
    assert unchanged is None
    monkeypatch.setattr(module, "WATCH_S", 0.01)
    monkeypatch.setattr(revival, "ONLOOKER_S", 0.02)
    deaths: Counter[str] = Counter()

    def die(service: Service) -> None:
        deaths[service.name] += 1
        raise ZeroDivisionError

    monkeypatch.setattr(sampler.Sampler, "loop", die)
    monkeypatch.setattr(HttpServer, "loop", die)
    daemon = Daemon(home, settle({"redis.url": redis_server.url, "http.port": free_port()}))
    daemon.start()

    def stop_when_they_died_often() -> None:
        if min(deaths["health"], deaths["http"]) > revival.MAX_DEATHS and rows(home) == 5:
            daemon.stopping.set()

    try:
        # When they have died more often than the others may
        hand_off(home, 5)
        code = daemon.watch(stop_when_they_died_often)
        # Then the server wrote what came, and ended because it was asked to
        assert code == 0
        assert daemon.status()["deaths"] == 0
    finally:
        daemon.stop()


def test_daemon_starts_an_onlooker_in_its_time_when_it_dies_again(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An onlooker is started at once when it died, and again after a while, not before."""
    # Given a thread of health that died, and was started again
    turned = turn_clock(monkeypatch)
    starts: list[float] = []
    daemon.sampler.stop()
    assert daemon.sampler.join(WAIT_S)
    monkeypatch.setattr(daemon.sampler, "start", lambda: starts.append(turned.monotonic()))
    assert daemon.revival.revive(daemon.sampler) is True
    assert len(starts) == 1
    # When / Then
    assert daemon.revival.revive(daemon.sampler) is True
    assert len(starts) == 1
    turned.sleepless(revival.ONLOOKER_S)
    assert daemon.revival.revive(daemon.sampler) is True
    assert len(starts) == 2


def test_daemon_forgets_deaths_when_they_are_long_ago(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Deaths outside of the window do not count."""
    # Given
    turned = turn_clock(monkeypatch)
    daemon.control.stop()
    assert daemon.control.join(WAIT_S)
    daemon.revival.deaths = [turned.monotonic()] * (revival.MAX_DEATHS - 1)
    # When
    turned.sleepless(revival.DEATH_WINDOW_S + 1)
    # Then
    assert daemon.revival.revive(daemon.control) is True
    assert len(daemon.revival.deaths) == 1


@pytest.mark.fault("A13")
def test_daemon_stops_on_a_signal_and_leaves_at_once_on_the_second(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first signal sets a flag, the second ends the process, SIGHUP is nobody's."""
    # Given
    left: list[int] = []
    monkeypatch.setattr(module.os, "_exit", left.append)
    daemon.handle_signals()
    # When / Then
    os.kill(os.getpid(), signal.SIGHUP)
    assert not daemon.stopping.is_set()
    os.kill(os.getpid(), signal.SIGTERM)
    assert daemon.stopping.is_set()
    assert daemon.watch() == 0
    assert left == []
    os.kill(os.getpid(), signal.SIGINT)
    assert left == [130]


def test_daemon_says_what_is_wrong_when_redis_is_away(
    daemon: Daemon, redis_server: RedisServer
) -> None:
    """Status names the trouble; hooks spool; what they left is written when it is back."""
    # Given
    wait_until(lambda: daemon.stream.attached, WAIT_S, "attached")
    redis_server.kill()
    hand_off(daemon.home, 4)
    wait_until(lambda: not daemon.stream.attached and daemon.consumer.trouble, WAIT_S, "noticed")
    # When
    redis = daemon.status()["redis"]
    # Then
    assert (redis["connected"], "does not answer" in redis["trouble"]) == (False, True)
    redis_server.start()
    wait_until(lambda: rows(daemon.home) == 4, WAIT_S, "all written")


def test_daemon_settles_bad_files_and_refusals_when_it_runs(daemon: Daemon) -> None:
    """What never reaches the stream is counted in the store, and the second law closes."""
    # Given
    (daemon.home.run / "refused").write_bytes(b"fp")
    (daemon.home.spool / "1.1.1").write_bytes(b"not json\n\x1ecursor stop\n")
    # When
    daemon.spooler._round_due_s = 0.0
    daemon.spooler.wake()
    wait_until(lambda: daemon.commits.ledger.cursor("refused") == 2, WAIT_S, "refusals are counted")
    wait_until(lambda: list(daemon.home.quarantine.iterdir()), WAIT_S, "set aside")
    daemon.writer.ask(daemon.writer.balance)
    # Then
    with reading(daemon.home.database) as reader:
        snapshot = reader.balance()
    assert snapshot is not None
    body = snapshot.body
    assert (body["refused"], body["quarantined"], body["captured"]) == (2, 1, 3)
    assert body["balanced"] is True


def test_daemon_trains_a_dictionary_when_a_source_has_enough_rows(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its first rows a source gets a dictionary of its own, once; rows stay readable."""
    # Given
    monkeypatch.setattr(training, "TRAIN_AFTER", 200)
    hand_off(daemon.home, 260)
    wait_until(lambda: not any(daemon.home.spool.iterdir()), WAIT_S, "all written")
    train = next(task for task in daemon.poller._tasks if task.name == "train").work
    # When
    train()
    train()
    hand_off(daemon.home, 20, seed=1)
    wait_until(lambda: not any(daemon.home.spool.iterdir()), WAIT_S, "all written")
    # Then
    with reading(daemon.home.database) as reader:
        assert reader.untrained_sources(200) == []
        assert all(text.startswith(b'{"metadata":') for text in reader.recent_data("hook", 300))
    trained = daemon.writer.ask(
        lambda: daemon.commits._connection.execute(
            "SELECT source FROM dictionaries WHERE trained_ms > 0"
        ).fetchall()
    )
    assert trained == [("hook",)]


def test_daemon_gives_memory_back_when_a_burst_is_over(daemon: Daemon) -> None:
    """After rows were written, and none came since, memory is trimmed, and once for that."""
    # Given what the allocator is told
    trims: list[int] = []
    trimmer = Trimmer(daemon.writer)
    trimmer._trim = trims.append
    # When there were no rows / Then
    trimmer.trim()
    assert trims == []
    # When there were some / Then
    hand_off(daemon.home, 5)
    wait_until(lambda: not any(daemon.home.spool.iterdir()), WAIT_S, "all written")
    wait_until(lambda: daemon.writer.written >= 5 and not daemon.writer.in_flight, WAIT_S, "done")
    trimmer.trim()
    assert trims == []
    # When none came since / Then
    trimmer.trim()
    trimmer.trim()
    assert trims == [0]
    # When some are in flight / Then
    daemon.writer.written += 1
    daemon.writer.in_flight.register([b"1-0"], ["o"], [1])
    trimmer.trim()
    trimmer.trim()
    assert trims == [0]
    daemon.writer.in_flight.settle([b"1-0"])


def asked(daemon: Daemon, operation: str, **arguments: object) -> Any:
    """Ask over the control socket, once it is there."""
    path = daemon.home.socket("control.sock")
    wait_until(path.exists, WAIT_S, "the server listens")
    return ask(path, operation, **arguments)


def test_daemon_takes_up_a_changed_configuration_when_asked(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `reload` what can change without a start has changed, and what cannot is named."""
    # Given a running server, whose Redis is in the environment, as it was at its start
    monkeypatch.setenv("BLUEPLANE_REDIS_URL", str(daemon.settings.redis.url))
    daemon.home.config_file.write_text(
        "filter: {hooks: [Stop]}\nretention: {raw_days: 30}\nredis: {key_prefix: other}\n"
    )
    # When it is asked to read it
    answer = asked(daemon, "reload")
    # Then it goes by it
    assert answer == {
        "applied": ["filter.hooks", "retention.raw_days"],
        "restart": ["redis.key_prefix"],
    }
    body = b'{"session_id": "s-1", "hook_event_name": "Stop"}\n\x1eclaude_code Stop\n'
    (daemon.home.spool / "1.1.1").write_bytes(body)
    wait_until(lambda: not any(daemon.home.spool.iterdir()), WAIT_S, "the spool is empty")
    assert rows(daemon.home) == 0
    # And says of what needs a start until there was one
    assert asked(daemon, "reload")["restart"] == ["redis.key_prefix"]


def test_daemon_goes_by_the_newest_configuration_when_two_ask_at_once(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has read an older file does not apply it after who has read the newer one."""
    # Given one request that has read the file and gets no further
    read, go = threading.Event(), threading.Event()
    load = module.load

    def slow_load(home: Home, environment: Mapping[str, str]) -> Settings:
        settings = load(home, environment)
        if not read.is_set():
            read.set()
            go.wait(WAIT_S)
        return settings

    monkeypatch.setattr(module, "load", slow_load)
    daemon.home.config_file.write_text("privacy: {level: full}\n")
    first = threading.Thread(target=daemon.reload)
    first.start()
    assert read.wait(WAIT_S)

    # When the file changes and another one asks
    daemon.home.config_file.write_text("privacy: {level: strict}\n")
    second = threading.Thread(target=daemon.reload)
    second.start()
    second.join(0.2)
    go.set()
    first.join(WAIT_S)
    second.join(WAIT_S)

    # Then the newer file holds
    assert daemon.settings.privacy.level == "strict"
    assert daemon.sanitiser.level == "strict"


def test_daemon_stays_as_it_is_when_the_configuration_is_broken(daemon: Daemon) -> None:
    """A configuration that cannot be read changes nothing."""
    # Given
    before = daemon.settings
    daemon.home.config_file.write_text("filter: {hoks: [Stop]}\n")
    # When / Then
    with pytest.raises(RemoteError, match=r"filter\.hooks"):
        asked(daemon, "reload")
    assert daemon.settings is before


def test_daemon_wakes_its_workers_when_letters_are_retried(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A letter of a worker is tried again at once, and not when there are new rows."""
    # Given
    woken: list[bool] = []
    monkeypatch.setattr(daemon.workers, "wake", lambda: woken.append(True))

    # When
    retried = asked(daemon, "dlq.retry", ids=[])

    # Then
    assert (retried, woken) == ([], [True])


def test_daemon_stops_when_asked_over_its_socket(daemon: Daemon) -> None:
    """`stop` is a request, not a signal: nobody can hit a stranger with it."""
    # Given / When
    answer = asked(daemon, "stop")
    # Then
    assert answer == {"pid": os.getpid()}
    assert daemon.stopping.is_set()


@pytest.mark.fault("C1", "C18")
def test_daemon_runs_retention_by_the_settings_of_the_day(daemon: Daemon) -> None:
    """Old rows go some minutes after the start, and each hour, as the settings say by then."""
    # Given a server that was just started, and a row of it
    hand_off(daemon.home, 1)
    wait_until(lambda: rows(daemon.home) == 1, WAIT_S, "written")
    assert daemon.home.reserve.exists()
    tasks = {task.name: task for task in daemon.poller._tasks}
    retention = tasks["retention"]
    assert 200 < retention.due_s - module.monotonic_s() <= module.RETENTION_FIRST_S
    assert (retention.every_s, tasks["reserve"].every_s) == (3600, 60)
    # When the row is older than a setting that came later
    connection = daemon.commits._connection
    aged = "UPDATE traces SET captured_ns = captured_ns - 40 * 86400 * 1000000000"
    retention.work()
    daemon.writer.ask(lambda: connection.execute(aged))
    retention.work()
    assert rows(daemon.home) == 1
    daemon.settings = settle({"retention.raw_days": 30})
    # Then it goes, and on a full disk it would have gone, too
    assert daemon.writer.relieve == daemon.retention.relieve
    retention.work()
    assert rows(daemon.home) == 0


def test_history_has_a_sample_when_a_minute_is_over(
    home: Home, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, unchanged: None
) -> None:
    """A server keeps a sample of each minute, in a key of its own that no law counts."""
    # Given
    assert unchanged is None
    monkeypatch.setattr(sampler, "EVERY_S", 0.01)
    turned = turn_clock(monkeypatch)
    daemon = Daemon(home, settle({"redis.url": redis_server.url, "http.port": 0}))
    daemon.start()
    log = HealthLog(lambda: redis_server.url)
    try:
        wait_until(lambda: daemon.stream.attached, WAIT_S, "it is attached")
        seen = daemon.sampler.snapshot.as_of_ms
        wait_until(lambda: daemon.sampler.snapshot.as_of_ms > seen, WAIT_S, "it looks")

        # When
        turned.sleepless(60)

        # Then
        wait_until(lambda: "health_status" in log.names(), WAIT_S, "a sample is written")
        daemon.writer.ask(daemon.writer.balance_now)
    finally:
        daemon.stopping.set()
        daemon.stop()
    with reading(home.database) as reader:
        stored = reader.balance()
    assert stored is not None
    assert stored.body["balanced"]
    assert stored.body["enqueued"] == 0
