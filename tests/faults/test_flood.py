"""More than fits: spool, window and memory are bounded, and all is written in the end."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import orjson
import psutil
import pytest

from blueplane.capture.spool import CHUNK
from blueplane.paths import Home
from blueplane.store.queries import reading
from helpers.issued import EVENTS, Issued
from helpers.nursery import Nursery
from helpers.redis_server import RedisServer
from helpers.server import Server
from helpers.waiting import wait_until

PATIENCE_S = 60.0
FLOOD = 50_000
MB = 1024 * 1024
#: What a server may hold in memory under a flood; idle it has about 45 MB.
MAX_RSS_MB = 200
GB = 1024 * MB


def plant_bad_files(spool: Path) -> dict[str, str]:
    """Put everything into the spool that is no event; return name -> rule of its quarantine."""
    whole = b"{}\n\x1eclaude_code Stop\n"
    (spool / "900.1.1").write_bytes(b'{"broken": \n\x1eclaude_code Stop\n')
    (spool / "notes.txt").write_bytes(b"what is this?")
    (spool / "900.1.2").mkdir()
    (spool / "900.1.2" / "inside").write_bytes(whole)
    os.mkfifo(spool / "900.1.3")
    (spool / "900.1.4").symlink_to("/etc/hostname")
    (spool / "900.1.5").symlink_to(spool / "nowhere")
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(spool / "900.1.6"))
    (spool / ("n" * 255)).write_bytes(b"a name as long as a name can be")
    (spool / os.fsdecode(b"caf\xe9")).write_bytes(b"a name that is not UTF-8")
    (spool / "line\nbreak").write_bytes(b"a name of two lines")
    return {
        "900.1.1": "not-json",
        "notes.txt": "foreign-file",
        "900.1.2": "not-a-file",
        "900.1.3": "not-a-file",
        "900.1.4": "not-a-file",
        "900.1.5": "not-a-file",
        "900.1.6": "not-a-file",
        "n" * 255: "foreign-file",
        os.fsdecode(b"caf\xe9"): "foreign-file",
        "line\nbreak": "foreign-file",
    }


def plant_huge_file(issued: Issued) -> None:
    """Hand off an event of three gigabytes, nearly all of them a hole."""
    path = issued.home.spool / "901.1.1"
    with path.open("wb") as file:
        file.seek(3 * GB)
        file.write(b"\n\x1eclaude_code UserPromptSubmit\n")


@pytest.mark.fault("F5")
def test_a_spool_of_fifty_thousand_drains_when_there_are_bad_files_among_them(
    server: Server, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """Bad files are set aside, each under its rule, and all the others flow, the oldest first."""
    # Given a spool with 50,000 events, everything that is none, and one of three gigabytes
    bad = plant_bad_files(issued.home.spool)
    issued.issue(FLOOD // 2)
    plant_huge_file(issued)
    issued.issue(FLOOD // 2)
    # When the server drains it
    server.start_ready()
    highest = 0

    def drained() -> bool:
        nonlocal highest
        highest = max(highest, psutil.Process(server.pid).memory_info().rss)
        return issued.is_drained()

    wait_until(drained, PATIENCE_S, "the spool is empty")
    # Then the huge one is a row with its size, and no content
    ((sequence,),) = issued.select("SELECT sequence FROM raw_traces WHERE session_id = ''")
    with reading(issued.home.database) as reader:
        assert orjson.loads(reader.event_data(sequence))["payload"] == {"bytes": 3 * GB}
    issued.ids.append("")
    # and the bad ones are where their rule says, the others rows
    balance = issued.settle(server, redis_server)
    assert balance["quarantined"] == len(bad)
    rules = dict(issued.select("SELECT rule, count(*) FROM settlements GROUP BY rule"))
    assert rules == {"foreign-file": 4, "not-a-file": 5, "not-json": 1}
    aside = list(issued.home.quarantine.iterdir())
    assert len(aside) == len(bad)
    # and memory was bounded, and the oldest went first
    assert highest < MAX_RSS_MB * MB
    assert _inversions(issued) == 0


def _inversions(issued: Issued) -> int:
    """Return how many rows are further from their place than two chunks of the spooler."""
    place = {chosen: number for number, chosen in enumerate(issued.ids) if chosen}
    query = "SELECT session_id FROM raw_traces WHERE session_id != '' ORDER BY sequence"
    order = [place[row[0]] for row in issued.select(query)]
    return sum(abs(number - at) > 2 * CHUNK for at, number in enumerate(order))


@pytest.mark.fault("F5")
def test_hooks_are_refused_and_counted_when_the_spool_is_at_its_cap(
    home: Home, issued: Issued, redis_server: RedisServer, nursery: Nursery,
) -> None:  # fmt: skip
    """At the cap real hooks stop, silently; each refusal is counted once, and room reopens."""
    # Given a server without Redis, a cap of 1 MB and more than that in the spool
    redis_server.kill()
    with Server(home, redis_server, nursery, BLUEPLANE_SPOOL_MAX_MB="1") as server:
        server.start()
        server.wait_running()
        issued.issue(40, prompt="x" * 30_000)
        wait_until((home.run / "full").exists, PATIENCE_S, "the spool is flagged as full")
        # When hooks run / Then they leave nothing but their count
        kept = issued.spool()
        refused = issued.hook(7)
        issued.ids = [chosen for chosen in issued.ids if chosen not in refused]
        assert issued.spool() == kept
        # When Redis is there again / Then what was kept is written, and events pass again
        redis_server.start()
        wait_until(lambda: not (home.run / "full").exists(), PATIENCE_S, "the spool has room")
        issued.hook(2)
        balance = issued.settle(server, redis_server)
        wait_until(lambda: server.balance()["refused"] == 7, PATIENCE_S, "refusals are counted")
        assert server.balance()["captured"] == balance["captured"] + 7 - balance["refused"]
        # and a server that starts again does not count them again
        server.stop()
        server.start_ready()
        assert issued.settle(server, redis_server)["refused"] == 7


@pytest.mark.parametrize(
    "hold",
    [
        lambda home: pytest.importorskip("sqlite3").connect(home.database, isolation_level=None),
        None,
    ],
    ids=["database held", "slow commits"],
)
@pytest.mark.fault("F8", "F5")
def test_the_spool_is_bounded_when_the_writer_cannot_keep_up(
    home: Home, issued: Issued, redis_server: RedisServer, nursery: Nursery,
    hold: Callable[[Home], object] | None,
) -> None:  # fmt: skip
    """With the window full the spooler still looks after the cap: the disk is bounded."""
    settings = {"BLUEPLANE_SPOOL_MAX_MB": "1", "BLUEPLANE_QUEUE_MAX_ENTRIES": "100"}
    with Server(home, redis_server, nursery, **settings) as server:
        # Given a server whose writer does not get on, and a full window
        server.start_ready("" if hold else "before_commit:sleep=2@1+")
        stranger = hold(home) if hold else None
        if stranger is not None:
            stranger.execute("BEGIN IMMEDIATE")  # type: ignore[attr-defined]
        issued.issue(400)
        wait_until(lambda: redis_server.command("XLEN", EVENTS) >= 100, PATIENCE_S, "it is full")
        # When more arrives than the cap allows / Then hooks are told
        issued.issue(50, prompt="x" * 30_000)
        wait_until((home.run / "full").exists, PATIENCE_S, "the spool is flagged as full")
        # and when the writer gets on, all is written
        if stranger is not None:
            stranger.execute("ROLLBACK")  # type: ignore[attr-defined]
            stranger.close()  # type: ignore[attr-defined]
        issued.settle(server, redis_server)


@pytest.mark.fault("F8", "B10")
def test_sources_wait_when_the_writer_is_slow(
    home: Home, issued: Issued, redis_server: RedisServer, nursery: Nursery,
) -> None:  # fmt: skip
    """Slow commits fill the window and no memory: files wait, and all are written in the end."""
    # Given a window of 500 and a writer that takes a third of a second for each commit
    with Server(home, redis_server, nursery, BLUEPLANE_QUEUE_MAX_ENTRIES="500") as server:
        server.start_ready("before_commit:sleep=0.3@1+")
        before = psutil.Process(server.pid).memory_info().rss
        # When 3,000 events arrive
        issued.issue(3_000)
        lengths = []
        highest = 0

        def drained() -> bool:
            nonlocal highest
            lengths.append(redis_server.command("XLEN", EVENTS))
            highest = max(highest, psutil.Process(server.pid).memory_info().rss)
            return issued.is_drained()

        wait_until(drained, PATIENCE_S, "all is written")
        # Then the stream held hardly more than the window, and the server no more than before
        assert 500 <= max(lengths) <= 500 + CHUNK
        assert highest - before < 60 * MB
        balance = issued.settle(server, redis_server)
        assert (balance["lost"], balance["recovered"], balance["duplicate"]) == (0, 0, 0)


@pytest.mark.fault("B10")
def test_nothing_is_trimmed_when_the_backlog_is_larger_than_the_window(
    home: Home, issued: Issued, redis_server: RedisServer, nursery: Nursery,
) -> None:  # fmt: skip
    """With the consumer held the window fills and stops there; files stay, and none is lost."""
    # Given a held consumer and a window of 1,000
    with Server(home, redis_server, nursery, BLUEPLANE_QUEUE_MAX_ENTRIES="1000") as server:
        server.start_ready("after_read:sleep=600")
        # When 5,000 events arrive
        issued.issue(5_000)
        wait_until(
            lambda: redis_server.command("XLEN", EVENTS) >= 1_000, PATIENCE_S, "the window is full"
        )
        # Then the rest stays in the spool, also after the source has looked at it once more
        wait_until(lambda: "files wait" in server.log(), PATIENCE_S, "the source waits")
        assert redis_server.command("XLEN", EVENTS) <= 1_000 + CHUNK
        assert len(issued.spool()) == 5_000
        # and every one is written when a consumer goes on
        server.kill()
        server.start_ready()
        balance = issued.settle(server, redis_server)
        assert (balance["lost"], balance["recovered"], balance["duplicate"]) == (0, 0, 0)
