"""What a server did that makes entries vanish, as its statistics tell."""

import pytest

from blueplane.pipeline.link import Link
from blueplane.pipeline.redis_server import Deeds, deeds
from helpers.redis_server import RedisServer

PATIENCE_S = 20.0
INFO = {
    "run_id": "one",
    "evicted_keys": "2",
    "cmdstat_flushall": "calls=1,usec=5",
    "cmdstat_flushdb": "calls=2,usec=5",
    "cmdstat_xtrim": "calls=oops",
}


def test_deeds_are_read_when_a_server_counts_them() -> None:
    """Both kinds of flush are one; what is missing or no number is none."""
    # Given / When / Then
    assert deeds(INFO) == Deeds("one", {"flushed": 3, "evicted": 2, "trimmed": 0})
    assert deeds({}) == Deeds("", {"flushed": 0, "evicted": 0, "trimmed": 0})


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, {"stayed"}),
        ({"evicted_keys": "3"}, {"stayed", "evicted"}),
        ({"cmdstat_xtrim": "calls=1,usec=1"}, {"stayed", "trimmed"}),
        ({"run_id": "two"}, {"restarted", "flushed", "evicted"}),
        ({"run_id": "two", "evicted_keys": "0"}, {"restarted", "flushed"}),
        # CONFIG RESETSTAT
        ({"evicted_keys": "0"}, {"stayed"}),
    ],
)
def test_only_what_happened_since_is_told_when_the_server_was_seen_before(
    changes: dict[str, str], found: set[str]
) -> None:
    """What an instance did before is no news; another instance did all of it since."""
    # Given
    before, now = deeds(INFO), deeds({**INFO, **changes})
    # When / Then
    assert now.since(before) == found
    assert now.since(None) == frozenset()


def test_deeds_of_a_real_server_are_read_when_it_was_flushed_and_trimmed(
    redis_server: RedisServer,
) -> None:
    """The names are those that a server uses."""
    # Given
    redis_server.command("FLUSHALL")
    redis_server.client.xadd("s", {"a": "b"})
    redis_server.command("XTRIM", "s", "MAXLEN", "0")
    # When
    link = Link(redis_server.url, PATIENCE_S)
    link.connect()
    found = deeds({**link.info(), **link.info("commandstats")})
    link.close()
    # Then
    assert found.counts == {"flushed": 1, "evicted": 0, "trimmed": 1}
