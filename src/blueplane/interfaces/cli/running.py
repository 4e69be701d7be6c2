"""The running server, as commands that start and stop it reach it.

Owns the questions over the control socket whose answer may be that nobody answers.
Promises that one which does not answer is no error.
Leaves what to do then to ``install/background.py``.
"""

from collections.abc import Mapping
from typing import Any, Final

from blueplane.errors import BlueplaneError
from blueplane.install.background import RunningServer
from blueplane.paths import Home
from blueplane.server.control import ask

#: Seconds that a server has to answer: while it starts it is asked again, and one that is to stop
#: then gets a signal.
_ANSWER_S: Final = 6.0


def server_of(home: Home) -> RunningServer:
    """Return the ways to the running server of a home."""
    return RunningServer(
        pid=lambda: _status(home).get("pid"),
        version=lambda: _status(home).get("version"),
        asks_to_stop=lambda: _stops(home),
    )


def _status(home: Home) -> Mapping[str, Any]:
    try:
        status: Mapping[str, Any] = ask(home.control_socket, "status", timeout_s=_ANSWER_S)
    except BlueplaneError:
        return {}
    return status


def _stops(home: Home) -> bool:
    try:
        ask(home.control_socket, "stop", timeout_s=_ANSWER_S)
    except BlueplaneError:
        return False
    return True
