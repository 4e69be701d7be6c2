"""Cursor's stores on a real road: killed at every step of it, and nobody's word left behind."""

import subprocess
from collections import Counter
from pathlib import Path

import orjson
import pytest

from blueplane.paths import Home
from blueplane.store.queries import reading
from helpers.cli import run
from helpers.cursor import CANARY, CursorStores
from helpers.cursor_truth import Seen, expect_truth
from helpers.issued import SCRIPT
from helpers.nursery import Nursery
from helpers.oracle import reading as raw_reading
from helpers.redis_server import RedisServer
from helpers.server import Server, environment
from helpers.waiting import wait_until

PATIENCE_S = 30.0
#: Where a server dies, on the road of an event.
POINTS = (
    "before_append", "after_xadd", "after_begin", "mid_batch", "before_commit", "after_commit",
    "after_ack", "before_release",
)  # fmt: skip
#: Hooks and what the program itself sends are not of these tests.
OURS = "platform = 'cursor' AND source IN ('database', 'transcript')"


def seen(home: Home) -> list[Seen]:
    """Return the rows of Cursor's stores."""
    with raw_reading(home) as connection:
        found = connection.execute(
            "SELECT sequence, hook_type, session_id, project, turn_id, timestamp_ms"
            f" FROM raw_traces WHERE {OURS} ORDER BY sequence"
        ).fetchall()
    with reading(home.database) as reader:
        events = [orjson.loads(reader.event_data(row[0])) for row in found]
    return [
        Seen(*row[1:], body=event["payload"] | event["metadata"])
        for row, event in zip(found, events, strict=True)
    ]


def is_captured(stores: CursorStores, home: Home) -> bool:
    """Whether the rows agree with the truth by now."""
    try:
        expect_truth(stores, seen(home))
    except (AssertionError, KeyError):
        return False
    return True


def wait_captured(stores: CursorStores, home: Home) -> None:
    """Wait until the rows agree with the truth; say what differs if they never do."""
    try:
        wait_until(lambda: is_captured(stores, home), PATIENCE_S, "all is captured")
    except AssertionError:
        expect_truth(stores, seen(home))
        raise


def assert_once(home: Home) -> None:
    """No version of anything has two rows."""
    with raw_reading(home) as connection:
        rows = connection.execute(
            f"SELECT hook_type, session_id, event_data FROM raw_traces WHERE {OURS}"
        ).fetchall()
        ids = connection.execute(f"SELECT event_id FROM raw_traces WHERE {OURS}").fetchall()
    assert len(set(ids)) == len(ids) == len(rows)
    versions = Counter(
        (row.kind, row.session, row.turn, row.at_ms, orjson.dumps(row.body))
        for row in seen(home)
        if row.kind not in ("aiService.prompts", "agentTranscript")
    )
    assert not [key for key, count in versions.items() if count > 1]


@pytest.mark.fault("D12")
def test_nothing_is_lost_or_doubled_when_the_server_is_killed_again_and_again(
    home: Home, nursery: Nursery, redis_server: RedisServer
) -> None:
    """Whatever step a server dies at, everything has one row in the end, and both laws close."""
    # Given stores of a version whose bubbles are rows, and one server after the other
    stores = CursorStores(Path.home(), 13)
    stores.fill()
    with Server(home, redis_server, nursery) as server:
        for number, point in enumerate(POINTS):
            # When it dies while Cursor goes on
            server.start(f"{point}:kill@{1 + number % 2}")
            wait_until(lambda: not server.alive(), PATIENCE_S, f"it died at {point}")
            stores.converse(10 + number, turns=1)
            stores.add_turn(next(iter(stores.truth.composers)))
            stores.remember(1)
            stores.transcribe(1)
        server.start_ready()
        wait_captured(stores, home)

        # Then
        assert_once(home)
        wait_until(lambda: server.balance()["waiting"] == 0, PATIENCE_S, "nothing waits")
        balance = server.balance()
        assert balance["balanced"]
        assert balance["lost"] == 0
        assert balance["dead_lettered"] == 0


@pytest.mark.fault("D12")
@pytest.mark.parametrize(
    ("point", "rows"), [("mid_batch", 0), ("before_commit", 0), ("after_commit", 4)]
)
def test_mark_and_rows_are_there_together_when_the_server_is_killed(
    home: Home, nursery: Nursery, redis_server: RedisServer, point: str, rows: int
) -> None:
    """A mark is committed with the rows that it stands for: with the last, or not at all."""
    # Given a store of which everything fits into one batch
    stores = CursorStores(Path.home(), 13)
    for path in (stores.state, stores.local):
        path.unlink()
    stores.track(commits=2, requests=2)
    with Server(home, redis_server, nursery) as server:
        # When
        server.start(f"{point}:kill@1")
        wait_until(lambda: not server.alive(), PATIENCE_S, f"it died at {point}")

        # Then
        with raw_reading(home) as connection:
            marks = connection.execute("SELECT offset FROM offsets WHERE source = 'database'")
            assert [bool(offset) for (offset,) in marks] == [bool(rows)]
        assert len(seen(home)) == rows
        server.start_ready()
        wait_captured(stores, home)
        assert_once(home)


