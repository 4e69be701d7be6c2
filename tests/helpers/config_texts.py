"""Configuration files as people write them, drawn at random.

Owns the forms: sections below one another, in braces or as full keys, lists three ways, quotes,
comments, blank lines, breaks of lines, marks at the beginning and the end.
Promises that a file holds exactly what was chosen, and that each comment in it is another one.
Leaves what is done to the file to the tests.
"""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from hypothesis import strategies as st

from helpers.configs import nested

#: What a comment looks like; nothing else in a file does.
COMMENT = r"#~\d+~[^\r\n]*"

_WORDS = ("", " why", " - a: b", " [x, y", " {z", ' "q', " it's", " redis:", " # twice")
T = TypeVar("T")
_INDENTS = st.integers(1, 4).map(lambda width: " " * width)


class _Writer:
    """Writes one file; every choice of form is drawn."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self._notes = 0
        self.lines: list[str] = []

    def one_of(self, *choices: T) -> T:
        return self._draw(st.sampled_from(choices))

    def note(self, *, chance: int = 3) -> str:
        """Give a comment now and then."""
        if self._draw(st.integers(0, chance)):
            return ""
        self._notes += 1
        return f"#~{self._notes}~{self.one_of(*_WORDS)}"

    def line(self, text: str) -> None:
        """Write a line, with something above it or behind it now and then."""
        above = self.note()
        if above:
            self.lines.append(self.one_of("", "  ", "      ") + above)
        if not self._draw(st.integers(0, 5)):
            self.lines.append(self.one_of("", "  "))
        behind = self.note()
        self.lines.append(f"{text}{self.one_of(' ', '   ')}{behind}" if behind else text)

    def scalar(self, value: object) -> str:
        if not isinstance(value, str):
            return json.dumps(value)
        return str(self.one_of(json.dumps(value), "'" + value + "'"))

    def in_braces(self, value: object) -> str:
        if isinstance(value, Mapping):
            entries = [f"{key}: {self.in_braces(each)}" for key, each in value.items()]
            return "{" + self._joined(entries) + "}"
        if isinstance(value, tuple):
            return "[" + self._joined([self.scalar(item) for item in value]) + "]"
        return self.scalar(value)

    def _joined(self, pieces: list[str]) -> str:
        gap = self.one_of(",", ", ", " , ", ",\n  ", f", {self.note(chance=1)}\n  ")
        text = str(gap).join(pieces)
        return text + self.one_of("", " ", ",") if pieces else text

    def entry(self, indent: str, name: str, value: object) -> None:
        written = f"{indent}{self.one_of(name, json.dumps(name))}:"
        if isinstance(value, tuple) and value and self.one_of(1, 0):
            self.line(written)
            deeper = indent + self.one_of("", " ", "   ")
            for item in value:
                self.line(f"{deeper}-{self.one_of(' ', '   ')}{self.scalar(item)}")
        elif value == () and self.one_of(1, 0):
            self.line(written)
        else:
            self.line(f"{written} {self.in_braces(value)}")

    def section(self, name: str, values: Mapping[str, Any]) -> None:
        form = self.one_of("below", "below", "braces", "full")
        if form == "full":
            for key, value in values.items():
                self.entry("", f"{name}.{key}", value)
        elif form == "braces":
            self.line(f"{name}: {self.in_braces(values)}")
        else:
            self.line(f"{name}:")
            indent = self._draw(_INDENTS)
            for key, value in values.items():
                self.entry(indent, key, value)


@st.composite
def texts(draw: st.DrawFn, chosen: Mapping[str, Any]) -> str:
    """Draw a file that holds ``chosen``, values by full key."""
    writer = _Writer(draw)
    sections = nested(chosen)
    if writer.one_of(1, 1, 1, 1, 1, 0):
        for name in draw(st.permutations(list(sections))):
            writer.section(name, sections[name])
        for name in {"redis", "log", "spool"} - sections.keys():
            if not draw(st.integers(0, 4)):
                writer.line(writer.one_of(f"{name}:", f"{name}: null", f"{name}: {{}}"))
    else:
        writer.line(writer.in_braces(sections))
    tail = writer.note(chance=1)
    end = ["..."] if chosen and writer.one_of(1, 0, 0, 0) else []
    lines = [*writer.lines, *([tail] if tail else []), *end]
    head = writer.one_of("", "", "---\n", "# first\n---\n", "\ufeff")
    text = head + "\n".join(lines) + writer.one_of("\n", "\n", "", "\n\n  \n")
    return text.replace("\n", "\r\n") if writer.one_of(0, 0, 1) else text
