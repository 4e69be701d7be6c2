"""Make what is released: ``make.py NAME DIRECTORY``. build.py calls it with .venv's Python.

Owns which files a release has.
Promises that a name makes its files and nothing else.
Leaves how each is made to the modules beside it.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import archives
import editor
import frozen
from blueplane import __version__
from contents import LOCK
from notices import licences, sbom, sums

#: Seconds since 1970 of every file in a release, unless SOURCE_DATE_EPOCH is set: 2 February 2020.
DATE = "1580601600"


def wheel(directory: Path, work: Path) -> list[Path]:
    """Make the wheel."""
    del work
    return [archives.wheel(directory)]


def sdist(directory: Path, work: Path) -> list[Path]:
    """Make the source distribution."""
    del work
    return [archives.sdist(directory)]


def zipapp(directory: Path, work: Path) -> list[Path]:
    """Make the zipapp."""
    return [archives.zipapp(__version__, directory, work)]


def extension(directory: Path, work: Path) -> list[Path]:
    """Make the extension for Cursor."""
    return [editor.extension(__version__, directory, work)]


def binary(directory: Path, work: Path) -> list[Path]:
    """Make the executable, and beside it the list of its parts and their licences."""
    done = frozen.freeze(__version__, work)
    made = frozen.executable(__version__, done.tree, directory)
    parts = made.with_name(f"{made.name}.cdx.json")
    parts.write_text(sbom(__version__, done.parts))
    texts = made.with_name(f"{made.name}.licences.txt")
    texts.write_text(licences(__version__, done.parts))
    return [made, parts, texts]


def everything(directory: Path, work: Path) -> list[Path]:
    """Make a whole release; what is left of another one is removed."""
    for old in (*directory.glob("blueplane*"), directory / "SHA256SUMS"):
        old.unlink(missing_ok=True)
    made = [path for make in SINGLE for path in make(directory, work)]
    made.append(Path(shutil.copy(LOCK, directory / "requirements.txt")))
    (directory / "SHA256SUMS").write_text(sums(made))
    return [*made, directory / "SHA256SUMS"]


def same_every_time() -> None:
    """Take what would make another file of the same sources out of the environment of all tools."""
    for variable in [each for each in os.environ if each.startswith("PYTHON")]:
        del os.environ[variable]
    os.environ["PYTHONHASHSEED"] = "1"  # the order in sets, which PyInstaller writes down
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os.environ.setdefault("SOURCE_DATE_EPOCH", DATE)


#: The extension first, for the others carry what is compiled for it.
SINGLE = (extension, wheel, sdist, zipapp, binary)
ARTEFACTS: dict[str, Callable[[Path, Path], list[Path]]] = {
    "all": everything,
    **{make.__name__: make for make in SINGLE},
}


def main(name: str, place: str) -> None:
    """Make one artefact and print the paths of its files."""
    same_every_time()
    directory = Path(place).resolve()
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="blueplane-build-") as work:
        for path in ARTEFACTS[name](directory, Path(work)):
            print(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
