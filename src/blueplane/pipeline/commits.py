"""Every transaction on the store.

Owns the write connection and what is written, and counted, together.
Promises that each method is one transaction: all of it is durable when it returns, or none is.
Leaves when to commit, and what follows a commit, to the writer.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from blueplane import faults
from blueplane.clock import wall_ms
from blueplane.errors import RowRefusedError, StoreUnavailableError
from blueplane.pipeline.custody import Balance, Tally, Verdict, is_letter, letter_id, settled
from blueplane.store import connection as store
from blueplane.store.codec import load_codec, put_trained
from blueplane.store.ledger import Epoch, Incident, Ledger, Settlement
from blueplane.store.letters import Letter, Letters
from blueplane.store.migrations import migrate
from blueplane.store.traces import Inserted, Row, Traces

#: Ids that an incident names; the count is always whole.
MAX_NAMED: Final = 1_000
#: The cursor of the file in which hooks note what they refused.
_REFUSED: Final = "refused"


class Commits:
    """The one writer of the store, whoever runs it: the server's writer thread or a command."""

    def __init__(self, path: Path) -> None:
        self._connection = store.open_writer(path)
        try:
            migrate(self._connection)
            self.codec = load_codec(self._connection)
        except BaseException:
            self._connection.close()
            raise
        self.ledger = Ledger(self._connection)
        self.letters = Letters(self._connection)
        self._traces = Traces(self._connection, self.codec)

    def close(self) -> None:
        """Close the write connection."""
        self._connection.close()

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
                faults.point("before_commit")
        except BaseException:
            self._traces.forget_interned()
            raise
        return inserted

    def _count(self, inserted: Inserted, now_ms: int) -> None:
        tally = Tally()
        letters = [row for row in inserted.written if is_letter(row.origin)]
        for row in letters:
            tally.retried(row, "written", self._settle_letter(row.origin, now_ms))
        tally.written([row for row in inserted.written if not is_letter(row.origin)])
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
        return opened

    def settle(self, settlements: Iterable[Settlement]) -> None:
        """Record items that were filtered or quarantined before the stream."""
        with self._bookkeeping():
            now_ms = wall_ms()
            tally = Tally()
            for item in self.ledger.add_settlements(settlements, now_ms):
                tally.event(item.outcome)
                tally.minutes[item.platform, "hook", item.outcome] += 1
            self._add(tally, now_ms)

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

    def begin_epoch(self, verdict: Verdict, token: str, base: int) -> Epoch:
        """Count and name what vanished with the epoch before, and then begin a new one."""
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
        """Store the snapshot, and with it the most that was seen of the stream's counters."""
        with self._bookkeeping():
            self.ledger.put_balance(wall_ms(), balance.body())
            self.ledger.put_epoch(epoch)

    def add_dictionary(self, source: str, data: bytes) -> None:
        """Store a dictionary that was trained here, and use it from the next row on."""
        with self._bookkeeping():
            dictionary = put_trained(self._connection, source, data, wall_ms())
        self.codec.add(dictionary)
