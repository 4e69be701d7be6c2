"""JSON text that is edited in place.

Owns adding to, replacing in and removing from the text of a JSON file.
Promises that every other byte stays: order, indentation, line ends, unknown keys, a byte order
mark; that what was added is removed again without a trace; and that text which is not strict JSON
is refused with line and column.
Leaves what is added to the caller, and reading and writing the file to ``changes.py``.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from json.decoder import WHITESPACE  # type: ignore[attr-defined] # typeshed leaves it out
from typing import Any, Final, TypeAlias

from blueplane.errors import InstallError

#: Keys of objects and indices of arrays from the outermost inwards; () is the whole.
Keys: TypeAlias = tuple[str | int, ...]

_BOM: Final = "\ufeff"
_SPACE: Final = " \t\r\n"
#: What Python's parser takes and JSON does not know; strings come first, for they may hold it.
_STRING_OR_CONSTANT: Final = re.compile(r'"(?:[^"\\]|\\.)*"|(NaN|-?Infinity)', re.DOTALL)
_INDENTED: Final = re.compile(r"\n([ \t]+)\S")
_TIGHT_COLON: Final = re.compile(r'":\S')


@dataclass(frozen=True, slots=True)
class Child:
    """An item of an array or a member of an object, and where it stands in the text.

    A member begins with its key; ``value_start`` is where its value does.
    """

    key: str | None
    start: int
    value_start: int
    end: int
    value: Any


# --- reading -------------------------------------------------------------------------------------


def decode(data: bytes) -> str:
    """Return the text of a file; raise InstallError when it is not UTF-8."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        message = "line 1, column 1: is UTF-16; save it as UTF-8"
        raise InstallError(message)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        message = f"{_place(before, len(before))}: is not UTF-8"
        raise InstallError(message) from None


def is_blank(text: str) -> bool:
    """Whether there is nothing in the text."""
    return _start(text) == len(text)


def parse(text: str) -> Any:  # noqa: ANN401 - whatever the file holds
    """Return the value of strict JSON, with or without a byte order mark; raise InstallError."""
    start = _start(text)
    try:
        value, end = _DECODER.raw_decode(text, start)
        end = _skip(text, end)
    except json.JSONDecodeError as error:
        message = f"{_place(text, error.pos)}: {error.msg[:1].lower()}{error.msg[1:]}"
        raise InstallError(_hinted(message, text, error.pos)) from None
    except _ConstantError as error:
        message = f"{_place(text, _constant(text))}: {error}"
        raise InstallError(message) from None
    except (ValueError, RecursionError):
        message = "line 1, column 1: has a number that is too long, or is nested too deeply"
        raise InstallError(message) from None
    if end < len(text):
        message = f"{_place(text, end)}: something follows the end"
        raise InstallError(_hinted(message, text, end))
    return value


def _hinted(message: str, text: str, position: int) -> str:
    at = text[position : position + 2]
    return f"{message} (JSON has no comments)" if at in {"//", "/*"} else message


class _ConstantError(ValueError):
    pass


def _refuse_constant(name: str) -> None:
    message = f"{name} is no JSON"
    raise _ConstantError(message)


_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)


def _constant(text: str) -> int:
    return next((m.start() for m in _STRING_OR_CONSTANT.finditer(text) if m[1]), 0)


def _place(text: str, position: int) -> str:
    line = text.count("\n", 0, position) + 1
    column = position - text.rfind("\n", 0, position) - text.startswith(_BOM) * (line == 1)
    return f"line {line}, column {column}"


def _start(text: str) -> int:
    return _skip(text, len(_BOM) if text.startswith(_BOM) else 0)


def _skip(text: str, position: int) -> int:
    found: re.Match[str] = WHITESPACE.match(text, position)
    return found.end()


def children(text: str, start: int) -> list[Child]:
    """Return what is in the array or object that begins at ``start`` of a text that parses."""
    return list(_children(text, start))


def _children(text: str, start: int) -> Iterator[Child]:
    position = _skip(text, start + 1)
    while text[position] not in "]}":
        key, value_start = None, position
        if text[start] == "{":
            key, end = _DECODER.raw_decode(text, position)
            value_start = _skip(text, _skip(text, end) + 1)
        value, end = _DECODER.raw_decode(text, value_start)
        yield Child(key, position, value_start, end, value)
        position = _skip(text, end)
        if text[position] == ",":
            position = _skip(text, position + 1)


def find(text: str, path: Keys) -> Child | None:
    """Return what ``path`` leads to in a text that parses; None without it.

    The value of the whole is an empty one of its kind: ``parse`` has it.
    Raises InstallError when a key on the way is there twice, or not in an object.
    """
    found = _root(text)
    for depth, step in enumerate(path):
        _require(text, found, path[:depth], dict if isinstance(step, str) else list)
        fitting = [
            each
            for number, each in enumerate(children(text, found.value_start))
            if step == (each.key if isinstance(step, str) else number)
        ]
        if not fitting:
            return None
        if len(fitting) > 1:
            place = _place(text, fitting[1].start)
            message = f"{place}: {named(path[: depth + 1])} is there twice; remove one"
            raise InstallError(message)
        found = fitting[0]
    return found


def _root(text: str) -> Child:
    start = _start(text)
    kinds: dict[str, object] = {"{": {}, "[": []}
    return Child(None, start, start, len(text.rstrip(_SPACE)), kinds.get(text[start]))


def _require(text: str, found: Child, path: Keys, kind: type) -> None:
    if not isinstance(found.value, kind):
        what = "object" if kind is dict else "list"
        message = f"{_place(text, found.value_start)}: {named(path)} is no {what}"
        raise InstallError(message)


