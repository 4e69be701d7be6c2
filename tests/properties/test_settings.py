"""Any settings, written in any way: in and out again without a trace."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from blueplane.install import hooks
from blueplane.install.editors import Editor
from blueplane.install.json_text import append_item, parse, remove_items, remove_member
from blueplane.paths import Home

SPACE = st.text(" \t\n\r", max_size=3)
LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.just(-1.5e300)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)
ITEMS = st.lists(VALUES, max_size=3)
EVENTS = st.dictionaries(st.sampled_from(["stop", "Stop", "x", "sessionEnd"]), ITEMS, max_size=3)
SETTINGS = st.builds(
    lambda rest, found: {**rest, **({} if found is None else {"hooks": found})},
    st.dictionaries(st.sampled_from(["version", "a", "ü", ""]), VALUES, max_size=3),
    st.none() | EVENTS,
)


def written(value: Any, draw: Any) -> Iterator[str]:
    """Write a value with any space between its parts."""
    yield draw(SPACE)
    if isinstance(value, dict | list):
        yield "{" if isinstance(value, dict) else "["
        for number, key in enumerate(value):
            yield "," if number else ""
            if isinstance(value, dict):
                yield f"{draw(SPACE)}{json.dumps(key)}{draw(SPACE)}:"
            yield from written(value[key] if isinstance(value, dict) else key, draw)
        yield draw(SPACE) + ("}" if isinstance(value, dict) else "]")
    else:
        yield json.dumps(value, ensure_ascii=draw(st.booleans()))
    yield draw(SPACE)


def has_foreign(value: dict[str, Any]) -> bool:
    """Whether nothing in a value is an empty container that we would fill or leave empty."""
    return bool(value) and all(value.get("hooks", {"": [0]}).values() or [0])


@settings(max_examples=150, deadline=None)
@given(st.data(), SETTINGS)
def test_text_is_as_before_when_an_item_came_and_went(
    data: st.DataObject, value: dict[str, Any]
) -> None:
    """Whatever the space between the parts: only what was added goes."""
    # Given a text, and an item that is in no list of it
    text = "".join(written(value, data.draw))
    ours = {"ours": True}
    path = ("hooks", "stop")
    had = value.get("hooks")
    # When
    added = append_item(text, path, ours)
    # Then only it is new
    expected = {**value, "hooks": {**(had or {}), "stop": [*(had or {}).get("stop", []), ours]}}
    assert parse(added) == expected
    # When
    removed = remove_items(added, path, lambda item: item == ours)
    # Then
    if had is None:
        removed = remove_member(removed, (), "hooks")
    elif "stop" not in had:
        removed = remove_member(removed, ("hooks",), "stop")
    assert parse(removed) == value
    if value and had != {} and (had or {}).get("stop") != []:
        assert removed == text


@settings(max_examples=150, deadline=None)
@given(st.data(), SETTINGS, st.sampled_from(["cursor", "claude_code"]))
def test_foreign_values_stay_when_hooks_come_and_go(
    data: st.DataObject, value: dict[str, Any], name: str
) -> None:
    """Installing changes nothing that is not ours, a second time nothing, and all of it goes."""
    # Given
    text = "".join(written(value, data.draw))
    editor, home = Editor(name, None, Path("/none"), ""), Home(Path("/home/it's/.blueplane"))
    # When
    after = hooks._with(editor, home, None, text.encode())
    assert after is not None
    again = hooks._with(editor, home, None, after)
    gone = hooks._without(editor, home, None, after)
    # Then
    assert again == after
    assert gone is not None
    found = {**parse(after.decode())}
    events = {event: [v for v in entries if "blueplane-hook" not in json.dumps(v)]
              for event, entries in found.pop("hooks").items()}  # fmt: skip
    before = dict(value)
    filled = {event: entries for event, entries in before.pop("hooks", {}).items() if entries}
    assert {event: entries for event, entries in events.items() if entries} == filled
    required = {"version": 1} if name == "cursor" else {}
    assert found == {**required, **before}
    assert b"blueplane-hook" not in gone
    if name == "claude_code" and has_foreign(value):
        assert gone == text.encode()
