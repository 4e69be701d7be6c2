"""The clock of what is not urgent.

Owns one thread that runs jobs at their intervals.
Promises that a missed round is not made up for, and that a job that fails costs one line.
Leaves what is urgent to threads of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from blueplane.clock import monotonic_s
from blueplane.errors import BlueplaneError
from blueplane.logs import get
from blueplane.threads import Service

_log = get("poller")


@dataclass(slots=True)
class Job:
    """Something to do every ``every_s`` seconds, for the first time after that long."""

    name: str
    every_s: float
    work: Callable[[], None]
    due_s: float = 0.0


class Poller(Service):
    """The poller thread."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        super().__init__("poller")
        self._jobs = jobs
        for job in jobs:
            job.due_s = monotonic_s() + job.every_s

    def loop(self) -> None:
        """Run each job when it is due, until asked to stop."""
        while not self.stopping.is_set():
            self.beat()
            for job in self._jobs:
                self._run_if_due(job)
            self.stopping.wait(min(job.due_s for job in self._jobs) - monotonic_s())

    def _run_if_due(self, job: Job) -> None:
        now_s = monotonic_s()
        if job.due_s > now_s:
            return
        job.due_s = now_s + job.every_s
        try:
            job.work()
        except BlueplaneError as error:
            _log.warning("job failed", job=job.name, reason=error)
