"""A store, rows in it as the sources write them, and the workers that derive from them.

Owns invented lines of transcripts and hooks, and ``Desk``, which runs workers when the test says.
Promises the program's own store and workers; rows are made by its own pipeline, without Redis.
Leaves threads to the tests of the worker.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import orjson

from blueplane.analytics.metrics.worker import Metrics
from blueplane.analytics.roster import make_workers
from blueplane.analytics.worker import Store, Worker, Workers
from blueplane.capture.pseudonyms import Pseudonyms
from blueplane.clock import NS_PER_MS
from blueplane.event import Event, line_id
from blueplane.pipeline.commits import Commits
from blueplane.store.conversation_tables import TABLES
from blueplane.store.derived import Derivation
from blueplane.store.metric_rollups import MEASURED, SessionSummary, unpacked
from blueplane.store.queries import Reader, reading
from blueplane.store.rebuilding import CLEARING
from blueplane.store.usage_columns import KEYS
from helpers.road import CAPTURED_NS, make_event, make_row
from helpers.rolled_up import shown

T0_MS = CAPTURED_NS // NS_PER_MS
MINUTE_MS = 60_000
#: Keys the hashes of files and texts.
SECRET = b"k" * 32


def at(minutes: float) -> dict[str, int]:
    """Return the times of an event so many minutes after the first."""
    at_ms = T0_MS + round(minutes * MINUTE_MS)
    return {"timestamp_ms": at_ms, "captured_ns": at_ms * NS_PER_MS}


def line(number: int, kind: str = "assistant", **changes: Any) -> Event:
    """Make the row's event of a transcript's line; ``payload`` is added to what each line has."""
    uuid = changes.pop("uuid", f"u-{number}")
    payload = {"uuid": uuid, **changes.pop("payload", {})}
    metadata = changes.pop("metadata", {})
    return make_event(
        number,
        event_id=line_id(uuid),
        platform="claude_code", source="transcript", hook_type=kind, event_type="transcript_trace",
        payload=orjson.dumps(payload), metadata=orjson.dumps(metadata), origin=f"t:f:{number}:1",
        **changes,
    )  # fmt: skip


def answer(number: int, tokens: Sequence[int] = (10, 5, 0, 0), **changes: Any) -> Event:
    """Make an assistant's line: input, output, cache read and cache creation tokens of a call."""
    names = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens")
    message = {"id": f"msg_{number}", **changes.pop("message", {})}
    payload = {"requestId": f"req_{number}", "message": message, **changes.pop("payload", {})}
    metadata = {"model": "claude-opus-4", **dict(zip(names, tokens, strict=True))}
    metadata |= changes.pop("metadata", {})
    return line(number, payload=payload, metadata=metadata, **changes)


def hook(number: int, name: str, kind: str, platform: str = "claude_code", **changes: Any) -> Event:
    """Make the event of a hook."""
    payload = orjson.dumps(changes.pop("payload", {}))
    metadata = orjson.dumps(changes.pop("metadata", {}))
    return make_event(
        number, platform=platform, hook_type=name, event_type=kind, payload=payload,
        metadata=metadata, **changes,
    )  # fmt: skip


