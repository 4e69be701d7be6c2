"""Rows as CSV, as one JSON document, or as a line of JSON each.

Owns how rows are written to a file of bytes.
Promises one row in memory at a time, an empty cell or null for what is unknown, and that no cell
of CSV is a formula to a spreadsheet.
Leaves the rows to the command, cells to ``reporting.py``, Parquet to ``parquet.py``.
"""

import codecs
from collections.abc import Callable, Iterable, Mapping
from typing import BinaryIO, Final, TypeAlias

import orjson

from blueplane.analytics.export import Row
from blueplane.interfaces.cli.reporting import write_csv

_UTF8: Final = codecs.getwriter("utf-8")
#: Columns with their types.
Columns: TypeAlias = Mapping[str, str]


def _write_csv(columns: Columns, rows: Iterable[Row], stream: BinaryIO) -> None:
    write_csv(list(columns), rows, _UTF8(stream))


def _write_lines(columns: Columns, rows: Iterable[Row], stream: BinaryIO) -> None:
    stream.writelines(_line(columns, row) + b"\n" for row in rows)


def _write_json(columns: Columns, rows: Iterable[Row], stream: BinaryIO) -> None:
    """Write what other commands answer with: rows, and how many there are."""
    written = 0
    stream.write(b'{"rows": [')
    for row in rows:
        stream.write((b",\n" if written else b"\n") + _line(columns, row))
        written += 1
    stream.write(b'\n], "total": {"rows": %d}}\n' % written)


def _line(columns: Columns, row: Row) -> bytes:
    return orjson.dumps({name: row[name] for name in columns})


FORMS: Final[Mapping[str, Callable[[Columns, Iterable[Row], BinaryIO], None]]] = {
    "csv": _write_csv,
    "json": _write_json,
    "jsonl": _write_lines,
}
