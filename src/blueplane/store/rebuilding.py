"""Taking away what workers derived, so that they derive it anew from the first row.

Owns which tables each worker fills, and which rows of them stay.
Promises that what was derived from rows that retention removed stays: nobody could derive it again.
Leaves the transaction to ``pipeline/commits.py``, deriving to the workers.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Final, TypeAlias

from blueplane.store.connection import Connection
from blueplane.store.conversation_tables import LABELLED, TABLES, TIMES
from blueplane.store.ledger import Ledger
from blueplane.store.letters import Letters
from blueplane.store.metric_rollups import begin_measuring_anew, touch_all
from blueplane.store.rollups import Rollups

#: Takes away what a worker derived of a time and later; 0 is all of it.
Clear: TypeAlias = Callable[[Connection, int], None]

#: Of sessions only what the worker ``sessions`` says goes: others refer to the rows.
_NO_SESSION: Final = """
UPDATE sessions SET evidence = 0, workspace_hash = NULL, project = NULL, branch = NULL,
    parent_id = NULL, continues = NULL, begun_ms = NULL, begun_by = NULL, resumed_ms = NULL,
    started_ms = NULL, last_ms = NULL, ended_ms = NULL, end_reason = NULL, reported_cost_usd = NULL
WHERE coalesce(started_ms, ?1) >= ?1
"""

#: Where labels are: table, column and kind.
LABELLED_COLUMNS: Final = (
    *(("calls", kind, kind) for kind in ("agent", "model", "project", "branch")),
    *(("sessions", kind, kind) for kind in ("project", "branch")),
    *LABELLED,
)
_OF_SESSIONS: Final = (
    "calls", "stretches", "witnesses", *TABLES.values(), "session_figures", "session_summaries"
)  # fmt: skip
#: Takes away what was only there because something that is gone named it.
_UNUSED: Final = (
    "DELETE FROM sessions WHERE evidence = 0 AND parent_id IS NULL AND id NOT IN ({})".format(
        " UNION ".join(f"SELECT session FROM {table}" for table in _OF_SESSIONS)
    ),
    "DELETE FROM touched WHERE session NOT IN (SELECT id FROM sessions)",
    "DELETE FROM labels WHERE id NOT IN ({})".format(
        " UNION ".join(
            f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL"
            for table, column, _ in LABELLED_COLUMNS
        )
    ),
)


def _clear_usage(connection: Connection, since_ms: int) -> None:
    _clear_tables(connection, {"calls": "timestamp_ms"}, since_ms)
    Rollups(connection).rebuild()


def _clear_sessions(connection: Connection, since_ms: int) -> None:
    connection.execute(_NO_SESSION, (since_ms,))
    _clear_tables(connection, {"stretches": "started_ms"}, since_ms)


def _clear_witnesses(connection: Connection, since_ms: int) -> None:
    _clear_tables(connection, {"witnesses": "at_ms", "first_hooks": "at_ms"}, since_ms)


def _clear_metrics(connection: Connection, _since_ms: int) -> None:
    """They are made of derived rows, which stay where nobody could derive them again."""
    begin_measuring_anew(connection)


def _clear_conversations(connection: Connection, since_ms: int) -> None:
    _clear_tables(connection, TIMES, since_ms)


def _clear_tables(connection: Connection, times: Mapping[str, str], since_ms: int) -> None:
    for table, time in times.items():
        if since_ms:
            connection.execute(f"DELETE FROM {table} WHERE coalesce({time}, ?1) >= ?1", (since_ms,))
        else:
            connection.execute(f"DELETE FROM {table}")  # at once, however many there are


#: By worker.
CLEARING: Final[Mapping[str, Clear]] = {
    "usage": _clear_usage,
    "sessions": _clear_sessions,
    "witnesses": _clear_witnesses,
    "conversations": _clear_conversations,
    "metrics": _clear_metrics,
}


def begin_anew(connection: Connection, workers: Collection[str], now_ms: int) -> None:
    """Take away what workers derived, and set them back to the first row.

    Their letters are tried again by that: those of rows that fail again are opened again.
    """
    since_ms = derivable_since_ms(connection)
    for worker in workers:
        CLEARING[worker](connection, since_ms)
        connection.execute("DELETE FROM watermarks WHERE worker = ?", (worker,))
        Letters(connection).settle_derived(worker, now_ms)
    if CLEARING.keys() <= set(workers):
        for statement in _UNUSED:
            connection.execute(statement)
    touch_all(connection)


def derivable_since_ms(connection: Connection) -> int:
    """Return from when on everything can be derived again; 0 where no row was ever too old.

    What was removed was written before the oldest row that is left, and happened before that.
    """
    if not Ledger(connection).totals().get("rows.expired"):
        return 0
    found = connection.execute(
        "SELECT captured_ns / 1000000 + ingested_lag FROM traces ORDER BY sequence LIMIT 1"
    ).fetchone()
    return int(found[0]) if found else 2**62
