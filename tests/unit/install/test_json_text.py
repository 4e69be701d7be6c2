import pytest

from blueplane.errors import InstallError
from blueplane.install.json_text import (
    append_item,
    find,
    is_blank,
    items,
    members,
    parse,
    remove_items,
    remove_member,
    set_member,
)

NEW = {"command": "ours", "timeout": 5}
TABS = '{\n\t"a": [\n\t\t{\n\t\t\t"command": "ours",\n\t\t\t"timeout": 5\n\t\t}\n\t]\n}'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # as the other items are: on lines of their own, or not
        ('{"a": [1]}', '{"a": [1, {"command": "ours", "timeout": 5}]}'),
        ('{"a":[1,2]}', '{"a":[1,2,{"command":"ours","timeout":5}]}'),
        ('{"a": [ 1 , 2 ]}', '{"a": [ 1 , 2 , {"command": "ours", "timeout": 5} ]}'),
        ("[]", None),
        (
            '{\n    "a": [\n        1\n    ]\n}\n',
            """{\n    "a": [\n        1,
        {\n            "command": "ours",\n            "timeout": 5\n        }\n    ]\n}\n""",
        ),
        (
            '{\r\n\t"a": []\r\n}',
            TABS.replace("\n", "\r\n"),
        ),
        # made when they are missing
        ('{"b":1}', '{"b":1,"a":[{"command":"ours","timeout":5}]}'),
        (
            "{}\n",
            '{\n  "a": [\n    {\n      "command": "ours",\n      "timeout": 5\n    }\n  ]\n}\n',
        ),
        ('{"a": []}', '{"a": [{"command": "ours", "timeout": 5}]}'),
        (
            '{\n "b": {}\n}',
            '{\n "b": {},\n "a": [\n  {\n   "command": "ours",\n   "timeout": 5\n  }\n ]\n}',
        ),
    ],
)
def test_item_looks_like_its_neighbours_when_it_is_added(before: str, after: str | None) -> None:
    """What is added is written as what is there: indentation, line ends, space after commas."""
    # Given / When / Then
    if after is None:
        with pytest.raises(InstallError, match="line 1, column 1: the whole is no object"):
            append_item(before, ("a",), NEW)
    else:
        assert append_item(before, ("a",), NEW) == after


@pytest.mark.parametrize(
    "before",
    [
        '{"a": [1]}', '{"a":[1,2]}', '{"a": [ 1 , 2 ]}', '{"b":1}', '{\n\t"b": {}\n}\n',
        '{"x": "]},{[\\"", "a": [\n   1 \n , 2\n]}', '{\n\n  "b" :1\n\n,\n"c": [ ]  }',
        '\ufeff{"b": "é\\ud83d"}', "{}", '{"hooks":{}}',
    ],
)  # fmt: skip
def test_text_is_as_before_when_what_was_added_is_removed(before: str) -> None:
    """Adding and removing leave no trace: no comma, no space, no line."""
    # Given
    known = find(before, ("a",)) is not None
    # When
    text = append_item(append_item(before, ("a",), NEW), ("a",), NEW)
    assert [item.value for item in items(text, ("a",))][-2:] == [NEW, NEW]
    text = remove_items(text, ("a",), lambda value: value == NEW)
    text = text if known else remove_member(text, (), "a")
    # Then
    assert text == before


def test_neighbours_stay_when_an_item_in_the_middle_is_removed() -> None:
    """The comma that goes is the one that came."""
    # Given
    text = '{"a": [\n  1,\n  2,\n  3\n]}'
    # When / Then
    assert remove_items(text, ("a",), lambda v: v == 2) == '{"a": [\n  1,\n  3\n]}'
    assert remove_items(text, ("a",), lambda v: v == 1) == '{"a": [\n  2,\n  3\n]}'
    assert remove_items(text, ("a",), lambda v: v > 1) == '{"a": [\n  1\n]}'
    assert remove_items(text, ("a",), lambda v: v > 0) == '{"a": []}'
    assert remove_items(text, ("b",), lambda v: v > 0) == text


def test_member_is_found_when_the_path_has_keys_and_indices() -> None:
    """A path leads through objects and arrays; each step must be of the right kind."""
    # Given
    text = ' {"a": [{"b": {"c": [7, 8]}}], "\\u0064": 1}'
    # When / Then
    assert [each.value for each in items(text, ("a", 0, "b", "c"))] == [7, 8]
    assert [each.key for each in members(text, ())] == ["a", "d"]
    assert find(text, ("a", 1)) is None
    assert items(text, ("a", 0, "none")) == []
    with pytest.raises(InstallError, match="line 1, column 8: a is no object"):
        find(text, ("a", "b"))
    with pytest.raises(InstallError, match=r"line 1, column 15: a\[0\]\.b is no list"):
        find(text, ("a", 0, "b", 0))
    with pytest.raises(InstallError, match="line 1, column 42: d is no object"):
        set_member(text, ("d",), "e", 1)


def test_member_is_set_when_its_object_is_missing() -> None:
    """Objects on the way are made."""
    # Given / When / Then
    assert set_member('{"a":1}', ("b", "c"), "d", "é") == '{"a":1,"b":{"c":{"d":"é"}}}'
    assert remove_member('{"a": 1, "b": 2}', (), "a") == '{"b": 2}'
    assert remove_member('{"a": 1}', (), "b") == '{"a": 1}'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1, column 1: expecting value"),
        ("{'a': 1}", "line 1, column 2: expecting property name"),
        ('{"a": 1}\n\n}', "line 3, column 1: something follows the end"),
        ('{"a": 1} // b', r"line 1, column 10: .* \(JSON has no comments\)"),
        ('{\n/* b */"a": 1}', r"line 2, column 1: .* \(JSON has no comments\)"),
        ('{"NaN": "\\"NaN",\n "a": -Infinity}', "line 2, column 7: -Infinity is no JSON"),
        ('\ufeff{"a" 1}', "line 1, column 6: "),
        ('{"a": 01}', "line 1, column 8: "),
    ],
)
def test_text_is_refused_with_its_place_when_it_is_no_json(text: str, said: str) -> None:
    """Whatever does not parse is named with line and column, counted from 1 as editors do."""
    # Given / When / Then
    with pytest.raises(InstallError, match=said):
        parse(text)


def test_blank_text_is_told_from_other_text() -> None:
    """Nothing but space, with or without a byte order mark, is nothing."""
    # Given / When / Then
    assert [is_blank(text) for text in ("", "\ufeff", " \r\n\t", "{}", "\u00a0")] == [
        True, True, True, False, False,
    ]  # fmt: skip
