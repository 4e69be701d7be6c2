"""The line of ``blueplane statusline`` in a window: when it is asked for, shown and hidden."""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import blueplane
from blueplane.install import manifest, versions
from blueplane.install.manifest import Manifest
from blueplane.paths import Home
from helpers.waiting import has_ended, wait_until
from helpers.window import PATIENCE_S, Window, opened

SILENT = "Blueplane gives no answer: `blueplane usage`, in a terminal, says why."
#: How much faster than real the clock of a window runs that shall not be waited for.
HASTE = 100


def put_program(home: Home, script: str) -> Path:
    """Put a program of these lines of shell where an install of the home would."""
    place = home.root.parent / "programs"
    manifest.save(home, Manifest(version="1", programs=(Path("/gone"), place)))
    program = versions.current_program(place)
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o700)
    return program


def told(window: Window, command: str) -> None:
    """Tell a window a command, and wait until it was obeyed."""
    window.tell(command)
    while window.next("done") != command:
        pass


def asked(log: Path) -> list[str]:
    """Return what a program has noted in its log."""
    return log.read_text().split() if log.exists() else []


# --- what is shown -------------------------------------------------------------------------------


def test_line_is_what_the_program_says_when_there_is_one(
    installed: Home, environment: dict[str, str], tmp_path: Path
) -> None:
    """It is asked for the home of the window, outside the workspace, with nothing to read."""
    # Given a program that says how it was run
    put_program(installed, 'cat; printf "%s|%s|%s|%s\\nmore\\n" "$#" "$*" "$BLUEPLANE_HOME" "$PWD"')
    # When
    other = {**environment, "BLUEPLANE_HOME": "/x"}
    with opened(other, home=str(installed.root), directory=tmp_path) as window:
        line = window.next("line")
        window.close()
    # Then
    assert line["text"] == f"1|statusline|{installed.root}|/"
    assert line["command"] == "blueplane.showUsage"
    said, age, where = line["tooltip"].splitlines()
    assert said == f"Blueplane: {line['text']}"
    assert age.startswith("as of ")
    assert any(sign.isdigit() for sign in age)
    assert where == "From this machine alone; nothing leaves it."


def test_line_is_of_the_real_program_when_nothing_is_stored(
    installed: Home, environment: dict[str, str]
) -> None:
    """The words that the extension uses are those of our command."""
    # Given
    source = Path(blueplane.__file__).parents[1]
    put_program(installed, f"PYTHONPATH='{source}' exec '{sys.executable}' -m blueplane \"$@\"")
    # When
    with opened(environment) as window:
        line = window.next("line")
    # Then
    assert line["text"] == "blueplane: nothing stored yet"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (r"\033[31mred\033[0m\007 a\tb\r", "[31mred [0m a b"),
        (r"\342\200\256back\342\200\250wards", "back wards"),
        (r"$2.41 $(sync~spin) $(x)", "$2.41 $ (sync~spin) $ (x)"),
        ("é" * 100, "é" * 100),
        ("🌷" * 101, "🌷" * 99 + "…"),
        (r"\377\376", "\N{REPLACEMENT CHARACTER}" * 2),
    ],
)
def test_line_is_short_and_inert_when_the_program_says_anything(
    installed: Home, environment: dict[str, str], said: str, shown: str
) -> None:
    """No control character, direction, icon or excess of the program's gets into the bar."""
    # Given
    put_program(installed, f"printf '{said}\\n'")
    # When
    with opened(environment) as window:
        line = window.next("line")
    # Then
    assert line["text"] == shown


def no_note(text: str) -> Callable[[Home, Path], object]:
    """Make the note of the install one of this text."""
    return lambda home, _: manifest.manifest_file(home).write_text(text)


def pipe(home: Home, _: Path) -> None:
    """Make the note of the install a pipe."""
    manifest.manifest_file(home).unlink()
    os.mkfifo(manifest.manifest_file(home))


NO_LINE: dict[str, Callable[[Home, Path], object]] = {
    "no note": lambda home, _: manifest.manifest_file(home).unlink(),
    "no JSON": no_note("{"),
    "no record": no_note("null"),
    "no program in it": no_note('{"programs": []}'),
    "a number in it": no_note('{"programs": [7]}'),
    "a relative path": lambda home, program: no_note(
        json.dumps({"programs": [str(program.parents[1]).removeprefix("/")]})
    )(home, program),
    "no path": no_note('{"programs": ["/a\\u0000b"]}'),
    "a pipe": pipe,
    "no program": lambda _, program: program.unlink(),
    "no right": lambda _, program: program.chmod(0o600),
    "no program's format": lambda _, program: program.write_bytes(b"\x7fELF no program"),
    "an exit code": lambda _, program: program.write_text("#!/bin/sh\necho line; exit 3\n"),
    "a signal": lambda _, program: program.write_text("#!/bin/sh\necho line; kill -9 $$\n"),
    "nothing said": lambda _, program: program.write_text("#!/bin/sh\n"),
    "an empty line": lambda _, program: program.write_text("#!/bin/sh\nprintf ' \\007\\nx'\n"),
    "no end": lambda _, program: program.write_text("#!/bin/sh\nexec yes\n"),
}


