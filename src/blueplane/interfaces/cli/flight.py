"""A canary through the hook of each editor, as it stands in the editor's settings.

Owns the waiting for it in the database, and how its road is shown.
Promises that what is run is the very text of the settings file, and one line for each editor.
Leaves the sending to ``install/canary.py``.
"""

from dataclasses import dataclass
from typing import Any, Final

from blueplane.errors import BlueplaneError
from blueplane.install.canary import Canary, road_text
from blueplane.install.editors import NAMES, Machine, settings_file
from blueplane.install.setup import Wanted
from blueplane.lock import is_running
from blueplane.store.hops import Hop, hops
from blueplane.store.queries import reading

#: Seconds until a canary that is not written counts as stuck.
PATIENCE_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class Flight:
    """What became of a canary: its hops when it arrived, else why it did not."""

    platform: str
    hook: str
    hops: tuple[Hop, ...] = ()
    trouble: str = ""

    @property
    def arrived(self) -> bool:
        """Whether it was written."""
        return bool(self.hops)

    def text(self) -> str:
        """Return the one line."""
        if not self.hops:
            return f"canary through {self.platform} {self.hook}: {self.trouble}"
        return f"canary through {self.platform} {self.hook}: {road_text(self.hops)}"

    def body(self) -> dict[str, Any]:
        """Return the same for programs."""
        times = {hop.hop: hop.since_captured_ms for hop in self.hops}
        return {
            "platform": self.platform,
            "hook": self.hook,
            "arrived": self.arrived,
            "trouble": self.trouble or None,
            "ms": times,
        }


def fly(wanted: Wanted) -> list[Flight]:
    """Send a canary through one hook of each editor; none where no server runs."""
    if not is_running(wanted.home):
        return []
    machine = Machine(wanted.places.home, wanted.environment)
    found = {name: settings_file(name, machine).commands() for name in NAMES.values()}
    return [
        _fly(wanted, name, *max(commands.items()))
        for name, commands in found.items()
        if commands and wanted.only in ("", name)
    ]


def _fly(wanted: Wanted, platform: str, hook: str, command: str) -> Flight:
    canary = Canary(wanted.home, command)
    try:
        canary.send()
        with reading(wanted.home.database) as reader:
            row = canary.await_row(reader, PATIENCE_S)
            if row is not None:
                return Flight(platform, hook, tuple(hops(row)))
            return Flight(platform, hook, trouble=canary.whereabouts(reader))
    except BlueplaneError as error:
        return Flight(platform, hook, trouble=str(error))
