"""One line for the status line of an editor: today, the session, the block, and health.

Owns the line, and what is read of the JSON that Claude Code hands over.
Promises a line and exit code 0 whatever is wrong, within a moment whoever keeps standard input
open, and to import neither a library for command lines nor one for tables.
Leaves the figures to ``analytics/``, options to ``statusline.py``.
"""

import json
import os
import select
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from typing import Any, Final

from blueplane.analytics.blocks import current
from blueplane.analytics.prices import PriceTable, load_prices
from blueplane.analytics.usage_report import Priced, Row, figures, total
from blueplane.clock import MS_PER_MINUTE, monotonic_s, wall_ms
from blueplane.days import today
from blueplane.errors import BlueplaneError, ConfigError
from blueplane.figures import UNKNOWN, dollars, lasting, tokens
from blueplane.interfaces.cli import visible
from blueplane.interfaces.cli.prices import prices_of
from blueplane.interfaces.cli.server_word import server_text, server_word
from blueplane.paths import Home, default_home
from blueplane.store import usage_reports as stored
from blueplane.store.reading import Reads
from blueplane.store.schema import VERSION
from blueplane.store.usage_reports import Scope

_NAME: Final = "blueplane"
_SEPARATOR: Final = " | "
#: Seconds for the input to begin, and to go on: who hands over nothing may leave it open.
_PATIENCE_S: Final = 0.1
#: Seconds for all of the input: who hands it over in drops is not waited for either.
_ALL_S: Final = 0.5
#: Bytes of input that are read: Claude Code hands over a few kilobytes.
_MOST: Final = 256 * 1024
#: Dollars that no session costs: what says more is nonsense.
_MOST_USD: Final = 1_000_000
#: Seconds for a read of the database: a line that comes late is of no use.
_READ_S: Final = 0.5
_PLATFORM: Final = "claude_code"


def main() -> int:
    """Print the line of the default home."""
    return run(None)


def run(home: Home | None) -> int:
    """Print the line of a home, whatever happens."""
    try:
        line = line_of(home or default_home(), read_input())
    except BlueplaneError as error:
        line = f"{_NAME}: {visible(str(error))}"
    except Exception:  # noqa: BLE001 - a status line has no place for what went wrong
        line = f"{_NAME}: {UNKNOWN}"
    with suppress(OSError, ValueError, AttributeError):  # nobody looks, any more or at all
        sys.stdout.buffer.write(f"{line}\n".encode("utf-8", "backslashreplace"))
        sys.stdout.buffer.flush()
    return 0


def read_input() -> Mapping[str, Any]:
    """Return what was handed over; nothing for nobody, and for what is no JSON."""
    with suppress(OSError, ValueError, AttributeError, RecursionError):
        if not sys.stdin.isatty():
            said = json.loads(b"".join(_pieces(sys.stdin.fileno())))
            return said if isinstance(said, dict) else {}
    return {}


def _pieces(source: int) -> Iterator[bytes]:
    left, until_s = _MOST, monotonic_s() + _ALL_S
    while left > 0 and monotonic_s() < until_s and select.select([source], [], [], _PATIENCE_S)[0]:
        piece = os.read(source, left)
        if not piece:
            return
        left -= len(piece)
        yield piece


def line_of(home: Home, said: Mapping[str, Any]) -> str:
    """Return the line; what there is nothing to say of is left out."""
    if not home.database.exists():
        return f"{_NAME}: nothing stored yet"
    with closing(Reads(home.database, _READ_S)) as reader:
        if reader.schema_version() != VERSION:
            return f"{_NAME}: the database is another version's; `blueplane start`"
        prices = _prices(home)
        parts = [
            _today(reader, prices),
            _session(reader, prices, said),
            _block(reader, prices),
            server_text(server_word(home, reader, wall_ms())),
        ]
    return _SEPARATOR.join(part for part in parts if part)


def _prices(home: Home) -> PriceTable:
    try:
        return prices_of(home)
    except ConfigError:  # every other command says what is wrong with it
        return load_prices()


def _amount(row: Row) -> str:
    return f"{dollars(row['cost_usd'])} {tokens(row['total_tokens'])} tok"


def _today(reader: Reads, prices: PriceTable) -> str:
    day = today()
    row = total(reader, Scope(since_day=day, until_day=day), Priced(prices))
    return f"today {_amount(row)}" if row["calls"] else f"today {UNKNOWN}"


def _session(reader: Reads, prices: PriceTable, said: Mapping[str, Any]) -> str:
    name, cost = said.get("session_id"), said.get("cost")
    known = isinstance(name, str) and name.isprintable()  # half a character is no text to SQLite
    number = stored.session_number(reader, str(name)) if known else None
    if number is not None:
        priced = Priced(prices)
        row = figures(stored.cells(reader, "session", Scope(), priced.eras, [number]), priced)
        if row["calls"]:
            return f"session {_amount(row)}"
    reported = cost.get("total_cost_usd") if isinstance(cost, dict) else None
    if isinstance(reported, bool) or not isinstance(reported, int | float):
        return ""
    return f"session {dollars(reported)}" if 0 <= reported <= _MOST_USD else ""


def _block(reader: Reads, prices: PriceTable) -> str:
    row = current(reader, _PLATFORM, prices, wall_ms())
    if row is None:
        return ""
    left = lasting(row["minutes_left"] * MS_PER_MINUTE)
    return f"block {dollars(row['cost_usd'])}, {left} left"
