"""The transcript monitor: files that change in every way, and files that are none."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from blueplane.capture import transcripts as module
from blueplane.capture.claude_code.places import item_of
from blueplane.capture.claude_code.tail import MAX_LINE
from blueplane.capture.filters import Filters
from blueplane.capture.pauses import Pauses
from blueplane.capture.pausing import pause, pauses, resume
from blueplane.capture.tree_watch import PollTree
from blueplane.clock import iso_utc, wall_ms
from blueplane.config import FilterSettings
from blueplane.errors import QueueRefusedError, QueueUnavailableError, StoreUnavailableError
from blueplane.paths import Home
from blueplane.store.recovery import recover
from helpers.reading_along import SECRET, Along
from helpers.redis_server import RedisServer

Begin = Callable[..., Along]
SESSION = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
def begin(home: Home, redis_server: RedisServer, tmp_path: Path) -> Iterator[Begin]:
    """Give a function that begins a new server in place of the one before."""
    running: list[Along] = []

    def begin(**around: Any) -> Along:
        for before in running:
            before.close()
        running[:] = [Along(home, redis_server, tmp_path / "user", **around)]
        return running[0]

    yield begin
    for along in running:
        along.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Give the path of a transcript that does not exist yet."""
    path = tmp_path / "user" / ".claude" / "projects" / "-home-robin-alder" / f"{SESSION}.jsonl"
    path.parent.mkdir(parents=True)
    return path


def line(number: int, **fields: object) -> bytes:
    """Make a line with a uuid."""
    identity = f"00000000-0000-4000-8000-{number:012d}"
    body = {
        "type": "user", "uuid": identity, "sessionId": SESSION, "cwd": "/home/robin/alder",
        "timestamp": iso_utc(1_790_000_000_000 + number), "message": {"role": "user",
        "content": f"leaf {number}"}, **fields,
    }  # fmt: skip
    return orjson.dumps(body) + b"\n"


def append(path: Path, *lines: bytes) -> None:
    """Append to a file."""
    with path.open("ab") as out:
        out.write(b"".join(lines))


def numbers(along: Along) -> list[int]:
    """Return the numbers of the lines that are stored, in the order of their rows."""
    return [int(row["event_id"][-12:]) for row in along.rows()]


@pytest.mark.fault("D12")
def test_torn_line_waits_until_it_is_whole(begin: Begin, file: Path) -> None:
    """The offset stays before a line without its end, and the line is stored once it has one."""
    # Given
    along = begin()
    whole = line(2)
    append(file, line(1), whole[:40])

    # When
    along.read()
    before = (numbers(along), along.offsets())
    append(file, whole[40:])
    along.read()

    # Then
    assert before == ([1], [len(line(1))])
    assert numbers(along) == [1, 2]
    assert along.offsets() == [file.stat().st_size]


@pytest.mark.fault("D12")
@pytest.mark.parametrize("grown", [1, 60])
def test_torn_line_costs_no_other_when_its_writer_cuts_it_off(
    begin: Begin, file: Path, grown: int
) -> None:
    """What was read of a line without its end is forgotten, however far the file has grown."""
    # Given
    along = begin()
    append(file, line(1), line(2, extra="x" * 4_000)[:-1])
    along.read()

    # When
    os.truncate(file, len(line(1)) + 9)
    append(file, b"\n", *map(line, range(3, 3 + grown)))
    along.read()

    # Then
    assert numbers(along) == [1, *range(3, 3 + grown)]
    assert along.outcomes()["quarantined"] == 1
    assert along.offsets() == [file.stat().st_size]


