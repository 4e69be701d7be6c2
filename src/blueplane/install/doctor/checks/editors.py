"""The hooks: whether the editors take their settings, run ours, and what else is in their way.

Owns the rows of each editor.
Promises to run only hooks of ours.
Leaves the editors' rules to ``install/validity.py``, and what an install writes to
``install/hooks.py``.
"""

import os
import re
import shlex
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

from blueplane.capture.pausing import paused
from blueplane.errors import InstallError
from blueplane.figures import count
from blueplane.install import changes, hooks, json_text, making, manifest
from blueplane.install.doctor import projects, settings
from blueplane.install.doctor.check import Check, Result, fail, ok, warn
from blueplane.install.doctor.checks.spool import refusal
from blueplane.install.doctor.firing import Shot, fire
from blueplane.install.doctor.scene import Scene, SkipError
from blueplane.install.doctor.words import listed
from blueplane.install.editors import NAMES
from blueplane.install.validity import Fault, file_faults, managed_faults

#: Milliseconds above which a hook is felt.
_SLOW_MS: Final = 300.0
#: Seconds that a foreign hook should be allowed at most: the editor waits for it.
_LONG_S: Final = 60
_ALL_OFF: Final = "disableAllHooks"
_MANAGED: Final = (
    "etc/claude-code/managed-settings.json",
    "etc/claude-code/managed-settings.d",
    "Library/Application Support/ClaudeCode/managed-settings.json",
)
#: A word of a command line that names a file, whatever the shell makes of the others.
_PATH: Final = re.compile(r"(?:^|[\s;|&<>()=`])[\"']?((?:/|~/)[^\s'\";|&<>$()`*?]+)")
_EDIT: Final = "${EDITOR:-vi}"


def _install(name: str) -> str:
    return f"blueplane install hooks --only {name}"


# --- the script -----------------------------------------------------------------------------------


def _script(scene: Scene) -> Result:
    path = hooks.hook_path(scene.home)
    change = hooks.plan_script(scene.home)
    if change.before is None and not manifest.load(scene.home)[0].files:
        message = f"{path}: none, for nothing was installed into an editor"
        raise SkipError(message)
    mend = partial(_write_script, scene, change)
    if change.before is None:
        return fail(f"{path}: is missing, so every hook does nothing", _install("cursor"), mend)
    if not os.access(path, os.X_OK):
        command = f"chmod 700 {shlex.quote(str(path))}"
        return fail(f"{path}: cannot be run, so every hook does nothing", command, mend)
    if change.is_needed:
        return fail(f"{path}: is not the script of this version", _install("cursor"), mend)
    return ok(f"{path}")


def _write_script(scene: Scene, change: changes.FileChange) -> str:
    making.make(scene.home, change)
    change.path.chmod(change.mode)
    return f"wrote {change.path}"


# --- settings -------------------------------------------------------------------------------------


def _settings(name: str, scene: Scene) -> Result:
    editor = scene.editor(NAMES[name])
    path = editor.settings
    faults = [fault for fault in file_faults(editor) if fault.where != _ALL_OFF]
    if faults:
        evidence = f"{path}: {_said(faults)}; {editor.title} may run no hook in it at all"
        return fail(evidence, f"{_EDIT} {shlex.quote(str(path))}")
    if not path.exists():
        return ok(f"{path}: none yet ({editor.title})")
    return ok(f"{path}: {editor.title} takes it")


def _said(faults: list[Fault]) -> str:
    return listed([f"{fault.where}: {fault.what}" for fault in faults])


def _hooks(name: str, scene: Scene) -> Result:
    editor, home = scene.editor(NAMES[name]), scene.home
    try:
        change = hooks.plan(editor, home)
    except InstallError as error:
        message = f"{editor.settings} cannot be edited: see {name}.settings"
        raise SkipError(message) from error
    here, wanted = set(settings.commands(editor, scene)), set(hooks.wanted_events(editor))
    evidence = f"{len(here & wanted)} of {count(len(wanted), 'hook')} in {editor.settings}"
    if not change.is_needed:
        return ok(f"{evidence} ({editor.title})")
    if manifest.load(home)[0].file(editor.settings) is None:
        return warn(f"{evidence}: nothing was installed into {editor.title}", _install(name))
    missing = sorted(wanted - here)
    detail = f"missing: {listed(missing)}" if missing else "not as this version writes them"
    return fail(f"{evidence}, {detail}", _install(name), partial(_mend, scene, change))


def _mend(scene: Scene, change: changes.FileChange) -> str:
    making.make(scene.home, change)
    return f"wrote {change.path}, a copy of before is in {scene.home.backups}"


