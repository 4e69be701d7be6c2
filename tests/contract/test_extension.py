"""The sources of the extension: their types, what was compiled of them, and the package."""

import io
import json
import re
import zipfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from blueplane import __version__
from blueplane.capture.cursor.hooks import PLATFORM as CURSOR
from blueplane.install import extension, vsix

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "extension"
LOCKS = (SOURCES / "package-lock.json", ROOT / "packaging" / "vsce" / "package-lock.json")
SCHEMA = "{http://schemas.microsoft.com/developer/vsx-schema/2011}"


@pytest.fixture
def editor(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Give the module that compiles and packs."""
    monkeypatch.syspath_prepend(ROOT / "packaging" / "release")
    return import_module("editor")


@pytest.fixture
def package() -> Iterator[zipfile.ZipFile]:
    """Give the package that our own packer makes."""
    with zipfile.ZipFile(io.BytesIO(vsix.pack())) as archive:
        yield archive


def manifest() -> dict[str, Any]:
    """Return package.json."""
    found: dict[str, Any] = json.loads((SOURCES / "package.json").read_text())
    return found


def test_compiled_code_is_what_the_sources_say(editor: ModuleType, tmp_path: Path) -> None:
    """The sources fit the editor's own types, and extension/out is what becomes of them."""
    # Given the compiler and the types, by their hashes from the lock
    if not editor.has_packages(SOURCES):
        pytest.skip("npm or its registry is missing: nothing can be compiled")
    # When
    editor.compile_to(tmp_path)
    # Then
    compiled = {path.name: path.read_text() for path in tmp_path.iterdir()}
    kept = {path.name: path.read_text() for path in (SOURCES / "out").iterdir()}
    assert compiled == kept


def test_extension_has_no_dependency_and_our_version() -> None:
    """It brings no package of anybody, is of this release, and is built for what it asks for."""
    # Given / When
    found = manifest()
    # Then
    assert not {"dependencies", "optionalDependencies", "bundledDependencies"} & found.keys()
    assert found["version"] == __version__
    assert f"{found['publisher']}.{found['name']}" == extension.IDENTITY
    assert found["engines"]["vscode"] == f"^{found['devDependencies']['@types/vscode']}"
    modules = re.findall(
        r'require\("([^"]+)"\)', "".join(path.read_text() for path in (SOURCES / "out").iterdir())
    )
    assert {name for name in modules if not name.startswith(("./", "node:"))} == {"vscode"}


def test_extension_says_what_the_server_understands() -> None:
    """Every event that the sources name is one of Cursor's platform, of source extension."""
    # Given
    text = (SOURCES / "src" / "session.ts").read_text()
    # When
    named = set(re.findall(r'say\("(\w+)"', text))
    # Then
    ours = {name for name, hook in CURSOR.hooks.items() if hook.source == "extension"}
    assert named == ours == {"windowOpen", "windowClose"}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.parent.name)
def test_lock_pins_by_hash_and_names_no_registry(lock: Path) -> None:
    """Every package of npm is one version with its hash; where it came from is left open."""
    # Given
    packages = json.loads(lock.read_text())["packages"]
    # When
    locked = {name: each for name, each in packages.items() if name}
    # Then
    assert len(locked) > 3
    assert [name for name, each in locked.items() if "integrity" not in each] == []
    assert [name for name, each in locked.items() if "resolved" in each] == []


def test_package_has_what_the_editor_looks_for(package: zipfile.ZipFile) -> None:
    """It has all that was compiled, and describes each of its files."""
    # Given
    names = set(package.namelist())
    # When
    tree = ET.fromstring(package.read("extension.vsixmanifest"))  # noqa: S314 - made by us
    types = ET.fromstring(package.read("[Content_Types].xml"))  # noqa: S314 - made by us
    # Then
    compiled = {f"extension/out/{path.name}" for path in (SOURCES / "out").iterdir()}
    assert compiled <= names
    assert package.read("extension/package.json") == (SOURCES / "package.json").read_bytes()
    identity = tree.find(f".//{SCHEMA}Identity")
    assert identity is not None
    assert identity.attrib["Version"] == __version__
    assert {each.attrib["Path"] for each in tree.iter(f"{SCHEMA}Asset")} <= names
    suffixes = {each.attrib["Extension"] for each in types}
    assert {Path(name).suffix for name in names} - {".xml"} <= suffixes
    assert f"extension/{manifest()['main'].removeprefix('./')}" in names


def test_package_has_the_same_bytes_when_packed_again() -> None:
    """Two packages of the same files are the same."""
    # Given / When
    first, second = vsix.pack(), vsix.pack()
    # Then
    assert first == second
