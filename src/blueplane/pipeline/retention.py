"""Retention: what has been kept for long enough goes, slowly.

Owns when that is, in which portions, and what is tried first when the disk is full.
Promises that one run removes at most a twentieth of what there is (but up to ``AT_LEAST``), in
transactions that let batches pass in between, each counted as it removes; that what goes is old by
both clocks (``steady_clock.py``); and that nothing goes that still waits for somebody.
Leaves the statements to ``store/retention.py`` and ``store/names.py``. Rows of derived tables stay:
they are figures and small, and what they were made of cannot be asked for again.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event as Flag
from threading import Lock
from typing import Final, Protocol

from blueplane.clock import MS_PER_DAY, NS_PER_MS, elapsed_s, monotonic_s, wall_ms
from blueplane.config import RetentionSettings
from blueplane.errors import HomeError, StoreError
from blueplane.logs import get
from blueplane.pipeline.steady_clock import Belief, begin, follow
from blueplane.pipeline.writer import Writer
from blueplane.store import retention as store
from blueplane.store.connection import Connection, open_reader, translated
from blueplane.store.ledger import Ledger, stored_rows
from blueplane.store.names import Names
from blueplane.store.offsets import Offsets

_log = get("retention")

#: Removes something inside a transaction, and returns what that adds to the counters.
Work = Callable[[Connection], Mapping[str, int]]

#: What one run removes at most: one of so many, or so many if that is more.
SHARE: Final = 20
AT_LEAST: Final = 1_000
#: Rows of one transaction; fewer when each page that it changes needs room that there is not.
PORTION: Final = 1_000
SMALL_PORTION: Final = 200
#: Rows from the future that are passed over in one run.
MOST_ODD: Final = 100_000
#: Days for which the record of a filtered or quarantined item is kept; its count stays.
SETTLEMENT_DAYS: Final = 30
#: Days after its birth at which the mark of a file or store that is gone goes, too. That is safe at
#: any age. A file that comes back is another inode, and is read from its beginning with a mark or
#: without; events that have their row are known by that, and one whose row has expired is history,
#: and expires again. A mark only spares what comes back as it was, as on a disk that was away.
MARK_DAYS: Final = 90
#: Days for which the counts of single minutes stay: as long as anybody draws them.
MINUTE_DAYS: Final = 90
#: Seconds between two looks for names that no row uses, and between two rescues of a full disk.
NAMES_S: Final = 86_400.0
RELIEVE_S: Final = 3_600.0
#: Cursors: how many rows had expired at the last look for names, and the last look at the clocks.
_NAMES_AT: Final = "retention.names"
_CURSORS: Final = ("retention.wall_ms", "retention.time_ms", "retention.steady_ms")


class Quarantine(Protocol):
    """What retention needs of the quarantine."""

    def prune(self, before_ns: int, max_bytes: int, most: int) -> int:
        """Remove files from before a time, and what does not fit; return how many went."""


class Reserve(Protocol):
    """What retention needs of the room that is kept for a full disk."""

    def release(self) -> bool:
        """Give it back; False when there was none."""


@dataclass(frozen=True, slots=True)
class _Run:
    """One run: its clock, a connection to look, how a removal is done, and how much at once."""

    belief: Belief
    connection: Connection
    expire: Callable[[Work], Mapping[str, int]]
    portion: int

    def before_ms(self, days: int) -> int:
        return self.belief.oldest_ms - days * MS_PER_DAY


class Retention:
    """Retention of one home; ``settings`` returns those that hold now.

    ``stopping`` ends a run before its next portion.
    """

    def __init__(
        self,
        writer: Writer,
        quarantine: Quarantine,
        reserve: Reserve,
        settings: Callable[[], RetentionSettings],
        stopping: Flag,
    ) -> None:
        self._writer = writer
        self._database: Path = writer.commits.path
        self._quarantine = quarantine
        self._reserve = reserve
        self._settings = settings
        self._stopping = stopping
        #: The items of sources that are there; a source that has not looked everywhere is left out.
        self.present: Callable[[], Mapping[str, Collection[str]]] = dict
        self._lock = Lock()
        self._belief: Belief | None = None
        self._looked_s = (0.0, 0.0)
        self._names_due_s = monotonic_s()
        self._relieve_due_s = monotonic_s()

    # -- a run -------------------------------------------------------------------------------------

    def run(self) -> None:
        """Remove what is old enough; raise StoreError when the store is away."""
        with self._looking() as connection:
            belief = self._look_at_clocks(connection)
            self._writer.ask(lambda: self._writer.commits.put_cursors(_cursors(belief)))
            run = _Run(belief, connection, self._ask_to_expire, PORTION)
            self._log_removed(self._remove(run))
            self._remove_marks(run)
            if monotonic_s() >= self._names_due_s:
                self._remove_names(run)

    def relieve(self) -> None:
        """Make room on a full disk, if anything is old enough; in the writer's thread.

        What removed rows leave is used by new ones, but only through the -wal, which must not keep
        it: that is cut each time. Removing itself needs room, too, for which the reserve is; it is
        tried once an hour, for a run has its limit also when the disk is full.
        """
        self._writer.commits.cut_wal()
        if monotonic_s() < self._relieve_due_s:
            return
        self._relieve_due_s = monotonic_s() + RELIEVE_S
        try:
            with self._looking() as connection:
                belief = self._look_at_clocks(connection)
                run = _Run(belief, connection, self._expire_and_cut, SMALL_PORTION)
                if self._anything(run):
                    _log.warning("disk full", reserve_released=self._reserve.release())
                    self._log_removed(self._remove(run))
                else:
                    _log.warning("disk full", files_removed=self._prune(run))
        except StoreError as error:
            _log.warning("disk full", reason=error)

    @contextmanager
    def _looking(self) -> Iterator[Connection]:
        with translated(self._database), closing(open_reader(self._database)) as connection:
            yield connection

    def _ask_to_expire(self, work: Work) -> Mapping[str, int]:
        return self._writer.ask(lambda: self._expire(work))

    def _expire(self, work: Work) -> Mapping[str, int]:
        amounts = self._writer.commits.expire(work)
        self._writer.letters.note_change()
        return amounts

    def _expire_and_cut(self, work: Work) -> Mapping[str, int]:
        amounts = self._expire(work)
        self._writer.commits.cut_wal()
        return amounts

    def _remove(self, run: _Run) -> Mapping[str, int]:
        """Remove everything that may go now; return how many of what."""
        settings = self._settings()
        removed: Counter[str] = Counter()
        removed["files"] = self._prune(run)
        if settings.raw_days:
            removed.update(self._remove_rows(run, run.before_ms(settings.raw_days)))
        if settings.dead_letter_days:
            removed.update(self._remove_letters(run, run.before_ms(settings.dead_letter_days)))
        removed.update(self._remove_settlements(run, run.before_ms(SETTLEMENT_DAYS)))
        run.expire(partial(_expire_minutes, before_ms=run.before_ms(MINUTE_DAYS), most=run.portion))
        return removed

    def _log_removed(self, removed: Mapping[str, int]) -> None:
        if any(removed.values()):
            _log.info(
                "expired",
                rows=removed["rows.expired"],
                letters=removed["letters.expired"],
                settlements=removed["settlements.expired"],
                files=removed["files"],
            )

    def _anything(self, run: _Run) -> bool:
        """Whether there is anything in the database that may go."""
        days = self._settings().raw_days
        before_ms = run.before_ms(days)
        now_ms = run.belief.newest_ms
        page = store.next_page(run.connection, 0, PORTION, before_ms, now_ms) if days else None
        return bool(page and page.old) or store.any_settlement(
            run.connection, run.before_ms(SETTLEMENT_DAYS)
        )

    def _prune(self, run: _Run) -> int:
        settings = self._settings()
        before_ns = run.before_ms(settings.quarantine_days) * NS_PER_MS
        try:
            return self._quarantine.prune(before_ns, settings.quarantine_bytes, AT_LEAST)
        except (OSError, HomeError) as error:
            _log.warning("quarantine not pruned", reason=error)
            return 0

    def _remove_rows(self, run: _Run, before_ms: int) -> Mapping[str, int]:
        left = _most(stored_rows(Ledger(run.connection).totals()))
        removed, odd, after = 0, 0, 0
        while left > 0 and odd < MOST_ODD and not self._stopping.is_set():
            page = store.next_page(
                run.connection, after, min(run.portion, left), before_ms, run.belief.newest_ms
            )
            if page.old:
                work = partial(_expire_rows, page=page, before_ms=before_ms)
                removed += run.expire(work)["rows.expired"]
            left, odd, after = left - page.old, odd + page.odd, page.last
            if page.ended:
                break
        return {"rows.expired": removed}

    def _remove_letters(self, run: _Run, before_ms: int) -> Mapping[str, int]:
        most = min(run.portion, _most(store.count_letters(run.connection)))
        return run.expire(partial(_expire_letters, before_ms=before_ms, most=most))

    def _remove_settlements(self, run: _Run, before_ms: int) -> Mapping[str, int]:
        most = min(run.portion, _most(store.count_settlements(run.connection)))
        return run.expire(partial(_expire_settlements, before_ms=before_ms, most=most))

    def _remove_marks(self, run: _Run) -> None:
        """Remove old marks of what is gone; where a source has nothing, its disk may be away."""
        commits = self._writer.commits
        for source, present in self.present().items():
            known = Offsets(run.connection).older(source, run.before_ms(MARK_DAYS))
            gone = [item for item in known if item not in present][: run.portion]
            if gone and present:
                self._writer.ask(partial(commits.remove_marks, source, gone))
                _log.info("marks removed", source=source, marks=len(gone))

    # -- names -------------------------------------------------------------------------------------

    def _remove_names(self, run: _Run) -> None:
        """Remove texts that no row uses any more; given up when their ids change meanwhile."""
        ledger = Ledger(run.connection)
        expired = ledger.totals().get("rows.expired", 0)
        if ledger.cursor(_NAMES_AT) == expired:
            return
        self._names_due_s = monotonic_s() + NAMES_S
        commits = self._writer.commits
        interning = commits.interning
        names = Names(run.connection)
        while names.look():
            if self._stopping.is_set():
                return
        unused = names.unused()
        for start in range(0, len(unused), run.portion):
            some = unused[start : start + run.portion]
            now = self._writer.ask(partial(commits.expire_names, some, names.last, interning))
            if now is None:
                return
            interning = now
        self._writer.ask(lambda: commits.put_cursors({_NAMES_AT: expired}))
        if unused:
            _log.info("names removed", names=len(unused))

    # -- the clocks --------------------------------------------------------------------------------

    def _look_at_clocks(self, connection: Connection) -> Belief:
        """Return what time it is, having noted it; two threads may ask."""
        with self._lock:
            now_ms, looked_s = wall_ms(), (elapsed_s(), monotonic_s())
            if self._belief is None:
                belief = begin(_stored(connection, now_ms), now_ms)
                was_sure = True
            else:
                elapsed_ms, awake_ms = (
                    round((now - then) * 1000)
                    for now, then in zip(looked_s, self._looked_s, strict=True)
                )
                belief = follow(self._belief, now_ms, elapsed_ms, awake_ms)
                was_sure = self._belief.sure
            self._belief, self._looked_s = belief, looked_s
        if was_sure and not belief.sure:
            _log.warning("clock jumped", seconds=(belief.wall_ms - belief.time_ms) // 1000)
        elif belief.sure and not was_sure:
            _log.info("clock is steady")
        return belief


def _expire_rows(connection: Connection, page: store.Page, before_ms: int) -> Mapping[str, int]:
    return {"rows.expired": store.remove_rows(connection, page, before_ms)}


def _expire_letters(connection: Connection, before_ms: int, most: int) -> Mapping[str, int]:
    letters, events = store.remove_letters(connection, before_ms, most)
    return {"letters.expired": letters, "events.letters_expired": events}


def _expire_settlements(connection: Connection, before_ms: int, most: int) -> Mapping[str, int]:
    return {"settlements.expired": store.remove_settlements(connection, before_ms, most)}


def _expire_minutes(connection: Connection, *, before_ms: int, most: int) -> Mapping[str, int]:
    store.remove_minutes(connection, before_ms, most)
    return {}


def _most(count: int) -> int:
    """Return how many of ``count`` one run may remove."""
    return max(AT_LEAST, count // SHARE)


def _cursors(belief: Belief) -> Mapping[str, int]:
    values = (belief.wall_ms, belief.time_ms, belief.steady_ms)
    return dict(zip(_CURSORS, values, strict=True))


def _stored(connection: Connection, now_ms: int) -> Belief:
    """Return the last look of the server before; without one the newest row says when that was."""
    ledger = Ledger(connection)
    wall, time, steady = (ledger.cursor(name) for name in _CURSORS)
    if wall:
        return Belief(wall, time, steady)
    newest_ms = store.newest_ms(connection)
    return Belief(newest_ms, newest_ms) if newest_ms else Belief(now_ms, now_ms)
