"""The rules of the configuration that leave events out.

Owns what each kind of rule is compared with, and the name under which a rule is stored and counted.
Promises that no event that names a path in an ignored directory passes, however the path is
written, and that the name of a rule shows neither a path nor a project.
Leaves it to the spooler to store what was left out.
"""

import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final, TypeVar

import orjson

from blueplane.capture.adapter import Platform
from blueplane.capture.parse import Body
from blueplane.capture.platforms import find_platform
from blueplane.capture.pseudonyms import Pseudonyms
from blueplane.capture.rule_names import NO_RULES, UNKNOWN_PLACE
from blueplane.capture.sanitise import MAX_PROJECT_CHARS
from blueplane.capture.vocabulary import PATHS
from blueplane.capture.workspace import (
    ABSOLUTE,
    MAX_PATH,
    canonical,
    normalise,
    project_name,
    workspace_hash,
)
from blueplane.clock import monotonic_s
from blueplane.config import FilterSettings
from blueplane.errors import FilteredError

#: Characters of all paths of one event that are looked at; with more its place is not known.
MAX_CHARS: Final = 128 * 1024
#: Seconds for which the place of a path is remembered: a link may lead elsewhere later.
MEMORY_S: Final = 60.0
#: Paths that are remembered, and the characters of the longest of them.
_REMEMBERED: Final = 4096
_REMEMBERED_CHARS: Final = 512
#: Whether file names that differ in case are one, as macOS has it from the start.
_ANY_CASE: Final = sys.platform == "darwin"

_Found = TypeVar("_Found")


class Filters:
    """The rules of one configuration; true when there is any.

    ``secret`` keys the names of rules for directories and projects.
    """

    def __init__(self, settings: FilterSettings, secret: bytes) -> None:
        self._secret = secret
        self._digest = Pseudonyms(secret).digest
        self._platforms = {find_platform(name).name for name in settings.platforms}
        self._event_types = frozenset(settings.event_types)
        self._hooks = frozenset(settings.hooks)
        self._projects = frozenset(map(_composed, settings.projects))
        self._workspaces = settings.workspaces
        self._directories = lru_cache(1)(self._find_directories)
        self._rule_of = _remembered(self._find_rule)
        self._project_of = _remembered(_find_project)

    def __bool__(self) -> bool:
        return bool(self._platforms or self._event_types or self._hooks or self._of_places)

    @property
    def _of_places(self) -> bool:
        return bool(self._workspaces or self._projects)

    def rule(self, kind: str, item: str) -> str:
        """Return the name under which a rule is counted.

        ``kind`` is that of the setting without its s (``workspace``, ``event_type``), ``item``
        is as the configuration has it.
        """
        if kind == "workspace":
            item = workspace_hash(spelled(item), self._secret)
        elif kind == "project":
            item = self._digest(_composed(item))
        elif kind == "platform":
            item = find_platform(item).name
        return f"{kind}:{item}"

    # --- judging an event ------------------------------------------------------------------------

    def check_hook(self, platform: Platform, hook_name: str) -> None:
        """Raise FilteredError when the platform, the native hook or its event type is left out."""
        self.check_kind(platform, hook_name, platform.hook(hook_name).event_type)

    def check_kind(self, platform: Platform, hook_name: str, event_type: str) -> None:
        """Do as ``check_hook`` for an event whose type is known."""
        for kind, name, left_out in (
            ("platform", platform.name, self._platforms),
            ("event_type", event_type, self._event_types),
            ("hook", hook_name, self._hooks),
        ):
            if name in left_out:
                raise FilteredError(self.rule(kind, name))

    def check_unread(self) -> None:
        """Raise FilteredError when a payload is not looked into, and a place may be left out."""
        if self._of_places:
            raise FilteredError(UNKNOWN_PLACE)

    def check_places(self, platform: Platform, body: Body) -> None:
        """Raise FilteredError when a workspace, or a path of the event, is left out."""
        if not self._of_places:
            return
        roots = _workspaces(platform, body)
        for root in _bounded(roots) if self._projects else ():
            name = self._project_of(root)
            if name in self._projects:
                raise FilteredError(self.rule("project", name))
        if self._workspaces:
            paths = _paths(body, PATHS.union(platform.workspace_keys, platform.own_keys.paths))
            self._check_paths(_absolute(roots, paths))

    def _check_paths(self, paths: Iterable[str]) -> None:
        for path in _bounded(paths):
            rule = self._rule_of(path)
            if rule is not None:
                raise FilteredError(rule)

    # --- directories -----------------------------------------------------------------------------

    def _find_rule(self, path: str, period: int) -> str | None:
        """Return the rule of the ignored directory that ``path`` is, or is in."""
        rules = self._directories(period)
        for form in _forms(path):
            for directory in _upwards(form):
                if directory in rules:
                    return rules[directory]
        return None

    def _find_directories(self, _period: int) -> Mapping[str, str]:
        return {
            form: self.rule("workspace", item) for item in self._workspaces for form in _forms(item)
        }


