"""Forgetting and scrubbing in this process: what goes, what stays, and what still counts."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from blueplane.capture.cursor.found import Found
from blueplane.capture.renewal import Renewal
from blueplane.clock import NS_PER_MS
from blueplane.config import PrivacySettings
from blueplane.errors import HomeError, StoreUnavailableError, UsageError
from blueplane.event import Event, Settlement, encode
from blueplane.paths import Home
from blueplane.pipeline import eraser as module
from blueplane.pipeline.consumer import Consumer
from blueplane.pipeline.dead_letters import unpack_fields
from blueplane.pipeline.eraser import Eraser
from blueplane.pipeline.intake import Intake
from blueplane.store.codec import shipped
from blueplane.store.conversation_tables import TABLES
from blueplane.store.ledger import stored_rows
from blueplane.store.letters import Letter
from helpers.desk import SECRET, T0_MS, Desk, answer, at, hook, line
from helpers.redis_server import RedisServer
from helpers.road import CAPTURED_NS, Road, make_event
from helpers.stories import HOME, Teller, claude_hooks, claude_lines, cursor_hooks, cursor_rows
from helpers.waiting import wait_until

WAIT_S = 20.0
STRICT = PrivacySettings("strict", hash_project_names=True)


class Running:
    """A road whose writer and consumer run, and an eraser for it."""

    def __init__(self, road: Road, privacy: PrivacySettings = STRICT) -> None:
        self.road = road
        self.home = road.home
        self.said: list[str] = []
        self._consumer = Consumer(road.stream, road.writer)
        intake = Intake(road.stream, road.writer, 1_000, 1_000_000)
        words = Renewal(privacy, SECRET)
        self.eraser = Eraser(road.home, road.writer, intake, lambda: words)

    def start(self) -> None:
        self.road.writer.start()
        self._consumer.start()
        wait_until(lambda: self.road.stream.attached, WAIT_S, "attached")

    def stop(self) -> None:
        for service in (self._consumer, self.road.writer):
            service.stop()
            assert service.join(WAIT_S)

    def write(self, *events: Event) -> None:
        """Have events written."""
        before = self.road.writer.written
        self.road.append(*events)
        wait_until(lambda: self.road.writer.written == before + len(events), WAIT_S, "written")

    def forget(self, **wanted: Any) -> dict[tuple[str, str], tuple[int, int]]:
        """Forget; return what was removed and what is left, by place."""
        removed, notes = self.forget_in_doubt(**wanted)
        assert notes == []
        return removed

    def forget_in_doubt(
        self, **wanted: Any
    ) -> tuple[dict[tuple[str, str], tuple[int, int]], list[str]]:
        """Forget; return what ``forget`` does, and the notes."""
        answer = self.eraser.forget(lambda said: self.said.append(said["step"]), **wanted)
        removed = {
            (row["place"], row["what"]): (row["count"], row["left"])
            for row in answer["rows"]
            if row["count"] or row["left"]
        }
        return removed, answer["notes"]

    def scrub(self) -> dict[str, int]:
        """Scrub; return how much was changed, by what it is."""
        answer = self.eraser.scrub(lambda _: None)
        assert answer["notes"] == []
        return {row["what"]: row["changed"] for row in answer["rows"] if row["changed"]}

    def spoil(self, change: str) -> None:
        """Do to the database what no program of ours does."""
        execute = self.road.commits._connection.execute
        self.road.writer.ask(lambda: execute(change))

    def deliver(self, fields: list[bytes]) -> None:
        """Put an entry into the queue that becomes a dead letter, and wait for it."""
        before = self.road.writer.letters.counts()["open"]
        self.road.redis.command("XADD", self.road.stream.events, "*", *fields)
        wait_until(
            lambda: self.road.writer.letters.counts()["open"] == before + 1, WAIT_S, "a letter"
        )

    def letter(self) -> Letter:
        """Return the only letter."""
        (letter,) = self.road.commits.letters.all()
        return letter

    def texts(self) -> list[str]:
        """Return the content of all rows."""
        codec = self.road.commits.codec
        rows = self.road.commits._connection.execute("SELECT codec, event_data FROM traces")
        return [codec.decode(*row).decode() for row in rows]


@pytest.fixture
def running(home: Home, redis_server: RedisServer) -> Iterator[Running]:
    """Give a road that runs."""
    road = Road(home, redis_server)
    running = Running(road)
    running.start()
    yield running
    running.stop()
    road.close()


def event(number: int, project: str = "", payload: object = None, **changes: Any) -> Event:
    """Make an event of a project."""
    body = orjson.dumps({"number": number} if payload is None else payload)
    return make_event(number, project=project, payload=body, **changes)


def test_forget_takes_a_project_and_its_sessions_events_without_one(running: Running) -> None:
    """An event that names no workspace belongs to the project of its session, if there is one."""
    # Given a session of one project, and one of two
    running.write(
        event(1, "orchard", session_id="s-1"), event(2, session_id="s-1"),
        event(3, "orchard", session_id="s-2"), event(4, "meadow", session_id="s-2"),
        event(5, session_id="s-2"),
    )  # fmt: skip
    # When
    removed = running.forget(project="orchard")
    # Then
    assert removed == {("database", "events"): (3, 0)}
    assert sorted(orjson.loads(text)["payload"]["number"] for text in running.texts()) == [4, 5]
    totals = running.road.totals()
    assert (totals["rows.forgotten"], stored_rows(totals)) == (3, 2)
    assert "removing events" in running.said


def test_forget_brings_what_others_say_of_a_project_down_to_strict(running: Running) -> None:
    """A path within the project goes, and a word that only looks like it stays."""
    # Given rows of another project
    running.write(
        event(1, "meadow", {"prompt": "open /home/ann/orchard/plan.md", "status": "completed"}),
        event(2, "meadow", {"prompt": "in the orchard"}),
    )
    # When
    removed = running.forget(project="orchard")
    # Then
    assert removed == {("database", "mentions by other events"): (1, 0)}
    texts = running.texts()
    assert not [text for text in texts if "plan.md" in text]
    assert [text for text in texts if "in the orchard" in text]


def test_forget_empties_dead_letters_and_leaves_them_counted(running: Running) -> None:
    """A letter stays as one without content, for the second law counts it."""
    # Given a letter of the project
    running.road.redis.command(
        "XADD", running.road.stream.events, "*",
        *encode(event(1, "orchard", origin="")._replace(payload=b"no json")),
    )  # fmt: skip
    wait_until(lambda: running.road.writer.letters.counts()["open"] == 1, WAIT_S, "a letter")
    # When
    removed = running.forget(project="orchard")
    # Then
    assert removed == {("database", "dead letters"): (1, 0)}
    (letter,) = running.road.commits.letters.all()
    assert (letter.raw, letter.reason, letter.state) == (b"[]", "forgotten", "dropped")
    running.road.writer.ask(running.road.writer.balance_now)
    assert running.road.balance()["balanced"]


def test_forget_before_a_moment_goes_by_the_capture(running: Running) -> None:
    """What was captured in the very moment stays."""
    # Given three events, a millisecond apart, and an old file in quarantine
    running.write(*[event(number) for number in (1, 2, 3)])
    (running.home.quarantine / "old").write_bytes(b"x")
    moment_ms = CAPTURED_NS // NS_PER_MS + 3
    # When
    removed = running.forget(before_ms=moment_ms)
    # Then (the file was made today, years after that)
    assert removed[("database", "events")] == (2, 0)
    assert len(running.texts()) == 1


def test_forget_clears_names_of_files_that_never_reached_the_stream(running: Running) -> None:
    """A foreign file's name is in no table afterwards."""
    # Given
    item = Settlement("spool:orchard.txt:1", "quarantined", "foreign-file", "", "", 1)
    running.road.writer.ask(lambda: running.road.commits.settle([item]))
    # When
    removed = running.forget(project="orchard")
    # Then
    assert removed == {("database", "names of files"): (1, 0)}


