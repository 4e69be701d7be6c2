"""``blueplane serve``: the server in the foreground.

Owns what a person sees of it: how it starts and stops, a live line, and the exit code.
Promises one line of figures a second on a terminal, and in a pipe one when they changed.
Leaves the server to ``daemon.py`` and the canary to ``canary.py``.
"""

import os
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import click

from blueplane import __version__
from blueplane.clock import iso_utc, monotonic_s, wall_ms
from blueplane.config import Settings, load
from blueplane.daemon import Daemon
from blueplane.errors import StoreError
from blueplane.figures import number
from blueplane.install.background import output_file
from blueplane.interfaces.cli.canary import fly
from blueplane.interfaces.cli.options import home_option
from blueplane.interfaces.cli.screen import Screen
from blueplane.logs import set_up
from blueplane.paths import Home
from blueplane.store.queries import reading

#: Exit code of a server that gave up, or that did not stop in order.
EXIT_GAVE_UP: Final = 70
#: Seconds between two lines in a pipe.
PIPE_S: Final = 5.0

#: The figures of a running server: what they are called, and their names in the balance.
_COUNTS: Final = {
    "captured": "captured",
    "enqueued": "enqueued",
    "written": "written",
    "in flight": "in_flight",
    "dlq": "open_dead_letters",
}
_STDOUT: Final = 1


@click.command()
@click.option("--canary", is_flag=True, help="Send one event down the whole road, show its hops.")
@click.option("--once", is_flag=True, help="Stop after a canary; exit 0 if it arrived, else 1.")
@home_option
def serve(home: Home, *, canary: bool, once: bool) -> int:
    """Run the server in the foreground, until Ctrl-C or SIGTERM.

    It takes what the hooks leave in the spool and writes it to the database. Only one server can
    run in a home. A second signal ends it at once; nothing is lost by that, either.

    \b
    Exit codes:
      0   stopped in order (with --once: the canary arrived, both laws closed)
      1   with --once: the canary did not arrive
      2   the configuration is wrong
      3   another server runs in this home
      4   the home directory or the database cannot be used
      70  gave up after its threads died too often, or did not stop in time
    """  # noqa: D301 - click wants the character, not its name
    if _in_background(home):
        os.ftruncate(_STDOUT, 0)  # launchd only ever adds to it, at every try
    settings = load(home, os.environ)
    screen = Screen(sys.stdout)
    _set_up_log(home, settings, screen)
    daemon = Daemon(home, settings)
    daemon.handle_signals()
    daemon.start()
    screen.say(f"blueplane {__version__} serves {home.root}; {_stops(screen, once=once)}")
    progress = _Progress(daemon, screen, quiet=once or _in_background(home))
    try:
        arrived, code = _watch(daemon, screen, progress, canary=canary or once, once=once)
    finally:
        clean = daemon.stop()
        progress.show()
        screen.close()
    screen.say(_ended(home, code, clean=clean))
    if code == 0 and not clean:
        return EXIT_GAVE_UP
    return code or int(once and not arrived)


def _in_background(home: Home) -> bool:
    """Say whether our output goes to the file that nobody reads along, and nobody cuts."""
    try:
        return os.path.samestat(os.fstat(_STDOUT), output_file(home).stat())
    except OSError:  # closed, or no such file
        return False


def _stops(screen: Screen, *, once: bool) -> str:
    if once:
        return "it stops after the canary"
    return "Ctrl-C stops it" if screen.live else f"`kill {os.getpid()}` stops it"


def _ended(home: Home, code: int, *, clean: bool) -> str:
    if code:
        return f"gave up, its threads died too often; see {home.log_file}"
    return "stopped" if clean else f"stopped, but not in order; see {home.log_file}"


def _set_up_log(home: Home, settings: Settings, screen: Screen) -> None:
    """Log to the file, and warnings also to the terminal, if there is one: above the live line."""
    console = sys.stderr if sys.stderr is not None and sys.stderr.isatty() else None
    set_up(
        home.log_file, settings.log.level, settings.log.max_bytes,
        screen if console and screen.live else console, settings.log.levels,
    )  # fmt: skip


class _Progress:
    """The figures of a server: at every tick on a terminal, in a pipe now and then."""

    def __init__(self, daemon: Daemon, screen: Screen, *, quiet: bool) -> None:
        self._daemon = daemon
        self._screen = screen
        self._quiet = quiet
        self._said = ""
        self._due_s = 0.0

    def tick(self) -> None:
        """Show the figures, if it is time."""
        if self._screen.live or monotonic_s() >= self._due_s:
            self._due_s = monotonic_s() + PIPE_S
            self.show()

    def show(self) -> None:
        """Show the figures, in a pipe only if they changed."""
        if self._quiet:
            return
        figures = self._figures()
        if self._screen.live:
            self._screen.show(figures)
        elif figures != self._said:
            self._screen.say(f"{iso_utc(wall_ms())}  {figures}")
        self._said = figures

    def _figures(self) -> str:
        if self._daemon.stopping.is_set():
            return self._counts()
        redis = "ok" if self._daemon.stream.attached else "AWAY"
        store = "" if self._daemon.writer.store_error is None else "  database FAILS"
        return f"{self._counts()}  redis {redis}{store}"

    def _counts(self) -> str:
        try:
            with reading(self._daemon.home.database) as reader:
                snapshot = reader.balance()
        except StoreError:
            return "no figures"
        if snapshot is None:
            return "nothing captured yet"
        return "  ".join(f"{label} {number(snapshot.body[key])}" for label, key in _COUNTS.items())


def _watch(
    daemon: Daemon, screen: Screen, progress: _Progress, *, canary: bool, once: bool
) -> tuple[bool, int]:
    """Watch over the server until it is to stop; return whether a canary arrived, and the code."""
    with ThreadPoolExecutor(1, "canary") as thread:
        flight: Future[bool] | None = None
        if canary:
            flight = thread.submit(fly, daemon, screen)
            if once:
                flight.add_done_callback(lambda _: daemon.stopping.set())
        code = daemon.watch(progress.tick)
        daemon.stopping.set()  # when it gave up, the canary need not wait any longer
    return flight is not None and flight.result(), code
