"""Forget and scrub: what a person wants gone is in no file of the home afterwards."""

import json
import os
import re
import sqlite3
import unicodedata
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from blueplane.clock import NS_PER_S, wall_ns
from blueplane.event import encode
from blueplane.paths import Home
from blueplane.store.codec import load_codec
from blueplane.store.queries import reading
from helpers.cli import run
from helpers.desk import Desk
from helpers.nursery import Nursery
from helpers.redis_server import RedisServer, find_binary
from helpers.road import make_event
from helpers.server import Server
from helpers.waiting import wait_until

#: The project that is to be forgotten: no other word contains it.
SECRET = "quillwort-press"
OTHER = "marigold"
#: A word of prompts that only events of the secret project hold.
CANARY = "zylophane harvest"
#: Events of each project: enough for pages of the index to split, which leaves copies behind.
MANY = 300


class Spool:
    """Hand-off files of invented events, at any path."""

    def __init__(self, home: Home, desk: Path) -> None:
        self.home = home
        self.desk = desk
        self.count = 0

    def event(self, session: str, project: str = "", **fields: object) -> None:
        """Hand one prompt off; ``project`` is the last part of its workspace."""
        body: dict[str, object] = {"session_id": session, **fields}
        if project:
            body["cwd"] = str(self.desk / project)
        body = {"hook_event_name": "UserPromptSubmit", "prompt": "tidy the orchard", **body}
        self.raw(json.dumps(body).encode() + b"\n\x1eclaude_code UserPromptSubmit\n")

    def raw(self, content: bytes, name: str = "", age_days: int = 0) -> None:
        """Put any file there, whole and as old as it is to be."""
        self.count += 1
        at_ns = wall_ns() - age_days * 86_400 * NS_PER_S
        staged = self.home.root / "staged"
        staged.write_bytes(content)
        os.utime(staged, ns=(at_ns, at_ns))
        staged.rename(self.home.spool / (name or f"{os.getpid()}.1.{self.count}"))


@pytest.fixture(autouse=True)
def quick_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the private Redis see 100 times a second that its files are written, not once."""
    program = tmp_path / "redis-server"
    program.write_text(f'#!/bin/sh\nexec "{find_binary()}" "$@" --hz 100\n')
    program.chmod(0o755)
    monkeypatch.setenv("BLUEPLANE_REDIS_SERVER", str(program))


@pytest.fixture
def spool(home: Home, tmp_path: Path) -> Spool:
    """Give the way to hand events off."""
    return Spool(home, tmp_path / "desk")


@pytest.fixture
def server(home: Home, nursery: Nursery) -> Iterator[Server]:
    """Give a server with its own private Redis, which stores everything in clear."""
    with Server(home, nursery=nursery, BLUEPLANE_PRIVACY_LEVEL="full") as server:
        yield server


def settled(server: Server, rows: int) -> None:
    """Wait until so many rows are there, derived from, and nothing is on the way."""
    wait_until(
        lambda: len(read(server.home)) >= rows and not any(server.home.spool.iterdir()),
        30, "everything is written",
    )  # fmt: skip
    wait_until(lambda: is_derived(server.home), 30, "everything is derived")


def is_derived(home: Home) -> bool:
    """Whether every worker is done with every row."""
    with reading(home.database) as reader:
        marks = reader.watermarks()
        return len(marks) == len(Desk.NAMES) and set(marks.values()) == {reader.last_sequence()}


def read(home: Home) -> list[dict[str, Any]]:
    """Return all rows with their decoded content, behind the program's back."""
    connection = sqlite3.connect(f"file:{home.database}?mode=ro", uri=True, timeout=10)
    connection.row_factory = sqlite3.Row
    try:
        codec = load_codec(connection)
        return [
            {**dict(row), "text": codec.decode(row["codec"], row["event_data"]).decode()}
            for row in connection.execute("SELECT * FROM raw_traces ORDER BY sequence")
        ]
    except sqlite3.OperationalError:  # not made yet
        return []
    finally:
        connection.close()


def files_with(home: Home, *needles: bytes) -> set[str]:
    """Return the files of the home whose name or content has one of the needles."""
    found = set()
    for path in sorted(home.root.rglob("*")):
        name = path.relative_to(home.root)
        content = os.fsencode(name) + (path.read_bytes() if path.is_file() else b"")
        if any(needle in content for needle in needles):
            found.add(str(name))
    return found


