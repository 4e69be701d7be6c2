"""The commands as people run them: real processes, the real hook script, a real Redis and store."""

import json
import os
import pty
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from blueplane.capture.handoff import split_trailer
from blueplane.event import Event, encode
from blueplane.interfaces.cli.main import COMMANDS, main
from blueplane.paths import Home
from helpers.cli import Ended, program_environment, run
from helpers.redis_server import RedisServer
from helpers.server import Server
from helpers.waiting import wait_until

HOOK = Path(__file__).parents[2] / "hooks" / "blueplane-hook"
TIMEOUT_S = 30.0
SETTLE_S = 20.0
SESSION = "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d"
HOPS = ["captured", "enqueued", "delivered", "written"]
LAWS = {
    "enqueued": ("written", "duplicate", "dead_lettered", "in_flight", "recovered", "lost"),
    "captured": ("written", "duplicate", "filtered", "quarantined", "refused", "waiting"),
}
#: Refuses every row of the session ``poison``.
POISON = (
    "CREATE TRIGGER poison BEFORE INSERT ON traces"
    " WHEN NEW.session = (SELECT id FROM names WHERE text = 'poison')"
    " BEGIN SELECT RAISE(ABORT, 'poison'); END"
)


@contextmanager
def started(
    home: Home,
    *arguments: str,
    **options: Any,
) -> Iterator[subprocess.Popen[str]]:
    """Start ``serve``; neither it nor its Redis outlives the block."""
    command = [sys.executable, "-m", "blueplane", "serve", *arguments]
    with subprocess.Popen(command, **options) as process:
        try:
            yield process
        finally:
            process.kill()
            Server(home).kill_redis()


def capture(home: Home, session_id: str, count: int = 1, **fields: object) -> None:
    """Hand events over through the hook script."""
    payload = json.dumps({"session_id": session_id, "prompt": "hello", **fields}).encode()
    for _ in range(count):
        subprocess.run(
            ["sh", HOOK, "claude_code", "UserPromptSubmit"],
            env={"BLUEPLANE_HOME": str(home.root)}, input=payload, check=True,
        )  # fmt: skip


def query(home: Home, statement: str) -> list[tuple[Any, ...]]:
    """Run a statement on the database from outside."""
    with closing(sqlite3.connect(home.database, timeout=5)) as connection:
        rows = connection.execute(statement).fetchall()
        connection.commit()
    return rows


def wait_rows(home: Home, count: int) -> None:
    """Wait until so many events are written."""
    statement = "SELECT count(*) FROM traces"
    wait_until(lambda: query(home, statement) == [(count,)], SETTLE_S, f"{count} rows")


def wait_letters(home: Home, count: int) -> None:
    """Wait until so many dead letters are open."""
    statement = "SELECT count(*) FROM dead_letters WHERE state = 'open'"
    wait_until(lambda: query(home, statement) == [(count,)], SETTLE_S, f"{count} dead letters")


@pytest.fixture
def server(home: Home) -> Iterator[Server]:
    """Give a running server with its private Redis."""
    with Server(home) as server:
        server.start_ready()
        yield server


# --- serve ---------------------------------------------------------------------------------------


def test_canary_shows_every_hop_when_the_road_is_open(home: Home) -> None:
    """``serve --canary --once`` sends one event through hook, Redis and SQLite, and proves it."""
    # Given a home that nothing ever ran in
    # When one canary is sent
    ended = run(home, "serve", "--canary", "--once")
    # Then it is written, each hop has its time, and both laws close with it
    assert (ended.code, ended.err) == (0, "")
    words = [line.split() for line in ended.out.splitlines()]
    times = {line[0]: line[1:3] for line in words if line and line[0] in HOPS}
    assert list(times) == HOPS
    assert list(times.values()) == sorted(times.values())
    assert re.search(r"messages +closed: enqueued 1 = written 1 ", ended.out)
    assert re.search(r"events +closed: captured 1 = written 1 ", ended.out)
    assert query(home, "SELECT platform, source, event_type, hook_type FROM raw_traces") == [
        ("blueplane", "canary", "canary", "Canary")
    ]
    assert run(home, "status", "--format", "json").json["rows"] == []  # in no other figure


