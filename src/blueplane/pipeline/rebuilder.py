"""Rebuild: what is derived, derived anew from the first raw trace.

Owns beginning it, and saying how far it is.
Promises that it can be broken off and killed anywhere: workers go on from where they are.
Leaves deriving to the workers, and what stays to ``store/rebuilding.py``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event as Flag
from typing import Any, Final, TypeAlias

from blueplane.clock import monotonic_s
from blueplane.errors import StoreUnavailableError, UsageError
from blueplane.logs import get
from blueplane.pipeline.writer import Writer
from blueplane.store.queries import SERVER_READ_S, reading
from blueplane.store.rebuilding import CLEARING

_log = get("rebuilder")

Report: TypeAlias = Callable[[Mapping[str, Any]], None]

#: Seconds for the writer to take away what there is.
CLEAR_S: Final = 3600.0
#: Seconds without a step after which it is said that it does not get on.
PATIENCE_S: Final = 60.0
#: Seconds between two looks.
LOOK_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Rebuilder:
    """Rebuilds; ``wake`` has workers look for rows, ``stopping`` says that the server ends."""

    database: Path
    writer: Writer
    wake: Callable[[], None]
    stopping: Flag

    def rebuild(self, report: Report, workers: Sequence[str] = ()) -> dict[str, Any]:
        """Have workers, all if none is named, derive anew; return ``rows``, one for each.

        Raises UsageError for an unknown one, StoreUnavailableError when it does not get on.
        """
        names = list(dict.fromkeys(workers)) or [*CLEARING]
        unknown = [name for name in names if name not in CLEARING]
        if unknown:
            message = f"no worker {unknown[0]!r}: say one of {', '.join(CLEARING)}"
            raise UsageError(message)
        report({"step": "clearing"})
        self.writer.ask(partial(self._clear, names), CLEAR_S)
        events = self._follow(names, report)
        _log.info("rebuilt", workers=",".join(names), events=events)
        return {"rows": [{"worker": name, "events": events} for name in names]}

    def finish(self, report: Report) -> list[str]:
        """Wait for workers that somebody had begin anew; return a note when that takes too long."""
        try:
            self._follow([*CLEARING], report)
        except StoreUnavailableError:
            return ["figures are still derived anew, and too low until then; see `health workers`"]
        return []

    def _clear(self, names: Sequence[str]) -> None:
        self.writer.commits.begin_anew(names)
        self.writer.letters.note_change()

    def _follow(self, names: Sequence[str], report: Report) -> int:
        """Say how far it is until all that was there is derived; return how many events."""
        self.wake()
        first, last = self._span()
        done, went_s = first, monotonic_s()
        while done < last:
            report({"step": "deriving", "done": done - first, "of": last - first})
            if self.stopping.wait(LOOK_S) or monotonic_s() - went_s > PATIENCE_S:
                message = "it does not get on; the server goes on when it can, see `health workers`"
                raise StoreUnavailableError(message)
            with reading(self.database, SERVER_READ_S) as reader:
                marks = reader.watermarks()
            before, done = done, max(first, min(marks.get(name, 0) for name in names))
            went_s = went_s if done == before else monotonic_s()
        report({"step": "deriving", "done": last - first, "of": last - first})
        return last - first

    def _span(self) -> tuple[int, int]:
        """Return the sequence before the first row, and the last one."""
        with reading(self.database, SERVER_READ_S) as reader:
            last = reader.last_sequence()
            first = reader.first_sequence()
        return (last if first is None else first - 1), last
