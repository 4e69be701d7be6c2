"""Pages of reports.

Owns what a page is.
Promises a total that is of all rows, whatever page is asked for: a page is cut last.
Leaves the order of rows to each report.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple


class Page(NamedTuple):
    """Which rows are wanted, counted from the first of all; a limit of 0 is no limit."""

    limit: int = 0
    offset: int = 0

    def of(self, rows: Sequence[Any]) -> list[Any]:
        """Return the rows of the page."""
        return list(rows[self.offset : self.offset + self.limit if self.limit else None])
