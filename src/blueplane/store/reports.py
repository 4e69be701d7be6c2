"""What is asked of the derived tables.

Owns the SELECTs.
Promises plain records; a session's times are those of its events.
Leaves adding to ``derived.py``, and judging to whoever asks.
"""

from dataclasses import dataclass
from typing import Final

from blueplane.clock import MS_PER_DAY
from blueplane.store.derived import HOOK, STORED, TURN, WITNESSES
from blueplane.store.endings import end_of
from blueplane.store.queries import Reader

#: Milliseconds around the start of a session within which another one was cleared for it.
_CLEARED_MS: Final = 10_000

#: What is comparable of what witnesses saw in a span: a witness that saw something of the session
#: missed what it did not see, but for a kind of thing that it never names there.
_JUDGED: Final = f"""
WITH named AS MATERIALIZED (
    SELECT session, kind, max(seen & {HOOK}) AS hooks, max(seen & {STORED}) != 0 AS stored
    FROM witnesses WHERE at_ms BETWEEN :since AND :until GROUP BY session, kind
), judged AS (
    SELECT s.platform, s.session_id, w.kind, w.at_ms, (w.seen & {HOOK}) != 0 AS hooks,
           (w.seen & {STORED}) != 0 AS stored
    FROM witnesses w JOIN sessions s ON s.id = w.session
    JOIN named n ON n.session = w.session AND n.kind = w.kind
    WHERE w.at_ms BETWEEN :since AND :until
    AND (w.seen & {HOOK} OR n.hooks OR NOT s.evidence & {HOOK})
    AND (w.seen & {STORED} OR n.stored OR NOT s.evidence & {STORED})
)
"""


@dataclass(frozen=True, slots=True)
class Session:
    """A session; ``ended_by`` is the reason that its editor gave, ``idle``, or None while it lasts.

    ``continues`` is the session that it was forked from, or cleared for; ``parent_id`` that of
    whose sub-agent it is. ``seen_by`` are witnesses, ``stretches`` how often it was taken up. Of
    its calls and their tokens None is unknown.
    """

    platform: str
    session_id: str
    seen_by: tuple[str, ...]
    project: str | None
    branch: str | None
    parent_id: str | None
    continues: str | None
    started_ms: int | None
    last_ms: int | None
    ended_ms: int | None
    ended_by: str | None
    stretches: int
    calls: int
    input_tokens: int | None
    output_tokens: int | None
    cache_creation_tokens: int | None
    cache_read_tokens: int | None
    reported_cost_usd: float | None


@dataclass(frozen=True, slots=True)
class Coverage:
    """What witnesses saw of a kind of thing on a day (UTC): both, or only one of them."""

    day_ms: int
    kind: str
    both: int
    hooks_only: int
    stored_only: int


@dataclass(frozen=True, slots=True)
class Silence:
    """What only the other witness saw since one was last heard of, at ``heard_ms`` if ever."""

    platform: str
    heard_ms: int | None
    count: int
    first_ms: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class Alone:
    """A turn or a tool call that only one witness saw: ``hooks`` or ``stored``."""

    platform: str
    session_id: str
    kind: str
    at_ms: int
    seen_by: str


def session(reader: Reader, session_id: str, now_ms: int) -> Session | None:
    """Return a session; None when nothing is known of it."""
    found = reader.rows(
        "SELECT s.platform, s.session_id, s.evidence, p.text, b.text, s.parent_id, s.continues,"
        " s.started_ms, s.last_ms, s.ended_ms, s.end_reason,"
        " (SELECT count(*) FROM stretches t WHERE t.session = s.id), s.reported_cost_usd"
        " FROM sessions s LEFT JOIN labels p ON p.id = s.project"
        " LEFT JOIN labels b ON b.id = s.branch"
        " WHERE s.session_id = ? AND s.evidence ORDER BY s.last_ms DESC LIMIT 1",
        (session_id,),
    )
    if not found:
        return None
    platform, name, evidence, project, branch, parent, continues, *times = found[0]
    started_ms, last_ms, ended_ms, reason, stretches, cost = times
    calls = reader.rows(
        "SELECT count(*), sum(input_tokens), sum(output_tokens), sum(cache_creation_tokens),"
        " sum(cache_read_tokens) FROM usage WHERE platform = ? AND session_id = ?",
        (platform, name),
    )[0]
    seen_by = tuple(witness for witness, bit in WITNESSES.items() if evidence & bit)
    continues = continues or _cleared(reader, platform, name)
    head = [platform, name, seen_by, project, branch, parent, continues, started_ms, last_ms]
    values = [*head, *end_of(last_ms, ended_ms, reason, now_ms), stretches, *calls, cost]
    return Session(*values)