@pytest.mark.fault("C8")
def test_lost_rows_are_read_again_when_the_database_was_recovered(
    begin: Begin, file: Path, home: Home
) -> None:
    """What a damaged database lost and a transcript still has is written again, the rest is not."""
    # Given three lines, of which a damage took one row
    append(file, line(1), line(2), line(3))
    along = begin()
    along.read()
    along.road.commits._connection.execute("DELETE FROM traces WHERE sequence = 2")
    along.close()
    # When what is left was recovered, and a server reads on
    made = home.database.with_name("made.db")
    recover(home.database, made)
    made.replace(home.database)
    along = begin()
    along.read()
    # Then
    assert numbers(along) == [1, 3, 2]
    assert along.outcomes().get("duplicate", 0) == 0
    assert along.offsets() == [file.stat().st_size]


def test_nothing_is_kept_of_a_file_when_it_is_read_and_quiet(begin: Begin, file: Path) -> None:
    """Of history only how it was seen is kept, and a line that comes later is captured, once."""
    # Given a file that did not change lately
    along = begin()
    append(file, line(1), line(2))
    os.utime(file, (1_790_000_000, 1_700_000_000))
    along.look()
    kept = along.monitor.files.known[str(file)]
    assert (kept.place, kept.opened, kept.known, kept.tail) == (None, None, None, 0)

    # When it grows while its lines are on the road
    append(file, line(3))
    along.read()

    # Then
    assert numbers(along) == [1, 2, 3]
    assert along.outcomes() == {"written": 3}
    assert along.offsets() == [file.stat().st_size]


@pytest.mark.fault("D12")
def test_lines_have_one_row_when_a_file_comes_back_after_its_mark_went(
    begin: Begin, file: Path
) -> None:
    """A file of which the store knows the rows, and no mark any more, is read again in vain."""
    # Given a file that was read, with a line that has no time, and was gone for long
    untimed = orjson.dumps({"type": "summary", "summary": "leaves", "leafUuid": "x"}) + b"\n"
    append(file, line(1), untimed)
    along = begin()
    along.read()
    away = file.with_suffix(".away")
    file.rename(away)
    along.read()
    assert along.monitor.items() == set()
    along.road.commits.remove_marks("transcript", [item_of(str(file), SECRET)])

    # When it comes back, and grows
    away.rename(file)
    append(file, line(2))
    along.read()

    # Then
    assert along.monitor.items() == {item_of(str(file), SECRET)}
    assert along.outcomes()["written"] == len(along.rows()) == 3
    assert along.offsets() == [file.stat().st_size]
    assert along.road.settle()["balanced"]


@pytest.mark.fault("D12")
def test_line_without_a_time_is_known_again_when_the_file_has_grown_since(
    begin: Begin, file: Path
) -> None:
    """A server that dies with a file's first lines on the road leaves what dates them."""
    # Given a file whose first line has no time, and a server that dies with it on the road
    untimed = orjson.dumps({"type": "summary", "summary": "leaves", "leafUuid": "x"}) + b"\n"
    append(file, untimed)
    along = begin()
    along.look()
    assert along.intake.in_flight == 1
    # When the file has grown by lines with times, and another server writes what was on the road
    # before it looks at the file
    append(file, line(1))
    along = begin()
    along.road.drain()
    along.read()
    # Then the line is the row that is there already
    assert along.outcomes() == {"written": 2}
    assert along.offsets() == [file.stat().st_size]