def _remembered(find: Callable[[str, int], _Found]) -> Callable[[str], _Found]:
    """Remember what is found for a path during one period; the number of the period is passed."""
    find_once = lru_cache(_REMEMBERED)(find)

    def look_up(path: str) -> _Found:
        period = int(monotonic_s() // MEMORY_S)
        return (find_once if len(path) <= _REMEMBERED_CHARS else find)(path, period)

    return look_up


def _find_project(path: str, _period: int) -> str:
    return project_name(canonical(path))[:MAX_PROJECT_CHARS]


def _bounded(paths: Iterable[str]) -> Iterator[str]:
    """Give up on an event with more paths than are looked at."""
    chars = 0
    for path in paths:
        chars += len(path)
        if chars > MAX_CHARS:
            raise FilteredError(UNKNOWN_PLACE)
        yield path


def spelled(path: str) -> str:
    """Write an absolute path in one way from its text alone; ``~`` is the home of this user."""
    return os.path.normpath(normalise(_expanded(path)))


def _forms(path: str) -> tuple[str, str]:
    """Return a path as it is spelled, and where its links lead now: either may be ignored."""
    return _folded(spelled(path)), _folded(canonical(_expanded(path)))


def _folded(path: str) -> str:
    return path.casefold() if _ANY_CASE or not path.startswith("/") else path


def _expanded(path: str) -> str:
    return os.path.expanduser(path) if _is_at_home(path) else path  # noqa: PTH111 - keeps "//"


def _is_at_home(path: str) -> bool:
    return path == "~" or path.startswith("~/")


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _upwards(path: str) -> Iterator[str]:
    """Yield a path and every directory above it; of one that no system opens only those."""
    path = path[: MAX_PATH + 1]
    while path and path != "/":
        yield path
        path = path.rpartition("/")[0]
    yield "/"


def _workspaces(platform: Platform, body: Body) -> list[str]:
    """Return every workspace that a payload names under the first key that names one."""
    for key in platform.workspace_keys:
        found = list(_texts(body.get(key)))
        if found:
            return found
    return []


def _absolute(roots: Iterable[str], paths: Iterable[str]) -> Iterator[str]:
    """Yield each path, one that is relative as it is seen from each of the workspaces."""
    for path in paths:
        if ABSOLUTE.match(normalise(path)) or _is_at_home(path):
            yield path
        else:
            yield from (f"{root}/{path}" for root in roots)


def _paths(body: Body, keys: frozenset[str]) -> Iterator[str]:
    """Yield every text that stands under one of ``keys``, wherever in the payload."""
    waiting: list[Any] = [body]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            for key, value in node.items():
                if key in keys:
                    yield from _texts(value)
            node = [*node.values(), *_decoded(node.get("tool_input"))]
        waiting.extend(item for item in node if isinstance(item, (dict, list)))


def _decoded(asked: object) -> Iterator[object]:
    """Read what a tool is asked where it is JSON in a text, as in Cursor's MCP events."""
    if type(asked) is str and asked.startswith("{"):
        with suppress(orjson.JSONDecodeError):
            yield orjson.loads(asked)


def _texts(value: object) -> Iterator[str]:
    items = value if isinstance(value, list) else [value]
    return (item for item in items if type(item) is str and item)


#: What holds where nothing is configured.
NO_FILTERS: Final = Filters(NO_RULES, b"")
