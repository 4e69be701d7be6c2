"""What a check is, and what it finds.

Owns the records ``Check``, ``Result`` and ``Row``.
Promises that a row has evidence, and whatever is not well one command that helps.
Leaves looking to ``checks/`` and running to ``runner.py``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from blueplane.install.doctor.scene import Scene

Level: TypeAlias = Literal["ok", "warn", "fail", "skip"]

#: Seconds that a check may take; all are run at once, and all of it stays below one second.
LIMIT_S: Final = 0.75

#: Mends what was found and returns what it did, in a few words; raises BlueplaneError or OSError.
Fix: TypeAlias = Callable[[], str]


@dataclass(frozen=True, slots=True)
class Result:
    """What a check found: how bad, the evidence, the command that helps, and whether we can."""

    level: Level
    evidence: str
    command: str = ""
    fix: Fix | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """A check: its stable id, what it is about, and how it looks.

    ``look`` raises SkipError for what cannot be looked at, BlueplaneError or OSError for a failure.
    """

    id: str
    about: str
    look: Callable[[Scene], Result]
    limit_s: float = LIMIT_S


@dataclass(frozen=True, slots=True)
class Row:
    """What a check found when it was run; ``broke`` says that the check itself has a bug."""

    check: Check
    result: Result
    took_ms: float
    broke: bool = False

    @property
    def is_bad(self) -> bool:
        """Whether there is something to do about it."""
        return self.result.level in {"warn", "fail"}

    @property
    def fixable(self) -> bool:
        """Whether ``--fix`` can mend it."""
        return self.is_bad and self.result.fix is not None

    def body(self) -> dict[str, Any]:
        """Return the row as JSON shows it."""
        return {
            "id": self.check.id,
            "about": self.check.about,
            "level": self.result.level,
            "evidence": self.result.evidence,
            "command": self.result.command if self.is_bad else "",
            "fixable": self.fixable,
            "took_ms": round(self.took_ms, 1),
        }


def ok(evidence: str) -> Result:
    """Return the result of what is well."""
    return Result("ok", evidence)


def warn(evidence: str, command: str, fix: Fix | None = None) -> Result:
    """Return the result of what works and may not for long, or not as well as it could."""
    return Result("warn", evidence, command, fix)


def fail(evidence: str, command: str, fix: Fix | None = None) -> Result:
    """Return the result of what does not work."""
    return Result("fail", evidence, command, fix)
