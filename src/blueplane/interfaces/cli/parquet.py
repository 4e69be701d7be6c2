"""Rows as a file of Parquet.

Owns the only import of pyarrow, which is not part of the program.
Promises columns of one type each, and a group of rows in memory at a time.
Leaves saying what to install to ``export.py``.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import BinaryIO, Final

import pyarrow as pa
from pyarrow.parquet import ParquetWriter

from blueplane.analytics.export import BOOL, FLOAT, INT, TEXT, Row
from blueplane.interfaces.cli.export_forms import Columns

#: Rows of a group.
_GROUP: Final = 20_000
_TYPES: Final = {
    TEXT: pa.string(), INT: pa.int64(), FLOAT: pa.float64(), BOOL: pa.bool_()
}  # fmt: skip


def write(columns: Columns, rows: Iterable[Row], stream: BinaryIO) -> None:
    """Write rows as Parquet."""
    schema = pa.schema([(name, _TYPES[kind]) for name, kind in columns.items()])
    with ParquetWriter(stream, schema) as out:
        for group in _groups(rows):
            out.write_table(pa.Table.from_pylist(group, schema))


def _groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    left = iter(rows)
    while group := list(islice(left, _GROUP)):
        yield group
