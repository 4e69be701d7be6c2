"""The clock of what is not urgent.

Owns one thread that runs tasks at their intervals.
Promises that a missed round is not made up for, and that a task that fails costs one line.
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
class Task:
    """Something to do every ``every_s`` seconds, for the first time after ``first_s``, or as long.

    ``due_s`` is the poller's.
    """

    name: str
    every_s: float
    work: Callable[[], None]
    first_s: float | None = None
    due_s: float = 0.0


class Poller(Service):
    """The poller thread."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        super().__init__("poller")
        self._tasks = tasks
        for task in tasks:
            task.due_s = monotonic_s() + (task.every_s if task.first_s is None else task.first_s)

    def loop(self) -> None:
        """Run each task when it is due, until asked to stop."""
        while not self.stopping.is_set():
            self.beat()
            for task in self._tasks:
                self._run_if_due(task)
            self.stopping.wait(min(task.due_s for task in self._tasks) - monotonic_s())

    def _run_if_due(self, task: Task) -> None:
        now_s = monotonic_s()
        if task.due_s > now_s:
            return
        task.due_s = now_s + task.every_s
        try:
            task.work()
        except BlueplaneError as error:
            _log.warning("task failed", task=task.name, reason=error)