@pytest.mark.fault("D12")
@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize(
    "change",
    ["truncated", "written anew", "cut and grown", "of equal size", "rotated", "replaced"],
)
def test_file_is_read_from_its_start_when_it_is_not_what_it_was(
    begin: Begin, file: Path, change: str, *, restart: bool
) -> None:
    """Whatever takes the place of what was read is read whole; a line that is known stays one."""
    # Given
    along = begin()
    append(file, line(1), line(2), line(3))
    along.read()
    lines = {
        "truncated": [line(1)],
        "written anew": [line(5), line(2), line(3), line(4)],
        "cut and grown": [line(1), line(7, isMeta=True), line(4), line(2)],
        "of equal size": [line(1), line(4), line(5)],
        "rotated": [line(4)],
        "replaced": [line(1), line(2), line(3), line(4)],
    }[change]
    if change == "rotated":
        file.rename(file.with_name(f"{SESSION}.jsonl.1"))
    if change == "replaced":
        new = file.with_name("new")
        append(new, *lines)
        new.replace(file)
    else:
        file.write_bytes(b"".join(lines))

    # When
    if restart:
        along = begin()
    along.read()

    # Then
    expected = {
        "truncated": [1, 2, 3],
        "written anew": [1, 2, 3, 5, 4],
        "cut and grown": [1, 2, 3, 7, 4],
        "of equal size": [1, 2, 3, 4, 5],
    }
    assert numbers(along) == expected.get(change, [1, 2, 3, 4])
    assert along.offsets() == [file.stat().st_size]
    assert along.road.settle()["balanced"]


@pytest.mark.fault("D12")
def test_lines_are_stored_once_when_the_file_goes_and_comes_back(begin: Begin, file: Path) -> None:
    """A file that was deleted costs nothing; should it come back, only what is new is read."""
    # Given
    along = begin()
    append(file, line(1), line(2))
    along.read()
    away = file.parent.parent.parent / "away"

    # When
    file.rename(away)
    along.read()
    away.rename(file)
    append(file, line(3))
    along.read()

    # Then
    assert numbers(along) == [1, 2, 3]
    assert along.outcomes().get("duplicate") is None


@pytest.mark.fault("D12")
def test_forgotten_lines_stay_away_when_their_file_is_written_anew_or_copied(
    begin: Begin, file: Path
) -> None:
    """Forgotten is forgotten: neither the file under a new inode nor a fork brings a line back."""
    # Given
    along = begin()
    append(file, line(1), line(2))
    along.read()
    along.road.commits.erase(lambda erasure: erasure.remove_rows([1]))

    # When the file is written anew, and its lines are copied into a session's that goes on from it
    file.unlink()
    append(file, line(1), line(2), line(3))
    along.read()
    append(file.with_stem("22222222-2222-4222-8222-222222222222"), line(1), line(4))
    along.read()

    # Then
    assert numbers(along) == [2, 3, 4]
    assert along.outcomes() == {"written": 4, "duplicate": 1}
    assert along.road.settle()["balanced"]


def test_line_of_megabytes_is_read_whole_and_a_longer_one_is_measured(
    begin: Begin, file: Path
) -> None:
    """A long line costs no other line anything; of one that is too long the size is kept."""
    # Given
    along = begin()
    long, longer = line(2, extra="x" * 3_000_000), line(3, extra="x" * 9_000_000)
    append(file, line(1), long, longer, line(4))

    # When
    along.read()

    # Then
    rows = along.rows()
    assert [row["event_id"][-1] for row in (rows[0], rows[1], rows[3])] == ["1", "2", "4"]
    assert rows[1]["payload"]["extra"] == {"chars": 3_000_000}
    assert rows[2]["payload"] == {"bytes": len(longer)}
    assert along.offsets() == [file.stat().st_size]


