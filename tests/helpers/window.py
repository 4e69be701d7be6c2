"""A window of Cursor with our extension in it, without Cursor: Node, and a stand-in for its API.

Owns the process (``extension/test/window.js``) and what it shows.
Promises that nothing of it runs after the block. Without Node a test is skipped, or fails where CI
is set.
Leaves what must hold to the tests.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from typing import Any

from blueplane.capture.handoff import split_trailer
from blueplane.paths import Home
from helpers.redis_server import missing

SCRIPT = Path(__file__).parents[2] / "extension" / "test" / "window.js"
#: Seconds; generous, for only a failure takes that long.
PATIENCE_S = 30.0


class Window:
    """One window; it was told to open, and tells what it shows line by line."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process
        self._shown: Queue[dict[str, Any]] = Queue()
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def next(self, kind: str) -> Any:
        """Return the next of a kind: ``item``, ``line``, ``message``, ``page`` or ``done``."""
        while True:
            try:
                shown = self._shown.get(timeout=PATIENCE_S)
            except Empty:
                message = f"the window shows no {kind}; it ended with {self.process.poll()}"
                raise AssertionError(message) from None
            if kind in shown:
                return shown[kind]

    def tell(self, command: str) -> None:
        """Tell it a command and do not wait."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n".encode())
        self.process.stdin.flush()

    def close(self) -> None:
        """Close the window in order; the process must end by itself and without a complaint."""
        self.tell("close")
        while self.next("done") != "close":
            pass  # of commands before
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(PATIENCE_S) == 0

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._shown.put(json.loads(line))


@contextmanager
def opened(
    environment: Mapping[str, str],
    *,
    scheme: str = "cursor",
    folders: Sequence[tuple[str, str]] | None = None,
    directory: Path = Path("/"),
    haste: float = 1,
    **settings: Any,
) -> Iterator[Window]:
    """Open a window on ``folders`` (scheme and path), with ``blueplane.*`` set to ``settings``.

    ``directory`` is the one that the editor happens to be in; its clock runs ``haste`` times as
    fast.
    """
    node = shutil.which("node")
    if node is None:
        missing("node")
    told = json.dumps({"scheme": scheme, "folders": folders, "settings": settings, "haste": haste})
    process = subprocess.Popen(
        [node, SCRIPT, told], env=dict(environment), cwd=directory, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    window = Window(process)
    try:
        assert window.next("done") == "activate"
        yield window
    finally:
        process.kill()
        process.wait()
        window._reader.join()
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            with suppress(BrokenPipeError):  # nobody reads any more
                stream.close()


def install_sign(home: Home) -> None:
    """Make a home one that was installed, as far as the extension looks."""
    (home.hooks / "blueplane-hook").touch()


def waiting(home: Home) -> list[str]:
    """Return the names of the files in the spool."""
    return [path.name for path in home.spool.iterdir()]


def events(home: Home) -> list[tuple[str, str, dict[str, Any]]]:
    """Return what is in the spool, oldest first: platform, hook and payload of whole files."""
    found = []
    # The clock of a file system may stand still for milliseconds.
    order = {path: (path.stat().st_mtime_ns, int(path.suffix[1:])) for path in home.spool.iterdir()}
    for path in sorted(order, key=lambda each: order[each]):
        parts = split_trailer(path.read_bytes())
        assert parts is not None, f"{path.name} is not whole"
        found.append((parts[1], parts[2], json.loads(parts[0])))
    return found
