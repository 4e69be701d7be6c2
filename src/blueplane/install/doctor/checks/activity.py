"""Whether what the editors do arrives, how long they keep it, and where else they work.

Owns the comparison of an editor's own files with what was captured of it.
Promises to read times and sizes only.
Leaves what is in the files to nobody.
"""

from collections import Counter
from functools import partial
from typing import Final
from urllib.parse import unquote, urlsplit

from blueplane.clock import MS_PER_DAY, NS_PER_MS, wall_ms
from blueplane.figures import age, count, size
from blueplane.install.doctor import projects, settings
from blueplane.install.doctor.check import Check, Result, ok, warn
from blueplane.install.doctor.checks.spool import held
from blueplane.install.doctor.scene import Scene, SkipError
from blueplane.install.editors import NAMES
from blueplane.install.hooks import hook_path

#: Milliseconds by which the last event may be behind the editor's own files.
_BEHIND_MS: Final = 10 * 60_000
#: What Claude Code does without a setting, the days that are looked ahead, and what is too few.
_CLEANUP_DAYS: Final = 30
_AHEAD_DAYS: Final = 7
#: Milliseconds for which a workspace on another machine is of interest.
_RECENT_MS: Final = 30 * MS_PER_DAY
_CONTAINER_FILES: Final = (".dockerenv", "run/.containerenv")
_CONTAINER_VARIABLES: Final = ("CODESPACES", "REMOTE_CONTAINERS", "CLAUDE_CODE_REMOTE")


def _activity(name: str, scene: Scene) -> Result:
    editor = scene.editor(NAMES[name])
    if not settings.commands(editor, scene):
        message = f"no hook of ours: see {name}.hooks"
        raise SkipError(message)
    kept = projects.transcripts(editor)
    if not kept:
        message = f"{editor.title} has left no transcript, so nobody knows when it last worked"
        raise SkipError(message)
    now_ms, worked_ms = wall_ms(), kept[0].mtime_ns // NS_PER_MS
    last_ms = _last_event_ms(scene, editor.name)
    worked, last = age(now_ms - worked_ms), age(now_ms - last_ms) if last_ms else "never"
    evidence = f"worked {worked}, last hook event {last}"
    if worked_ms - max(last_ms, _installed_ms(scene)) > _BEHIND_MS:
        return warn(evidence, f"blueplane install hooks --only {name}")
    return ok(evidence)


def _last_event_ms(scene: Scene, platform: str) -> int:
    """Return when the last event was captured: what waits in the spool may be of any editor."""
    waits = held(scene.home.spool)
    waiting_ms = wall_ms() - waits.newest_ms if waits.files else 0
    try:
        with scene.stored() as reader:
            found = [each.last_ms for each in reader.hooks() if each.platform == platform]
    except SkipError:
        found = []
    return max([waiting_ms, *found])


def _installed_ms(scene: Scene) -> int:
    try:
        return hook_path(scene.home).stat().st_mtime_ns // NS_PER_MS
    except OSError:
        return 0


def _cleanup(scene: Scene) -> Result:
    editor = scene.editor(NAMES["claude"])
    days = settings.settings_of(editor).get("cleanupPeriodDays", _CLEANUP_DAYS)
    if not isinstance(days, int | float) or isinstance(days, bool):
        days = _CLEANUP_DAYS
    limit_ms = wall_ms() - (days - _AHEAD_DAYS) * MS_PER_DAY
    gone = [kept for kept in projects.transcripts(editor) if kept.mtime_ns // NS_PER_MS < limit_ms]
    evidence = (
        f"transcripts are kept for {days:g} days; {count(len(gone), 'file')}, "
        f"{size(sum(kept.bytes for kept in gone))}, go within {_AHEAD_DAYS} days"
    )
    if days < _AHEAD_DAYS:
        return warn(f"{editor.settings}: {evidence}", f"${{EDITOR:-vi}} {editor.settings}")
    return ok(evidence)


def _history(scene: Scene) -> Result:
    found = scene.history()
    sums = {key: sum(row[key] for row in found["rows"]) for key in ("files", "bytes", "bytes_left")}
    if unread := found["unread"]:
        first = f"{unread[0]['path']}: {unread[0]['reason']}"
        return warn(f"{count(len(unread), 'file')} cannot be read: {first}", "blueplane backfill")
    total = f"{count(sums['files'], 'file')} of the editors, {size(sums['bytes'])}"
    return ok(f"{total}, " + (f"{size(sums['bytes_left'])} left" if sums["bytes_left"] else "read"))


# --- elsewhere ------------------------------------------------------------------------------------


def _elsewhere(scene: Scene) -> Result:
    if _in_container(scene) and not scene.running():
        evidence = "this is a container or a remote: hooks run here, and no server does"
        return warn(evidence, "blueplane start")
    since_ns = (wall_ms() - _RECENT_MS) * NS_PER_MS
    kinds = Counter(
        _authority(uri)
        for uri, at_ns in projects.workspaces(scene)
        if urlsplit(uri).scheme == "vscode-remote" and at_ns > since_ns
    )
    if kinds:
        shown = ", ".join(f"{kind} {number}" for kind, number in sorted(kinds.items()))
        evidence = (
            f"workspaces on other machines in the last 30 days ({shown}): hooks run there, and "
            "what they hand over stays there"
        )
        return warn(evidence, "blueplane install # there")
    return ok("every editor works on this machine")


def _in_container(scene: Scene) -> bool:
    files = (scene.system / name for name in _CONTAINER_FILES)
    named = (scene.environment.get(name) for name in _CONTAINER_VARIABLES)
    return any(path.exists() for path in files) or any(named)


def _authority(uri: str) -> str:
    """Return how a machine is reached, as ``ssh-remote``, and not which it is."""
    return unquote(urlsplit(uri).netloc).partition("+")[0] or "remote"


CHECKS: Final = (
    *(
        Check(f"{name}.activity", "what the editor does arrives", partial(_activity, name))
        for name in NAMES
    ),
    Check("claude.cleanup", "transcripts are kept long enough", _cleanup),
    Check("editors.history", "what the editors keep is read", _history),
    Check("editors.elsewhere", "no hook runs where no server is", _elsewhere),
)
