"""Entries that are no events, and events that the store refuses: each costs only itself."""

import sqlite3
from base64 import b64decode
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import orjson
import pytest

from blueplane.event import derive_id
from blueplane.paths import Home
from blueplane.pipeline.attach import Attacher
from blueplane.pipeline.commits import Commits
from blueplane.pipeline.custody import InFlight
from blueplane.pipeline.stream import Entry, Stream
from helpers.issued import EVENTS, Issued
from helpers.redis_server import RedisServer
from helpers.server import Server
from helpers.waiting import wait_until

PATIENCE_S = 30.0
GOOD = 1_000


def foreign_event(number: int, **fields: bytes) -> list[bytes]:
    """Return the fields of an event that none of our sources sent, some of them changed."""
    table = {
        b"v": b"1",
        b"event_id": derive_id("stranger", str(number)).hex().encode(),
        b"platform": b"claude_code",
        b"source": b"hook",
        b"hook_type": b"Stop",
        b"event_type": b"turn_end",
        b"session_id": b"stranger-%d" % number,
        b"timestamp": b"2026-11-20T06:16:35.123Z",
        b"captured_at": b"1700000000000000000",
        b"workspace_hash": b"",
        b"payload": b"{}",
        b"metadata": b"{}",
    } | {name.encode(): value for name, value in fields.items()}
    return [part for pair in table.items() for part in pair]


#: What a stranger may put into the stream, by the word that the reason must hold.
BAD_ENTRIES: dict[str, list[bytes]] = {
    "no field": [b"hello", b"world"],
    "no field v": [b"payload", b"{}"],
    "binary": [b"\x00\xff\xfe", b"\xc3\x28\x00\x80" * 50, b"\x00\xff\xfe", b"twice"],
    "empty names": [b"", b"", b"origin", b""],
    "wire version": foreign_event(1, v=b"99"),
    "wire version binary": foreign_event(2, v=b"\xff\xfe\x00"),
    "event_id": foreign_event(3, event_id=b"not hex at all"),
    "event_id short": foreign_event(4, event_id=b"abcd"),
    "timestamp": foreign_event(5, timestamp=b"yesterday"),
    "timestamp binary": foreign_event(6, timestamp=b"\xff\xff"),
    "timestamp year": foreign_event(7, timestamp=b"99999-01-01T00:00:00Z"),
    "captured_at": foreign_event(8, captured_at=b"-5"),
    "captured_at huge": foreign_event(9, captured_at=b"9" * 40),
    "captured_at digits": foreign_event(10, captured_at="\u0663\u0664".encode()),
    "captured_at superscript": foreign_event(11, captured_at="\u00b2".encode()),
    "payload": foreign_event(12, payload=b"[1, 2]"),
    "payload half": foreign_event(13, payload=b'{"a": '),
    "payload number": foreign_event(14, payload=b"7"),
    "metadata": foreign_event(15, metadata=b"[]"),
    "metadata.model": foreign_event(16, metadata=b'{"model": 7}'),
    "metadata.tokens": foreign_event(17, metadata=b'{"input_tokens": "many"}'),
    "metadata.tokens huge": foreign_event(18, metadata=b'{"input_tokens": 9223372036854775808}'),
    "metadata.tokens bool": foreign_event(19, metadata=b'{"input_tokens": true}'),
    "session_id": foreign_event(20, session_id=b"\xff\xfe"),
    "platform": foreign_event(21, platform=b"\xc0\x80"),
    "origin": foreign_event(22, origin=b"\xff\xfe"),
    "metadata half": foreign_event(23, metadata=b'{"model": '),
    "payload braces": foreign_event(24, payload=b"{ this is no JSON }"),
    "payload not utf-8": foreign_event(25, payload=b'{"a": "\xff\xfe"}'),
    "payload levels": foreign_event(26, payload=b'{"a": ' * 300 + b"1" + b"}" * 300),
}


