import os
import stat
from pathlib import Path
from threading import get_native_id

import pytest

from blueplane.store.marker import MAX_BYTES, Mark, mark_file, read_mark, write_mark
from helpers.road import database_file

MARK = Mark(store=2**62, settled=10, own=9, rows=8, sequence=12)


@pytest.mark.fault("C11", "G10")
def test_mark_is_read_as_it_was_written_when_it_was_replaced(tmp_path: Path) -> None:
    """A mark is one small private file, and the last one written counts."""
    # Given
    path = database_file(tmp_path)
    write_mark(path, Mark(1, 1, 1, 1, 1))
    # When
    write_mark(path, MARK)
    # Then
    assert read_mark(path) == MARK
    assert [each.name for each in tmp_path.iterdir()] == ["telemetry.mark"]
    assert stat.S_IMODE(mark_file(path).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "content",
    [
        None, b"", b"{", b"[]", b"{}", b"null", b"\xff", b"x" * (MAX_BYTES + 1),
        b'{"store":1,"settled":-1,"own":1,"rows":1,"sequence":1}',
        b'{"store":1,"settled":1.5,"own":1,"rows":1,"sequence":1}',
        b'{"store":1,"settled":true,"own":1,"rows":1,"sequence":1}',
        b'{"store":1,"settled":1,"own":1,"rows":1,"sequence":1,"more":1}',
    ],
)  # fmt: skip
def test_mark_is_none_when_it_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    """Whatever is in its place is no mark, and no error."""
    # Given
    path = database_file(tmp_path)
    if content is not None:
        mark_file(path).write_bytes(content)
    # When / Then
    assert read_mark(path) is None


def test_mark_stays_when_it_cannot_be_replaced(tmp_path: Path) -> None:
    """A disk that refuses the new mark leaves the old one."""
    # Given
    path = database_file(tmp_path)
    write_mark(path, MARK)
    (tmp_path / f".telemetry.mark.blueplane-new-{os.getpid()}-{get_native_id()}").mkdir()
    # When
    write_mark(path, Mark(1, 11, 1, 1, 1))
    # Then
    assert read_mark(path) == MARK
