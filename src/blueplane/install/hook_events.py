"""Which version of an editor knows which hooks.

Owns the events that an install asks for, and the versions from which on an editor takes them.
Promises the cautious answer: one event that an editor does not know makes it drop the whole file,
with the hooks of everybody else. So an event is asked for only from a version on that is known to
take it, and where no version is known only those of the first set.
Leaves what an event means to ``capture``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

Version: TypeAlias = tuple[int, ...]


def dotted(version: Version) -> str:
    """Return a version as people write it: ``2.1.10``."""
    return ".".join(map(str, version))


_CURSOR: Final[Mapping[Version, tuple[str, ...]]] = {
    (1, 7): (
        "beforeSubmitPrompt",
        "beforeShellExecution",
        "beforeMCPExecution",
        "beforeReadFile",
        "afterFileEdit",
        "stop",
    ),
    (2, 1): (
        "afterShellExecution",
        "afterMCPExecution",
        "afterAgentResponse",
        "afterAgentThought",
        "beforeTabFileRead",
        "afterTabFileEdit",
    ),
    (2, 6): (
        "sessionStart",
        "sessionEnd",
        "preToolUse",
        "postToolUse",
        "postToolUseFailure",
        "subagentStart",
        "subagentStop",
        "preCompact",
    ),
    (3, 24): ("workspaceOpen",),
}

_CLAUDE_CODE: Final[Mapping[Version, tuple[str, ...]]] = {
    (1, 0, 38): ("PreToolUse", "PostToolUse", "Notification", "Stop"),
    (1, 0, 41): ("SubagentStop",),
    (1, 0, 48): ("PreCompact",),
    (1, 0, 54): ("UserPromptSubmit",),
    (1, 0, 62): ("SessionStart",),
    (1, 0, 85): ("SessionEnd",),
    (2, 0, 43): ("SubagentStart",),
    (2, 0, 45): ("PermissionRequest",),
    (2, 1, 10): ("Setup",),
    (2, 1, 33): ("PostToolUseFailure", "TeammateIdle", "TaskCompleted"),
    (2, 1, 49): ("ConfigChange",),
    (2, 1, 50): ("WorktreeCreate", "WorktreeRemove"),
    (2, 1, 69): ("InstructionsLoaded",),
    (2, 1, 76): ("PostCompact", "Elicitation", "ElicitationResult"),
    (2, 1, 78): ("StopFailure",),
    (2, 1, 83): ("CwdChanged", "FileChanged"),
    (2, 1, 84): ("TaskCreated",),
    (2, 1, 89): ("PermissionDenied",),
    (2, 1, 117): ("UserPromptExpansion", "PostToolBatch"),
    (2, 1, 152): ("MessageDisplay",),
    (2, 1, 219): ("DirectoryAdded",),
}


@dataclass(frozen=True, slots=True)
class Knowledge:
    """The events of one editor, by the version from which on it takes them.

    ``floor`` is the version that one of an unknown version is taken for, ``newest`` the newest that
    was looked at: a newer one may know more. ``unwanted`` are never asked for, for a reason each.
    """

    since: Mapping[str, Version]
    floor: Version
    newest: Version
    unwanted: Mapping[str, str]

    def wanted(self, version: Version | None) -> tuple[str, ...]:
        """Return the events to ask for, in the order of the table."""
        limit = version or self.floor
        known = (event for event, first in self.since.items() if first <= limit)
        return tuple(event for event in known if event not in self.unwanted)

    def refuses(self, event: str, version: Version | None) -> bool:
        """Whether an editor of ``version`` would drop a file in which there is ``event``."""
        first = self.since.get(event)
        if first is not None:
            return version is not None and version < first
        return version is None or version <= self.newest


def _since(table: Mapping[Version, Iterable[str]]) -> dict[str, Version]:
    return {event: version for version, events in table.items() for event in events}


CURSOR: Final = Knowledge(
    _since(_CURSOR),
    floor=(1, 7),
    newest=(3, 24, 99),
    unwanted={
        "beforeTabFileRead": "holds up every completion in the line, and afterTabFileEdit says what"
        " came of it",
    },
)

CLAUDE_CODE: Final = Knowledge(
    _since(_CLAUDE_CODE),
    floor=(1, 0, 85),
    newest=(2, 1, 240),
    unwanted={
        "WorktreeCreate": "a hook there replaces what git does",
        "WorktreeRemove": "its twin, of which nobody says that it does not",
        "MessageDisplay": "too many of them",
        "FileChanged": "too many of them",
        "PostToolBatch": "repeats the answer of every tool",
    },
)
