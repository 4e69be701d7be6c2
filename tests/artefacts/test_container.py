"""What the Dockerfile does with the executable, done by its own words in other directories."""

import re
import shutil
import subprocess
from pathlib import Path

from blueplane import __version__
from helpers.artefacts import ROOT, TOOLS, Done, assert_works, bare

BUILD_S = 60.0


def unpack(place: Path) -> Done:
    """Run the step of the Dockerfile that unpacks ``place/dist`` into ``place/opt``."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
    step = next(line for line in text.splitlines() if line.startswith("RUN "))
    moved = step.removeprefix("RUN ").replace("/tmp/dist", "$0/dist").replace("/opt", "$0/opt")
    return subprocess.run(
        ["/bin/sh", "-c", moved, place], env={"PATH": TOOLS}, capture_output=True, text=True,
        timeout=BUILD_S, check=False,
    )  # fmt: skip


def test_image_has_the_unpacked_program(binary: Path, tmp_path: Path, user_home: Path) -> None:
    """The step unpacks the one executable, which then runs from there and unpacks nothing more."""
    # Given what COPY would bring, from a download that has no right to be run
    (tmp_path / "dist").mkdir()
    copied = shutil.copy(binary, tmp_path / "dist")
    Path(copied).chmod(0o644)
    # When
    built = unpack(tmp_path)
    # Then
    assert (built.returncode, built.stdout) == (0, f"blueplane {__version__}\n"), built.stderr
    command = tmp_path / "blueplane"
    command.symlink_to(tmp_path / "opt" / "program" / "blueplane")
    assert_works([command], bare(user_home))
    assert not (user_home / ".local").exists()


def test_image_is_refused_when_nobody_knows_of_which_version(binary: Path, tmp_path: Path) -> None:
    """With two executables in dist nothing is built, and both are named."""
    # Given
    (tmp_path / "dist").mkdir()
    machine = binary.name.rpartition("-")[2]
    for name in ("blueplane-1.0.0", "blueplane-2.0.0"):
        (tmp_path / "dist" / f"{name}-linux-{machine}").touch()
    # When
    refused = unpack(tmp_path)
    # Then
    assert refused.returncode == 2
    assert refused.stderr.count("blueplane-") == 2
    assert not (tmp_path / "opt").exists()
