"""How the server is, in a word.

Owns when a look at health that is stored says nothing about now.
Promises to ask no socket, so that the word is there at once, and to import little.
Leaves all that there is to say of health to ``health.py``.
"""

from typing import Final

from blueplane.figures import UNKNOWN
from blueplane.lock import is_running
from blueplane.paths import Home
from blueplane.store.reading import Reads

DOWN: Final = "down"
#: Milliseconds for which a stored look is of now.
_FRESH_MS: Final = 90_000


def server_word(home: Home, reader: Reads, now_ms: int) -> str | None:
    """Return the colour of health, or ``DOWN``; None when nobody looked lately."""
    if not is_running(home):
        return DOWN
    as_of_ms, colour = reader.colour()
    return colour if colour and now_ms - as_of_ms < _FRESH_MS else None


def server_text(word: str | None) -> str:
    """Say it to people."""
    return "server down" if word == DOWN else f"health {word or UNKNOWN}"
