"""The text of the configuration file, with one setting changed in it.

Owns where a value, an item of a list or a new key goes, and how it is written.
Promises to change only characters of that setting: comments are never taken out, and every other
line stays where it is.
Leaves it to ``config_edit.py`` to prove that, and to write the file.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Final

import yaml

from blueplane.config_values import Value
from blueplane.errors import ConfigError

#: Every break of a line that YAML knows.
_BREAK: Final = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")
_LINE: Final = re.compile(rf"[^\n\r\x85\u2028\u2029]*(?:{_BREAK.pattern})?")
_COMMENT: Final = re.compile(r"#[^\n\r\x85\u2028\u2029]*")
#: Blanks that go with what stands before them; a comment needs the one before it.
_BLANK: Final = re.compile(r"[ \t]*(?![ \t#])|[ \t]*(?=[ \t]#)")
#: The first line of a text that goes on below it (``|`` or ``>``).
_BLOCK_HEADER: Final = re.compile(r"[|>][-+0-9]*[ \t]*")
#: A text that may stand without quotes wherever a value may.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_./~][A-Za-z0-9_./~=@+-]*")
_STRING: Final = "tag:yaml.org,2002:str"
_STEP: Final = "  "


class Absent:
    """What a setting has that is not in the file."""


ABSENT: Final = Absent()


@dataclass(frozen=True, slots=True)
class _Document:
    """A text, its nodes, and the places of its tokens; places are counted in characters."""

    text: str
    root: yaml.Node | None
    tokens: list[yaml.Token]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a key stands: the mapping that it is in, its own node, and that of its value."""

    mapping: yaml.MappingNode
    name: yaml.Node
    value: yaml.Node


def _parse(text: str) -> _Document:
    # The loader in Python: the other one does not count a byte order mark.
    tokens = [token for token in yaml.scan(text, yaml.SafeLoader) if _start(token) < _end(token)]
    return _Document(text, yaml.compose(text, yaml.SafeLoader), tokens)


def rewrite(text: str, key: str, old: Value | Absent, new: Value | Absent) -> str:
    """Return ``text``, valid settings, with ``key`` changed from ``old`` to ``new``.

    Raises ConfigError or YAMLError where it cannot be done. The caller has to look at what came of
    it: what nobody writes, as keys of many lines, is not provided for.
    """
    document = _parse(text)
    place = _find(document.root, key)
    if isinstance(new, Absent):
        return text if place is None else _without_key(document, place)
    if place is None:
        return _with_key(document, key, new)
    if isinstance(place.value, yaml.SequenceNode) and isinstance(new, tuple):
        return _with_items(text, key, (old if isinstance(old, tuple) else (), new))
    return _with_value(document, place, _flow(new))


def _find(mapping: yaml.Node | None, key: str) -> _Place | None:
    """Find a key, which may be written in one word or below its section."""
    if not isinstance(mapping, yaml.MappingNode):
        return None
    for name, value in mapping.value:
        if name.value == key:
            return _Place(mapping, name, value)
        if key.startswith(f"{name.value}."):
            found = _find(value, key.removeprefix(f"{name.value}."))
            if found:
                return found
    return None


def _with_value(document: _Document, place: _Place, written: str) -> str:
    """Put a value in the place of another, which may be empty."""
    start, end = _start(place.value), _last(document, place.value)
    if start == end:
        named = ":" in document.text[_end(place.name) : start]
        written = f" {written}" if named else f": {written}"
    return _put(document.text, start, end, written)


# --- a key that is not there ---------------------------------------------------------------------


def _with_key(document: _Document, key: str, value: Value) -> str:
    section, _, name = key.partition(".")
    within = _find(document.root, section)
    if within is None:
        return _with_section(document, section, name, value)
    if isinstance(within.value, yaml.MappingNode):
        return _with_entry(document, within.value, name, value)
    if _start(within.value) < _end(within.value) or within.mapping.flow_style:
        return _with_value(document, within, f"{{{name}: {_flow(value)}}}")
    indent = " " * within.name.start_mark.column + _STEP
    return _put_lines(document.text, _end(within.value), indent, _lines(name, value))


