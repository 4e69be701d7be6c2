"""The end of the log, and what is added to it."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from blueplane import logs as written
from blueplane.interfaces.cli import logs as module
from blueplane.paths import Home


def line(number: int, component: str = "main", level: str = "INFO ") -> str:
    """Return a line as the server writes it."""
    return f"2026-11-20T06:16:35.{number % 1000:03d}Z {level} {component} looked n={number}"


def fill(path: Path, lines: Sequence[str]) -> None:
    """Make ``lines`` the whole content of a file."""
    path.write_text("".join(f"{each}\n" for each in lines))


def shown(home: Home, *arguments: str) -> list[str]:
    """Return the lines that the command prints."""
    ended = CliRunner().invoke(module.logs, ["--home", str(home.root), *arguments])
    assert ended.exception is None, ended.exception
    return ended.output.splitlines()


@pytest.fixture
def tail(home: Home) -> Iterator[module._Tail]:
    """Give the tail of a log of three lines."""
    fill(home.log_file, [line(1), line(2), line(3)])
    tail = module._Tail(home.log_file)
    yield tail
    tail.close()


@pytest.mark.parametrize("block", [7, 64, 65536])
@pytest.mark.parametrize("count", [0, 1, 5, 20, 49, 50, 51, 1000])
def test_logs_shows_the_last_lines_when_there_are_any_number(
    home: Home, monkeypatch: pytest.MonkeyPatch, count: int, block: int
) -> None:
    """The last lines come in their order, out of as many rotated files as it takes."""
    # Given fifty lines in four files, and blocks of several sizes
    monkeypatch.setattr(module, "BLOCK", max(block, 100))
    every = [line(number) for number in range(50)]
    for number, part in enumerate([every[40:], every[10:40], every[1:10], every[:1]]):
        ending = f".{number}" if number else ""
        fill(home.logs / f"server.log{ending}", part)
    # When some of them are asked for / Then they are the last ones
    assert shown(home, "-n", str(count)) == every[50 - min(count, 50) :]
    assert shown(home) == every[-20:]


def test_logs_reads_a_block_when_a_line_of_a_large_log_is_asked_for(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However large a log is, only its end is read."""
    # Given a log of a megabyte, and a count of what is read
    fill(home.log_file, [line(number) for number in range(20_000)])
    read: list[int] = []
    real = os.pread

    def pread(descriptor: int, size: int, offset: int) -> bytes:
        read.append(size)
        return real(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", pread)
    # When the last line is asked for
    assert shown(home, "-n", "1") == [line(19_999)]
    # Then one block was read
    assert sum(read) == module.BLOCK


@pytest.mark.parametrize(
    ("arguments", "numbers"),
    [
        (["--component", "writer"], [2, 4]),
        (["--level", "warning"], [3, 4]),
        (["--level", "error"], [4]),
        (["--level", "error", "--component", "main"], []),
        (["--component", "redis"], []),
        (["-n", "1", "--component", "writer"], [4]),
    ],
)
def test_logs_shows_what_fits_when_a_part_or_a_level_is_asked_for(
    home: Home, arguments: list[str], numbers: list[int]
) -> None:
    """Lines of other parts and lower levels are left out, and do not count."""
    # Given lines of two parts and all levels, and a line that is none of ours
    lines = {
        1: line(1, "main", "DEBUG"), 2: line(2, "writer"), 3: line(3, "main", "WARN "),
        4: line(4, "writer", "ERROR"), 5: line(5, "main"),
    }  # fmt: skip
    fill(home.log_file, [*lines.values(), "a foreign ERROR writer line"])
    # When some are asked for / Then it is those
    assert shown(home, *arguments) == [lines[number] for number in numbers]


def test_logs_names_the_parts_when_it_is_asked_for_none_of_them(home: Home) -> None:
    """A wrong name is an error, not a log without lines."""
    # Given a log / When a part is misspelt
    fill(home.log_file, [line(1, "writer")])
    ended = CliRunner().invoke(module.logs, ["--home", str(home.root), "--component", "writ"])
    # Then it says what there is
    assert ended.exit_code == 2
    assert "'writer'" in ended.output


def test_logs_reads_what_the_server_writes_when_it_writes_every_level(home: Home) -> None:
    """The lines of our own log are told apart by the words that it writes."""
    # Given a line of each level, in a log as the server sets it up
    written.set_up(home.log_file, "debug", 1_000_000, console=None)
    log = written.get("writer")
    for write in (log.debug, log.info, log.warning, log.error):
        write("looked")
    written.set_up(None, "info", 1, console=None)
    # When each level is asked for / Then there is one line fewer each time
    counts = [len(shown(home, "--level", level)) for level in module._LEVELS]
    assert counts == [4, 3, 2, 1]


def test_logs_escapes_what_steers_a_terminal_when_the_log_has_it(home: Home) -> None:
    """Control characters and bytes that are no text are shown, and not sent."""
    # Given a hostile log
    home.log_file.write_bytes(b"\x1b[2Jgone\r\n\xff\xfe\n\xe2\x80\xaeright\n")
    # When it is shown / Then it is harmless
    assert shown(home) == [r"\x1b[2Jgone\r", r"\\xff\\xfe".replace("\\\\", "\\"), r"\u202eright"]


@pytest.mark.parametrize(
    ("variables", "colours"),
    [({"TERM": "xterm"}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_logs_colours_the_level_only_when_a_terminal_takes_it(
    home: Home, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], *, colours: bool
) -> None:
    """Colour is for the word of the level, and only where a person can see it and wants it."""
    # Given a terminal
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    fill(home.log_file, [line(1, level="ERROR"), line(2)])
    # When the log is shown on it, and in a pipe
    monkeypatch.setattr(module, "coloured", lambda _, real=module.coloured: real(Terminal()))
    on_terminal = shown(home)
    # Then
    red = "\x1b[31m\x1b[1mERROR\x1b[0m"
    assert on_terminal == [line(1, level=red if colours else "ERROR"), line(2)]


class Terminal:
    """A standard output that is one."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("make", ["no log", "no directory"])
def test_logs_says_so_when_there_is_no_log(home: Home, make: str) -> None:
    """Where no server ever ran there is nothing to show, which is an answer and no bug."""
    # Given no log
    if make == "no directory":
        home.logs.rmdir()
    # When it is asked for
    ended = CliRunner().invoke(module.logs, ["--home", str(home.root)])
    # Then
    assert str(ended.exception) == f"{home.log_file}: no log yet; `blueplane start` makes one"


def test_logs_shows_the_rotated_file_when_there_is_no_new_one_yet(home: Home) -> None:
    """Between a rotation and the next line there is only the older file."""
    # Given
    fill(home.logs / "server.log.1", [line(1)])
    # When / Then
    assert shown(home) == [line(1)]


@pytest.mark.fault("G9")
def test_logs_refuses_when_the_log_is_a_link(home: Home) -> None:
    """A link in the place of the log is named and not followed."""
    # Given a link to a file of somebody else
    other = home.root / "other"
    fill(other, ["theirs"])
    home.log_file.symlink_to(other)
    # When the log is asked for
    ended = CliRunner().invoke(module.logs, ["--home", str(home.root)])
    # Then
    assert str(ended.exception).startswith(f"{home.log_file}: Too many levels of symbolic links; ")
    assert "theirs" not in ended.output


# --- following -----------------------------------------------------------------------------------


def test_tail_gives_each_line_once_when_lines_are_added(home: Home, tail: module._Tail) -> None:
    """What was there is not repeated, and a line is given when it is whole."""
    # Given a log with three lines
    assert list(tail.backwards()) == [line(3), line(2), line(1)]
    assert list(tail.added()) == []
    # When lines are added, one of them in two pieces
    with home.log_file.open("a") as log:
        log.write(f"{line(4)}\n{line(5)[:20]}")
        log.flush()
        first = list(tail.added())
        log.write(f"{line(5)[20:]}\n")
    # Then
    assert (first, list(tail.added()), list(tail.added())) == ([line(4)], [line(5)], [])


def test_tail_loses_no_line_when_the_log_is_rotated(home: Home, tail: module._Tail) -> None:
    """The last lines of the old file and the first of the new one are all given, in order."""
    # Given lines that come just before a rotation, and after it
    with home.log_file.open("a") as log:
        log.write(f"{line(4)}\n")
    home.log_file.rename(home.logs / "server.log.1")
    between = list(tail.added())
    with (home.logs / "server.log.1").open("a") as log:
        log.write(f"{line(5)}\n")
    fill(home.log_file, [line(6)])
    # When it is looked at / Then
    assert (between, list(tail.added())) == ([line(4)], [line(5), line(6)])
    assert list(tail.added()) == []


def test_tail_loses_no_line_when_the_rotation_comes_between_two_looks(
    home: Home, tail: module._Tail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that comes after the last look at a file, and before its rotation, is given."""
    # Given a log that grows and is rotated just as its end was reached
    real = module._Tail._moved

    def moved(tail: module._Tail) -> bool:
        if not (home.logs / "server.log.1").exists():
            with home.log_file.open("a") as log:
                log.write(f"{line(4)}\n")
            home.log_file.rename(home.logs / "server.log.1")
            fill(home.log_file, [line(5)])
        return real(tail)

    monkeypatch.setattr(module._Tail, "_moved", moved)
    # When it is looked at / Then
    assert list(tail.added()) == [line(4), line(5)]


def test_tail_goes_on_when_the_log_is_cut_removed_and_made_again(
    home: Home, tail: module._Tail
) -> None:
    """A log that somebody empties or removes is followed from its new beginning."""
    # Given a log that is cut
    fill(home.log_file, [line(4)])
    cut = list(tail.added())
    # When it is removed, and made again
    home.log_file.unlink()
    gone = list(tail.added())
    fill(home.log_file, [line(5)])
    # Then
    assert (cut, gone, list(tail.added())) == ([line(4)], [], [line(5)])


def test_tail_begins_when_the_log_does(home: Home) -> None:
    """A log that is not there yet can be followed."""
    # Given no log
    tail = module._Tail(home.log_file)
    assert (tail.found, list(tail.backwards()), list(tail.added())) == (False, [], [])
    # When the first line is written / Then it is given
    fill(home.log_file, [line(1)])
    assert list(tail.added()) == [line(1)]
    tail.close()


def test_tail_gives_a_line_in_pieces_when_it_has_no_end(home: Home, tail: module._Tail) -> None:
    """A file without line ends costs no more memory than a block or two."""
    # Given a megabyte without a line end
    with home.log_file.open("a") as log:
        log.write("x" * 1_000_000)
    # When it is read in either direction / Then no piece is large
    added = list(tail.added())
    again = module._Tail(home.log_file)
    before = [each for each in again.backwards() if each.startswith("x")]
    again.close()
    assert max(map(len, added + before)) < 3 * module.BLOCK
    assert sum(map(len, before)) == 1_000_000
