"""Pauses: how they begin, change and end, and what nobody can do to them."""

import os
import stat
from contextlib import AbstractContextManager

import pytest

from blueplane.capture import pauses as module
from blueplane.capture import pausing
from blueplane.capture.pausing import Pause, pause, paused, pauses, resume, tidy
from blueplane.clock import NS_PER_MS, NS_PER_S, wall_ms
from blueplane.errors import HomeError
from blueplane.paths import Home
from helpers.road import turn_clock

HOUR_S = 3_600
YEAR_S = 365 * 86_400
FILES = ("paused", "paused-until")


def there(home: Home) -> list[str]:
    """Return which of the files are there, and whatever else looks like them."""
    return sorted(path.name for path in home.run.iterdir() if path.name.startswith("paused"))


def test_pause_lasts_until_it_is_ended_when_it_has_no_end(home: Home) -> None:
    """A pause without a duration is over when somebody says so, and only then."""
    # Given no pause
    assert paused(home) is None
    # When capture is paused / Then it is, for good, and its file is private
    assert pause(home, None) == paused(home) == Pause(None)
    assert there(home) == ["paused"]
    assert stat.S_IMODE((home.run / "paused").stat().st_mode) == 0o600
    # And it is over when it is ended, once
    assert (resume(home), resume(home), paused(home), there(home)) == (True, False, None, [])


