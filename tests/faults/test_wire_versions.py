"""What one release wrote, the next one reads: entries, hand-off files, and the old hook itself.

The bytes here are as version 0.1 wrote them. They are never made anew by the program: a change that
does not read them any more must turn this red, and needs another wire version.
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from blueplane import event as wire
from blueplane.capture.handoff import NAME, split_trailer
from blueplane.paths import Home
from blueplane.pipeline.dead_letters import unpack_fields
from blueplane.store.letters import Letter
from blueplane.store.queries import reading
from helpers.issued import SCRIPT, SETTLE_S, Issued
from helpers.redis_server import RedisServer
from helpers.road import Road
from helpers.server import Server

OLD_HOOK = Path(__file__).parent / "fixtures" / "blueplane-hook-0.1"
#: An entry of wire version 1, field by field.
ENTRY = {
    b"v": b"1",
    b"event_id": b"08e102adc4557fc58f06cf971e231f56",
    b"platform": b"cursor",
    b"source": b"hook",
    b"hook_type": b"postToolUse",
    b"event_type": b"tool_use",
    b"session_id": b"session-1",
    b"timestamp": b"2026-11-20T04:46:40.005Z",
    b"captured_at": b"1795150000005000000",
    b"workspace_hash": b"fedcba9876543210",
    b"project": b"orchard",
    b"turn_id": b"turn-1",
    b"tool_use_id": b"call-1",
    b"payload": b'{"number":5}',
    b"metadata": b'{"duration_ms":1200,"tool_name":"Shell"}',
    b"origin": b"",
}
OPTIONAL = (b"project", b"turn_id", b"tool_use_id", b"origin")
#: A hand-off file of the first hook: the payload as it came, and the trailer.
HAND_OFF = (
    b'{"session_id": "5e551040-0001-4000-8000-000000000001", "hook_event_name": "Stop"}'
    b"\n\x1eclaude_code Stop\n"
)


@pytest.fixture
def road(home: Home, redis_server: RedisServer) -> Iterator[Road]:
    """Give a road that opens a dead letter at the first failure."""
    road = Road(home, redis_server, max_retries=1)
    road.settle()
    yield road
    road.close()


def add(road: Road, table: dict[bytes, bytes]) -> None:
    """Add an entry as another release does."""
    fields = [part for pair in table.items() for part in pair]
    road.redis.command("XADD", road.stream.events, "*", *fields)


def stored(road: Road) -> dict[str, Any]:
    """Return the one row."""
    with reading(road.home.database) as reader:
        (row,) = reader.traces("session_id", "session-1")
        return {**row, "data": reader.event_data(row["sequence"])}


@pytest.mark.fault("F11")
def test_entry_of_the_first_release_is_a_row_when_it_is_read(road: Road) -> None:
    """Every field of an entry of wire version 1 is where it was meant to be."""
    # Given / When
    add(road, ENTRY)
    road.settle()
    # Then
    row = stored(road)
    wanted = {
        "event_id": "08e102adc4557fc58f06cf971e231f56", "platform": "cursor", "source": "hook",
        "hook_type": "postToolUse", "event_type": "tool_use", "project": "orchard",
        "captured_ms": 1_795_150_000_005, "timestamp_ms": 1_795_150_000_005,
        "workspace_hash": "fedcba9876543210", "tool_name": "Shell", "duration_ms": 1200,
    }  # fmt: skip
    assert {key: row[key] for key in wanted} == wanted
    assert orjson.loads(row["data"])["payload"] == {"number": 5}


@pytest.mark.fault("F11")
def test_entry_is_a_row_when_another_release_knows_more_or_fewer_fields(road: Road) -> None:
    """Unknown fields are ignored, in any place; the ids that not every event has may be missing."""
    # Given an entry with fields that we do not know, without those that may be missing
    more = {b"trace_parent": b"00-1-2", b"\xff": b"\x00"}
    fewer = {name: value for name, value in ENTRY.items() if name not in OPTIONAL}
    # When
    add(road, more | dict(reversed(fewer.items())))
    balance = road.settle()
    # Then
    assert stored(road)["event_id"] == ENTRY[b"event_id"].decode()
    assert (balance["dead_lettered"], balance["written"]) == (0, 1)


@pytest.mark.fault("F11")
def test_entry_of_a_newer_release_is_kept_when_read_and_written_when_upgraded(
    road: Road, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer wire version is a dead letter with every byte; the release that knows it retries."""
    # Given an entry of wire version 2, with a field of its own
    newer = ENTRY | {b"v": b"2", b"shape": b"\x00\xff"}
    # When this release reads it, also when it is retried too early
    add(road, newer)
    road.settle()
    (letter,) = letters(road, "open")
    road.writer.letters.retry([letter.message_id])
    road.writer.letters.send_waiting()
    road.settle()
    # Then it is kept whole, and says why
    (letter,) = letters(road, "open")
    assert pairs(unpack_fields(letter.raw)) | {b"origin": b""} == newer
    assert "wire version b'2' is not 1" in letter.reason
    assert road.rows() == []
    # When the release that knows it takes over and it is retried
    monkeypatch.setattr(wire, "WIRE_VERSION", b"2")
    road.writer.letters.retry([letter.message_id])
    road.writer.letters.send_waiting()
    balance = road.settle()
    # Then it is a row, and no letter is open
    assert road.rows() == [ENTRY[b"event_id"].decode()]
    assert (balance["balanced"], balance["open_dead_letters"]) == (True, 0)