@pytest.mark.fault("D2", "D3", "D4", "D5", "D6", "D8")
def test_malformed_line_costs_only_itself(begin: Begin, file: Path) -> None:
    """What is no object is quarantined and counted; what can be mended is stored, and marked."""
    # Given
    along = begin()
    bad = [b"{not json\n", b"[1]\n", b"null\n", b'"text"\n', b"[" * 1000 + b"\n", b"\x00\x00\n"]
    mended = [
        line(2)[:-2] + b',"costUSD":NaN}\n',
        line(3)[:-2] + b',"costUSD":1e999,"durationMs":5}\n',
        line(4).replace(b"leaf", b"l\xffaf"),
        line(5)[:-2] + b',"costUSD":' + b"9" * 30 + b"}\n",
        line(6)[:-2] + b',"costUSD":1,"costUSD":2}\n',
        line(7)[:-2] + b',"message":17,"toolUseResult":[null,3]}\n',
        line(8, message={"content": [7, None, {"type": 3}], "usage": [], "model": {}}),
        line(9, toolUseResult={"structuredPatch": {"a": 1}, "file": [], "content": 5}),
    ]
    append(file, line(1), *bad, *mended, b"\n \n", line(10))

    # When
    along.read()

    # Then
    rows = dict(zip(numbers(along), along.rows(), strict=True))
    assert sorted(rows) == list(range(1, 11))
    assert along.outcomes()["quarantined"] == len(bad)
    assert rows[2]["metadata"] == rows[3]["metadata"] == {"nulled": 1}
    assert "costUSD" not in rows[3]["payload"]
    assert rows[3]["payload"]["durationMs"] == 5
    assert rows[4]["metadata"] == {"repaired": 1}
    assert rows[5]["metadata"] == {"big_numbers": 1}
    assert rows[6]["payload"]["costUSD"] == 2
    assert along.offsets() == [file.stat().st_size]
    assert along.road.settle()["balanced"]


@pytest.mark.fault("D9", "E3")
def test_line_with_an_absurd_time_is_stored_with_the_time_of_the_one_before(
    begin: Begin, file: Path
) -> None:
    """A time that cannot be believed is not taken; the line is stored all the same, and once."""
    # Given
    along = begin()
    times = ["0000-00-00", "99999-01-01T00:00:00Z", 10**18, "soon", None, "1800-01-01T00:00:00Z"]
    append(file, line(1), *(line(2 + n, timestamp=time) for n, time in enumerate(times)))

    # When
    along.read()
    along = begin()
    along.read()

    # Then
    assert numbers(along) == list(range(1, 8))
    assert {row["timestamp_ms"] for row in along.rows()} == {1_790_000_000_001}
    assert along.outcomes().get("duplicate") is None


@pytest.mark.fault("D10")
def test_first_line_wins_when_a_uuid_comes_again_with_other_content(
    begin: Begin, file: Path
) -> None:
    """A fork's copy of a line, changed or not, is a duplicate that is counted, and no row."""
    # Given
    along = begin()
    append(file, line(1))
    along.read()
    append(file.with_name("22222222-2222-4222-8222-222222222222.jsonl"), line(1, isMeta=True))

    # When
    along.read()

    # Then
    assert [row["payload"].get("isMeta") for row in along.rows()] == [None]
    assert along.outcomes()["duplicate"] == 1
    balance = along.road.settle()
    assert balance["balanced"]
    assert balance["events"]["duplicate"] == 1


@pytest.mark.fault("G11")
def test_uuid_of_a_line_is_its_event_id_when_everyone_writes_it_like_that(
    begin: Begin, file: Path
) -> None:
    """A uuid is stored once, as the id of the row; one that is written otherwise stays a text."""
    # Given
    along = begin()
    usual, odd = "0f0e0d0c-1b2a-4c3d-8e5f-a0b1c2d3e4f5", "0F0E0D0C-1B2A-4C3D-8E5F-A0B1C2D3E4F5"
    append(file, line(1, uuid=usual), line(2, uuid=odd))

    # When
    along.read()

    # Then
    one, other = along.rows()
    assert one["event_id"] == usual.replace("-", "")
    assert "uuid" not in one["payload"]
    assert other["event_id"] != one["event_id"]
    assert other["payload"]["uuid"] == odd


