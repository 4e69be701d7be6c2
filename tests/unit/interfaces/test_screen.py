"""The screen of a command that runs for long."""

import io
import os
import subprocess
import sys

import pytest

from blueplane.interfaces.cli.screen import Screen


class Terminal(io.StringIO):
    """A terminal that remembers what it got, until it is gone."""

    gone = False

    def isatty(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        if self.gone:
            raise OSError(5, "Input/output error")
        return super().write(text)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Give a terminal of 20 columns."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "20")
    return Terminal()


def test_line_stays_below_when_text_is_printed(terminal: Terminal) -> None:
    """Text goes above the line, which is drawn again below it, cut to the terminal's width."""
    # Given a screen with a line that is too long
    screen = Screen(terminal)
    screen.show("figures " * 5)
    # When text is printed and the screen is closed
    screen.write("a warning\n")
    screen.close()
    screen.say("the end")
    # Then the line was erased, drawn again, and left standing
    line = "figures figures fig"
    assert terminal.getvalue() == f"\r\x1b[K{line}\r\x1b[Ka warning\n{line}\nthe end\n"


def test_screen_is_silent_when_the_terminal_is_gone(terminal: Terminal) -> None:
    """A terminal that went away does not end the command that shows something there."""
    # Given a screen whose terminal is closed
    screen = Screen(terminal)
    screen.say("before")
    terminal.gone = True
    # When the command goes on showing
    screen.say("lost")
    screen.show("lost, too")
    terminal.gone = False
    screen.say("nobody is back")
    # Then nothing was raised, and nothing more is tried
    assert terminal.getvalue() == "before\n"


@pytest.mark.parametrize("term", ["dumb", None])
def test_screen_has_no_line_when_it_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, term: str | None
) -> None:
    """A pipe, a closed output and a terminal that knows no codes have no line that is redrawn."""
    # Given each of them / When a screen is made
    if term:
        monkeypatch.setenv("TERM", term)
    screen = Screen(Terminal() if term else io.StringIO())
    # Then it is not live; without any output nothing happens
    assert not screen.live
    assert not Screen(None).live
    Screen(None).say("nobody")


def test_server_imports_nothing_of_the_tables_when_it_is_loaded() -> None:
    """The server does not import what draws tables: it would keep 6 MB for nothing."""
    # Given a process that loads the command / When it lists what it imported
    script = "import sys, blueplane.interfaces.cli.serve; print(*sys.modules)"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", script]
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
    # Then rich is not among it
    assert {"rich", "blueplane.interfaces.cli.output"}.isdisjoint(ended.stdout.split())
