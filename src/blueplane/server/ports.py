"""Who has a port.

Owns the search for the program that listens on a port of this machine.
Promises a few words for people, or None where the system does not tell.
Leaves what to do about it to whoever wanted the port.
"""

from contextlib import suppress
from pathlib import PurePath

import psutil


def owner(port: int) -> str | None:
    """Return who listens on a TCP port, as ``another Blueplane server (pid 12)``."""
    with suppress(psutil.Error, OSError):  # other users' programs, or a system that does not tell
        for each in psutil.net_connections("tcp"):
            port_of_it = getattr(each.laddr, "port", None)  # an empty tuple, or an address
            if each.status == psutil.CONN_LISTEN and port_of_it == port and each.pid:
                return _name(each.pid)
    return None


def _name(pid: int) -> str:
    process = psutil.Process(pid)
    words = process.cmdline()
    if "serve" in words and any("blueplane" in PurePath(word).name for word in words):
        return f"another Blueplane server (pid {pid})"
    return f"{process.name()} (pid {pid})"