def plant(server: Server, spool: Spool) -> None:
    """Leave something of the secret project in every place there is."""
    home = server.home
    for number in range(MANY):
        spool.event("s-secret", SECRET, prompt=f"{CANARY} {number}")
        spool.event("s-other", OTHER)
    spool.event("s-secret", prompt=f"{CANARY} without a workspace")
    spool.event("s-other", OTHER, prompt=f"look at {spool.desk}/{SECRET}/plan.md")
    settled(server, 2 * MANY + 2)
    spool.raw(f"{CANARY} {SECRET}".encode() + b"\n\x1eclaude_code Stop\n")
    spool.raw(b"notes", name=f"{SECRET}.txt")
    letter = make_event(1, project=SECRET, payload=b"not json", origin="")
    redis = Redis(unix_socket_path=str(home.socket("redis.sock")))
    redis.execute_command("XADD", "telemetry:events", "*", *encode(letter))
    home.backups.mkdir(exist_ok=True)
    (home.backups / "hooks.json.1").write_text(f'{{"path": "/home/ann/{SECRET}"}}')
    (home.root / "telemetry.db.damaged-20260101T000000Z").write_text(SECRET)
    (home.redis / "temp-rewriteaof-bg-1.aof").write_text(SECRET)
    wait_until(
        lambda: len(list(home.quarantine.iterdir())) == 2
        and server.balance().get("open_dead_letters") == 1,
        30, "quarantine and dead letter",
    )  # fmt: skip


def test_forget_leaves_nothing_of_a_project_in_any_file(server: Server, spool: Spool) -> None:
    """After `forget --project X` no row, dictionary, WAL, free page, AOF, log or backup has X."""
    # Given a home with something of the project in every place
    server.start_ready()
    plant(server, spool)
    home = server.home
    before = read(home)
    secret = [row for row in before if CANARY in row["text"]]
    assert len(secret) == MANY + 1
    frames = [row["event_data"] for row in secret]
    assert files_with(home, SECRET.encode())

    # When it is forgotten
    ended = run(home, "forget", "--project", SECRET, "--yes", "--format", "json")

    # Then the command has proved it, and so do the files
    assert ended.code == 0, ended.err
    answer = ended.json
    counts = {(row["place"], row["what"]): row["count"] for row in answer["rows"]}
    assert counts["database", "events"] == MANY + 1
    assert counts["database", "mentions by other events"] == 1
    assert counts["database", "dead letters"] == 1
    assert counts["quarantine", "files"] == 2
    assert counts["backups", "files"] == 1
    assert answer["total"]["left"] == 0
    after = read(home)
    assert [row["event_id"] for row in after] == [
        row["event_id"] for row in before if CANARY not in row["text"]
    ]
    assert not [row for row in after if SECRET in str(row) or CANARY in str(row)]
    assert not files_with(home, SECRET.encode(), CANARY.encode())
    ids = [row["event_id"] for row in secret]
    assert not files_with(home, *frames, *map(str.encode, ids), *map(bytes.fromhex, ids))
    # And the sums still close, with every row accounted for
    balance = server.balance()
    assert balance["balanced"]
    assert balance["messages"]["written"] == 2 * MANY + 2
    # And events pass as before
    spool.event("s-new", OTHER)
    settled(server, len(after) + 1)


def test_forget_removes_a_session_and_what_others_say_of_it(server: Server, spool: Spool) -> None:
    """Forgetting a session leaves other rows alone, but for its id."""
    # Given two sessions, one of which names the other
    server.start_ready()
    spool.event("0a1b2c3d-secret", OTHER)
    spool.event("s-other", OTHER, parent_session_id="0a1b2c3d-secret")
    settled(server, 2)

    # When one is forgotten
    ended = run(server.home, "forget", "--session", "0a1b2c3d-secret", "--yes")

    # Then the other is there, and nothing names the first
    assert ended.code == 0, ended.err
    assert "looked again: nothing of it is left" in ended.out
    assert [row["session_id"] for row in read(server.home)] == ["s-other"]
    assert not files_with(server.home, b"0a1b2c3d-secret")