def test_scrub_renews_rows_letters_and_names_of_projects(running: Running) -> None:
    """What the present level does not let pass goes, and a second time nothing is left to do."""
    # Given what was captured in full
    running.write(event(1, "orchard", {"prompt": "a long secret"}))
    # When
    first = running.scrub()
    second = running.scrub()
    # Then
    assert first == {"events": 1, "project names": 1}
    assert second == {}
    assert not [text for text in running.texts() if "secret" in text]
    names = running.road.commits._connection.execute("SELECT text FROM names").fetchall()
    assert ("orchard",) not in names


def test_forget_is_refused_when_what_is_meant_is_not_one_thing(running: Running) -> None:
    """Nothing, or two things, is no wish."""
    # Given / When / Then
    for wanted in ({}, {"session": "s", "project": "p"}):
        with pytest.raises(UsageError, match="say what to forget"):
            running.eraser.plan(lambda _: None, **wanted)


def test_forget_gives_up_when_something_stays_on_the_way(
    running: Running, monkeypatch: pytest.MonkeyPatch, home: Home
) -> None:
    """What waits in the spool for ever is said, and nothing is claimed."""
    # Given a file that nobody takes
    monkeypatch.setattr(module, "QUIET_S", 0.2)
    Path(home.spool / "1.1.1").write_bytes(b"{}")
    # When / Then
    with pytest.raises(StoreUnavailableError, match="on the way"):
        running.eraser.forget(lambda _: None, project="orchard")
    # And the next one is not in its way
    Path(home.spool / "1.1.1").unlink()
    assert running.forget(project="orchard") == {}


