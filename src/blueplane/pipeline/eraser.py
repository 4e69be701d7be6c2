"""Forget and scrub: taking out of the home what a person wants gone.

Owns the order of it: hold the sources up, wait until nothing is on the way, clear every place, and
have the database and Redis write their files anew.
Promises that it can be killed anywhere and run again, and an answer that says for each place what
was there and, looked up again, what is left.
Leaves the places to ``places.py``, the statements to ``store/erasure.py``, and asking to the
command.

What is removed stays counted: that there was an event can be seen, what it was cannot.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from threading import Event as Flag
from threading import Lock
from typing import Any, Final, TypeAlias, TypeVar

import orjson

from blueplane import faults
from blueplane.clock import monotonic_s, wall_ms
from blueplane.errors import HomeError, QueueError, QueueUnavailableError, StoreUnavailableError
from blueplane.logs import get
from blueplane.paths import Home
from blueplane.pipeline import entry
from blueplane.pipeline.dead_letters import fields_of, pack_fields
from blueplane.pipeline.intake import Intake
from blueplane.pipeline.places import (
    Place,
    Stored,
    Wanted,
    Words,
    as_rows,
    count_unreadable,
    is_event,
    or_emptied,
    places,
    rewritten,
)
from blueplane.pipeline.writer import Writer
from blueplane.store.connection import open_reader
from blueplane.store.derived_erasure import TEXTS
from blueplane.store.erasure import EMPTY, Erasure
from blueplane.store.letters import Letter, Letters

_log = get("eraser")

T = TypeVar("T")
Answer: TypeAlias = dict[str, Any]
Report: TypeAlias = Callable[[Mapping[str, Any]], None]
Work: TypeAlias = Callable[[Erasure], Mapping[str, int]]

#: Seconds to wait until nothing is on the way: a hand-off file without an end takes a minute.
QUIET_S: Final = 90.0
#: Seconds for which Redis may be away meanwhile.
AWAY_S: Final = 5.0
#: Seconds for the writer to do one piece, and to write the whole file anew.
PIECE_S: Final = 120.0
REWRITE_S: Final = 3600.0
#: Seconds for a reader of another program to let go of the -wal.
READER_S: Final = 10.0
#: Seconds for Redis to write its files anew.
REDIS_S: Final = 60.0
#: Seconds between two looks, and between two words to whoever waits.
_LOOK_S: Final = 0.02
_SAY_S: Final = 0.5
_ERASING: Final = "erasing"
#: The fields of an entry that a level is applied to.
_CONTENT: Final = (b"metadata", b"payload")
#: By kind of label, the key of payloads that says it.
_LABEL_KEYS: Final = {
    "agent": "agentId", "agent_type": "agent_type", "branch": "gitBranch", "model": "model",
    "tool": "tool_name",
}  # fmt: skip


class Eraser:
    """Forgets and scrubs, one at a time; in the thread of whoever asks.

    ``words`` returns what the present privacy settings make of events.
    """

    def __init__(
        self, home: Home, writer: Writer, intake: Intake, words: Callable[[], Words]
    ) -> None:
        self._home = home
        self._writer = writer
        self._stream = writer.stream
        self._intake = intake
        self._words = words
        #: Held by whoever changes what is stored.
        self.busy = Lock()

    def plan(self, report: Report, **wanted: Any) -> list[Answer]:  # noqa: ANN401 - Wanted's
        """Return what ``forget`` would clear now: rows of ``place``, ``what`` and ``count``.

        What is on the way would not be found: that is waited for.
        """
        self._wait_for(self._is_nothing_captured, report)
        with self._places(Wanted(**wanted)) as found:
            return as_rows(found)

    def forget(self, report: Report, **wanted: Any) -> Answer:  # noqa: ANN401 - fields of ``Wanted``
        """Clear every place; return ``rows``, as ``plan`` does but with ``left``, and ``notes``."""
        rows: list[Answer] = []
        with self._alone(report):
            self._empty_redis(report)
            with self._places(Wanted(**wanted)) as found:
                for each in found:
                    report({"step": f"removing {each.what}"})
                    rows.append({"place": each.place, "what": each.what, "count": each.clear()})
            notes = self._write_anew(report)
        with self._places(Wanted(**wanted)) as found:
            for row, each in zip(rows, found, strict=True):
                row["left"] = each.left()
        notes += self._doubts(Wanted(**wanted))
        _log.info("forgot", removed=sum(row["count"] for row in rows))
        return {"rows": rows, "notes": notes}

    def scrub(self, report: Report) -> Answer:
        """Bring rows and dead letters down to the present level; return ``rows`` and ``notes``.

        What no level can be applied to, for nobody can read it, is emptied.
        """
        words = self._words()
        with self._alone(report), self._stored() as stored:
            changed = {
                **self._scrub_rows(stored, words, report),
                "project names": self._scrub_projects(stored.erasure, words),
                "figures": self._scrub_labels(stored.erasure, words),
                "dead letters": self._scrub_letters(stored.letters, words),
            }
            notes = []
            if any(changed.values()) or stored.erasure.is_unfinished():
                self._erase(partial(Erasure.derive_anew, now_ms=wall_ms()))
                notes = self._write_anew(report)
        _log.info("scrubbed", **{what.replace(" ", "_"): n for what, n in changed.items()})
        return {
            "rows": [{"what": what, "changed": count} for what, count in changed.items()],
            "notes": notes,
        }

    # -- nothing on the way ------------------------------------------------------------------------

    @contextmanager
    def _alone(self, report: Report) -> Iterator[None]:
        """Hold the sources up while nothing is on the way."""
        if not self.busy.acquire(blocking=False):
            message = "another forget or scrub, or a refresh, is under way; wait for it"
            raise StoreUnavailableError(message)
        try:
            self._wait_for(self._is_nothing_captured, report)
            self._intake.holders.add(_ERASING)
            self._wait_for(self._is_nothing_in_flight, report)
            self._ask(self._writer.commits.overwrite_removed)
            yield
        finally:
            self._intake.holders.discard(_ERASING)
            for source in self._writer.sources:
                source.wake()
            self.busy.release()

    def _is_nothing_captured(self) -> bool:
        return self._is_spool_empty() and self._is_nothing_in_flight()

    def _is_spool_empty(self) -> bool:
        try:
            return not any(self._home.spool.iterdir())
        except FileNotFoundError:  # somebody took it away; it is made again before long
            return True
        except OSError as error:
            message = f"{self._home.spool}: {error.strerror}"
            raise HomeError(message) from error

    def _is_nothing_in_flight(self) -> bool:
        busy = len(self._writer.in_flight) or self._writer.backlog()
        return self._stream.attached and not busy and not self._writer.letters.counts()["waiting"]

    def _wait_for(self, condition: Callable[[], bool], report: Report) -> None:
        began_s = said_s = monotonic_s()
        while not condition():
            now_s = monotonic_s()
            if now_s - began_s > (QUIET_S if self._stream.attached else AWAY_S):
                raise self._not_quiet()
            if now_s - said_s > _SAY_S:
                said_s = now_s
                report({"step": "waiting until nothing is on the way"})
            Flag().wait(_LOOK_S)

    def _not_quiet(self) -> Exception:
        if not self._stream.attached:
            message = "redis is away, and nobody can say what is in it; see `blueplane status`"
            return QueueUnavailableError(message)
        message = "events are on the way all the time; see `blueplane status`, and try again later"
        return StoreUnavailableError(message)

    # -- pieces of work ----------------------------------------------------------------------------

    def _ask(self, work: Callable[[], T], timeout_s: float = PIECE_S) -> T:
        return self._writer.ask(work, timeout_s)

    def _erase(self, work: Work) -> None:
        self._ask(lambda: self._writer.commits.erase(work))
        self._ask(self._writer.letters.note_change)
        faults.point("erased_piece")

    @contextmanager
    def _stored(self) -> Iterator[Stored]:
        connection = open_reader(self._home.database)
        try:
            # The writer's codec: it knows a dictionary before the first row that needs it.
            codec = self._writer.commits.codec
            yield Stored(Erasure(connection), codec, Letters(connection))
        finally:
            connection.close()

    @contextmanager
    def _places(self, wanted: Wanted) -> Iterator[list[Place]]:
        wanted.check()
        with self._stored() as stored:
            yield places(self._home, wanted, self._words(), stored, self._erase)

    def _write_anew(self, report: Report) -> list[str]:
        """Leave nothing of it in free space, in the -wal and in the files of Redis."""
        report({"step": "writing the database anew"})
        self._erase(Erasure.remove_unused_names)
        notes = [] if self._ask(self._writer.rewrite, REWRITE_S) else self._empty_wal()
        report({"step": "having redis write its files anew"})
        try:
            self._ask(self._writer.letters.mirror_anew)
            self._rewrite_redis()
        except QueueError as error:
            notes.append(f"the files of redis may still hold what was removed: {error}")
        for path in self._home.redis.glob("temp-*"):  # of one that was killed while it wrote them
            path.unlink(missing_ok=True)
        if not notes:
            self._ask(self._writer.commits.finish_erasing)
        return notes

    def _empty_redis(self, report: Report) -> None:
        """Have the files of Redis hold no entry, for nobody would know it again without its row.

        One that dies before it writes them anew at the end comes back with these.
        """
        report({"step": "having redis write its files anew"})
        with suppress(QueueError):  # said at the end
            self._rewrite_redis()

    def _empty_wal(self) -> list[str]:
        deadline_s = monotonic_s() + READER_S
        while monotonic_s() < deadline_s:
            if self._ask(self._writer.commits.empty_wal):
                return []
            Flag().wait(_SAY_S)
        return ["another program reads the database, and keeps what was removed in its -wal file"]

    def _rewrite_redis(self) -> None:
        if not self._ask(self._stream.rewrite_files):
            return
        deadline_s = monotonic_s() + REDIS_S
        while self._ask(self._stream.rewriting):
            if monotonic_s() > deadline_s:
                message = f"they were not written anew within {REDIS_S:.0f} s"
                raise QueueUnavailableError(message)
            Flag().wait(_LOOK_S)

    def _doubts(self, wanted: Wanted) -> list[str]:
        """Say how many events nobody can look into; by their age all are known."""
        if not wanted.needle:
            return []
        with self._stored() as stored:
            pieces = stored.erasure.contents()
            found = sum(count_unreadable(rows, stored.codec) for rows in pieces)
        note = f"events of others that nobody can read, and that may name it: {found}"
        return [f"{note}; `blueplane scrub` empties them"] if found else []

    # -- scrub -------------------------------------------------------------------------------------

    def _scrub_rows(self, stored: Stored, words: Words, report: Report) -> dict[str, int]:
        total, done, changed, unreadable = stored.erasure.count_rows(), 0, 0, 0
        for rows in stored.erasure.contents():
            others = list(rewritten(rows, stored.codec, or_emptied(words.renew)))
            if others:
                self._erase(partial(Erasure.replace_contents, rows=others))
            done, changed = done + len(rows), changed + len(others)
            empty = {row.sequence for row in others if row.data == EMPTY}
            doubtful = [row for row in rows if row.sequence in empty]
            unreadable += count_unreadable(doubtful, stored.codec)
            report({"step": "scrubbing", "done": done, "of": total})
        return {"events": changed - unreadable, "unreadable events": unreadable}

    def _scrub_projects(self, erasure: Erasure, words: Words) -> int:
        shown = {name: words.shown_project(name) for name in erasure.projects()}
        others = {old: new for old, new in shown.items() if new != old}
        for old, new in others.items():
            self._erase(partial(Erasure.rename_project, old=old, new=new))
        return len(others)

    def _scrub_labels(self, erasure: Erasure, words: Words) -> int:
        """Rename what has a name in derived rows, as it is in events, and take texts out.

        Most of it is derived anew in the end; of rows that retention removed nobody could.
        """
        changed = 0 if words.shows_prompts() else erasure.count_prompts()
        if changed:
            self._erase(Erasure.remove_prompts)
        renamings = [*_label_renamings(erasure, words), *_text_renamings(erasure, words)]
        for renaming in renamings:
            self._erase(renaming)
        return changed + len(renamings)

    def _scrub_letters(self, letters: Letters, words: Words) -> int:
        changed = 0
        for letter in letters.all():
            work = _scrubbed(letter, words)
            if work is not None:
                self._erase(work)
                changed += 1
        return changed


def _label_renamings(erasure: Erasure, words: Words) -> Iterator[Work]:
    shown: dict[str, Callable[[str], str]] = {"project": words.shown_project}
    shown |= {kind: partial(words.shown, key) for kind, key in _LABEL_KEYS.items()}
    for kind, show in shown.items():
        for old in erasure.labels(kind):
            if (new := show(old)) != old:
                yield partial(Erasure.rename_label, kind=kind, old=old, new=new)


def _text_renamings(erasure: Erasure, words: Words) -> Iterator[Work]:
    for table, column, key in TEXTS:
        for old in erasure.texts(table, column):
            if (new := words.shown(key, old)) != old:
                yield partial(Erasure.rename_text, table=table, column=column, old=old, new=new)


def _scrubbed(letter: Letter, words: Words) -> Work | None:
    """Return what brings a letter down to the present level; None when it is there.

    A foreign one is left as it is. One that no level can be applied to loses all, as if forgotten.
    """
    if not letter.origin:
        return None
    fields = fields_of(letter)
    raw = None if fields is None else _renewed(fields, letter.platform, words)
    if raw is None:
        return partial(Erasure.empty_letters, message_ids=[letter.message_id], now_ms=wall_ms())
    if raw == letter.raw:
        return None
    return partial(Erasure.replace_letter, message_id=letter.message_id, raw=raw)


def _renewed(fields: Sequence[bytes], platform: str, words: Words) -> bytes | None:
    """Bring the fields of a letter down to the present level; None when they are no event's."""
    table = entry.by_name(fields)
    event = b'{"metadata":%b,"payload":%b}' % tuple(table.get(name, b"{}") for name in _CONTENT)
    if not is_event(event):
        return None
    renewed = orjson.loads(words.renew(event, platform))
    for name in filter(table.__contains__, _CONTENT):
        table[name] = orjson.dumps(renewed[name.decode()], option=orjson.OPT_SORT_KEYS)
    project = entry.text(table, b"project")
    shown = words.shown_project(project) if project else ""
    if shown != project:
        table[b"project"] = shown.encode()
    return pack_fields([part for pair in table.items() for part in pair])
