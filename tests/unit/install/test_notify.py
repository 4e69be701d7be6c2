"""Notifications: a command of the system's, which nobody waits for."""

from collections.abc import Callable
from pathlib import Path

import pytest

from blueplane.install import notify
from helpers.waiting import wait_until

PATIENCE_S = 20.0


@pytest.fixture
def desktop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Return what makes a ``notify-send`` that writes its arguments, a line each, and then acts."""
    monkeypatch.setattr(notify.sys, "platform", "linux")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def make(then: str) -> Path:
        told = tmp_path / "told"
        program = tmp_path / "notify-send"
        program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {told}\n{then}\n')
        program.chmod(0o755)
        return told

    return make


def test_texts_are_arguments_when_a_desktop_is_there(desktop: Callable[[str], Path]) -> None:
    """No text is an option, a command or markup."""
    # Given
    told = desktop("exit 3")
    # When
    notifier = notify.Notifier()
    notifier("--title $(id)", "<b>1 & 2</b>")
    # Then
    assert notifier._child is not None
    assert notifier._child.wait(PATIENCE_S) == 3
    assert told.read_text() == "--\n--title $(id)\n&lt;b&gt;1 &amp; 2&lt;/b&gt;\n"


def test_nothing_waits_or_piles_up_when_the_desktop_hangs(desktop: Callable[[str], Path]) -> None:
    """A second notification is left out while the first one has not ended."""
    # Given a program that does not end
    told = desktop("exec sleep 60")
    notifier = notify.Notifier()
    notifier("one", "1")
    wait_until(told.exists, PATIENCE_S, "told")
    # When
    notifier("two", "2")
    # Then
    child = notifier._child
    assert child is not None
    assert child.poll() is None
    assert "two" not in told.read_text()
    # And the next one is shown when it has
    child.kill()
    child.wait(PATIENCE_S)
    notifier("three", "3")
    wait_until(lambda: "three" in told.read_text(), PATIENCE_S, "told again")
    assert notifier._child is not None
    notifier._child.kill()
    notifier._child.wait(PATIENCE_S)


def test_nothing_happens_when_there_is_no_desktop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine without the program is silent."""
    # Given
    monkeypatch.setattr(notify.sys, "platform", "linux")
    monkeypatch.setenv("PATH", str(tmp_path))
    notifier = notify.Notifier()
    # When
    notifier("title", "text")
    # Then
    assert notifier._child is None


def test_texts_are_no_part_of_the_script_when_it_is_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    """The script is the same whatever is said."""
    # Given
    monkeypatch.setattr(notify.sys, "platform", "darwin")
    # When
    command = notify._command('a" & b', "text")
    # Then
    assert command is not None
    assert command[-2:] == ['a" & b', "text"]
    assert 'a" & b' not in " ".join(command[:-2])
