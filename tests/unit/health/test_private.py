import pytest

from blueplane.health.private import without_paths


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Error 2 to unix:///run/my dir/r.sock. No such file.", "Error 2 to <path>. No such file."),
        ("full: 5 bytes on the disk of /home/ada b/t.db", "full: 5 bytes on the disk of <path>"),
        ("/a/b: gone (SQLITE_X)", "<path>: gone (SQLITE_X)"),
        ("/tmp: gone, and ~/notes too", "<path>: gone, and <path>"),
        ("no file '/home/o'brien/a.sock'", "no file '<path>"),
        ("is not in /home/ada\nbyron/t.db", "is not in <path>"),
        ("no answer of redis://ada:secret@host:1/0.", "no answer of redis:<path>."),
        ("a and/or b at 3/4, 5 / s; see docs/METRICS.md", None),
    ],
)
def test_paths_are_taken_out_when_a_sentence_is_shown(text: str, shown: str | None) -> None:
    """What anybody may read has no path in it; the rest of a sentence stays."""
    # Given a sentence / When / Then
    assert without_paths(text) == (text if shown is None else shown)