# --- what nobody can read -------------------------------------------------------------------------


def fields_with(base: Event, **fields: bytes) -> list[bytes]:
    """Return the fields of an entry, some of them replaced by any bytes."""
    parts = encode(base)
    table = dict(zip(parts[0::2], parts[1::2], strict=True))
    table |= {name.encode(): value for name, value in fields.items()}
    return [part for pair in table.items() for part in pair]


#: An entry of ours whose time is none: it is a dead letter, and all else can be read.
NO_TIME = {"captured_at": b"noon"}


def test_scrub_leaves_a_forgotten_letter_as_it_is(running: Running) -> None:
    """What holds nothing any more is given nothing back, and is not counted as changed."""
    # Given a letter of ours that was forgotten
    running.deliver(fields_with(event(1, "orchard"), **NO_TIME))
    assert running.forget(project="orchard") == {("database", "dead letters"): (1, 0)}
    # When
    changed = running.scrub()
    # Then
    assert changed == {}
    assert (running.letter().raw, running.letter().reason) == (b"[]", "forgotten")


def test_scrub_brings_a_letter_down_however_its_fields_are_written(running: Running) -> None:
    """Spaces, the order of keys, and bytes that are no text, are in nobody's way."""
    # Given a letter with the origin of ours that no program of ours made
    forged = fields_with(
        event(1, payload={"prompt": "a long secret"}),
        metadata=b'{ "z": 1,  "model": "m" }', project=b"orch\xffard", **NO_TIME,
    )  # fmt: skip
    running.deliver(forged)
    # When it is scrubbed twice
    changed = [running.scrub(), running.scrub()]
    # Then it is at the present level, and all else is as it was
    assert changed == [{"dead letters": 1}, {}]
    parts = unpack_fields(running.letter().raw)
    table = dict(zip(parts[0::2], parts[1::2], strict=True))
    assert orjson.loads(table[b"payload"]) == {"prompt": {"chars": 13}}
    assert table[b"metadata"] == b'{"model":"m","z":1}'
    assert table[b"project"].startswith(b"n:")
    assert (table[b"captured_at"], running.letter().state) == (b"noon", "open")


@pytest.mark.parametrize(
    "fields",
    [
        {"payload": b"a long secret", **NO_TIME},
        {"metadata": b"a long secret"},
        {"metadata": b'["a long secret"]'},
        {"metadata": b'{"tool_name":["a long secret"]}'},
        {"payload": b'{"a long secret":' + b"[" * 130 + b"]" * 130 + b"}", **NO_TIME},
    ],
)
def test_scrub_empties_a_letter_that_no_level_can_be_applied_to(
    running: Running, fields: dict[str, bytes]
) -> None:
    """What claims to be ours and cannot be brought down keeps nothing, and stays counted."""
    # Given
    running.deliver(fields_with(event(1), **fields))
    # When it is scrubbed twice
    changed = [running.scrub(), running.scrub()]
    # Then
    assert changed == [{"dead letters": 1}, {}]
    letter = running.letter()
    assert (letter.raw, letter.reason, letter.state) == (b"[]", "forgotten", "dropped")
    assert running.road.writer.letters.counts()["dead_lettered"] == 1


