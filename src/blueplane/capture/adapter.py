"""What a platform is: the records that describe one to the rest of capture.

Owns ``Platform``, ``Hook`` and ``OwnKeys``, and the defaults that suit an editor nobody has
described yet.
Promises that a platform is data plus small functions of one parsed payload, without any state, and
that such a function, whoever wrote it, costs no event when it fails.
Leaves finding platforms to ``platforms.py`` and what may be stored to the sanitiser.
"""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import cache
from typing import Final, TypeAlias, TypeVar

from blueplane.capture.parse import Body
from blueplane.event import MAX_INT
from blueplane.logs import get

_log = get("capture")

T = TypeVar("T")
#: Lines added and lines removed.
LineCounts: TypeAlias = tuple[int, int]
_PAIR: Final = 2

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
    """What a native hook means: our event type, and ``before|after|failure|denied`` or nothing.

    ``source`` is ``hook`` unless somebody else than an editor's hook hands the event over.
    """

    event_type: str
    phase: str = ""
    source: str = "hook"


UNKNOWN_HOOK: Final = Hook("other")
PHASES: Final = frozenset({"", "before", "after", "failure", "denied"})
SOURCES: Final = frozenset({"hook", "extension", "canary"})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OwnKeys:
    """Payload keys that only this platform has, by the kind of what they hold.

    A key that ``vocabulary.py`` has keeps its meaning there, and one that names a secret is dropped
    as everywhere. There is no kind for free text: under any other key it becomes its length.
    ``enumerations`` has the words that may stand under a key.
    """

    ids: AbstractSet[str] = frozenset()
    paths: AbstractSet[str] = frozenset()
    branches: AbstractSet[str] = frozenset()
    code: AbstractSet[str] = frozenset()
    commands: AbstractSet[str] = frozenset()
    enumerations: Mapping[str, AbstractSet[str]] = field(default_factory=dict)


NO_OWN_KEYS: Final = OwnKeys()


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
    ``own_keys`` adds to what the sanitiser knows of payloads, for those of this platform.
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
    own_keys: OwnKeys = NO_OWN_KEYS

    def hook(self, native_name: str) -> Hook:
        """Return what the native hook means."""
        return self.hooks.get(native_name, UNKNOWN_HOOK)

    def session_id(self, body: Body) -> str:
        """Return the platform's own session id as it is in the payload, "" for none."""
        return _first_text(body, self.session_keys)

    def workspace(self, body: Body) -> str:
        """Return the path of the workspace as it is in the payload, "" for none."""
        return _first_text(body, self.workspace_keys)

    def identify(self, body: Body, hook_name: str) -> tuple[str, ...]:
        """Return what identifies an event that may be sent twice; nothing if that fails."""
        return self._ask("identity", lambda: self.identity(body, hook_name), _is_identity) or ()

    def count_lines(self, body: Body, hook_name: str) -> LineCounts | None:
        """Return the lines that an event added and removed; None if they are not known."""
        count = self.line_counts.get(hook_name)
        return None if count is None else self._ask("line count", lambda: count(body), _is_count)

    def _ask(self, what: str, ask: Callable[[], T], fits: Callable[[object], bool]) -> T | None:
        """Return what a function of the platform returns; None when it fails or does not fit."""
        try:
            found = ask()
        except Exception as error:  # noqa: BLE001 - a stranger's function may raise anything
            _say_once(self.name, what, type(error).__name__)
            return None
        if fits(found):
            return found
        _say_once(self.name, what, f"returned {type(found).__name__}")
        return None


@cache
def _say_once(platform: str, what: str, error: str) -> None:
    _log.warning("platform failed", platform=platform, what=what, error=error)


def _is_identity(found: object) -> bool:
    return isinstance(found, tuple) and all(isinstance(part, str) for part in found)


def _is_count(found: object) -> bool:
    """Whether these are the lines added and removed, or nothing."""
    if not isinstance(found, tuple) or len(found) != _PAIR:
        return found is None
    return all(type(count) is int and 0 <= count <= MAX_INT for count in found)


def _first_text(body: Body, keys: tuple[str, ...]) -> str:
    for key in keys:
        value = body.get(key)
        if type(value) is list and value:
            value = value[0]
        if type(value) is str and value:
            return value
    return ""
