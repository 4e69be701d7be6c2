"""Whatever an editor hands to the hook: a row, or set aside under a rule, and the server lives."""

import gc
import json
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson
import pytest

from blueplane.capture.hook_event import HandOff, HookReader
from blueplane.capture.parse import parse_payload
from blueplane.capture.sanitise import Sanitiser
from blueplane.errors import MalformedPayloadError
from blueplane.paths import Home
from blueplane.store.queries import reading
from helpers.issued import SCRIPT, Issued
from helpers.nursery import Nursery
from helpers.redis_server import RedisServer
from helpers.road import CAPTURED_NS, Road, ids, make_event
from helpers.server import Server

PATIENCE_S = 30.0
TRAILER = b"\n\x1eclaude_code UserPromptSubmit\n"
MANY_BRACKETS = 1_000_000


def deep(levels: int) -> bytes:
    """Return a value of so many levels."""
    return b"[" * levels + b"]" * levels


#: Payloads that are set aside, by the rule that must be named.
REFUSED: dict[str, list[bytes]] = {
    "empty": [b"", b" \n\t "],
    "not-json": [
        b"hello", b'{"session_id": "half', b'{"a": 1,}', b"{'a': 1}", b'{"a": 1} {"b": 2}',
    ],
    "encoding": ['{"a": 1}'.encode("utf-16"), '{"a": 1}'.encode("utf-32-be"), bytes(range(256))],
    "not-an-object": [b"[1, 2]", b"null", b"7", b'"text"', b"true"],
    "not-finite": [
        b'{"a": NaN}', b'{"a": [1, {"b": Infinity}]}', b'{"a": -Infinity}', b'{"a": 1e999}',
        b'{"a": -1e999}',
    ],
    "depth": [
        b'{"a": %b}' % deep(64), b'{"a": %b}' % deep(MANY_BRACKETS), b"[" * MANY_BRACKETS,
        b'{"a":' * 100_000,
    ],
}  # fmt: skip


@dataclass(frozen=True)
class Odd:
    """What is appended to a good payload, and what must be stored of it at the level ``full``."""

    text: bytes
    stored: dict[str, Any]
    metadata: dict[str, int]


#: Payloads that become rows, by what is odd about them.
ACCEPTED = {
    "64 levels": Odd(b'"a": ' + deep(63), {}, {}),
    "2^63": Odd(b'"a": 9223372036854775808', {"a": "9223372036854775808"}, {"big_numbers": 1}),
    "2^63-1": Odd(b'"a": 9223372036854775807', {"a": 2**63 - 1}, {}),
    "-2^64": Odd(b'"a": -18446744073709551616', {"a": str(-(2**64))}, {"big_numbers": 1}),
    "5000 digits": Odd(b'"a": ' + b"7" * 5000, {"a": "7" * 5000}, {"big_numbers": 1}),
    "1e308": Odd(b'"a": 1e308', {"a": 1e308}, {}),
    "duplicate key": Odd(b'"a": 1, "a": {"b": 2}, "a": 3', {"a": 3}, {}),
    "duplicate key below": Odd(b'"a": {"b": 1, "b": 2}', {"a": {"b": 2}}, {}),
    "lone surrogate": Odd(rb'"a": "x\ud800y"', {"a": "x\ufffdy"}, {"repaired": 1}),
    "not utf-8": Odd(b'"a": "x\xff\xfey"', {"a": "x\ufffd\ufffdy"}, {"repaired": 1}),
    "nul": Odd(rb'"a": "x\u0000y"', {"a": "x\0y"}, {}),
    "raw control": Odd(b'"a": "x\x01\x1b[2Jy"', {"a": "x\x01\x1b[2Jy"}, {"repaired": 1}),
    "year 0": Odd(
        b'"timestamp": "0000-01-01T00:00:00Z"', {"timestamp": "0000-01-01T00:00:00Z"}, {}
    ),
    "year 10^18": Odd(b'"timestamp": 1000000000000000000', {"timestamp": 10**18}, {}),
    "no time": Odd(b'"timestamp": "tomorrow"', {"timestamp": "tomorrow"}, {}),
    "time in a list": Odd(b'"timestamp": [1]', {"timestamp": [1]}, {}),
    "hostile id": Odd(b'"event_id": "../../x"', {"event_id": "../../x"}, {}),
    "wrong shapes": Odd(b'"cwd": 7, "prompt_id": {}, "model": [null]', {"cwd": 7}, {}),
}


