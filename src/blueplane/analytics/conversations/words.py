"""Reading the parts of payloads that both platforms have, at any privacy level.

Owns keys of turns and tool calls, lengths of texts, and the numbers of files, commands and texts.
Promises the same number for a path or a text whether it was stored in clear or as its keyed hash.
Leaves what an event means to the platforms.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol, TypeAlias

from blueplane.analytics.fields import measured, number, text
from blueplane.store.conversation_tables import Fact, TurnFact
from blueplane.store.derived import DATABASE, HOOK, TRANSCRIPT, Trace

#: What ``outcome`` of a fact is, for each witness; see ``OUTCOMES``.
_TENS: Final[Mapping[int, int]] = {HOOK: 10, TRANSCRIPT: 20, DATABASE: 30}

#: The hexadecimal digits of a keyed hash.
_DIGITS: Final = 12
#: Keys of what a tool was asked that say what it was about.
_TARGETS: Final = ("file_path", "notebook_path", "path", "target_file")


class Names(Protocol):
    """The keyed hashes of this install."""

    def path(self, path: str) -> str:
        """Return ``p:<hash>`` with the ending of the name; a hash stays as it is."""

    def digest(self, text: str) -> str:
        """Return the hash of a text."""


Read: TypeAlias = Callable[[Trace, Names], list[Fact]]


class Measure(NamedTuple):
    """How long a prompt is: words, lines and the text itself where it was stored in clear."""

    chars: int | None
    words: int | None = None
    lines: int | None = None
    text: str | None = None


def event_key(trace: Trace) -> int:
    """Return the key of what has no id but its event's."""
    return int.from_bytes(trace.event_id[:8], "big", signed=True)


def turn_key(trace: Trace) -> int | None:
    """Return the key of the turn that an event names; None when it names none."""
    return number("turn", trace.platform, trace.turn_id) if trace.turn_id else None


def tool_key(platform: str, tool_use_id: str) -> int:
    """Return the key of a tool call."""
    return number("tool", platform, tool_use_id)


def agent_key(trace: Trace, agent: str) -> int:
    """Return the key of a sub-agent."""
    return number("agent", trace.platform, trace.session_id, agent)


def outcome(witness: int, how: int) -> int:
    """Return an outcome as a witness tells it."""
    return _TENS[witness] + how


def length(value: object) -> int | None:
    """Return the characters of a text, or those of which only the length was stored."""
    if isinstance(value, str):
        return len(value)
    return measured(value.get("chars")) if isinstance(value, dict) else None


def measure(value: object) -> Measure:
    """Measure a prompt."""
    if not isinstance(value, str):
        return Measure(length(value))
    return Measure(len(value), len(value.split()), len(value.splitlines()), value)


def with_prompt(turn: TurnFact, at_ms: int, prompt: Measure) -> TurnFact:
    """Return a turn with its prompt."""
    return turn._replace(
        prompt_ms=at_ms, prompt_chars=prompt.chars, prompt_words=prompt.words,
        prompt_lines=prompt.lines, prompt=prompt.text,
    )  # fmt: skip


def file_number(value: object, names: Names) -> tuple[int | None, str | None]:
    """Return the number of a path, and the ending of its name."""
    if not isinstance(value, str) or not value:
        return None, None
    _, _, name = names.path(value).partition(":")
    digits, _, ending = name.partition(".")
    return _from_hex(digits), ending or None


def target(asked: object, names: Names) -> int | None:
    """Return the number of what a tool was asked to work on: a file, a directory, or a command."""
    if not isinstance(asked, dict):
        return None
    for key in _TARGETS:
        if key in asked:
            return file_number(asked[key], names)[0]
    return code_number(asked["command"], names) if "command" in asked else None


def code_number(value: object, names: Names) -> int | None:
    """Return the number of a text, 0 for an empty one; None where its hash was not stored."""
    if isinstance(value, str):
        return _from_hex(names.digest(value)) if value else 0
    if not isinstance(value, dict):
        return None
    return 0 if value.get("chars") == 0 else _from_hex(value.get("hash"))


def edit_numbers(edits: object, names: Names) -> tuple[int | None, int | None]:
    """Return the numbers of the old and the new texts of edits, each of one file."""
    found = [
        (
            code_number(edit.get("old_string"), names),
            code_number(edit.get("new_string"), names),
        )
        for edit in items(edits)
    ]
    if not found:
        return None, None
    old, new = zip(*found, strict=True)
    return _together(old), _together(new)


def items(value: object) -> list[Mapping[str, Any]]:
    """Return the objects of a list, or those that were kept of a long one."""
    if isinstance(value, dict):
        value = value.get("first")
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def agent_of(trace: Trace) -> str | None:
    """Return the sub-agent in which a hook ran."""
    return text(trace.payload, "agent_id")


def _together(numbers: Sequence[int | None]) -> int | None:
    if len(numbers) == 1 or None in numbers:
        return None if None in numbers else numbers[0]
    return number("texts", *map(str, numbers))


def _from_hex(digits: object) -> int | None:
    if not isinstance(digits, str) or len(digits) != _DIGITS:
        return None
    try:
        return int(digits, 16)
    except ValueError:
        return None
