"""``install extension`` with a stand-in for Cursor's command, and taking it out again."""

import json
import shlex
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from blueplane import __version__
from blueplane.install.extension import IDENTITY
from helpers.user import User, user

LEFT_OUT, UNREACHABLE = 2, 4
#: Does with Cursor's notes what Cursor does: ARGUMENT is the package, or the name of an extension.
CURSOR = """\
import json, sys, zipfile
from pathlib import Path

verb, argument, *rest = sys.argv[1:]
extensions = Path.home() / ".cursor" / "extensions"
extensions.mkdir(parents=True, exist_ok=True)
notes = extensions / "extensions.json"
kept = [{"identifier": {"id": "other.thing"}, "version": "1.0.0"}, {"odd": 1}, 7]
if verb == "--install-extension":
    assert rest == ["--force"], rest
    package = json.loads(zipfile.ZipFile(argument).read("extension/package.json"))
    name = f"{package['publisher']}.{package['name']}"
    kept.append({"identifier": {"id": name}, "version": package["version"]})
else:
    assert verb == "--uninstall-extension" and argument == "blueplane.blueplane", sys.argv
notes.write_text(json.dumps(kept))
"""


@pytest.fixture
def somebody(tmp_path: Path) -> Iterator[User]:
    """Give a user of Cursor, whose command is not on the PATH yet."""
    with user(tmp_path / "user") as somebody:
        yield somebody


def have_command(somebody: User, text: str = CURSOR) -> Path:
    """Put a command ``cursor`` where the user's shell finds it."""
    program = somebody.directory / "cursor.py"
    program.write_text(text)
    command = somebody.command.parent / "cursor"
    command.parent.mkdir(parents=True, exist_ok=True)
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {program} "$@"\n')
    command.chmod(0o755)
    return command


def noted(somebody: User) -> list[str]:
    """Return the versions of ours that Cursor has noted."""
    notes = json.loads((somebody.directory / ".cursor/extensions/extensions.json").read_text())
    entries = [each for each in notes if isinstance(each, dict) and "identifier" in each]
    return [each["version"] for each in entries if each["identifier"]["id"] == IDENTITY]


def test_extension_is_installed_and_taken_out(somebody: User) -> None:
    """Cursor's command installs the package, once; an uninstall has it removed, and the file."""
    # Given
    command = have_command(somebody)
    package = somebody.home.extension_file
    # When
    first = somebody.run("install", "extension", "--yes")
    second = somebody.run("install", "extension", "--yes")
    # Then
    assert (first.code, first.err) == (0, "")
    assert f"Binary files /dev/null and {package} differ" in first.out
    assert f"have {command} install it" in first.out
    assert "nothing to do" in second.out
    assert zipfile.is_zipfile(package)
    assert [path for path in somebody.home.root.rglob("*") if path.lstat().st_mode & 0o077] == []
    assert noted(somebody) == [__version__]
    # And
    removed = somebody.run("uninstall", "--yes")
    assert (removed.code, removed.err) == (0, "")
    assert noted(somebody) == []
    assert not package.exists()
    # And a second uninstall leaves alone what it did not install
    have_command(somebody, "raise SystemExit('nobody wants this')")
    assert somebody.run("uninstall", "--yes").code == 0


def test_whole_install_brings_the_extension_up_to_date_only_where_it_is(somebody: User) -> None:
    """`install` leaves Cursor's extensions alone, until the extension was asked for once."""
    # Given
    have_command(somebody)
    # When / Then
    plan = somebody.run("install", "--dry-run", "--no-service")
    assert "extension for Cursor" not in plan.out
    # And after it was asked for, an older one is replaced
    assert somebody.run("install", "extension", "--yes").code == 0
    notes = somebody.directory / ".cursor/extensions/extensions.json"
    notes.write_text(notes.read_text().replace(__version__, "0.0.1"))
    assert somebody.run("install", "--yes", "--no-service").code == 0
    assert noted(somebody) == [__version__]


@pytest.mark.parametrize("way", ["none", "an AppImage"])
def test_install_says_how_when_cursor_has_no_command(somebody: User, way: str) -> None:
    """Without a command, or with one that would open a window, a person is told what to do."""
    # Given
    if way == "an AppImage":
        command = have_command(somebody)
        image = somebody.directory / "Cursor-1.7.AppImage"
        command.rename(image)
        command.symlink_to(image)
    # When
    ended = somebody.run("install", "extension", "--yes")
    # Then
    assert ended.code == 0
    assert "Extensions: Install from VSIX..." in ended.out
    assert str(somebody.home.extension_file) in ended.out
    assert somebody.home.extension_file.is_file()
    # And what a person put in, a person is told to take out
    notes = somebody.directory / ".cursor" / "extensions" / "extensions.json"
    notes.parent.mkdir()
    entry = {"identifier": {"id": IDENTITY}, "version": __version__}
    notes.write_text(json.dumps([entry]))
    assert "remove the extension Blueplane" in somebody.run("uninstall", "--yes").out


@pytest.mark.parametrize("text", ["raise SystemExit('no room')", "print('no room')"])
def test_install_fails_when_cursor_does_not_take_it(somebody: User, text: str) -> None:
    """A command that fails, whatever its exit code, is one line with what to do."""
    # Given
    have_command(somebody, text)
    # When
    ended = somebody.run("install", "extension", "--yes")
    # Then
    assert ended.code != 0
    assert "no room" in ended.err
    assert "Install from VSIX" in ended.err


def test_install_names_the_setting_when_the_home_is_not_the_usual(
    somebody: User, tmp_path: Path
) -> None:
    """Cursor does not see the environment of a shell: it is told of another home."""
    # Given
    other = tmp_path / "other"
    # When
    ended = somebody.run("install", "extension", "--yes", "--home", str(other))
    # Then
    assert f"set `blueplane.home` in Cursor's settings to {other}" in ended.out
