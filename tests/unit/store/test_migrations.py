from collections.abc import Iterator
from pathlib import Path

import pytest

from blueplane.errors import StoreError, StoreUnavailableError
from blueplane.store.codec import shipped
from blueplane.store.connection import Connection, open_writer
from blueplane.store.migrations import STEPS, Step, migrate, run_script
from blueplane.store.reading import version
from blueplane.store.schema import VERSION
from helpers.road import database_file


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Connection]:
    """Give an empty database."""
    database = open_writer(database_file(tmp_path))
    yield database
    database.close()


def tables(database: Connection) -> set[str]:
    """Return the tables of a database."""
    return {
        row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    }


def step(name: str, *statements: str) -> Step:
    """Make a step."""
    return Step(name, lambda connection: run_script(connection, "\n".join(statements)))


FIRST = step("first", "CREATE TABLE a (x);", "INSERT INTO a VALUES (1);")
SECOND = step("second", "CREATE TABLE b (y);")
BROKEN = step("broken", "CREATE TABLE c (z);", "INSERT INTO nowhere VALUES (1);")


def test_migrate_makes_the_present_schema_when_the_file_is_empty(database: Connection) -> None:
    """A new database has every table, the shipped dictionaries, and the record of each step."""
    # Given / When
    reached = migrate(database)
    # Then
    assert reached == len(STEPS) == VERSION == version(database)
    assert {"traces", "dead_letters", "custody_totals", "epoch", "settlements"} <= tables(database)
    assert database.execute("SELECT count(*) FROM rules").fetchone() == (0,)
    stored = database.execute("SELECT id, source, data FROM dictionaries ORDER BY id").fetchall()
    assert stored == [(item.id, item.source, item.data) for item in shipped()]


def test_migrate_does_nothing_when_all_is_there(database: Connection) -> None:
    """A second start changes nothing."""
    # Given
    migrate(database, (FIRST,))
    before = database.total_changes
    # When
    assert migrate(database, (FIRST,)) == 1
    # Then
    assert database.total_changes == before


def test_migrate_applies_what_is_missing_when_steps_were_added(database: Connection) -> None:
    """Only new steps run, in order, each with its record."""
    # Given
    migrate(database, (FIRST,))
    # When
    assert migrate(database, (FIRST, SECOND)) == 2
    # Then
    records = database.execute("SELECT version, name FROM schema_version").fetchall()
    assert records == [(1, "first"), (2, "second")]
    assert database.execute("SELECT count(*) FROM a").fetchone() == (1,)


@pytest.mark.fault("C13")
def test_migrate_touches_nothing_when_the_database_is_newer(
    database: Connection, tmp_path: Path
) -> None:
    """A newer schema is refused with both versions, and not a byte changes."""
    # Given a database of the future
    migrate(database, (FIRST, SECOND))
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = database_file(tmp_path).read_bytes()
    # When
    with pytest.raises(StoreError, match=r"schema 2 .* knows 1"):
        migrate(database, (FIRST,))
    # Then
    assert database_file(tmp_path).read_bytes() == before
    assert database_file(tmp_path).with_name("telemetry.db-wal").stat().st_size == 0


@pytest.mark.fault("A9")
def test_migrate_leaves_nothing_of_a_step_when_it_fails(database: Connection) -> None:
    """A step that fails half-way leaves the steps before it, and can be repeated."""
    # Given / When
    with pytest.raises(StoreUnavailableError, match="nowhere"):
        migrate(database, (FIRST, BROKEN))
    # Then
    assert (version(database), "c" in tables(database)) == (1, False)
    assert migrate(database, (FIRST, SECOND)) == 2


def test_script_runs_each_statement_when_there_are_triggers_and_comments(
    database: Connection,
) -> None:
    """Semicolons inside a trigger do not end it; the transaction around it stays open."""
    # Given
    database.execute("BEGIN")
    # When
    run_script(
        database,
        """
        -- a comment; with a semicolon
        CREATE TABLE a (x TEXT DEFAULT 'one; two');
        CREATE TRIGGER t AFTER INSERT ON a BEGIN
            UPDATE a SET x = 'changed; twice';
            UPDATE a SET x = x || '!';
        END;
        INSERT INTO a DEFAULT VALUES;
        """,
    )
    # Then
    assert database.in_transaction
    assert database.execute("SELECT x FROM a").fetchone() == ("changed; twice!",)
    database.execute("ROLLBACK")
    assert tables(database) == set()


def test_version_is_zero_when_the_record_is_empty(database: Connection) -> None:
    """A database without a record of steps is at the beginning."""
    # Given / When / Then
    assert version(database) == 0
    database.execute("CREATE TABLE schema_version (version INTEGER PRIMARY KEY, name, applied_ms)")
    assert version(database) == 0


