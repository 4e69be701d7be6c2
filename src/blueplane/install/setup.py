"""What an install does: every step of it, from what is found on this machine.

Owns the parts of an install, their order, and how what runs already is taken over.
Promises that a plan changes nothing, and that a second one has only what the first left undone.
Leaves each file, service and version to its own module, and asking the user to the interfaces.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Final

from blueplane import __version__
from blueplane.capture.history import History
from blueplane.clock import NS_PER_MS, parse_iso_ms
from blueplane.config import CaptureSettings, load
from blueplane.errors import InstallError, StoreError
from blueplane.figures import count, size
from blueplane.install import (
    background,
    completion,
    extension,
    hooks,
    manifest,
    pruning,
    redis_setup,
    services,
    versions,
)
from blueplane.install.background import RunningServer
from blueplane.install.completion import Shell
from blueplane.install.editors import Editor, Machine, find_editors
from blueplane.install.making import alone, missing_parents, note_directories, record, step
from blueplane.install.plan import Plan, Step, undisturbed
from blueplane.install.services import Service
from blueplane.install.user_places import UserPlaces
from blueplane.lock import ServerLock, is_running, named_holder
from blueplane.paths import Home
from blueplane.pipeline.commits import Commits
from blueplane.store.connection import open_reader, translated
from blueplane.store.migrations import STEPS
from blueplane.store.reading import version

#: The parts of every install, in the order in which they are done, and all there are.
USUAL: Final = ("program", "database", "hooks", "service", "completion")
PARTS: Final = (*USUAL, "extension")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user wants: parts of an install, one editor or all, and a service or none.

    ``completions`` are the shells to complete in; ``completion_text`` is the text for one.
    """

    home: Home
    places: UserPlaces
    environment: Mapping[str, str]
    completion_text: Callable[[Shell], str]
    parts: frozenset[str] = frozenset(USUAL)
    only: str = ""
    service: bool = True
    completions: tuple[Shell, ...] = ()


