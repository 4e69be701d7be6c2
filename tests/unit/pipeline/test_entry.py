import pytest

from blueplane.pipeline import entry


@pytest.mark.fault("D11")
@pytest.mark.parametrize(
    ("raw", "source", "origin"),
    [
        ([], "", ""),
        ([b"source", b"hook", b"origin", b"spool:1.1.1:5"], "hook", "spool:1.1.1:5"),
        ([b"source", b"\xff", b"origin", b"\xff"], "\ufffd", ""),
        ([b"origin", b"a", b"origin", b"b", b"source"], "", "b"),
    ],
)
def test_entry_is_read_when_anybody_made_it(raw: list[bytes], source: str, origin: str) -> None:
    """Missing, doubled, cut off and unreadable fields are read as far as they can be."""
    # Given the fields of an entry / When
    fields = entry.by_name(raw)
    # Then
    assert (entry.text(fields, b"source"), entry.origin(fields)) == (source, origin)
