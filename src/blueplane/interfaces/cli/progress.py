"""What a long operation says while it works.

Owns the line for people: a bar where the end is known, a word otherwise.
Promises to say nothing unless standard error is a terminal.
Leaves what is done to the operation.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from blueplane.server.control import Report


@contextmanager
def progress(*, counted: bool = True) -> Iterator[Report]:
    """Give what shows ``step``, and ``done`` ``of`` where both are known.

    What is not ``counted`` has its numbers in its words; they stand behind the bar.
    """
    console = Console(stderr=True)
    words = TextColumn("{task.description}")
    columns = (words, BarColumn(), MofNCompleteColumn()) if counted else (BarColumn(20), words)
    with Progress(
        SpinnerColumn(), *columns, console=console, transient=True, disable=not sys.stderr.isatty()
    ) as bar:
        task = bar.add_task("looking", total=None)

        def report(said: Mapping[str, Any]) -> None:
            bar.update(
                task, description=said["step"], completed=said.get("done", 0), total=said.get("of")
            )

        yield report
