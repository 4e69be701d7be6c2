"""``blueplane rebuild``: with a server and without one, of all workers and of one."""

import pytest

from blueplane.paths import Home
from helpers.cli import run
from helpers.desk import Desk
from helpers.handing import hand_off
from helpers.redis_server import RedisServer
from helpers.server import Server
from helpers.stories import everything
from helpers.waiting import wait_until

WAIT_S = 30.0


@pytest.fixture
def story(home: Home) -> int:
    """Give a home in which a story is stored, and nothing derived; return how many events."""
    desk = Desk(home.database)
    events = everything()
    desk.write(*events)
    desk.close()
    return len(events)


def derived(home: Home) -> dict[str, list[tuple[object, ...]]]:
    """Return everything that is derived."""
    desk = Desk(home.database)
    try:
        return desk.derived()
    finally:
        desk.close()


def test_everything_is_derived_anew_by_a_server_of_its_own(home: Home, story: int) -> None:
    """Without a server the command runs one; what it counts are events."""
    # Given / When
    first = run(home, "rebuild", "--format", "json")
    before = derived(home)
    again = run(home, "rebuild")
    # Then
    assert first.json["rows"] == [{"worker": name, "events": story} for name in Desk.NAMES]
    assert (again.code, derived(home)) == (0, before)
    assert before["tool_calls"]
    assert [f"{name} " in again.out for name in Desk.NAMES] == [True] * len(Desk.NAMES)


def test_one_worker_begins_anew_in_a_running_server(
    home: Home, story: int, redis_server: RedisServer
) -> None:
    """The server goes on to write; the other workers stand where they stood."""
    # Given
    with Server(home, redis_server) as server:
        server.start_ready()
        hand_off(home, 20, 3)
        wait_until(lambda: not any(home.spool.iterdir()), WAIT_S, "the spool is empty")
        # When
        ended = run(home, "rebuild", "--worker", "conversations", "--format", "json")
        # Then
        assert [row["worker"] for row in ended.json["rows"]] == ["conversations"]
        assert ended.json["rows"][0]["events"] >= story
        assert server.balance()["balanced"] is True


def test_an_unknown_worker_is_refused_with_the_names_of_those_there_are(home: Home) -> None:
    """One line, and exit code 2."""
    # Given / When
    ended = run(home, "rebuild", "--worker", "nobody")
    # Then
    assert ended.code == 2
    assert "conversations" in ended.err
    assert len(ended.err.splitlines()) == 1


def test_an_empty_home_has_nothing_to_derive(home: Home) -> None:
    """It says so, and makes no store."""
    # Given / When
    ended = run(home, "rebuild")
    # Then
    assert (ended.code, home.database.exists()) == (1, False)
    assert len(ended.err.splitlines()) == 1