@pytest.mark.parametrize("kind", ["fifo", "link", "device", "linked directory", "sparse"])
def test_what_is_no_file_of_the_tree_is_refused(
    begin: Begin, file: Path, tmp_path: Path, kind: str
) -> None:
    """Nothing outside of the tree is read, nothing is waited for, and no hole is read through."""
    # Given
    along = begin()
    outside = tmp_path / "outside"
    outside.mkdir()
    append(outside / "secret.jsonl", line(66))
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "link":
        file.symlink_to(outside / "secret.jsonl")
    elif kind == "device":
        file.symlink_to("/dev/zero")
    elif kind == "linked directory":
        file.parent.with_name("-elsewhere").symlink_to(outside)
    else:
        append(file, line(1))
        os.truncate(file, 10 << 30)
    append(file.with_name("22222222-2222-4222-8222-222222222222.jsonl"), line(2))

    # When
    along.read()

    # Then
    assert numbers(along) == [2]
    assert along.monitor.errors == (kind != "linked directory")


def test_outcome_is_waited_for_when_the_store_was_not_told_of_it(begin: Begin, file: Path) -> None:
    """A line that never reaches the stream is waited for until its outcome is stored."""
    # Given
    along = begin()
    append(file, line(1), b"{not json\n")
    along.monitor._keep_house()

    # When both were read, and one of them is on the road
    along.monitor._take()
    along.road.drain()

    # Then
    assert along.monitor.extent().waiting == 1
    assert "quarantined" not in along.outcomes()

    # When there is nothing more to read
    along.monitor._take()

    # Then
    assert along.monitor.extent().waiting == 0
    assert along.outcomes()["quarantined"] == 1
    assert along.offsets() == [file.stat().st_size]


@pytest.mark.fault("G11")
def test_file_is_refused_when_its_directory_becomes_a_link_before_it_is_opened(
    begin: Begin, file: Path, tmp_path: Path
) -> None:
    """A file that is reached through a link is none of the tree, whatever its own name is."""
    # Given
    along = begin()
    outside = tmp_path / "outside"
    outside.mkdir()
    append(outside / file.name, line(66))
    append(file, line(1))
    along.monitor._keep_house()

    # When
    file.unlink()
    file.parent.rmdir()
    file.parent.symlink_to(outside)
    along.monitor._take()
    along.road.drain()

    # Then
    assert along.rows() == []
    assert along.monitor.errors == 1


def test_file_is_named_as_unread_when_it_cannot_be_read(begin: Begin, file: Path) -> None:
    """It is left, with its reason, tried again when somebody asks, and read when it changed."""
    # Given a file of holes, in a directory whose name is no text
    file = Path(os.fsdecode(bytes(file.parent) + b"-\xff")) / file.name
    file.parent.mkdir()
    append(file, line(1))
    os.truncate(file, 10 << 30)
    along = begin()
    monitor = along.monitor

    # When
    along.read()

    # Then
    extent = monitor.extent()
    (unread,) = extent.unread
    shown = bytes(file).decode(errors="backslashreplace")
    assert (unread.path, unread.bytes) == (shown, 10 << 30)
    assert unread.reason
    assert extent.is_read
    assert (extent.files_left, extent.bytes_left) == (1, 10 << 30)

    # When somebody asks
    monitor.look_anew()
    assert not monitor.extent().known
    monitor._keep_house()

    # Then
    assert monitor.extent().known
    assert not monitor.extent().is_read
    along.read()
    assert monitor.extent().unread == extent.unread
    assert monitor.errors == 1

    # When it is whole again
    os.truncate(file, len(line(1)))
    along.read()

    # Then
    assert not monitor.extent().unread
    assert monitor.extent().is_read
    assert numbers(along) == [1]


def test_directory_has_its_watch_back_when_a_file_in_it_changes(begin: Begin, file: Path) -> None:
    """The last change of a file, and not the last look, says which directories are watched."""
    # Given a monitor that watches no project any more
    along = begin()
    append(file, line(1))
    along.read()
    added: list[tuple[str, bool]] = []
    along.monitor._watch.add = (  # type: ignore[method-assign]
        lambda directory, *, lasting: added.append((directory, lasting))
    )

    # When
    append(file, line(2))
    along.monitor.files.look_at(along.monitor.files.known[str(file)])

    # Then
    assert added == [(str(file.parent), True)]


