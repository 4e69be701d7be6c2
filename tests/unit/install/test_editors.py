import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from blueplane.install.editors import Editor, Machine, find_editor, find_editors, first_version


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Give a machine on which there is nothing but a home and a directory on the PATH."""
    (tmp_path / "user").mkdir()
    (tmp_path / "bin").mkdir()
    return Machine(tmp_path / "user", {"PATH": f"{tmp_path}/bin:relative:"}, tmp_path)


def write(path: Path, text: str, mode: int = 0o644) -> Path:
    """Write a file and the directories above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def program(path: Path, text: str = "#!/bin/sh\nexit 1\n") -> Path:
    """Write a program."""
    return write(path, text, 0o755)


def product(directory: Path, version: object, name: str = "cursor") -> Path:
    """Write what describes an application as Cursor and its relatives have it."""
    text = json.dumps({"applicationName": name, "version": version, "vscodeVersion": "1.105.1"})
    return write(directory / "resources/app/product.json", text).parents[2]


def package(directory: Path, version: str) -> Path:
    """Write the package of Claude Code."""
    text = json.dumps({"name": "@anthropic-ai/claude-code", "version": version})
    return write(directory / "package.json", text).parent


def only(machine: Machine) -> Editor:
    """Return the one editor that is found."""
    found = find_editors(machine)
    assert len(found) == 1
    return found[0]


def test_nothing_is_found_when_there_is_nothing(machine: Machine) -> None:
    """Asked for by name, an editor has a place for its settings all the same."""
    # Given / When / Then
    assert find_editors(machine) == []
    settings = machine.user_home / ".cursor" / "hooks.json"
    assert find_editor("cursor", machine) == Editor("cursor", None, settings, "not found")


def test_cursor_is_found_when_a_link_on_the_path_leads_to_it(machine: Machine) -> None:
    """The application is above the program that a link leads to."""
    # Given
    directory = product(machine.root / "somewhere/Cursor", "3.24.18")
    program(directory / "bin/cursor")
    (machine.root / "bin/cursor").symlink_to(directory / "bin/cursor")
    # When
    found = only(machine)
    # Then
    settings = machine.user_home / ".cursor" / "hooks.json"
    assert found == Editor("cursor", (3, 24, 18), settings, str(directory))
    assert found.title == "Cursor 3.24.18"


@pytest.mark.parametrize("place", ["opt/Cursor", "usr/share/cursor", "user/.local/share/cursor"])
def test_cursor_is_found_when_it_is_where_packages_put_it(machine: Machine, place: str) -> None:
    """It need not be on the PATH."""
    # Given
    product(machine.root / place, "2.6.11")
    # When / Then
    assert only(machine).version == (2, 6, 11)


@pytest.mark.parametrize("place", ["Applications", "user/Applications"])
def test_cursor_is_found_when_it_is_a_bundle_of_macos(machine: Machine, place: str) -> None:
    """A bundle has its description under Contents/Resources."""
    # Given
    contents = machine.root / place / "Cursor.app/Contents"
    text = json.dumps({"applicationName": "cursor", "version": "3.1.0"})
    write(contents / "Resources/app/product.json", text)
    # When / Then
    assert only(machine) == find_editor("cursor", machine)
    assert only(machine).version == (3, 1, 0)


def test_cursor_is_found_when_it_is_an_app_image(machine: Machine) -> None:
    """An AppImage has its version in its name; of several the newest counts."""
    # Given
    for version in ("3.9.1", "3.12.0"):
        program(machine.user_home / f"Applications/Cursor-{version}-x86_64.AppImage")
    # When / Then
    assert only(machine).version == (3, 12, 0)


def test_cursor_is_found_when_it_works_on_this_machine_from_afar(machine: Machine) -> None:
    """Of the servers that it left here the newest counts."""
    # Given
    for commit, version in (("aa", "3.20.0"), ("bb", "3.3.0")):
        text = json.dumps({"applicationName": "cursor", "version": version})
        write(machine.user_home / f".cursor-server/bin/linux-x64/{commit}/product.json", text)
    # When / Then
    assert only(machine).version == (3, 20, 0)


def test_lowest_version_counts_when_there_are_several(machine: Machine) -> None:
    """All of them read one file, and the oldest would drop it."""
    # Given
    product(machine.root / "opt/Cursor", "3.24.18")
    product(machine.root / "usr/share/cursor", "2.4.1")
    # When / Then
    assert only(machine).version == (2, 4, 1)


@pytest.mark.parametrize("directory", [".cursor", ".config/Cursor"])
def test_cursor_has_no_version_when_only_its_data_is_there(
    machine: Machine, directory: str
) -> None:
    """Who has used it has it, wherever it is."""
    # Given
    (machine.user_home / directory).mkdir(parents=True)
    # When
    found = only(machine)
    # Then
    assert (found.version, found.evidence) == (None, str(machine.user_home / directory))
    assert found.title == "Cursor of unknown version"


