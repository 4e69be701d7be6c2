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
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event as Flag
from threading import Lock
from typing import Any, Final

from blueplane import __version__, proof
from blueplane.analytics.metrics.today import Today
from blueplane.analytics.roster import make_workers
from blueplane.analytics.worker import Store
from blueplane.capture.claude_code.hooks import PLATFORM as CLAUDE_CODE
from blueplane.capture.claude_code.transcript import TranscriptReader
from blueplane.capture.cursor.events import Maker
from blueplane.capture.cursor.hooks import PLATFORM as CURSOR
from blueplane.capture.cursor.settings import user_hooks_file
from blueplane.capture.cursor.workspaces import Places
from blueplane.capture.databases import DatabaseMonitor
from blueplane.capture.filters import Filters
from blueplane.capture.history import STORES, TRANSCRIPTS, Again, History
from blueplane.capture.hook_event import HookReader
from blueplane.capture.pausing import pauses
from blueplane.capture.poller import Poller, Task
from blueplane.capture.pseudonyms import Pseudonyms
from blueplane.capture.quarantine import Quarantine
from blueplane.capture.renewal import Renewal, make_sanitiser
from blueplane.capture.spool import Spooler
from blueplane.capture.transcripts import Surroundings, TranscriptMonitor
from blueplane.clock import monotonic_s
from blueplane.config import Settings, changes, load
from blueplane.errors import StoreError, StoreUnavailableError
from blueplane.lock import ServerLock
from blueplane.logs import adjust, get
from blueplane.monitors import left_to_read, monitor_states
from blueplane.onlookers import Road, make_onlookers, our_redis
from blueplane.paths import Home
from blueplane.pipeline.attach import Attacher
from blueplane.pipeline.backfill import Around, Backfill, Origin
from blueplane.pipeline.checking import Checker
from blueplane.pipeline.commits import Commits
from blueplane.pipeline.consumer import STARTING, Consumer
from blueplane.pipeline.custody import InFlight
from blueplane.pipeline.eraser import Eraser
from blueplane.pipeline.intake import Intake
from blueplane.pipeline.metric_log import MetricLog
from blueplane.pipeline.pressure import Pressure
from blueplane.pipeline.rebuilder import Rebuilder
from blueplane.pipeline.records import StoreRecords
from blueplane.pipeline.redis_choice import RedisChoice
from blueplane.pipeline.refresher import Refresher
from blueplane.pipeline.retention import Retention
from blueplane.pipeline.stream import Stream
from blueplane.pipeline.training import Trainer
from blueplane.pipeline.trimming import Trimmer
from blueplane.pipeline.writer import Writer
from blueplane.revival import Revival
from blueplane.sandbox import look
from blueplane.server.control import ControlServer
from blueplane.server.guard import read_token
from blueplane.store import location
from blueplane.store.reserve import Reserve
from blueplane.supervisor import Supervisor
from blueplane.threads import Service

_log = get("main")

#: Seconds that a stop takes at most (systemd would kill us later).
STOP_S: Final = 10.0
#: Seconds for a new balance, where somebody waits to be told how the server is.
BALANCE_S: Final = 1.5
#: Seconds between two looks at the threads.
WATCH_S: Final = 1.0
#: Of the garbage collector: a batch of 1,000 makes some 20,000 objects that refer to others.
GC_THRESHOLDS: Final = (100_000, 50, 100)
#: Seconds between two looks whether there is something to train, or memory to give back.
TRAIN_S: Final = 10.0
TRIM_S: Final = 20.0
#: Seconds between two tellings of today's figures.
TELL_S: Final = 1.0
#: Seconds between two looks at the reserve.
RESERVE_S: Final = 60.0
#: Seconds between two looks at what is old enough to go, and before the first.
RETENTION_S: Final = 3600.0
RETENTION_FIRST_S: Final = 300.0
#: Seconds between two looks whether the database is to be checked.
CHECK_S: Final = 60.0
#: Entries in the stream above which workers give way.
BUSY: Final = 200
#: Settings that only a start can take up.
AT_START: Final = ("redis.", "http.")
#: Why sources wait: a private server that was left for another one is read empty first.
_DRAINING: Final = "draining"


