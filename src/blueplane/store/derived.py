"""The derived tables: API calls, sessions, conversations, and who saw a turn or a tool call.

Owns what a worker gives to be stored, and every statement that adds it: what it says of a row that
is there is the maximum, the minimum or the first of both, so that giving it twice changes nothing.
Promises only what its caller's transaction promises: nothing here begins or commits.
Leaves what a raw trace means to ``analytics/``, removing to ``erasure.py``, reading to
``reports.py``.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final, NamedTuple

import orjson

from blueplane.store.connection import Connection
from blueplane.store.conversation_tables import UPSERTS, Fact, by_kind
from blueplane.store.endings import IDLE_MS
from blueplane.store.letters import Letter
from blueplane.store.metric_rollups import Measured, put_measured, touch
from blueplane.store.rollups import Rollups

#: The hop of a dead letter that a worker could not derive from; outside of both laws.
HOP: Final = "derived"
#: Bits of ``evidence`` and ``seen``: who saw it.
HOOK: Final = 1
TRANSCRIPT: Final = 2
DATABASE: Final = 4
STORED: Final = TRANSCRIPT | DATABASE
WITNESSES: Final[Mapping[str, int]] = {
    "hook": HOOK, "transcript": TRANSCRIPT, "database": DATABASE
}  # fmt: skip
#: Kinds of what witnesses see.
TURN: Final = 0
TOOL: Final = 1


class Trace(NamedTuple):
    """A raw trace as workers read it; what is missing is "" or None."""

    sequence: int
    event_id: bytes
    message_id: str
    platform: str
    source: str
    event_type: str
    hook_type: str
    session_id: str
    workspace_hash: str
    project: str
    turn_id: str
    tool_use_id: str
    timestamp_ms: int
    model: str | None
    tool_name: str | None
    duration_ms: int | None
    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cache_creation_tokens: int | None
    lines_added: int | None
    lines_removed: int | None
    event: "Content"

    @property
    def payload(self) -> dict[str, Any]:
        """What was stored of the payload; raises StoreError when it is damaged."""
        return self.event.payload


class Content:
    """The content of a row, decoded when somebody asks for it, and once for all workers."""

    __slots__ = ("_codec", "_data", "_decode", "_payload")

    def __init__(self, decode: Callable[[int, bytes], bytes], codec: int, data: bytes) -> None:
        self._decode, self._codec, self._data = decode, codec, data
        self._payload: dict[str, Any] | None = None

    @property
    def payload(self) -> dict[str, Any]:
        """The payload; {} where it is no object."""
        if self._payload is None:
            payload = orjson.loads(self._decode(self._codec, self._data))["payload"]
            self._payload = payload if isinstance(payload, dict) else {}
        return self._payload


class Tokens(NamedTuple):
    """The tokens of a call by kind; None is unknown. ``cache_creation`` is all of that kind."""

    input: int | None = None
    output: int | None = None
    cache_creation_5m: int | None = None
    cache_creation_1h: int | None = None
    cache_creation: int | None = None
    cache_read: int | None = None


class Call(NamedTuple):
    """What one row says of a call to a model's API; two with the same ``key`` are of the same call.

    ``key`` is two 64-bit numbers: of the message, and of the request, or 0. ``sidechain`` says that
    a sub-agent made it, or that its transcript repeats it.
    """

    key: tuple[int, int]
    platform: str
    session_id: str
    agent: str | None
    sidechain: bool
    model: str | None
    project: str | None
    branch: str | None
    timestamp_ms: int
    final: bool
    tokens: Tokens
    reported_cost_usd: float | None


@dataclass(slots=True)
class SessionFacts:
    """What some rows say of a session; times are milliseconds since the epoch.

    ``begun`` and ``ends`` are events with their words; ``stretches`` are times from one event to
    another between which it was never idle. ``lines`` are event ids of its own, ``follows`` those
    of lines that they follow on, by their sequences: one of another session says what it
    continues.
    """

    platform: str
    session_id: str
    evidence: int = 0
    workspace_hash: str | None = None
    project: str | None = None
    branch: str | None = None
    parent_id: str | None = None
    begun: tuple[int, str] | None = None
    resumed_ms: int | None = None
    reported_cost_usd: float | None = None
    ends: list[tuple[int, str]] = field(default_factory=list)
    stretches: list[tuple[int, int]] = field(default_factory=list)
    lines: set[bytes] = field(default_factory=set)
    follows: dict[int, bytes] = field(default_factory=dict)


class Sighting(NamedTuple):
    """That a witness saw a turn or a tool call; ``key`` is a 64-bit number of its id."""

    key: int
    kind: int
    platform: str
    session_id: str
    at_ms: int
    seen: int


@dataclass(frozen=True, slots=True)
class Derivation:
    """What a worker made of some rows, to be stored in one transaction with its new watermark.

    ``upto`` is None where the watermark stays. ``settled`` are letters that were tried again and
    need not be, ``reopened`` those that failed again, ``anew`` workers that begin anew.
    ``edition`` is that of the store (``Commits.edition``) when the rows were read.
    """

    worker: str
    upto: int | None
    write: Callable[["Derived"], None]
    edition: int
    letters: Sequence[Letter] = ()
    settled: Sequence[str] = ()
    reopened: Sequence[str] = ()
    anew: Sequence[str] = ()


_PUT_CALL: Final = """
INSERT INTO calls VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (message, request) DO UPDATE SET
    agent = iif(min(sidechain, excluded.sidechain), coalesce(agent, excluded.agent), NULL),
    sidechain = min(sidechain, excluded.sidechain),
    model = coalesce(model, excluded.model),
    project = coalesce(project, excluded.project),
    branch = coalesce(branch, excluded.branch),
    timestamp_ms = min(timestamp_ms, excluded.timestamp_ms),
    final = max(final, excluded.final),
