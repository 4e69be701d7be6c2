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
from blueplane.interfaces.cli.canary import fly
from blueplane.interfaces.cli.figures import number
from blueplane.interfaces.cli.options import home_option
from blueplane.interfaces.cli.screen import Screen
from blueplane.logs import set_up
from blueplane.paths import Home
from blueplane.store.queries import reading

#: Exit code of a server that gave up, or that did not stop in order.
EXIT_GAVE_UP: Final = 70
#: Seconds between two lines in a pipe.
PIPE_S: Final = 5.0

_MB: Final = 1024 * 1024


@click.command()
@click.option("--canary", is_flag=True, help="Send one event down the whole road, show its hops.")
@click.option("--once", is_flag=True, help="Stop after the canary; exit 0 if it arrived, else 1.")
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
    """
    settings = load(home, os.environ)
    screen = Screen(sys.stdout)
    _set_up_log(home, settings, screen)
    daemon = Daemon(home, settings)
    daemon.handle_signals()
    daemon.start()
    stop = "Ctrl-C stops it" if screen.live else f"`kill {os.getpid()}` stops it"
    screen.say(f"blueplane {__version__} serves {home.root}; {stop}")
    try:
        arrived, code = _watch(daemon, screen, canary=canary or once, once=once)
    finally:
        clean = daemon.stop()
        screen.close()
    screen.say("stopped" if clean else f"stopped, but not in order; see {home.log_file}")
    if code == 0 and not clean:
        return EXIT_GAVE_UP
    return code or int(once and not arrived)


def _set_up_log(home: Home, settings: Settings, screen: Screen) -> None:
    """Log to the file, and warnings also to the terminal, if there is one: above the live line."""
    console = sys.stderr if sys.stderr is not None and sys.stderr.isatty() else None
    set_up(
        home.log_file, settings.log.level, settings.log.max_mb * _MB,
        screen if console and screen.live else console,
    )  # fmt: skip


def _watch(daemon: Daemon, screen: Screen, *, canary: bool, once: bool) -> tuple[bool, int]:
    """Watch over the server until it is to stop; return whether a canary arrived, and the code."""
    tick = (lambda: None) if once else _Progress(daemon, screen).tick
    with ThreadPoolExecutor(1, "canary") as thread:
        flight: Future[bool] | None = None
        if canary:
            flight = thread.submit(fly, daemon, screen)
            if once:
                flight.add_done_callback(lambda _: daemon.stopping.set())
        code = daemon.watch(tick)
        daemon.stopping.set()  # when it gave up, the canary need not wait any longer
    return flight is not None and flight.result(), code


class _Progress:
    """Figures of a running server, drawn at every tick on a terminal, now and then in a pipe."""

    def __init__(self, daemon: Daemon, screen: Screen) -> None:
        self._daemon = daemon
        self._screen = screen
        self._said = ""
        self._due_s = 0.0

    def tick(self) -> None:
        """Show the figures."""
        if self._screen.live:
            self._screen.show(self._figures())
        elif monotonic_s() >= self._due_s:
            figures = self._figures()
            if figures != self._said:
                self._screen.say(f"{iso_utc(wall_ms())}  {figures}")
            self._said = figures
            self._due_s = monotonic_s() + PIPE_S

    def _figures(self) -> str:
        redis = "ok" if self._daemon.stream.attached else "AWAY"
        store = "ok" if self._daemon.writer.store_error is None else "FAILS"
        return f"{self._counts()}  redis {redis}  store {store}"

    def _counts(self) -> str:
        try:
            with reading(self._daemon.home.database) as reader:
                snapshot = reader.balance()
        except StoreError:
            return "no figures"
        if snapshot is None:
            return "nothing captured yet"
        names = ("captured", "enqueued", "written", "in_flight", "open_dead_letters")
        body = snapshot.body
        shown = {"in_flight": "in flight", "open_dead_letters": "dead letters"}
        return "  ".join(f"{shown.get(name, name)} {number(body[name])}" for name in names)
