"""Whether an editor itself would take its settings file.

Owns the editors' own rules, as far as hooks are concerned.
Promises to name what is wrong and where in the file, and never to quote more of it than keys: one
entry that an editor refuses turns off all hooks in the file, often without a word.
Leaves how bad that is, and what to do, to the doctor.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from blueplane.capture.claude_code.hooks import PLATFORM as CLAUDE_CODE
from blueplane.capture.cursor.hooks import PLATFORM as CURSOR
from blueplane.errors import InstallError
from blueplane.install import hook_events, json_text
from blueplane.install.changes import read
from blueplane.install.editors import Editor
from blueplane.install.hook_events import Knowledge, Version, dotted

_Faults = Iterator["Fault"]

#: How Python begins to say what is no regular expression in JavaScript either.
_BROKEN: Final = (
    "unterminated character set",
    "missing )",
    "unbalanced parenthesis",
    "nothing to repeat",
    "multiple repeat",
)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that an editor refuses: ``where`` is a path of keys, or a line and column."""

    where: str
    what: str


def file_faults(editor: Editor) -> list[Fault]:
    """Return what is wrong with the settings file of an editor; nothing when there is none."""
    try:
        data = read(editor.settings)
    except InstallError as error:
        return [Fault("file", str(error).removeprefix(f"{editor.settings}: "))]
    if data is None:
        return []
    faults = [Fault("file", "is a link, which Cursor refuses")] if _is_refused(editor) else []
    if data.startswith(b"\xef\xbb\xbf"):
        faults.append(Fault("line 1, column 1", "a byte order mark: save it without one"))
    try:
        text = json_text.decode(data)
    except InstallError as error:
        return [*faults, _placed(error)]
    return faults + _FAULTS[editor.name](text, editor.version)


def _is_refused(editor: Editor) -> bool:
    return editor.name == CURSOR.name and editor.settings.is_symlink()


def cursor_faults(text: str, version: Version | None) -> list[Fault]:
    """Return what Cursor of a version, None for an unknown one, has against its hooks file."""
    return list(_parsed(text, lambda settings: _cursor(settings, version)))


def claude_faults(text: str, version: Version | None) -> list[Fault]:
    """Return what Claude Code of a version has against a settings file; an empty one is fine."""
    if json_text.is_blank(text):
        return []
    return list(_parsed(text, lambda settings: _claude_code(settings, version)))


def managed_faults(text: str) -> list[Fault]:
    """Return what in a managed settings file of Claude Code turns the hooks of users off."""
    return list(_parsed(text, _managed))


def _parsed(text: str, look: Callable[[Any], _Faults]) -> _Faults:
    try:
        settings = json_text.parse(text)
    except InstallError as error:
        yield _placed(error)
        return
    yield from _object(settings, "the whole") or look(settings)


def _placed(error: InstallError) -> Fault:
    where, _, what = str(error).partition(": ")
    return Fault(where, what)


# --- Cursor --------------------------------------------------------------------------------------


def _cursor(settings: Mapping[str, Any], version: Version | None) -> _Faults:
    if not _is_count(settings.get("version")):
        yield Fault("version", "must be a positive whole number")
    yield from _hooks(settings.get("hooks"), hook_events.CURSOR, version, _cursor_entry)


def _cursor_entry(entry: Any, where: str) -> _Faults:  # noqa: ANN401 - whatever the file holds
    kind = entry.get("type", "command")
    if kind not in ("command", "prompt"):
        yield Fault(f"{where}.type", "must be command or prompt")
    elif not isinstance(entry.get(kind), str) or (kind == "prompt" and not entry[kind].strip()):
        yield Fault(f"{where}.{kind}", "must be a text")
    yield from _matcher(entry, where)
    yield from _timeout(entry, where)
    limit = entry.get("loop_limit")
    if limit is not None and not _is_count(limit):
        yield Fault(f"{where}.loop_limit", "must be a positive whole number or null")
    if not isinstance(entry.get("failClosed", False), bool):
        yield Fault(f"{where}.failClosed", "must be true or false")


# --- Claude Code ---------------------------------------------------------------------------------

