"""``blueplane backfill``: history is read to its end, and brought to another privacy level."""

import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from blueplane.paths import Home
from blueplane.store.codec import load_codec
from helpers import stored_transcripts as stored
from helpers.cli import on_terminal, program_environment, run
from helpers.cursor import CANARY, CursorStores
from helpers.reading_along import Along
from helpers.redis_server import RedisServer
from helpers.server import Server, stored_balance
from helpers.transcripts import Scribe, Truth, write
from helpers.waiting import wait_until

#: Sources of what editors keep.
OURS = "source IN ('transcript', 'database')"
KILLED = -9
NO_OUTPUT = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


@pytest.fixture
def truth(tmp_path: Path) -> Truth:
    """Give what is true of transcripts of more files than are noted together."""
    projects = tmp_path / "user" / ".claude" / "projects"
    projects.mkdir(parents=True)
    scribe = Scribe(seed=7, filler=200)
    write(projects, scribe.lines(1_500_000))
    return scribe.truth


@pytest.fixture
def stores(tmp_path: Path) -> CursorStores:
    """Give stores of Cursor."""
    stores = CursorStores(tmp_path / "user", 16)
    for number in range(3):
        stores.converse(number)
    return stores


def size(home: Home) -> int:
    """Return the bytes of all transcripts, and of what stands beside them."""
    projects = home.root.parent / "user" / ".claude" / "projects"
    return sum(path.stat().st_size for path in projects.rglob("*") if path.is_file())


def contents(home: Home) -> dict[str, bytes]:
    """Return what is stored of each event of ours."""
    query = f"SELECT event_id, codec, event_data FROM raw_traces WHERE {OURS}"
    with closing(stored.connect(home)) as connection:
        codec = load_codec(connection)  # type: ignore[arg-type]
        return {key: codec.decode(number, data) for key, number, data in connection.execute(query)}


def branches(home: Home) -> set[str]:
    """Return the branches that calls are counted by."""
    query = "SELECT DISTINCT branch FROM usage WHERE branch IS NOT NULL"
    with closing(stored.connect(home)) as connection:
        return {row[0] for row in connection.execute(query)}


def is_derived(home: Home) -> bool:
    """Whether every worker is done with every row."""
    query = "SELECT min(sequence) = (SELECT max(sequence) FROM traces) FROM watermarks"
    with closing(stored.connect(home)) as connection:
        return bool(connection.execute(query).fetchone()[0])


def counters(home: Home) -> dict[str, int]:
    """Return everything that the laws are made of."""
    with closing(stored.connect(home)) as connection:
        return dict(connection.execute("SELECT name, value FROM custody_totals"))


def fresh(home: Home, level: str, redis: RedisServer) -> dict[str, bytes]:
    """Return what another home with the same secret captures at a level."""
    other = Home(home.root.parent / f"fresh-{level}")
    other.prepare()
    other.secret_file.write_bytes(home.secret())
    other.secret_file.chmod(0o600)
    settings = {"BLUEPLANE_PRIVACY_LEVEL": level, "BLUEPLANE_REDIS_URL": f"{redis.url}?db=1"}
    ended = run(other, "backfill", "--home", str(other.root), **settings)
    assert ended.code == 0, ended.err
    return contents(other)


def read_all(home: Home, redis: RedisServer, level: str = "strict", **settings: str) -> None:
    """Read everything with the server of a command."""
    settings |= {"BLUEPLANE_PRIVACY_LEVEL": level, "BLUEPLANE_REDIS_URL": redis.url}
    ended = run(home, "backfill", **settings)
    assert ended.code == 0, ended.err
    assert "all of it is read" in ended.out


def refresh(home: Home, redis: RedisServer, level: str, **settings: str) -> dict[str, Any]:
    """Refresh with the server of a command; return the row that it shows."""
    settings |= {"BLUEPLANE_PRIVACY_LEVEL": level, "BLUEPLANE_REDIS_URL": redis.url}
    ended = run(home, "backfill", "--refresh", "--format", "json", **settings)
    assert ended.code in (0, 1), ended.err
    row: dict[str, Any] = ended.json["rows"][0]
    return row


def test_backfill_reads_everything_when_no_server_runs(
    home: Home, truth: Truth, stores: CursorStores, redis_server: RedisServer
) -> None:
    """The command starts a server, and ends when every line has its outcome."""
    # When
    ended = run(home, "backfill", "--format", "json", BLUEPLANE_REDIS_URL=redis_server.url)

    # Then
    assert ended.code == 0, ended.err
    transcripts, databases = ended.json["rows"]
    assert transcripts["bytes"] == size(home)
    assert transcripts["events"] == truth.events + truth.copies + truth.malformed
    assert databases["events"] == len(contents(home)) - truth.events
    assert databases["events"] > len(stores.truth.bubbles)
    for row in (transcripts, databases):
        assert row["files_left"] == row["bytes_left"] == row["events_left"] == 0
    assert stored.outcomes(home)["written"] == truth.events
    assert stored.calls(home) == truth.calls
    assert is_derived(home)
    assert stored_balance(home)["balanced"]


