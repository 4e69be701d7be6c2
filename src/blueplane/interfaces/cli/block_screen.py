"""``blueplane usage blocks --live``: the block that is under way, and where it leads.

Owns the facts that are shown of it.
Promises them once in a pipe and as JSON, on a terminal every second, and words where there is no
block.
Leaves the figures to ``analytics/blocks.py``, the terminal to ``live.py``.
"""

from functools import partial
from typing import Final

from rich.console import Console, Group
from rich.table import Table as Grid
from rich.text import Text

from blueplane.analytics.blocks import current
from blueplane.analytics.prices import PriceTable
from blueplane.analytics.usage_report import Row
from blueplane.clock import MS_PER_MINUTE, wall_ms
from blueplane.figures import UNKNOWN, count, dollars, lasting, tokens, until
from blueplane.interfaces.cli import visible
from blueplane.interfaces.cli.live import END, STYLES, follow
from blueplane.interfaces.cli.opening import opened_once
from blueplane.interfaces.cli.output import GAP, Fact, is_watched, render_facts, render_json
from blueplane.interfaces.cli.reporting import Asked
from blueplane.paths import Home
from blueplane.store.reading import Reads

#: The platform whose plans have blocks.
_PLATFORM: Final = "claude_code"
#: Cells of the bar that says how much of a block has passed.
_BAR: Final = 40


def run(home: Home, asked: Asked, prices: PriceTable) -> None:
    """Show the block until somebody has had enough; once where nobody can watch."""
    platform = asked.platform or _PLATFORM

    def look() -> Row | None:
        with opened_once(home, Reads) as reader:
            return current(reader, platform, prices, wall_ms(), asked.project)

    row = look()
    if asked.form == "json":
        render_json({"rows": [] if row is None else [row], "total": {}})
    elif is_watched():
        follow(look, row, partial(screen, platform))
    else:
        render_facts(facts(platform, row))


def facts(platform: str, row: Row | None) -> list[Fact]:
    """Return what is said of the block of a platform."""
    if row is None:
        return [Fact("block", f"none of {platform} is under way: the next call begins one")]
    left_ms = row["minutes_left"] * MS_PER_MINUTE
    rate = row["tokens_per_minute"]
    per_minute = UNKNOWN if rate is None else f"{tokens(rate)} tokens a minute"
    of = [] if row["project"] is None else [Fact("project", row["project"])]
    return [
        *of,
        Fact("block", f"of {platform}, until {until(row['end_ms'])}"),
        Fact("left", lasting(left_ms)),
        Fact("tokens", f"{tokens(row['total_tokens'])} in {count(row['calls'], 'call')}"),
        Fact("cost est.", dollars(row["cost_usd"])),
        Fact("pace", f"{per_minute}, {dollars(row['cost_usd_per_hour'])} an hour"),
        Fact(
            "at its end",
            f"{tokens(row['projected_tokens'])} tokens, {dollars(row['projected_cost_usd'])}",
        ),
        Fact("models", ", ".join(row["models"]) or UNKNOWN),
    ]


def screen(platform: str, row: Row | None, trouble: str | None, _console: Console) -> Group:
    """Return the screen; that the database cannot be read comes first."""
    grid = Grid.grid(padding=(0, len(GAP), 0, 0))
    for fact in facts(platform, row):
        grid.add_row(Text(fact.label, "dim"), Text(visible(fact.text)))
    bar = [] if row is None else [Text(), Text(_passed(row))]
    notes = [] if trouble is None else [Text(visible(trouble), STYLES["red"]), Text()]
    return Group(*notes, Text(f"usage of this block; {END} ends"), Text(), grid, *bar)


def _passed(row: Row) -> str:
    span = row["end_ms"] - row["start_ms"]
    cells = round(_BAR * (1 - row["minutes_left"] * MS_PER_MINUTE / span))
    return f"[{'=' * cells}{' ' * (_BAR - cells)}]"