@pytest.mark.parametrize("session", ["1", "s-1", "chars", "forgotten", "payload", "f"])
def test_forget_leaves_what_only_looks_like_a_session_alone(
    server: Server, spool: Spool, session: str
) -> None:
    """An id that is part of another one, a number or a word of ours harms nobody's events."""
    # Given other events with the id in longer ones, numbers and keys, and in a text
    server.start_ready()
    spool.event(session)
    other = {"s-10": "s-100", "chars": 11, "number": 1.5, "one": f"see {session}\n{session}"}
    spool.event("s-10", OTHER, agent=other)
    spool.raw(b"", name="1.4.f")
    settled(server, 2)
    wait_until(lambda: any(server.home.quarantine.iterdir()), 30, "quarantine")

    # When it is forgotten
    ended = run(server.home, "forget", "--session", session, "--yes")

    # Then only what is it is gone, once and for all, and the rest is as it was
    assert ended.code == 0, ended.err
    [row] = read(server.home)
    assert json.loads(row["text"])["payload"]["agent"] == other | {
        "one": "see forgotten\nforgotten"
    }
    assert row["session_id"] == "s-10"
    assert run(server.home, "forget", "--session", session).out.startswith("nothing")
    assert run(server.home, "scrub", "--yes").code == 0


def test_forget_finds_a_project_however_it_is_written(server: Server, spool: Spool) -> None:
    """Composed or not, as a URI or as JSON escapes it, in UTF-16: it is the same name."""
    # Given a name that can be written in many ways, and all of them
    server.start_ready()
    name = "caf\u00e9 100%"
    apart = unicodedata.normalize("NFD", name)
    spool.event("s-1", name)
    spool.event("s-2", apart)
    for path in (name, apart, "caf%C3%A9%20100%25", "cafe%cc%81 100%"):
        spool.event("s-3", OTHER, file_path=f"/x/{path}/y.py")
    spool.event("s-3", OTHER, file_path="/x/caf\u00e9 100%-2/y.py")
    settled(server, 7)
    written = re.compile("caf(?:\u00e9|e\u0301|e?%)")  # the letters alone may be in a hash
    assert [len(written.findall(row["text"])) for row in read(server.home)] == [0, 0, *[1] * 5]
    body = json.dumps({"cwd": f"/x/{name}"})
    plain = json.dumps({"cwd": f"/x/{apart}"}, ensure_ascii=False)
    for content in (body.encode(), plain.encode(), body.encode("utf-16")):
        spool.raw(content + b"{\n\x1eclaude_code Stop\n")
    wait_until(lambda: len(list(server.home.quarantine.iterdir())) == 3, 30, "quarantine")

    # When it is forgotten by one of them
    ended = run(server.home, "forget", "--project", apart, "--yes", "--format", "json")

    # Then all of them are gone, and its neighbour is there
    assert ended.code == 0, ended.err
    counts = {row["what"]: row["count"] for row in ended.json["rows"] if row["place"] != "backups"}
    assert (counts["events"], counts["mentions by other events"]) == (2, 4)
    assert not any(server.home.quarantine.iterdir())
    assert [len(written.findall(row["text"])) for row in read(server.home)] == [0, 0, 0, 0, 1]


def test_forget_clears_dead_letters_that_name_a_path_in_it_and_their_mirror(
    server: Server,
) -> None:
    """A dead letter of another project is no hiding place, nor is its reason in Redis."""
    # Given a dead letter of another project with a path in this one
    server.start_ready()
    letters = (f"no json /x/{SECRET}/plan.md", f"no json {SECRET}ed /x/{SECRET}-2")
    redis = Redis(unix_socket_path=str(server.home.socket("redis.sock")))
    for number, payload in enumerate(letters):
        letter = make_event(number, project=OTHER, payload=payload.encode(), origin="")
        redis.execute_command("XADD", "telemetry:events", "*", *encode(letter))
    wait_until(lambda: redis.hlen("telemetry:dlq") == 2, 30, "both are dead letters")

    # When the project is forgotten
    ended = run(server.home, "forget", "--project", SECRET, "--yes")

    # Then it is empty, its reason is not in Redis, and the other one, of a neighbour, is untouched
    assert ended.code == 0, ended.err
    assert redis.hlen("telemetry:dlq") == 1
    assert server.balance()["open_dead_letters"] == 1