@pytest.mark.parametrize("why", NO_LINE)
def test_line_is_hidden_when_the_program_gives_none(
    installed: Home, environment: dict[str, str], why: str
) -> None:
    """It goes when the program goes or fails, and comes again with it."""
    # Given a window with a line
    program = put_program(installed, "echo line")
    with opened(environment) as window:
        assert window.next("line")["text"] == "line"
        # When
        NO_LINE[why](installed, program)
        window.tell("focus")
        # Then
        assert window.next("line") is None
        # And when
        manifest.manifest_file(installed).unlink(missing_ok=True)
        put_program(installed, "echo again")
        window.tell("focus")
        # Then
        assert window.next("line")["text"] == "again"
        window.close()


# --- when it is asked ----------------------------------------------------------------------------


def test_program_is_asked_again_when_time_goes_by(
    installed: Home, environment: dict[str, str], tmp_path: Path
) -> None:
    """A window that is left alone asks at every half minute of its clock."""
    # Given a program that notes each question, also when its time is too short for an answer
    log = tmp_path / "log"
    put_program(installed, f"echo began >>'{log}'")
    # When
    with opened(environment, haste=HASTE):
        # Then
        wait_until(lambda: len(asked(log)) > 2, PATIENCE_S, "three questions")


def test_program_is_asked_once_at_a_time_when_it_is_slow(
    installed: Home, environment: dict[str, str], tmp_path: Path
) -> None:
    """Whoever comes back to the window many times meanwhile starts no second program."""
    # Given a program that waits until somebody writes into a pipe
    gate, log = tmp_path / "gate", tmp_path / "log"
    os.mkfifo(gate)
    put_program(installed, f"echo began >>'{log}'; read -r word <'{gate}'; echo $word")
    with opened(environment) as window:
        wait_until(lambda: asked(log), PATIENCE_S, "a question")
        # When
        for _ in range(5):
            told(window, "focus")
            window.next("item")  # which a look at the server has brought
        # Then
        gate.write_text("open\n")
        assert window.next("line")["text"] == "open"
        assert asked(log) == ["began"]


def test_program_is_ended_when_it_hangs(
    installed: Home, environment: dict[str, str], tmp_path: Path
) -> None:
    """One that neither answers nor heeds a signal is killed, and its line hidden."""
    # Given
    log = tmp_path / "log"
    put_program(installed, f"trap '' TERM; echo $$ >>'{log}'; exec sleep 60")
    # When
    with opened(environment, haste=HASTE) as window:
        wait_until(lambda: asked(log), PATIENCE_S, "a question")
        pid = int(asked(log)[0])
        # Then
        assert window.next("line") is None
        wait_until(lambda: has_ended(pid), PATIENCE_S, "the end of the program")


def test_line_is_given_up_when_a_child_of_the_program_hangs(
    installed: Home, environment: dict[str, str], tmp_path: Path
) -> None:
    """What holds the program's output open holds up no later question."""
    # Given a program that leaves somebody behind
    log = tmp_path / "log"
    put_program(installed, f"sleep 60 & echo $! >>'{log}'")
    with opened(environment, haste=HASTE) as window:
        # When / Then
        try:
            assert window.next("line") is None
            assert window.next("line") is None
        finally:
            for pid in asked(log):
                os.kill(int(pid), signal.SIGKILL)


def test_window_closes_at_once_when_the_program_hangs(
    installed: Home, environment: dict[str, str], tmp_path: Path
) -> None:
    """The program that is asked ends with the window, without a word."""
    # Given
    log = tmp_path / "log"
    put_program(installed, f"echo $$ >>'{log}'; exec sleep 60")
    with opened(environment, haste=0.01) as window:  # so that no limit in time ends it
        wait_until(lambda: asked(log), PATIENCE_S, "a question")
        # When
        window.close()
        # Then
        pid = int(asked(log)[0])
        wait_until(lambda: has_ended(pid), PATIENCE_S, "the end of the program")


# --- turning it off, and the page behind it ------------------------------------------------------


def test_program_is_not_asked_when_the_line_is_turned_off(
    installed: Home, environment: dict[str, str], tmp_path: Path
) -> None:
    """The setting hides the line at once and has nothing run; it comes back with it."""
    # Given
    log = tmp_path / "log"
    put_program(installed, f"echo began >>'{log}'; echo line")
    with opened(environment, statusLine=False) as window:
        assert window.next("line") is None
        assert asked(log) == []
        # When it is turned on, and off / Then
        window.tell("on")
        assert window.next("line")["text"] == "line"
        window.tell("off")
        assert window.next("line") is None
        assert asked(log) == ["began"]


def test_line_stays_hidden_when_it_is_turned_off_meanwhile(
    installed: Home, environment: dict[str, str], tmp_path: Path
) -> None:
    """An answer that comes after the setting changed is not shown."""
    # Given a program that waits until somebody writes into a pipe
    gate, log = tmp_path / "gate", tmp_path / "log"
    os.mkfifo(gate)
    put_program(installed, f"echo began >>'{log}'; read -r word <'{gate}'; echo $word")
    with opened(environment) as window:
        wait_until(lambda: asked(log), PATIENCE_S, "a question")
        # When
        told(window, "off")
        gate.write_text("open\n")
        # Then
        assert window.next("line") is None


def test_click_opens_the_page_of_usage_when_the_program_has_one(
    installed: Home, environment: dict[str, str]
) -> None:
    """The command of the line shows what the program says of usage."""
    # Given
    program = put_program(installed, 'printf "%s\\nof today\\n" "$*"')
    with opened(environment) as window:
        command = window.next("line")["command"]
        # When
        window.tell(command)
        # Then
        assert window.next("page") == "usage\nof today\n"
        # And when it fails / Then
        program.unlink()
        window.tell(command)
        assert window.next("message") == SILENT
        window.close()