@pytest.mark.fault("D1", "D2", "D3", "D4", "D5", "D6", "D8", "D9", "D10")
def test_payload_is_a_row_or_set_aside_whatever_the_editor_says(
    home: Home, issued: Issued, redis_server: RedisServer, nursery: Nursery
) -> None:
    """Through the real hook: a bad payload costs only itself, and each odd one is a whole row."""
    with Server(home, redis_server, nursery, BLUEPLANE_PRIVACY_LEVEL="full") as server:
        # Given a server that stores everything
        server.start_ready()
        # When an editor sends every kind of payload
        for payloads in REFUSED.values():
            for payload in payloads:
                hand_off(home, payload)
        sent = {name: send(issued, odd) for name, odd in ACCEPTED.items()}
        sent["byte order mark"] = send(issued, Odd(b'"a": 1', {}, {}), b"\xef\xbb\xbf")
        balance = issued.settle(server, redis_server)
    # Then each bad one is set aside as it came, under its rule
    rules = dict(issued.select("SELECT rule, count(*) FROM settlements GROUP BY rule"))
    assert rules == {rule: len(payloads) for rule, payloads in REFUSED.items()}
    kept = sorted(path.read_bytes() for path in home.quarantine.iterdir())
    assert kept == sorted(raw + TRAILER for raws in REFUSED.values() for raw in raws)
    assert balance["events"]["quarantined"] == len(kept)
    # and of each odd one every value is what it was, or its text, and says so
    for name, odd in ACCEPTED.items():
        data, row = stored(home, sent[name])
        found = {key: data["payload"].get(key) for key in odd.stored}
        assert found == odd.stored, name
        marks = {key: data["metadata"].get(key, 0) for key in ("big_numbers", "repaired")}
        assert marks == {"big_numbers": 0, "repaired": 0} | odd.metadata, name
        assert row["timestamp_ms"] == row["captured_ms"], name


