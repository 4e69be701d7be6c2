"""The registry of platforms.

Owns the list of built-in platforms and the finding of others (``ENTRY_POINTS``).
Promises an adapter for every name, and that a broken third-party platform costs one log line.
Leaves what a platform is to ``adapter.py``.
"""

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from blueplane.capture.adapter import Hook, Platform
from blueplane.capture.claude_code.hooks import PLATFORM as CLAUDE_CODE
from blueplane.capture.cursor.hooks import PLATFORM as CURSOR
from blueplane.logs import get

#: Third parties name a ``Platform`` under this group.
ENTRY_POINTS: Final = "blueplane.platforms"
#: Our own event, which proves that the road is open.
CANARY: Final = Hook("canary")
INTERNAL: Final = Platform(name="blueplane", hooks={"Canary": CANARY})
BUILT_IN: Final = (CURSOR, CLAUDE_CODE, INTERNAL)

_log = get("capture")


@cache
def platforms() -> dict[str, Platform]:
    """Return the known platforms by name and alias; a built-in name is never replaced."""
    found: dict[str, Platform] = {}
    for platform in (*BUILT_IN, *_third_party()):
        for name in (platform.name, *platform.aliases):
            found.setdefault(name, platform)
    return found


def find_platform(name: str) -> Platform:
    """Return the platform called ``name``, or one without any knowledge for an unknown name."""
    return platforms().get(name) or Platform(name=name)


def _third_party() -> list[Platform]:
    loaded = [_load(point) for point in entry_points(group=ENTRY_POINTS)]
    return [platform for platform in loaded if platform is not None]


def _load(point: EntryPoint) -> Platform | None:
    try:
        platform = point.load()
    except Exception as error:  # noqa: BLE001 - a stranger's module may raise anything at import
        _log.warning("platform not loaded", name=point.name, error=type(error).__name__)
        return None
    if not isinstance(platform, Platform):
        _log.warning("platform not loaded", name=point.name, error="not a Platform")
        return None
    return platform
