"""The server: everything put together, started, watched and stopped.

Owns the composition of the program and the order of starting and stopping.
Promises one server per home by a held lock, a dead thread started again, and a stop within
``STOP_S``.
Leaves every job to its thread.
"""

import gc
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from threading import Event as Flag
from typing import Any, Final

from blueplane import __version__
from blueplane.capture.cursor.settings import user_hooks_file
from blueplane.capture.hook_event import HookReader
from blueplane.capture.poller import Poller, Task
from blueplane.capture.sanitise import Sanitiser
from blueplane.capture.spool import Outcome, Spooler
from blueplane.clock import monotonic_s
from blueplane.config import Settings
from blueplane.errors import StoreUnavailableError
from blueplane.event import Event
from blueplane.lock import ServerLock
from blueplane.logs import get
from blueplane.paths import Home
from blueplane.pipeline.attach import Attacher
from blueplane.pipeline.commits import Commits
from blueplane.pipeline.consumer import Consumer
from blueplane.pipeline.custody import InFlight
from blueplane.pipeline.intake import Intake
from blueplane.pipeline.redis_choice import RedisChoice
from blueplane.pipeline.stream import Stream
from blueplane.pipeline.training import Trainer
from blueplane.pipeline.trimming import Trimmer
from blueplane.pipeline.writer import Writer
from blueplane.server.control import ControlServer
from blueplane.store.ledger import Settlement
from blueplane.store.queries import Reader
from blueplane.threads import Backoff, Service

_log = get("main")

MEGA: Final = 1024 * 1024
#: Seconds that a stop takes at most (systemd would kill us later).
STOP_S: Final = 10.0
#: Seconds between two looks at the threads.
WATCH_S: Final = 1.0
#: Deaths of threads within a window of seconds after which the service manager takes over.
MAX_DEATHS: Final = 5
DEATH_WINDOW_S: Final = 600.0
#: Seconds before a dead thread, or the private server, is started again.
RESTART_S: Final = (0.1, 10.0)
#: Of the garbage collector: a batch of 1,000 makes some 20,000 objects that refer to others.
GC_THRESHOLDS: Final = (100_000, 50, 100)
#: Seconds between two looks whether there is something to train, or memory to give back.
TRAIN_S: Final = 30.0
TRIM_S: Final = 20.0


class StoreRecords:
    """What the spooler asks of the store: reads on its own connection, writes by the writer."""

    def __init__(self, path: Path, writer: Writer) -> None:
        self._path = path
        self._writer = writer
        self._reader: Reader | None = None

    def settled(self, events: Sequence[Event]) -> set[str]:
        """Return the origins of those events whose outcome is stored."""
        if self._reader is None:
            self._reader = Reader(self._path)
        return self._reader.settled(events)

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Store what became of files that never reached the stream."""
        records = [Settlement(**asdict(outcome)) for outcome in outcomes]
        self._writer.ask(lambda: self._writer.commits.settle(records))

    def close(self) -> None:
        """Close the reader: the last connection to go removes the -wal file."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def refused_offset(self) -> int:
        """Return up to where refusals are counted."""
        return self._writer.ask(self._writer.commits.refused_offset)

    def refuse(self, offset: int, counts: Mapping[str, int]) -> None:
        """Count refusals."""
        self._writer.ask(lambda: self._writer.commits.refuse(offset, counts))


