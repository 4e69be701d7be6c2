"""The lists that are shipped with a release: licences, parts and sums.

Owns their form: one text of licences, CycloneDX 1.6, and what ``sha256sum --check`` reads.
Promises the same bytes for the same parts.
Leaves what the parts are to ``contents.py``.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from contents import ROOT, Part

NAME = "blueplane"
LICENCE = "AGPL-3.0-only"
#: Of the serial numbers: any fixed one does.
_NAMESPACE = UUID("7e1c8f52-4b0d-5a77-9a52-1f3c1f0c5d2e")
_RULE = "=" * 100


def licences(version: str, parts: Iterable[Part]) -> str:
    """Return one text with our licence and that of every part."""
    own = (ROOT / "LICENSE").read_text()
    sections = [(f"{NAME} {version}", LICENCE, own)]
    sections += [(f"{each.name} {each.version}", each.licence, each.text) for each in parts]
    return "\n".join(
        f"{_RULE}\n{title}: {licence}\n{_RULE}\n\n{text.strip()}\n"
        for title, licence, text in sections
    )


def sbom(version: str, parts: Iterable[Part]) -> str:
    """Return the bill of materials in the JSON of CycloneDX 1.6."""
    components = [_component(each) for each in parts]
    references = [each["bom-ref"] for each in components]
    serial = uuid5(_NAMESPACE, json.dumps([version, references]))
    own: dict[str, Any] = {
        "type": "application",
        "bom-ref": f"{NAME}@{version}",
        "name": NAME,
        "version": version,
        "licenses": [{"expression": LICENCE}],
    }
    text = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {"component": own},
        "components": components,
        "dependencies": [{"ref": own["bom-ref"], "dependsOn": references}],
    }
    return json.dumps(text, indent=2) + "\n"


def _component(part: Part) -> dict[str, Any]:
    kind = "application" if part.name == "valkey-server" else "library"
    return {
        "type": kind,
        "bom-ref": f"{part.name}@{part.version}",
        "name": part.name,
        "version": part.version,
        "licenses": [{"expression": part.licence}],
        "purl": part.purl,
    }


def sums(files: Iterable[Path]) -> str:
    """Return a line for each file that ``sha256sum --check`` reads in their directory."""
    named = sorted((each.name, hashlib.sha256(each.read_bytes()).hexdigest()) for each in files)
    return "".join(f"{digest}  {name}\n" for name, digest in named)