def test_scrub_leaves_a_foreign_letter_as_it_is(running: Running) -> None:
    """What nobody captured was captured at no looser level."""
    # Given
    running.deliver(fields_with(event(1, origin=""), payload=b"any bytes"))
    before = running.letter()
    # When / Then
    assert running.scrub() == {}
    assert running.letter() == before


@pytest.mark.fault("C9")
@pytest.mark.parametrize("raw", ["x'ff'", "'[1]'", "'[\"a\"]'"])
def test_a_damaged_letter_is_emptied_by_whoever_comes_first(running: Running, raw: str) -> None:
    """Fields that nobody can read stop neither forget nor scrub."""
    # Given two damaged letters, of which one is foreign
    for number in (1, 2):
        running.deliver(fields_with(event(number), **NO_TIME))
    running.spoil(f"UPDATE dead_letters SET raw = {raw}")
    one = "(SELECT min(message_id) FROM dead_letters)"
    running.spoil(f"UPDATE dead_letters SET origin = '' WHERE message_id = {one}")
    # When
    changed = running.scrub()
    removed = running.forget(session="nobody")
    # Then scrub has emptied the one of ours, and forget the other
    assert changed == {"dead letters": 1}
    assert removed == {("database", "dead letters"): (1, 0)}
    assert {letter.raw for letter in running.road.commits.letters.all()} == {b"[]"}


#: What one wrong bit, or one wrong byte, makes of a row.
DAMAGE = [
    "event_data = x'ffff'",
    "event_data = x''",
    "event_data = CAST('a long secret' AS TEXT), codec = 0",
    "event_data = CAST(x'ff' AS TEXT)",
    "codec = 9999",
    'codec = 0, event_data = CAST(\'{"metadata":{},"payload":[]}\' AS BLOB)',
    "codec = 0, event_data = CAST('[]' AS BLOB)",
]


@pytest.mark.fault("C9")
@pytest.mark.parametrize("damage", DAMAGE)
def test_scrub_empties_a_row_that_nobody_can_read(running: Running, damage: str) -> None:
    """It stops nothing, is counted by itself, keeps its columns, and is sound afterwards."""
    # Given a row that is damaged, and a sound one
    running.write(event(1, payload={"prompt": "a long secret"}), event(2))
    running.spoil(f"UPDATE traces SET {damage} WHERE sequence = 1")
    # When it is scrubbed twice
    changed = [running.scrub(), running.scrub()]
    # Then
    assert changed == [{"unreadable events": 1}, {}]
    assert running.texts() == [
        '{"metadata":{},"payload":{}}', '{"metadata":{},"payload":{"number":2}}'
    ]  # fmt: skip
    sessions = running.road.commits._connection.execute(
        "SELECT n.text FROM traces t JOIN names n ON n.id = t.session"
    )
    assert sessions.fetchall() == [("session-1",)] * 2


@pytest.mark.fault("C9")
def test_scrub_brings_a_row_down_when_nobody_knows_its_platform(running: Running) -> None:
    """A row whose kind is damaged is in no view, but in the file."""
    # Given
    running.write(event(1, payload={"prompt": "a long secret"}))
    running.spoil("UPDATE traces SET kind = 9999")
    # When / Then
    assert running.scrub() == {"events": 1}
    assert running.texts() == ['{"metadata":{},"payload":{"prompt":{"chars":13}}}']


@pytest.mark.fault("C9")
@pytest.mark.parametrize("damage", DAMAGE)
def test_forget_removes_a_damaged_row_by_its_columns_and_says_which_it_left(
    running: Running, damage: str
) -> None:
    """A row that nobody can read goes with its session; that of another one is said to be there."""
    # Given two damaged rows of two sessions
    running.write(event(1, session_id="s-1"), event(2, session_id="s-2"))
    running.spoil(f"UPDATE traces SET {damage}")
    # When one session is forgotten
    removed, notes = running.forget_in_doubt(session="s-1")
    # Then
    assert removed == {("database", "events"): (1, 0)}
    [note] = notes
    assert note.endswith("nobody can read, and that may name it: 1; `blueplane scrub` empties them")
    # And nothing is said where it cannot matter: of a time, and after it was scrubbed
    assert running.forget(before_ms=1) == {}
    running.scrub()
    assert running.forget(session="s-3") == {}