def _with_section(document: _Document, section: str, name: str, value: Value) -> str:
    root = document.root
    if isinstance(root, yaml.MappingNode) and root.flow_style:
        return _with_entry(document, root, section, f"{{{name}: {_flow(value)}}}", raw=True)
    if root is not None and _start(root) < _end(root) and isinstance(root, yaml.ScalarNode):
        written = f"{{{section}: {{{name}: {_flow(value)}}}}}"
        return _put(document.text, _start(root), _end(root), written)
    column = root.start_mark.column if isinstance(root, yaml.MappingNode) else 0
    ends = [_start(t) for t in document.tokens if isinstance(t, yaml.DocumentEndToken)]
    at = ends[0] if ends else len(document.text)
    lines = [f"{section}:", *(_STEP + line for line in _lines(name, value))]
    return _insert(document.text, at, " " * column, lines)


def _with_entry(
    document: _Document, mapping: yaml.MappingNode, name: str, value: Value, *, raw: bool = False
) -> str:
    """Add an entry to a mapping, behind those that it has."""
    last = _last(document, mapping.value[-1][1]) if mapping.value else _end(mapping) - 1
    if mapping.flow_style:
        entry = f"{name}: {value if raw else _flow(value)}"
        return _put(document.text, last, last, f", {entry}" if mapping.value else entry)
    indent = " " * mapping.value[0][0].start_mark.column
    return _put_lines(document.text, last, indent, _lines(name, value))


def _lines(name: str, value: Value) -> list[str]:
    if isinstance(value, tuple) and value:
        return [f"{name}:", *(f"{_STEP}- {_flow(item)}" for item in value)]
    return [f"{name}: {_flow(value)}"]


# --- lists ---------------------------------------------------------------------------------------


def _with_items(text: str, key: str, items: tuple[Iterable[str], Iterable[str]]) -> str:
    """Make a list hold other items; those that stay keep their places and their comments."""
    old, new = items
    added = [item for item in new if item not in old]
    gone = set(old) - set(new)
    if added:
        text = _with_added(_parse(text), key, added)
    return _without_items(_parse(text), key, gone) if gone else text


def _list(document: _Document, key: str) -> yaml.SequenceNode:
    place = _find(document.root, key)
    if place is None or not isinstance(place.value, yaml.SequenceNode):
        message = f"{key}: is not a list"
        raise ConfigError(message)
    return place.value


def _with_added(document: _Document, key: str, items: Iterable[str]) -> str:
    node = _list(document, key)
    written = [_flow(item) for item in items]
    last = _last(document, node.value[-1]) if node.value else _end(node) - 1
    if node.flow_style:
        comma = ", " if node.value else ""
        return _put(document.text, last, last, comma + ", ".join(written))
    dash = _token_before(document, _start(node.value[0]), yaml.BlockEntryToken)
    indent = " " * dash.start_mark.column
    return _put_lines(document.text, last, indent, (f"- {item}" for item in written))


def _without_items(document: _Document, key: str, gone: set[str]) -> str:
    """Remove items wherever the list has them."""
    node = _list(document, key)
    spans = []
    for goes, run in groupby(node.value, lambda each: each.value in gone):
        if goes:
            nodes = list(run)
            start, end = _start(nodes[0]), _last(document, nodes[-1])
            if not node.flow_style:
                start = _start(_token_before(document, start, yaml.BlockEntryToken))
            spans.append(_with_comma(document, start, end) if node.flow_style else (start, end))
    return _cut(document, spans)


def _token_before(document: _Document, at: int, kind: type[yaml.Token]) -> yaml.Token:
    """Return the last token of ``kind`` that begins before ``at``."""
    return [t for t in document.tokens if isinstance(t, kind) and _start(t) < at][-1]


# --- taking out ----------------------------------------------------------------------------------


def _without_key(document: _Document, place: _Place) -> str:
    start, end = _start(place.name), _last(document, place.value)
    span = _with_comma(document, start, end) if place.mapping.flow_style else (start, end)
    return _cut(document, [span])


def _with_comma(document: _Document, start: int, end: int) -> tuple[int, int]:
    """Widen what stands between commas by one of them."""
    after = next(t for t in document.tokens if _start(t) >= end)
    before = [t for t in document.tokens if _end(t) <= start][-1]
    if isinstance(after, yaml.FlowEntryToken):
        return start, _end(after)
    return (_start(before) if isinstance(before, yaml.FlowEntryToken) else start), end


