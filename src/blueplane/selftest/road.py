"""The road of the corpus: files and hooks through readers, sanitiser, writer and workers.

Owns a store in a home that nobody else uses, and what takes a corpus there.
Promises the parts that a server has, one after the other in one thread; only the queue between
readers and writer is left out, whose messages are counted here.
Leaves the corpus to its modules, and what is shown of it to the command.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import orjson

from blueplane.analytics.roster import make_workers
from blueplane.analytics.worker import Store
from blueplane.capture.claude_code.places import SOURCE, is_meta, item_of, session_of
from blueplane.capture.claude_code.tail import OpenFile
from blueplane.capture.claude_code.transcript import Line, Place, TranscriptReader
from blueplane.capture.hook_event import HandOff, HookReader, spool_origin
from blueplane.capture.pseudonyms import Pseudonyms
from blueplane.capture.sanitise import Sanitiser
from blueplane.clock import NS_PER_MS
from blueplane.errors import FilteredError, MalformedPayloadError
from blueplane.event import Event, Settlement, encode
from blueplane.paths import Home
from blueplane.pipeline.batch import prepare
from blueplane.pipeline.commits import Commits
from blueplane.pipeline.custody import Balance
from blueplane.selftest.corpus import File
from blueplane.selftest.story import Told
from blueplane.store.traces import Row

_NO_LETTERS: Final = {"dead_lettered": 0, "waiting": 0, "open": 0}


class Road:
    """A store in ``home``, and transcripts below ``root``; ``close`` it."""

    def __init__(self, home: Home, root: Path) -> None:
        self._root = root
        self._commits = Commits(home.database)
        self._secret = home.secret()
        sanitiser = Sanitiser("strict", self._secret)
        self._lines = TranscriptReader(sanitiser)
        self._hooks = HookReader(sanitiser, lambda _: True)
        self._files: dict[str, tuple[Place, int]] = {}
        self._sent = 0
        store = Store(
            home.database,
            codec=lambda: self._commits.codec,
            edition=lambda: self._commits.edition,
            derive=self._commits.derive,
            busy=lambda: False,
        )
        self._workers = make_workers(store, Pseudonyms(self._secret))

    def close(self) -> None:
        """Close the store."""
        self._commits.close()

    def read_files(self, files: Iterable[File], *, whole: bool) -> None:
        """Write transcripts, up to where each is cut unless ``whole``, and read what is new."""
        for file in files:
            path = (self._root / file.path).resolve()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.raw if whole else file.raw[: file.cut])
            self._read_file(path)
        self._workers.catch_up()

    def _read_file(self, path: Path) -> None:
        name = str(path)
        with OpenFile(name, self._secret) as opened:
            place, offset = self._files.get(name) or (self._place(path, opened), 0)
            more = offset < opened.size
            while more:
                piece = opened.whole() if place.whole else opened.lines(offset, offset)
                self._take_lines(piece.lines, place)
                offset, more = piece.end, piece.more
        self._files[name] = place, offset

    def _place(self, path: Path, opened: OpenFile) -> Place:
        name = str(path)
        item = item_of(name, self._secret)
        whole = is_meta(path.name)
        place = Place(item, path.name, session_of(name), whole=whole, salt=opened.salt)
        place.date(opened.head(), opened.mtime_ns // NS_PER_MS)
        return place

    def _take_lines(self, lines: Sequence[Line], place: Place) -> None:
        events: list[Event] = []
        for line in lines:
            try:
                events.append(self._lines.read(line, place))
            except MalformedPayloadError as error:
                about = ("claude_code", SOURCE, line.end - line.start)
                self._settle(place.origin(line), "quarantined", error.rule, about)
        self._write(events)

    def take_hooks(self, told: Iterable[Told]) -> None:
        """Read what hooks are given, each as a hand-off file of its own."""
        events: list[Event] = []
        for number, each in enumerate(told):
            raw = orjson.dumps(each.body)
            name = f"{number}.1.{each.platform}"
            item = HandOff(name, each.at_ms * NS_PER_MS, raw, each.platform, each.hook)
            origin = spool_origin(item.name, item.mtime_ns)
            about = (each.platform, "hook", len(raw))
            try:
                events.append(self._hooks.read(item))
            except FilteredError as error:
                self._settle(origin, "filtered", error.rule, about)
            except MalformedPayloadError as error:
                self._settle(origin, "quarantined", error.rule, about)
        self._write(events)
        self._workers.catch_up()

    def _settle(self, origin: str, outcome: str, rule: str, about: tuple[str, str, int]) -> None:
        platform, source, size = about
        self._commits.settle([Settlement(origin, outcome, rule, platform, "", size, source)])

    def _write(self, events: Sequence[Event]) -> None:
        entries = []
        for event in events:
            self._sent += 1
            entries.append((b"%d-0" % self._sent, encode(event)))
        made = [delivery.row for delivery in prepare(entries, self._commits.codec)]
        self._commits.write([row for row in made if isinstance(row, Row)])

    def balance(self) -> Balance:
        """Return both laws as they are by now."""
        totals = self._commits.ledger.totals()
        return Balance(totals, self._sent, 0, 0, _NO_LETTERS, 0)
