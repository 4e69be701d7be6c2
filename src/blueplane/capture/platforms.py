"""The registry of platforms.

Owns the list of built-in platforms and the finding of others (``ENTRY_POINTS``).
Promises an adapter for every name, and that a third-party platform which cannot be loaded, takes
the name of another or would store free text costs one log line.
Leaves what a platform is to ``adapter.py``.
"""

import re
from collections.abc import Iterator
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from blueplane.capture import vocabulary as words
from blueplane.capture.adapter import PHASES, SOURCES, Hook, Platform
from blueplane.capture.claude_code.hooks import PLATFORM as CLAUDE_CODE
from blueplane.capture.cursor.hooks import PLATFORM as CURSOR
from blueplane.capture.parse import Body
from blueplane.event import COLUMNS, EVENT_TYPES
from blueplane.logs import get

#: Third parties name a ``Platform`` under this group.
ENTRY_POINTS: Final = "blueplane.platforms"
#: Our own event, which proves that the road is open.
CANARY: Final = Hook("canary", source="canary")
CANARY_HOOK: Final = "Canary"
INTERNAL: Final = Platform(name="blueplane", hooks={CANARY_HOOK: CANARY})
BUILT_IN: Final = (CURSOR, CLAUDE_CODE, INTERNAL)
#: The session of a canary, which is all that its payload says.
_CANARY_SESSION: Final = re.compile(r"canary-[0-9a-f]{16}\Z")
#: What the hook script takes for a platform.
NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
#: Keys that hold what people wrote: nobody may call it an id or a name.
FREE_TEXT: Final = words.PLAIN | words.CODE | words.TOOL_CONTENT | words.COMMANDS | words.COUNTED

_log = get("capture")


@cache
def platforms() -> dict[str, Platform]:
    """Return the known platforms by name and alias; the first to have a name keeps it."""
    found = {name: platform for platform in BUILT_IN for name in _names(platform)}
    for point in entry_points(group=ENTRY_POINTS):
        platform = _load(point)
        if platform is None:
            continue
        if platform.name in found:
            _refuse(point, f"there is a platform {platform.name} already")
            continue
        for name in _names(platform):
            found.setdefault(name, platform)
    return found


def find_platform(name: str) -> Platform:
    """Return the platform called ``name``, or one without any knowledge for an unknown name."""
    return platforms().get(name) or Platform(name=name)


def is_canary(body: Body) -> bool:
    """Say whether a payload is that of our canary, through whichever hook it came."""
    session_id = body.get("session_id")
    return len(body) == 1 and type(session_id) is str and bool(_CANARY_SESSION.match(session_id))


def _names(platform: Platform) -> tuple[str, ...]:
    return (platform.name, *platform.aliases)


def _load(point: EntryPoint) -> Platform | None:
    try:
        platform: object = point.load()
        reason = next(_faults(platform), "")
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger's module may do anything
        _refuse(point, f"{type(error).__name__}: {error}")
        return None
    if reason:
        _refuse(point, reason)
    return platform if isinstance(platform, Platform) and not reason else None


def _refuse(point: EntryPoint, reason: str) -> None:
    _log.warning("platform not loaded", name=point.name, reason=reason)


def _faults(platform: object) -> Iterator[str]:
    """Yield what is wrong with a platform; raises whatever a wrong type makes it raise."""
    if not isinstance(platform, Platform):
        yield f"{type(platform).__name__} is not a Platform"
        return
    for name in _names(platform):
        if not NAME.match(name):
            yield f"no hook can send the name {name!r}"
    for name, hook in platform.hooks.items():
        if hook.event_type not in EVENT_TYPES or hook.phase not in PHASES:
            yield f"hook {name} is not of our event types and phases"
        if hook.source not in SOURCES:
            yield f"hook {name} is of no source that a platform has"
    yield from _faulty_keys(platform)


def _faulty_keys(platform: Platform) -> Iterator[str]:
    unknown = set(platform.column_keys.values()) - COLUMNS.keys()
    yield from (f"there is no column {column}" for column in unknown)
    prose = FREE_TEXT.intersection(_clear_keys(platform))
    yield from (f"{key} is free text, and no id or name" for key in prose)
    for key, values in platform.own_keys.enumerations.items():
        if not all(words.NAME.match(value) for value in values if value):
            yield f"the words of {key} are not all words"


def _clear_keys(platform: Platform) -> Iterator[str]:
    """Yield the keys whose text is shown as it is when it has no space."""
    yield from platform.session_keys
    yield from (platform.turn_key, platform.tool_use_key)
    yield from platform.own_keys.ids
    yield from (key for key, column in platform.column_keys.items() if COLUMNS.get(column) is str)