def _switches(scene: Scene) -> Result:
    editor = scene.editor(NAMES["claude"])
    path = editor.settings
    off = _managed(scene)
    if off:
        return fail(f"turned off by whoever manages this machine: {listed(off)}", f"cat {off[0]}")
    if settings.settings_of(editor).get(_ALL_OFF) is True:
        return fail(f"{path}: {_ALL_OFF} is true", f"{_EDIT} {shlex.quote(str(path))}")
    return ok("no setting turns hooks off")


def _managed(scene: Scene) -> list[str]:
    """Return the managed files that turn the hooks of users off."""
    found = [scene.system / name for name in _MANAGED]
    files = [each for path in found for each in (sorted(path.glob("*.json")) or [path])]
    off = []
    for path in files:
        try:
            data = changes.read(path) if path.is_file() else None
        except InstallError:
            continue  # nobody knows, and Claude Code could not read it either
        faults = managed_faults(data.decode("utf-8", "replace")) if data else []
        off += [str(path) for fault in faults if fault.where.startswith(("disable", "allow"))]
    return off


def _projects(name: str, scene: Scene) -> Result:
    editor = scene.editor(NAMES[name])
    roots = projects.known(editor, scene)
    shadows = [each for root in roots for each in projects.shadows(editor, root)]
    if shadows:
        path, why = shadows[0]
        more = f", and {count(len(shadows) - 1, 'more')}" if len(shadows) > 1 else ""
        return warn(f"{path}: {why}{more}", f"{_EDIT} {shlex.quote(str(path))}")
    return ok(f"{count(len(roots), 'project')} looked at, none turns our hooks off")


# --- firing ---------------------------------------------------------------------------------------


def _fires(name: str, scene: Scene) -> Result:
    editor, home = scene.editor(NAMES[name]), scene.home
    found = {
        event: command
        for event, command in settings.commands(editor, scene).items()
        if command == hooks.command(home, editor.name, event)
    }
    if not found:
        message = f"no hook of ours: see {name}.hooks"
        raise SkipError(message)
    if not os.access(hooks.hook_path(home), os.X_OK):
        message = "the script is not there: see hook.script"
        raise SkipError(message)
    if paused(home) is not None or refusal(home) is not None:
        message = "hooks take nothing now: see spool.taking"
        raise SkipError(message)
    shots = fire(found, home.spool, scene.environment)
    bad = [f"{shot.event} {shot.trouble}" for shot in shots if shot.trouble]
    if bad:
        return fail(listed(bad), _install(name))
    return _timed(shots)


def _timed(shots: list[Shot]) -> Result:
    times = [shot.took_ms for shot in shots]
    evidence = f"{count(len(shots), 'hook')} ran, median {median(times):.0f} ms, "
    evidence += f"slowest {max(times):.0f} ms"
    if median(times) > _SLOW_MS:
        return warn(f"{evidence}: an editor waits for that", "uptime")
    return ok(evidence)


# --- other tools ----------------------------------------------------------------------------------


def _others(name: str, scene: Scene) -> Result:
    editor = scene.editor(NAMES[name])
    foreign = [each for each in settings.handlers(editor) if not each.is_ours]
    bad = list(_broken(foreign, scene)) + list(projects.complaints(editor, scene))
    if bad:
        return warn(listed(bad), f"{_EDIT} {shlex.quote(str(editor.settings))}")
    if not foreign:
        return ok("there are none")
    return ok(f"{count(len(foreign), 'hook')} of other tools, whose programs are there")


def _broken(foreign: list[settings.Handler], scene: Scene) -> Iterator[str]:
    """Yield what can be seen of hooks without running them."""
    for each in foreign:
        where, line = json_text.named(("hooks", each.event)), " ".join(each.words)
        gone = [path for path in _PATH.findall(line) if not _exists(path, scene)]
        if gone:
            yield f"{where}: {gone[0]} is not there"
        elif isinstance(each.timeout_s, int | float) and each.timeout_s > _LONG_S:
            yield f"{where}: may hold the editor up for {each.timeout_s:g} s"


def _exists(named: str, scene: Scene) -> bool:
    if named.startswith("~/"):
        return (scene.user_home / named[2:]).exists()
    return named.startswith("/dev/") or Path(named).exists()


_EDITOR_CHECKS: Final[tuple[tuple[str, str, Callable[[str, Scene], Result]], ...]] = (
    ("settings", "the editor takes its settings file", _settings),
    ("hooks", "our hooks are in it", _hooks),
    ("fires", "each of them runs and hands an event over", _fires),
    ("other_hooks", "hooks of other tools neither fail nor hold it up", _others),
    ("projects", "no project turns our hooks off", _projects),
)

CHECKS: Final = (
    Check("hook.script", "the script that editors run", _script),
    *(
        Check(f"{name}.{part}", about, partial(look, name))
        for name in NAMES
        for part, about, look in _EDITOR_CHECKS
    ),
    Check("claude.switches", "no setting turns all hooks off", _switches),
)