def test_forget_empties_what_is_no_event_and_names_it(running: Running) -> None:
    """A forged row that says something of a session, and is no JSON, keeps nothing."""
    # Given two of them: nobody looks into what claims to come from a source of ours
    for number, said in enumerate((b"no json, but of s-secret", b"no json")):
        forged = event(number, session_id=f"s-{number}")._replace(payload=said)
        running.road.append_foreign(forged, origin=True)
    wait_until(lambda: running.road.writer.written == 2, WAIT_S, "written")
    # When
    removed, notes = running.forget_in_doubt(session="s-secret")
    # Then
    assert removed == {("database", "mentions by other events"): (1, 0)}
    assert running.texts() == [
        '{"metadata":{},"payload":{}}', '{"metadata":{},"payload":no json}'
    ]  # fmt: skip
    assert len(notes) == 1


@pytest.mark.parametrize(("levels", "what"), [(126, "events"), (127, "unreadable events")])
def test_scrub_brings_down_whatever_may_be_stored_and_no_deeper(
    running: Running, levels: int, what: str
) -> None:
    """A payload with as many levels as one may have is brought down; a forged one is emptied."""
    # Given
    lists = levels - 1
    deep = b'{"prompt":' + b"[" * lists + b'"a long secret"' + b"]" * lists + b"}"
    running.road.append_foreign(event(1)._replace(payload=deep), origin=True)
    wait_until(lambda: running.road.writer.written == 1, WAIT_S, "written")
    # When it is scrubbed twice
    changed = [running.scrub(), running.scrub()]
    # Then
    assert changed == [{what: 1}, {}]
    assert "secret" not in running.texts()[0]


def test_scrub_reads_a_row_of_a_dictionary_that_was_trained_meanwhile(running: Running) -> None:
    """Only what is damaged is emptied: not what came with a dictionary that nobody knew before."""
    # Given a row, and another one with a new dictionary as soon as the first is scrubbed
    running.write(event(1))

    def train(said: Mapping[str, Any]) -> None:
        if said.get("done") == 1:
            commits = running.road.commits
            running.road.writer.ask(lambda: commits.add_dictionary("hook", shipped()[0].data))
            running.write(event(2, payload={"prompt": "number two, which is long" * 9}))

    # When
    answer = running.eraser.scrub(train)
    # Then
    changed = {row["what"]: row["changed"] for row in answer["rows"]}
    assert (changed["events"], changed["unreadable events"]) == (1, 0)
    assert running.texts()[1] == '{"metadata":{},"payload":{"prompt":{"chars":225}}}'


def test_forget_works_without_a_spool(running: Running) -> None:
    """A directory that somebody took away holds nothing, and is made again by others."""
    # Given
    running.write(event(1, "orchard"))
    running.home.spool.rmdir()
    # When / Then
    assert running.eraser.plan(lambda _: None, project="orchard")[2]["count"] == 1
    assert running.forget(project="orchard") == {("database", "events"): (1, 0)}
    running.home.spool.mkdir(mode=0o700)


def test_forget_refuses_a_spool_that_it_cannot_look_into(running: Running) -> None:
    """What may be in there cannot be forgotten, so nothing is claimed."""
    # Given something else in its place
    running.home.spool.rmdir()
    running.home.spool.write_bytes(b"")
    # When / Then
    with pytest.raises(HomeError, match="spool: Not a directory"):
        running.forget(project="orchard")


# --- what was derived ---------------------------------------------------------------------------


def derive(running: Running) -> Desk:
    """Derive from everything that is stored; return the desk that did."""
    desk = Desk.of(running.road.commits, running.road.writer.derive)
    desk.derive()
    return desk