@pytest.mark.parametrize("again", [False, True])
def test_new_root_is_looked_into_when_somebody_asks(
    begin: Begin, file: Path, tmp_path: Path, again: bool
) -> None:
    """A change of settings needs not wait for the next look for roots."""
    # Given
    projects: list[str] = []
    along = begin(roots=lambda: projects)
    along.monitor._keep_house()
    assert along.monitor.extent().is_read
    append(file, line(1))
    projects.append(str(tmp_path / "user" / ".claude" / "projects"))

    # When
    if again:
        along.monitor.look_anew()
    along.monitor._keep_house()

    # Then
    assert along.monitor.extent().is_read is not again
    assert along.monitor.files.sessions == again


@pytest.mark.fault("G11")
def test_file_is_refused_when_a_link_takes_its_place_before_it_is_opened(
    begin: Begin, file: Path, tmp_path: Path
) -> None:
    """What was a file when it was listed is looked at again when it is opened."""
    # Given
    along = begin()
    outside = tmp_path / "outside.jsonl"
    append(outside, line(66))
    append(file, line(1))
    along.monitor._keep_house()
    assert list(along.monitor.files.known) == [str(file)]

    # When
    file.unlink()
    file.symlink_to(outside)
    along.monitor._take()
    along.road.drain()

    # Then
    assert along.rows() == []
    assert along.monitor.errors == 1


def test_sub_agents_are_read_in_both_layouts_with_what_describes_them(
    begin: Begin, file: Path
) -> None:
    """A sub-agent's lines are of its parent's session, and its meta file is an event."""
    # Given
    along = begin()
    below = file.with_suffix("") / "subagents" / "workflows" / "wf_1"
    below.mkdir(parents=True)
    append(file, line(1))
    append(file.with_name("agent-aa.jsonl"), line(2, agentId="aa", isSidechain=True))
    append(below / "agent-bb.jsonl", line(3, agentId="bb", sessionId=None))
    append(below / "agent-bb.meta.json", b'{"agentType":"Explore","spawnDepth":1}')

    # When
    along.read()

    # Then
    rows = along.rows()
    assert {row["session_id"] for row in rows} == {SESSION}
    meta = next(row for row in rows if row["hook_type"] == "agent-meta")
    assert meta["payload"] == {"agentId": "bb", "agentType": "Explore", "spawnDepth": 1}
    assert len(rows) == 4


def test_new_directory_is_found_when_a_session_is_begun(begin: Begin, file: Path) -> None:
    """A project, and a session in it, that appear while the server runs need no restart."""
    # Given
    along = begin()
    along.read()
    new = file.parent.with_name("-home-robin-birch") / f"{SESSION}.jsonl"

    # When
    new.parent.mkdir()
    append(new, line(1))
    along.read()

    # Then
    assert numbers(along) == [1]


@pytest.mark.fault("G14", "D7")
def test_secrets_and_texts_are_not_stored_when_lines_are_full_of_them(
    begin: Begin, file: Path, home: Home
) -> None:
    """No text of a line, no path and no address is in any file of the home."""
    # Given
    along = begin()
    planted = "CANARY-quince"
    attachment = {"type": "session_context", "email": f"{planted}@example.org", "text": planted}
    append(
        file,
        line(1, message={"content": planted}, cwd=f"/home/{planted}/alder"),
        line(2, message={"content": [{"type": "text", "text": planted}, {"type": planted}]}),
        line(3, type="attachment", attachment=attachment, gitBranch=planted),
        line(4, type="bridge-session", accountUuid=planted, email=f"{planted}@example.org"),
        line(5, toolUseResult={"stdout": planted, "filePath": f"/{planted}", planted: planted}),
        line(6, type=f"a {planted}", apiKey=planted, data={"x": {"y": planted}, "z": planted}),
        line(7, modelUsage={planted + " x": {"costUSD": 1}}, snapshot={f"/{planted}": planted}),
        b'{"broken": "' + planted.encode() + b"\n",
    )

    # When
    along.read()

    # Then
    assert len(along.rows()) == 7
    found = [path for path in home.root.rglob("*") if path.is_file()]
    assert [path for path in found if planted.encode() in path.read_bytes()] == []
    assert planted not in orjson.dumps(along.rows(), default=repr).decode()