@pytest.mark.parametrize("held", [False, True], ids=["while running", "found at start"])
@pytest.mark.fault("D11")
def test_undecodable_entries_become_dead_letters_with_their_raw_bytes(
    server: Server, issued: Issued, redis_server: RedisServer, held: bool,
) -> None:  # fmt: skip
    """Whatever a stranger adds is a dead letter that holds it byte for byte; the rest flows."""
    # Given every kind of bad entry among good events, live or waiting for the server's start
    server.start_ready()
    if held:
        server.kill()
    issued.issue(100)
    sent = {
        redis_server.command("XADD", EVENTS, "*", *fields).decode(): (name, fields)
        for name, fields in BAD_ENTRIES.items()
    }
    issued.issue(100)
    # When the server has met them
    if held:
        server.start_ready()
    balance = issued.settle(server, redis_server)
    # Then each is a dead letter with all of its bytes, and counts in the first law only
    letters = {row["message_id"]: row for row in dead_letters(issued)}
    accepted = [name for key, (name, _) in sent.items() if key not in letters]
    assert accepted == []
    for key, (name, fields) in sent.items():
        assert unpacked(letters[key]["raw"]) == fields, name
        assert letters[key]["failures"] == 3, name
        assert letters[key]["reason"], name
    assert (balance["dead_lettered"], balance["foreign"]) == (len(sent), len(sent))
    assert balance["captured"] == len(issued.ids)
    # and the mirror in Redis knows them
    assert set(redis_server.client.hkeys("telemetry:dlq")) == {key.encode() for key in sent}


def dead_letters(issued: Issued) -> list[dict[str, Any]]:
    """Return every dead letter."""
    names = ("message_id", "raw", "reason", "failures", "state", "error_class", "hop")
    query = f"SELECT {', '.join(names)} FROM dead_letters"
    rows = issued.select(query)
    return [dict(zip(names, row, strict=True)) for row in rows]


def unpacked(raw: bytes) -> list[bytes]:
    """Return the fields that a dead letter holds."""
    return [b64decode(part) for part in orjson.loads(raw)]


