"""The transcript monitor on a road without threads: each look when the test says so.

Owns ``Along``: a monitor, store and stream of one home, put together.
Promises the program's own parts all the way to the rows; a second ``Along`` is a new server.
Leaves threads to the tests with a real server.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from blueplane.capture.claude_code.places import roots
from blueplane.capture.claude_code.transcript import TranscriptReader
from blueplane.capture.filters import NO_FILTERS, Filters
from blueplane.capture.pauses import NO_PAUSES
from blueplane.capture.sanitise import Sanitiser
from blueplane.capture.transcripts import Surroundings, TranscriptMonitor
from blueplane.event import Event, Mark, Settlement
from blueplane.paths import Home
from blueplane.pipeline.intake import Intake
from blueplane.store.queries import reading
from helpers import stored_transcripts as stored
from helpers.redis_server import RedisServer
from helpers.road import Road

SECRET = bytes(32)
#: Rounds without anything new after which everything is read.
QUIET = 3


class DirectRecords:
    """What the monitor asks of the store, without the writer's thread in between."""

    def __init__(self, road: Road) -> None:
        self._road = road

    def mark(self, source: str, item: str) -> Mark | None:
        with reading(self._road.home.database) as reader:
            return reader.mark(source, item)

    def announce(self, marks: Mapping[str, Mark]) -> None:
        self._road.commits.announce(marks)

    def settled(self, events: Sequence[Event]) -> set[str]:
        with reading(self._road.home.database) as reader:
            return reader.settled(events)

    def settle(self, outcomes: Sequence[Settlement], passed: Sequence[str] = ()) -> None:
        self._road.commits.settle(outcomes, passed)


class Along:
    """A server of ``home`` that reads the transcripts of ``user_home``, step by step."""

    def __init__(
        self,
        home: Home,
        redis: RedisServer,
        user_home: Path,
        filters: Filters = NO_FILTERS,
        **around: Any,
    ) -> None:
        self.home = home
        self._is_closed = False
        self.road = Road(home, redis)
        self.intake = Intake(self.road.stream, self.road.writer, 20_000, 64 << 20)
        self.reader = TranscriptReader(Sanitiser("strict", SECRET), filters)
        surroundings = Surroundings(
            roots=lambda: roots(user_home, {}),
            wanted=lambda: True,
            pauses=lambda: NO_PAUSES,
            secret=SECRET,
        )
        self.records = DirectRecords(self.road)
        self.monitor = TranscriptMonitor(
            self.reader, self.intake, self.records, replace(surroundings, **around)
        )
        self.road.writer.sources.append(self.monitor)
        self.road.writer.attach()

    def close(self) -> None:
        """End without a word, as a killed server does; once is enough."""
        if not self._is_closed:
            self._is_closed = True
            self.monitor.close()
            self.road.close()

    def look(self) -> None:
        """Look at everything, and hand on what was found, but write nothing."""
        self.monitor._round_due_s = self.monitor._roots_due_s = 0.0
        self.monitor.files.note(self.monitor._watch.wait(0))
        self.monitor._keep_house()
        for path in list(self.monitor.files.tree.directories):
            self.monitor.files.tree.look(path)
        for file in list(self.monitor.files.known.values()):
            self.monitor.files.look_at(file)
        self.monitor._take()

    def read(self) -> None:
        """Look, hand on and write until there is nothing more."""
        quiet, before = 0, None
        while quiet < QUIET:
            self.look()
            self.road.drain()
            now = (stored.outcomes(self.home), len(self.monitor.files.waiting()))
            quiet = quiet + 1 if now == before else 0
            before = now

    def outcomes(self) -> dict[str, int]:
        """Return how many lines had which outcome."""
        return dict(stored.outcomes(self.home))

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of transcripts."""
        return list(stored.rows(self.home))

    def offsets(self) -> list[int]:
        """Return how far each file is settled."""
        with reading(self.home.database) as reader:
            return sorted(mark.offset for mark in reader.marks("transcript").values())