def test_canary_says_how_far_it_came_when_it_is_not_written(home: Home, tmp_path: Path) -> None:
    """Without any Redis the canary is captured and waits, and the exit code says so."""
    # Given a server that has no Redis to start
    environ = program_environment(home, BLUEPLANE_REDIS_SERVER=str(tmp_path / "none"))
    pipe = subprocess.PIPE
    with started(home, "--once", env=environ, stdout=pipe, stderr=pipe, text=True) as process:
        # When nobody wants to wait any longer for a canary that is in the spool
        wait_until(lambda: any(home.spool.iterdir()), SETTLE_S, "the canary is captured")
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=TIMEOUT_S)
    # Then one line says where it is and what is in its way
    assert (process.returncode, err) == (1, "")
    assert "canary not written: it was captured and waits in the spool: no Redis server" in out


def test_serve_tells_its_figures_and_stops_in_order_when_in_a_pipe(home: Home) -> None:
    """In a pipe a server prints a line when figures changed, and SIGTERM ends it with 0."""
    # Given a server in a pipe that wrote two events
    with Server(home) as server:
        server.start_ready()
        capture(home, SESSION, 2)
        wait_rows(home, 2)
        # When it is stopped
        pid, code = server.pid, server.stop()
        lines = server.output.read_text().splitlines()
    # Then it said how to stop it, what became of the events, and that it stopped
    assert code == 0
    assert lines[0].endswith(f"serves {home.root}; `kill {pid}` stops it")
    assert lines[-2].endswith("Z  captured 2  enqueued 2  written 2  in flight 0  dlq 0")
    assert lines[-1] == "stopped"


