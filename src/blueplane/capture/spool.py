"""The spool: hand-off files from the hooks become events on the road.

Owns the spool directory, the flags that hooks look at, and one thread.
Promises that a file is removed only when its outcome is stored, that a bad one costs only itself,
that the oldest goes first, and that memory is bounded however many files wait.
Leaves what is in a payload to ``hook_event.py``; knows neither Redis nor our database: it is given
an ``Intake`` and a ``Records``.

A file is known by its name and its mtime, for a name is used again once its file is gone.
"""

import errno
import heapq
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event as Flag
from threading import Lock
from typing import Final, Protocol

from blueplane import faults
from blueplane.capture.handoff import NAME, split_trailer
from blueplane.capture.hook_event import HandOff, HookReader, spool_origin
from blueplane.capture.pausing import tidy
from blueplane.capture.platforms import find_platform
from blueplane.capture.quarantine import Quarantine
from blueplane.capture.refusals import Counts, Refusals
from blueplane.capture.sources import Intake, Outcomes
from blueplane.capture.watch import watch
from blueplane.clock import NS_PER_S, monotonic_s, wall_ns
from blueplane.config import SpoolSettings
from blueplane.errors import (
    BlueplaneError,
    FilteredError,
    HomeError,
    MalformedPayloadError,
    QueueError,
    StoreError,
)
from blueplane.event import Event, Settlement
from blueplane.logs import get
from blueplane.paths import Home, private_directory, private_touch
from blueplane.threads import Backoff, Service

_log = get("spooler")

#: Files, and bytes of them, that are read before they are handed on together.
CHUNK: Final = 500
CHUNK_BYTES: Final = 4 * 1024 * 1024
#: Files that are known and not yet in the stream: the oldest. Others are only counted.
KEPT: Final = 50_000
#: Share of the time that looking at a directory with more files than that may take.
LOOKING: Final = 0.05
#: What the smallest file takes of a disk.
BLOCK_BYTES: Final = 4096
#: Bytes of a file that are read; of a larger one only its end, for the trailer.
MAX_FILE_BYTES: Final = 5 * 1024 * 1024 + 256
_TAIL_BYTES: Final = 256
#: A link is no hand-off file, and a pipe must not hold us up.
_READ_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: What the system lacks for a moment: no fault of the file that could not be opened.
_SHORTAGES: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
#: Seconds after which a file that has no trailer never gets one.
HALF_S: Final = 60.0
#: Seconds between two looks at the whole directory, the flags and the refusals.
ROUND_S: Final = 5.0
#: Seconds by which a lease may be off before it is renewed.
LEASE_STEP_S: Final = 3600
#: Seconds before a queue or store that failed is tried again: the first delay and the longest.
RETRY_S: Final = (0.1, 2.0)
#: Events after which an editor has stored all of a turn.
ENDS: Final = frozenset({"turn_end", "session_end"})
#: Share of the cap at which a full spool takes events again.
REOPEN_AT: Final = 0.9


class Records(Counts, Outcomes, Protocol):
    """What the store knows and is told; every method raises StoreError when it is away."""


@dataclass(slots=True)
class _File:
    """A file of the spool that was seen.

    ``sent`` when it is in the stream or being settled; ``suspect`` when its outcome may be stored
    already, by a server that could not remove it.
    """

    name: str
    mtime_ns: int
    size: int
    regular: bool = True
    sent: bool = False
    read: bool = False
    suspect: bool = True

    @property
    def origin(self) -> str:
        return spool_origin(self.name, self.mtime_ns)


