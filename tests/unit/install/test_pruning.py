"""Versions that go: nobody's that is run, and nothing that is not ours."""

import os
import subprocess
from pathlib import Path

import pytest

from blueplane.install import pruning, versions
from blueplane.install.versions import Link
from helpers.waiting import wait_until

PATIENCE_S = 20.0


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Give a place for programs that is not there yet."""
    return tmp_path / "data" / "blueplane"


def test_idle_versions_are_neither_current_nor_run(programs: Path) -> None:
    """What somebody runs, what is current, and what is not ours stays."""
    # Given a current version, one that runs, an idle one, two unfinished ones, and a stranger's
    names = {each: f"0.{n}.0-0123456789ab" for n, each in enumerate(("now", "runs", "idle"))}
    for name in names.values():
        program = programs / "versions" / name / "blueplane"
        program.parent.mkdir(parents=True)
        program.write_text("#!/bin/sh\nread line\n")
        program.chmod(0o755)
    gone = subprocess.run(["/bin/sh", "-c", "echo $$"], capture_output=True, check=True).stdout
    for name in ("theirs", f".new-{os.getpid()}-aa", f".new-{int(gone)}-bb"):
        (programs / "versions" / name).mkdir()
    Link(programs / "current", f"versions/{names['now']}").apply()
    program = programs / "versions" / names["runs"] / "blueplane"
    with subprocess.Popen(
        [program], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        path = Path(f"/proc/{process.pid}/cmdline")
        wait_until(lambda: str(program).encode() in path.read_bytes(), PATIENCE_S, "it runs")
        # When
        found = pruning.idle_versions(programs)
        # Then
        assert sorted(each.name for each in found) == [f".new-{int(gone)}-bb", names["idle"]]
        process.communicate("\n", timeout=PATIENCE_S)
    # And when it has ended, its version goes too, and is gone
    ended = programs / "versions" / names["runs"]
    assert ended in pruning.idle_versions(programs)
    pruning.remove_version(ended)
    assert not ended.exists()


def test_everything_is_removed_but_what_is_not_ours(programs: Path) -> None:
    """Versions and links go; a file that somebody put beside them stays, with the directory."""
    # Given
    placement = versions.place(versions.running(), programs)
    placement.apply()
    versions.current(placement).apply()
    (programs / "theirs").write_text("x")
    # When
    pruning.remove_all(programs)
    # Then
    assert [each.name for each in programs.iterdir()] == ["theirs"]
    assert not pruning.is_there(programs)


@pytest.mark.parametrize("is_linked", [False, True])
def test_what_others_put_beside_the_versions_stays_when_all_goes(
    programs: Path, tmp_path: Path, *, is_linked: bool
) -> None:
    """Only versions are removed, also where a link has them on another disk."""
    # Given
    elsewhere = tmp_path / "elsewhere" if is_linked else programs / "versions"
    elsewhere.mkdir(parents=True)
    if is_linked:
        programs.mkdir(parents=True, exist_ok=True)
        (programs / "versions").symlink_to(elsewhere)
    placement = versions.place(versions.running(), programs)
    placement.apply()
    (elsewhere / "notes").mkdir()
    (elsewhere / "notes" / "theirs").write_text("x")
    # When
    pruning.remove_all(programs)
    # Then
    assert [each.name for each in elsewhere.iterdir()] == ["notes"]
    assert (elsewhere / "notes" / "theirs").read_text() == "x"
    assert not pruning.is_there(programs)