def named(path: Keys) -> str:
    """Return a path in words, as ``hooks.stop[0]``; a key that is no plain word is in quotes."""
    return "".join(map(_step, path)).removeprefix(".") or "the whole"


def _step(key: str | int) -> str:
    if isinstance(key, str) and key.isidentifier():
        return f".{key}"
    return f"[{json.dumps(key, ensure_ascii=False)}]"


def items(text: str, path: Keys) -> list[Child]:
    """Return the items of an array, none without one; raise InstallError as ``find``."""
    return _children_of(text, path, list)


def members(text: str, path: Keys) -> list[Child]:
    """Return the members of an object, none without one; raise InstallError as ``find``."""
    return _children_of(text, path, dict)


def _children_of(text: str, path: Keys, kind: type) -> list[Child]:
    found = find(text, path)
    if found is None:
        return []
    _require(text, found, path, kind)
    return children(text, found.value_start)


# --- editing -------------------------------------------------------------------------------------


def set_member(text: str, outer: Keys, key: str, value: object) -> str:
    """Return the text with a new member at the end of an object, which is made when missing."""
    container = find(text, outer)
    if container is None:
        *further, last = outer
        return set_member(text, tuple(further), str(last), {key: value})
    _require(text, container, outer, dict)
    return _append(text, container, lambda style: f"{_dump(key)}{style.colon}{style.render(value)}")


def append_item(text: str, path: Keys, item: object) -> str:
    """Return the text with ``item`` at the end of an array, which is made when it is missing."""
    container = find(text, path)
    if container is None:
        *outer, last = path
        return set_member(text, tuple(outer), str(last), [item])
    _require(text, container, path, list)
    return _append(text, container, lambda style: style.render(item))


def remove_items(text: str, path: Keys, unwanted: Callable[[Any], bool]) -> str:
    """Return the text without the items of an array that are unwanted."""
    while True:
        found = items(text, path)
        at = next((n for n, each in enumerate(found) if unwanted(each.value)), None)
        if at is None:
            return text
        text = _cut(text, found, at)


def remove_member(text: str, outer: Keys, key: str) -> str:
    """Return the text without a member of an object, if it is there."""
    found = members(text, outer)
    at = next((number for number, each in enumerate(found) if each.key == key), None)
    return text if at is None else _cut(text, found, at)


def _cut(text: str, found: list[Child], at: int) -> str:
    """Remove a child with the comma, and the space, that came with it."""
    if at > 0:
        return text[: found[at - 1].end] + text[found[at].end :]
    if len(found) > 1:
        return text[: found[0].start] + text[found[1].start :]
    start, end = found[0].start, _skip(text, found[0].end)
    return text[:start].rstrip(_SPACE) + text[end:]


# --- style ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Style:
    """How a text is written, where something is added to it at ``indent``."""

    text: str
    indent: str
    many_lines: bool

    @property
    def newline(self) -> str:
        first = self.text.find("\n")
        return "\r\n" if first > 0 and self.text[first - 1] == "\r" else "\n"

    @property
    def unit(self) -> str:
        found = _INDENTED.search(self.text)
        return found[1] if found else "  "

    @property
    def colon(self) -> str:
        return ":" if not self.many_lines and self.is_tight else ": "

    @property
    def is_tight(self) -> bool:
        return "\n" not in self.text.strip() and _TIGHT_COLON.search(self.text) is not None

    def render(self, value: object) -> str:
        if not self.many_lines:
            return _dump(value, separators=(",", ":") if self.is_tight else (", ", ": "))
        lines = _dump(value, indent=self.unit).split("\n")
        return f"{self.newline}{self.indent}".join(lines)


def _dump(value: object, **options: Any) -> str:  # noqa: ANN401 - those of json.dumps
    return json.dumps(value, ensure_ascii=False, **options)


def _append(text: str, container: Child, write: Callable[["_Style"], str]) -> str:
    found = children(text, container.value_start)
    if not found:
        return _fill(text, container, write)
    end = found[-1].end
    gap = _gap(text, found[-1].start)
    if "\n" in gap:
        style = _Style(text, gap.rpartition("\n")[2], many_lines=True)
        return f"{text[:end]},{gap}{write(style)}{text[end:]}"
    style = _Style(text, "", many_lines=False)
    comma = _commas(text, found) or ("," if style.is_tight else ", ")
    return f"{text[:end]}{comma}{write(style)}{text[end:]}"


def _fill(text: str, container: Child, write: Callable[["_Style"], str]) -> str:
    """Write the first child of an empty container."""
    opened, closed = container.value_start + 1, container.end - 1
    outside = _indent(text, container.start)
    bare = _Style(text, outside, many_lines="\n" in text.strip() or container.key is None)
    if not bare.many_lines:
        return text[:opened] + write(bare) + text[closed:]
    inside = _Style(text, outside + bare.unit, many_lines=True)
    lead, tail = f"{bare.newline}{inside.indent}", f"{bare.newline}{outside}"
    return text[:opened] + lead + write(inside) + tail + text[closed:]


def _gap(text: str, position: int) -> str:
    """Return the space before a position."""
    before = text[:position]
    return before[len(before.rstrip(_SPACE)) :]


def _commas(text: str, found: list[Child]) -> str:
    """Return what stands between the first two children."""
    return next((text[one.end : other.start] for one, other in pairwise(found)), "")


def _indent(text: str, position: int) -> str:
    """Return the space at the beginning of the line of a position."""
    line = text[text.rfind("\n", 0, position) + 1 : position]
    return line[: len(line) - len(line.lstrip(" \t"))]