def test_forgotten_events_do_not_come_back_with_an_older_redis(home: Home, spool: Spool) -> None:
    """A Redis that dies meanwhile, and comes back with its last snapshot, brings nothing back."""
    # Given a Redis whose snapshot was taken while the events were in the stream
    with (
        RedisServer("--save", "3600 1", aof=False) as redis,
        Server(home, redis, BLUEPLANE_PRIVACY_LEVEL="full") as server,
    ):
        server.start_ready("erased_piece:kill@1")
        with closing(sqlite3.connect(home.database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for _ in range(5):
                spool.event("s-secret", SECRET)
            wait_until(lambda: redis.client.xlen("telemetry:events") == 5, 30, "in the stream")
            redis.client.save()
            other.execute("ROLLBACK")
        settled(server, 5)

        # When both die after the rows are removed
        run(home, "forget", "--project", SECRET, "--yes")
        server.wait()
        redis.restart()
        server.start_ready()
        spool.event("s-other", OTHER)
        settled(server, 1)

        # Then they are not written again
        assert [row["session_id"] for row in read(home)] == ["s-other"]
        assert server.balance()["captured"] == 6


def test_forget_before_a_moment_keeps_what_is_younger(server: Server, spool: Spool) -> None:
    """`forget --before` goes by the time of capture."""
    # Given an event of last year and one of now
    server.start_ready()
    old = b'{"session_id": "s-old"}\n\x1eclaude_code Stop\n'
    spool.raw(old, age_days=400)
    spool.event("s-new", OTHER)
    settled(server, 2)

    # When everything older than a year is forgotten
    ended = run(server.home, "forget", "--before", "1y", "--yes")

    # Then the young one stays
    assert ended.code == 0, ended.err
    assert [row["session_id"] for row in read(server.home)] == ["s-new"]


def test_forget_works_without_a_server(server: Server, spool: Spool) -> None:
    """Where no server runs, the command does the same by itself, the spool included."""
    # Given a project in the store and in the spool, and no server
    server.start_ready()
    spool.event("s-secret", SECRET)
    spool.event("s-other", OTHER)
    settled(server, 2)
    assert server.stop() == 0
    spool.event("s-secret", SECRET)

    # When it is forgotten
    ended = run(server.home, "forget", "--project", SECRET, "--yes", BLUEPLANE_PRIVACY_LEVEL="full")

    # Then nothing of it is left
    assert ended.code == 0, ended.err
    assert [row["session_id"] for row in read(server.home)] == ["s-other"]
    assert not files_with(server.home, SECRET.encode())
    # And what is left is derived anew: nobody else would do it
    assert is_derived(server.home)


@pytest.mark.fault("A5")
def test_forget_killed_in_the_middle_is_finished_by_the_next(server: Server, spool: Spool) -> None:
    """A server that dies while it forgets has removed whole pieces, and the next one goes on."""
    # Given a server that dies after the first piece
    server.start_ready("erased_piece:kill@1")
    for _ in range(5):
        spool.event("s-secret", SECRET)
        spool.event("s-other", OTHER)
    settled(server, 10)

    # When a project is forgotten, and once more by the next server
    first = run(server.home, "forget", "--project", SECRET, "--yes")
    server.wait()
    server.start_ready()
    second = run(server.home, "forget", "--project", SECRET, "--yes")

    # Then the first says that it failed, and the second leaves nothing
    assert first.code == 4
    assert second.code == 0, second.err
    assert not files_with(server.home, SECRET.encode())
    assert len(read(server.home)) == 5
    assert server.balance()["balanced"]


def test_forget_says_so_when_a_name_is_no_text(home: Home) -> None:
    """What no event can hold is a mistake of the line, not a bug."""
    # When a name has a byte that is no UTF-8
    ended = run(home, "forget", "--project", os.fsdecode(b"\xff"))

    # Then it is refused as wrong use
    assert ended.code == 2
    assert "UTF-8" in ended.err


def test_forget_asks_first_and_says_how_much(server: Server, spool: Spool) -> None:
    """Without a yes nothing is removed; --dry-run only shows."""
    # Given a project
    server.start_ready()
    spool.event("s-secret", SECRET)
    settled(server, 1)

    # When the answer is no, and when it is only a rehearsal
    refused = run(server.home, "forget", "--project", SECRET, stdin="n\n")
    rehearsed = run(server.home, "forget", "--project", SECRET, "--dry-run")
    nothing = run(server.home, "forget", "--project", "nobody")

    # Then it is all there, and was said
    assert refused.code == 1
    assert "remove for good (events 1, figures 2)?" in refused.err
    assert (rehearsed.code, nothing.code) == (0, 0)
    assert "events" in rehearsed.out
    assert nothing.out == "nothing of project nobody is stored here\n"
    assert len(read(server.home)) == 1


def test_forget_says_what_it_would_remove_when_it_asks(server: Server, spool: Spool) -> None:
    """An age is shown as a moment; an input that ends is a no, and ends the line."""
    # Given an event
    server.start_ready()
    spool.event("s-secret", SECRET)
    settled(server, 1)
    # When what is older than no days is to be forgotten, and nobody answers
    ended = run(server.home, "forget", "--before", "0d")
    # Then the moment was shown, and nothing is removed
    assert re.search(
        r"^captured before \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}$", ended.out, re.MULTILINE
    )
    assert ended.code == 1
    question = "remove for good (events 1, figures 2)? [y/N]: "
    assert ended.err == f"{question}\nblueplane: the answer was no, so nothing was changed\n"
    assert len(read(server.home)) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--session", "s", "--project", "p"], "say one thing to forget: --session ID, "),
        (["--project", "/src/apple/"], "has the name of its last directory: apple"),
        (["--project", "/"], "has the name of its last directory: NAME"),
    ],
)
def test_forget_refuses_what_can_find_nothing(home: Home, arguments: list[str], says: str) -> None:
    """What names no session or project is an error: nobody should take it for nothing stored."""
    # Given no server / When / Then
    ended = run(home, "forget", *arguments, "--yes")
    assert (ended.code, says in ended.err) == (2, True)


