"""Counting lines of edits."""

import pytest

from blueplane.capture.lines import changed_lines, edit_list_lines, patch_lines


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("", "", (0, 0)),
        ("", "a\nb\n", (2, 0)),
        ("a\nb", "", (0, 2)),
        ("a\nb\nc\n", "a\nx\nc\n", (1, 1)),
        ("a\n", "a", (0, 0)),
        ("a\nb\n", "a\nb\nc\n", (1, 0)),
        ("b\n", "a\nb\n", (1, 0)),
        ("a\na\n", "a\na\na\n", (1, 0)),
        ("a\u2028b\n", "a\u2028c\n", (1, 1)),
        ("1\nx\n2\ny\n3\n", "1\n2\n3\n", (1, 3)),
    ],
)
def test_changed_lines_counts_between_what_both_texts_share(
    old: str,
    new: str,
    expected: tuple[int, int],
):
    """Lines added, then removed; two places far apart count what lies between them as well."""
    assert changed_lines(old, new) == expected


@pytest.mark.parametrize(
    ("hunks", "expected"),
    [
        ([{"lines": ["+a", "-b", " c", "+d"]}, {"lines": ["-e"]}], (2, 2)),
        ([{"lines": "+a"}, 3, {"lines": [3, None, "+"]}], (1, 0)),
        ([], None),
        (None, None),
        ("+a", None),
    ],
)
def test_patch_lines_counts_signs_and_says_when_there_is_no_patch(
    hunks: object,
    expected: tuple[int, int] | None,
):
    """A patch of the wrong shape counts what can be read of it; no patch is not a count of 0."""
    assert patch_lines(hunks) == expected


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        (
            [{"old_string": "a", "new_string": "b\nc"}, {"old_string": "", "new_string": "d"}],
            (3, 1),
        ),
        ([{"old_string": "a"}, None, {"old_string": "a", "new_string": ""}], (0, 1)),
        ([{"old_string": 1, "new_string": 2}], None),
        ({}, None),
    ],
)
def test_edit_list_lines_adds_up_the_edits_it_can_read(
    edits: object,
    expected: tuple[int, int] | None,
):
    """A list of edits is one count; without a readable edit it is unknown."""
    assert edit_list_lines(edits) == expected