@pytest.mark.fault("D3")
@pytest.mark.parametrize(
    "make",
    [
        lambda size: b'{"a": ' + deep(size) + b"}",
        lambda size: b"[" * size,
        lambda size: b'{"a": [%b[]]}' % (b"[]," * (size // 5)),
        lambda size: b'{"a": "%b' % (b'\\"' * size),
        lambda size: b'{"a": %b}' % (b"7" * size),
    ],
    ids=["nested", "never closed", "side by side", "escapes in an open text", "digits"],
)
def test_time_grows_no_faster_than_the_payload(make: Callable[[int], bytes]) -> None:
    """Ten times the brackets cost about ten times the time: a square would be a hundred times."""
    small_s = max(processor_s(make(MANY_BRACKETS // 10)), 0.002)
    assert processor_s(make(MANY_BRACKETS)) < 40 * small_s


def processor_s(raw: bytes) -> float:
    """Return the seconds of the processor that the fastest of three looks takes.

    Without the garbage collector, which looks at all that other tests have left behind, too.
    """
    taken = []
    gc.disable()
    for _ in range(3):
        began_s = time.process_time()
        with suppress(MalformedPayloadError):
            parse_payload(raw)
        taken.append(time.process_time() - began_s)
    gc.enable()
    return min(taken)


@pytest.mark.fault("D5")
def test_every_reader_agrees_when_a_key_came_twice(road: Road) -> None:
    """What is stored has each key once: Python and SQLite read the same value of it."""
    # Given a payload in which a key comes three times, also below another one
    raw = b'{"session_id": "session-1", "a": {"b": 1, "b": 2}, "a": 4, "a": {"b": 5, "b": 3}}'
    reader = HookReader(Sanitiser("full", b"k" * 32), lambda _: False)
    # When it is stored
    road.append(reader.read(HandOff("1.1.1", CAPTURED_NS, raw, "claude_code", "Stop")))
    road.settle()
    # Then
    data = stored_text(road.home, "session-1")
    with closing(sqlite3.connect(":memory:")) as connection:
        (value,) = connection.execute("SELECT json_extract(?, '$.payload.a.b')", [data]).fetchone()
    assert value == json.loads(data)["payload"]["a"]["b"] == 3
    assert data.count('"b"') == 1


@pytest.mark.fault("D9")
@pytest.mark.parametrize(
    ("text", "wanted_ms"),
    [
        ("2026-11-20T06:16:35.123Z", 1_795_155_395_123),
        ("2026-11-20T07:16:35.123+01:00", 1_795_155_395_123),
        ("2026-11-20T06:16:35.123", 1_795_155_395_123),
        ("2026-10-25T02:30:00+02:00", 1_792_888_200_000),
        ("2026-10-25T02:30:00+01:00", 1_792_891_800_000),
    ],
    ids=["utc", "zone", "no zone", "before winter time", "after it"],
)
def test_time_of_the_editor_is_stored_when_it_can_be_one(
    road: Road, text: str, wanted_ms: int
) -> None:
    """The editor's own time keeps its moment, in any zone; ours stays what it was."""
    reader = HookReader(Sanitiser("strict", b"k" * 32), lambda _: False)
    raw = orjson.dumps({"session_id": "session-1", "timestamp": text})
    # Given / When
    road.append(reader.read(HandOff("1.1.1", CAPTURED_NS, raw, "claude_code", "Stop")))
    road.settle()
    # Then
    with reading(road.home.database) as reader_of_rows:
        (row,) = reader_of_rows.traces("session_id", "session-1")
    assert (row["timestamp_ms"], row["captured_ms"]) == (wanted_ms, CAPTURED_NS // 1_000_000)


@pytest.mark.fault("D10")
def test_first_one_wins_when_two_events_have_one_id(road: Road) -> None:
    """An id that comes again with other content is counted, and the row stays as it was."""
    # Given an event of ours, written
    event = make_event(1, payload=b'{"number":1}')
    road.append(event)
    road.settle()
    # When a stranger sends another content under its id, twice, and we send it at another time
    for number in (2, 3):
        road.append_foreign(event._replace(payload=b'{"number":%d}' % number))
    road.append(event._replace(captured_ns=event.captured_ns + 1, payload=b'{"number":4}'))
    balance = road.settle()
    # Then the first is the row, and every conflict is counted
    assert road.rows() == ids(event)
    assert orjson.loads(stored_text(road.home, "session-1"))["payload"] == {"number": 1}
    assert (balance["written"], balance["duplicate"], balance["foreign"]) == (1, 3, 2)
    assert balance["events"]["duplicate"] == 1
    with reading(road.home.database) as reader:
        assert len(reader.duplicates(event.event_id)) == 3


def hand_off(home: Home, payload: bytes) -> None:
    """Hand a payload over through the real hook, which must be silent."""
    ended = subprocess.run(
        ["sh", str(SCRIPT), "claude_code", "UserPromptSubmit"],
        input=payload, env={"BLUEPLANE_HOME": str(home.root)}, capture_output=True,
        timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


def send(issued: Issued, odd: Odd, mark: bytes = b"") -> str:
    """Send a payload with something odd in it through the hook; return its session."""
    session = str(uuid4())
    hand_off(issued.home, b'%b{"session_id": "%b", %b}' % (mark, session.encode(), odd.text))
    issued.ids.append(session)
    return session


def stored(home: Home, session: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what is stored of the one event of a session, and its row."""
    with reading(home.database) as reader:
        (row,) = reader.traces("session_id", session)
        return orjson.loads(reader.event_data(row["sequence"])), row


def stored_text(home: Home, session: str) -> str:
    """Return the JSON that is stored of the one event of a session."""
    with reading(home.database) as reader:
        (row,) = reader.traces("session_id", session)
        return reader.event_data(row["sequence"]).decode()