def test_filtered_lines_move_the_offset_when_their_place_is_left_out(
    begin: Begin, file: Path
) -> None:
    """A rule leaves out every line of its directory, also those that name none."""
    # Given
    rules = FilterSettings(("/home/robin/alder",), (), (), (), ())
    along = begin(filters=Filters(rules, SECRET))
    summary = b'{"type":"summary","summary":"leaves"}\n'
    append(file, summary, line(1), line(2, cwd=None))
    other = file.with_name("22222222-2222-4222-8222-222222222222.jsonl")
    append(other, line(3, cwd="/home/robin/birch"))

    # When
    along.read()

    # Then
    assert numbers(along) == [3]
    assert along.outcomes()["filtered"] == 3
    assert along.offsets() == sorted(path.stat().st_size for path in (file, other))
    assert along.road.settle()["balanced"]


def test_lines_that_were_written_in_a_pause_are_left_out_for_good(
    begin: Begin, file: Path, home: Home
) -> None:
    """A pause leaves out what is written in it, and neither what came before nor after."""
    # Given a pause of which one line is read in it, and one not
    along = begin(pauses=lambda: pauses(home))
    append(file, line(1))
    pause(home, None)
    append(file, line(2, timestamp=iso_utc(wall_ms())))
    along.read()
    append(file, line(3, timestamp=iso_utc(wall_ms())))
    along.close()
    resume(home)
    append(file, line(4, timestamp=iso_utc(wall_ms() + 2000)))

    # When the next server reads on
    along = begin(pauses=lambda: pauses(home))
    along.read()

    # Then
    assert numbers(along) == [1, 4]
    assert along.outcomes()["filtered"] == 2
    assert along.road.settle()["balanced"]


def test_lines_of_which_nobody_knows_the_time_are_of_a_pause_when_the_line_before_is(
    begin: Begin, file: Path
) -> None:
    """What follows a line of a pause, or is too long to be read, is left out with it."""
    # Given a file that was changed after the pause in which most of it was written
    title = b'{"type":"ai-title","aiTitle":"leaves"}\n'
    at = iso_utc(wall_ms() - 3_600_000)
    append(file, line(1), title, line(2, timestamp=at), title, b"x" * MAX_LINE + b"\n")
    append(file, line(3, timestamp=iso_utc(wall_ms())))
    over = ((wall_ms() - 3_700_000, wall_ms() - 3_500_000),)

    # When
    along = begin(pauses=lambda: Pauses(over))
    along.read()

    # Then
    assert [row["hook_type"] for row in along.rows()] == ["user", "ai-title", "user"]
    assert along.outcomes()["filtered"] == 3


def test_lines_without_a_time_are_those_of_their_file_when_capture_is_paused(
    begin: Begin, file: Path
) -> None:
    """A pause leaves out what was appended in it, not what no line of an old file dates."""
    # Given
    old, meta = file.with_name("old.jsonl"), file.parent / "old" / "subagents" / "agent-a.meta.json"
    meta.parent.mkdir(parents=True)
    append(old, b'{"type":"summary","summary":"leaves"}\n')
    append(meta, b'{"agentType":"Explore"}')
    append(file, b'{"type":"mode","mode":"plan"}\n', b"x" * MAX_LINE + b"\n")
    paused_ms = wall_ms() - 60_000
    for path in (old, meta):
        os.utime(path, (paused_ms / 1000 - 1, paused_ms / 1000 - 1))

    # When
    along = begin(pauses=lambda: Pauses(((paused_ms, wall_ms()),)))
    along.read()

    # Then
    assert {row["hook_type"] for row in along.rows()} == {"summary", "agent-meta"}
    assert along.outcomes()["filtered"] == 2


