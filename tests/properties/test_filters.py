"""No event that names a path in an ignored directory passes, however and wherever it names it."""

import json
import unicodedata
from typing import Any
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from blueplane.capture import vocabulary as words
from blueplane.capture.filters import Filters
from blueplane.capture.hook_event import HandOff, HookReader
from blueplane.capture.sanitise import Sanitiser
from blueplane.config import FilterSettings
from blueplane.errors import FilteredError
from helpers.examples import EXAMPLES, Example

SECRET = b"k" * 32
NAMES = st.text(st.sampled_from("aé~ %+:.ß中"), min_size=1, max_size=6).filter(
    lambda name: name.strip(".") and not name.startswith("~")
)
VALUES = st.none() | st.text(max_size=5) | st.lists(st.integers(-9, 9), max_size=3)
PARTS = st.lists(NAMES, min_size=1, max_size=4)


@st.composite
def spellings(draw: st.DrawFn, parts: list[str]) -> str:
    """Write an absolute path in one of the ways in which editors do."""
    path = "/nowhere/" + "".join(
        part + draw(st.sampled_from(["/", "//", "/./", "/x/../"])) for part in parts
    )
    path = draw(st.sampled_from([path, path.rstrip("/")]))
    path = unicodedata.normalize(draw(st.sampled_from(["NFC", "NFD"])), path)
    return f"file://{quote(path)}" if draw(st.booleans()) else path


@st.composite
def naming(draw: st.DrawFn, path: str) -> tuple[Example, dict[str, Any]]:
    """Draw a payload of a real hook, with ``path`` under some key of paths, and other values."""
    example = draw(st.sampled_from(EXAMPLES))
    body = example.body
    body.update(draw(st.dictionaries(st.sampled_from(sorted(words.PLAIN)), VALUES, max_size=3)))
    value: Any = draw(st.sampled_from([path, [path], ["b.py", 1, path]]))
    named = {draw(st.sampled_from(sorted(words.PATHS))): value}
    where = draw(st.sampled_from(["", "tool_input", "tool_response", "attachments"]))
    if where:
        named = {where: draw(st.sampled_from([named, [named], {"a": [[named]]}]))}
    return example, body | named


def reader(directory: str) -> HookReader:
    """Return a reader that ignores ``directory``."""
    filters = Filters(FilterSettings((directory,), (), (), (), ()), SECRET)
    return HookReader(Sanitiser("full", SECRET), lambda _: False, filters)


def passes(directory: str, example: Example, body: dict[str, Any]) -> bool:
    """Say whether an event passes while ``directory`` is ignored."""
    raw = json.dumps(body).encode()
    try:
        reader(directory).read(HandOff("1.1.1", 1, raw, example.platform, example.hook_name))
    except FilteredError:
        return False
    return True


@given(st.data(), PARTS, st.lists(NAMES, max_size=3))
def test_no_path_of_an_ignored_directory_passes(
    data: st.DataObject, parts: list[str], below: list[str]
) -> None:
    """A rule and a path may be spelled in any two ways, and the path stand under any key."""
    # Given
    directory = data.draw(spellings(parts))
    example, body = data.draw(naming(data.draw(spellings(parts + below))))
    # When / Then
    assert not passes(directory, example, body)


@given(st.data(), PARTS, NAMES)
def test_every_path_beside_an_ignored_directory_passes(
    data: st.DataObject, parts: list[str], name: str
) -> None:
    """A rule leaves out nothing but the directory."""
    # Given a directory whose name begins like the other's
    beside = [*parts[:-1], parts[-1] + name]
    directory = data.draw(spellings(parts))
    example, body = data.draw(naming(data.draw(spellings(beside))))
    # When / Then
    assert passes(directory, example, body)