def _cleared(reader: Reader, platform: str, session_id: str) -> str | None:
    """Return the session that was cleared when this one began: in the same place, at that time."""
    found = reader.rows(
        "SELECT e.session_id FROM sessions s JOIN sessions e ON e.workspace_hash = s.workspace_hash"
        " AND e.ended_ms BETWEEN s.begun_ms - ?3 AND s.begun_ms + ?3"
        " WHERE s.platform = ?1 AND s.session_id = ?2 AND s.begun_by = 'clear'"
        " AND e.end_reason = 'clear' AND e.platform = s.platform AND e.id != s.id"
        " ORDER BY abs(e.ended_ms - s.begun_ms) LIMIT 1",
        (platform, session_id, _CLEARED_MS),
    )
    return str(found[0][0]) if found else None


def coverage(reader: Reader, platform: str, since_ms: int, until_ms: int) -> list[Coverage]:
    """Return what both witnesses of a platform saw, and what only one did, by day and kind."""
    found = reader.rows(
        f"{_JUDGED} SELECT at_ms / {MS_PER_DAY} * {MS_PER_DAY} AS day, kind,"
        " sum(hooks AND stored), sum(hooks AND NOT stored), sum(stored AND NOT hooks)"
        " FROM judged WHERE platform = :platform GROUP BY day, kind ORDER BY day, kind",
        {**_span(since_ms, until_ms), "platform": platform},
    )
    return [Coverage(row[0], _kind(row[1]), *row[2:]) for row in found]


def silences(reader: Reader, witness: str, since_ms: int, until_ms: int) -> list[Silence]:
    """Return for each platform what a witness, ``hooks`` or ``stored``, has missed lately."""
    other = "stored" if witness == "hooks" else "hooks"
    found = reader.rows(
        f"{_JUDGED}, heard AS (SELECT platform, max(iif({witness}, at_ms, NULL)) AS at_ms"
        " FROM judged GROUP BY platform)"
        " SELECT j.platform, h.at_ms, count(*), min(j.at_ms), max(j.at_ms)"
        " FROM judged j JOIN heard h ON h.platform = j.platform"
        f" WHERE j.{other} AND NOT j.{witness} AND j.at_ms > coalesce(h.at_ms, 0)"
        " GROUP BY j.platform ORDER BY j.platform",
        _span(since_ms, until_ms),
    )
    return [Silence(*row) for row in found]


def alone(reader: Reader, since_ms: int, until_ms: int, limit: int) -> list[Alone]:
    """Return what only one witness saw since the first hook, newest first."""
    found = reader.rows(
        f"{_JUDGED} SELECT j.platform, j.session_id, j.kind, j.at_ms, j.hooks FROM judged j"
        " JOIN first_hooks f ON f.platform = j.platform"
        " WHERE j.hooks != j.stored AND j.at_ms >= f.at_ms ORDER BY j.at_ms DESC LIMIT :limit",
        {**_span(since_ms, until_ms), "limit": limit},
    )
    return [
        Alone(platform, name, _kind(kind), at_ms, "hooks" if hooks else "stored")
        for platform, name, kind, at_ms, hooks in found
    ]


def refused_since(reader: Reader, since_ms: int) -> int:
    """Return how many events hooks refused in the minutes since a time."""
    found = reader.rows(
        "SELECT coalesce(sum(count), 0) FROM custody_minutes"
        " WHERE outcome = 'refused' AND minute >= ? / 60000",
        (since_ms,),
    )
    return int(found[0][0])


def first_hooks(reader: Reader) -> dict[str, int]:
    """Return when the first hook of each platform was seen."""
    return dict(reader.rows("SELECT platform, at_ms FROM first_hooks"))


def _span(since_ms: int, until_ms: int) -> dict[str, int]:
    return {"since": since_ms, "until": until_ms}


def _kind(kind: int) -> str:
    return "turn" if kind == TURN else "tool"