class Desk:
    """A store with workers."""

    #: All workers of the program, and those that read rows: the last one follows the others.
    NAMES = tuple(CLEARING)
    READERS = NAMES[:-1]

    def __init__(self, database: Path, workers: Iterable[Worker] = ()) -> None:
        self._take(database, Commits(database), workers)

    @classmethod
    def of(cls, commits: Commits, derive: Callable[[Derivation], bool]) -> Self:
        """Give a desk for the store of a server; ``derive`` has its writer store something."""
        desk = cls.__new__(cls)
        desk._take(commits.path, commits, ())
        desk.workers._store = replace(desk.workers._store, derive=derive)
        return desk

    def _take(self, database: Path, commits: Commits, workers: Iterable[Worker]) -> None:
        self.database = database
        self.commits = commits
        self.busy = False
        store = Store(
            database,
            codec=lambda: self.commits.codec,
            edition=lambda: self.commits.edition,
            derive=self.commits.derive,
            busy=lambda: self.busy,
        )
        chosen = tuple(workers)
        self.workers = (
            Workers(store, chosen, Metrics()) if chosen else make_workers(store, Pseudonyms(SECRET))
        )

    def close(self) -> None:
        """Close the store."""
        self.commits.close()

    def write(self, *events: Event) -> None:
        """Write the rows of events, in one batch."""
        self.commits.write([make_row(self.commits, event) for event in events])

    def derive(self) -> None:
        """Run the workers until they have nothing more to do."""
        self.workers.catch_up()

    def tell(self, *events: Event) -> None:
        """Write rows and derive from them."""
        self.write(*events)
        self.derive()

    def execute(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Ask the database, or change it as no program of ours does."""
        found: list[tuple[Any, ...]] = self.commits._connection.execute(
            statement, parameters
        ).fetchall()
        return found

    def usage(self, columns: str = "input_tokens, output_tokens") -> list[tuple[Any, ...]]:
        """Return columns of all calls, in the order of time."""
        return self.execute(f"SELECT {columns} FROM usage ORDER BY timestamp_ms, call_key")

    def derived(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return everything that is derived, by table, without the numbers that rows happen on."""
        names = "coalesce((SELECT text FROM labels l WHERE l.id = s.{}), '')"
        return {
            "usage": sorted(self.execute("SELECT * FROM usage"), key=repr),
            "sessions": self.execute(
                "SELECT platform, session_id, evidence, workspace_hash,"
                f" {names.format('project')}, {names.format('branch')}, parent_id, continues,"
                " begun_ms, begun_by, resumed_ms, started_ms, last_ms, ended_ms, end_reason,"
                " reported_cost_usd FROM sessions s ORDER BY platform, session_id"
            ),
            "stretches": self.execute(
                "SELECT s.platform, s.session_id, t.started_ms, t.last_ms FROM stretches t"
                " JOIN sessions s ON s.id = t.session ORDER BY 1, 2, 3"
            ),
            "witnesses": self.execute(
                "SELECT w.key, w.kind, s.session_id, w.at_ms, w.seen FROM witnesses w"
                " JOIN sessions s ON s.id = w.session ORDER BY w.key"
            ),
            **{table: self._rows(table) for table in TABLES.values()},
            **shown(self.commits._connection),
            **{table: self._measured(table) for table in MEASURED},
        }

    def _measured(self, table: str) -> list[tuple[Any, ...]]:
        """Return the rows of a table of figures, with texts in place of numbers of them."""
        session = "(SELECT session_id FROM sessions WHERE id = t.session)"
        if table == "session_summaries":
            columns = ", ".join(SessionSummary._fields[1:])
            found = self.execute(f"SELECT {session}, {columns} FROM {table} t")
            return sorted(found, key=repr)  # both platforms may have a session of the same id
        found = self.execute(
            f"SELECT {session if table == 'session_figures' else 0}, t.span, t.platform,"
            " (SELECT text FROM labels WHERE id = t.project), t.body"
            f" FROM {table} t ORDER BY 1, 2, 3, 4"
        )
        return [(*head, unpacked(body)) for *head, body in found]

    def _rows(self, table: str) -> list[tuple[Any, ...]]:
        """Return the rows of a table of conversations, with texts in place of numbers of them."""
        labels = {"agent", "project", "model", "name", "extension", "type"}
        found = self.execute(f"SELECT name FROM pragma_table_info('{table}')")
        columns = [
            f"(SELECT text FROM labels WHERE id = t.{name})" if name in labels
            else "(SELECT session_id FROM sessions WHERE id = t.session)" if name == "session"
            else f"t.{name}"
            for (name,) in found
            if name != "decided"  # by which row
        ]  # fmt: skip
        return self.execute(f"SELECT {', '.join(columns)} FROM {table} t ORDER BY key")

    def begin_again(self, *, emptied: bool) -> None:
        """Set every worker back to the first row, with or without what was derived."""
        self.execute("DELETE FROM watermarks")
        if emptied:
            tables = ("calls", "sessions", "stretches", "witnesses", "first_hooks", "labels")
            for table in (*tables, *KEYS, *TABLES.values(), *MEASURED, "touched"):
                self.execute(f"DELETE FROM {table}")

    def rebuild(self, *workers: str) -> None:
        """Begin what workers derived anew; all of them if none is named."""
        self.commits.begin_anew(workers or self.NAMES)

    def reader(self) -> Any:
        """Open a reader; use it with ``with``."""
        return reading(self.database)


def read(desk: Desk, ask: Any) -> Any:
    """Return what ``ask`` returns of a reader."""
    with desk.reader() as reader:
        assert isinstance(reader, Reader)
        return ask(reader)