def test_backfill_says_when_all_is_read_on_a_terminal(
    home: Home, truth: Truth, redis_server: RedisServer
) -> None:
    """A running server is asked; a bar is shown while it reads, and a table at the end."""
    # Given
    with Server(home, redis_server) as server:
        server.start_ready()

        # When
        ended = on_terminal(home, "backfill")

        # Then
        assert ended.code == 0
        assert "all of it is read" in ended.out
        assert stored.outcomes(home)["written"] == truth.events
        assert server.alive()


@pytest.mark.fault("D12")
def test_backfill_goes_on_when_it_was_killed(
    home: Home, truth: Truth, redis_server: RedisServer
) -> None:
    """One that is killed in the middle has stored a part; the next stores the rest, once."""
    # Given
    redis = {"BLUEPLANE_REDIS_URL": redis_server.url}
    for point in ("after_commit", "before_commit"):
        ended = run(home, "backfill", BLUEPLANE_FAULTS=f"{point}:kill@1", **redis)
        assert ended.code == KILLED
    assert 0 < stored.outcomes(home)["written"] < truth.events

    # When
    read_all(home, redis_server)

    # Then
    found = stored.outcomes(home)
    assert found["written"] == truth.events
    assert found["quarantined"] == truth.malformed
    assert stored.calls(home) == truth.calls
    assert stored_balance(home)["balanced"]