""" + ",\n".join(
    f"    {name} = coalesce(max({name}, excluded.{name}), {name}, excluded.{name})"
    for name in (
        "input_tokens", "output_tokens", "cache_creation_5m_tokens", "cache_creation_1h_tokens",
        "cache_creation_tokens", "cache_read_tokens", "reported_cost_usd",
    )
)  # fmt: skip

_PUT_SESSION: Final = """
UPDATE sessions SET
    evidence = evidence | :evidence,
    workspace_hash = coalesce(workspace_hash, :workspace_hash),
    project = coalesce(project, :project),
    branch = coalesce(branch, :branch),
    parent_id = coalesce(parent_id, :parent_id),
    continues = coalesce(continues, :continues),
    begun_by = iif(:begun_ms < coalesce(begun_ms, :begun_ms + 1), :begun_by, begun_by),
    begun_ms = coalesce(min(begun_ms, :begun_ms), begun_ms, :begun_ms),
    resumed_ms = coalesce(max(resumed_ms, :resumed_ms), resumed_ms, :resumed_ms),
    started_ms = coalesce(min(started_ms, :started_ms), started_ms, :started_ms),
    last_ms = coalesce(max(last_ms, :last_ms), last_ms, :last_ms),
    end_reason = iif(:ended_ms > coalesce(ended_ms, :ended_ms - 1), :end_reason, end_reason),
    ended_ms = coalesce(max(ended_ms, :ended_ms), ended_ms, :ended_ms),
    reported_cost_usd =
        coalesce(max(reported_cost_usd, :cost_usd), reported_cost_usd, :cost_usd)
