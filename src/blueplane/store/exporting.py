"""What is read to be handed on as a whole: calls and sessions, page by page.

Owns the SELECTs of an export, and of explaining a figure by the calls that it is made of.
Promises short reads, each of a page, so that a million rows hold neither memory nor the writer up.
Leaves days and money to ``analytics/``, conversations to ``conversations.py``.
"""

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final, NamedTuple

from blueplane.clock import MS_PER_DAY
from blueplane.days import local_day
from blueplane.store import metric_reports
from blueplane.store.metric_rollups import Body, unpacked
from blueplane.store.reading import Reads
from blueplane.store.usage_columns import BANDS
from blueplane.store.usage_reports import Rows, Scope

#: Rows of one read.
PAGE: Final = 2_000
#: No message has a lower number.
_FIRST: Final = (-(2**63), -(2**63))
#: Days by which a zone may be away from UTC, rounded up.
_ASTRAY: Final = 1
_EVER: Final = 10**6

_CALLS: Final = """
SELECT c.message, c.request, c.platform, c.session_id,
       CASE WHEN c.sidechain OR c.agent IS NOT NULL THEN c.session_id ELSE c.parent_id END,
       (SELECT text FROM labels WHERE id = c.agent),
       (SELECT text FROM labels WHERE id = c.model),
       (SELECT text FROM labels WHERE id = c.project),
       (SELECT text FROM labels WHERE id = c.branch),
       c.timestamp_ms, c.final, c.input_tokens, c.output_tokens, c.cache_creation_5m_tokens,
       c.cache_creation_1h_tokens, c.cache_creation_tokens, c.cache_read_tokens,
       CAST(round(c.reported_cost_usd * 1e9) AS INTEGER)
FROM counted_calls c
WHERE (c.message, c.request) > (:message, :request)
AND c.timestamp_ms BETWEEN :first_ms AND :last_ms
AND (:platform IS NULL OR c.platform = :platform)
AND (:session IS NULL OR c.session = :session)
AND (:project IS NULL
     OR c.project = (SELECT id FROM labels WHERE kind = 'project' AND text = :project))
ORDER BY c.message, c.request LIMIT :limit
"""
_NAMED: Final = """
SELECT s.id, s.platform, s.session_id, p.text, b.text, s.parent_id, s.continues, s.started_ms,
       s.last_ms, s.ended_ms, s.end_reason
FROM sessions s
LEFT JOIN labels p ON p.id = s.project LEFT JOIN labels b ON b.id = s.branch
"""
_PAGE: Final = f"""{_NAMED}
WHERE s.id > :after AND (:platform IS NULL OR s.platform = :platform)
AND (s.evidence OR EXISTS (SELECT 1 FROM usage_sessions u WHERE u.session = s.id))
ORDER BY s.id LIMIT :limit
"""


class CallRow(NamedTuple):
    """A call; ``tokens`` are of ``usage_columns.KINDS``, None is unknown. ``day`` is local.

    ``parent_session_id`` is the session whose sub-agent made it.
    """

    message: int
    request: int
    platform: str
    session_id: str
    parent_session_id: str | None
    agent_id: str | None
    model: str | None
    project: str | None
    branch: str | None
    timestamp_ms: int
    final: bool
    tokens: tuple[int | None, ...]
    reported_nano_usd: int | None
    day: int

    @property
    def band(self) -> int:
        """How many of ``BANDS`` its prompt is above, as the rollups have it."""
        if self.platform != "claude_code":
            return 0
        tokens = self.tokens
        return bisect_left(BANDS, (tokens[0] or 0) + (tokens[4] or 0) + (tokens[5] or 0))


class SessionRow(NamedTuple):
    """A session by its number, as its editor tells of it."""

    number: int
    platform: str
    session_id: str
    project: str | None
    branch: str | None
    parent_id: str | None
    continues: str | None
    started_ms: int | None
    last_ms: int | None
    ended_ms: int | None
    end_reason: str | None


def calls(reader: Rows, scope: Scope, session: int | None = None) -> Iterator[CallRow]:
    """Yield the calls of a scope, in the order of their keys; of one session if it is named."""
    first = -_EVER if scope.since_day is None else scope.since_day
    last = _EVER if scope.until_day is None else scope.until_day
    asked = {
        "first_ms": (first - _ASTRAY) * MS_PER_DAY, "last_ms": (last + 1 + _ASTRAY) * MS_PER_DAY,
        "platform": scope.platform, "project": scope.project, "session": session, "limit": PAGE,
    }  # fmt: skip
    key = _FIRST
    while True:
        found = reader.rows(_CALLS, {**asked, "message": key[0], "request": key[1]})
        for row in found:
            day = local_day(row[9])
            if first <= day <= last:
                yield CallRow._make((*row[:10], bool(row[10]), row[11:17], row[17], day))
        if len(found) < PAGE:
            return
        key = found[-1][:2]


def session_pages(reader: Rows, platform: str | None) -> Iterator[list[SessionRow]]:
    """Yield all sessions of a platform, or of all, as pages."""
    after = 0
    while True:
        found = reader.rows(_PAGE, {"after": after, "platform": platform, "limit": PAGE})
        if not found:
            return
        yield [SessionRow(*row) for row in found]
        after = found[-1][0]


def last_sessions(reader: Rows, until_ms: int, limit: int) -> list[SessionRow]:
    """Return the sessions that were used last up to a time, the last first."""
    found = reader.rows(
        f"{_NAMED} WHERE s.last_ms <= ? ORDER BY s.last_ms DESC LIMIT ?", (until_ms, limit)
    )
    return [SessionRow(*row) for row in found]


def days_of_usage(reader: Rows) -> range:
    """Return the days between which there is usage."""
    first, last = reader.rows("SELECT min(day), max(day) FROM usage_days")[0]
    return range(0) if first is None else range(first, last + 1)


def projects(reader: Rows) -> dict[int, str]:
    """Return all projects by their numbers."""
    return dict(reader.rows("SELECT id, text FROM labels WHERE kind = 'project'"))


def figures_of_sessions(reader: Reads, scope: Scope) -> Iterator[tuple[str, str, Body]]:
    """Yield platform, session and body of each session on each day of a scope."""
    for day in scope.within(metric_reports.days(reader)):
        found = reader.rows(
            "SELECT f.platform, s.session_id, f.body FROM session_figures f"
            " JOIN sessions s ON s.id = f.session WHERE f.span = ?1"
            " AND (?2 IS NULL OR f.platform = ?2) AND (?3 IS NULL OR f.project ="
            " (SELECT id FROM labels WHERE kind = 'project' AND text = ?3)) ORDER BY f.session",
            (day, scope.platform, scope.project),
        )
        for platform, session_id, body in found:
            yield platform, session_id, unpacked(body)
