"""Mutants: servers with one promise broken, which the fault tests must catch.

Owns the changes, by name; ``python -m helpers.mutants ...`` is ``blueplane ...`` with the change
that the variable ``MUTANT`` names.
Promises that each breaks what its name says and nothing else.
Leaves catching them to ``faults/test_mutants.py`` and ``faults/test_power_loss.py``.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from blueplane.capture.spool import Spooler
from blueplane.interfaces.cli.main import main
from blueplane.pipeline.batch import Delivery
from blueplane.pipeline.commits import Commits
from blueplane.pipeline.consumer import Consumer
from blueplane.pipeline.writer import Writer
from blueplane.store import connection
from blueplane.store.traces import Inserted, Row, Traces
from helpers.waiting import wait_until


def _acknowledge_before_commit() -> None:
    """P4 broken: the entries leave the stream before their rows are durable."""
    write = Writer._write

    def broken(writer: Writer, ready: Sequence[Delivery]) -> None:
        writer._settle([delivery.message_id for delivery in ready], None)
        write(writer, ready)

    _put(Writer, "_write", broken)


def _read_no_history() -> None:
    """P3 broken: what was delivered to a server that died is never looked at again."""
    _put(Consumer, "_read_pending", lambda _consumer: None)


#: Seconds for the spooler's own thread to remove what is released.
REMOVED_S = 30.0


def _release_before_commit() -> None:
    """P2 broken: the spool lets go of a file before its row is durable."""
    write = Writer._write

    def broken(writer: Writer, ready: Sequence[Delivery]) -> None:
        rows = [delivery.row for delivery in ready if isinstance(delivery.row, Row)]
        (spooler,) = (each for each in writer.sources if isinstance(each, Spooler))
        spooler.release([row.origin for row in rows])
        wait_until(lambda: not spooler._released, REMOVED_S, "they are removed")
        write(writer, ready)

    _put(Writer, "_write", broken)


def _write_twice() -> None:
    """P3 broken: every delivery has an id of its own, so that nothing is known again."""
    insert = Traces.insert

    def broken(traces: Traces, rows: Sequence[Row], ingested_ms: int) -> Inserted:
        return insert(traces, [row._replace(event_id=os.urandom(16)) for row in rows], ingested_ms)

    _put(Traces, "insert", broken)


def _sync_no_commit() -> None:
    """P4 broken: COMMIT returns before the disk has the rows."""
    open_writer = connection.open_writer

    def broken(path: Path) -> connection.Connection:
        opened = open_writer(path)
        opened.execute("PRAGMA synchronous = NORMAL")
        return opened

    _put(connection, "open_writer", broken)


def _count_no_duplicates() -> None:
    """P5 broken: what was captured twice is counted once."""
    count = Commits._count

    def broken(commits: Commits, inserted: Inserted, now_ms: int) -> None:
        count(commits, replace(inserted, duplicates=()), now_ms)

    _put(Commits, "_count", broken)


MUTANTS: Mapping[str, Callable[[], None]] = {
    "acknowledge_before_commit": _acknowledge_before_commit,
    "read_no_history": _read_no_history,
    "release_before_commit": _release_before_commit,
    "write_twice": _write_twice,
    "sync_no_commit": _sync_no_commit,
    "count_no_duplicates": _count_no_duplicates,
}


def _put(owner: object, name: str, broken: Callable[..., object]) -> None:
    """Put a broken function in the place of one of the program's."""
    setattr(owner, name, broken)


def apply(name: str) -> None:
    """Break what ``name`` says, in this process."""
    MUTANTS[name]()


if __name__ == "__main__":
    apply(os.environ["MUTANT"])
    sys.exit(main())