class Daemon:
    """One server of one home."""

    def __init__(self, home: Home, settings: Settings) -> None:
        self.home = home
        self.settings = settings
        self.stopping = Flag()
        self.supervisor = Supervisor(os.environ)
        self._lock = ServerLock(home)
        self._reloading = Lock()

    def start(self) -> None:
        """Take the lock, open the store, start Redis and every thread.

        Raises AlreadyRunningError, StoreError or HomeError; a Redis that cannot be had is not an
        error: hooks spool until it can.
        """
        os.umask(0o077)
        self.home.prepare()
        self._lock.take()
        self.sandbox = look(self.home, self._user_home())
        self._make()
        self.redis.watch()  # when nothing can fail any more: nobody would end its server
        # What exists now stays: only what batches make is worth the collector's time, and nearly
        # all of that goes by itself.
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        for service in self.services:
            service.start()
        remark = location.trouble(self.home.root)
        if remark is not None:
            _log.warning("bad place", reason=remark)
        _log.info(
            "started", version=__version__, home=self.home.root, pid=os.getpid(),
            manager=self.supervisor.kind, sandbox=self.sandbox.level,
        )  # fmt: skip

    def _make(self) -> None:
        # Of a VACUUM: what it writes down for a while is as private as the database.
        os.environ["SQLITE_TMPDIR"] = str(self.home.run)
        self.sanitiser = make_sanitiser(self.settings.privacy, self.home.secret())
        self.token = read_token(self.home.token_file)
        #: Proves to whoever asks that we are the server of this home.
        self.prove = partial(proof.answer, self.token, self.home.home_id())
        self._make_pipeline()
        self._make_spooler()
        self._make_transcripts()
        self._make_databases()
        self._make_retention()
        self._make_poller()
        self.eraser = Eraser(self.home, self.writer, self.intake, self._renewal)
        self._make_backfill()
        self._make_workers()
        self._make_onlookers()
        self.control = ControlServer(
            self.home.control_socket, self.operations(), self.long_operations()
        )
        #: In the order of starting; they are stopped the other way round.
        self.services: tuple[Service, ...] = (
            self.writer, self.consumer, self.spooler, self.transcripts, self.databases,
            self.poller, self.workers, self.sampler, *([self.http] if self.http else []),
            self.control,
        )  # fmt: skip
        onlookers = (self.sampler, self.workers, *([self.http] if self.http else []))
        self.revival = Revival(onlookers, self.writer.reattach, self.stopping)

    def _make_pipeline(self) -> None:
        settings = self.settings
        self.commits = Commits(self.home.database, replace=settings.store.on_damage == "replace")
        self.redis = RedisChoice(self.home, settings.redis)
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
        self.intake = Intake(self.stream, self.writer, queue.max_entries, queue.max_bytes)
        if self.redis.draining:
            self.intake.holders.add(_DRAINING)

    def _make_spooler(self) -> None:
        cursor_hooks = user_hooks_file(self._user_home())
        self.reader = HookReader(self.sanitiser, cursor_hooks.has_ours, self._filters())
        self._records = StoreRecords(self.home.database, self.writer)
        self.spooler = Spooler(
            self.home, self.settings.spool, self.reader, self.intake, self._records
        )
        self.writer.sources.append(self.spooler)
        self.pressure = Pressure(
            self.intake,
            self.stream,
            self.writer,
            backlog=lambda: self.spooler.backlog,
            trouble=lambda: self.consumer.trouble or self.redis.trouble,
        )

    def _make_transcripts(self) -> None:
        self._transcript_records = StoreRecords(self.home.database, self.writer)
        self.transcript_reader = TranscriptReader(self.sanitiser, self._filters())
        around = Surroundings(
            roots=lambda: self._history().roots(),
            wanted=lambda: self.settings.capture.transcripts,
            pauses=lambda: pauses(self.home),
            secret=self.home.secret(),
        )
        self.transcripts = TranscriptMonitor(
            self.transcript_reader, self.intake, self._transcript_records, around
        )
        self.writer.sources.append(self.transcripts)
        self.spooler.listeners.append(self.transcripts.turn_ended)

    def _make_databases(self) -> None:
        self._database_records = StoreRecords(self.home.database, self.writer)
        self.database_maker = Maker(
            self.sanitiser,
            self._filters(),
            self.home.secret(),
            pauses=lambda: pauses(self.home),
        )
        self.databases = DatabaseMonitor(
            self._places, self.database_maker, self.intake, self._database_records
        )
        self.writer.sources.append(self.databases.courier)
        self.spooler.listeners.append(self.databases.turn_ended)

    def _places(self) -> Places | None:
        return self._history().places()

    def _history(self) -> History:
        secret = self.home.secret()
        return History(self.settings.capture, self._user_home(), os.environ, secret)

    def _make_backfill(self) -> None:
        lines, stores = self.transcripts, self.databases
        origins = (
            Origin(
                TRANSCRIPTS, lines.extent, lines.look_anew, CLAUDE_CODE.name, ("transcript",),
                even=True,
            ),
            Origin(
                STORES, stores.extent, stores.look_anew, CURSOR.name, ("database", "transcript"),
                even=False,
            ),
        )  # fmt: skip
        around = Around(self._holds_up, lambda: self.workers.states().keys())
        self.backfill = Backfill(self.home.database, origins, around)
        again = Again(self._history, lambda: self.settings.privacy)
        self.refresher = Refresher(self.home.database, self.writer, again, self.eraser.busy)

    def _user_home(self) -> Path:
        return Path(os.environ.get("HOME") or self.home.root.parent)

    def _renewal(self) -> Renewal:
        return Renewal(self.settings.privacy, self.home.secret())

    def _filters(self) -> Filters:
        return Filters(self.settings.filter, self.home.secret())

    def _make_retention(self) -> None:
        self.reserve = Reserve(self.home.reserve)
        self.reserve.keep()
        self.retention = Retention(
            self.writer,
            Quarantine(self.home.quarantine),
            self.reserve,
            lambda: self.settings.retention,
            self.stopping,
        )
        self.retention.present = self._present
        self.writer.relieve = self.retention.relieve

    def _present(self) -> dict[str, set[str]]:
        """Return which items there are of the sources that have looked everywhere."""
        items = {"transcript": self.transcripts.items(), "database": self.databases.items()}
        return {source: found for source, found in items.items() if found is not None}

    def _make_poller(self) -> None:
        trainer = Trainer(self.home.database, self.sanitiser.training_form, self.writer)
        trimmer = Trimmer(self.writer)
        checker = Checker(self.home.database, self.writer)
        find_url = partial(our_redis, self.stream, self.redis)
        log = MetricLog(find_url, self.settings.redis.key_prefix)
        self.today = Today(self.home.database, log)
        self.poller = Poller(
            [
                Task("train", TRAIN_S, trainer.train_one),
                Task("trim", TRIM_S, trimmer.trim),
                Task("check", CHECK_S, checker.check),
                Task("reserve", RESERVE_S, self.reserve.keep),
                Task("retention", RETENTION_S, self.retention.run, RETENTION_FIRST_S),
                Task("metrics", TELL_S, self.today.tell),
            ]
        )

    def _make_workers(self) -> None:
        store = Store(
            self.home.database,
            codec=lambda: self.commits.codec,
            edition=lambda: self.commits.edition,
            derive=self.writer.derive,
            busy=lambda: self.writer.backlog() > BUSY,
        )
        self.workers = make_workers(store, Pseudonyms(self.home.secret()))
        self.workers.followed = self.today.wake
        self.writer.announced = self.workers.wake
        self.rebuilder = Rebuilder(
            self.home.database, self.writer, self.workers.wake, self.stopping
        )

    def _make_onlookers(self) -> None:
        road = Road(
            self.home, self._user_home(), lambda: self.settings, self.redis, self._redis_status,
            self.stream, self.commits, self.writer, self.spooler, self.pressure, self.workers,
            partial(monitor_states, self.transcripts, self.databases), self.token, self.prove,
        )  # fmt: skip
        onlookers = make_onlookers(road)
        self.sampler, self.http = onlookers.sampler, onlookers.http

    # -- watching --------------------------------------------------------------------------------

    def watch(self, tick: Callable[[], None] = lambda: None) -> int:
        """Watch over the threads until asked to stop; return the exit code.

        Raises StoreBrokenError when the database is damaged, and must not be replaced.
        """
        self.supervisor.ready()
        while not self.stopping.wait(WATCH_S):
            self.watch_redis()
            self.pressure.look()
            if self.writer.damage is not None and not self.commits.replace:
                self.stopping.set()
                raise self.writer.damage
            if not all(self.revival.revive(service) for service in self.services):
                return 70
            self.supervisor.look((self.writer, self.consumer, self.spooler), self._trouble())
            tick()
        return 0

    def _trouble(self) -> str | None:
        """Return what holds events up, None while nothing does."""
        return self.writer.store_error or self._redis_status()["trouble"]

    def _holds_up(self) -> str | None:
        """Return the same, or which worker fails, whose figures are not whole without."""
        failing = (name for name, each in self.workers.states().items() if not each.running)
        worker = next(failing, None)
        if (trouble := self._trouble()) not in (None, STARTING):
            return trouble
        return f"the worker of {worker} fails, see `blueplane health workers`" if worker else None

    def handle_signals(self) -> None:
        """Stop on SIGTERM and SIGINT; a second one leaves at once. The handlers only set flags."""
        signalled = Flag()  # a stop that was asked for over the socket is no signal

        def stop(_number: int, _frame: object) -> None:
            if signalled.is_set():
                os._exit(130)
            signalled.set()
            self.stopping.set()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    # -- stopping --------------------------------------------------------------------------------

    def stop(self) -> bool:
        """Stop intake, then reading, then writing; True when everything ended in time.

        What is not written by then is pending in the stream, or still with its source.
        """
        self.supervisor.stopping()
        deadline_s = monotonic_s() + STOP_S
        clean = True
        for service in reversed(self.services):
            service.stop()
            clean = service.join(max(0.1, deadline_s - monotonic_s() - 1)) and clean
        self.stream.close()
        self.redis.stop(max(0.5, deadline_s - monotonic_s()))
        if clean:
            snapshot = self.sampler.snapshot
            with suppress(StoreError):
                if snapshot.reports:  # else nothing was looked at yet
                    self.commits.put_health(snapshot.as_of_ms, snapshot.body())
            self.spooler.close()
            self.transcripts.close()
            self._records.close()
            self._transcript_records.close()
            self._database_records.close()
            self.commits.close()
        self._lock.release()
        _log.info("stopped", clean=clean)
        return clean

    # -- redis -----------------------------------------------------------------------------------

    def watch_redis(self) -> None:
        """Have the server running; leave a private one that was drained for the one chosen."""
        self.redis.watch()
        if self.redis.draining and self.stream.attached and not self.writer.backlog():
            self.redis.finish_draining()
            self.intake.holders.discard(_DRAINING)
            self.writer.reattach()

    # -- control -----------------------------------------------------------------------------------

    def operations(self) -> dict[str, Callable[..., Any]]:
        """Return what may be asked over the control socket, and is answered soon."""
        return {
            "status": self.status,
            "health": self.health,
            "prove": self.prove,
            "stop": self.ask_to_stop,
            "reload": self.reload,
            "backfill.status": self.backfill.status,
            "dlq.retry": self.retry_letters,
            "dlq.drop": lambda ids: self.writer.ask(lambda: self.writer.letters.drop(ids)),
        }

    def long_operations(self) -> dict[str, Callable[..., Any]]:
        """Return what takes its time, and says meanwhile how far it is."""
        return {
            "forget.plan": self.eraser.plan,
            "forget": partial(self._erase, self.eraser.forget),
            "scrub": partial(self._erase, self.eraser.scrub),
            "backfill.refresh": self.refresher.refresh,
            "rebuild": self.rebuilder.rebuild,
        }

    def _erase(
        self,
        work: Callable[..., dict[str, Any]],
        report: Callable[[Mapping[str, Any]], None],
        **wanted: object,
    ) -> dict[str, Any]:
        """Have the eraser do something, and wait until what is left is derived anew."""
        answer = work(report, **wanted)
        answer["notes"] += self.rebuilder.finish(report)
        return answer

    def retry_letters(self, ids: Sequence[str]) -> list[str]:
        """Have open letters tried again, those of workers as well; return which were open."""
        retried = self.writer.ask(lambda: self.writer.letters.retry(ids))
        self.workers.wake()
        return retried

    def ask_to_stop(self) -> dict[str, int]:
        """Have the main thread stop everything."""
        self.stopping.set()
        return {"pid": os.getpid()}

    def reload(self) -> dict[str, list[str]]:
        """Read the configuration again; return the keys ``applied``, and those for a ``restart``.

        Raises ConfigError, and then everything stays as it is.
        """
        with self._reloading:  # else the older of two could be what holds in the end
            return self._reload()

    def _reload(self) -> dict[str, list[str]]:
        new = load(self.home, os.environ)
        changed = changes(self.settings, new)
        later = [key for key in changed if key.startswith(AT_START)]
        self.settings = replace(new, redis=self.settings.redis, http=self.settings.http)
        self.sanitiser = make_sanitiser(self.settings.privacy, self.home.secret())
        self.reader.use(self.sanitiser, self._filters())
        self.transcript_reader.use(self.sanitiser, self._filters())
        self.database_maker.use(self.sanitiser, self._filters())
        self.spooler.settings = new.spool
        self.intake.limit(new.queue.max_entries, new.queue.max_bytes)
        self.writer.max_retries = new.pipeline.max_retries
        self.commits.replace = new.store.on_damage == "replace"
        self.backfill.look_anew()
        adjust(new.log.level, new.log.max_bytes, new.log.levels)
        applied = [key for key in changed if key not in later]
        if applied:
            _log.info("reloaded", keys=",".join(applied))
        return {"applied": applied, "restart": later}

    def health(self) -> dict[str, Any]:
        """Return the last look at everything."""
        return self.sampler.snapshot.body()

    def status(self, *, balance_s: float = BALANCE_S) -> dict[str, Any]:
        """Take the balance now, and tell how the server is.

        Waits ``balance_s`` seconds for the balance, and does without for none; where it could not
        be taken, the stored one is older, and ``balance_trouble`` says why.
        """
        trouble = self._take_balance(balance_s) if balance_s else None
        return {
            "pid": os.getpid(),
            "version": __version__,
            "python": sys.version.split()[0],
            "manager": self.supervisor.kind,
            "sandbox": self.sandbox.body(),
            "redis": self._redis_status(),
            "store_error": self.writer.store_error,
            "balance_trouble": trouble,
            "backpressure": self.pressure.status(),
            "http": self.http.status() if self.http else {"port": None, "trouble": None},
            "history": left_to_read(self.transcripts, self.databases),
            "threads": {service.name: service.alive() for service in self.services},
            "deaths": len(self.revival.deaths),
        }

    def _take_balance(self, timeout_s: float) -> str | None:
        try:
            self.writer.ask(self.writer.balance_now, timeout_s)
        except StoreUnavailableError as error:
            return str(error)
        return None

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