@pytest.mark.fault("G14")
def test_forgotten_conversation_stays_away_when_everything_is_read_anew(
    home: Home, nursery: Nursery, redis_server: RedisServer
) -> None:
    """Neither another server, nor a table that Cursor wrote anew, brings a row back."""
    # Given a conversation that was captured and forgotten, and one that was not
    stores = CursorStores(Path.home(), 16)
    gone, stays = stores.converse(0), stores.converse(1)
    with Server(home, redis_server, nursery) as server:
        server.start_ready()
        wait_captured(stores, home)
        kept = [row for row in seen(home) if row.session == stays]
        ended = run(home, "forget", "--session", gone, "--yes")
        assert ended.code == 0, ended.err
        server.stop()

        # When Cursor writes its table anew, and another server reads it
        stores.renumber()
        later = stores.converse(2)
        server.start_ready()
        wait_until(
            lambda: sum(row.session == later for row in seen(home)) > len(kept) // 2,
            PATIENCE_S,
            "the later conversation is there",
        )

        # Then
        rows = seen(home)
        assert gone not in {row.session for row in rows}
        assert [row for row in rows if row.session == stays] == kept


def test_no_word_is_left_anywhere_when_everything_was_captured(
    home: Home, nursery: Nursery
) -> None:
    """Nothing planted in Cursor's stores is in the database, Redis' files, the log or the spool."""
    # Given all there is, of two versions, and a database that cannot be read
    stores = CursorStores(Path.home(), 18)
    stores.fill()
    stores.put(f"bubbleId:{next(iter(stores.truth.composers))}:x", {"text": CANARY})
    broken = stores.user / "workspaceStorage" / "broken" / "state.vscdb"
    broken.parent.mkdir()
    broken.write_bytes(CANARY.encode() * 1000)
    with Server(home, nursery=nursery) as server:
        # When
        server.start_ready()
        wait_captured(stores, home)

        # Then, while it runs and afterwards
        assert not holding(home.root, CANARY.encode())
        server.stop()
    assert not holding(home.root, CANARY.encode())
    assert CANARY not in str(seen(home))
    assert "cannot be read" in server.log()


@pytest.mark.fault("G14")
def test_no_secret_is_left_anywhere_when_the_level_is_full(home: Home, nursery: Nursery) -> None:
    """Logins and keys of Cursor are in no file of the home, while texts are; nor what is packed."""
    # Given a home that keeps everything, and a value with keys in it that cannot be read
    stores = CursorStores(Path.home(), 18)
    stores.fill()
    stores.run(f"INSERT INTO cursorDiskKV VALUES ('composerData:x', '{{\"{CANARY}-key')")
    with Server(home, nursery=nursery, BLUEPLANE_PRIVACY_LEVEL="full") as server:
        # When
        server.start_ready()

        def is_read() -> bool:
            bubbles = [row for row in seen(home) if row.kind == "bubbleId"]
            return len(bubbles) == len(stores.truth.bubbles)

        wait_until(is_read, PATIENCE_S, "all is captured")
        wait_until(lambda: server.balance().get("quarantined") == 1, PATIENCE_S, "it is counted")

        # Then, while it runs and afterwards
        for secret in (f"{CANARY}-secret", f"{CANARY}-key"):
            assert not holding(home.root, secret.encode())
        server.stop()
    for secret in (f"{CANARY}-secret", f"{CANARY}-key"):
        assert not holding(home.root, secret.encode())
        assert secret not in str(seen(home))
    assert f"{CANARY} number" in str(seen(home))


def run_hook(home: Home, payload: bytes) -> None:
    """Run the hook for the end of a turn."""
    subprocess.run(
        [SCRIPT, "cursor", "stop"],
        input=payload,
        env={**environment(), "BLUEPLANE_HOME": str(home.root)},
        timeout=PATIENCE_S,
        check=True,
    )


def holding(directory: Path, needle: bytes) -> list[Path]:
    """Return the files below a directory that have ``needle`` in their name or content."""
    return [
        path
        for path in directory.rglob("*")
        if needle in str(path).encode() or (path.is_file() and needle in path.read_bytes())
    ]


def test_monitor_is_shown_when_cursor_is_there(home: Home, nursery: Nursery) -> None:
    """Health has the figures of the monitor; the end of a turn has it look at once."""
    # Given a server, and a user who has no Cursor yet
    with Server(home, nursery=nursery) as server:
        server.start_ready()
        wait_until(lambda: "capture" in server.ask("health"), PATIENCE_S, "it has looked")
        assert server.ask("health")["capture"]["database_monitor"]["state"] == "not installed"

        # When Cursor comes, and its turn ends
        stores = CursorStores(Path.home(), 16)
        stores.fill()
        run_hook(home, b'{"conversation_id": "c", "cursor_version": "3.1"}')
        wait_captured(stores, home)

        # Then
        def figures() -> bool:
            shown = server.ask("health")["capture"]["database_monitor"]
            return bool(shown["active"]) and shown["events_captured"] == len(seen(home))

        wait_until(figures, PATIENCE_S, "it is shown")
        shown = server.ask("health")["capture"]["database_monitor"]
        assert (shown["sessions_monitored"], shown["errors_count"]) == (3, 0)
        assert shown["last_activity_timestamp"]
        assert shown["backlog_bytes"] == 0