def test_backfills_all_end_when_two_are_started_at_once(
    home: Home, truth: Truth, redis_server: RedisServer
) -> None:
    """One of them reads; the other sees it through, and goes on alone should that end before."""
    # Given / When
    variables = program_environment(home, BLUEPLANE_REDIS_URL=redis_server.url)
    arguments = [sys.executable, "-m", "blueplane", "backfill", "--format", "json"]
    both = [subprocess.Popen(arguments, env=variables, **NO_OUTPUT) for _ in range(2)]

    # Then
    assert [each.wait(60) for each in both] == [0, 0]
    assert stored.outcomes(home)["written"] == truth.events
    assert stored.calls(home) == truth.calls
    assert stored_balance(home)["balanced"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_backfill_leaves_no_redis_behind_when_it_is_ended(
    home: Home, truth: Truth, number: signal.Signals
) -> None:
    """A closed terminal, or a signal, ends the command and its server as Ctrl-C does."""
    # Given
    arguments = [sys.executable, "-m", "blueplane", "backfill"]
    with Server(home) as nobodys:
        process = subprocess.Popen(arguments, env=program_environment(home), **NO_OUTPUT)
        wait_until(lambda: stored.outcomes(home)["written"], 20, "it reads")

        # When
        process.send_signal(number)

        # Then
        assert process.wait(20) == 128 + number
        assert not nobodys.kill_redis()
    assert stored.outcomes(home)["written"] <= truth.events
    assert stored_balance(home)["balanced"]


def test_dry_run_says_how_much_there_is_when_nothing_was_read(
    home: Home, truth: Truth, stores: CursorStores
) -> None:
    """It says files, bytes and sessions, and neither starts a server nor makes a database."""
    # When
    ended = run(home, "backfill", "--dry-run", "--format", "json")

    # Then
    transcripts, databases = ended.json["rows"]
    assert ended.code == 0
    assert transcripts["bytes"] == size(home) > truth.bytes
    assert transcripts["sessions"] == len(truth.sessions)
    assert databases["bytes"] >= stores.state.stat().st_size
    assert databases["sessions"] is None
    assert not home.database.exists()


def test_refresh_leaves_rows_as_captured_anew_when_the_level_changes_and_changes_back(
    home: Home, truth: Truth, stores: CursorStores, redis_server: RedisServer
) -> None:
    """Rows are those of a capture at the new level, figures follow, and no law is touched."""
    # Given
    stores.put("composerData:unread", {"text": CANARY})
    read_all(home, redis_server)
    strict, counted = contents(home), counters(home)
    with Server(home, redis_server) as server:
        server.start_ready()
        wait_until(lambda: is_derived(home), 30, "everything is derived")
        hashed = branches(home)

        # When
        run(home, "config", "set", "privacy.level", "balanced")
        ended = run(home, "backfill", "--refresh")

        # Then
        assert ended.code == 0, ended.err
        assert contents(home) == fresh(home, "balanced", redis_server) != strict
        clear = branches(home)
        assert len(clear) == len(hashed) > 0
        assert not clear & hashed
        assert server.balance()["balanced"]
        server.stop()

        # When
        changed = refresh(home, redis_server, "strict")["changed"]

        # Then
        assert changed > truth.events // 2
        assert contents(home) == strict
        assert branches(home) == hashed
        assert counters(home) == counted
        assert refresh(home, redis_server, "strict")["changed"] == 0


@pytest.mark.fault("D12")
def test_refresh_goes_on_when_it_was_killed(
    home: Home, truth: Truth, redis_server: RedisServer
) -> None:
    """What was done before a death is not read again, and nothing is left out."""
    # Given
    read_all(home, redis_server)
    full = fresh(home, "full", redis_server)
    faults = {
        "BLUEPLANE_FAULTS": "refreshed_piece:kill@70",
        "BLUEPLANE_REDIS_URL": redis_server.url,
    }
    ended = run(home, "backfill", "--refresh", BLUEPLANE_PRIVACY_LEVEL="full", **faults)
    assert ended.code == KILLED
    assert contents(home) != full

    # When
    row = refresh(home, redis_server, "full")

    # Then
    assert contents(home) == full
    assert 0 < row["read"] < truth.events
    assert refresh(home, redis_server, "full") == {
        "what": "events", "read": truth.events + truth.copies, "changed": 0
    }  # fmt: skip


def test_refresh_knows_lines_without_a_time_when_their_file_was_touched(
    home: Home, tmp_path: Path, redis_server: RedisServer
) -> None:
    """A file that says no time anywhere has that of its first reading, whatever it shows now."""
    # Given
    path = tmp_path / "user" / ".claude" / "projects" / "-work" / "undated.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text('{"type":"summary","summary":"the hazel plan","leafUuid":"a1b2"}\n')
    read_all(home, redis_server)
    os.utime(path, (1_700_000_000, 1_700_000_000))

    # When
    row = refresh(home, redis_server, "full")

    # Then
    assert row["changed"] == 1
    assert [text for text in contents(home).values() if b"the hazel plan" in text]


def test_lines_are_left_when_their_outcome_is_not_stored(
    home: Home, tmp_path: Path, truth: Truth, redis_server: RedisServer
) -> None:
    """What is in hand, or on the road, is not called read."""
    # Given
    along = Along(home, redis_server, tmp_path / "user")
    monitor, seen = along.monitor, []
    hand_on = monitor.courier.hand_on

    def look(*reads: Any) -> None:
        seen.append(monitor.extent())
        hand_on(*reads)

    monitor.courier.hand_on = look  # type: ignore[method-assign]
    assert not monitor.extent().known

    # When
    along.look()
    on_the_road = monitor.extent()
    along.read()
    at_the_end = monitor.extent()
    along.close()

    # Then
    assert all(extent.waiting for extent in seen)
    assert on_the_road.known
    assert on_the_road.waiting
    assert at_the_end.waiting == at_the_end.files_left == at_the_end.bytes_left == 0
    assert at_the_end.bytes == size(home) > truth.bytes


def test_refresh_leaves_rows_as_they_are_when_their_file_is_gone(
    home: Home, tmp_path: Path, truth: Truth, redis_server: RedisServer
) -> None:
    """A file that nobody has any more changes nothing, and no row comes with a new one."""
    # Given
    read_all(home, redis_server)
    before = contents(home)
    for path in (tmp_path / "user").rglob("*.jsonl"):
        path.unlink()

    # When
    row = refresh(home, redis_server, "balanced")

    # Then
    assert row["changed"] < len(truth.agents) + 1
    assert sum(before[key] != text for key, text in contents(home).items()) == row["changed"]


def test_refresh_says_what_to_do_when_files_may_still_hold_what_it_removed(
    home: Home, truth: Truth, redis_server: RedisServer
) -> None:
    """To a stricter level it ends with a note, and `scrub` writes the files anew after it."""
    # Given
    read_all(home, redis_server, "full")
    strict = fresh(home, "strict", redis_server)
    assert len(strict) == truth.events
    settings = {"BLUEPLANE_REDIS_URL": redis_server.url}

    # When
    ended = run(home, "backfill", "--refresh", **settings)

    # Then
    assert ended.code == 1
    assert "`blueplane scrub`" in ended.err
    assert contents(home) == strict
    assert is_unfinished(home)
    assert run(home, "scrub", "--yes", **settings).code == 0
    assert not is_unfinished(home)
    assert contents(home) == strict
    assert run(home, "backfill", "--refresh", **settings).code == 0


def is_unfinished(home: Home) -> bool:
    """Whether files may still hold what was removed."""
    with closing(stored.connect(home)) as connection:
        found = connection.execute("SELECT value FROM cursors WHERE name = 'erasing'").fetchone()
    return bool(found and found[0])


def garbage(home: Home) -> Path:
    """Put something in the place of Cursor's database that is none."""
    path = home.root.parent / "user" / ".config/Cursor/User/globalStorage/state.vscdb"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database" * 1000)
    return path


@pytest.mark.fault("D12")
def test_database_is_named_when_it_cannot_be_read(home: Home, redis_server: RedisServer) -> None:
    """A server says what is unread, and why, to whoever asks how far it is."""
    # Given
    path = garbage(home)

    # When
    with Server(home, redis_server) as server:
        server.start_ready()
        wait_until(lambda: server.ask("backfill.status")["read"], 30, "all else is read")
        found = server.ask("backfill.status")

    # Then
    assert [each["path"] for each in found["unread"]] == [str(path)]
    assert found["unread"][0]["bytes"] == path.stat().st_size


@pytest.mark.fault("A13")
def test_backfill_leaves_no_redis_behind_when_it_is_ended_at_its_start(home: Home) -> None:
    """A signal is put off until the command's own server is able to stop in order."""
    # Given
    garbage(home)
    command = [sys.executable, "-m", "blueplane", "backfill"]
    with Server(home), subprocess.Popen(
        command, env=program_environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    ) as process:  # fmt: skip
        pid = home.redis / "pid"
        wait_until(lambda: pid.exists() and pid.read_text(), 30, "redis is started")
        redis = psutil.Process(int(pid.read_text()))

        # When
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=30)

        # Then
        assert process.returncode == 128 + signal.SIGTERM
        assert "Traceback" not in told
        assert not redis.is_running()


