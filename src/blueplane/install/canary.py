"""The canary: an event of our own that proves that the road is open.

Owns its sending, through the very script that editors run, and the search for what became of it.
Promises that it takes the road of every other event, from the hook to the row, without a short cut.
Leaves showing it, and the server on whose road it goes, to the interfaces.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Final

import orjson

from blueplane.capture.hook_event import spool_origin
from blueplane.clock import NS_PER_S, wall_ns
from blueplane.digests import random_hex
from blueplane.errors import BlueplaneError, HomeError
from blueplane.paths import Home
from blueplane.pipeline.dead_letters import unpack_fields
from blueplane.store.letters import Letter
from blueplane.store.queries import Reader

#: Seconds that the hook may take; it needs some milliseconds.
HOOK_S: Final = 10.0
#: Nanoseconds by which the clock of a file system may be behind ours.
_SLACK_NS: Final = NS_PER_S

_SCRIPT: Final = "blueplane-hook"


@contextmanager
def hook_script() -> Iterator[Path]:
    """Give the hook script as a file: that of the package, else that of the source checkout.

    Raises HomeError when there is neither.
    """
    package = files("blueplane")
    shipped = package / "_data" / _SCRIPT
    if shipped.is_file():
        with as_file(shipped) as path:
            yield path
        return
    checkout = Path(__file__).parents[3] / "hooks" / _SCRIPT
    if not checkout.is_file():
        message = f"{shipped}: the hook script is missing; install Blueplane again"
        raise HomeError(message)
    yield checkout


class Canary:
    """One canary; its session is its name, for its event id is not known before it is captured."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._sent_ns = 0
        self.session_id = f"canary-{random_hex(8)}"

    def send(self) -> None:
        """Run the hook as an editor would; raise BlueplaneError when it does not do its duty."""
        self._sent_ns = wall_ns()
        payload = orjson.dumps({"session_id": self.session_id})
        environment = {"BLUEPLANE_HOME": str(self._home.root)}
        with hook_script() as script:
            try:
                ended = subprocess.run(
                    ["/bin/sh", script, "blueplane", "Canary"],
                    input=payload, env=environment, capture_output=True, timeout=HOOK_S,
                    check=False,
                )  # fmt: skip
            except (OSError, subprocess.TimeoutExpired) as error:
                message = f"the hook {script} cannot be run: {error}"
                raise BlueplaneError(message) from error
            if ended.returncode or ended.stdout or ended.stderr:
                message = f"the hook {script} exits with {ended.returncode}, or prints something"
                raise BlueplaneError(message)

    def row(self, reader: Reader) -> dict[str, Any] | None:
        """Return the canary's row of ``raw_traces`` once it is written."""
        rows = reader.traces("session_id", self.session_id, 1)
        return rows[0] if rows else None

    def letter(self, reader: Reader) -> Letter | None:
        """Return the canary's dead letter, if it became one."""
        letters = (each for each in reader.letters() if each.source == "canary")
        name = self.session_id.encode()
        return next((each for each in letters if name in unpack_fields(each.raw)), None)

    def origin(self) -> str | None:
        """Return the origin of the canary's spool file while it waits there."""
        name = self.session_id.encode()
        for path in self._home.spool.iterdir():
            try:
                mtime_ns = path.stat().st_mtime_ns
                if mtime_ns >= self._sent_ns - _SLACK_NS and name in path.read_bytes():
                    return spool_origin(path.name, mtime_ns)
            except FileNotFoundError:
                continue  # released meanwhile
        return None