def test_forget_refuses_while_redis_is_away(home: Home, redis_server: RedisServer) -> None:
    """What may be in a Redis that is away cannot be removed, so nothing is claimed."""
    # Given a server that has lost its Redis
    with Server(home, redis_server) as server:
        server.start_ready()
        redis_server.kill()
        wait_until(lambda: not server.status()["redis"]["connected"], 20, "redis is away")

        # When something is to be forgotten that waits in the spool
        spool = Spool(home, home.root.parent)
        spool.event("s-secret", SECRET)
        ended = run(home, "forget", "--session", "s-secret", "--yes")

    # Then nothing is claimed of what waits
    assert ended.code == 4
    assert "redis is away" in ended.err


def test_scrub_brings_old_rows_down_to_the_present_level(server: Server, spool: Spool) -> None:
    """After `scrub` no row has what the present level does not let pass, also not in free space."""
    # Given rows that were captured in full
    server.start_ready()
    for number in range(20):
        spool.event("s-1", SECRET, prompt=f"{CANARY} {number}")
    settled(server, 20)
    frames = [row["event_data"] for row in read(server.home)]
    assert server.stop() == 0

    # When the level is strict, with hashed project names
    strict = {
        "BLUEPLANE_PRIVACY_LEVEL": "strict",
        "BLUEPLANE_PRIVACY_HASH_PROJECT_NAMES": "true",
    }
    ended = run(server.home, "scrub", "--yes", "--format", "json", **strict)

    # Then all rows are there, without their texts and without the project's name
    assert ended.code == 0, ended.err
    changed = {row["what"]: row["changed"] for row in ended.json["rows"]}
    assert changed == {
        "events": 20, "unreadable events": 0, "project names": 1, "figures": 21,
        "dead letters": 0,
    }  # fmt: skip
    rows = read(server.home)
    assert len(rows) == 20
    assert {row["project"][:2] for row in rows} == {"n:"}
    assert not [row for row in rows if CANARY in row["text"]]
    assert not files_with(server.home, *frames, SECRET.encode(), CANARY.encode())
    # And once more changes nothing
    again = run(server.home, "scrub", "--yes", "--format", "json", **strict)
    assert not any(row["changed"] for row in again.json["rows"])


@pytest.mark.fault("C9")
def test_forget_and_scrub_pass_a_damaged_row_and_say_so(server: Server, spool: Spool) -> None:
    """A row that nobody can read stops neither; one says that it is there, the other empties it."""
    # Given rows of two projects, one of each damaged
    server.start_ready()
    for project in (SECRET, SECRET, OTHER, OTHER):
        spool.event(f"s-{project}", project)
    settled(server, 4)
    damage = "UPDATE traces SET event_data = x'ffff' WHERE sequence IN"
    with closing(sqlite3.connect(server.home.database)) as connection, connection:
        connection.execute(f"{damage} (SELECT max(sequence) FROM traces GROUP BY project)")

    # When one project is forgotten, what is left is scrubbed, and a project is forgotten again
    first = run(server.home, "forget", "--project", SECRET, "--yes", "--format", "json")
    scrubbed = run(server.home, "scrub", "--yes")
    second = run(server.home, "forget", "--project", OTHER, "--yes")

    # Then the damaged row of the first went with it, and that of the other is named, and emptied
    assert first.code == 1
    assert (first.json["total"]["count"], first.json["total"]["left"]) == (5, 0)
    assert "that nobody can read, and that may name it: 1; `blueplane scrub`" in first.err
    assert scrubbed.code == 0, scrubbed.err
    assert re.search(r"unreadable events +1\b", scrubbed.out)
    assert second.code == 0, second.err
    assert "looked again" in second.out
    assert read(server.home) == []
