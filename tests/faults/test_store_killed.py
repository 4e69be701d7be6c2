"""Killed while the schema changes, or while pages are moved: the database is whole afterwards."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from blueplane.event import Settlement
from blueplane.pipeline.commits import Commits
from blueplane.store.connection import open_writer
from blueplane.store.migrations import STEPS, migrate
from blueplane.store.reading import version
from helpers.road import database_file, make_event, make_row
from helpers.server import environment

PATIENCE_S = 30.0
ROUNDS = 12
ROWS = 40_000
#: The version of the schema that began to count executions of hooks.
COUNTS_HOOKS = 3
#: Opens a database as the program does, in a new process for each line: fault point and path.
OPEN = """
import os, sys
from pathlib import Path
from blueplane import faults
from blueplane.pipeline.commits import Commits
for line in sys.stdin:
    planned, path = line.rstrip().split(" ", 1)
    process = os.fork()
    if process == 0:
        faults.point = faults._Armed(planned)
        Commits(Path(path)).close()
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
"""
#: Changes a database all the time, and has its pages moved.
CHANGE = """
import sys
from pathlib import Path
from blueplane.store.connection import open_writer
writer = open_writer(Path(sys.argv[1]))
print("open", flush=True)
for number in range(100_000):
    writer.execute("UPDATE things SET turn = turn + 1 WHERE name % 7 = ?", (number % 7,))
    writer.execute(sys.argv[2])
"""


def run(script: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Run a script in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


@pytest.fixture
def opener() -> Iterator[subprocess.Popen[bytes]]:
    """Give a process whose children open databases."""
    process = run(OPEN)
    yield process
    process.communicate(timeout=PATIENCE_S)


def open_killed(opener: subprocess.Popen[bytes], path: Path, passes: int) -> int:
    """Open a database, to be killed at a statement of a migration; return the exit code."""
    assert opener.stdin is not None
    assert opener.stdout is not None
    opener.stdin.write(f"migration_statement:kill@{passes} {path}\n".encode())
    opener.stdin.flush()
    return int(opener.stdout.readline())


# --- migrations -----------------------------------------------------------------------------------


def make_old(path: Path, steps: int) -> None:
    """Make a database of an older version of the schema, with rows and settlements in it."""
    with closing(open_writer(path)) as writer:
        migrate(writer, STEPS[:steps])
        for number in range(50):
            item = Settlement(f"spool:{number}:1", "filtered", f"rule-{number % 3}", "", "", 1)
            writer.execute(
                "INSERT INTO settlements VALUES (?, ?, ?, '', '', 1, ?)",
                (item.origin, item.outcome, item.rule, number),
            )
            writer.execute(
                "INSERT INTO duplicates VALUES (?, ?, 1, 0, 0, ?)",
                (f"{number}-0", b"%016d" % number, number),
            )
            writer.execute(
                "INSERT INTO traces (event_id, kind, captured_ns, timestamp_lag, message_lag,"
                " message_number, delivered_lag, ingested_lag, codec, event_data)"
                " VALUES (?, 1, ?, 0, 0, 0, 0, 0, 0, x'')",
                (b"%016d" % number, number * 1_000_000),
            )
        writer.execute("INSERT INTO kinds VALUES (1, 'cursor', 'hook', 'turn_end', 'stop')")


def contents(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """Return what is in every table that the first version has."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {
            name: connection.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall()
            for name in ("settlements", "duplicates", "dictionaries", "custody_totals", "traces")
        }


def hooks(path: Path) -> list[tuple[object, ...]]:
    """Return how often each hook ran."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT * FROM hooks ORDER BY 1, 2").fetchall()


def schema(path: Path) -> list[tuple[object, ...]]:
    """Return the texts of all tables and indexes, and the version."""
    with closing(sqlite3.connect(path)) as connection:
        made = connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
        return [*made, (version(connection),)]


@pytest.mark.fault("A9")
@pytest.mark.parametrize("steps", range(1, len(STEPS)))
def test_the_schema_is_old_or_new_when_killed_at_any_statement_of_a_migration(
    tmp_path: Path, opener: subprocess.Popen[bytes], steps: int
) -> None:
    """Killed after the n-th statement, for every n, the next start completes with the same rows."""
    # Given a database of an older version, and what it becomes
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    make_old(old, steps)
    make_old(new, steps)
    before, whole = contents(old), [schema(old)]
    for reached in range(steps + 1, len(STEPS) + 1):
        with closing(open_writer(new)) as writer:
            migrate(writer, STEPS[:reached])
        whole.append(schema(new))
    counted = [("", "", 50, 0, 49), ("cursor", "stop", 100, 0, 49)]
    assert hooks(new) == (counted if steps < COUNTS_HOOKS else [])
    killed = 0
    while True:
        # When the program is killed after one statement of the migration, and then the next
        path = database_file(tmp_path)
        shutil.copy(old, path)
        code = open_killed(opener, path, killed + 1)
        if code != -signal.SIGKILL:
            break
        killed += 1
        # Then the schema is that of one version, whole, and the next start makes the new one of it
        assert schema(path) in whole[:-1]
        Commits(path).close()
        assert schema(path) == whole[-1]
        assert contents(path)["settlements"] == before["settlements"]
        assert contents(path)["duplicates"] == before["duplicates"]
        assert hooks(path) == hooks(new)
        path.unlink()
    assert code == 0
    assert killed >= len(STEPS) - steps


@pytest.mark.fault("A9")
def test_a_new_database_is_whole_when_killed_while_it_is_made(
    tmp_path: Path, opener: subprocess.Popen[bytes]
) -> None:
    """Killed in the first migration, a database has all of it or nothing, and is made then."""
    for passes in (1, 5, 15):
        # Given a start that is killed in the middle of the first step
        path = tmp_path / f"{passes}.db"
        assert open_killed(opener, path, passes) == -signal.SIGKILL
        # When / Then
        assert schema(path) == [(0,)]
        commits = Commits(path)
        assert len(commits.write([make_row(commits, make_event())]).written) == 1
        commits.close()


# --- moving pages ---------------------------------------------------------------------------------


@pytest.mark.fault("A10")
@pytest.mark.parametrize("statement", ["PRAGMA wal_checkpoint(TRUNCATE)", "VACUUM"])
def test_the_rows_are_all_there_when_killed_while_pages_are_moved(
    tmp_path: Path, statement: str
) -> None:
    """A database of some MB survives SIGKILL at any moment of a checkpoint or a VACUUM."""
    # Given a database, and a process that changes it and moves its pages
    path = database_file(tmp_path)
    with closing(open_writer(path)) as writer:
        writer.execute("CREATE TABLE things (name INTEGER PRIMARY KEY, turn INTEGER, text TEXT)")
        rows = ((n, 0, f"{n:0100d}") for n in range(ROWS))
        writer.execute("BEGIN")
        writer.executemany("INSERT INTO things VALUES (?, ?, ?)", rows)
        writer.execute("COMMIT")
    chooser = random.Random(10)
    for _ in range(ROUNDS):
        # When it is killed
        process = run(CHANGE, str(path), statement)
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(chooser.uniform(0.01, 0.15))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=PATIENCE_S)
        # Then the next one opens it, and finds every row, and each change whole or not at all
        with closing(open_writer(path)) as writer:
            assert writer.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert writer.execute(
                "SELECT count(*), count(DISTINCT text) FROM things"
            ).fetchone() == (ROWS, ROWS)
            assert (
                writer.execute(
                    "SELECT name % 7 FROM things GROUP BY 1 HAVING count(DISTINCT turn) > 1"
                ).fetchall()
                == []
            )
