"""What a look at a component yields: figures, a colour, and what is wrong.

Owns the records ``Finding``, ``Report`` and ``Snapshot``, and how bands of a figure become colours.
Promises that a report is complete without its monitor, and that nobody else decides on colours.
Leaves the thresholds to each monitor.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final, Literal

State = Literal["ok", "idle", "not installed"]

#: What is judged, each by the monitor of that name.
COMPONENTS: Final = ("queue", "database", "capture", "chain", "workers")
#: Seconds after which a look is too old to be trusted: there is one a second.
STALE_S: Final = 10.0


class Colour(IntEnum):
    """How a component is; the greater the worse."""

    GREEN = 0
    YELLOW = 1
    ORANGE = 2
    RED = 3

    @property
    def word(self) -> str:
        """The colour in lower case."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Moment:
    """When a look is taken, on both clocks."""

    wall_ms: int
    monotonic_s: float


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure that is not as it should be: which, how bad, what is wrong, and what helps."""

    metric: str
    colour: Colour
    sentence: str
    command: str


@dataclass(frozen=True, slots=True)
class Report:
    """What was found of one component; ``figures`` have the names of the documentation.

    What is unknown is None. A component that is idle or not installed is green.
    """

    component: str
    figures: Mapping[str, Any]
    findings: Sequence[Finding] = ()
    state: State = "ok"

    @property
    def colour(self) -> Colour:
        """The colour of the worst finding."""
        return max((finding.colour for finding in self.findings), default=Colour.GREEN)

    def body(self) -> dict[str, Any]:
        """Return the report as JSON shows it."""
        return {
            **self.figures,
            "health_status": self.colour.word,
            "state": self.state,
            "findings": [
                {
                    "metric": finding.metric,
                    "colour": finding.colour.word,
                    "sentence": finding.sentence,
                    "command": finding.command,
                }
                for finding in sorted(self.findings, key=lambda finding: -finding.colour)
            ],
        }


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All components at one moment; ``as_of_ms`` is milliseconds since the epoch."""

    as_of_ms: int
    reports: Mapping[str, Report] = field(default_factory=dict)

    @property
    def colour(self) -> Colour:
        """The colour of the worst component."""
        return max((report.colour for report in self.reports.values()), default=Colour.GREEN)

    def body(self) -> dict[str, Any]:
        """Return everything as JSON shows it."""
        components = {name: report.body() for name, report in self.reports.items()}
        return {"as_of_ms": self.as_of_ms, "health_status": self.colour.word, **components}


_BANDS: Final = (Colour.YELLOW, Colour.ORANGE, Colour.RED)


def band(value: float | None, *limits: float) -> Colour:
    """Return the colour of a figure that is bad when it is large.

    ``limits`` are where yellow, orange and red begin; an unknown figure is green.
    """
    if value is None:
        return Colour.GREEN
    return max(
        (colour for colour, limit in zip(_BANDS, limits, strict=True) if value >= limit),
        default=Colour.GREEN,
    )


def falling_band(value: float | None, *limits: float) -> Colour:
    """Return the colour of a figure that is bad when it is small.

    ``limits`` are below what yellow, orange and red begin; an unknown figure is green.
    """
    if value is None:
        return Colour.GREEN
    return max(
        (colour for colour, limit in zip(_BANDS, limits, strict=True) if value < limit),
        default=Colour.GREEN,
    )
