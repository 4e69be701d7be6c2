"""What an uninstall does: exactly what an install made is taken out again.

Owns the order: first nobody calls us any more, then nothing of us runs, then the files go.
Promises that a file which somebody else has changed loses our entries only, or stays with a word,
and that data stays unless it is to be purged.
Leaves each file to the module that wrote it, and asking the user to the interfaces.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from blueplane.errors import InstallError
from blueplane.install import (
    background,
    changes,
    extension,
    hooks,
    manifest,
    pruning,
    purging,
    services,
    versions,
)
from blueplane.install.background import RunningServer
from blueplane.install.changes import FileChange
from blueplane.install.editors import NAMES, Editor, Machine, find_editor
from blueplane.install.making import alone, step
from blueplane.install.manifest import FileRecord
from blueplane.install.plan import Plan, Step
from blueplane.install.user_places import UserPlaces
from blueplane.lock import is_running
from blueplane.paths import Home, free_bytes

#: Bytes without which a disk counts as full: a settings file, its backup and the manifest.
_ROOM: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Unwanted:
    """What is to go: the install of a home; with ``purge`` also what was captured."""

    home: Home
    places: UserPlaces
    environment: Mapping[str, str]
    purge: bool = False


class Removal:
    """Plans one uninstall."""

    def __init__(self, unwanted: Unwanted, server: RunningServer) -> None:
        self._unwanted = unwanted
        self._home = unwanted.home
        self._places = unwanted.places
        self._server = server
        self._known, remark = manifest.load(self._home)
        self._remarks = [remark] if remark else []
        self._problems: list[str] = []
        service = services.find(unwanted.environment)
        self._service = service if service and service.home() else None
        self._is_full = _is_full(self._home.root) or _is_full(self._places.home)

    def alone(self) -> AbstractContextManager[None]:
        """Have an uninstall wait for an install, and for another one."""
        return alone(self._home)

    def plan(self) -> Plan:
        """Return the steps that are needed."""
        parts = [self._hooks, self._extension, self._serving, self._files, self._programs]
        if self._is_full:  # first what gives room; a hook whose script is gone is silent
            parts = [
                self._reserve, self._extension, self._serving, self._programs, self._files,
                self._hooks,
            ]  # fmt: skip
        steps = [step for part in (*parts, self._rest) for step in part()]
        needed = tuple(step for step in steps if step.is_needed())
        return Plan(needed, (), tuple(self._remarks), tuple(self._problems))

    # -- nobody calls us -------------------------------------------------------------------------

    def _hooks(self) -> Iterator[Step]:
        for editor in self._editors():
            try:
                change = hooks.plan(editor, self._home, remove=True)
                yield step(self._home, "hooks", self._without_backup(change))
            except InstallError as error:
                self._problems.append(f"{editor.title} is left out: {error}")

    def _without_backup(self, change: FileChange) -> FileChange:
        """Have a file that only gets smaller need no room, where there is none."""
        shrinks = len(change.after or b"") < len(change.before or b"")
        if not (self._is_full and change.is_needed and shrinks):
            return change
        self._remarks.append(f"the disk is full, so there will be no backup of {change.path}")
        return replace(change, backed_up=False)

    def _editors(self) -> list[Editor]:
        """Return every editor whose settings can have entries of ours, also one that is gone."""
        machine = Machine(self._places.home, self._unwanted.environment)
        return [find_editor(name, machine) for name in NAMES.values()]

    def _extension(self) -> Iterator[Step]:
        user_home, environment = self._places.home, self._unwanted.environment
        if self._known.file(self._home.extension_file) is None:
            return
        command = extension.find_command(user_home, environment)
        if command is not None:
            yield Step(
                "extension", f"have {command} remove the extension",
                lambda: extension.take_out(command, user_home, environment),
                lambda: extension.installed_version(user_home) is not None,
            )  # fmt: skip
        elif extension.installed_version(user_home) is not None:
            self._remarks.append("remove the extension Blueplane in Cursor, under Extensions")

    # -- nothing runs ----------------------------------------------------------------------------

    def _serving(self) -> Iterator[Step]:
        unit = self._unit_out_of_reach()
        if unit is not None:
            self._problems.append(
                f"{unit} is left out, and the program that it runs: {self._known.service} cannot "
                "be asked, or looks elsewhere; uninstall it from a session like that of the install"
            )
        service = self._service
        if service is not None and services.is_of(service, self._home):
            yield Step(
                "service", f"have {service.kind} run the server no more", service.disable,
                lambda: service.state().enabled or service.state().running,
            )  # fmt: skip
            yield step(self._home, "service", service.removal())
        yield Step(
            "service", "stop the server",
            self._stop, lambda: is_running(self._home),
        )  # fmt: skip

    def _unit_out_of_reach(self) -> Path | None:
        """Return the unit that the install wrote, where its manager is not the one found here."""
        if self._known.service is None or (
            self._service is not None and services.is_of(self._service, self._home)
        ):
            return None
        name = services.unit_name(self._unwanted.environment)
        units = (each for each in self._known.files if each.path.name == name)
        return next((each.path for each in units if _is_as_written(each)), None)

    def _stop(self) -> None:
        background.stop(self._home, self._server.asks_to_stop)

    # -- nothing is left -------------------------------------------------------------------------

    def _files(self) -> Iterator[Step]:
        unit = services.unit_name(self._unwanted.environment)  # it goes with its service
        ours = (each for each in self._known.files if each.ours == "file")
        for record in (each for each in ours if each.path.name != unit):
            with suppress(InstallError):
                change = changes.plan(record.path, None, mode=0, why="nobody has changed it")
                if self._may_go(change, record):
                    yield step(self._home, "files", change)

    def _may_go(self, change: FileChange, record: FileRecord) -> bool:
        """Whether a file is as we wrote it; else it stays, with a word."""
        if change.before is None:
            return False
        if manifest.digest(change.before) == record.sha256_after:
            return True
        self._remarks.append(f"{change.path} was changed by somebody, and stays")
        return False

    def _programs(self) -> Iterator[Step]:
        if self._service is not None and not services.is_of(self._service, self._home):
            self._remarks.append(
                f"the program stays: the service runs it for {self._service.home()}"
            )
            return
        if self._unit_out_of_reach() is not None:
            return
        places = dict.fromkeys((*self._known.programs, self._places.programs))
        yield from self._links({str(versions.current_program(place)) for place in places})
        for place in places:
            if versions.is_foreign(place):
                self._remarks.append(f"{place} belongs to somebody else, and stays")
            else:
                yield _program(place)

    def _links(self, targets: Collection[str]) -> Iterator[Step]:
        """Yield the links that lead to a program of ours."""
        for path in dict.fromkeys((*self._known.links, self._places.command)):
            yield Step(
                "program", f"remove the link {path}", path.unlink,
                partial(_leads_to, path, targets), path,
            )  # fmt: skip

    def _reserve(self) -> Iterator[Step]:
        reserve = self._home.reserve
        yield Step(
            "data", f"let go of the room that is kept for a full disk ({reserve})",
            lambda: reserve.unlink(missing_ok=True), lambda: os.path.lexists(reserve), reserve,
        )  # fmt: skip

    def _rest(self) -> Iterator[Step]:
        path = manifest.manifest_file(self._home)
        kept = purging.what_undoes(self._home) if self._problems else ()
        if kept:
            stay = " and ".join(map(str, kept))
            self._remarks.append(f"{stay} stay, to undo exactly what is left out")
        else:
            yield Step(
                "files", f"remove {path}", self._forget,
                lambda: os.path.lexists(path), path,
            )  # fmt: skip
        if self._unwanted.purge:
            yield self._purge(kept)

    def _purge(self, undoes: tuple[Path, ...]) -> Step:
        purging.check(self._home, self._places.home)
        kept = ", ".join(path.name for path in purging.strangers(self._home))
        if kept:
            self._remarks.append(f"{self._home.root} stays, for this is not ours: {kept}")
        where = f"what was captured from {self._home.root}"
        all_of_it = f"{self._home.root} with everything that was captured"
        return Step(
            "data", f"remove {where if kept or undoes else all_of_it}",
            lambda: purging.purge(self._home, undoes),
            lambda: purging.is_anything_left(self._home, undoes), self._home.root,
        )  # fmt: skip

    def _forget(self) -> None:
        known, _ = manifest.load(self._home)
        manifest.manifest_file(self._home).unlink()
        _remove_empty(known.directories)


def _program(place: Path) -> Step:
    return Step(
        "program", f"remove {place} with all versions of the program",
        lambda: pruning.remove_all(place), lambda: pruning.is_there(place), place,
    )  # fmt: skip


def _leads_to(path: Path, targets: Collection[str]) -> bool:
    return versions.leads_to(path) in targets


def _is_as_written(record: FileRecord) -> bool:
    with suppress(InstallError):
        found = changes.read(record.path)
        return found is not None and manifest.digest(found) == record.sha256_after
    return False


def _is_full(directory: Path) -> bool:
    free = free_bytes(directory)
    return free is not None and free < _ROOM


def _remove_empty(directories: tuple[Path, ...]) -> None:
    """Remove those of the directories that are empty, the deepest first."""
    for path in sorted(directories, key=lambda each: len(each.parts), reverse=True):
        with suppress(OSError):  # somebody else has something in it
            path.rmdir()
