"""The package of the Cursor extension, made of the files that are shipped.

Owns which files are in it, and the two descriptions that an editor looks for.
Promises the same bytes for the same files, and those members that the official packager makes.
Leaves compiling to ``build.py``, and what the editor does with it to ``extension.py``.
"""

import io
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import orjson

from blueplane import shipped

_PACKAGE: Final = "package.json"
_MODULES: Final = (
    "extension", "handoff", "health", "home", "program", "rounds", "session", "statusline", "view",
)  # fmt: skip
#: The members below ``extension/``, and the shipped files that they are.
FILES: Final[Mapping[str, str]] = {
    "LICENSE.txt": "LICENSE",
    **{f"out/{name}.js": f"extension/out/{name}.js" for name in _MODULES},
    _PACKAGE: "extension/package.json",
    "readme.md": "extension/README.md",
}
_TYPES: Final = {
    ".js": "application/javascript",
    ".json": "application/json",
    ".md": "text/markdown",
    ".txt": "text/plain",
    ".vsixmanifest": "text/xml",
}
#: Of every member, in the form of zip: 2 February 2020, as everything in a release.
_DATE: Final = (2020, 2, 2, 0, 0, 0)
_MODE: Final = 0o100644 << 16
_CODE: Final = "Microsoft.VisualStudio.Code"
_SERVICES: Final = "Microsoft.VisualStudio.Services"
_HEAD: Final = '<?xml version="1.0" encoding="utf-8"?>\n'
_SCHEMA: Final = "http://schemas.microsoft.com/developer/vsx-schema"


def pack() -> bytes:
    """Return the package; raise HomeError when a shipped file is missing."""
    target = io.BytesIO()
    with ZipFile(target, "w") as archive:
        for name, data in _members():
            member = ZipInfo(name, _DATE)
            member.external_attr = _MODE
            member.create_system = 3  # Unix, whatever packs it
            archive.writestr(member, data, ZIP_DEFLATED)
    return target.getvalue()


def _members() -> Iterator[tuple[str, bytes]]:
    files = {name: shipped.find(source).read_bytes() for name, source in FILES.items()}
    yield "[Content_Types].xml", _content_types().encode()
    yield "extension.vsixmanifest", _manifest(orjson.loads(files[_PACKAGE])).encode()
    yield from ((f"extension/{name}", data) for name, data in files.items())


def _content_types() -> str:
    lines = (
        f'  <Default Extension="{suffix}" ContentType="{kind}"/>\n'
        for suffix, kind in _TYPES.items()
        if suffix == ".vsixmanifest" or any(PurePath(name).suffix == suffix for name in FILES)
    )
    namespace = "http://schemas.openxmlformats.org/package/2006/content-types"
    return f'{_HEAD}<Types xmlns="{namespace}">\n{"".join(lines)}</Types>\n'


def _manifest(package: Mapping[str, Any]) -> str:
    """Describe the extension in the words of Visual Studio, as ``package.json`` does in Node's."""
    identity = {"Id": "name", "Version": "version", "Publisher": "publisher"}
    named = " ".join(f"{name}={quoteattr(package[key])}" for name, key in identity.items())
    properties = {
        f"{_CODE}.Engine": package["engines"]["vscode"],
        f"{_CODE}.ExtensionDependencies": "",
        f"{_CODE}.ExtensionPack": "",
        f"{_CODE}.ExtensionKind": ",".join(package["extensionKind"]),
        f"{_CODE}.LocalizedLanguages": "",
        f"{_CODE}.EnabledApiProposals": "",
        f"{_CODE}.ExecutesCode": "true",
        f"{_SERVICES}.GitHubFlavoredMarkdown": "true",
        f"{_SERVICES}.Content.Pricing": "Free",
    }
    assets = {
        f"{_CODE}.Manifest": f"extension/{_PACKAGE}",
        f"{_SERVICES}.Content.Details": "extension/readme.md",
        f"{_SERVICES}.Content.License": "extension/LICENSE.txt",
    }
    return f"""{_HEAD}<PackageManifest Version="2.0.0" xmlns="{_SCHEMA}/2011">
  <Metadata>
    <Identity Language="en-US" {named}/>
    <DisplayName>{escape(package["displayName"])}</DisplayName>
    <Description xml:space="preserve">{escape(package["description"])}</Description>
    <Tags>{escape(",".join(package["keywords"]))}</Tags>
    <Categories>{escape(",".join(package["categories"]))}</Categories>
    <GalleryFlags>Public</GalleryFlags>
    <Properties>
{_elements("Property", "Id", "Value", properties)}    </Properties>
    <License>extension/LICENSE.txt</License>
  </Metadata>
  <Installation>
    <InstallationTarget Id="{_CODE}"/>
  </Installation>
  <Dependencies/>
  <Assets>
{_elements("Asset", "Type", "Path", assets)}  </Assets>
</PackageManifest>
"""


def _elements(tag: str, key: str, value: str, pairs: Mapping[str, str]) -> str:
    more = ' Addressable="true"' if tag == "Asset" else ""
    return "".join(
        f"      <{tag} {key}={quoteattr(name)} {value}={quoteattr(each)}{more}/>\n"
        for name, each in pairs.items()
    )