def letters(road: Road, state: str) -> list[Letter]:
    """Return the dead letters of a state."""
    with reading(road.home.database) as reader:
        return list(reader.letters([state]))


def pairs(fields: list[bytes]) -> dict[bytes, bytes]:
    """Return the fields of an entry by name."""
    return dict(zip(fields[0::2], fields[1::2], strict=True))


@pytest.mark.fault("F11")
def test_events_of_the_old_hook_are_written_by_the_present_server(
    server: Server, issued: Issued, home: Home, redis_server: RedisServer,
) -> None:  # fmt: skip
    """A hook that was installed by the first release goes on as long as nobody replaces it."""
    # Given a file of the first hook, one that the old script leaves now, and one of the new script
    (home.spool / "4711.4710.0").write_bytes(HAND_OFF)
    issued.ids.append("5e551040-0001-4000-8000-000000000001")
    for script in (OLD_HOOK, SCRIPT):
        chosen, raw = issued.payload()
        run_hook(script, home, raw)
        issued.ids.append(chosen)
    # When the server starts / Then they are rows, nothing is in quarantine
    server.start_ready()
    balance = issued.settle(server, redis_server)
    assert (balance["captured"], balance["events"]["quarantined"]) == (4, 0)
    # and what the old script refuses is counted
    (home.run / "paused").touch()
    run_hook(OLD_HOOK, home, b"{}")
    (home.run / "paused").unlink()
    assert (home.run / "refused").read_bytes() == b"p"


@pytest.mark.fault("F11")
def test_file_of_the_present_hook_is_what_the_first_release_reads(home: Home) -> None:
    """Name, payload and trailer are those of the first release, for a server that is older."""
    # Given / When
    run_hook(SCRIPT, home, HAND_OFF.partition(b"\n")[0], "Stop")
    # Then
    (path,) = home.spool.iterdir()
    assert NAME.match(path.name)
    assert path.read_bytes() == HAND_OFF
    assert split_trailer(HAND_OFF) == (HAND_OFF.partition(b"\n")[0], "claude_code", "Stop")


def run_hook(script: Path, home: Home, raw: bytes, name: str = "UserPromptSubmit") -> None:
    """Run a hook script as an editor does; it must be silent."""
    ended = subprocess.run(
        ["sh", str(script), "claude_code", name],
        input=raw, env={"BLUEPLANE_HOME": str(home.root)}, capture_output=True,
        timeout=SETTLE_S, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
