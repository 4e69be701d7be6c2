"""Which days, platform and project a report of metrics is of.

Owns the period that is meant when none is said, and the errors for names that nothing has.
Promises days with both ends, whatever was said.
Leaves the options to ``reporting.py``.
"""

from typing import Any, Final, NamedTuple

from blueplane.days import date_of, today
from blueplane.errors import NotFoundError
from blueplane.interfaces.cli.near import hint
from blueplane.interfaces.cli.reporting import Asked, read_asked
from blueplane.store import metric_reports as stored
from blueplane.store.metric_rollups import BoundedScope
from blueplane.store.reading import Reads

#: The period when none is said: changes are changes of a month.
PERIOD: Final = "30d"


class Span(NamedTuple):
    """A scope; ``bounded`` says whether it has a first day, and so a period before it."""

    scope: BoundedScope
    bounded: bool

    def text(self) -> str:
        """Say which days they are; one is said once."""
        first, last = date_of(self.scope.first), date_of(self.scope.last)
        return f"{first}" if first == last else f"{first} to {last}"

    def nothing(self) -> str:
        """Say that there is nothing in them, and where else to look."""
        more = "`--period all` looks at everything there is"
        otherwise = "`blueplane status` shows what arrives"
        return f"no figures for {self.text()}; {more if self.bounded else otherwise}"

    def fields(self) -> dict[str, Any]:
        """Say which days they are for programs."""
        first, last = date_of(self.scope.first), date_of(self.scope.last)
        return {"first_day": first.isoformat(), "last_day": last.isoformat()}


def read_period(said: dict[str, Any], *, every_row: bool) -> Asked:
    """Read the options of a report, of the last days when none are said.

    With ``every_row`` there is no limit to the rows unless one is said.
    """
    if every_row and said["limit"] is None:
        said = {**said, "limit": 0}
    if not (said["period"] or said["since"] or said["until"]):
        said = {**said, "period": PERIOD}
    return read_asked(said)


def span_of(reader: Reads, asked: Asked) -> Span:
    """Return the days that are asked for; raise NotFoundError for a name that nothing has."""
    _check("platform", asked.platform, stored.platforms(reader))
    _check("project", asked.project, list(stored.projects(reader).values()))
    measured = stored.days(reader) or range(today(), today() + 1)
    last = max(today(), measured[-1]) if asked.until_day is None else asked.until_day
    first = min(measured[0], last) if asked.since_day is None else asked.since_day
    return Span(
        BoundedScope(first, last, asked.platform, asked.project), asked.since_day is not None
    )


def _check(what: str, said: str | None, names: list[str]) -> None:
    if said is None or said in names:
        return
    there = hint(said, names, f"`--group-by {what}` lists them")
    message = f"no figures of the {what} {said!r}; {there}"
    raise NotFoundError(message)