#: What a handler of each type must have.
_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "command": ("command",),
    "http": ("url",),
    "prompt": ("prompt",),
    "agent": ("prompt",),
    "mcp_tool": (),
}


def _claude_code(settings: Mapping[str, Any], version: Version | None) -> _Faults:
    if settings.get("disableAllHooks") is True:
        yield Fault("disableAllHooks", "turns every hook off")
    if "hooks" in settings:
        yield from _hooks(settings["hooks"], hook_events.CLAUDE_CODE, version, _claude_group)


def _claude_group(group: Any, where: str) -> _Faults:  # noqa: ANN401 - whatever the file holds
    yield from _matcher(group, where, is_regex=False)
    handlers = group.get("hooks")
    if not isinstance(handlers, list):
        yield Fault(f"{where}.hooks", "must be a list")
        return
    for number, handler in enumerate(handlers):
        place = f"{where}.hooks[{number}]"
        yield from _object(handler, place) or _claude_handler(handler, place)


def _claude_handler(handler: Mapping[str, Any], where: str) -> _Faults:
    kind = handler.get("type")
    if not isinstance(kind, str) or kind not in _NEEDS:
        yield Fault(f"{where}.type", f"must be one of {', '.join(_NEEDS)}")
        return
    for key in _NEEDS[kind]:
        if not isinstance(handler.get(key), str):
            yield Fault(f"{where}.{key}", "must be a text")
    yield from _timeout(handler, where)
    if not isinstance(handler.get("async", False), bool):
        yield Fault(f"{where}.async", "must be true or false")


def _managed(settings: Mapping[str, Any]) -> _Faults:
    if settings.get("disableAllHooks") is True:
        yield Fault("disableAllHooks", "turns every hook off")
    if settings.get("allowManagedHooksOnly") is True:
        yield Fault("allowManagedHooksOnly", "turns off every hook that is not a managed one")


# --- both ----------------------------------------------------------------------------------------


def _hooks(
    hooks: Any,  # noqa: ANN401 - whatever the file holds
    knowledge: Knowledge,
    version: Version | None,
    look: Callable[[Any, str], _Faults],
) -> _Faults:
    wrong = _object(hooks, "hooks")
    if wrong:
        yield from wrong
        return
    for event, entries in hooks.items():
        where = json_text.named(("hooks", event))
        if knowledge.refuses(event, version):
            yield Fault(where, _dropped(version))
        if not isinstance(entries, list):
            yield Fault(where, "must be a list")
            continue
        for number, entry in enumerate(entries):
            place = f"{where}[{number}]"
            yield from _object(entry, place) or look(entry, place)


def _dropped(version: Version | None) -> str:
    if version is None:
        return "is the name of no event, for which the editor drops the whole file"
    return f"version {dotted(version)} knows no such event, and drops the whole file"


def _object(value: object, where: str) -> list[Fault]:
    return [] if isinstance(value, dict) else [Fault(where, "must be an object")]


def _matcher(entry: Mapping[str, Any], where: str, *, is_regex: bool = True) -> _Faults:
    matcher = entry.get("matcher", "")
    if not isinstance(matcher, str):
        yield Fault(f"{where}.matcher", "must be a text")
    elif is_regex and not _compiles(matcher):
        yield Fault(f"{where}.matcher", "must be a regular expression")


def _compiles(pattern: str) -> bool:
    """Whether a pattern is one, as far as Python and JavaScript agree on what is none."""
    try:
        re.compile("" if pattern == "*" else pattern)
    except re.error as error:
        return not error.msg.startswith(_BROKEN)
    return True


def _timeout(entry: Mapping[str, Any], where: str) -> _Faults:
    if "timeout" in entry and not _is_positive(entry["timeout"]):
        yield Fault(f"{where}.timeout", "must be a positive number of seconds")


def _is_positive(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return 0 < value < math.inf


def _is_count(value: Any) -> bool:  # noqa: ANN401 - whatever the file holds
    return _is_positive(value) and value == int(value)


_FAULTS: Final[Mapping[str, Callable[[str, Version | None], list[Fault]]]] = {
    CURSOR.name: cursor_faults,
    CLAUDE_CODE.name: claude_faults,
}
