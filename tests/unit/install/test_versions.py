"""The program's own place: whole versions, and links in one step."""

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from blueplane import __version__
from blueplane.errors import InstallError
from blueplane.install import versions
from blueplane.install.user_places import UserPlaces
from blueplane.install.versions import Link, Program
from helpers.redis_server import missing

PATIENCE_S = 20.0
NOBODY = 65534
NAME = f"{__version__}-0123456789ab"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Give a place for programs that is not there yet."""
    return tmp_path / "data" / "blueplane"


def frozen(directory: Path, text: str = "echo frozen") -> Program:
    """Return what looks like a frozen program."""
    (directory / "_internal").mkdir(parents=True)
    (directory / "_internal" / "library").write_bytes(b"\0" * 10)
    program = directory / "blueplane"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return Program("executable", directory, program)


def run(program: Path) -> str:
    """Run a program with one argument, in a hostile place, and return what it prints."""
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(program.parent), "PYTHONHOME": "/no"}
    return subprocess.run(
        [program, "--version"], env=environment, cwd="/", capture_output=True, text=True,
        timeout=PATIENCE_S, check=True,
    ).stdout  # fmt: skip


def test_environment_becomes_a_launcher_that_runs_it(programs: Path) -> None:
    """What runs from a Python is run by that Python again, whatever the PYTHON variables say."""
    # Given what runs now
    placement = versions.place(versions.running(), programs)
    assert (placement.program.kind, placement.is_needed) == ("environment", True)
    # When it is put into its place, and made current
    placement.apply()
    versions.current(placement).apply()
    # Then that runs, by the link too
    assert not placement.is_needed
    program = versions.current_program(programs)
    assert run(program) == f"blueplane {__version__}\n"
    # And what holds it is the user's alone
    assert placement.directory.stat().st_mode & 0o777 == 0o700


def test_executable_is_copied_when_it_is_elsewhere(programs: Path, tmp_path: Path) -> None:
    """A frozen program that was started from anywhere is copied with all that it needs."""
    # Given
    program = frozen(tmp_path / "elsewhere")
    # When
    placement = versions.place(program, programs)
    placement.apply()
    # Then
    assert placement.name.startswith(f"{__version__}-")
    assert (placement.directory / "_internal" / "library").read_bytes() == b"\0" * 10
    assert run(placement.directory / "blueplane") == "frozen\n"


def test_executable_stays_where_its_head_unpacked_it(programs: Path) -> None:
    """What was unpacked into its place is not copied once more."""
    # Given
    program = frozen(programs / "versions" / NAME)
    # When
    placement = versions.place(program, programs)
    # Then
    assert (placement.name, placement.is_needed) == (NAME, False)


def test_zipapp_is_copied_with_a_launcher_for_its_python(programs: Path, tmp_path: Path) -> None:
    """One file for one Python: the launcher names that Python, and the original may go."""
    # Given a zipapp
    archive = tmp_path / "downloaded.pyz"
    with ZipFile(archive, "w") as file:
        file.writestr("__main__.py", "import sys; print('zipped', *sys.argv[1:])")
    program = Program("zipapp", archive, Path(sys.executable))
    # When it is put into its place, and the file is gone
    placement = versions.place(program, programs)
    placement.apply()
    archive.unlink()
    # Then
    assert run(placement.directory / "blueplane") == "zipped --version\n"


def test_zipapp_is_seen_when_one_runs(tmp_path: Path) -> None:
    """What runs from a zip file says so."""
    # Given a zipapp that asks what it is
    archive = tmp_path / "app.pyz"
    root = Path(versions.__file__).parents[2]
    with ZipFile(archive, "w") as file:
        file.writestr("__main__.py", f"import sys; sys.path.insert(0, {str(root)!r})\n"
                      "from blueplane.install import versions\n"
                      "found = versions.running(); print(found.kind, found.origin)\n")  # fmt: skip
    # When
    ended = subprocess.run(
        [sys.executable, archive], capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    # Then
    assert ended.stdout == f"zipapp {archive}\n"


def test_name_of_a_version_tells_contents_apart(programs: Path, tmp_path: Path) -> None:
    """Two builds of one version have two places; the same one has the same."""
    # Given / When
    one = versions.place(frozen(tmp_path / "one"), programs).name
    same = versions.place(frozen(tmp_path / "same"), programs).name
    other = versions.place(frozen(tmp_path / "other", "echo other"), programs).name
    # Then
    assert one == same != other


@pytest.mark.fault("G9")
@pytest.mark.parametrize("through", ["directory", "link"])
def test_place_of_somebody_else_is_refused(programs: Path, through: str) -> None:
    """Whoever owns the place of programs, or a link to it, could put any program there."""
    if os.geteuid() != 0:
        missing("right to give files away (root)")
    # Given a place of nobody's
    programs.parent.mkdir(parents=True)
    if through == "directory":
        programs.mkdir()
    else:
        (programs.parent / "ours").mkdir()
        programs.symlink_to("ours")
    os.chown(programs, NOBODY, NOBODY, follow_symlinks=False)
    # When / Then
    with pytest.raises(InstallError, match="belongs to somebody else; set XDG_DATA_HOME"):
        versions.place(versions.running(), programs)
    # And ours is fine
    os.chown(programs, os.geteuid(), os.getegid(), follow_symlinks=False)
    versions.place(versions.running(), programs).apply()


def test_nothing_is_left_when_a_version_cannot_be_copied(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk in the middle leaves no version, and nothing that is half of one."""
    # Given a copy that breaks off
    placement = versions.place(frozen(tmp_path / "elsewhere"), programs)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device", "somewhere")

    monkeypatch.setattr(versions.shutil, "copytree", full)
    # When
    with pytest.raises(InstallError, match="No space left on device"):
        placement.apply()
    # Then
    assert placement.is_needed
    assert list((programs / "versions").iterdir()) == []