class Daemon:
    """One server of one home."""

    def __init__(self, home: Home, settings: Settings) -> None:
        self.home = home
        self.settings = settings
        self.stopping = Flag()
        self._lock = ServerLock(home)
        self._deaths: list[float] = []
        self._restart = Backoff(*RESTART_S)

    def start(self) -> None:
        """Take the lock, open the store, start Redis and every thread.

        Raises AlreadyRunningError, StoreError or HomeError; a Redis that cannot be had is not an
        error: hooks spool until it can.
        """
        os.umask(0o077)
        self.home.prepare()
        self._lock.take()
        privacy = self.settings.privacy
        sanitiser = Sanitiser(
            privacy.level, self.home.secret(), hash_project_names=privacy.hash_project_names
        )
        self._make_pipeline()
        self._make_spooler(sanitiser)
        self._make_poller(sanitiser)
        self.control = ControlServer(self.home.socket("control.sock"), self._operations())
        #: In the order of starting; they are stopped the other way round.
        self.services: tuple[Service, ...] = (
            self.writer, self.consumer, self.spooler, self.poller, self.control,
        )  # fmt: skip
        # What exists now stays: only what batches make is worth the collector's time, and nearly
        # all of that goes by itself.
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        for service in self.services:
            service.start()
        _log.info("started", version=__version__, home=self.home.root, pid=os.getpid())

    def _make_pipeline(self) -> None:
        settings = self.settings
        self.commits = Commits(self.home.database)
        self.redis = RedisChoice(self.home, settings.redis)
        self.redis.watch()
        self.stream = Stream(self.redis.url, settings.redis.key_prefix)
        attacher = Attacher(
            self.stream,
            self.commits,
            InFlight(),
            self.home.home_id(),
            private=lambda: self.redis.mode == "private",
        )
        self.writer = Writer(self.commits, self.stream, attacher, settings.pipeline.max_retries)
        self.consumer = Consumer(self.stream, self.writer)
        queue = settings.queue
        self.intake = Intake(self.stream, self.writer, queue.max_entries, queue.max_mb * MEGA)
        self.intake.held = self.redis.draining

    def _make_spooler(self, sanitiser: Sanitiser) -> None:
        user_home = Path(os.environ.get("HOME") or self.home.root.parent)
        reader = HookReader(sanitiser, user_hooks_file(user_home).has_ours)
        self._records = StoreRecords(self.home.database, self.writer)
        self.spooler = Spooler(self.home, self.settings.spool, reader, self.intake, self._records)
        self.writer.sources.append(self.spooler)

    def _make_poller(self, sanitiser: Sanitiser) -> None:
        trainer = Trainer(self.home.database, sanitiser.training_form, self.writer)
        trimmer = Trimmer(self.writer)
        self.poller = Poller(
            [Task("train", TRAIN_S, trainer.train_one), Task("trim", TRIM_S, trimmer.trim)]
        )

    # -- watching --------------------------------------------------------------------------------

    def watch(self, tick: Callable[[], None] = lambda: None) -> int:
        """Watch over the threads until asked to stop; return the exit code."""
        while not self.stopping.wait(WATCH_S):
            self._watch_redis()
            if not all(self._revive(service) for service in self.services):
                _log.error("giving up", deaths=len(self._deaths))
                return 70
            tick()
        return 0

    def _revive(self, service: Service) -> bool:
        """Start a thread that died again; False when threads die too often."""
        if service.alive():
            return True
        now_s = monotonic_s()
        self._deaths = [at for at in self._deaths if now_s - at < DEATH_WINDOW_S] + [now_s]
        if len(self._deaths) >= MAX_DEATHS:
            return False
        if self.stopping.wait(self._restart.next_s()):
            return True
        # Whatever it had in hand is pending in the stream or still with its source.
        self.writer.reattach()
        service.start()
        _log.warning("restarted", thread=service.name, deaths=len(self._deaths))
        return True

    def handle_signals(self) -> None:
        """Stop on SIGTERM and SIGINT; a second one leaves at once. The handlers only set flags."""

        def stop(_number: int, _frame: object) -> None:
            if self.stopping.is_set():
                os._exit(130)
            self.stopping.set()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    # -- stopping --------------------------------------------------------------------------------

    def stop(self) -> bool:
        """Stop intake, then reading, then writing; True when everything ended in time.

        What is not written by then is pending in the stream, or still with its source.
        """
        deadline_s = monotonic_s() + STOP_S
        clean = True
        for service in reversed(self.services):
            service.stop()
            clean = service.join(max(0.1, deadline_s - monotonic_s() - 1)) and clean
        self.stream.close()
        self.redis.stop(max(0.5, deadline_s - monotonic_s()))
        if clean:
            self.spooler.close()
            self._records.close()
            self.commits.close()
        self._lock.release()
        _log.info("stopped", clean=clean)
        return clean

    # -- redis -----------------------------------------------------------------------------------

    def _watch_redis(self) -> None:
        """Have the server running; leave a private one that was drained for the one chosen."""
        self.redis.watch()
        if self.redis.draining and self.stream.attached and not self.writer.backlog():
            self.redis.finish_draining()
            self.intake.held = False
            self.writer.reattach()

    # -- control -----------------------------------------------------------------------------------

    def _operations(self) -> dict[str, Callable[..., Any]]:
        """Return what may be asked over the control socket."""
        return {
            "status": self.status,
            "dlq.retry": lambda ids: self.writer.ask(lambda: self.writer.letters.retry(ids)),
            "dlq.drop": lambda ids: self.writer.ask(lambda: self.writer.letters.drop(ids)),
        }

    def status(self) -> dict[str, Any]:
        """Take the balance now, and tell how the server is."""
        with suppress(StoreUnavailableError):  # the stored one is shown, and below why
            self.writer.ask(self.writer.balance_now, 5.0)
        return {
            "pid": os.getpid(),
            "version": __version__,
            "python": sys.version.split()[0],
            "redis": self._redis_status(),
            "store_error": self.writer.store_error,
            "threads": {service.name: service.alive() for service in self.services},
            "deaths": len(self._deaths),
        }

    def _redis_status(self) -> dict[str, Any]:
        connected = self.stream.attached
        status = {
            "mode": self.redis.mode,
            "connected": connected,
            "trouble": None if connected else self.consumer.trouble or self.redis.trouble,
        }
        if self.writer.attachment is None:
            return status
        server = self.writer.attachment.server
        return status | {
            "version": self.redis.version(server.version),
            "persistence": server.persistence,
            "policy": server.policy,
            "pid": server.pid,
        }