def test_rules_are_counted_from_settlements_when_a_database_of_the_first_schema_is_migrated(
    database: Connection,
) -> None:
    """What was settled before there was a table of rules is in it, with the time of the last."""
    # Given
    migrate(database, STEPS[:1])
    settled = [("filtered", "a", 7), ("quarantined", "a", 5), ("quarantined", "a", 3)]
    for number, (outcome, rule, at_ms) in enumerate(settled):
        database.execute(
            "INSERT INTO settlements VALUES (?, ?, ?, '', '', 1, ?)",
            (f"spool:{number}:1", outcome, rule, at_ms),
        )
    # When
    migrate(database)
    # Then
    assert database.execute("SELECT * FROM rules ORDER BY outcome").fetchall() == [
        ("filtered", "a", 1, 7),
        ("quarantined", "a", 2, 5),
    ]


def test_hooks_are_counted_from_what_is_stored_when_a_database_of_before_them_is_migrated(
    database: Connection,
) -> None:
    """Rows, duplicates, letters, settlements and refusals are executions; each counts once."""
    # Given rows of two hooks and of a canary, a second capture and a second message of one of them
    migrate(database, STEPS[:2])
    for kind, source in ((1, "hook"), (2, "hook"), (3, "canary")):
        database.execute(
            "INSERT INTO kinds VALUES (?, 'cursor', ?, '', ?)", (kind, source, f"on{kind}")
        )
    for number, kind in enumerate((1, 1, 1, 2, 3)):
        database.execute(
            "INSERT INTO traces (event_id, kind, captured_ns, timestamp_lag, message_lag,"
            " message_number, delivered_lag, ingested_lag, codec, event_data)"
            " VALUES (?, ?, ?, 0, 0, 0, 0, 0, 0, x'')",
            (b"%d" % number, kind, number * 1_000_000),
        )
    database.execute("INSERT INTO duplicates VALUES ('1-0', ?, 9000000, 0, 0, 1)", (b"0",))
    database.execute("INSERT INTO duplicates VALUES ('2-0', ?, 99000000, 1, 0, 1)", (b"0",))
    # And letters: open, a stranger's, and one whose event has its row by now
    for message_id, origin, state, settled_ms in (
        ("3-0", "spool:1:1", "open", None),
        ("4-0", "", "open", None),
        ("5-0", "spool:2:1", "retried", 8),
    ):
        database.execute(
            "INSERT INTO dead_letters VALUES"
            " (?, x'', 1, ?, 'cursor', 'hook', 'on2', x'', '', '', 1, '', ?, 7, NULL, ?, NULL)",
            (message_id, origin, state, settled_ms),
        )
    # And what never reached the stream
    for number, (outcome, hook) in enumerate((("filtered", "on1"), ("quarantined", "on1"))):
        database.execute(
            "INSERT INTO settlements VALUES (?, ?, 'a', 'cursor', ?, 1, 5)",
            (f"spool:{number}:1", outcome, hook),
        )
    database.execute("INSERT INTO custody_totals VALUES ('refused.f', 6), ('refused.p', 9)")
    # When
    migrate(database)
    # Then
    assert database.execute("SELECT * FROM hooks ORDER BY platform, hook_type").fetchall() == [
        ("", "", 0, 6, 0),
        ("cursor", "on1", 5, 1, 9),
        ("cursor", "on2", 2, 0, 7),
    ]


def test_outcomes_are_counted_from_before_when_a_database_of_before_them_is_migrated(
    database: Connection,
) -> None:
    """What was written is known for ever, the rest as far back as the minutes go; breaks stay."""
    # Given rows whose minutes are partly gone, duplicates of two minutes, and a break
    migrate(database, STEPS[:2])
    database.execute("INSERT INTO sources VALUES ('cursor', 'hook', 70, 120001)")
    database.executemany(
        "INSERT INTO custody_minutes VALUES (?, 'cursor', 'hook', ?, ?)",
        [(1, "duplicate", 2), (2, "duplicate", 3), (2, "written", 60)],
    )
    database.execute("INSERT INTO incidents VALUES (1, 'chain_break', 5, 5, 1, 1, 'x', '[]')")
    # When
    migrate(database)
    # Then
    assert database.execute("SELECT * FROM outcomes ORDER BY outcome").fetchall() == [
        ("cursor", "hook", "duplicate", 5, 120_000),
        ("cursor", "hook", "written", 70, 120_001),
    ]
    assert "sources" not in tables(database)
    assert database.execute("SELECT kind, colour FROM incidents").fetchall() == [
        ("chain_break", None)
    ]