@pytest.mark.fault("B17")
def test_a_poison_event_is_the_only_dead_letter_among_a_thousand(
    server: Server, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """What the store refuses fails three times and is set aside; retried, it is written."""
    # Given a store that refuses one session
    server.start_ready()
    (poison,) = [issued.payload()[0]]
    with closing(sqlite3.connect(issued.home.database, timeout=10)) as connection:
        connection.execute(
            "CREATE TRIGGER poison BEFORE INSERT ON traces"
            f" WHEN new.session = (SELECT id FROM names WHERE text = '{poison}')"
            " BEGIN SELECT RAISE(ABORT, 'poison'); END"
        )
        connection.commit()
    # When it comes in the middle of a thousand
    issued.issue(GOOD // 2)
    body = {"session_id": poison, "hook_event_name": "UserPromptSubmit", "prompt": "bitter"}
    raw = orjson.dumps(body) + b"\n\x1eclaude_code UserPromptSubmit\n"
    (issued.home.spool / "902.1.1").write_bytes(raw)
    issued.ids.append(poison)
    issued.issue(GOOD // 2)
    # Then all the others are rows, and it alone is a dead letter, with its fields
    balance = issued.settle(server, redis_server, dead=1)
    (letter,) = dead_letters(issued)
    assert (letter["failures"], letter["state"], letter["hop"]) == (3, "open", "written")
    assert letter["error_class"] == "IntegrityError"
    assert "poison" in letter["reason"]
    fields = unpacked(letter["raw"])
    assert poison.encode() in fields
    assert balance["events"]["dead_lettered"] == balance["dead_lettered"] == 1
    # When it is retried in vain / Then it is a dead letter again, and the laws close
    assert server.ask("dlq.retry", ids=[letter["message_id"]]) == [letter["message_id"]]
    wait_until(lambda: len(open_letters(issued)) == 1 and len(dead_letters(issued)) == 2,
               PATIENCE_S, "it has failed again")  # fmt: skip
    balance = issued.settle(server, redis_server, dead=1)
    assert (balance["dead_lettered"], balance["events"]["dead_lettered"]) == (2, 1)
    # When the cause is gone and it is retried again / Then it is written, and both laws close
    with closing(sqlite3.connect(issued.home.database, timeout=10)) as connection:
        connection.execute("DROP TRIGGER poison")
        connection.commit()
    assert len(server.ask("dlq.retry", ids=open_letters(issued))) == 1
    balance = issued.settle(server, redis_server)
    assert (balance["events"]["dead_lettered"], balance["open_dead_letters"]) == (0, 0)
    assert balance["captured"] == len(issued.ids)
    assert issued.rows()[poison] == 1


def open_letters(issued: Issued) -> list[str]:
    """Return the ids of the open dead letters."""
    return [row["message_id"] for row in dead_letters(issued) if row["state"] == "open"]


@pytest.mark.fault("B17", "B11")
def test_the_laws_close_when_a_retried_letter_vanishes_from_the_stream(
    server: Server, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """The letter is the source of its retry: with the stream flushed meanwhile it is sent again."""
    # Given a dead letter of a stranger's entry, and a consumer that is held at the next read
    server.start_ready("after_read:sleep=2@2")
    redis_server.command("XADD", EVENTS, "*", *BAD_ENTRIES["payload"])
    wait_until(lambda: open_letters(issued), PATIENCE_S, "it is a dead letter")
    # When it is retried and the stream is lost with it
    server.ask("dlq.retry", ids=open_letters(issued))
    redis_server.flush()
    # Then it comes again, and is a dead letter again
    wait_until(lambda: len(dead_letters(issued)) == 2, PATIENCE_S, "it has failed again")
    balance = issued.settle(server, redis_server)
    assert (balance["dead_lettered"], balance["lost"]) == (2, 0)


@pytest.mark.fault("B5", "B11")
def test_the_laws_close_when_a_stranger_adds_entries_during_attaches(
    server: Server, issued: Issued, redis_server: RedisServer,
) -> None:  # fmt: skip
    """Entries that arrive while the stream is being looked at are neither lost nor too many."""
    # Given a backlog that takes a while to look at
    server.start_ready("after_read:sleep=600")
    issued.put_in_flight(redis_server, 3_000)
    server.kill()
    # When a stranger keeps adding events while a server attaches to it
    added = 0
    server.start()

    def attached() -> bool:
        nonlocal added
        redis_server.command("XADD", EVENTS, "*", *foreign_event(1_000 + added))
        added += 1
        return len(issued.rows()) >= 1 if added % 50 == 0 else False

    wait_until(attached, PATIENCE_S, "the server has attached and writes")
    issued.ids += [f"stranger-{1_000 + number}" for number in range(added)]
    # Then each is written, and nothing was taken for lost
    balance = issued.settle(server, redis_server)
    assert (balance["lost"], balance["recovered"]) == (0, 0)
    assert balance["foreign"] == added


class Watched(Stream):
    """A stream to which a stranger adds an entry right after it was looked at."""

    def scan(self, last: bytes = b"+") -> Iterator[Entry]:
        """Return every entry, and have one added."""
        yield from super().scan(last)
        self._link().call("XADD", EVENTS, "*", *foreign_event(2_000))


@pytest.mark.fault("B11")
def test_nothing_is_taken_for_lost_when_a_stranger_adds_to_the_stream_under_our_eyes(
    home: Home, redis_server: RedisServer,
) -> None:  # fmt: skip
    """What is added between looking and counting is neither missing nor counted as lost."""
    # Given a stream that a stranger adds to whenever it is looked at
    home.prepare()
    commits = Commits(home.database)
    quiet = Stream(lambda: redis_server.url)
    epoch = Attacher(quiet, commits, InFlight(), home.home_id()).attach(None, lambda _: None).epoch
    quiet.close()
    stream = Watched(lambda: redis_server.url)
    attacher = Attacher(stream, commits, InFlight(), home.home_id())
    # When it is attached to again and again
    for _ in range(3):
        epoch = attacher.attach(epoch, lambda _: None).epoch
    # Then nothing vanished
    totals = commits.ledger.totals()
    stream.close()
    commits.close()
    assert totals.get("messages.lost", 0) == 0
    assert redis_server.command("XLEN", EVENTS) == 3
