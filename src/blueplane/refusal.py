"""Why a hook does not take an event.

Owns the letters that hooks append to ``run/refused``, one for each event, and the words for them.
Promises that a letter and its word keep their meaning: both are stored, and the hook is a script.
Leaves refusing to the hook and its twin, ``capture/handoff.py``, and counting to the pipeline.
"""

from enum import StrEnum


class Refusal(StrEnum):
    """A reason; the value is its letter."""

    #: A platform or hook name that is none.
    NO_NAME = "x"
    SPOOL_FULL = "f"
    #: Capture is paused.
    PAUSED = "p"
    #: No server has renewed the lease.
    LEASE = "l"
    #: No file could be made in the spool.
    NO_FILE = "c"

    @property
    def word(self) -> str:
        """How it is shown."""
        return self.name.lower()
