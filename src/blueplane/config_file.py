"""The configuration file: its bytes, its YAML and the values in it.

Owns the reading of ``config.yaml`` and what it may look like.
Promises that a wrong file is refused in one line with its place, whoever wrote it, and that a
hostile one costs neither time nor memory.
Leaves which settings there are to ``config.py``, and changing the file to ``config_edit.py``.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from blueplane.config_values import (
    Setting,
    Value,
    parse_items,
    parse_one,
    quoted,
    unknown,
)
from blueplane.errors import ConfigError
from blueplane.paths import private_file

#: Bytes; a larger configuration file is somebody's mistake.
MAX_FILE_BYTES: Final = 256 * 1024
#: Mappings within mappings; a setting needs two.
MAX_DEPTH: Final = 8

_YAML_TAGS: Final = {kind: f"tag:yaml.org,2002:{kind.__name__}" for kind in (str, int, bool)}
_YAML_NULL: Final = "tag:yaml.org,2002:null"
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(path: Path) -> bytes | None:
    """Return the file, None without one; raise ConfigError when it cannot be read."""
    try:
        # a pipe in the file's place must not hold us up: without O_NONBLOCK its opening would wait
        with private_file(path, os.O_RDONLY | os.O_NONBLOCK) as stream:
            data = stream.read(MAX_FILE_BYTES + 1) or b""
    except FileNotFoundError:
        return None
    except OSError as error:
        message = f"{path}: {error.strerror}; make it a plain file that you can read"
        raise ConfigError(message) from None
    if len(data) > MAX_FILE_BYTES:
        message = f"{path}: larger than {MAX_FILE_BYTES // 1024} KB; keep only settings in it"
        raise ConfigError(message)
    return data


def values(path: Path, data: bytes, known: Mapping[str, Setting]) -> dict[str, Value]:
    """Return the values that ``data``, the file ``path``, holds for settings ``known`` by key.

    Raises ConfigError, which names the place.
    """
    try:
        return dict(_read_entries(_entries(_compose(data)), known))
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_located(path, error)) from None
    except (UnicodeDecodeError, yaml.reader.ReaderError) as error:
        message = f"{path}: not YAML: {_reason(error)}"
        raise ConfigError(message) from None


def _compose(data: bytes) -> yaml.Node | None:
    """Parse to nodes, constructing nothing, after a look at what a hostile file could abuse.

    The composer recurses: a few thousand nested brackets overflow the stack of the process.
    """
    text = data.decode("utf-8")
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.AliasEvent):
            raise _fault(event, "`*` repeats another value; write the value out")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise _fault(event, "nested too deeply; a setting is `section:` and `key: value`")
    return yaml.compose(text, Loader=_LOADER)


def _reason(error: UnicodeDecodeError | yaml.reader.ReaderError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not UTF-8"
    return f"character {error.position} is not allowed"


def _located(path: Path, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    place = f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else f"{path}"
    return f"{place}: {' '.join((error.problem or 'not YAML').split())}"


@dataclass(frozen=True, slots=True)
class _Entry:
    """A line of the file: its full key, the node that names it and the node of its value."""

    key: str
    name: yaml.Node
    value: yaml.Node


def _entries(root: yaml.Node | None) -> Iterator[_Entry]:
    """Walk the sections and yield each entry that is not a section itself."""
    if root is None or root.tag == _YAML_NULL:
        return
    if not isinstance(root, yaml.MappingNode):
        raise _fault(root, "the file must hold `key: value` lines")
    keys: set[str] = set()
    waiting = [_Entry("", root, root)]
    while waiting:
        entry = waiting.pop()
        if entry.key in keys:
            raise _fault(entry.name, f"{quoted(entry.key)} is there twice; remove one")
        keys.add(entry.key)
        if isinstance(entry.value, yaml.MappingNode):
            waiting.extend(reversed(_below(entry)))
        else:
            yield entry


def _below(section: _Entry) -> list[_Entry]:
    below = []
    for name, value in section.value.value:
        if not isinstance(name, yaml.ScalarNode):
            raise _fault(name, "a key must be a word")
        key = f"{section.key}.{name.value}" if section.key else str(name.value)
        below.append(_Entry(key, name, value))
    return below


def _read_entries(
    entries: Iterable[_Entry], known: Mapping[str, Setting]
) -> Iterator[tuple[str, Value]]:
    sections = {key.partition(".")[0] for key in known}
    for entry in entries:
        if entry.key in sections:
            if entry.value.tag != _YAML_NULL:
                problem = f"{entry.key} is a section; write its keys below it, indented"
                raise _fault(entry.name, problem)
        elif entry.key not in known:
            raise _fault(entry.name, unknown(entry.key, list(known)))
        else:
            yield entry.key, _read_value(known[entry.key], entry.value)


def _read_value(setting: Setting, node: yaml.Node) -> Value:
    if not setting.many:
        return _read_scalar(setting, node)
    if node.tag == _YAML_NULL:
        return ()
    if not isinstance(node, yaml.SequenceNode):
        raise _fault(node, f"{setting.key}: must be a list; write `- ` before each item")
    items = [str(_read_scalar(setting, item)) for item in node.value]
    try:
        return parse_items(setting, items)
    except ValueError as error:
        raise _fault(node, f"{setting.key}: {error}") from None


def _read_scalar(setting: Setting, node: yaml.Node) -> str | int | bool | None:
    if node.tag == _YAML_NULL and setting.nullable:
        return None
    if node.tag != _YAML_TAGS[setting.kind]:
        hint = "; put it in quotes" if setting.kind is str and not setting.choices else ""
        raise _fault(node, f"{setting.key}: must be {setting.allowed}{hint}")
    try:
        return parse_one(setting, node.value)
    except ValueError as error:
        raise _fault(node, f"{setting.key}: {error}") from None


def _fault(node: yaml.Node | yaml.Event, problem: str) -> yaml.MarkedYAMLError:
    mark: Any = node.start_mark  # C and Python loaders have a class each, alike but unrelated
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)