WHERE id = :id
"""


class Derived:
    """Adds to the derived tables through the write connection, in one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._labels: dict[tuple[str, str], int] = {}
        self._sessions: dict[tuple[str, str], int] = {}

    def put_watermark(self, worker: str, sequence: int) -> None:
        """Note up to which row a worker is done."""
        self._connection.execute(
            "INSERT OR REPLACE INTO watermarks VALUES (?, ?)", (worker, sequence)
        )

    def add_calls(self, calls: Iterable[Call]) -> None:
        """Add what rows say of calls; the rollups follow."""
        rows = [
            (
                *call.key,
                self._session(call.platform, call.session_id),
                self._label("agent", call.agent),
                call.sidechain,
                self._label("model", call.model),
                self._label("project", call.project),
                self._label("branch", call.branch),
                call.timestamp_ms,
                call.final,
                *call.tokens,
                call.reported_cost_usd,
            )
            for call in calls
        ]
        with Rollups(self._connection).following({row[0] for row in rows}):
            self._connection.executemany(_PUT_CALL, rows)

    def follow_machine(self) -> None:
        """Have days be those of the time zone in which the machine is by now."""
        Rollups(self._connection).follow_machine()

    def put_measured(self, measured: Measured) -> None:
        """Store what sessions add up to; raises TouchedError when one has changed since."""
        put_measured(self._connection, measured)

    def first_hooks(self, hooks: Iterable[tuple[str, int, int]]) -> dict[str, tuple[int, int]]:
        """Note which row of a hook is the first, given as platform, sequence and time.

        Returns the first of each platform.
        """
        self._connection.executemany(
            "INSERT INTO first_hooks VALUES (?, ?, ?) ON CONFLICT (platform) DO UPDATE"
            " SET sequence = excluded.sequence, at_ms = excluded.at_ms"
            " WHERE excluded.sequence < sequence",
            hooks,
        )
        found = self._connection.execute("SELECT platform, sequence, at_ms FROM first_hooks")
        return {platform: (sequence, at_ms) for platform, sequence, at_ms in found}

    def add_sightings(self, sightings: Iterable[Sighting]) -> None:
        """Add what witnesses saw."""
        self._connection.executemany(
            "INSERT INTO witnesses VALUES (?, ?, ?, ?, ?) ON CONFLICT (key) DO UPDATE"
            " SET seen = seen | excluded.seen, at_ms = min(at_ms, excluded.at_ms)"
            " WHERE seen | excluded.seen != seen OR excluded.at_ms < at_ms",
            [
                (each.key, each.kind, self._session(each.platform, each.session_id), each.at_ms,
                 each.seen)
                for each in sightings
            ],
        )  # fmt: skip

    def add_facts(self, facts: Iterable[Fact]) -> None:
        """Add what rows say of conversations; what changed may be of another session than they."""
        for kind, found in by_kind(facts).items():
            upsert = UPSERTS[kind]
            rows: list[list[Any]] = [
                [each.key, self._session(each.platform, each.session_id), *each[3:]]
                for each in found
            ]
            for place, label in upsert.labels:
                for row in rows:
                    row[place] = self._label(label, row[place])
            self._connection.executemany(upsert.statement, rows)
            keys = orjson.dumps([row[0] for row in rows]).decode()
            holders = self._connection.execute(upsert.holders, (keys,)).fetchall()
            touch(self._connection, [session for (session,) in holders])

    def add_session(self, facts: SessionFacts) -> None:
        """Add what rows say of a session."""
        number = self._session(facts.platform, facts.session_id)
        begun_ms, begun_by = facts.begun or (None, None)
        ended_ms, end_reason = max(facts.ends, key=itemgetter(0), default=(None, None))
        times = [at for stretch in facts.stretches for at in stretch]
        known = [*times, *(at for at, _ in facts.ends)]
        self._connection.execute(
            _PUT_SESSION,
            {
                "id": number, "evidence": facts.evidence, "workspace_hash": facts.workspace_hash,
                "project": self._label("project", facts.project),
                "branch": self._label("branch", facts.branch), "parent_id": facts.parent_id,
                "continues": self._continued(facts), "begun_ms": begun_ms, "begun_by": begun_by,
                "resumed_ms": facts.resumed_ms, "started_ms": min(known, default=None),
                "last_ms": max(times, default=None), "ended_ms": ended_ms,
                "end_reason": end_reason, "cost_usd": facts.reported_cost_usd,
            },
        )  # fmt: skip
        for stretch in facts.stretches:
            self._add_stretch(number, *stretch)
        touch(self._connection, [number])

    def _add_stretch(self, session: int, started_ms: int, last_ms: int) -> None:
        """Join a stretch with those that it touches: less than ``IDLE_MS`` lies in between."""
        touched = self._connection.execute(
            "SELECT started_ms, last_ms FROM stretches"
            " WHERE session = ? AND started_ms <= ? AND last_ms >= ?",
            (session, last_ms + IDLE_MS, started_ms - IDLE_MS),
        ).fetchall()
        whole = (
            min(started_ms, *(each[0] for each in touched), started_ms),
            max(last_ms, *(each[1] for each in touched), last_ms),
        )
        if touched != [whole]:
            self._connection.executemany(
                "DELETE FROM stretches WHERE session = ? AND started_ms = ?",
                [(session, each[0]) for each in touched],
            )
            self._connection.execute("INSERT INTO stretches VALUES (?, ?, ?)", (session, *whole))

    def _continued(self, facts: SessionFacts) -> str | None:
        """Return the session whose lines this one's follow on, if it is another one.

        Only lines that were written before count: a replay must find the same.
        """
        for sequence, event_id in facts.follows.items():
            if event_id in facts.lines:
                continue
            found = self._connection.execute(
                "SELECT n.text FROM traces t JOIN names n ON n.id = t.session"
                " WHERE t.event_id = ? AND t.sequence < ? AND n.text != ?",
                (event_id, sequence, facts.session_id),
            ).fetchone()
            if found:
                return str(found[0])
        return None

    def _session(self, platform: str, session_id: str) -> int:
        key = (platform, session_id)
        if key not in self._sessions:
            self._connection.execute(
                "INSERT INTO sessions (platform, session_id, evidence) VALUES (?, ?, 0)"
                " ON CONFLICT DO NOTHING",
                key,
            )
            found = self._connection.execute(
                "SELECT id FROM sessions WHERE platform = ? AND session_id = ?", key
            ).fetchone()
            self._sessions[key] = int(found[0])
        return self._sessions[key]

    def _label(self, kind: str, text: str | None) -> int | None:
        if not text:
            return None
        key = (kind, text)
        if key not in self._labels:
            self._connection.execute(
                "INSERT INTO labels (kind, text) VALUES (?, ?) ON CONFLICT DO NOTHING", key
            )
            found = self._connection.execute(
                "SELECT id FROM labels WHERE kind = ? AND text = ?", key
            ).fetchone()
            self._labels[key] = int(found[0])
        return self._labels[key]
