"""What a platform is: the records that describe one to the rest of capture.

Owns ``Platform`` and ``Hook``, and the defaults that suit an editor nobody has described yet.
Promises that a platform is data plus small functions of one parsed payload, without any state.
Leaves finding platforms to ``platforms.py`` and what may be stored to the sanitiser.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from blueplane.capture.parse import Body

#: Lines added and lines removed.
LineCounts: TypeAlias = tuple[int, int]

#: Payload keys whose number or name is a column of the row, with that column.
COLUMN_KEYS: Final[Mapping[str, str]] = {
    "model": "model",
    "tool_name": "tool_name",
    "duration_ms": "duration_ms",
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_tokens",
    "cache_creation_tokens": "cache_creation_tokens",
}


@dataclass(frozen=True, slots=True)
class Hook:
    """What a native hook means: our event type, and ``before|after|failure|denied`` or nothing."""

    event_type: str
    phase: str = ""


UNKNOWN_HOOK: Final = Hook("other")


def no_identity(_body: Body, _hook_name: str) -> tuple[str, ...]:
    """Say that nothing in a payload identifies its event: the hand-off file does."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """One platform.

    ``hooks`` maps native hook names; an unknown one is ``other``. Of ``session_keys`` and
    ``workspace_keys`` the first that holds a text (or a list that begins with one) counts.
    ``turn_key`` and ``tool_use_key`` name the ids of a turn and of a tool call.
    ``column_keys`` maps payload keys to columns of the row. ``identity`` returns, for a
    payload and its hook, what identifies an event that may be sent twice; nothing means: the
    hand-off file. ``line_counts`` holds, per native hook, how lines added and removed are counted.
    """

    name: str
    hooks: Mapping[str, Hook] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    session_keys: tuple[str, ...] = ("session_id",)
    workspace_keys: tuple[str, ...] = ("cwd",)
    turn_key: str = "prompt_id"
    tool_use_key: str = "tool_use_id"
    column_keys: Mapping[str, str] = field(default_factory=lambda: COLUMN_KEYS)
    identity: Callable[[Body, str], tuple[str, ...]] = no_identity
    line_counts: Mapping[str, Callable[[Body], LineCounts | None]] = field(default_factory=dict)

    def hook(self, native_name: str) -> Hook:
        """Return what the native hook means."""
        return self.hooks.get(native_name, UNKNOWN_HOOK)

    def session_id(self, body: Body) -> str:
        """Return the platform's own session id as it is in the payload, "" for none."""
        return _first_text(body, self.session_keys)

    def workspace(self, body: Body) -> str:
        """Return the path of the workspace as it is in the payload, "" for none."""
        return _first_text(body, self.workspace_keys)


def _first_text(body: Body, keys: tuple[str, ...]) -> str:
    for key in keys:
        value = body.get(key)
        if type(value) is list and value:
            value = value[0]
        if type(value) is str and value:
            return value
    return ""
