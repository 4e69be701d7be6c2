"""The canary: an event of our own that proves that the road is open.

Owns its sending, through the very script that editors run, the search for what became of it, and
the words for that.
Promises that it takes the road of every other event, from the hook to the row, without a short cut.
Leaves the place on the screen, and the server on whose road it goes, to the interfaces.
"""

import subprocess
from collections.abc import Mapping, Sequence
from importlib.resources import as_file
from threading import Event as Flag
from typing import Any, Final

import orjson

from blueplane import shipped
from blueplane.capture.hook_event import spool_origin
from blueplane.capture.pausing import paused
from blueplane.capture.platforms import CANARY_HOOK, INTERNAL
from blueplane.clock import NS_PER_S, monotonic_s, wall_ns
from blueplane.digests import random_hex
from blueplane.errors import BlueplaneError
from blueplane.figures import milliseconds
from blueplane.paths import Home
from blueplane.pipeline.dead_letters import fields_of
from blueplane.store.hops import Hop
from blueplane.store.letters import Letter
from blueplane.store.queries import Reader

#: Seconds that the hook may take; it needs some milliseconds.
HOOK_S: Final = 10.0
#: Seconds between two looks for its row.
_POLL_S: Final = 0.005
#: Nanoseconds by which the clock of a file system may be behind ours.
_SLACK_NS: Final = NS_PER_S

#: Nothing of ours: what an installed hook needs is written in it.
_EDITORS: Final = {"PATH": "/usr/bin:/bin"}


class Canary:
    """One canary; its session is its name, for its event id is not known before it is captured.

    ``command`` is the very text of an editor's settings; without one the hook script is run.
    """

    def __init__(self, home: Home, command: str = "") -> None:
        self._home = home
        self._command = command
        self._sent_ns = 0
        self.session_id = f"canary-{random_hex(8)}"

    def send(self) -> float:
        """Run the hook as an editor would and return the milliseconds that it took.

        Raises BlueplaneError when it does not do its duty.
        """
        self._sent_ns = wall_ns()
        if self._command:
            return self._run(["/bin/sh", "-c", self._command], {})
        with as_file(shipped.find(shipped.HOOK)) as script:
            words = ["/bin/sh", str(script), INTERNAL.name, CANARY_HOOK]
            return self._run(words, {"BLUEPLANE_HOME": str(self._home.root)})

    def _run(self, words: Sequence[str], variables: Mapping[str, str]) -> float:
        payload = orjson.dumps({"session_id": self.session_id})
        hook = self._command or words[1]
        begin_s = monotonic_s()
        try:
            ended = subprocess.run(
                words,
                input=payload, env={**_EDITORS, **variables}, cwd="/", capture_output=True,
                timeout=HOOK_S, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            message = f"the hook {hook} cannot be run: {error}"
            raise BlueplaneError(message) from error
        if ended.returncode or ended.stdout or ended.stderr:
            message = f"the hook {hook} exits with {ended.returncode}, or prints something"
            raise BlueplaneError(message)
        return (monotonic_s() - begin_s) * 1000

    def row(self, reader: Reader) -> dict[str, Any] | None:
        """Return the canary's row of ``raw_traces`` once it is written."""
        rows = reader.traces("session_id", self.session_id, 1)
        return rows[0] if rows else None

    def await_row(self, reader: Reader, patience_s: float) -> dict[str, Any] | None:
        """Return the canary's row once it is written; None when it is not, so many seconds long."""
        deadline_s = monotonic_s() + patience_s
        while (row := self.row(reader)) is None and monotonic_s() < deadline_s:
            Flag().wait(_POLL_S)
        return row

    def letter(self, reader: Reader) -> Letter | None:
        """Return the canary's dead letter, if it became one."""
        letters = (each for each in reader.letters() if each.source == "canary")
        name = self.session_id.encode()
        return next((each for each in letters if name in (fields_of(each) or [])), None)

    def whereabouts(self, reader: Reader) -> str:
        """Say where a canary is that was not written, and what is in its way, as files tell."""
        letter = self.letter(reader)
        if letter is not None:
            return f"it is the dead letter {letter.message_id} ({letter.reason})"
        if self.origin() is not None:
            return "it waits in the spool, and the server does not take it; see `blueplane status`"
        if paused(self._home):
            return (
                "the hook did not take it, because capture is paused; `blueplane resume` ends that"
            )
        if self._home.full_flag.exists():
            return "the hook did not take it, because the spool is full (run/full exists)"
        return "it is neither in the spool nor in the database; see `blueplane logs`"

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


def road_text(hops: Sequence[Hop]) -> str:
    """Return the road of a canary in one line."""
    return " → ".join(f"{hop.hop} {milliseconds(hop.since_captured_ms)}" for hop in hops)
