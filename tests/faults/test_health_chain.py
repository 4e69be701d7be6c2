"""The chain of custody as a running server shows it: what vanished, why, and what was lost."""

import shutil
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from helpers.issued import EVENTS, Issued
from helpers.redis_server import RedisServer
from helpers.server import Server
from helpers.waiting import wait_until

HELD = "after_read:sleep=3"
PATIENCE_S = 30.0


def chain(server: Server, is_so: Callable[[dict[str, Any]], object], what: str) -> dict[str, Any]:
    """Return what the server shows of the chain once that is so."""
    seen: dict[str, Any] = {}

    def look() -> object:
        seen.update(server.ask("health").get("chain", {}))
        return seen and is_so(seen)

    wait_until(look, PATIENCE_S, what)
    return seen


@pytest.mark.fault("B11")
def test_health_names_ten_deleted_entries_when_they_came_again(
    server: Server, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """A break of ten with its ids, recovered: degraded, yellow, and everything is written once."""
    # Given entries that nobody has read
    server.start_ready(HELD)
    issued.put_in_flight(redis_server, 200)
    gone = [key.decode() for key, _ in redis_server.client.xrange(EVENTS)][-10:]
    # When ten of them are deleted
    assert redis_server.command("XDEL", EVENTS, *gone) == 10
    written = issued.settle(server, redis_server)["written"]
    # Then
    found = chain(
        server, lambda seen: seen["messages_written_last_hour"] == written, "all is shown"
    )
    assert (found["chain_status"], found["health_status"]) == ("degraded", "yellow")
    (shown,) = found["breaks"]
    assert (shown["count"], shown["recovered"], shown["lost"]) == (10, 10, 0)
    assert set(gone) == set(ids_of(shown["ids"]))
    assert (found["success_rate"], found["balance"]["balanced"]) == (1.0, True)
    assert found["messages_enqueued_last_hour"] == found["balance"]["enqueued"] == written + 10
    # And the change of colour is one incident and one line of the log
    wait_until(lambda: incidents(issued, "chain"), PATIENCE_S, "the incident is stored")
    ((colour, cause, ended_ms),) = incidents(issued, "chain")
    assert (colour, ended_ms) == ("yellow", None)
    assert "10 messages vanished" in cause
    assert server.log().count("health colour of=chain") == 1


def ids_of(shown: list[str]) -> list[str]:
    """Return all ids of ranges."""
    found: list[str] = []
    for each in shown:
        first, _, last = each.partition("..")
        milliseconds, _, number = first.partition("-")
        end = int((last or first).partition("-")[2])
        found += [f"{milliseconds}-{n}" for n in range(int(number), end + 1)]
    return found


def incidents(issued: Issued, component: str) -> list[tuple[Any, ...]]:
    """Return the stored incidents of a component: colour, cause and end."""
    return issued.select(
        f"SELECT colour, cause, ended_ms FROM incidents WHERE kind = 'health:{component}'"
    )


@pytest.mark.fault("B4")
def test_health_says_that_redis_was_flushed_when_events_were_in_flight(
    server: Server, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """FLUSHALL is named as the cause; what was in flight came again, and nothing is lost."""
    # Given events in flight
    server.start_ready(HELD)
    issued.put_in_flight(redis_server, 300)
    # When
    redis_server.flush()
    balance = issued.settle(server, redis_server)
    # Then
    found = chain(server, lambda seen: seen["breaks"], "the break is shown")
    assert (found["chain_status"], found["balance"]["lost"]) == ("degraded", 0)
    assert found["chain_break_count"] == found["recovered_last_hour"] == balance["recovered"]
    assert "flushed" in found["breaks"][0]["cause"]


@pytest.mark.fault("B12")
def test_health_says_that_the_stream_was_evicted_when_the_policy_allows_it(
    server: Server, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """A server that evicts is refused; once it does not, the break names the eviction."""
    # Given events in flight
    server.start_ready(HELD)
    issued.put_in_flight(redis_server, 300)
    # When the policy is changed and the memory filled
    redis_server.config_set("maxmemory-policy", "allkeys-random")
    redis_server.config_set("maxmemory", 1)
    wait_until(lambda: not redis_server.command("DBSIZE"), PATIENCE_S, "everything is evicted")
    redis_server.config_set("maxmemory", 0)
    wait_until(
        lambda: "noeviction" in str(server.status()["redis"]["trouble"]), PATIENCE_S, "refused"
    )
    redis_server.config_set("maxmemory-policy", "noeviction")
    issued.settle(server, redis_server)
    # Then
    found = chain(server, lambda seen: seen["breaks"], "the break is shown")
    assert (found["chain_status"], found["balance"]["lost"]) == ("degraded", 0)
    assert "evicted" in found["breaks"][0]["cause"]


@pytest.mark.fault("C12")
def test_health_counts_what_is_lost_when_an_older_database_is_put_back(
    server: Server, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """Rows that a database of yesterday lacks are lost: broken, red, with the exact count."""
    # Given a copy of the database, and five events after it
    server.start_ready()
    issued.issue(3)
    issued.settle(server, redis_server)
    server.stop()
    copy = issued.home.root.parent / "copy"
    shutil.copy(issued.home.database, copy)
    kept = list(issued.ids)
    server.start_ready()
    issued.issue(5)
    issued.settle(server, redis_server)
    gone = len(issued.ids) - len(kept)
    server.stop()
    # When the copy is put back
    shutil.copy(copy, issued.home.database)
    issued.ids = kept
    server.start_ready()
    # Then
    found = chain(server, lambda seen: seen["breaks"] and seen["balance"], "the loss is shown")
    assert (found["chain_status"], found["health_status"]) == ("broken", "red")
    assert found["chain_break_count"] == gone >= 5
    assert found["breaks"][0]["cause"] == "the database was replaced by an older one"
    assert str(issued.home.root) not in orjson.dumps(found).decode()


@pytest.mark.fault("B17")
def test_health_is_degraded_until_dead_letters_are_retried(
    server: Server, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """Five entries that cannot be read are five dead letters; dropped, the chain is healthy."""
    # Given events of ours, and five entries that are none
    server.start_ready()
    issued.issue(20)
    strangers = [redis_server.client.xadd(EVENTS, {"v": "1", "n": n}) for n in range(5)]
    written = issued.settle(server, redis_server, dead=5)["written"]
    # When
    found = chain(server, lambda seen: seen["messages_in_dlq"] == 5, "five dead letters")
    # Then
    assert (found["chain_status"], found["health_status"]) == ("degraded", "yellow")
    (group,) = found["dead_letters"]
    assert (group["hop"], group["count"]) == ("delivered", 5)
    # And when they are given up
    server.ask("dlq.drop", ids=[key.decode() for key in strangers])
    found = chain(server, lambda seen: seen["messages_in_dlq"] == 0, "none is open")
    assert (found["chain_status"], found["health_status"]) == ("healthy", "green")
    assert found["messages_written_last_hour"] == written