def test_serve_draws_a_line_when_on_a_terminal(home: Home) -> None:
    """On a terminal the figures are one line that is redrawn, with warnings above; Ctrl-C ends."""
    # Given a server on a terminal
    master, slave = pty.openpty()
    os.set_blocking(master, False)
    screen = bytearray()

    def shows(text: bytes) -> bool:
        with suppress(OSError):  # there is nothing new, or nobody at the other end any more
            screen.extend(os.read(master, 65536))
        return text in screen

    environ = program_environment(home, TERM="xterm", COLUMNS="80")
    with started(home, env=environ, stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        wait_until(lambda: shows(b"\r\x1b[Kcaptured 0"), SETTLE_S, "the line is drawn")
        # When something cannot be read, and a person presses Ctrl-C
        (home.spool / "1.1.1").write_bytes(b"no json\n\x1eclaude_code Stop\n")
        wait_until(lambda: shows(b"quarantined"), SETTLE_S, "the warning is shown")
        process.send_signal(signal.SIGINT)
        wait_until(lambda: shows(b"stopped\r\n"), SETTLE_S, "the end is told")
        code = process.wait(TIMEOUT_S)
    os.close(master)
    # Then the warning erased the line before it, and all ended well
    assert code == 0
    assert re.search(rb"\r\x1b\[K\S+ WARN  spooler quarantined .*\n.*captured", screen)
    assert b"Ctrl-C stops it" in screen
    assert b"Traceback" not in screen


@pytest.mark.fault("F1")
def test_second_server_is_refused_when_one_runs(home: Home, server: Server) -> None:
    """Another server in the same home ends with 3 and names the one that runs."""
    # Given a running server / When another is started
    ended = run(home, "serve")
    # Then it is refused in one line, and the first one is well
    assert ended.code == 3
    assert f"pid {server.pid} since" in ended.err
    assert ended.err.count("\n") == 1
    assert run(home, "status").code == 0


def test_serve_says_which_part_is_unusable_when_it_cannot_start(home: Home) -> None:
    """A wrong setting ends with 2, a home or database that cannot be used with 4, in one line."""
    # Given three things that a user can have got wrong / When a server is started
    wrong = run(home, "serve", BLUEPLANE_REDIS_MODE="cluster")
    home.database.write_bytes(b"this is no database" * 100)
    garbage = run(home, "serve", BLUEPLANE_STORE_ON_DAMAGE="stop")
    no_home = run(home, "serve", "--home", str(home.database))
    # Then each is named
    assert (wrong.code, garbage.code) == (2, 4)
    assert "BLUEPLANE_REDIS_MODE" in wrong.err
    assert str(home.database) in garbage.err
    assert no_home.code in (2, 4)
    assert {each.err.count("\n") for each in (wrong, garbage, no_home)} == {1}


# --- status --------------------------------------------------------------------------------------


def closes(balance: dict[str, Any]) -> bool:
    """Say whether both laws close, computed from the plain numbers."""
    messages = sum(balance[name] for name in LAWS["enqueued"])
    events = sum(balance["events"].values()) - balance["events"]["captured"]
    return bool(messages == balance["enqueued"] and events == balance["captured"])


def test_status_is_balanced_when_events_were_written(home: Home, server: Server) -> None:
    """``status`` shows server, Redis, store, spool and both laws, for programs and for people."""
    # Given three events that were written, and one that cannot be read
    capture(home, SESSION, 3)
    (home.spool / "1.1.1").write_bytes(b"no json\n\x1eclaude_code Stop\n")
    wait_rows(home, 3)
    wait_until(lambda: not any(home.spool.iterdir()), SETTLE_S, "the spool is empty")
    # When the status is asked for
    ended, screen = run(home, "status", "--format", "json"), run(home, "status")
    # Then every number is there and the sums close
    answer = ended.json
    assert (ended.code, answer["healthy"], answer["problems"]) == (0, True, [])
    assert answer["server"]["pid"] == server.pid
    assert (answer["redis"]["mode"], answer["redis"]["connected"]) == ("private", True)
    assert answer["spool"] == {"files": 0, "bytes": 0, "oldest_age_ms": None}
    assert answer["store"]["rows"] == 3
    assert answer["quarantine"] == {"count": 1, "rules": {"not-json": 1}, "kept": 1, "in_place": 0}
    assert answer["balance"]["balanced"]
    assert closes(answer["balance"])
    assert answer["balance"]["captured"] == 4
    assert [(row["platform"], row["written"]) for row in answer["rows"]] == [("claude_code", 3)]
    # and a person sees the same
    assert screen.code == 0
    assert re.search(r"messages +closed: enqueued 3 = written 3 ", screen.out)
    assert re.search(r"events +closed: captured 4 = written 3 .* quarantined 1 ", screen.out)
    assert re.search(r"\nhealthy ", screen.out)


def test_status_shows_the_stored_balance_when_no_server_runs(home: Home, server: Server) -> None:
    """The last balance is shown without a server; it is unhealthy only when something waits."""
    # Given a server that wrote two events and was stopped
    capture(home, SESSION, 2)
    wait_rows(home, 2)
    server.stop()
    # When the status is asked for, before and after another event
    before, words = run(home, "status", "--format", "json"), run(home, "status")
    capture(home, SESSION)
    after, screen = run(home, "status", "--format", "json"), run(home, "status")
    # Then both show the balance, and the second one that something waits
    assert (before.code, before.json["server"]["running"]) == (0, False)
    assert before.json["balance"] == {
        **after.json["balance"], "as_of_age_ms": before.json["balance"]["as_of_age_ms"],
    }  # fmt: skip
    assert closes(before.json["balance"])
    assert "no server  no hook waits for one" in words.out
    assert (after.code, screen.code, after.json["spool"]["files"]) == (1, 1, 1)
    assert "waiting: 1 event, and no server runs: `blueplane start`" in screen.out


def test_commands_have_an_answer_when_nothing_was_ever_started(tmp_path: Path) -> None:
    """In a home that does not exist every command answers in words, and makes nothing."""
    # Given no home
    home = Home(tmp_path / "none")
    # When each command that reads is run
    status, trace = run(home, "status"), run(home, "trace", SESSION)
    dlq, unknown = run(home, "dlq", "list"), run(home, "status", "--format", "json")
    # Then each says what is missing, and what is unknown is null
    assert (status.code, trace.code, dlq.code) == (0, 1, 1)
    assert "not running; `blueplane start` starts it" in status.out
    assert "no database yet; `blueplane start` makes it" in trace.err
    assert unknown.json["balance"] is None
    assert unknown.json["store"]["rows"] is None
    assert not home.root.exists()


def test_status_names_the_trouble_when_redis_is_away(home: Home, tmp_path: Path) -> None:
    """A server without Redis is not healthy, and says why."""
    # Given a server that has no Redis to start
    with Server(home, BLUEPLANE_REDIS_SERVER=str(tmp_path / "none")) as server:
        server.start()
        server.wait_running()
        # When the status is asked for
        ended = run(home, "status")
    # Then it names the trouble
    assert ended.code == 1
    assert "private, NOT CONNECTED" in ended.out
    assert "redis is away, and the spool keeps everything: no Redis server found" in ended.out


@pytest.mark.parametrize(
    ("flag", "reason"),
    [
        ("full", "the spool is full (run/full exists)"),
        ("lease", "no server ran for too long: `blueplane start`"),
        (None, "the spool is missing; `blueplane start` makes it"),
    ],
)
def test_status_says_why_when_hooks_take_nothing(
    home: Home, server: Server, flag: str | None, reason: str
) -> None:
    """It is not healthy that hooks refuse events, and the screen names what is in the way."""
    # Given a server that was stopped, and something that keeps the hooks from taking events
    server.stop()
    before = run(home, "status", "--format", "json")
    if flag is None:
        home.spool.rmdir()
    else:
        (home.run / flag).touch()
        os.utime(home.run / flag, (0, 0))
    # When the status is asked for
    ended = run(home, "status")
    # Then it was healthy before, and says why it is not
    assert (before.code, before.json["hooks"]) == (0, {"refuse": None})
    assert ended.code == 1
    assert re.search(rf"\nnot healthy +hooks take nothing: {re.escape(reason)}\n", ended.out)


@pytest.mark.usefixtures("server")
def test_status_is_healthy_while_a_person_has_paused_capture(home: Home) -> None:
    """A pause is what somebody wanted: it is said, and nothing is wrong."""
    # Given / When
    run(home, "pause")
    ended = run(home, "status")
    # Then
    assert ended.code == 0
    assert re.search(r"\nnote +capture is paused; `blueplane resume` ends that\n", ended.out)


def test_status_names_no_address_when_the_server_has_other_settings(
    home: Home, redis_server: RedisServer
) -> None:
    """The address of a Redis is shown only where it is that of the running server."""
    # Given a server with a Redis that its environment names
    with Server(home, redis_server) as server:
        server.start_ready()
        # When the status is asked for with and without that environment
        ours = run(home, "status", BLUEPLANE_REDIS_URL=redis_server.url)
        other = run(home, "status")
    # Then the second one does not know the address
    assert f"redis         {redis_server.url}, connected" in ours.out
    assert "redis         external, connected" in other.out


# --- trace ---------------------------------------------------------------------------------------


@pytest.mark.fault("D6")
def test_trace_follows_an_event_when_it_is_written(home: Home) -> None:
    """An event is found by its id, or how that begins, with every hop and what was stored."""
    # Given events of a session, with a prompt that would clear the terminal, stored as it is
    prompt = "hello\x1b[2J\u202e"
    with Server(home, BLUEPLANE_PRIVACY_LEVEL="full") as server:
        server.start_ready()
        capture(home, SESSION, 3, prompt=prompt)
        wait_rows(home, 3)
    session = run(home, "trace", SESSION, "--format", "json").json
    event_id = session["rows"][-1]["event_id"]
    # When one of them is traced
    whole = run(home, "trace", event_id, "--data", "--format", "json").json
    short = run(home, "trace", event_id[:12].upper(), "--data")
    dashed = run(home, "trace", str(UUID(event_id)), "--format", "json").json
    newest = run(home, "trace", SESSION, "--limit", "1")
    # Then its hops are in order
    assert session["total"] == {"events": 3}
    assert [row["sequence"] for row in session["rows"]] == [1, 2, 3]
    assert [hop["hop"] for hop in whole["rows"]] == HOPS
    assert whole["rows"][0]["since_captured_ms"] == 0
    assert [hop["at_ms"] for hop in whole["rows"]] == sorted(hop["at_ms"] for hop in whole["rows"])
    assert dashed["event"] == whole["event"]
    assert re.search(rf"event +{event_id}\n", short.out)
    assert re.search(r"written +20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} +[\d.,]+ m?s", short.out)
    assert event_id[:12] in newest.out
    assert "2 older events not shown; --limit 0 shows all" in newest.out
    # and the prompt is what it was, for programs, and harmless for people
    assert whole["data"]["payload"]["prompt"] == prompt
    assert short.out.replace("\n", "").isprintable()
    assert r"hello\u001b[2J\u202e" in short.out


def test_trace_finds_an_event_when_it_is_still_in_the_queue(
    home: Home, redis_server: RedisServer
) -> None:
    """What is enqueued and not written is found in Redis, which is only read."""
    # Given a database, and an event in the stream of a Redis that no server reads
    with Server(home, redis_server) as server:
        server.start_ready()
        server.stop()
    captured_ns = time.time_ns()
    event = Event(
        event_id=bytes(range(16)), platform="claude_code", source="hook", hook_type="Stop",
        event_type="turn_end", session_id=SESSION, timestamp_ms=captured_ns // 1_000_000,
        captured_ns=captured_ns, workspace_hash="", project="", turn_id="", tool_use_id="",
        payload=b"{}", metadata=b"{}", origin="",
    )  # fmt: skip
    message_id = redis_server.command("XADD", "telemetry:events", "*", *encode(event)).decode()
    # When it is traced by id and by session, and another one too
    url = {"BLUEPLANE_REDIS_URL": redis_server.url}
    by_id = run(home, "trace", event.event_id.hex()[:8], **url)
    by_session = run(home, "trace", SESSION, "--format", "json", **url)
    other = run(home, "trace", "somebody-else", **url)
    # Then it is where it is
    assert by_id.code == 0
    assert f"in the queue as message {message_id}, not written" in by_id.out
    assert [hop["hop"] for hop in by_session.json["rows"]] == ["captured", "enqueued"]
    assert other.code == 1
    assert "not in the queue; nothing waits in the spool" in other.err
    assert redis_server.command("XLEN", "telemetry:events") == 1


def test_trace_says_where_it_looked_when_an_event_is_nowhere(home: Home, server: Server) -> None:
    """An unknown id ends with 1, after every place was looked at; what waits unread is counted."""
    # Given an event that waits, and no server that could read it
    server.stop()
    capture(home, SESSION)
    # When it is traced
    ended = run(home, "trace", SESSION)
    # Then the answer says what is known
    assert ended.code == 1
    assert "no server runs" in ended.err
    assert "1 file in the spool not read yet: it may be there" in ended.err


# --- dlq -----------------------------------------------------------------------------------------


@pytest.mark.fault("B17")
def test_dead_letter_is_shown_and_sent_again_when_the_store_refused_it(
    home: Home, server: Server
) -> None:
    """An event that cannot be written is listed, shown, traced, and written after a retry."""
    # Given two events that the store refuses, and one that it takes
    query(home, POISON)
    capture(home, "poison", 2)
    capture(home, SESSION)
    wait_letters(home, 2)
    wait_rows(home, 1)
    # When they are looked at
    listed = run(home, "dlq", "list", "--format", "json").json["rows"]
    letter = listed[0]
    shown = run(home, "dlq", "show", letter["message_id"])
    traced, session = run(home, "trace", letter["event_id"]), run(home, "trace", "poison")
    status = run(home, "status")
    # Then every command tells the same
    assert [(row["state"], row["hop"], row["failures"]) for row in listed] == [
        ("open", "written", 3)
    ] * 2
    assert "poison (SQLITE_CONSTRAINT_TRIGGER)" in letter["reason"]
    assert re.search(r"session_id +poison\n", shown.out)
    assert f"dead letter {letter['message_id']} (open): poison" in traced.out
    assert (session.code, session.out.count("(open): poison")) == (0, 2)
    message = run(home, "trace", letter["message_id"])
    assert (message.code, message.out) == (
        0,
        f"dead letter {letter['message_id']} (open): {letter['reason']}\n",
    )
    assert status.code == 1
    assert "2 events could not be written: see `blueplane dlq list`" in status.out

    # When the store is mended and they are sent again
    query(home, "DROP TRIGGER poison")
    retried = run(home, "dlq", "retry", "--reason", "poison")
    # Then they are written, and nothing is open any more
    assert (retried.code, retried.out) == (0, "2 dead letters sent again\n")
    wait_rows(home, 3)
    assert run(home, "dlq", "list").out == "no open dead letters\n"
    healthy = run(home, "status", "--format", "json")
    assert (healthy.code, server.balance()["balanced"]) == (0, True)
    assert "(retried): poison" in run(home, "trace", letter["event_id"]).out


def test_dead_letter_is_changed_under_the_lock_when_no_server_runs(
    home: Home, server: Server
) -> None:
    """Without a server a retry waits for the next one, a drop is final, and both are counted."""
    # Given three dead letters of a server that was stopped
    query(home, POISON)
    capture(home, "poison", 3)
    wait_letters(home, 3)
    server.stop()
    query(home, "DROP TRIGGER poison")
    first, second, third = (
        row["message_id"] for row in run(home, "dlq", "list", "--format", "json").json["rows"]
    )
    # When two are sent again, and one is given up
    retried = run(home, "dlq", "retry", first, second)
    unsure = run(home, "dlq", "drop", "--all", stdin="n\n")
    dropped = run(home, "dlq", "drop", "--all", stdin="y\n")
    # Then it is said what becomes of them
    when = "to be sent again when the server runs: `blueplane start`"
    assert (retried.code, retried.out) == (0, f"2 dead letters {when}\n")
    assert (unsure.code, unsure.out) == (1, "")
    assert (dropped.code, dropped.out) == (0, "1 dead letter dropped\n")
    # and what is done cannot be done again
    again = run(home, "dlq", "drop", "--yes", third, "1-1", "\x1b[2J")
    assert (again.code, again.out) == (1, "")
    assert again.err.splitlines() == [
        f"blueplane: {third} is dropped already",
        "blueplane: 1-1 is no dead letter",
        r"blueplane: \x1b[2J is no dead letter",
    ]

    # When a server runs again
    server.start_ready()
    # Then the two are written, and the laws close over all three
    wait_rows(home, 2)
    wait_until(lambda: server.balance()["waiting"] == 0, SETTLE_S, "nothing waits")
    balance = server.balance()
    assert balance["balanced"]
    assert balance["events"]["dead_lettered"] == 1
    assert run(home, "status").code == 0


def test_dlq_asks_which_when_it_is_not_said_in_one_way(home: Home, server: Server) -> None:
    """Retry and drop want ids, a reason or all; never more than one of them, and never nothing."""
    # Given a home without dead letters / When the choice is missing, double, or empty
    assert server.alive()
    missing, double = run(home, "dlq", "retry"), run(home, "dlq", "drop", "1-1", "--all")
    empty, unknown = run(home, "dlq", "drop", "--all"), run(home, "dlq", "show", "1-1")
    # Then the first two are wrong use, and the others find nothing
    assert (missing.code, double.code, empty.code, unknown.code) == (2, 2, 0, 1)
    assert "say which: ids" in missing.err
    assert empty.out == "no open dead letters of that kind\n"
    assert "no dead letter 1-1" in unknown.err


# --- hook ----------------------------------------------------------------------------------------


def test_hook_hands_an_event_over_when_it_can(home: Home) -> None:
    """``blueplane hook`` leaves what the hook script leaves, in silence."""
    # Given a payload / When it is handed over
    ended = run(home, "hook", "claude_code", "Stop", stdin='{"session_id": "s"}')
    # Then it is in the spool
    assert ended == Ended(0, "", "")
    (path,) = home.spool.iterdir()
    assert split_trailer(path.read_bytes()) == (b'{"session_id": "s"}', "claude_code", "Stop")


@pytest.mark.parametrize("arguments", [(), ("claude_code",), ("--bad",), ("a/b", "c")])
def test_hook_is_silent_when_it_is_used_wrongly(home: Home, arguments: tuple[str, ...]) -> None:
    """Whatever the words are, the hook exits with 0 and prints nothing: 2 blocks the editor."""
    # Given words that are no hook / When they are handed over
    ended = run(home, "hook", *arguments, stdin="{}")
    # Then nothing is said, nothing is captured, and the refusal is counted
    assert ended == Ended(0, "", "")
    assert list(home.spool.iterdir()) == []
    assert (home.run / "refused").read_text() == "x"


def test_hook_is_silent_when_there_is_no_home(tmp_path: Path) -> None:
    """Without a home, or the name of one, the hook says nothing."""
    # Given no home, and no variable that names one
    home = Home(tmp_path / "none")
    # When events are handed over
    missing = run(home, "hook", "claude_code", "Stop", stdin="{}")
    unnamed = run(home, "hook", "claude_code", "Stop", BLUEPLANE_HOME="", HOME="")
    # Then nothing is said, and nothing is made
    assert missing == unnamed == Ended(0, "", "")
    assert not home.root.exists()


# --- help ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [*COMMANDS, "dlq retry"])
@pytest.mark.usefixtures("home")
def test_help_fits_a_terminal_when_asked_for(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """The help of every command is at most 80 columns wide."""
    # Given a command / When its help is asked for
    code, out = main([*command.split(), "--help"]), capsys.readouterr().out
    # Then it fits, and no mark of the formatter is left in it
    assert code == 0
    assert "\\b" not in out
    assert max(map(len, out.splitlines())) <= 80
