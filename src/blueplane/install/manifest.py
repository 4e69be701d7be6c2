"""What an install has changed, so that it can be undone exactly.

Owns ``<home>/install.json``.
Promises that it is at any instant the old or the new one, and that what the first install found in
a file is remembered through re-installs and upgrades.
Leaves what is undone, and how, to whoever made it.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

from blueplane.errors import HomeError
from blueplane.install.changes import FileChange
from blueplane.paths import Home, private_directory, private_file, replacing

#: Whether a file is ours alone, or only some entries in it are.
Share: TypeAlias = Literal["file", "entries"]

_FORMAT: Final = 1
_MAX_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file that was changed: what it was before the first install, and what we last wrote.

    ``sha256_before`` is None where there was no file, ``backup`` where nothing was copied.
    """

    path: Path
    sha256_before: str | None
    sha256_after: str
    backup: Path | None
    ours: Share


@dataclass(frozen=True, slots=True)
class Manifest:
    """One install: its version, files, kind of service, links, and directories that it made.

    ``programs`` are the places where it has put versions of the program, the newest last.
    """

    version: str = ""
    files: tuple[FileRecord, ...] = ()
    service: str | None = None
    links: tuple[Path, ...] = ()
    directories: tuple[Path, ...] = ()
    programs: tuple[Path, ...] = ()

    def file(self, path: Path) -> FileRecord | None:
        """Return the record of ``path``."""
        return next((each for each in self.files if each.path == path), None)

    def with_change(self, change: FileChange, backup: Path | None) -> "Manifest":
        """Return the manifest after ``change`` was made; a file that is gone has no record."""
        others = tuple(each for each in self.files if each.path != change.path)
        if change.after is None:
            return replace(self, files=others)
        record = _record(self.file(change.path), change, backup, digest(change.after))
        return replace(self, files=(*others, record))


def _record(
    known: FileRecord | None, change: FileChange, backup: Path | None, after: str
) -> FileRecord:
    before = None if change.before is None else digest(change.before)
    if known is not None and known.sha256_after == before:
        return replace(known, sha256_after=after)  # nobody else wrote in between
    return FileRecord(change.path, before, after, backup, "file" if change.ours else "entries")


def digest(data: bytes) -> str:
    """Return the SHA-256 of ``data`` as hex digits."""
    return hashlib.sha256(data).hexdigest()


# --- the file ------------------------------------------------------------------------------------


def load(home: Home) -> tuple[Manifest, str]:
    """Return the manifest, and a remark when there is one that cannot be read: it is then empty."""
    path = manifest_file(home)
    try:
        with private_file(path, os.O_RDONLY | os.O_NONBLOCK) as stream:
            return _parsed(json.loads(stream.read(_MAX_BYTES) or b"")), ""
    except FileNotFoundError:
        return Manifest(), ""
    except OSError as error:
        return Manifest(), f"{path}: {error.strerror}; it is not used"
    except (ValueError, KeyError, TypeError, RecursionError):
        return Manifest(), f"{path}: is no manifest of this version; it is not used"


def save(home: Home, manifest: Manifest) -> None:
    """Write the manifest; raise HomeError when it cannot be: the old one is then still there."""
    path = manifest_file(home)
    private_directory(home.root)
    try:
        with replacing(path) as stream:
            stream.write(_text(manifest))
    except OSError as error:
        message = f"{path}: {error.strerror}; it is as it was"
        raise HomeError(message) from None


def manifest_file(home: Home) -> Path:
    """Return where the manifest of a home is."""
    return home.root / "install.json"


def _text(manifest: Manifest) -> bytes:
    record = {"format": _FORMAT, **asdict(manifest)}
    # Not orjson, which takes no path that is not UTF-8.
    return (json.dumps(record, default=str, indent=2) + "\n").encode("ascii")


def _parsed(record: Mapping[str, Any]) -> Manifest:
    if record["format"] != _FORMAT:
        raise ValueError
    return Manifest(
        version=_text_of(record["version"]),
        files=tuple(_parsed_file(each) for each in record["files"]),
        service=None if record["service"] is None else _text_of(record["service"]),
        links=tuple(Path(each) for each in record["links"]),
        directories=tuple(Path(each) for each in record["directories"]),
        programs=tuple(Path(each) for each in record["programs"]),
    )


def _parsed_file(record: Mapping[str, Any]) -> FileRecord:
    before, backup, ours = record["sha256_before"], record["backup"], record["ours"]
    if ours not in get_args(Share):
        raise ValueError
    return FileRecord(
        path=Path(record["path"]),
        sha256_before=None if before is None else _text_of(before),
        sha256_after=_text_of(record["sha256_after"]),
        backup=None if backup is None else Path(backup),
        ours=ours,
    )


def _text_of(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value