def test_forget_takes_what_was_derived_from_a_session(running: Running) -> None:
    """Its calls, times and sightings go, and what other sessions say of it; the others stay."""
    # Given a session, one that was forked from it, and a sub-agent's
    running.write(
        line(1, "user", uuid="old", session_id="s-1", turn_id="p-1"),
        answer(2, session_id="s-1", project="orchard", tool_use_id="t-1"),
        answer(3, session_id="s-2", project="orchard", payload={"parentUuid": "old"}),
        hook(
            4, "subagentStart", "subagent_start", "cursor", session_id="s-3",
            payload={"parent_conversation_id": "s-1"},
        ),
    )  # fmt: skip
    desk = derive(running)
    # When
    removed = running.forget(session="s-1")
    # Then
    assert removed["database", "figures"] == (4, 0)
    desk.derive()
    left = desk.derived()
    assert [row[1] for row in left["sessions"]] == ["s-2", "s-3"]
    assert b"s-1" not in running.home.database.read_bytes()
    assert (len(left["usage"]), left["witnesses"]) == (1, [])
    assert {row[0] for row in left["session_figures"]} == {"s-2", "s-3"}


def test_forget_takes_what_was_derived_from_a_project(running: Running) -> None:
    """A session of two projects stays, as what was in the other one tells it."""
    # Given
    running.write(
        answer(1, session_id="s-1", project="orchard"),
        answer(2, session_id="s-2", project="orchard", payload={"gitBranch": "b:1"}),
        answer(3, session_id="s-2", project="meadow"),
        answer(4, session_id="s-1"),
    )
    desk = derive(running)
    # When
    removed = running.forget(project="orchard")
    # Then
    assert removed["database", "figures"] == (5, 0)
    desk.derive()
    assert desk.usage("session_id, project") == [("s-2", "meadow")]
    (session,) = desk.derived()["sessions"]
    assert session[1] == "s-2"
    assert session[4:6] == ("meadow", "")
    assert desk.execute("SELECT text FROM labels WHERE kind != 'model'") == [("meadow",)]


def test_forget_takes_what_was_derived_from_before_a_moment(running: Running) -> None:
    """Of a session that goes on after it the later part stays."""
    # Given
    running.write(
        hook(9, "PreToolUse", "tool_start", session_id="old", tool_use_id="t-1", **at(-600)),
        answer(1, session_id="old", **at(-600)),
        answer(2, session_id="both", **at(-60)),
        answer(3, session_id="both", **at(-1)),
        answer(4, session_id="both", tool_use_id="t-2", **at(1)),
    )
    desk = derive(running)
    # When
    removed = running.forget(before_ms=T0_MS)
    # Then
    assert removed["database", "figures"] == (5, 0)
    desk.derive()
    began_ms = T0_MS + 60_000
    assert desk.usage("session_id") == [("both",)]
    assert [row[1:] for row in desk.derived()["stretches"]] == [("both", began_ms, began_ms)]
    assert desk.derived()["witnesses"] == []  # there is no hook that could have seen more
    assert desk.execute("SELECT session_id, started_ms FROM sessions") == [("both", began_ms)]


def talks(desk: Desk) -> set[str]:
    """Return the sessions of which conversations tell."""
    tables = " UNION ".join(f"SELECT session FROM {table}" for table in TABLES.values())
    found = desk.execute(f"SELECT session_id FROM sessions WHERE id IN ({tables})")
    return {row[0] for row in found}


def story(session_id: str) -> list[Event]:
    """Return a conversation as it is stored in full."""
    tell = Teller("full", session_id)
    return [*claude_hooks(tell), *claude_lines(tell)]


@pytest.mark.parametrize("wanted", [{"session": "s-1"}, {"project": "orchard"}], ids=str)
def test_forget_takes_conversations(running: Running, wanted: dict[str, Any]) -> None:
    """Of a session and of a project, prompts and all; and prompts of others that name it."""
    # Given a story in full, and a prompt elsewhere that names what is to go
    other = Teller("full", "s-2")
    running.write(*story("s-1"))
    named = "/orchard/x" if "project" in wanted else "s-1"
    prompt = {"prompt_id": "p-9", "prompt": f"see {named}", "cwd": "/home/ann/meadow"}
    running.write(other.claude(0, "UserPromptSubmit", **prompt))
    desk = derive(running)
    assert talks(desk) == {"s-1", "s-2"}
    # When
    removed = running.forget(**wanted)
    # Then
    desk.derive()
    assert removed["database", "figures"][1] == 0
    assert talks(desk) == {"s-2"}
    data = running.home.database.read_bytes()
    assert (b"fix the test" in data, named.encode() in data) == (False, False)
    said = None if "project" in wanted else "see forgotten"
    assert desk.execute("SELECT prompt FROM conversation_turns") == [(said,)]