def test_lines_go_again_once_when_the_stream_was_lost(
    begin: Begin, file: Path, redis_server: RedisServer
) -> None:
    """What was in a stream that is gone is read again from the file, and nothing else is."""
    # Given
    along = begin()
    append(file, line(1), line(2))
    along.read()
    append(file, line(3), line(4))
    along.look()

    # When
    redis_server.command("FLUSHALL")
    balance = along.road.settle()
    along.read()

    # Then
    assert numbers(along) == [1, 2, 3, 4]
    assert along.outcomes().get("duplicate") is None
    assert balance["recovered"] == 2
    assert along.road.settle()["balanced"]


def test_marks_stay_before_lines_in_flight_when_the_server_dies(begin: Begin, file: Path) -> None:
    """What was in the stream when a server died is not sent again, and moves the mark later."""
    # Given
    along = begin()
    append(file, line(1))
    along.read()
    append(file, line(2), line(3))
    along.look()

    # When
    along = begin()
    before = along.offsets()
    append(file, line(4))
    along.read()

    # Then
    assert before == [len(line(1))]
    assert numbers(along) == [1, 2, 3, 4]
    assert along.outcomes().get("duplicate") is None
    assert along.offsets() == [file.stat().st_size]
    assert along.road.settle()["balanced"]


@pytest.mark.parametrize(
    ("what", "error"),
    [
        ("emit", QueueRefusedError("full")),
        ("emit", QueueUnavailableError("away")),
        ("mark", StoreUnavailableError("away")),
        ("settled", StoreUnavailableError("away")),
        ("settle", StoreUnavailableError("away")),
    ],
)
def test_lines_are_kept_when_the_road_does_not_take_them(
    begin: Begin, file: Path, monkeypatch: pytest.MonkeyPatch, what: str, error: Exception
) -> None:
    """Whatever fails takes nothing from the file: a later round reads it again, and once."""
    # Given
    along = begin()
    append(file, line(1))
    along.read()
    along = begin()
    append(file, line(2), b"no line\n", line(3))
    append(file.with_name("22222222-2222-4222-8222-222222222222.jsonl"), line(4))
    owner = along.intake if what == "emit" else along.records

    def fail(*_: object) -> None:
        along.monitor.stopping.set()
        raise error

    # When
    with monkeypatch.context() as patch:
        patch.setattr(owner, what, fail)
        along.monitor.loop()
    along.monitor.stopping.clear()
    along.road.settle()
    along.read()

    # Then
    assert sorted(numbers(along)) == [1, 2, 3, 4]
    found = along.outcomes()
    found.pop("enqueued", None)
    assert found == {"written": 4, "quarantined": 1}
    assert along.monitor.waiting() == 0
    assert along.road.settle()["balanced"]


def test_session_is_looked_at_when_its_turn_ended_and_nothing_else_tells(
    begin: Begin, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a turn has the session's files read, also where the system names no change."""
    # Given
    monkeypatch.setattr(module, "watch_tree", PollTree)
    monkeypatch.setattr(module, "LOOKS", 0)
    along = begin()
    append(file, line(1))
    along.read()
    agent = file.with_suffix("") / "subagents" / "agent-bb.jsonl"
    agent.parent.mkdir(parents=True)
    append(file, line(2))
    append(agent, line(3))

    # When
    along.monitor.turn_ended("cursor", SESSION)
    along.monitor._keep_house()
    before = set(along.monitor.files.hot)
    along.monitor.turn_ended("claude_code", SESSION)
    along.monitor._keep_house()

    # Then
    assert before == set()
    assert along.monitor.files.hot.keys() == {str(file), str(agent)}