def test_new_directory_is_read_when_the_settings_name_it(
    home: Home, tmp_path: Path, redis_server: RedisServer
) -> None:
    """A server that is asked how far it is has looked into what was named a moment ago."""
    # Given
    path = tmp_path / "elsewhere" / "projects" / "-work" / "summary.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text('{"type":"summary","summary":"the hazel plan","leafUuid":"a1b2"}\n')
    with Server(home, redis_server) as server:
        server.start_ready()
        wait_until(lambda: server.ask("backfill.status")["done"], 30, "nothing is left")

        # When
        run(home, "config", "set", "capture.claude_dirs", str(tmp_path / "elsewhere"))
        ended = run(home, "backfill")

        # Then
        assert ended.code == 0, ended.err
        assert stored.outcomes(home)["written"] == 1


def test_malformed_lines_are_listed_when_somebody_looks_for_them(
    home: Home, tmp_path: Path, redis_server: RedisServer
) -> None:
    """Each is named by its file and first byte, on this machine alone; it stays where it is."""
    # Given
    path = tmp_path / "user" / ".claude" / "projects" / "-work" / "odd.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text('{"type":"summary","summary":"the hazel plan","leafUuid":"a1b2"}\nno json\n')
    read_all(home, redis_server)

    # When
    listed = run(home, "backfill", "--malformed", "--format", "json").json["rows"]
    shown = run(home, "status").out

    # Then
    first = path.read_bytes().index(b"no json")
    assert [(row["path"], row["entry"], row["bytes"]) for row in listed] == [
        (str(path), str(first), len("no json\n"))
    ]
    assert "1 in editors' own files, where they stay" in shown


def test_new_home_is_said_when_backfill_makes_it(home: Home, redis_server: RedisServer) -> None:
    """A home that is typed wrong is not made without a word."""
    # Given
    other = home.root.parent / "typed" / "wrong"

    # When
    ended = run(home, "backfill", "--home", str(other), BLUEPLANE_REDIS_URL=redis_server.url)

    # Then
    assert ended.code == 0
    assert ended.err == f"blueplane: a new home is made: {other}\n"


def test_backfill_reads_on_when_another_redis_was_chosen(
    home: Home, truth: Truth, redis_server: RedisServer
) -> None:
    """The server of a command leaves the private one for it, too, once that is empty."""
    # Given
    assert run(home, "backfill", BLUEPLANE_CAPTURE_TRANSCRIPTS="false").code == 0
    assert (home.redis / "appendonlydir").exists()

    # When
    with Server(home):  # which ends what the command leaves, should it fail
        read_all(home, redis_server)

    # Then
    assert stored.outcomes(home)["written"] == truth.events
    assert not (home.redis / "appendonlydir").exists()
