"""The rules of our own that leave events out, and what it is to have no other.

Owns their names, as they are stored and counted.
Promises to import nothing of capture: a command that shows them starts quickly.
Leaves what they leave out to ``filters.py`` and ``hook_event.py``.
"""

from typing import Final

from blueplane.config import FilterSettings

#: What our own Cursor hook sends too.
CURSOR_COMPATIBILITY: Final = "cursor-compat"
#: What was written while capture was paused, and is read all the same.
PAUSED: Final = "paused"
#: Counts what cannot be looked into while there are rules for places: its place is not known.
UNKNOWN_PLACE: Final = "workspace:unknown"
#: What holds where nothing is configured.
NO_RULES: Final = FilterSettings((), (), (), (), ())
