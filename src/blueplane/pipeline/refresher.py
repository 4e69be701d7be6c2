"""Refresh: stored detail as the present privacy level would have captured it.

Owns reading sources once more, and replacing the content of rows that came from them.
Promises that no row comes or goes and nothing is counted, so that neither law is touched; that it
can be killed anywhere and run again, which goes on where it was; and bounded memory.
Leaves reading to ``capture/history.py``, what has no source any more to ``blueplane scrub``, and
what was removed, and may still be in free space of the files, to that as well.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event as Flag
from threading import Lock
from typing import Any, Final, Protocol, TypeAlias

import orjson

from blueplane import faults
from blueplane.clock import monotonic_s
from blueplane.errors import (
    BlueplaneError,
    EditorDatabaseError,
    StoreError,
    StoreUnavailableError,
)
from blueplane.event import Event, Mark
from blueplane.logs import get
from blueplane.pipeline.writer import Writer
from blueplane.store.codec import Codec
from blueplane.store.connection import open_reader
from blueplane.store.erasure import CapturedRow, Erasure
from blueplane.store.queries import SERVER_READ_S, reading
from blueplane.store.traces import event_text

_log = get("refresher")

Answer: TypeAlias = dict[str, Any]
Report: TypeAlias = Callable[[Mapping[str, Any]], None]
#: An event that is stored: its id, and when it was captured.
Captured: TypeAlias = tuple[bytes, int]
Renew: TypeAlias = Callable[[bytes, str], bytes]

#: The source under which it is noted how far a refresh is, and the item that is the run itself.
SOURCE: Final = "refresh"
_RUN: Final = ""
#: Items whose end is noted together.
ITEMS: Final = 64
#: Seconds for the writer to do one piece, and between two words to whoever waits.
PIECE_S: Final = 120.0
_SAY_S: Final = 0.5
#: Where an event says on which branch it was.
_BRANCHES: Final = ("gitBranch", "git_branch")


class Item(Protocol):
    """A file or store that can be read again."""

    @property
    def key(self) -> str:
        """Its name."""

    @property
    def size(self) -> int:
        """Its bytes."""

    @property
    def share(self) -> int:
        """Its bytes, as far as they are of no other item."""

    @property
    def events(self) -> Callable[[], Iterator[list[Event]]]:
        """What yields its events; raises EditorDatabaseError."""


class Settings(Protocol):
    """What is asked of capture, by the settings of now."""

    def privacy(self) -> str:
        """Return the privacy settings, in a word."""

    def items(
        self, transcripts: Mapping[str, Mark], databases: Mapping[str, Mark]
    ) -> Sequence[Item]:
        """Return what can be read again, given how far each item is captured."""

    def renewal(self) -> Renew:
        """Return what brings a stored event of a platform down to the present level."""


@dataclass(slots=True)
class _Run:
    """One refresh: its number, at which settings, and what it did."""

    number: int
    privacy: str
    codec: Codec
    renew: Renew
    done: Mapping[str, Mark]
    total: int = 0
    passed: int = 0
    events: int = 0
    changed: int = 0
    unread: int = 0
    said_s: float = 0.0
    marks: dict[str, Mark] = field(default_factory=dict)
    renamed: set[tuple[str, str]] = field(default_factory=set)

    def is_done(self, item: Item) -> bool:
        """Whether an item was gone through, as long as it is now."""
        mark = self.done.get(item.key)
        return mark is not None and (mark.generation, mark.offset) == (self.number, item.size)


class _Shared:
    """A refresh as those see it who have not begun it: how far it is, and how it ended."""

    def __init__(self) -> None:
        self._ended = Flag()
        self._said: Mapping[str, Any] = {}
        self._answer: Answer | None = None
        self._error: BlueplaneError | None = None

    def share(self, work: Callable[[Report], Answer], report: Report) -> Answer:
        """Do the work, and let others see it."""

        def say(said: Mapping[str, Any]) -> None:
            self._said = said
            report(said)

        try:
            self._answer = work(say)
        except BlueplaneError as error:
            self._error = error
            raise
        finally:
            self._ended.set()
        return self._answer

    def follow(self, report: Report) -> Answer:
        """Say how far it is until it has ended; return its answer, or raise its error."""
        while not self._ended.wait(_SAY_S):
            if self._said:
                report(self._said)
        if self._answer is None:
            message = "it broke off; run it again"
            raise self._error or StoreUnavailableError(message)
        return self._answer


class Refresher:
    """Refreshes, one at a time, in the thread of whoever asks.

    ``busy`` is held by whoever changes what is stored.
    """

    def __init__(self, database: Path, writer: Writer, settings: Settings, busy: Lock) -> None:
        self._database = database
        self._writer = writer
        self._settings = settings
        self._busy = busy
        self._beginning = Lock()
        self._going_on: _Shared | None = None

    def refresh(self, report: Report) -> Answer:
        """Replace what differs; return ``rows``, and ``notes`` on what is left to do.

        While somebody else has that done already, wait for the same answer.
        """
        shared, ours = self._join()
        if not ours:
            return shared.follow(report)
        try:
            return shared.share(self._refresh, report)
        finally:
            with self._beginning:
                self._going_on = None
                self._busy.release()

    def _join(self) -> tuple[_Shared, bool]:
        """Return the refresh that goes on, and whether it was begun here."""
        with self._beginning:
            ours = self._busy.acquire(blocking=False)
            if ours:
                self._going_on = _Shared()
            if self._going_on is None:
                message = "a forget or scrub is under way; wait for it"
                raise StoreUnavailableError(message)
            return self._going_on, ours

    def _refresh(self, report: Report) -> Answer:
        with reading(self._database, SERVER_READ_S) as reader:
            transcripts, databases = reader.marks("transcript"), reader.marks("database")
            done = reader.marks(SOURCE)
        run = self._begin(done)
        items = self._settings.items(transcripts, databases)
        run.total = sum(item.share for item in items)
        with self._stored() as erasure:
            for item in items:
                if not run.is_done(item):
                    self._go_through(item, run, erasure, report)
                run.passed += item.share
            notes = _notes(run, unfinished=erasure.is_unfinished())
        self._note(run, {_RUN: Mark(0, 0, run.privacy, run.number)})
        self._forget_items()
        _log.info("refreshed", events=run.events, changed=run.changed, unread=run.unread)
        row = {"what": "events", "read": run.events, "changed": run.changed}
        return {"rows": [row], "notes": notes}

    def _begin(self, done: Mapping[str, Mark]) -> _Run:
        """Go on with a run at the same settings that did not end, or begin one."""
        privacy, before = self._settings.privacy(), done.get(_RUN)
        number = before.generation if before else 0
        if not (before and before.offset and before.fingerprint == privacy):
            number += 1
        run = _Run(number, privacy, self._writer.commits.codec, self._settings.renewal(), done)
        self._note(run, {_RUN: Mark(1, 0, privacy, number)})
        return run

    def _note(self, run: _Run, more: Mapping[str, Mark]) -> None:
        marks, run.marks = {**run.marks, **more}, {}
        self._writer.ask(lambda: self._writer.commits.put_marks(SOURCE, marks), PIECE_S)

    def _forget_items(self) -> None:
        """Remove the marks of items: they are of use only to a run that did not end."""
        with reading(self._database, SERVER_READ_S) as reader:
            items = reader.marks(SOURCE).keys() - {_RUN}
        self._writer.ask(lambda: self._writer.commits.remove_marks(SOURCE, items), PIECE_S)

    @contextmanager
    def _stored(self) -> Iterator[Erasure]:
        connection = open_reader(self._database)
        try:
            yield Erasure(connection)
        finally:
            connection.close()

    def _go_through(self, item: Item, run: _Run, erasure: Erasure, report: Report) -> None:
        try:
            for events in item.events():
                self._replace(events, run, erasure)
                self._say(run, report)
        except EditorDatabaseError as error:
            run.unread += 1
            _log.warning("not read", item=item.key, reason=error.cause)
            return
        run.marks[item.key] = Mark(item.size, 0, "", run.number)
        if len(run.marks) >= ITEMS:
            self._note(run, {})

    def _say(self, run: _Run, report: Report) -> None:
        if monotonic_s() - run.said_s > _SAY_S:
            run.said_s = monotonic_s()
            report({"step": "reading again", "done": run.passed, "of": run.total})

    def _replace(self, events: Sequence[Event], run: _Run, erasure: Erasure) -> None:
        """Replace the content of those events that are stored with another one."""
        run.events += len(events)
        made = {(event.event_id, event.captured_ns): event for event in events}
        stored = erasure.captured([event_id for event_id, _ in made])
        found = [row for row in stored if (row.event_id, row.captured_ns) in made]
        before = {(row.event_id, row.captured_ns): _decoded(row, run.codec) for row in found}
        others = {key: made[key] for key, text in before.items() if _text(made[key]) != text}
        if not others:
            return
        looser = any(_is_looser(before[key], event, run) for key, event in others.items())
        branches = {_branches(before[key], event) for key, event in others.items()}
        branches -= run.renamed | {("", "")}
        self._store(_encoded(others, run.codec), branches, run, traces=looser)
        run.renamed |= branches
        run.changed += len(others)
        faults.point("refreshed_piece")

    def _store(
        self,
        rows: Sequence[CapturedRow],
        branches: set[tuple[str, str]],
        run: _Run,
        *,
        traces: bool,
    ) -> None:
        commits = self._writer.commits

        def work(erasure: Erasure) -> Mapping[str, int]:
            erasure.refresh_contents(rows)
            for old, new in branches:  # what was derived names them as events do
                erasure.rename_label("branch", old, new)
            return {}

        def job() -> None:
            if self._settings.privacy() != run.privacy or commits.codec is not run.codec:
                message = "the settings, or the database, changed meanwhile; run it again"
                raise StoreUnavailableError(message)
            if traces:
                commits.overwrite_removed()
            commits.erase(work, traces=traces)

        self._writer.ask(job, PIECE_S)


def _notes(run: _Run, *, unfinished: bool) -> list[str]:
    notes = []
    if run.unread:
        notes.append(f"files that could not be read, see `blueplane logs`: {run.unread}")
    if unfinished:
        notes.append("what was removed may still be in free space; `blueplane scrub` writes anew")
    return notes


def _is_looser(before: bytes, event: Event, run: _Run) -> bool:
    """Whether there was more in a row than the present level lets pass."""
    try:
        return not before or run.renew(before, event.platform) != before
    except (ValueError, LookupError, TypeError, AttributeError):
        return True  # nobody can tell what is in it


def _text(event: Event) -> bytes:
    return event_text(event.metadata, event.payload)


def _decoded(row: CapturedRow, codec: Codec) -> bytes:
    with suppress(StoreError):
        return codec.decode(row.codec, row.data)
    return b""  # damaged: it is whole again now


def _encoded(events: Mapping[Captured, Event], codec: Codec) -> list[CapturedRow]:
    rows: list[CapturedRow] = []
    for source in {event.source for event in events.values()}:
        chosen = [(key, event) for key, event in events.items() if event.source == source]
        encoded = codec.encode(source, [_text(event) for _, event in chosen])
        rows += [CapturedRow(*key, *made) for (key, _), made in zip(chosen, encoded, strict=True)]
    return rows


def _branches(before: bytes, event: Event) -> tuple[str, str]:
    """Return how the branch of an event was called, and is called now; two times "" if the same."""
    with suppress(ValueError, LookupError, TypeError, AttributeError):
        old, new = orjson.loads(before)["payload"], orjson.loads(event.payload)
        for key in _BRANCHES:
            pair = (old.get(key), new.get(key))
            if pair[0] != pair[1] and all(type(name) is str and name for name in pair):
                return pair
    return ("", "")
