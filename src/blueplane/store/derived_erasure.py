"""Taking derived rows away: what was derived from what a person wants forgotten.

Owns which derived rows are of a session, a project or the time before a moment, and the statements
that remove them.
Promises that a session stays, without what is meant, while anything else is known of it.
Leaves when that is, and raw traces, to ``erasure.py``; it is done after they are gone. What rows
that are left say is derived anew: this is for what was derived of rows that retention removed.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

from blueplane.store.connection import Connection, translated
from blueplane.store.conversation_tables import TABLES, TIMES
from blueplane.store.rebuilding import LABELLED_COLUMNS, derivable_since_ms
from blueplane.store.rollups import Rollups, adding
from blueplane.store.usage_columns import KEYS, LABELS, VALUES

Statement: TypeAlias = tuple[str, tuple[Any, ...]]
#: A piece of work through the write connection, in its caller's transaction.
Removal: TypeAlias = Callable[[Connection], object]

#: Texts of derived rows that are no labels: table, column, and the key that says it in a payload.
TEXTS: Final = (
    ("sessions", "session_id", "session_id"), ("sessions", "parent_id", "parent_session_id"),
    ("sessions", "continues", "session_id"), ("sessions", "begun_by", "source"),
    ("sessions", "end_reason", "reason"), ("subagents", "child", "agent_id"),
    ("compactions", "cause", "trigger"),
)  # fmt: skip
#: What is known of a prompt at the privacy level ``full`` only.
_TEXT: Final = "prompt = NULL, prompt_words = NULL, prompt_lines = NULL"
#: Takes the texts out of the prompts that are left.
NO_TEXT: Final = f"UPDATE conversation_turns SET {_TEXT} WHERE prompt IS NOT NULL"
#: Sessions of which nothing else is known.
_EMPTY: Final = (
    "sessions.id NOT IN (SELECT session FROM calls) AND NOT EXISTS"
    " (SELECT 1 FROM traces t JOIN names n ON n.id = t.session WHERE n.text = sessions.session_id)"
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
        self._before_ms = before_ms
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
            ended = f"session IN (SELECT id FROM sessions WHERE {self._sessions})"
            self._talks = {table: f"{time} < ?1 OR {ended}" for table, time in TIMES.items()}
        elif session_id:
            self._parameters = (session_id,)
            self._sessions = "session_id = ?1"
            self._calls = f"session IN (SELECT id FROM sessions WHERE {self._sessions})"
            self._rest = [
                "UPDATE sessions SET parent_id = NULL WHERE parent_id = ?1",
                "UPDATE sessions SET continues = NULL WHERE continues = ?1",
                f"{NO_TEXT} AND instr(prompt, ?1)",
            ]
            self._talks = dict.fromkeys(TABLES.values(), self._calls)
            self._talks["subagents"] += " OR child = ?1"
        else:
            self._parameters = tuple(projects)
            names = [f"?{number}" for number in range(1, len(projects) + 1)]
            marks = ", ".join(names)
            labels = f"(SELECT id FROM labels WHERE kind = 'project' AND text IN ({marks}))"
            self._sessions = f"project IN {labels}"
            self._calls = (
                f"coalesce(project, (SELECT s.project FROM sessions s WHERE s.id = session))"
                f" IN {labels}"
            )
            named = " OR ".join(f"instr(prompt, {name})" for name in names)
            self._rest = [
                f"UPDATE sessions SET project = NULL, branch = NULL WHERE {self._sessions}",
                f"{NO_TEXT} AND ({named})",
            ]
            self._talks = _talks_of_project(labels)

    def count(self) -> int:
        """Return how many rows are of what is meant."""
        return self._count(self._parameters)

    def _count(self, parameters: tuple[Any, ...]) -> int:
        tables = {"calls": self._calls, "sessions": self._sessions, **self._talks}
        with translated():
            return sum(
                int(
                    self._connection.execute(
                        f"SELECT count(*) FROM {table} WHERE {where}", parameters
                    ).fetchone()[0]
                )
                for table, where in tables.items()
            )

    def count_left(self) -> int:
        """Return how many are left that no event which is left can have said.

        What was captured later may have happened before.
        """
        if not self._before_ms:
            return self.count()
        with translated():
            return self._count((min(self._before_ms, derivable_since_ms(self._connection)),))

    def removals(self) -> list[Removal]:
        """Return the pieces of work that remove them, in order; each may be a transaction."""
        only = _EMPTY if self._keeps_others else "1"
        gone = f"(SELECT id FROM sessions WHERE {self._sessions} AND {only})"
        talks = [*self._talks.items()][::-1]  # turns last: others are found by them
        statements = [
            *(f"DELETE FROM {table} WHERE {where}" for table, where in talks),
            f"DELETE FROM stretches WHERE session IN {gone}",
            f"DELETE FROM witnesses WHERE session IN {gone}",
            f"DELETE FROM sessions WHERE id IN {gone}",
            *self._rest,
        ]
        works = [partial(_execute, statement=(each, self._parameters)) for each in statements]
        return [self._remove_calls, *works]

    def _remove_calls(self, connection: Connection) -> None:
        """Remove calls; what they were copies of may be shown now, so the rollups follow both."""
        found = connection.execute(
            f"SELECT DISTINCT message FROM calls WHERE {self._calls}", self._parameters
        )
        with Rollups(connection).following([message for (message,) in found]):
            connection.execute(f"DELETE FROM calls WHERE {self._calls}", self._parameters)


def _execute(connection: Connection, statement: Statement) -> None:
    connection.execute(*statement)


def _talks_of_project(labels: str) -> dict[str, str]:
    """Return what of conversations is of a project, whose labels a SELECT gives.

    All of a session that is its own, and in others the turns that were asked there.
    """
    session = f"session IN (SELECT id FROM sessions WHERE project IN {labels})"
    turns = f"(SELECT key FROM conversation_turns WHERE project IN {labels})"
    of_turns = ("responses", "tool_calls", "code_changes", "subagents")
    others = dict.fromkeys(of_turns, f"{session} OR turn IN {turns}")
    whole = dict.fromkeys(TABLES.values(), session)
    return whole | others | {"conversation_turns": f"{session} OR project IN {labels}"}


def renaming(kind: str, old: str, new: str) -> list[Statement]:
    """Return the statements that give what has one label another one, or, for "", none."""
    number = "(SELECT id FROM labels WHERE kind = ? AND text = ?)"
    return [
        (
            "INSERT INTO labels (kind, text) SELECT ?1, ?2 WHERE ?2 != '' ON CONFLICT DO NOTHING",
            (kind, new),
        ),
        *(
            (
                f"UPDATE {table} SET {column} = {number} WHERE {column} = {number}",
                (kind, new, kind, old),
            )
            for table, column, known in LABELLED_COLUMNS
            if known == kind
        ),
        *_rollup_renaming(kind, (kind, new, kind, old)),
        ("DELETE FROM labels WHERE kind = ? AND text = ?", (kind, old)),
    ]


def _rollup_renaming(kind: str, names: tuple[str, ...]) -> list[Statement]:
    """Return the same for rollups; there may be a row of the new label already, to add to."""
    if kind not in LABELS:
        return []
    number = "(SELECT id FROM labels WHERE kind = ? AND text = ?)"
    found: list[Statement] = []
    for table, key in KEYS.items():
        if kind in key:
            new = f"coalesce({number}, 0)"
            columns = ", ".join(new if each == kind else each for each in (*key, *VALUES))
            copy = f"INSERT INTO {table} SELECT {columns} FROM {table} WHERE {kind} = {number}"
            found += [
                (f"{copy} {adding(key)}", names),
                (f"DELETE FROM {table} WHERE {kind} = {number}", names[2:]),
            ]
    return found
