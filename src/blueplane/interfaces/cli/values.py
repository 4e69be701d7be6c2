"""Values that a shell completes: projects, platforms, sessions, metrics, and their categories.

Owns what is offered after an option, or as an argument.
Promises an answer at once, and only names that a shell takes as they are.
Leaves the words of commands and options to click, and silence where there is no store to
``main.py``.
"""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, TypeAlias

import click

from blueplane.interfaces.cli.lazy import load
from blueplane.paths import Home, default_home, home_at
from blueplane.store import session_list, usage_reports
from blueplane.store.reading import Reads

#: What completes something: it gets what is written of it.
Completes: TypeAlias = Callable[[click.Context, click.Parameter, str], list[str]]

#: Names that are offered at most.
_MANY: Final = 100
#: What every shell reads as nothing but itself: letters of any language, digits, a few signs.
_PLAIN: Final = re.compile(r"[\w./@+,][\w./@+,-]*")


def completing(names: Callable[[], Iterable[str]]) -> Completes:
    """Return what completes one of some names."""
    return lambda _context, _parameter, begun: _fitting(names(), begun)


def completing_stored(names: Callable[[Reads, str], Iterable[str]]) -> Completes:
    """Return what completes one of some stored names; ``names`` also gets how it begins."""

    def complete(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
        with load("opening", "opened_once")(_home(context), Reads) as reader:
            return _fitting(names(reader, begun), begun)

    return complete


def _fitting(names: Iterable[str], begun: str) -> list[str]:
    return [name for name in names if name.startswith(begun) and _PLAIN.fullmatch(name)][:_MANY]


def _home(context: click.Context) -> Home:
    said = context.params.get("home")
    if isinstance(said, Home):
        return said
    return home_at(Path(said).absolute()) if said else default_home()


def _sessions(reader: Reads, begun: str) -> list[str]:
    found = session_list.beginning(reader, begun, _MANY)
    return [*dict.fromkeys(["last", *(each.session_id for each in found)])]


complete_platform: Final = completing_stored(lambda reader, _: usage_reports.platforms(reader))
complete_project: Final = completing_stored(lambda reader, _: usage_reports.projects(reader))
complete_session: Final = completing_stored(_sessions)