def test_relatives_of_cursor_are_not_taken_for_it(machine: Machine) -> None:
    """Another editor that is put together in the same way is not Cursor."""
    # Given
    directory = product(machine.root / "opt/Cursor", "1.105.1", name="code")
    program(directory / "bin/cursor")
    (machine.root / "bin/cursor").symlink_to(directory / "bin/cursor")
    write(machine.root / "usr/share/cursor/product.json", "{")
    write(machine.root / "opt/cursor/product.json", "[]")
    # When / Then
    assert find_editors(machine) == []
    product(machine.root / "usr/lib/cursor", 7)
    assert only(machine).version is None


def test_claude_code_is_found_when_its_place_names_the_version(machine: Machine) -> None:
    """The native installer keeps one file a version, named for it."""
    # Given
    binary = program(machine.user_home / ".local/share/claude/versions/2.1.230")
    (machine.root / "bin/claude").symlink_to(binary)
    # When
    found = only(machine)
    # Then
    settings = machine.user_home / ".claude/settings.json"
    assert found == Editor("claude_code", (2, 1, 230), settings, str(binary))


def test_claude_code_is_found_when_it_is_a_package(machine: Machine) -> None:
    """A package of npm describes itself beside, or above, the program."""
    # Given
    directory = package(machine.root / "lib/node_modules/@anthropic-ai/claude-code", "2.0.76")
    (machine.root / "bin/claude").symlink_to(program(directory / "bin/claude.exe"))
    # When / Then
    assert only(machine).version == (2, 0, 76)
    # When an older one is in the home / Then
    package(machine.user_home / ".claude/local/node_modules/@anthropic-ai/claude-code", "1.0.60")
    assert only(machine).version == (1, 0, 60)


def test_claude_code_is_asked_when_no_file_tells(machine: Machine) -> None:
    """Only then it is run, with nothing of the environment but HOME and PATH."""
    # Given
    text = '#!/bin/sh\n/usr/bin/env | /usr/bin/sort >"$HOME/seen"\necho "2.1.199 (Claude Code)"\n'
    program(machine.root / "bin/claude", text)
    # When / Then
    assert only(machine).version == (2, 1, 199)
    names = {line.partition("=")[0] for line in (machine.user_home / "seen").read_text().split()}
    assert names <= {"HOME", "PATH", "PWD", "OLDPWD", "SHLVL", "_"}


@pytest.mark.parametrize("text", ["exit 3", "echo no version", "exec /bin/sleep 60", "kill -9 $$"])
def test_claude_code_has_no_version_when_it_does_not_answer(machine: Machine, text: str) -> None:
    """A program that fails, hangs or says something else is an editor of unknown version."""
    # Given
    program(machine.root / "bin/claude", f"#!/bin/sh\n{text}\n")
    # When / Then
    assert only(replace(machine, patience_s=0.2)).version is None


def test_claude_code_is_found_when_an_extension_brings_it(machine: Machine) -> None:
    """Of the copies that updates leave behind the newest counts; of two editors the older."""
    # Given
    for name in ("2.1.5-linux-x64", "2.1.20-linux-x64"):
        (machine.user_home / f".vscode/extensions/anthropic.claude-code-{name}").mkdir(parents=True)
    # When / Then
    assert only(machine).version == (2, 1, 20)


def test_claude_code_has_its_settings_where_the_variable_says(machine: Machine) -> None:
    """CLAUDE_CONFIG_DIR moves its settings, and is a trace of it."""
    # Given
    moved = machine.root / "moved"
    moved.mkdir()
    machine = Machine(machine.user_home, {"CLAUDE_CONFIG_DIR": str(moved)}, machine.root)
    # When / Then
    found = only(machine)
    assert (found.settings, found.version) == (moved / "settings.json", None)


def test_what_cannot_be_looked_into_is_passed_over(machine: Machine) -> None:
    """A pipe, a huge file, or a directory in the place of a description holds nobody up."""
    # Given
    (machine.root / "opt/cursor/product.json").mkdir(parents=True)
    (machine.root / "usr/share/cursor").mkdir(parents=True)
    os.mkfifo(machine.root / "usr/share/cursor/product.json")
    write(machine.user_home / ".cursor-server", "a file")
    # When / Then
    assert find_editors(machine) == []


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("3.24.18", (3, 24, 18)), ("2.1.290 (Claude Code)", (2, 1, 290)), ("1.7", (1, 7)),
        ("v10.2.3-beta.1", (10, 2, 3)), ("none", None), ("", None), (None, None), (3.1, None),
    ],
)  # fmt: skip
def test_version_is_the_first_in_a_text(text: object, version: tuple[int, ...] | None) -> None:
    """Whatever surrounds it; without one there is none."""
    # Given / When / Then
    assert first_version(text) == version