def _cut(document: _Document, spans: Sequence[tuple[int, int]]) -> str:
    """Take out every token in ``spans``; comments stay, lines with nothing left on them do not."""
    text = document.text
    gone: set[int] = set()
    for token in document.tokens:
        first, last = _start(token), _last(document, token)
        if any(start <= first and last <= end for start, end in spans):
            blank = _BLANK.match(text, last)
            gone.update(range(first, blank.end() if blank else last))
    return "".join(_kept(line, gone) for line in _LINE.finditer(text))


def _kept(line: re.Match[str], gone: set[int]) -> str:
    """Return what is left of a line: nothing when only blanks are, a comment where it began."""
    rest = "".join(c for at, c in enumerate(line[0], line.start()) if at not in gone)
    if rest == line[0]:
        return rest
    if rest.lstrip().startswith("#"):
        return line[0][: len(line[0]) - len(line[0].lstrip())] + rest.lstrip()
    return rest if rest.strip() else ""


# --- places and characters -----------------------------------------------------------------------


def _start(node: yaml.Node | yaml.Token) -> int:
    return int(node.start_mark.index)


def _end(node: yaml.Node | yaml.Token) -> int:
    return int(node.end_mark.index)


def _last(document: _Document, node: yaml.Node | yaml.Token) -> int:
    """Return where a node or token ends, without the empty lines and comments behind it."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style:
        return _last(document, node.value[-1][1])
    if isinstance(node, yaml.SequenceNode) and not node.flow_style:
        return _last(document, node.value[-1])
    if getattr(node, "style", None) in {"|", ">"}:
        return _start(node) + len(document.text[_start(node) : _end(node)].rstrip())
    return _end(node)


def _put(text: str, start: int, end: int, piece: str) -> str:
    return text[:start] + piece + text[end:]


def _put_lines(text: str, after: int, indent: str, lines: Iterable[str]) -> str:
    """Put lines below the one in which ``after`` is."""
    found = _BREAK.search(text, after)
    return _insert(text, found.end() if found else len(text), indent, lines)


def _insert(text: str, at: int, indent: str, lines: Iterable[str]) -> str:
    """Put lines at ``at``, where a line begins or the text ends without a break."""
    found = _BREAK.search(text)
    newline = found[0] if found else "\n"
    before = text[:at]
    open_line = before.lstrip("\ufeff") and not _BREAK.fullmatch(before[-1])
    piece = "".join(f"{indent}{line}{newline}" for line in lines)
    return before + (newline if open_line else "") + piece + text[at:]


def comments(text: str) -> list[str]:
    """Return the comments: whatever of that form is between tokens, or in the head of a block."""
    document = _parse(text)
    found = []
    inside = [t for t in document.tokens if getattr(t, "style", None) in {"|", ">"}]
    for token in inside:
        head = _BLOCK_HEADER.match(text, _start(token))
        comment = _COMMENT.match(text, head.end()) if head else None
        found += [comment[0]] if comment else []
    edges = [0, *(at for t in document.tokens for at in (_start(t), _end(t))), len(text)]
    for index, (start, end) in enumerate(pairwise(edges)):
        if index % 2 == 0:
            found += _COMMENT.findall(text[start:end])
    return found


# --- writing -------------------------------------------------------------------------------------


def _flow(value: Value) -> str:
    """Write a value so that it may stand anywhere."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_flow, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "null"
    return _text(value) if isinstance(value, str) else str(value)


def _text(text: str) -> str:
    if _PLAIN.fullmatch(text):
        # Composed and not loaded: `0b_` is taken for a number, and fails as one.
        node = yaml.compose(text, yaml.SafeLoader)
        if node and node.tag == _STRING:
            return text
    if text.isprintable():
        return "'" + text.replace("'", "''") + "'"
    return '"' + "".join(map(_escape, text)) + '"'


def _escape(character: str) -> str:
    if character in {'"', "\\"}:
        return f"\\{character}"
    return character if character.isprintable() else f"\\U{ord(character):08x}"