def test_version_is_taken_when_another_install_was_quicker(programs: Path, tmp_path: Path) -> None:
    """Two installs at once: one puts it there, the other one finds it."""
    # Given a plan, and another process that did the same
    placement = versions.place(frozen(tmp_path / "elsewhere"), programs)
    other = versions.place(placement.program, programs)
    assert other.is_needed
    placement.apply()
    # When / Then
    staged = placement.directory.parent / ".new-1-x"
    staged.mkdir()
    versions._settle(staged, placement.directory)
    other.apply()
    assert run(other.directory / "blueplane") == "frozen\n"


@pytest.mark.fault("G9")
def test_link_is_not_made_over_a_file_when_one_has_its_place(tmp_path: Path) -> None:
    """A file, or a directory, of that name is somebody's."""
    # Given
    path = tmp_path / "bin" / "blueplane"
    path.parent.mkdir()
    path.write_text("theirs")
    # When / Then
    with pytest.raises(InstallError, match="is no link; move it away"):
        Link(path, "anywhere").apply()
    assert path.read_text() == "theirs"


def test_link_leads_always_somewhere_when_it_is_changed(tmp_path: Path) -> None:
    """The old place or the new one: what a killed install left does not stand in the way."""
    # Given a link, and what a killed install left behind
    path = tmp_path / "current"
    Link(path, "old").apply()
    path.with_name(".current.blueplane-new").symlink_to("half")
    # When
    Link(path, "new").apply()
    # Then
    assert str(path.readlink()) == "new"
    assert [each.name for each in tmp_path.iterdir()] == ["current"]


def test_link_leads_to_the_old_place_when_it_is_broken_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no moment at which a hook, a service or a shell finds nothing."""
    # Given a link, and Ctrl-C at the last moment of its change
    path = tmp_path / "current"
    Link(path, "old").apply()

    def interrupt(_name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(versions.faults, "point", interrupt)
    # When
    with pytest.raises(KeyboardInterrupt):
        Link(path, "new").apply()
    # Then
    assert str(path.readlink()) == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["current"]


@pytest.mark.parametrize(
    ("found", "said"),
    [(None, ""), ("ours", ""), ("/elsewhere/blueplane", "leads to /elsewhere/blueplane")],
)
def test_command_of_a_stranger_is_known(tmp_path: Path, found: str | None, said: str) -> None:
    """What is found under our name on the PATH may be another install."""
    # Given
    places = UserPlaces(tmp_path, tmp_path / "data", tmp_path / "config")
    link = versions.command_link(places)
    link.path.parent.mkdir(parents=True)
    if found is not None:
        link.path.symlink_to(link.target if found == "ours" else found)
    # When / Then
    assert versions.stranger(link) == said
