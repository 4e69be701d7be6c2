"""The program's own place and the service: whether the system keeps the server running.

Owns what is compared: the links, the unit, what the manager says, and what the server finds out
about its own sandbox.
Promises to ask only a manager that is there.
Leaves installing to ``blueplane install``.
"""

import os
import shlex
from functools import partial
from pathlib import Path
from typing import Final

from blueplane.errors import HomeError, ServiceError
from blueplane.install import services, versions
from blueplane.install.doctor.check import Check, Result, fail, ok, warn
from blueplane.install.doctor.scene import Scene, SkipError
from blueplane.install.making import make
from blueplane.install.services import Service
from blueplane.install.user_places import UserPlaces, user_places
from blueplane.paths import Home

_INSTALL: Final = "blueplane install service"


def _places(scene: Scene) -> UserPlaces:
    try:
        return user_places(scene.environment)
    except HomeError as error:
        raise SkipError(str(error)) from error


def _service(scene: Scene) -> Service:
    """Return the manager's service; raise SkipError when no manager runs here."""
    _places(scene)
    found = services.find(scene.environment)
    if found is None:
        message = "no service manager runs here: `blueplane start` starts the server"
        raise SkipError(message)
    return found


# --- the program ----------------------------------------------------------------------------------


def _program(scene: Scene) -> Result:
    places = _places(scene)
    if versions.is_foreign(places.programs):
        evidence = f"{places.programs}: belongs to somebody else, who could put anything there"
        return fail(evidence, f"ls -ld {shlex.quote(str(places.programs))}")
    current = places.programs / versions.CURRENT
    if not os.path.lexists(current):
        message = f"{current}: none, for the program was not installed by `blueplane install`"
        raise SkipError(message)
    program = versions.current_program(places.programs)
    if not os.access(program, os.X_OK):
        leads = versions.leads_to(current)
        return fail(f"{current}: leads to {leads}, where no program is", "blueplane install")
    link = versions.command_link(places)
    if os.path.lexists(link.path) and link.is_needed:
        evidence = f"{link.path}: {versions.stranger(link)}, so a shell runs another program"
        return warn(evidence, f"ls -l {shlex.quote(str(link.path))}")
    return ok(f"{current} leads to {versions.leads_to(current)}")


# --- the service ----------------------------------------------------------------------------------


def _file(scene: Scene) -> Result:
    service, home = _service(scene), scene.home
    known = service.home()
    if known is None:
        return warn(f"{service.path}: none, so nobody starts the server again", _INSTALL)
    if not services.is_of(service, home):
        return warn(f"{service.path}: is for {known}, not for {home.root}", _INSTALL)
    program = versions.current_program(_places(scene).programs)
    if not os.access(program, os.X_OK):
        return fail(f"{service.path}: runs {program}, which is not there", "blueplane install")
    if not service.is_current(program, home):
        evidence = f"{service.path}: is not that of this version"
        return warn(evidence, _INSTALL, partial(_write, service, program, home))
    return ok(f"{service.path}: runs {program}")


def _write(service: Service, program: Path, home: Home) -> str:
    change = service.unit(program, home)
    make(home, change)
    return f"wrote {change.path}"


def _state(scene: Scene) -> Result:
    service = _service(scene)
    if not services.is_of(service, scene.home):
        message = "no service of this home: see service.file"
        raise SkipError(message)
    try:
        state = service.state()
    except ServiceError as error:
        return fail(str(error), "blueplane status")
    if not state.enabled:
        evidence = f"{service.kind}: {state.detail}; not started at the next login"
        return fail(evidence, _INSTALL, partial(_enable, service))
    if not state.running:
        evidence = f"{service.kind}: {state.detail}"
        return fail(evidence, "blueplane start", partial(_begin, scene))
    hint = service.hint()
    return ok(f"{service.kind}: {state.detail}{f'; {hint}' if hint else ''}")


def _enable(service: Service) -> str:
    service.enable_and_start()
    return "enabled and started the service"


def _begin(scene: Scene) -> str:
    scene.server.start()
    return "started the service"


def _sandbox(scene: Scene) -> Result:
    live = scene.live()
    manager, sandbox = live.get("manager"), live.get("sandbox")
    if not manager or not sandbox:
        message = "the server is kept by no service manager, so nothing holds it back"
        raise SkipError(message)
    if sandbox["level"] == "full":
        return ok(f"{manager}: the server can write nothing but its home")
    if manager != "systemd":
        message = f"{manager} has no sandbox"
        raise SkipError(message)
    where = ", ".join(sandbox["writable"][:2]) or "nothing, but its system calls are not filtered"
    return warn(f"{manager}: the server could write {where}", _INSTALL)


CHECKS: Final = (
    Check("program.links", "the program is where the links lead", _program),
    Check("service.file", "the service file runs a program that is there", _file),
    Check("service.state", "the service is enabled and runs", _state),
    Check("service.sandbox", "the server is held back by the system", _sandbox),
)
