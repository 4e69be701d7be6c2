"""Killed between the row and what is derived from it: the next server derives it, once."""

import shutil

import pytest

from blueplane.paths import Home
from blueplane.store.queries import reading
from helpers.cli import run
from helpers.desk import Desk
from helpers.handing import hand_off
from helpers.server import Server
from helpers.waiting import wait_until

WAIT_S = 30.0
FILES = 120


def is_derived(home: Home) -> bool:
    """Whether every worker is done with every row."""
    with reading(home.database) as reader:
        marks = reader.watermarks()
        last = reader.last_sequence()
    return len(marks) == len(Desk.NAMES) and set(marks.values()) == {last}


@pytest.mark.fault("A7")
def test_a_rebuild_goes_on_when_the_server_is_killed(server: Server) -> None:
    """The command says that the server is gone; the next server derives the rest by itself."""
    # Given a server that dies while it derives anew what was derived before
    server.start_ready()
    hand_off(server.home, FILES, 7)
    wait_until(lambda: not any(server.home.spool.iterdir()), WAIT_S, "the spool is empty")
    wait_until(lambda: is_derived(server.home), WAIT_S, "everything is derived")
    server.stop()
    desk = Desk(server.home.database)
    before = desk.derived()
    desk.close()
    server.start_ready("mid_derive:kill@2")
    # When
    ended = run(server.home, "rebuild")
    # Then
    assert ended.code == 4
    assert "does not answer" in ended.err
    assert not is_derived(server.home)
    server.start_ready()
    wait_until(lambda: is_derived(server.home), WAIT_S, "everything is derived")
    server.stop()
    desk = Desk(server.home.database)
    assert desk.derived() == before
    desk.close()


@pytest.mark.fault("A7")
@pytest.mark.parametrize("point", ["after_ack:kill@2", "mid_derive:kill@2", "after_derive:kill@2"])
def test_everything_is_derived_once_when_the_server_is_killed(server: Server, point: str) -> None:
    """What the next server has derived is what a fresh build of the same rows gives."""
    # Given a server that is killed after it has acknowledged, or while it derives
    server.start(point)
    for seed in range(1, 40):
        hand_off(server.home, 3, seed)
        if not server.alive():
            break
        wait_until(
            lambda: not server.alive() or not any(server.home.spool.iterdir()), WAIT_S, "taken"
        )
    wait_until(lambda: not server.alive(), WAIT_S, "killed")
    # When the next one has had its time
    server.start_ready()
    hand_off(server.home, FILES, 99)
    wait_until(lambda: not any(server.home.spool.iterdir()), WAIT_S, "the spool is empty")
    wait_until(lambda: is_derived(server.home), WAIT_S, "everything is derived")
    assert server.balance()["balanced"] is True
    server.stop()
    # Then a fresh build has the same
    copy = server.home.root / "copy.db"
    shutil.copy(server.home.database, copy)
    desk = Desk(copy)
    before = desk.derived()
    assert before["sessions"]
    assert before["usage"]
    desk.begin_again(emptied=True)
    desk.derive()
    assert desk.derived() == before
    desk.close()
