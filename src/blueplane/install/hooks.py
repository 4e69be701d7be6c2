"""Our hooks in the settings files of the editors.

Owns the script that editors run, its command line, and the plan to have that in a settings file or
out of it.
Promises that nothing of anybody else's in the file changes, that a file which already is as it
should be stays untouched, and that removing gives back the bytes of before when nobody else wrote
in between; else that only our entries go, and what was made for them.
Leaves which events there are to ``hook_events.py``, the text to ``json_text.py``, the file to
``changes.py``.
"""

import json
import os
import re
import shlex
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from blueplane import shipped
from blueplane.capture.claude_code import settings as claude_code
from blueplane.capture.claude_code.hooks import PLATFORM as CLAUDE_CODE
from blueplane.capture.cursor import settings as cursor
from blueplane.capture.cursor.hooks import PLATFORM as CURSOR
from blueplane.capture.settings_file import OUR_COMMAND
from blueplane.errors import InstallError
from blueplane.install import changes, hook_events, json_text, manifest
from blueplane.install.changes import FileChange, read, read_to_change
from blueplane.install.editors import Editor
from blueplane.install.hook_events import Knowledge
from blueplane.install.manifest import FileRecord
from blueplane.paths import Home

#: Seconds that a hook may take; it needs some milliseconds.
TIMEOUT_S: Final = 5
#: Claude Code gives all hooks at the end of a session 1.5 s together, or the longest of their
#: timeouts: ours must not make the others' limit longer.
_SESSION_END_S: Final = 1
_NEW_FILE: Final = 0o600
#: Gives what a settings file is to hold, of an editor, a home, the record of it, and what it holds.
_Make: TypeAlias = Callable[[Editor, Home, FileRecord | None, bytes | None], bytes | None]
_SCRIPT_MODE: Final = 0o700
#: Where the script looks for its home before it is installed.
_HOME_LINE: Final = re.compile(rb"^home=.*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Dialect:
    """How one editor writes its hooks.

    ``entry(event, command)`` is an item of an event's list, ``handlers(item)`` are the hooks in an
    item, ``words(handler)`` what a hook runs. ``required`` are members that the file must have.
    """

    knowledge: Knowledge
    entry: Callable[[str, str], dict[str, Any]]
    handlers: Callable[[Any], list[Any]]
    words: Callable[[Any], list[Any]]
    required: Mapping[str, Any]


def _cursor_entry(_event: str, line: str) -> dict[str, Any]:
    return {"command": line, "timeout": TIMEOUT_S}


def _claude_entry(event: str, line: str) -> dict[str, Any]:
    timeout_s = _SESSION_END_S if event == "SessionEnd" else TIMEOUT_S
    return {"hooks": [{"type": "command", "command": line, "timeout": timeout_s}]}


def _claude_handlers(group: Any) -> list[Any]:  # noqa: ANN401 - whatever the file holds
    handlers = group.get("hooks") if isinstance(group, dict) else None
    return handlers if isinstance(handlers, list) else []


_DIALECTS: Final[Mapping[str, _Dialect]] = {
    CURSOR.name: _Dialect(
        hook_events.CURSOR, _cursor_entry, lambda entry: [entry], cursor.words, {"version": 1}
    ),
    CLAUDE_CODE.name: _Dialect(
        hook_events.CLAUDE_CODE, _claude_entry, _claude_handlers, claude_code.words, {}
    ),
}


def hook_path(home: Home) -> Path:
    """Return where the hook script of a home is."""
    return home.hooks / OUR_COMMAND


def plan_script(home: Home) -> FileChange:
    """Plan the hook script, which knows its home by itself; raise InstallError."""
    text = shipped.find(shipped.HOOK).read_bytes()
    line = b"home=" + os.fsencode(shlex.quote(str(home.root)))
    script, found = _HOME_LINE.subn(lambda _: line, text, count=1)
    if not found:
        message = f"{shipped.HOOK}: has no line for its home; install Blueplane again"
        raise InstallError(message)
    why = "the script that editors run"
    return changes.plan(hook_path(home), script, mode=_SCRIPT_MODE, why=why)


def command(home: Home, platform: str, event: str) -> str:
    """Return the command line of a hook; without the script it does nothing and ends with 0."""
    script = shlex.quote(str(hook_path(home)))
    return f"[ ! -x {script} ] || exec {script} {platform} {event}"


def wanted_events(editor: Editor) -> tuple[str, ...]:
    """Return the events that are asked for from this version of an editor."""
    return _DIALECTS[editor.name].knowledge.wanted(editor.version)


def plan(editor: Editor, home: Home, *, remove: bool = False) -> FileChange:
    """Plan to have our hooks in the settings of an editor, or none of them.

    Raises InstallError when the file is not JSON, or is no file of settings, and when it must not
    be changed, unless it is as it should be. An empty one counts as none.
    """
    make = _without if remove else _with
    try:
        before = read_to_change(editor.settings)
    except InstallError:
        with suppress(InstallError):  # what it holds is looked at only if it can stay
            change = _planned(editor, home, read(editor.settings), make)
            if not change.is_needed:
                return change
        raise
    return _planned(editor, home, before, make)


def _planned(editor: Editor, home: Home, before: bytes | None, make: _Make) -> FileChange:
    record = manifest.load(home)[0].file(editor.settings)
    try:
        after = make(editor, home, record, before)
    except InstallError as error:
        message = f"{editor.settings}, {error}"
        raise InstallError(message) from None
    title, count = editor.title, len(wanted_events(editor))
    why = f"{count} hooks in {title}" if make is _with else f"our hooks out of {title}"
    return FileChange(editor.settings, before, after, _NEW_FILE, why)


# --- the file ------------------------------------------------------------------------------------


def _with(editor: Editor, home: Home, record: FileRecord | None, now: bytes | None) -> bytes | None:
    ours = _Ours(_DIALECTS[editor.name], str(hook_path(home)))
    entries = {
        event: ours.dialect.entry(event, command(home, editor.name, event))
        for event in wanted_events(editor)
    }
    text = "" if now is None else json_text.decode(now)
    if json_text.is_blank(text):
        return _new_file(ours.dialect, entries) if entries else now
    if text.startswith("\ufeff"):
        message = "line 1, column 1: begins with a byte order mark; save it without one"
        raise InstallError(message)
    _check(text)
    text = ours.remove(text, entries, ours.before(_first(record)))
    for key, value in ours.dialect.required.items() if entries else ():
        if json_text.find(text, (key,)) is None:
            text = json_text.set_member(text, (), key, value)
    for event, entry in entries.items():
        text = ours.put(text, event, entry)
    return text.encode("utf-8")


def _new_file(dialect: _Dialect, entries: Mapping[str, Any]) -> bytes:
    hooks = {event: [entry] for event, entry in entries.items()}
    value = {**dialect.required, "hooks": hooks}
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode("utf-8")


def _without(
    editor: Editor, home: Home, record: FileRecord | None, now: bytes | None
) -> bytes | None:
    if now is None or OUR_COMMAND.encode() not in now:
        return now
    ours = _Ours(_DIALECTS[editor.name], str(hook_path(home)))
    first = _first(record)
    if record is None or first is None:
        return ours.taken_out(now, None)
    was_there = record.sha256_before is not None
    if record.sha256_after == manifest.digest(now):
        return ours.taken_out(first, first) if was_there else None
    left = ours.taken_out(now, first)
    return left if was_there or json_text.parse(json_text.decode(left)) != {} else None


def _first(record: FileRecord | None) -> bytes | None:
    """Return what the first install found, empty for no file; None when it is not known."""
    if record is None or record.sha256_before is None:
        return None if record is None else b""
    try:
        data = None if record.backup is None else read(record.backup)
    except InstallError:
        return None
    known = data is not None and manifest.digest(data) == record.sha256_before
    return data if known else None


def _check(text: str) -> None:
    """Raise InstallError unless the text is one of settings, as far as we need it to be."""
    json_text.parse(text)
    for event in _events(text):
        json_text.items(text, ("hooks", event))


def _events(text: str) -> list[str]:
    return [str(member.key) for member in json_text.members(text, ("hooks",))]


# --- our entries ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Before:
    """What a file had before the first install: its members, and the events with a list."""

    members: AbstractSet[str]
    events: AbstractSet[str]


_NOT_KNOWN: Final = _Before(frozenset(), frozenset())


@dataclass(frozen=True, slots=True)
class _Ours:
    """What is ours in a text: whatever runs ``script``, the hook of this home."""

    dialect: _Dialect
    script: str

    def before(self, first: bytes | None) -> _Before:
        """Return what is not ours in the file that the first install found."""
        text = "" if first is None else json_text.decode(first)
        if json_text.is_blank(text):
            return _NOT_KNOWN
        rest = self.remove(text, {}, _NOT_KNOWN)
        members = {str(member.key) for member in json_text.members(rest, ())}
        return _Before(members, frozenset(_events(rest)))

    def taken_out(self, data: bytes, first: bytes | None) -> bytes:
        """Return a file without anything of ours; ``first`` is what was there before, if known."""
        text = json_text.decode(data)
        if json_text.is_blank(text):
            return data
        _check(text)
        before = self.before(first)
        text = self.remove(text, {}, before)
        for key, value in self.dialect.required.items() if first is not None else ():
            found = json_text.find(text, (key,))
            if key not in before.members and found is not None and found.value == value:
                text = json_text.remove_member(text, (), key)
        return text.encode("utf-8")

    def put(self, text: str, event: str, entry: dict[str, Any]) -> str:
        """Return the text with exactly this entry of ours for an event."""
        items = json_text.items(text, ("hooks", event))
        mine = [item.value for item in items if self._any(item.value)]
        if mine == [entry]:
            return text
        text = self._purge(text, event) if mine else text
        return json_text.append_item(text, ("hooks", event), entry)

    def remove(self, text: str, keep: Collection[str], before: _Before) -> str:
        """Return the text without our entries, but for those of the events to ``keep``.

        Containers that are empty then go, too, but for those that were there ``before``.
        """
        emptied = False
        for event in _events(text):
            shorter = text if event in keep else self._purge(text, event)
            if shorter != text and not json_text.items(shorter, ("hooks", event)):
                emptied = True
                if event not in before.events:
                    shorter = json_text.remove_member(shorter, ("hooks",), event)
            text = shorter
        if emptied and "hooks" not in before.members and not _events(text):
            text = json_text.remove_member(text, (), "hooks")
        return text

    def _purge(self, text: str, event: str) -> str:
        """Remove our hooks from groups that are shared, and the items that are all ours."""
        path = ("hooks", event)
        for number, item in enumerate(json_text.items(text, path)):
            if self._any(item.value) and not self._all(item.value):
                text = json_text.remove_items(text, (*path, number, "hooks"), self._is_ours)
        return json_text.remove_items(text, path, self._all)

    def _any(self, item: object) -> bool:
        return any(map(self._is_ours, self.dialect.handlers(item)))

    def _all(self, item: object) -> bool:
        return self._any(item) and all(map(self._is_ours, self.dialect.handlers(item)))

    def _is_ours(self, handler: object) -> bool:
        try:
            return any(self.script in _split(line) for line in self.dialect.words(handler))
        except (TypeError, AttributeError):
            return False  # not a hook


def _split(line: object) -> Sequence[str]:
    if not isinstance(line, str) or OUR_COMMAND not in line:
        return ()
    try:
        return [line, *shlex.split(line)]
    except ValueError:
        return [line]  # quotes that no shell would take either
