"""Every transaction on the store.

Owns the write connection, its opening, and what is written, and counted, together.
Promises that each method is one transaction: all of it is durable when it returns, or none is.
Leaves when to commit, and what follows a commit, to the writer.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from blueplane import faults
from blueplane.clock import wall_ms
from blueplane.digests import random_bytes
from blueplane.errors import RowRefusedError, StoreBrokenError, StoreUnavailableError
from blueplane.event import Mark as ItemMark
from blueplane.event import Settlement
from blueplane.logs import get
from blueplane.pipeline.continuity import DAMAGED, MAX_AHEAD, Loss, compare, rolled_back
from blueplane.pipeline.custody import (
    Balance,
    Tally,
    Verdict,
    arrivals,
    is_letter,
    letter_id,
    settled,
)
from blueplane.pipeline.progress import Progress
from blueplane.refusal import Refusal
from blueplane.store import connection as store
from blueplane.store.codec import load_codec, put_trained
from blueplane.store.damage import find_damage, set_aside
from blueplane.store.derived import Derivation, Derived
from blueplane.store.erasure import ERASING, Erasure, overwrite_removed, rewrite
from blueplane.store.ledger import Epoch, HealthIncident, Incident, Ledger, stored_rows
from blueplane.store.letters import Letter, Letters
from blueplane.store.marker import Mark, read_mark, write_mark
from blueplane.store.migrations import migrate
from blueplane.store.names import remove_names
from blueplane.store.offsets import Offsets
from blueplane.store.rebuilding import begin_anew
from blueplane.store.traces import Inserted, Row, Traces
from blueplane.store.wal import Wal, cut, empty_wal

_log = get("store")

#: Seconds for the check of a database that SQLite calls damaged.
CHECK_S: Final = 600.0
#: Ids that an incident names; the count is always whole.
MAX_NAMED: Final = 1_000
#: The cursor of the file in which hooks note what they refused.
_REFUSED: Final = "refused"
#: The cursor that holds the database's id.
_STORE: Final = "store"


class Commits:
    """The one writer of the store, whoever runs it: the server's writer thread or a command.

    ``replace`` says that a damaged database is set aside, and a new one begun; without it opening,
    or reopening, raises StoreBrokenError.
    """

    def __init__(self, path: Path, *, replace: bool = False) -> None:
        self.path = path
        self.replace = replace
        self._wal = Wal(path)
        #: Another number whenever rows may be gone that somebody has read.
        self.edition = 0
        #: Where a damaged database is that was here, until that is recorded in the new one.
        self._aside: Path | None = None
        self._open()

    def close(self) -> None:
        """Close the write connection."""
        self._connection.close()

    # -- opening -----------------------------------------------------------------------------------

    def _open(self) -> None:
        """Open the database, and where it is damaged, a new one."""
        existed = False
        with suppress(OSError):
            existed = self.path.stat().st_size > 0
        try:
            self._connect()
            self._note_continuity(existed=existed)
        except StoreBrokenError as error:
            if self._aside is not None:
                raise  # it is not the file
            self._set_aside(str(error))
            self._open()

    def _connect(self) -> None:
        self._connection = store.open_writer(self.path)
        try:
            with store.translated(self.path):
                migrate(self._connection)
                self.codec = load_codec(self._connection)
        except BaseException:
            self._connection.close()
            raise
        self.ledger = Ledger(self._connection)
        self.letters = Letters(self._connection)
        self.progress = Progress(Offsets(self._connection))
        self._traces = Traces(self._connection, self.codec)
        self.edition += 1

    def _set_aside(self, damage: str) -> None:
        if not self.replace:
            message = f"{damage}; move it away, or start a server with store.on_damage replace"
            raise StoreBrokenError(message)
        self._aside = set_aside(self.path)
        _log.error("damaged", reason=damage, now=self._aside.name)

    def reopen(self, stopping: Callable[[], bool] = lambda: False) -> None:
        """Open what stands under the database's name now, or a new one.

        A database that is not known to be another one is checked first, which may take minutes,
        and is given up when ``stopping`` says so. Raises StoreError when nothing can be opened;
        then only this helps, or closing.
        """
        damage = None
        if not self._is_moved():
            damage = find_damage(self.path, CHECK_S, whole=True, stopping=stopping)
        if damage is not None:
            self._set_aside(damage)
        store.close_broken(self._connection)
        self._open()

    def _is_moved(self) -> bool:
        try:
            self.verify()
        except StoreBrokenError:
            return True
        return False

    def verify(self) -> None:
        """Raise StoreBrokenError when the database was removed or replaced."""
        store.verify(self._connection)

    # -- what the database must hold ---------------------------------------------------------------

    def _note_continuity(self, *, existed: bool) -> None:
        """Count and name what the database lacks of what the mark knows."""
        with store.translated(self.path):
            mark, held = read_mark(self.path), self._held()
        loss = compare(mark, held, existed=existed, aside=self._aside)
        if loss is not None or not held.store:
            with self._bookkeeping():
                # Ours from here on, so that what is missing is not counted again.
                self.ledger.put_cursor(_STORE, (mark and mark.store) or held.store or _new_id())
                self.ledger.skip_to(mark.sequence if mark else 0)
                if loss is not None:
                    self._add_loss(loss)
            self._put_mark()
        self._aside = None

    def _held(self) -> Mark:
        totals = self.ledger.totals()
        return Mark(
            store=self.ledger.cursor(_STORE),
            settled=settled(totals),
            own=totals.get("messages.own", 0),
            rows=max(0, stored_rows(totals)),
            sequence=self.ledger.last_sequence(),
        )

    def _put_mark(self) -> None:
        with store.translated(self.path):
            write_mark(self.path, self._held())

    def note_announced(self, last: int, count: int, own: int) -> None:
        """Count rows as lost that were announced, up to sequence ``last``, and are not here."""
        if 0 < last - self.ledger.last_sequence() <= MAX_AHEAD:
            with self._bookkeeping():
                self.ledger.skip_to(last)
                if count:
                    self._add_loss(rolled_back(count, min(count, own)))

    def _add_loss(self, loss: Loss) -> None:
        now_ms = wall_ms()
        _log.error("lost", kind=loss.kind, messages=loss.settled, cause=loss.cause)
        tally = Tally()
        tally.totals["messages.lost"] += loss.settled
        tally.totals["messages.own"] += loss.own
        tally.minutes["", "", "lost"] += loss.settled
        self._add(tally, now_ms)
        self.ledger.add_incident(Incident(loss.kind, now_ms, loss.settled, 0, loss.cause, ()))

    def note_damage(self, cause: str) -> None:
        """Record what a check of the database found; it goes on to be used."""
        _log.error("damaged", reason=cause)
        with self._bookkeeping():
            self.ledger.add_incident(Incident(DAMAGED, wall_ms(), 0, 0, cause, ()))

    def shrink(self) -> None:
        """Give the memory of the page cache back."""
        store.shrink(self._connection)

    def write(self, rows: Sequence[Row]) -> Inserted:
        """Write rows, and with them everything that their outcomes count."""
        try:
            with store.transaction(self._connection):
                faults.point("after_begin")
                now_ms = wall_ms()
                inserted = self._traces.insert(rows, now_ms)
                faults.point("mid_batch")
                self._count(inserted, now_ms)
                self.progress.advance([row.origin for row in rows])
                faults.point("before_commit")
        except BaseException:
            self._traces.forget_interned()
            raise
        self.progress.keep()
        return inserted

    def _count(self, inserted: Inserted, now_ms: int) -> None:
        tally = Tally()
        letters = [row for row in inserted.written if is_letter(row.origin)]
        for row in letters:
            tally.retried(row, "written", self._settle_letter(row.origin, now_ms))
        written = inserted.written
        if letters:
            written = [row for row in written if not is_letter(row.origin)]
        tally.written(written)
        for duplicate in self.ledger.add_duplicates(inserted.duplicates, now_ms):
            if is_letter(duplicate.row.origin):
                letter = self._settle_letter(duplicate.row.origin, now_ms)
                tally.retried(duplicate.row, "duplicate", letter)
            else:
                tally.duplicate(duplicate)
        self._add(tally, now_ms)

    def _settle_letter(self, origin: str, now_ms: int) -> Letter | None:
        return self.letters.settle(letter_id(origin), now_ms)

    def _add(self, tally: Tally, now_ms: int) -> None:
        self.ledger.add(tally.totals)
        self.ledger.add_minute(now_ms, tally.minutes)
        self.ledger.add_hooks(now_ms, tally.hooks, tally.hooks_ms)

    @contextmanager
    def _bookkeeping(self) -> Iterator[None]:
        """Begin a transaction in which a refusal is the store's failure: no row is to blame."""
        try:
            with store.transaction(self._connection):
                yield
        except RowRefusedError as error:
            raise StoreUnavailableError(str(error)) from error

    def dead_letter(self, letter: Letter) -> bool:
        """Open a dead letter; False when its message had one already, which counts nothing.

        The message of a retried letter that fails again settles that letter: its event goes on in
        the new one.
        """
        with self._bookkeeping():
            now_ms = wall_ms()
            self.progress.advance([letter.origin])
            retried = None
            own = bool(letter.origin)
            if is_letter(letter.origin):
                retried = self._settle_letter(letter.origin, now_ms)
                before = retried or self.letters.get(letter_id(letter.origin))
                letter = replace(letter, origin=before.origin if before else "")
            opened = self.letters.open(letter, now_ms)
            if opened:
                tally = Tally()
                tally.dead_lettered(letter, own=own, retried=retried is not None)
                self._add(tally, now_ms)
        self.progress.keep()
        return opened

    def settle(self, settlements: Sequence[Settlement], passed: Sequence[str] = ()) -> None:
        """Record items that were filtered or quarantined before the stream.

        ``passed`` are origins whose outcome was stored before: they only move marks.
        """
        with self._bookkeeping():
            now_ms = wall_ms()
            tally = Tally()
            for item in self.ledger.add_settlements(settlements, now_ms):
                tally.settled(item, now_ms)
            self._add(tally, now_ms)
            self.progress.advance([*(item.origin for item in settlements), *passed])
        self.progress.keep()

    def announce(self, marks: Mapping[str, ItemMark]) -> None:
        """Note what files transcripts are, before any of their lines are on the road."""
        with self._bookkeeping():
            self.progress.announce(marks)
        self.progress.keep()

    def cover(self, source: str, item: str, mark: ItemMark, origins: Sequence[str]) -> None:
        """Have a mark stored in the transaction that settles the last of ``origins``."""
        with self._bookkeeping():
            self.progress.cover(source, item, mark, origins)
        self.progress.keep()

    def remove_marks(self, source: str, items: Collection[str]) -> None:
        """Remove the marks of items that are not there any more."""
        with self._bookkeeping():
            self.progress.forget(source, items)
        self.progress.keep()

    def put_marks(self, source: str, marks: Mapping[str, ItemMark]) -> None:
        """Set how far items of a source are settled."""
        with self._bookkeeping():
            Offsets(self._connection).put(source, marks)

    def refused_offset(self) -> int:
        """Return up to where the hooks' refusals are counted."""
        return self.ledger.cursor(_REFUSED)

    def refuse(self, offset: int, counts: Mapping[str, int]) -> None:
        """Count events that the hooks refused, up to ``offset`` of the file that lists them."""
        with self._bookkeeping():
            now_ms = wall_ms()
            tally = Tally()
            for reason, count in counts.items():
                tally.totals["events.refused"] += count
                tally.totals["events.captured"] += count
                tally.totals[f"refused.{reason}"] += count
                tally.minutes["", "hook", "refused"] += count
                if reason == Refusal.SPOOL_FULL:  # no pause: a failure of the hooks
                    tally.hook(("", ""), "failed", now_ms, count)
            self._add(tally, now_ms)
            self.ledger.put_cursor(_REFUSED, offset)

    def retry(self, message_ids: Iterable[str]) -> list[str]:
        """Set open letters to retried; return those that were open."""
        with self._bookkeeping():
            return self.letters.retry(message_ids, wall_ms())

    def drop(self, message_ids: Iterable[str]) -> list[str]:
        """Set open letters to dropped; return those that were open."""
        with self._bookkeeping():
            return self.letters.drop(message_ids, wall_ms())

    def note_break(self, verdict: Verdict) -> None:
        """Count and name messages that vanished within an epoch."""
        with self._bookkeeping():
            self._add_break(verdict)

    def begin_epoch(
        self,
        verdict: Verdict,
        token: str,
        base: int,
        carried: Mapping[str, int] = MappingProxyType({}),
    ) -> Epoch:
        """Count and name what vanished with the epoch before, and then begin a new one.

        ``carried`` are messages of our own that are in the stream already, by source.
        """
        with self._bookkeeping():
            if verdict.broken:
                self._add_break(verdict)
            totals = self.ledger.totals()
            epoch = Epoch(
                token=token,
                base=base,
                settled_at_start=settled(totals),
                own_at_start=totals.get("messages.own", 0),
                high=base,
                own_high=0,
                started_ms=wall_ms(),
            )
            self.ledger.put_epoch(epoch)
            self.ledger.put_seen(carried)
        return epoch

    def _add_break(self, verdict: Verdict) -> None:
        now_ms = wall_ms()
        tally = Tally()
        tally.totals["messages.recovered"] += verdict.recovered
        tally.totals["messages.own"] += verdict.recovered
        tally.totals["messages.lost"] += verdict.lost
        tally.minutes["", "", "recovered"] += verdict.recovered
        tally.minutes["", "", "lost"] += verdict.lost
        self._add(tally, now_ms)
        self.ledger.add_incident(
            Incident(
                "chain_break",
                now_ms,
                verdict.recovered + verdict.lost,
                verdict.recovered,
                verdict.cause,
                verdict.ids[:MAX_NAMED],
            ),
        )

    def put_balance(self, balance: Balance, epoch: Epoch) -> None:
        """Store the snapshot, what arrived since the last one, and the counters of the stream."""
        with self._bookkeeping():
            now_ms = wall_ms()
            before = self.ledger.balance()
            if before is not None:
                self._add(arrivals(balance, before, self.ledger.seen()), now_ms)
            self.ledger.put_seen(balance.own)
            self.ledger.put_balance(now_ms, balance.body())
            self.ledger.put_epoch(epoch)
        self._put_mark()

    def derive(self, done: Derivation) -> bool:
        """Store what a worker derived; False when rows that it read may be gone.

        Raises what the store says, or the worker's own, and then nothing is stored.
        """
        if done.edition != self.edition:
            return False
        with store.transaction(self._connection):
            now_ms = wall_ms()
            tables = Derived(self._connection)
            done.write(tables)
            if done.upto is not None:
                tables.put_watermark(done.worker, done.upto)
            for letter in done.letters:
                self.letters.open(letter, now_ms)
            for letter_id in done.settled:
                self.letters.settle(letter_id, now_ms)
            for letter_id in done.reopened:
                self.letters.reopen(letter_id)
            if done.anew:
                begin_anew(self._connection, done.anew, now_ms)
            faults.point("mid_derive")
        self.edition += bool(done.anew)
        return True

    def begin_anew(self, workers: Sequence[str]) -> None:
        """Take away what workers derived, and set them back to the first row."""
        with self._bookkeeping():
            begin_anew(self._connection, workers, wall_ms())
        self.edition += 1  # what was read before must not set a watermark

    def overwrite_removed(self) -> None:
        """Write zeros over everything that is removed from now on."""
        overwrite_removed(self._connection)

    def erase(self, work: Callable[[Erasure], Mapping[str, int]], *, traces: bool = True) -> None:
        """Remove or change what was stored; ``work`` returns what it adds to the counters.

        ``traces`` says that files may still hold what nobody is to find there.
        """
        self.edition += 1
        self._traces.forget_interned()
        with self._bookkeeping():
            if traces:
                self.ledger.put_cursor(ERASING, 1)
            self.ledger.add(work(Erasure(self._connection)))

    def expire(self, work: Callable[[store.Connection], Mapping[str, int]]) -> Mapping[str, int]:
        """Remove what was kept for long enough; ``work`` returns what it adds to the counters."""
        with self._bookkeeping():
            amounts = work(self._connection)
            self.ledger.add(amounts)
        return amounts

    @property
    def interning(self) -> object:
        """Another object whenever the id of a name may mean something else than before."""
        return self._traces.interning

    def expire_names(self, names: Sequence[int], after: int, interning: object) -> object | None:
        """Remove names that no row up to ``after`` used when ``interning`` was asked for.

        Returns the new ``interning``; None, having removed nothing, when it was another by now.
        """
        if self._traces.interning is not interning:
            return None
        with self._bookkeeping():
            remove_names(self._connection, names, after)
        self._traces.forget_interned()
        return self._traces.interning

    def put_cursors(self, values: Mapping[str, int]) -> None:
        """Set several cursors together."""
        with self._bookkeeping():
            for name, value in values.items():
                self.ledger.put_cursor(name, value)

    def tend_wal(self) -> None:
        """See to it, now and then, that the -wal does not stay large."""
        self._wal.tend(self._connection)

    def cut_wal(self) -> None:
        """Have the -wal take up as little room as it can."""
        cut(self._connection)

    def finish_erasing(self) -> None:
        """Note that nothing of what was removed is left in any file."""
        with self._bookkeeping():
            self.ledger.put_cursor(ERASING, 0)

    def rewrite(self) -> bool:
        """Write the file anew without what was removed; False while a reader keeps the -wal."""
        rewrite(self._connection)
        return self.empty_wal()

    def empty_wal(self) -> bool:
        """Cut the -wal to nothing; False while a reader keeps it."""
        return empty_wal(self._connection)

    def put_health(self, as_of_ms: int, body: Mapping[str, object]) -> None:
        """Store the last snapshot of health."""
        with self._bookkeeping():
            self.ledger.put_health(as_of_ms, body)

    def put_changes(self, changes: Sequence[HealthIncident]) -> None:
        """Record how incidents of health are by now."""
        with self._bookkeeping():
            for change in changes:
                self.ledger.put_change(change)

    def add_dictionary(self, source: str, data: bytes) -> None:
        """Store a dictionary that was trained here, and use it from the next row on."""
        with self._bookkeeping():
            dictionary = put_trained(self._connection, source, data, wall_ms())
        self.codec.add(dictionary)


def _new_id() -> int:
    return (int.from_bytes(random_bytes(8), "big") >> 2) + 1