class Spooler(Service):
    """The spooler thread."""

    def __init__(
        self,
        home: Home,
        settings: SpoolSettings,
        reader: HookReader,
        intake: Intake,
        records: Records,
    ) -> None:
        super().__init__("spooler")
        self._home = home
        self.settings = settings
        self._reader = reader
        self._intake = intake
        self._records = records
        self._quarantine = Quarantine(home.quarantine)
        self._refusals = Refusals(home.run / "refused", records)
        self._watch = watch(home.spool)
        self._directory = _open_directory(home.spool)
        self._lock = Lock()
        self._files: dict[str, _File] = {}
        self._sent: dict[str, _File] = {}
        self._released: deque[_File] = deque()
        self._look_around = Flag()
        self._halves: dict[str, float] = {}
        #: Bytes of all files, and how many of these are not in ``_files``; exact after each look.
        self._bytes = self._left_out = 0
        self._look_due_s = 0.0
        self._counted = 0
        self._backoff = Backoff(*RETRY_S)
        self._round_due_s = monotonic_s()
        self._trouble: str | None = None
        #: Told (platform, session id) at the end of each turn and session, in this thread.
        self.listeners: list[Callable[[str, str], None]] = []

    # -- for the writer ----------------------------------------------------------------------------

    def release(self, origins: Sequence[str]) -> None:
        """Have files removed whose outcome is stored; other sources' origins are not known here.

        This thread removes them, not the writer's: two threads that change one directory wait for
        each other in the kernel.
        """
        for origin in origins:
            # Not looked up first: an append that failed late takes its files back meanwhile.
            file = self._sent.pop(origin, None)
            if file is not None:
                self._released.append(file)
        if self.alive():
            self._wake()
        else:
            self._remove_released()

    def _remove_released(self) -> None:
        while True:
            try:
                file = self._released.popleft()
            except IndexError:  # not looked up first: an attach, in the writer's thread, takes too
                return
            self._remove(file)
            faults.point("mid_release")

    def _remove(self, file: _File) -> None:
        with self._lock:
            if self._files.get(file.name) is not file:
                return  # removed already; the name may belong to another file by now
            self._forget(file.name)
            try:
                os.unlink(file.name, dir_fd=self._directory)
            except FileNotFoundError:
                return  # removed by hand

    def _stat(self, name: str) -> os.stat_result | None:
        """Return what is known of a file; None when it is gone."""
        try:
            return os.stat(name, dir_fd=self._directory, follow_symlinks=False)
        except OSError:
            return None

    def _forget(self, name: str) -> None:
        self._halves.pop(name, None)
        self._bytes -= _occupied(self._files.pop(name).size)

    def reconcile(self, origins: Mapping[str, bytes]) -> None:
        """Forget what was sent: files of ``origins`` are in the stream, all others go anew.

        Each of those others is looked up in the store first: it may have been settled by a server
        that was killed before it could remove the file.
        """
        self._remove_released()
        with self._lock:
            for origin in origins:
                self._adopt(origin)
            self._sent = {}
            for file in self._files.values():
                file.sent = file.origin in origins
                file.read, file.suspect = False, True
                if file.sent:
                    self._sent[file.origin] = file

    def wake(self) -> None:
        """Look at the whole directory now."""
        self._look_around.set()
        self._wake()

    def _adopt(self, origin: str) -> None:
        kind, _, rest = origin.partition(":")
        name, _, mtime = rest.rpartition(":")
        if kind != "spool" or not mtime.isdigit() or name in self._files:
            return
        found = self._stat(name)
        if found is not None and found.st_mtime_ns == int(mtime):
            self._files[name] = _File(name, found.st_mtime_ns, found.st_size)
            self._bytes += _occupied(found.st_size)

    def waiting(self) -> int:
        """Return how many whole files are in the spool."""
        with suppress(HomeError):  # no descriptor is left to look with: what was last seen counts
            self._counted = sum(1 for _ in self._entries())
        return max(0, self._counted - len(self._halves) - len(self._released))

    @property
    def backlog(self) -> int:
        """How many files are known that are not in the stream: a cheap guess, for ``status``."""
        return max(0, len(self._files) - len(self._sent) + self._left_out)

    def held(self) -> tuple[int, int, int | None]:
        """Return what waits in the spool, as far as it is known: files, bytes, the oldest's mtime.

        Files that are still being written do not wait yet; the bytes are those of all, on disk. The
        mtime is in nanoseconds, None without a file. A look at 50,000 takes some milliseconds.
        """
        with self._lock:
            files = [file for file in self._files.values() if not file.sent]
            files += self._sent.values()
            halves = set(self._halves)
        times = [file.mtime_ns for file in files if file.name not in halves]
        return len(times) + self._left_out, self._bytes, min(times, default=None)

    # -- the loop ----------------------------------------------------------------------------------

    def loop(self) -> None:
        """Take files as they are finished, and look at the whole directory now and then."""
        names: list[str] | None = None
        while not self.stopping.is_set():
            faults.point("spooler_loop")
            self.beat()
            try:
                self._take(names)
                if self._intake.open:  # else nothing was tried
                    self._trouble = None
                self._backoff.reset()
            except (QueueError, StoreError, HomeError) as error:
                if isinstance(error, QueueError):
                    self._intake.recover(error)
                self._wait(error)
                names = None
                continue
            names = self._watch.wait(self._patience_s())
            if self._look_around.is_set():
                self._look_around.clear()
                names = None
        self._remove_released()

    def stop(self) -> None:
        """Ask the loop to end, and wake it."""
        super().stop()
        self._wake()

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        """Yield what is in the spool; one that somebody took away is made again before long.

        By its path: threads that list by one descriptor share its position, and miss names. Raises
        HomeError when the system is short of something for a moment.
        """
        try:
            entries = os.scandir(self._home.spool)
        except FileNotFoundError:
            return
        except OSError as error:
            message = f"{self._home.spool}: {error.strerror}"
            raise HomeError(message) from error
        with entries:
            yield from entries

    def _wake(self) -> None:
        with self._lock:  # the watch may be replaced meanwhile
            self._watch.wake()

    def close(self) -> None:
        """Give the descriptors back, once the thread has ended."""
        self._watch.close()
        os.close(self._directory)

    def _patience_s(self) -> float:
        return max(0.0, self._round_due_s - monotonic_s())

    def _wait(self, error: BlueplaneError) -> None:
        if self._trouble != str(error):
            self._trouble = str(error)
            _log.warning("files wait", reason=error)
        self.stopping.wait(self._backoff.next_s())

    # -- files -------------------------------------------------------------------------------------

    def _take(self, names: list[str] | None) -> None:
        """Take the named files, or all of the directory, oldest first.

        House-keeping comes first and in between: it stops the hooks when nothing can be taken.
        """
        self._remove_released()
        if names is None:
            self._look()
        else:
            self._see(names)
        self._keep_house()
        if names == []:
            return  # woken to remove, not to take
        self._take_known()
        while self._left_out and self._room() >= CHUNK and not self.stopping.is_set():
            self._look()
            self._take_known()

    def _take_known(self) -> None:
        can_send = self._intake.open
        with self._lock:
            ready = [f for f in self._files.values() if not f.sent and (can_send or not f.read)]
        ready.sort(key=lambda file: (file.mtime_ns, file.name))
        for chunk in _chunks(ready):
            if self.stopping.is_set():
                return
            self.beat()
            self._keep_house()
            self._remove_released()
            self._take_chunk(chunk)

    def _room(self) -> int:
        """Return how many more files may be known."""
        with self._lock:
            return KEPT - sum(not file.sent for file in self._files.values())

    def _look(self, *, anew: bool = False) -> None:
        """Note the oldest files of the directory, as many as there is room for; count the others.

        Not again and again in a directory that is too large for that, while known files are left.
        """
        began_s = monotonic_s()
        room = self._room()
        if self._left_out and room < CHUNK and began_s < self._look_due_s and not anew:
            return
        census = _Census()
        oldest = heapq.nsmallest(max(1, room), self._unknown(census))
        for mtime_ns, name, size, regular in oldest:
            self._note(_File(name, mtime_ns, size, regular))
        self._left_out = census.files - len(oldest)
        self._bytes = census.bytes
        ended_s = monotonic_s()
        self._look_due_s = ended_s + (ended_s - began_s) / LOOKING

    def _unknown(self, census: "_Census") -> Iterator[tuple[int, str, int, bool]]:
        """Yield (mtime, name, size, regular) of files that are not known yet, and count all."""
        for entry in self._entries():
            known = self._files.get(entry.name)
            if known is not None and known.sent:
                census.bytes += _occupied(known.size)
                continue
            try:
                found = entry.stat(follow_symlinks=False)
            except OSError:
                continue  # gone meanwhile
            census.bytes += _occupied(found.st_size)
            regular = stat.S_ISREG(found.st_mode)
            if known is not None:
                self._note(_File(entry.name, found.st_mtime_ns, found.st_size, regular))
                continue
            census.files += 1
            yield found.st_mtime_ns, entry.name, found.st_size, regular

    def _see(self, names: Sequence[str]) -> None:
        """Note files that were finished just now: they are new, or others under their old names."""
        for name in names:
            known = self._files.get(name)
            found = None if known is not None and known.sent else self._stat(name)
            if found is None:
                continue
            full = self._left_out or len(self._files) - len(self._sent) >= KEPT
            if known is None and full:
                self._left_out += 1  # perhaps for the second time: the next look counts anew
                self._bytes += _occupied(found.st_size)
            else:
                regular = stat.S_ISREG(found.st_mode)
                self._note(_File(name, found.st_mtime_ns, found.st_size, regular, suspect=False))

    def _note(self, file: _File) -> None:
        with self._lock:
            known = self._files.get(file.name)  # again: an attach may have found it in the stream
            if known is not None:
                if known.sent or known.mtime_ns == file.mtime_ns:
                    return
                self._forget(file.name)
            self._files[file.name] = file
            self._bytes += _occupied(file.size)

    def _take_chunk(self, files: Sequence[_File]) -> None:
        events: list[tuple[_File, Event]] = []
        outcomes: list[tuple[_File, Settlement]] = []
        for file in files:
            outcome = self._read(file)
            if isinstance(outcome, Event):
                events.append((file, outcome))
            elif outcome is not None:
                outcomes.append((file, outcome))
        faults.point("after_read_file")
        if outcomes:
            self._settle(outcomes)
        if events and self._intake.open:
            self._emit(events)

    def _read(self, file: _File) -> Event | Settlement | None:
        """Read a file: an event, an outcome without one, or None for one that is not whole yet."""
        platform = hook = ""
        try:
            raw = self._read_bytes(file)
            parts = split_trailer(raw)
            if parts is None:
                return self._half(file)
            self._halves.pop(file.name, None)
            payload, word, hook = parts
            platform = find_platform(word).name
            file.read = True
            size = file.size - len(raw) + len(payload)
            del raw  # as large as the payload, which is parsed now
            item = HandOff(file.name, file.mtime_ns, payload, platform, hook, size)
            return self._reader.read(item)
        except FileNotFoundError:
            return self._gone(file)
        except FilteredError as error:
            if file.suspect and self._is_settled(item):
                self._remove(file)
                return None
            return _settlement(file, "filtered", error.rule, platform, hook)
        except MalformedPayloadError as error:
            _log.warning("quarantined", file=file.name, rule=error.rule, detail=error.detail)
            return _settlement(file, "quarantined", error.rule, platform, hook)

    def _is_settled(self, item: HandOff) -> bool:
        """Say whether a filtered event was stored before, under the rules of that time."""
        with suppress(FilteredError):  # by a rule that is not of the configuration
            return bool(self._records.settled([self._reader.identify(item)]))
        return False

    def _read_bytes(self, file: _File) -> bytes:
        """Return the content; of a file that is too large the end, behind so many NULs."""
        try:
            descriptor = os.open(file.name, _READ_FLAGS, dir_fd=self._directory)
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno in _SHORTAGES:
                message = f"{self._home.spool}: {error.strerror}"
                raise HomeError(message) from error
            rule = "not-a-file" if error.errno in (errno.ELOOP, errno.ENXIO) else "unreadable"
            raise MalformedPayloadError(rule, errno.errorcode.get(error.errno or 0, "?")) from None
        try:
            if file.regular and 0 < file.size <= MAX_FILE_BYTES:
                raw = os.read(descriptor, file.size + 1)
                if len(raw) == file.size:
                    return raw  # as large as when it was seen: nothing was written since
            return self._read_again(file, descriptor)
        finally:
            os.close(descriptor)

    def _read_again(self, file: _File, descriptor: int) -> bytes:
        """Read a file that is not what it was when it was seen, or is too large."""
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            rule = "not-a-file"
            raise MalformedPayloadError(rule, stat.filemode(found.st_mode))
        with self._lock:
            self._bytes += _occupied(found.st_size) - _occupied(file.size)
            file.mtime_ns, file.size = found.st_mtime_ns, found.st_size
        if found.st_size <= MAX_FILE_BYTES:
            return os.pread(descriptor, found.st_size + 1, 0)
        tail = os.pread(descriptor, _TAIL_BYTES, found.st_size - _TAIL_BYTES)
        return b"\0" * MAX_FILE_BYTES + tail

    def _gone(self, file: _File) -> Settlement | None:
        """Somebody removed a file: a hook its refused one, which was never whole, or a person."""
        with self._lock:
            if file.sent or self._files.get(file.name) is not file:
                return None  # sent by an earlier server, and released since we listed it
            self._forget(file.name)
        if not file.read:
            return None
        return Settlement(file.origin, "quarantined", "gone", "", "", file.size)

    def _half(self, file: _File) -> Settlement | None:
        """Wait for the trailer, but not for ever."""
        if not NAME.match(file.name):
            return Settlement(file.origin, "quarantined", "foreign-file", "", "", file.size)
        first_s = self._halves.setdefault(file.name, monotonic_s())
        if monotonic_s() - first_s < HALF_S:
            return None
        _log.warning("quarantined", file=file.name, rule="half", detail="no trailer")
        del self._halves[file.name]
        return Settlement(file.origin, "quarantined", "half", "", "", file.size)

    def _settle(self, outcomes: Sequence[tuple[_File, Settlement]]) -> None:
        """Store outcomes, and only then remove or set aside the files."""
        self._records.settle([outcome for _, outcome in outcomes])
        faults.point("after_settlement")
        for file, outcome in outcomes:
            if outcome.outcome == "quarantined" and not self._set_aside(file):
                file.sent = True  # it stays where it is, and is not looked at again for now
                continue
            self._remove(file)

    def _set_aside(self, file: _File) -> bool:
        """Move a file to the quarantine; False when it cannot be moved, as another user's may."""
        try:
            self._quarantine.take(file.name, file.mtime_ns, self._directory)
        except OSError as error:
            found = self._stat(file.name)
            gone = found is None or found.st_mtime_ns != file.mtime_ns
            if isinstance(error, FileNotFoundError) and gone:
                return True  # removed by hand
            _log.warning("not set aside", file=file.name, reason=error.strerror)
            return False
        return True

    def _emit(self, events: Sequence[tuple[_File, Event]]) -> None:
        by_source: dict[str, list[tuple[_File, Event]]] = {}
        for pair in self._unsettled(events):
            by_source.setdefault(pair[1].source, []).append(pair)
        for pending in by_source.values():
            # Before the append, for the writer may release a file before the append returns.
            chosen = self._mark_sent(pending)
            if not chosen:
                continue
            try:
                self._intake.emit([event for _, event in chosen], self.stopping)
            except QueueError:
                for file, event in chosen:
                    file.sent = False
                    self._sent.pop(event.origin, None)
                raise
            self._tell_ends([event for _, event in chosen])

    def _tell_ends(self, events: Sequence[Event]) -> None:
        """Have what an editor stores of a turn be read when the turn has ended."""
        for event in events:
            if event.event_type in ENDS:
                for listener in self.listeners:
                    listener(event.platform, event.session_id)

    def _mark_sent(self, events: Sequence[tuple[_File, Event]]) -> list[tuple[_File, Event]]:
        """Mark files as sent; leave out those that an attach found in the stream meanwhile."""
        with self._lock:
            chosen = [
                (file, event)
                for file, event in events
                if not file.sent and self._files.get(file.name) is file
            ]
            for file, event in chosen:
                file.sent = True
                self._sent[event.origin] = file
        return chosen

    def _unsettled(self, events: Sequence[tuple[_File, Event]]) -> Iterator[tuple[_File, Event]]:
        """Leave out, and remove, files whose outcome an earlier server stored."""
        suspects = [event for file, event in events if file.suspect]
        settled = self._records.settled(suspects) if suspects else set()
        for file, event in events:
            file.suspect = False
            if event.origin in settled:
                self._remove(file)
            else:
                yield file, event

    # -- flags and refusals ---------------------------------------------------------------

    def _keep_house(self) -> None:
        now_s = monotonic_s()
        if now_s < self._round_due_s:
            return
        self._round_due_s = now_s + ROUND_S
        self._shrink()
        try:
            self._follow_directory()
            self._flag_full()
            self._renew_lease()
            if tidy(self._home):
                _log.info("resumed")
            self._refusals.count()  # last: it alone needs the store
        except OSError as error:
            message = f"{error.filename}: {error.strerror}"
            raise HomeError(message) from error

    def _follow_directory(self) -> None:
        """Go where the hooks go: somebody may have removed the spool, or put another in its place.

        What was in the old one went with it.
        """
        private_directory(self._home.spool)
        if os.path.samestat(os.stat(self._home.spool), os.fstat(self._directory)):
            return
        _log.warning("spool replaced", path=self._home.spool)
        with self._lock:
            os.close(self._directory)
            self._directory = _open_directory(self._home.spool)
            self._files, self._sent = {}, {}
            self._halves.clear()
            self._bytes = self._left_out = 0
            self._watch.close()
            self._watch = watch(self._home.spool)
        self._look_around.set()

    def _shrink(self) -> None:
        """Let emptied tables go: they keep the room of their largest moment."""
        with self._lock:
            if not self._files:
                self._files, self._sent = {}, {}

    def _flag_full(self) -> None:
        """Tell the hooks to stop at the cap, and to go on when there is room again."""
        flag = self._home.run / "full"
        cap = self.settings.max_mb * 1024 * 1024
        if self._bytes >= cap and self._left_out and not flag.exists():
            self._look(anew=True)
        if self._bytes >= cap and not flag.exists():
            private_touch(flag)
            _log.warning("spool full", bytes=self._bytes, cap=cap)
        elif self._bytes < cap * REOPEN_AT and flag.exists():
            flag.unlink()
            _log.info("spool has room", bytes=self._bytes)

    def _renew_lease(self) -> None:
        """Let hooks collect for some days without a server, and no longer.

        By the wall clock, as the hooks see it: a machine may sleep for longer than a lease.
        """
        path = self._home.run / "lease"
        private_touch(path)
        until_ns = wall_ns() + self.settings.lease_days * 86_400 * NS_PER_S
        if abs(until_ns - path.stat().st_mtime_ns) > LEASE_STEP_S * NS_PER_S:
            os.utime(path, ns=(until_ns, until_ns))


@dataclass(slots=True)
class _Census:
    """What a look at the directory counts: all bytes, and the files that were not known."""

    bytes: int = 0
    files: int = 0


def _settlement(file: _File, outcome: str, rule: str, platform: str, hook: str) -> Settlement:
    """Settle a whole file without an event."""
    source = find_platform(platform).hook(hook).source
    return Settlement(file.origin, outcome, rule, platform, hook, file.size, source)


def _occupied(size: int) -> int:
    """Return the bytes that a file of ``size`` takes of the disk; an empty one has a name, too."""
    return max(1, -(-size // BLOCK_BYTES)) * BLOCK_BYTES


def _chunks(files: Sequence[_File]) -> Iterator[list[_File]]:
    """Yield files in pieces that are handed on together; one alone may be larger than a piece."""
    chunk: list[_File] = []
    room = CHUNK_BYTES
    for file in files:
        size = min(file.size, MAX_FILE_BYTES)
        if chunk and (len(chunk) == CHUNK or size > room):
            yield chunk
            chunk, room = [], CHUNK_BYTES
        chunk.append(file)
        room -= size
    if chunk:
        yield chunk


def _open_directory(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
