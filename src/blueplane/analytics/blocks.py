"""Blocks of five hours, by which some plans of Claude are limited.

Owns when a block begins: at the full hour (UTC) of its first call; a call five hours after that, or
later, begins the next one. So hours are enough to tell.
Promises that a block is that of its platform, whatever project or days are asked for.
Leaves the figures of a block to ``usage_report.py``.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from blueplane.analytics.paging import Page
from blueplane.analytics.prices import PriceTable
from blueplane.analytics.usage_report import Priced, Report, Row, figures, total
from blueplane.clock import MS_PER_HOUR, MS_PER_MINUTE
from blueplane.store import usage_reports as stored
from blueplane.store.usage_reports import Cell, Rows, Scope

HOURS: Final = 5
#: Hours that are read at once to find where the current block begins.
_AT_ONCE: Final = 48

#: A block: its platform and its first hour since 1970.
Block = tuple[str, int]


class Pace(NamedTuple):
    """How fast a block goes, since it began, and where that leads by its end."""

    minutes_left: float | None = None
    tokens_per_minute: float | None = None
    cost_usd_per_hour: float | None = None
    projected_tokens: float | None = None
    projected_cost_usd: float | None = None


def blocks_of(hours: Iterable[tuple[str, int]]) -> Mapping[tuple[str, int], Block]:
    """Return the block of each hour that has calls, given in order."""
    found: dict[tuple[str, int], Block] = {}
    block = ("", 0)
    for platform, hour in hours:
        if platform != block[0] or hour >= block[1] + HOURS:
            block = platform, hour
        found[platform, hour] = block
    return found


def by_block(reader: Rows, scope: Scope, prices: PriceTable, page: Page, now_ms: int) -> Report:
    """Return the report of blocks, in order."""
    priced = Priced(prices)
    hours = stored.hours(reader, _within(reader, scope, page))
    block_of: dict[tuple[str, int], Block] = {}
    for platform, first in dict(reversed(hours)).items():
        begin = _chain(reader, platform, first)[0]
        block_of |= blocks_of(stored.hours(reader, Scope(platform=platform), begin))
    asked = {block_of[each] for each in hours}
    wanted = page.of(sorted(asked, key=lambda block: (block[1], block[0]), reverse=True))
    cells: dict[Block, list[Cell]] = {block: [] for block in wanted}
    only = [hour for (_, hour), block in block_of.items() if block in cells]
    for cell in stored.cells(reader, "hour", scope, priced.eras, only) if only else []:
        platform, hour = cell.group
        cells.get(block_of[platform, hour], []).append(cell)
    rows = [_row(block, cells[block], priced, now_ms) for block in reversed(wanted)]
    whole = total(reader, scope, priced)
    more = len(asked) > page.offset + len(rows)
    return Report(rows, whole, sorted(priced.unpriced), more)


def _within(reader: Rows, scope: Scope, page: Page) -> Scope:
    """Return the part of a scope with the blocks of a page, and the one before: two days each."""
    if not page.limit:
        return scope
    days = stored.newest_days(reader, scope, 2 * (page.offset + page.limit + 2))
    return scope._replace(since_day=days[-1]) if days else scope


def current(
    reader: Rows, platform: str, prices: PriceTable, now_ms: int, project: str | None = None
) -> Row | None:
    """Return the block that is under way, or a project's part of it; None when there is none."""
    this_hour = now_ms // MS_PER_HOUR
    hours = _chain(reader, platform, this_hour)
    block_of = blocks_of((platform, hour) for hour in hours)
    block = block_of[platform, hours[-1]] if hours else None
    if block is None or block[1] + HOURS <= this_hour:
        return None
    priced = Priced(prices)
    only = [hour for hour in hours if hour >= block[1]]
    scope = Scope(platform=platform, project=project)
    cells = stored.cells(reader, "hour", scope, priced.eras, only)
    return {**_row(block, cells, priced, now_ms), "project": project}


def _chain(reader: Rows, platform: str, hour: int) -> list[int]:
    """Return the hours that have calls since the last pause that surely ended a block, in order."""
    chain: list[int] = []
    while found := stored.hours_before(reader, platform, hour, _AT_ONCE):
        for each in found:
            if chain and chain[-1] - each >= HOURS:
                return chain[::-1]
            chain.append(each)
        hour = found[-1] - 1
    return chain[::-1]


def _row(block: Block, cells: list[Cell], priced: Priced, now_ms: int) -> Row:
    platform, hour = block
    start_ms, end_ms = hour * MS_PER_HOUR, (hour + HOURS) * MS_PER_HOUR
    found = figures(cells, priced)
    active = start_ms <= now_ms < end_ms
    return {
        "platform": platform,
        "start_ms": start_ms,
        "end_ms": end_ms,
        "active": active,
        **found,
        **(_pace(found, now_ms - start_ms, end_ms - now_ms) if active else Pace())._asdict(),
    }


def _pace(row: Mapping[str, Any], passed_ms: int, left_ms: int) -> Pace:
    """Return the pace of a block; in its first minute it is that of a whole one."""
    minutes = max(passed_ms, MS_PER_MINUTE) / MS_PER_MINUTE
    left = left_ms / MS_PER_MINUTE
    tokens, cost = row["total_tokens"], row["cost_usd"]
    return Pace(
        left,
        None if tokens is None else tokens / minutes,
        None if cost is None else cost / minutes * 60,
        None if tokens is None else tokens * (1 + left / minutes),
        None if cost is None else cost * (1 + left / minutes),
    )