class Setup:
    """Plans one install."""

    def __init__(self, wanted: Wanted, server: RunningServer) -> None:
        self._wanted = wanted
        self._home = wanted.home
        self._places = wanted.places
        self._server = server
        self._editors = self._find_editors()
        self._service = self._find_service()
        self._placement = versions.place(versions.running(), self._places.programs)
        self._link = versions.current(self._placement)
        self._remarks: list[str] = []
        self._problems: list[str] = []

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Have two installs of one home wait for each other; makes the home's directories."""
        missing = missing_parents(self._home.hooks / "any")
        self._home.prepare()
        with alone(self._home):
            note_directories(self._home, missing)
            yield

    def plan(self) -> Plan:
        """Return the steps that are needed; raise BlueplaneError when there can be no plan."""
        ways = {
            "program": self._program,
            "database": self._database,
            "hooks": self._hooks,
            "service": self._serving,
            "completion": self._completion,
            "extension": self._extension,
        }
        _, remark = manifest.load(self._home)
        self._remarks += [remark] if remark else []
        self._remarks += self._about_home()
        steps = [step for part in PARTS if part in self._wanted.parts for step in ways[part]()]
        needed = tuple(step for step in steps if step.is_needed())
        note = self._record_step()
        if "program" in self._wanted.parts and (needed or note.is_needed()):
            needed = (*needed, note)
        return Plan(needed, tuple(self._found()), tuple(self._remarks), tuple(self._problems))

    # -- what is there ---------------------------------------------------------------------------

    def _found(self) -> Iterator[tuple[str, str]]:
        yield "program", f"{__version__} ({versions.running().kind})"
        if "hooks" in self._wanted.parts:
            for editor in self._editors:
                yield "editor", f"{editor.title} ({editor.evidence})"
            if not self._editors:
                yield "editor", "none was found here"
        if "service" in self._wanted.parts:
            settings = load(self._home, self._wanted.environment)
            yield "redis", redis_setup.outlook(self._home, settings.redis)
            yield "service", self._service.kind if self._service else self._why_no_service()
            yield from self._history(settings.capture)

    def _history(self, settings: CaptureSettings) -> Iterator[tuple[str, str]]:
        """Say how much the server will read of what was there before."""
        found = History(settings, self._places.home, self._wanted.environment, b"").survey()
        files, total = sum(each.files for each in found), sum(each.bytes for each in found)
        if files and self._wanted.service:
            much = f"{count(files, 'file')}, {size(total)}"
            yield "history", f"{much} that the editors keep: the server reads them"

    def _find_editors(self) -> list[Editor]:
        machine = Machine(self._places.home, self._wanted.environment)
        found = find_editors(machine)
        return [editor for editor in found if self._wanted.only in ("", editor.name)]

    def _find_service(self) -> Service | None:
        return services.find(self._wanted.environment) if self._wanted.service else None

    def _why_no_service(self) -> str:
        return "no service manager runs here" if self._wanted.service else "not wanted"

    def _about_home(self) -> Iterator[str]:
        """Say what commands need to find a home that is not where they look."""
        usual = {self._places.home / ".blueplane", Path(self._environ("BLUEPLANE_HOME") or ".")}
        if self._home.root not in usual:
            yield f"commands find this home by --home, or by BLUEPLANE_HOME={self._home.root}"

    def _environ(self, name: str) -> str:
        return self._wanted.environment.get(name, "")

    # -- program ---------------------------------------------------------------------------------

    def _program(self) -> Iterator[Step]:
        placement, link = self._placement, self._link
        yield Step(
            "program", f"put Blueplane {__version__} into {placement.directory}",
            self._place, lambda: placement.is_needed, placement.directory,
        )  # fmt: skip
        yield Step(
            "program", f"have {link.path} lead to {placement.directory.name}", self._make_current,
            lambda: link.is_needed, link.path,
        )  # fmt: skip
        command = versions.command_link(self._places)
        stranger = versions.stranger(command)
        if stranger:
            self._remarks.append(f"{command.path} {stranger}, and stays as it is")
            return
        yield Step(
            "program", f"link {command.path} to that", lambda: self._make_link(command),
            lambda: command.is_needed, command.path,
        )  # fmt: skip
        if str(command.path.parent) not in self._environ("PATH").split(os.pathsep):
            self._remarks.append(
                f"{command.path.parent} is not on your PATH: put it there, or type {command.path}"
            )

    def _place(self) -> None:
        note_directories(self._home, missing_parents(self._placement.directory))
        self._note_programs()
        self._placement.apply()

    def _make_current(self) -> None:
        self._note_programs()
        if self._placement.program.kind == "executable":
            note_directories(self._home, self._unpacked_into())
        self._placement.sync()
        self._link.apply()

    def _note_programs(self) -> None:
        place = self._placement.programs
        record(self._home, lambda known: replace(known, programs=_with(known.programs, place)))

    def _unpacked_into(self) -> tuple[Path, ...]:
        """Return the directories that the executable has made for itself: nothing else is there."""
        parents = self._placement.directory.parents
        within = takewhile(lambda path: path != self._places.home, parents)
        return tuple(takewhile(lambda path: len(list(path.iterdir())) == 1, within))

    def _make_link(self, link: versions.Link) -> None:
        note_directories(self._home, missing_parents(link.path))
        with undisturbed():
            link.apply()
            record(self._home, lambda known: replace(known, links=_with(known.links, link.path)))

    # -- database --------------------------------------------------------------------------------

    def _database(self) -> Iterator[Step]:
        verb = "bring to this version" if self._home.database.exists() else "make"
        yield Step(
            "database", f"{verb} {self._home.database}", self._make_database,
            self._needs_database, self._home.database,
        )  # fmt: skip

    def _needs_database(self) -> bool:
        """A running server has made it; one that is restarted brings it to its version."""
        if is_running(self._home):
            return False
        if not self._home.database.exists():
            return True
        path = self._home.database
        try:
            with translated(path), closing(open_reader(path)) as connection:
                return version(connection) < len(STEPS)
        except StoreError:
            return False  # a server sets a damaged one aside, and the doctor knows what to do

    def _make_database(self) -> None:
        lock = ServerLock(self._home)
        lock.take()
        try:
            Commits(self._home.database).close()
        finally:
            lock.release()

    # -- hooks -----------------------------------------------------------------------------------

    def _hooks(self) -> Iterator[Step]:
        yield step(self._home, "hooks", hooks.plan_script(self._home))
        for editor in self._editors:
            try:
                yield step(self._home, "hooks", hooks.plan(editor, self._home))
            except InstallError as error:
                self._problems.append(f"{editor.title} is left out: {error}")

    # -- service ---------------------------------------------------------------------------------

    def _serving(self) -> Iterator[Step]:
        if self._service is None:
            yield from self._background()
            return
        service = self._service
        unit = service.unit(versions.current_program(self._places.programs), self._home)
        yield step(self._home, "service", unit)
        yield Step(
            "service", f"have {service.kind} run the server, now and at every login",
            lambda: self._run_service(service),
            lambda: self._is_stale(service.path) or _is_idle(service),
        )  # fmt: skip
        hint = service.hint()
        self._remarks += [hint] if hint else []

    def _background(self) -> Iterator[Step]:
        running = is_running(self._home)
        verb = "restart" if running else "start"
        if running or self._wanted.service:
            yield Step(
                "service", f"{verb} the server in the background", self._run_in_background,
                lambda: self._is_stale() or not is_running(self._home),
            )  # fmt: skip
        if self._wanted.service:
            self._remarks.append(
                "no service manager runs here: after a restart of the machine, `blueplane start` "
                "starts the server; what the hooks hand over waits until then"
            )
        elif not running:
            self._remarks.append("no server runs; `blueplane start` starts one")

    def _is_stale(self, *files: Path) -> bool:
        """Whether a server runs that is not of this version, or began before what it runs by."""
        if not is_running(self._home):
            return False
        if self._link.is_needed or self._server.version() not in (None, __version__):
            return True
        began_ms = _began_ms(self._home)
        return any(_changed_ms(path) > began_ms for path in (self._link.path, *files))

    def _run_service(self, service: Service) -> None:
        state = service.state()
        if not state.running:  # whoever runs was started by hand
            background.stop(self._home, self._server.asks_to_stop)
        if state.running and state.enabled:
            service.restart()
        else:
            service.enable_and_start()
        services.await_answer(service, self._home, self._server.pid)
        record(self._home, lambda known: replace(known, service=service.kind))

    def _run_in_background(self) -> None:
        background.stop(self._home, self._server.asks_to_stop)
        background.start(self._home, self._server.pid)

    # -- completion ------------------------------------------------------------------------------

    def _completion(self) -> Iterator[Step]:
        for shell in self._wanted.completions:
            change = completion.plan(shell, self._places, self._wanted.completion_text)
            yield step(self._home, "completion", change)
            hint = completion.hint(shell, self._places)
            self._remarks += [hint] if hint and change.is_needed else []

    # -- extension -------------------------------------------------------------------------------

    def _extension(self) -> Iterator[Step]:
        user_home, environment = self._places.home, self._wanted.environment
        yield step(self._home, "extension", extension.plan(self._home))
        command = extension.find_command(user_home, environment)
        if command is not None:
            yield Step(
                "extension", f"have {command} install it",
                lambda: extension.put_in(command, self._home, __version__, user_home, environment),
                lambda: extension.installed_version(user_home) != __version__,
            )  # fmt: skip
        elif extension.installed_version(user_home) != __version__:
            self._remarks.append(f"Cursor has no command here: {extension.by_hand(self._home)}")
        if self._home.root != user_home / ".blueplane":
            self._remarks.append(f"set `blueplane.home` in Cursor's settings to {self._home.root}")

    # -- the manifest ------------------------------------------------------------------------------

    def _record_step(self) -> Step:
        return Step(
            "program", f"note in {manifest.manifest_file(self._home)} what was installed",
            lambda: record(self._home, lambda known: replace(known, version=__version__)),
            lambda: manifest.load(self._home)[0].version != __version__,
        )  # fmt: skip


def usual_parts(home: Home) -> frozenset[str]:
    """Return the parts of a whole install: the extension only where it was asked for before."""
    known, _ = manifest.load(home)
    return frozenset(PARTS if known.file(home.extension_file) else USUAL)


def tidy(places: UserPlaces) -> list[str]:
    """Remove the versions that nobody runs any more; return their names."""
    idle = pruning.idle_versions(places.programs)
    for directory in idle:
        pruning.remove_version(directory)
    return [directory.name for directory in idle if not directory.exists()]


def _with(paths: tuple[Path, ...], path: Path) -> tuple[Path, ...]:
    return (*(each for each in paths if each != path), path)


# --- what is there --------------------------------------------------------------------------------


def _is_idle(service: Service) -> bool:
    state = service.state()
    return not (state.enabled and state.running)


def _began_ms(home: Home) -> int:
    """Return when the running server took its lock; 0 when that is not known."""
    named = named_holder(home.lock_file)
    with suppress(ValueError):
        return parse_iso_ms(named[1]) if named else 0
    return 0


def _changed_ms(path: Path) -> int:
    try:
        return os.lstat(path).st_mtime_ns // NS_PER_MS
    except OSError:
        return 0