def test_pause_is_over_when_its_time_is(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause with an end holds up to it, and costs nothing afterwards."""
    # Given a pause of an hour
    turned = turn_clock(monkeypatch)
    until_ms = pause(home, HOUR_S).until_ms
    assert until_ms is not None
    assert 0 <= wall_ms() + HOUR_S * 1000 - until_ms < 10_000
    # When it is nearly over / Then it holds and its file is kept
    turned.sleepless(HOUR_S - 30)
    assert (paused(home), tidy(home)) == (Pause(until_ms), False)
    # When it is over / Then it does not hold, and its file goes once
    turned.sleepless(60)
    assert (paused(home), resume(home)) == (None, False)
    pause(home, 1)
    turned.sleepless(2)
    assert (paused(home), tidy(home), tidy(home), there(home)) == (None, True, False, [])


def test_tidy_keeps_a_pause_when_it_is_made_longer_meanwhile(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pause that begins while the end of another is removed is not removed with it."""
    # Given a pause that is over, and a new one just before its file would go
    turned = turn_clock(monkeypatch)
    pause(home, 1)
    turned.sleepless(2)
    real = pausing._changing

    def changing(home: Home) -> AbstractContextManager[None]:
        monkeypatch.setattr(pausing, "_changing", real)
        pause(home, HOUR_S)
        return real(home)

    monkeypatch.setattr(pausing, "_changing", changing)
    # When the file of the first is to go / Then the second holds
    assert tidy(home) is False
    assert paused(home) is not None


@pytest.mark.parametrize("before", [None, 60, YEAR_S])
@pytest.mark.parametrize("after", [None, 1800, YEAR_S])
def test_the_later_word_counts_when_capture_is_paused_already(
    home: Home, before: int | None, after: int | None
) -> None:
    """A pause may be made longer, shorter, endless or finite: there is always one of them."""
    # Given a pause
    pause(home, before)
    # When there is to be another one
    found = pause(home, after)
    # Then only that is there
    assert paused(home) == found
    assert (found.until_ms is None) == (after is None)
    assert there(home) == [FILES[after is not None]]


@pytest.mark.parametrize("ending", ["resume", "tidy", "nothing"])
def test_pause_is_remembered_when_it_is_over(
    home: Home, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """What is dated in a pause is known to be, however it ended, and what comes after is not."""
    # Given a pause of an hour
    turned = turn_clock(monkeypatch)
    began_ms = wall_ms()
    pause(home, HOUR_S)
    assert pauses(home).cover(began_ms + 2 * HOUR_S * 1000)  # nobody knows yet that it ended
    # When it is over
    turned.sleepless(HOUR_S + 60)
    if ending == "tidy":
        assert tidy(home)
    if ending == "resume":
        resume(home)
    # Then
    inside = [began_ms - 60_000, began_ms + 60_000, began_ms + HOUR_S * 1000 + 30_000, wall_ms()]
    assert [pauses(home).cover(at_ms) for at_ms in inside] == [False, True, False, False]


@pytest.mark.parametrize("after", [None, 1800])
@pytest.mark.parametrize("before", [None, 1800])
def test_pauses_leave_no_gap_when_one_gives_way_to_another(
    home: Home, before: int | None, after: int | None
) -> None:
    """Every moment from the first pause to the end of the last is in one of them."""
    # Given
    pause(home, before)
    began_ms = wall_ms()
    # When
    pause(home, after)
    ended_ms = wall_ms()
    resume(home)
    # Then
    known = pauses(home)
    assert len(known.over) == 1
    assert all(map(known.cover, range(began_ms, ended_ms)))


def test_pause_holds_when_the_clock_is_set_back_in_it(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that was fast when the pause began does not let out what is dated rightly."""
    # Given
    pause(home, None)
    # When
    turn_clock(monkeypatch).sleepless(-HOUR_S)
    # Then
    assert pauses(home).cover(wall_ms())


def test_pauses_are_known_when_their_file_has_other_lines(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that says no pause is passed over, and the oldest go when there are many."""
    # Given
    monkeypatch.setattr(module, "MAX_SPANS", 2)
    home.pauses.write_bytes(b"\xff\n50 60\n10 20\n5\n15 30\n 1 2 3\n")
    assert pauses(home).over == ((10, 30), (50, 60))
    # When
    pause(home, None)
    resume(home)
    # Then
    assert pauses(home).over[0] == (50, 60)
    assert len(pauses(home).over) == 2


def test_pause_makes_the_home_when_there_is_none(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whoever pauses before the first server is heeded: home and run are made, and are private."""
    # Given no home
    home = Home(tmp_path_factory.mktemp("empty") / "deep" / "home")
    assert (paused(home), resume(home), tidy(home), home.root.exists()) == (None, False, False, 0)
    # When capture is paused
    pause(home, None)
    # Then it is
    assert paused(home) == Pause(None)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (home.root, home.run)] == [0o700] * 2


@pytest.mark.fault("G9")
@pytest.mark.parametrize("seconds", [None, HOUR_S])
def test_pause_replaces_a_link_when_one_stands_in_its_place(
    home: Home, seconds: int | None
) -> None:
    """A link under the name of a flag is neither followed nor believed."""
    # Given links to a file of somebody else and to nothing
    other = home.root / "other"
    other.touch()
    os.utime(other, (1, 1))
    (home.run / "paused-until").symlink_to(other)
    (home.run / "paused").symlink_to(home.root / "nothing")
    # When capture is paused
    pause(home, seconds)
    # Then it is, and the other file is as it was
    assert paused(home) is not None
    assert other.stat().st_mtime == 1
    assert not (home.root / "nothing").exists()
    assert not any((home.run / name).is_symlink() for name in there(home))


@pytest.mark.fault("F7")
@pytest.mark.parametrize("name", FILES)
def test_resume_says_what_to_remove_when_it_cannot(home: Home, name: str) -> None:
    """A directory in the place of a flag is not removed, but named."""
    # Given a directory that pauses
    (home.run / name).mkdir()
    end_ns = wall_ms() * NS_PER_MS + HOUR_S * NS_PER_S
    os.utime(home.run / name, ns=(end_ns, end_ns))
    assert paused(home) is not None
    # When it is to end / Then its path and the reason are there
    with pytest.raises(HomeError, match=rf"{name}: (Is a directory|Operation not permitted); "):
        resume(home)
