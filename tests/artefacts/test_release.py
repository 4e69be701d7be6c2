"""A release: the same files every time, with sums, parts and licences of what is in them."""

import hashlib
import importlib.util
import io
import json
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree as ET

import pytest

from blueplane.install import vsix
from helpers.artefacts import ROOT, build, only

MOST_BYTES = 20 * 1024 * 1024
#: What is in the executable and in no package index.
NATIVE = {
    "bzip2", "cpython", "libffi", "openssl", "sqlite", "valkey-server", "xz", "zlib"
}  # fmt: skip
SCRIPTS = ROOT / "packaging" / "release"


@pytest.fixture
def contents(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Give the module that knows the parts."""
    spec = importlib.util.spec_from_file_location("contents", SCRIPTS / "contents.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "contents", module)
    spec.loader.exec_module(module)
    return module


def digest(path: Path) -> str:
    """Return the sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_release_has_its_files_and_their_sums(release: Path) -> None:
    """`all` makes every artefact; SHA256SUMS names each with its hash, and nothing else."""
    # Given a release
    files = {path.name: path for path in release.iterdir()}
    # When
    lines = files.pop("SHA256SUMS").read_text().splitlines()
    # Then
    sums = {name: digest(path) for name, path in files.items()}
    assert lines == [f"{digest}  {name}" for name, digest in sorted(sums.items())]
    assert len(files) == 8
    assert files["requirements.txt"].read_bytes() == (ROOT / "requirements.lock").read_bytes()


def test_executable_is_one_file_of_at_most_20_mb(binary: Path) -> None:
    """The executable is no larger than people may expect of a download."""
    # Given / When
    size = binary.stat().st_size
    # Then
    assert size <= MOST_BYTES


@pytest.mark.parametrize("verb", ["binary", "zipapp", "wheel", "sdist", "extension"])
def test_artefact_has_the_same_bytes_when_built_again(
    release: Path, tmp_path: Path, verb: str
) -> None:
    """Each verb makes in another directory what `all` made, bit for bit."""
    # Given a release
    # When
    build(verb, tmp_path)
    # Then
    made = {path.name: digest(path) for path in tmp_path.iterdir()}
    assert made
    assert made == {name: digest(release / name) for name in made}


def test_extension_is_the_same_whoever_packs_it(release: Path) -> None:
    """What the official packager made, where it could be had, has what our own packer makes."""
    # Given
    with (
        zipfile.ZipFile(only(release, "*.vsix")) as made,
        zipfile.ZipFile(io.BytesIO(vsix.pack())) as ours,
    ):
        # When
        descriptions = {name for name in ours.namelist() if not name.startswith("extension/")}
        files = set(ours.namelist()) - descriptions
        # Then
        assert sorted(made.namelist()) == sorted(ours.namelist())
        assert [name for name in sorted(files) if made.read(name) != ours.read(name)] == []
        for name in descriptions:
            assert elements(made.read(name)) == elements(ours.read(name))


def elements(xml: bytes) -> list[tuple[str, dict[str, str], str]]:
    """Return every element of a document with its attributes and text."""
    tree = ET.fromstring(xml)  # noqa: S314 - made by us
    return [(each.tag, each.attrib, (each.text or "").strip()) for each in tree.iter()]


def test_parts_are_listed_with_version_and_licence(release: Path, binary: Path) -> None:
    """The bill of materials has what is in the executable; each part's licence is in the text."""
    # Given
    bill = json.loads(only(release, "*.cdx.json").read_text())
    text = only(release, "*.licences.txt").read_text()
    # When
    parts = {part["name"]: part for part in bill["components"]}
    # Then
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert NATIVE | {"click", "redis", "orjson", "zstandard"} <= parts.keys()
    assert "pygments" not in parts, "it is left out of the executable"
    for name, part in parts.items():
        assert part["version"], name
        assert part["purl"].endswith(f"@{part['version']}"), name
        (licence,) = (each["expression"] for each in part["licenses"])
        assert licence != "NOASSERTION", name
        assert f"\n{name} {part['version']}: {licence}\n" in text
    (ours,) = bill["metadata"]["component"]["licenses"]
    assert ours == {"expression": "AGPL-3.0-only"}
    assert bill["metadata"]["component"]["version"] in binary.name


def test_unknown_library_ends_the_build(contents: ModuleType) -> None:
    """A library of the system of which nobody wrote down the licence is not shipped."""
    # Given
    library = Path("/usr/lib/libsomething.so.1")
    # When
    with pytest.raises(SystemExit) as refused:
        list(contents._shared([library]))
    # Then
    assert str(library) in str(refused.value)