def test_forget_takes_conversations_before_a_moment(running: Running) -> None:
    """The second turn of the story stays."""
    # Given
    running.write(*story("s-1"))
    desk = derive(running)
    # When
    removed = running.forget(before_ms=T0_MS + 60_000)
    # Then
    desk.derive()
    assert removed["database", "figures"][1] == 0
    assert desk.execute("SELECT prompt FROM conversation_turns WHERE prompt_chars = 11") == [
        ("look around",)
    ]
    assert b"fix the test" not in running.home.database.read_bytes()
    assert len(desk.execute("SELECT * FROM tool_calls")) == 3


def test_scrub_takes_the_texts_of_conversations(running: Running) -> None:
    """What prompts said, and how agents are called; lengths and everything else stay."""
    # Given
    tell = Teller("full")
    running.write(
        *claude_hooks(tell), tell.claude(70, "SubagentStart", agent_id="a2", agent_type="my-own")
    )
    desk = derive(running)
    calls = desk.derived()["tool_calls"]
    # When
    changed = running.scrub()
    # Then
    assert changed["figures"] == 4
    desk.derive()
    data = running.home.database.read_bytes()
    assert (b"fix the test" in data, b"my-own" in data) == (False, False)
    assert desk.execute(
        "SELECT prompt, prompt_chars, prompt_words FROM conversation_turns ORDER BY prompt_ms"
    ) == [(None, 12, None), (None, 11, None)]
    assert desk.derived()["tool_calls"] == calls
    # and a replay of what is left says the same
    desk.derive()
    before = desk.derived()
    desk.begin_again(emptied=True)
    desk.derive()
    assert desk.derived() == before


def test_forget_takes_letters_of_workers_with_their_rows(running: Running) -> None:
    """They say which event it was."""
    # Given
    running.write(answer(1, session_id="s-1"), answer(2, session_id="s-2"))
    running.spoil("UPDATE traces SET codec = 1, event_data = x'00'")
    derive(running)
    assert len(list(running.road.commits.letters.all())) == 2 * len(Desk.READERS)
    # When
    running.forget_in_doubt(session="s-1")
    # Then
    assert len(list(running.road.commits.letters.all())) == len(Desk.READERS)


def test_scrub_renames_what_was_derived(running: Running) -> None:
    """Projects and branches in clear get the names that events have at this level."""
    # Given figures of a level that kept both in clear
    running.write(
        event(1, "orchard", {"gitBranch": "fix-ann", "message": {"id": "m"}}, hook_type="assistant",
              platform="claude_code", source="transcript", metadata=b'{"input_tokens":3}'),
    )  # fmt: skip
    desk = derive(running)
    assert desk.usage("project, branch") == [("orchard", "fix-ann")]
    # When
    changed = running.scrub()
    # Then
    assert changed["figures"] == 2
    desk.derive()
    ((project, branch),) = desk.usage("project, branch")
    assert (project[:2], branch[:2]) == ("n:", "b:")
    # and a replay of the scrubbed rows gives the same names
    desk.derive()
    before = desk.derived()
    desk.begin_again(emptied=True)
    desk.derive()
    assert desk.derived() == before
    assert "figures" not in running.scrub()


# --- a word in every text -------------------------------------------------------------------------


