"""The rollups are the sums over the calls, whatever happened to those."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from blueplane.days import local_day
from blueplane.store.connection import Connection, transaction
from blueplane.store.derived import Call, Derived, Tokens
from blueplane.store.derived_erasure import DerivedRows, renaming
from blueplane.store.migrations import migrate
from blueplane.store.rollups import Rollups
from helpers.rolled_up import plain, shown

#: Half an hour, a quarter, days that are an hour longer, and a day that never was.
ZONES = ("UTC", "Asia/Kathmandu", "America/New_York", "Pacific/Apia")
T0_MS = 1_700_000_000_000
TIMES = st.sampled_from([-1, 0, 1, 3_599_999, 86_399_999, T0_MS]) | st.integers(
    T0_MS - 90 * 86_400_000, T0_MS + 90 * 86_400_000
)
AMOUNTS = st.none() | st.sampled_from([0, 1, 7, 99_999, 100_001, 200_001])


@st.composite
def calls(draw: st.DrawFn) -> Call:
    """Draw what a row says of one of few calls."""
    session = draw(st.sampled_from(["one", "two", "three"]))
    return Call(
        key=(draw(st.integers(-1, 2)), draw(st.integers(0, 2))),
        platform="cursor" if session == "three" else "claude_code",
        session_id=session,
        agent=draw(st.sampled_from([None, "a1"])),
        sidechain=draw(st.booleans()),
        model=draw(st.sampled_from([None, "opus", "haiku"])),
        project=draw(st.sampled_from([None, "alder", "birch"])),
        branch=draw(st.sampled_from([None, "main"])),
        timestamp_ms=draw(TIMES),
        final=draw(st.booleans()),
        tokens=Tokens(*(draw(AMOUNTS) for _ in Tokens._fields)),
        reported_cost_usd=draw(st.sampled_from([None, 0.0, 0.1, 1.25])),
    )


STEPS = st.one_of(
    st.tuples(st.just("calls"), st.lists(calls(), max_size=6)),
    st.tuples(st.just("forget"), st.sampled_from([("one", (), 0), ("", ("alder",), 0)])),
    st.tuples(st.just("forget"), st.tuples(st.just(""), st.just(()), st.just(T0_MS))),
    st.tuples(st.just("rename"), st.sampled_from([("alder", "birch"), ("birch", "cedar")])),
    st.tuples(st.just("travel"), st.sampled_from(ZONES)),
)
SIDECHAIN = Call(
    (1, 1), "claude_code", "one", "a1", True, "opus", "alder", None, T0_MS, False,  # noqa: FBT003
    Tokens(1, 2), None,
)  # fmt: skip


@contextmanager
def store() -> Iterator[Connection]:
    """Give an empty database in memory."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.create_function("local_day", 1, local_day, deterministic=True)
        migrate(connection)
        yield connection


@contextmanager
def travelling() -> Iterator[None]:
    """Put the time zone back that the machine had."""
    before = os.environ.get("TZ")
    try:
        yield
    finally:
        os.environ.pop("TZ", None)
        os.environ |= {"TZ": before} if before else {}
        time.tzset()


def take(connection: Connection, step: str, what: Any) -> None:
    """Take one step, each piece of it in a transaction."""
    match step:
        case "calls":
            with transaction(connection):
                Derived(connection).add_calls(what)
        case "forget":
            for removal in DerivedRows(connection, *what).removals():
                with transaction(connection):
                    removal(connection)
        case "rename":
            with transaction(connection):
                for statement in renaming("project", *what):
                    connection.execute(*statement)
        case "travel":
            os.environ["TZ"] = what
            with transaction(connection):
                Derived(connection).add_calls([])


@settings(deadline=None)
@given(st.lists(STEPS, min_size=1, max_size=8))
@example([("calls", [SIDECHAIN, SIDECHAIN._replace(key=(1, 2), session_id="two")]),
          ("forget", ("one", (), 0))])  # fmt: skip
@example([("calls", [SIDECHAIN, SIDECHAIN._replace(key=(2, 0), project="birch")]),
          ("rename", ("alder", "birch"))])  # fmt: skip
def test_rollups_are_the_sums_over_the_calls_after_any_steps(steps: list[tuple[str, Any]]) -> None:
    """After calls in any batches, merges, replays, forgetting, renaming and another time zone."""
    zone = "UTC"
    with travelling(), store() as connection:
        # Given
        take(connection, "travel", zone)
        for step, what in steps:
            # When
            take(connection, step, what)
            zone = what if step == "travel" else zone
            # Then
            assert shown(connection) == plain(connection, zone)
        before = shown(connection)
        Rollups(connection).rebuild()
        assert shown(connection) == before
