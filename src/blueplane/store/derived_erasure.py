"""Taking derived rows away: what was derived from what a person wants forgotten.

Owns which derived rows are of a session, a project or the time before a moment, and the statements
that remove them.
Promises that a session stays, without what is meant, while anything else is known of it.
Leaves when that is, and raw traces, to ``erasure.py``; it is done after they are gone.
"""

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from blueplane.store.connection import Connection, translated

Statement: TypeAlias = tuple[str, tuple[Any, ...]]

#: Where labels are, but for the kinds that are no column of that name.
_LABELLED: Final = (
    ("calls", "agent"), ("calls", "model"), ("calls", "project"), ("calls", "branch"),
    ("sessions", "project"), ("sessions", "branch"),
)  # fmt: skip
#: Sessions of which nothing else is known.
_EMPTY: Final = (
    "sessions.id NOT IN (SELECT session FROM calls) AND NOT EXISTS"
    " (SELECT 1 FROM traces t JOIN names n ON n.id = t.session WHERE n.text = sessions.session_id)"
)
_UNUSED: Final = "DELETE FROM labels WHERE id NOT IN ({})".format(
    " UNION ".join(
        f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL" for table, column in _LABELLED
    )
)


class DerivedRows:
    """The derived rows of what is meant: a session, a project by all its names, or a time before.

    Exactly one of the three is given.
    """

    def __init__(
        self, connection: Connection, session_id: str, projects: Sequence[str], before_ms: int
    ) -> None:
        self._connection = connection
        self._keeps_others = bool(projects)
        if before_ms:
            self._parameters: tuple[Any, ...] = (before_ms,)
            self._calls = "timestamp_ms < ?1"
            self._sessions = "coalesce(max(last_ms, ended_ms), last_ms, ended_ms) < ?1"
            self._rest = [
                "UPDATE sessions SET started_ms = ?1, begun_ms = NULL WHERE started_ms < ?1",
                "DELETE FROM stretches WHERE last_ms < ?1",
                "UPDATE stretches SET started_ms = ?1 WHERE started_ms < ?1",
                "DELETE FROM witnesses WHERE at_ms < ?1",
            ]
        elif session_id:
            self._parameters = (session_id,)
            self._sessions = "session_id = ?1"
            self._calls = f"session IN (SELECT id FROM sessions WHERE {self._sessions})"
            self._rest = [
                "UPDATE sessions SET parent_id = NULL WHERE parent_id = ?1",
                "UPDATE sessions SET continues = NULL WHERE continues = ?1",
            ]
        else:
            self._parameters = tuple(projects)
            marks = ", ".join("?" * len(projects))
            labels = f"(SELECT id FROM labels WHERE kind = 'project' AND text IN ({marks}))"
            self._sessions = f"project IN {labels}"
            self._calls = (
                f"coalesce(project, (SELECT s.project FROM sessions s WHERE s.id = session))"
                f" IN {labels}"
            )
            self._rest = [
                f"UPDATE sessions SET project = NULL, branch = NULL WHERE {self._sessions}"
            ]

    def count(self) -> int:
        """Return how many calls and sessions are of what is meant."""
        with translated():
            return sum(
                int(
                    self._connection.execute(
                        f"SELECT count(*) FROM {table} WHERE {where}", self._parameters
                    ).fetchone()[0]
                )
                for table, where in (("calls", self._calls), ("sessions", self._sessions))
            )

    def removals(self) -> list[Statement]:
        """Return the statements that remove them, in order; each may be a transaction."""
        only = _EMPTY if self._keeps_others else "1"
        gone = f"(SELECT id FROM sessions WHERE {self._sessions} AND {only})"
        statements = [
            f"DELETE FROM calls WHERE {self._calls}",
            f"DELETE FROM stretches WHERE session IN {gone}",
            f"DELETE FROM witnesses WHERE session IN {gone}",
            f"DELETE FROM sessions WHERE id IN {gone}",
            *self._rest,
        ]
        return [*((each, self._parameters) for each in statements), (_UNUSED, ())]


def renaming(kind: str, old: str, new: str) -> list[Statement]:
    """Return the statements that give what has one label another one."""
    number = "(SELECT id FROM labels WHERE kind = ? AND text = ?)"
    return [
        ("INSERT INTO labels (kind, text) VALUES (?, ?) ON CONFLICT DO NOTHING", (kind, new)),
        *(
            (
                f"UPDATE {table} SET {column} = {number} WHERE {column} = {number}",
                (kind, new, kind, old),
            )
            for table, column in _LABELLED
            if column == kind
        ),
        ("DELETE FROM labels WHERE kind = ? AND text = ?", (kind, old)),
    ]