class Planter(Teller):
    """Tells a story in full with another word in every text of every payload.

    ``sparing`` leaves those alone without which nobody would know what is told.
    """

    _MEANINGS = frozenset({"type", "subtype", "source", "status", "name", "subagent_type"})

    def __init__(self, session_id: str, *, sparing: bool) -> None:
        super().__init__("full", session_id)
        self._spared = frozenset({"sessionId", "timestamp", "uuid", "hook_event_name"})
        self._spared |= {"session_id", "conversation_id", "cursor_version"}
        self._spared |= self._MEANINGS if sparing else frozenset()
        self.words: list[str] = []

    def plant(self, value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: self.plant(item, name) for name, item in value.items()}
        if isinstance(value, list):
            return [self.plant(item, key) for item in value]
        if not isinstance(value, str) or key in self._spared:
            return value
        self.words.append(f"zq{self.session_id}{len(self.words)}x")
        return f"{value} {self.words[-1]}"

    def _hook(self, second: float, platform: str, name: str, body: dict[str, Any]) -> Event:
        return super()._hook(second, platform, name, self.plant(body))

    def line(self, second: float, kind: str, **fields: Any) -> Event:
        own = {"cwd": HOME, "uuid": f"{self.session_id}-{second}-{len(self.words)}"}
        return super().line(second, kind, **self.plant({**own, **fields}))

    def meta(self, agent: str, **fields: Any) -> Event:
        return super().meta(agent, **self.plant(fields))

    def found(self, thing: Found) -> Event:
        texts = {name: self.plant(getattr(thing, name)) for name in ("turn_id", "tool_use_id")}
        columns = self.plant(dict(thing.columns))
        return super().found(replace(thing, body=self.plant(thing.body), columns=columns, **texts))


def planted() -> tuple[list[Event], list[str]]:
    """Tell the story in all ways, and return what was planted."""
    tellers = [Planter(f"s{number}", sparing=number < 2) for number in range(4)]
    events = [
        event
        for claude, cursor in (tellers[:2], tellers[2:])
        for event in (
            *claude_hooks(claude), *claude_lines(claude), *cursor_hooks(cursor),
            *cursor_rows(cursor),
            claude.claude(9, "SessionEnd", reason="other"),
            cursor.cursor(9, "subagentStart", parent_conversation_id="a parent"),
        )
    ]  # fmt: skip
    once = {event.event_id: event for event in events}  # both stories have the same sub-agent
    named = [event._replace(origin=f"t:f:{n}:1") for n, event in enumerate(once.values())]
    return named, [word for teller in tellers for word in teller.words]


def left_of(running: Running, desk: Desk, words: list[str]) -> list[str]:
    """Return the words that are in a row, in a derived table, or anywhere in the file."""
    labels = desk.execute("SELECT text FROM labels UNION SELECT text FROM names")
    files = [running.home.database.with_name(f"telemetry.db{end}") for end in ("", "-wal")]
    text = repr((running.texts(), desk.derived(), labels))
    data = b"".join(file.read_bytes() for file in files if file.exists())
    return [word for word in words if word in text or word.encode() in data]


def test_scrub_leaves_no_word_of_any_text_in_any_table(running: Running) -> None:
    """From full to strict nothing that a person may have written stays, wherever it was put."""
    # Given a word in every text of hooks, transcripts and databases
    events, words = planted()
    running.write(*events)
    desk = derive(running)
    assert len(left_of(running, desk, words)) > len(words) // 2
    # When
    running.scrub()
    # Then it is neither there nor after everything is derived again
    assert left_of(running, desk, words) == []
    desk.derive()
    assert left_of(running, desk, words) == []
    before = desk.derived()
    desk.begin_again(emptied=True)
    desk.derive()
    assert desk.derived() == before


def test_scrub_leaves_no_word_in_what_was_derived_of_rows_that_are_gone(running: Running) -> None:
    """What retention has removed cannot be derived again: its figures stay, their texts do not."""
    # Given figures of rows that were too old
    events, words = planted()
    running.write(*events)
    desk = derive(running)
    calls = desk.usage()
    running.spoil("DELETE FROM traces")
    running.spoil(f"INSERT INTO custody_totals VALUES ('rows.expired', {len(events)})")
    assert len(left_of(running, desk, words)) > 10
    # When
    running.scrub()
    desk.derive()
    # Then
    assert left_of(running, desk, words) == []
    assert desk.usage("input_tokens, output_tokens") == calls
    assert desk.execute("SELECT kind FROM labels WHERE text = ''") == []
    assert running.scrub() == {}
