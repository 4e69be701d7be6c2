"""A report that can be shown to somebody else.

Owns what is in it: versions, rows, settings that are not the default, the last lines of the log.
Promises that it names no user, no machine, no project and no password, and that it is 0600.
Leaves showing it before it is written to the interfaces.
"""

import os
import platform
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from io import BufferedWriter
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import orjson

from blueplane import __version__
from blueplane.clock import iso_utc, wall_ms
from blueplane.config import BY_KEY, in_environment, in_file
from blueplane.config_values import redact_url
from blueplane.errors import BlueplaneError, HomeError
from blueplane.install import hook_events
from blueplane.install.doctor import projects
from blueplane.install.doctor.check import Row
from blueplane.install.doctor.scene import Scene
from blueplane.install.editors import NAMES
from blueplane.paths import private_file
from blueplane.store.connection import SQLITE_VERSION

#: Bytes of the log that are looked at, and lines of it that are shown.
_LOG_BYTES: Final = 64 * 1024
_LOG_LINES: Final = 100
#: A directory in a path, with blanks in its name or without, and the last part.
_DIRECTORY: Final = r"[^\s/,;:'\"()]+(?: +[^\s/,;:'\"()=]+)*/"
_LAST: Final = r"[^\s/,;:'\"()]*"
#: What looks like a path; of ours only what is below a home is shown.
_PATH: Final = re.compile(rf"(?<![\w<>/.~-])/(?!dev/|proc/|usr/|etc/|bin/)(?:{_DIRECTORY})*{_LAST}")
#: The same below the user's home, and what of that names no project.
_BELOW: Final = re.compile(rf"~/((?:{_DIRECTORY})*{_LAST})")
_COMMON: Final = re.compile(
    r"\.(cursor|claude)/[\w.-]+$|\.claude\.json$|(\.|\.local/(bin|share)/)blueplane(?![\w.-])|"
    r"\.config/(blueplane|systemd)/|Library/LaunchAgents/"
)
#: An event in a settings file, as ``json_text.named`` has it: whoever misspells one may write more.
_EVENT: Final = re.compile(r'(?<![\w/])hooks(?:\.(\w+)|\["(?:[^"\\]|\\.)*"\])')
_KNOWN: Final = {*hook_events.CURSOR.since, *hook_events.CLAUDE_CODE.since, "json"}
_MAIL: Final = re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+")
_URL: Final = re.compile(r"\b(?:rediss?|unix|https?)://[^\s,;'\"()]+")


def make(scene: Scene, rows: Sequence[Row]) -> bytes:
    """Return the report as JSON."""
    report = {
        "made": iso_utc(wall_ms()),
        "blueplane": __version__,
        "python": platform.python_version(),
        "sqlite": ".".join(map(str, SQLITE_VERSION)),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "rows": [row.body() for row in rows],
        "settings": _settings(scene),
        "log": _log(scene),
    }
    redacted = _redacted(report, _Words(scene))
    return orjson.dumps(redacted, option=orjson.OPT_INDENT_2) + b"\n"


def write(path: Path, report: bytes) -> None:
    """Write the report to a new file; raise HomeError when that cannot be."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        with BufferedWriter(private_file(path, flags)) as file:
            file.write(report)
    except OSError as error:
        message = f"{path}: {error.strerror}; name another file"
        raise HomeError(message) from error


def _settings(scene: Scene) -> dict[str, Any]:
    """Return what is not the default; of lists, which name directories, only how long they are."""
    try:
        chosen = {**in_file(scene.home), **in_environment(scene.environment)}
    except BlueplaneError as error:
        return {"trouble": str(error)}
    changed = {key: value for key, value in chosen.items() if value != BY_KEY[key].default}
    return {key: _shown(value) for key, value in changed.items()}


def _shown(value: object) -> object:
    if isinstance(value, tuple):
        return f"{len(value)} of them"
    return redact_url(value) if isinstance(value, str) and "://" in value else value


def _log(scene: Scene) -> list[str]:
    with suppress(OSError, BlueplaneError):
        path = scene.home.log_file
        with private_file(path, os.O_RDONLY) as file:
            file.seek(max(0, path.stat().st_size - _LOG_BYTES))
            return file.read().decode("utf-8", "replace").splitlines()[-_LOG_LINES:]
    return []


# --- redacting ------------------------------------------------------------------------------------


class _Words:
    """What must not be in a report, and what stands there instead."""

    def __init__(self, scene: Scene) -> None:
        places: dict[str, str] = {}
        if not isinstance(scene.place, HomeError):
            places[str(scene.place.root)] = "<home>"
        user_home = scene.environment.get("HOME", "")
        if len(user_home) > 1:
            places.setdefault(user_home, "~")
        places = {**dict.fromkeys(_projects(scene), "<project>"), **places}
        names = {scene.environment.get("USER", ""), Path(user_home).name}
        written = {**places, **{quote(place): word for place, word in places.items()}}
        # The longest first, and no place is the beginning of another's name.
        self._places = [
            (re.compile(rf"{re.escape(place)}(?![\w-]|\.\w)"), written[place])
            for place in sorted(written, key=len, reverse=True)
        ]
        self._names = [
            re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])") for name in names - {"", "root"}
        ]
        self._machine = socket.gethostname()

    def without(self, text: str) -> str:
        """Return a text without them."""
        text = _EVENT.sub(lambda found: found[0] if found[1] in _KNOWN else "hooks.<event>", text)
        text = _URL.sub(lambda found: redact_url(found[0]), text)
        for place, word in self._places:
            text = place.sub(word, text)
        text = _BELOW.sub(lambda found: found[0] if _COMMON.match(found[1]) else "~/<path>", text)
        text = _PATH.sub("<path>", _MAIL.sub("<mail>", text))
        for name in self._names:
            text = name.sub("<user>", text)
        return text.replace(self._machine, "<machine>") if self._machine else text


def _projects(scene: Scene) -> Iterator[str]:
    """Yield where the projects are that a row may name."""
    for name in NAMES.values():
        with suppress(BlueplaneError, OSError):
            roots = map(str, projects.known(scene.editor(name), scene))
            yield from (root for root in roots if len(root) > 1)


def _redacted(value: Any, words: _Words) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, Mapping):
        return {key: each if key == "id" else _redacted(each, words) for key, each in value.items()}
    if isinstance(value, list):
        return [_redacted(each, words) for each in value]
    return words.without(value) if isinstance(value, str) else value
