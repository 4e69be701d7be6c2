"""Bringing a database to the schema of this program.

Owns the list of steps and the table ``schema_version`` that records them.
Promises that a step and its record are one transaction, and that a newer database is left alone.
Leaves the text of the tables to ``schema.py``.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from blueplane import faults
from blueplane.clock import wall_ms
from blueplane.errors import StoreError
from blueplane.store import codec, schema
from blueplane.store.connection import Connection, transaction
from blueplane.store.reading import version
from blueplane.store.rollups import Rollups


@dataclass(frozen=True, slots=True)
class Step:
    """One step from a version to the next; ``apply`` runs inside the step's transaction."""

    name: str
    apply: Callable[[Connection], None]


def run_script(connection: Connection, text: str) -> None:
    """Run statements one by one: ``executescript`` would commit the transaction around it."""
    statement = ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            connection.execute(statement)
            faults.point("migration_statement")
            statement = ""


def _road(connection: Connection) -> None:
    run_script(connection, schema.ROAD)
    codec.put_shipped(connection)


def _rules(connection: Connection) -> None:
    run_script(connection, schema.RULES)


def _health(connection: Connection) -> None:
    run_script(connection, schema.HEALTH)


def _chain(connection: Connection) -> None:
    run_script(connection, schema.CHAIN)


def _capture(connection: Connection) -> None:
    run_script(connection, schema.CAPTURE)
    codec.put_shipped(connection)  # those that came since


def _insight(connection: Connection) -> None:
    run_script(connection, schema.CONVERSATIONS)
    run_script(connection, schema.USAGE_ROLLUPS)
    run_script(connection, schema.METRICS)
    Rollups(connection).rebuild()


#: In order; version n of the schema is what stands after the first n steps.
STEPS: tuple[Step, ...] = (
    Step("the road of an event", _road),
    Step("counts per rule, so that old settlements may go", _rules),
    Step("health, as it was last seen", _health),
    Step("what became of each source, by outcome", _chain),
    Step("how far the stores of editors were read", _capture),
    Step("what the data says", _insight),
)


def migrate(connection: Connection, steps: tuple[Step, ...] = STEPS) -> int:
    """Apply the steps that are missing and return the version reached.

    Raises StoreError, having touched nothing, when the database is newer than ``steps``.
    """
    found = version(connection)
    if found > len(steps):
        message = (
            f"the database has schema {found} and this program knows {len(steps)}: "
            "it was written by a newer Blueplane; install that one"
        )
        raise StoreError(message)
    for number, step in enumerate(steps[found:], start=found + 1):
        with transaction(connection):
            connection.execute(
                "CREATE TABLE IF NOT EXISTS schema_version"
                " (version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_ms INTEGER NOT NULL)",
            )
            step.apply(connection)
            connection.execute(
                "INSERT INTO schema_version VALUES (?, ?, ?)",
                (number, step.name, wall_ms()),
            )
    return len(steps)
