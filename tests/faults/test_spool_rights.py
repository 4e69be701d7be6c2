"""Files of the spool that the system does not let us move, open or name: the others flow."""

import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Event as Flag
from typing import Any

import pytest

from blueplane.capture.hook_event import HookReader
from blueplane.capture.sanitise import Sanitiser
from blueplane.capture.spool import Spooler
from blueplane.config import SpoolSettings
from blueplane.errors import QueueError
from blueplane.event import Event, Settlement
from blueplane.paths import Home
from helpers.issued import Issued
from helpers.waiting import wait_until

PATIENCE_S = 20.0


class Road:
    """The rest of the program: an intake and records that take everything and remember it."""

    def __init__(self) -> None:
        self.open = True
        self.events: list[Event] = []
        self.outcomes: list[Settlement] = []

    def emit(self, events: Sequence[Event], _stopping: Flag) -> None:
        """Take events."""
        self.events += events

    def recover(self, error: QueueError) -> None:
        """Mend nothing: nothing breaks here."""

    def settled(self, _events: Sequence[Event]) -> set[str]:
        """Know of no event."""
        return set()

    def settle(self, outcomes: Sequence[Settlement]) -> None:
        """Take outcomes."""
        self.outcomes += outcomes

    def refused_offset(self) -> int:
        """Know of no refusal."""
        return 0

    def refuse(self, _offset: int, counts: Mapping[str, int]) -> None:
        """Expect none."""
        assert not counts


@pytest.fixture
def road() -> Road:
    """Give the rest of the program."""
    return Road()


@pytest.fixture
def spooler(home: Home, road: Road) -> Iterator[Spooler]:
    """Give a spooler, not started."""
    reader = HookReader(Sanitiser("strict", b"0" * 32, hash_project_names=False), lambda _: False)
    spooler = Spooler(home, SpoolSettings(256, 7), reader, road, road)
    yield spooler
    spooler.stop()
    assert spooler.join(PATIENCE_S)


def refusing(real: Callable[..., Any], name: str, code: int) -> Callable[..., Any]:
    """Return a system call that fails for whatever ends in ``name``."""

    def call(path: Any, *arguments: Any, **options: Any) -> Any:
        if os.fsdecode(path).endswith(name):
            raise OSError(code, os.strerror(code))
        return real(path, *arguments, **options)

    return call


@pytest.mark.parametrize("call", ["rename", "chmod"])
@pytest.mark.fault("F5")
def test_the_others_flow_when_a_bad_file_cannot_be_set_aside(
    spooler: Spooler, road: Road, issued: Issued, monkeypatch: pytest.MonkeyPatch, call: str,
) -> None:  # fmt: skip
    """A file that only another user may move stays where it is; it stops nobody, and is kept."""
    # Given a foreign file that cannot be moved, or whose rights cannot be changed
    monkeypatch.setattr(os, call, refusing(getattr(os, call), "stranger", errno.EPERM))
    (issued.home.spool / "stranger").write_bytes(b"not ours to move")
    # When events come before and after it
    issued.issue(10)
    spooler.start()
    wait_until(lambda: len(road.events) == 10, PATIENCE_S, "the first are taken")
    issued.issue(10)
    wait_until(lambda: len(road.events) == 20, PATIENCE_S, "the others are taken")
    # Then the spooler lives, the file is counted once and exists, here or there
    assert spooler.alive()
    assert [outcome.rule for outcome in road.outcomes] == ["foreign-file"]
    moved = list(issued.home.quarantine.iterdir())
    assert len(moved) + (issued.home.spool / "stranger").exists() == 1


@pytest.mark.fault("F5")
def test_nothing_is_deleted_when_the_quarantine_is_gone(
    spooler: Spooler, road: Road, issued: Issued,
) -> None:  # fmt: skip
    """A bad file stays in the spool when there is no quarantine to move it to."""
    # Given a running spooler
    issued.issue(5)
    spooler.start()
    wait_until(lambda: len(road.events) == 5, PATIENCE_S, "the events are taken")
    # When the quarantine disappears, and a foreign file comes, and events after it
    issued.home.quarantine.rmdir()
    (issued.home.spool / "stranger").write_bytes(b"what am I?")
    wait_until(lambda: road.outcomes, PATIENCE_S, "it is counted")
    issued.issue(5)
    wait_until(lambda: len(road.events) == 10, PATIENCE_S, "later events are taken")
    # Then it is still there
    assert spooler.alive()
    assert (issued.home.spool / "stranger").read_bytes() == b"what am I?"


@pytest.mark.fault("F5", "C1")
def test_events_are_taken_when_no_flag_can_be_made(
    spooler: Spooler, road: Road, issued: Issued, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A full disk on which neither lease nor flag can be made stops no event, and no thread."""
    # Given a disk that takes no new file, and no quarantine
    monkeypatch.setattr(Path, "touch", refusing(Path.touch, "lease", errno.ENOSPC))
    issued.home.quarantine.rmdir()
    # When events come / Then they are taken, and the spooler lives
    issued.issue(5)
    spooler.start()
    wait_until(lambda: len(road.events) == 5, PATIENCE_S, "the events are taken")
    assert spooler.alive()


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
@pytest.mark.fault("F5")
def test_events_wait_when_the_system_runs_short(
    spooler: Spooler, road: Road, issued: Issued, monkeypatch: pytest.MonkeyPatch, code: int,
) -> None:  # fmt: skip
    """A file that cannot be opened for want of descriptors or memory is tried again later."""
    # Given a system that has no descriptor left for files of the spool
    short = Flag()
    real = os.open

    def scarce(path: Any, *arguments: Any, **options: Any) -> int:
        if options.get("dir_fd") is not None:
            short.set()
            raise OSError(code, os.strerror(code))
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "open", scarce)
    # When events come, and later there are descriptors again
    issued.issue(20)
    spooler.start()
    wait_until(short.is_set, PATIENCE_S, "a file could not be opened")
    assert len(issued.spool()) == 20
    monkeypatch.setattr(os, "open", real)
    # Then all of them are taken, none is in quarantine
    wait_until(lambda: len(road.events) == 20, PATIENCE_S, "all are taken")
    assert spooler.alive()
    assert road.outcomes == []
