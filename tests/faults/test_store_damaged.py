"""The database cannot be read any more: it is set aside, never deleted, and events go on."""

import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from blueplane.config import load
from blueplane.errors import BlueplaneError, StoreBrokenError, StoreError
from blueplane.interfaces.cli.survey import survey
from blueplane.paths import Home
from blueplane.pipeline.checking import Checker
from blueplane.pipeline.commits import Commits
from blueplane.store.damage import find_damage
from blueplane.store.queries import reading
from helpers.issued import Issued
from helpers.nursery import Nursery
from helpers.redis_server import RedisServer
from helpers.road import database_file, make_event, make_row
from helpers.server import Server
from helpers.waiting import wait_until

PATIENCE_S = 30.0
BEFORE, LATER = 20, 5
FLIPS = 200
PAGE = 4096


def live_a_day(server: Server, issued: Issued, redis: RedisServer) -> int:
    """Have a server write some events and end; return how many."""
    server.start_ready()
    issued.issue(BEFORE)
    issued.settle(server, redis)
    return len(issued.ids)


def spoil(path: Path, *pages: int) -> None:
    """Overwrite pages of a database."""
    with path.open("r+b") as file:
        for page in pages:
            file.seek(page * PAGE)
            file.write(b"rubbish!" * (PAGE // 8))


def incidents(issued: Issued) -> list[tuple[Any, ...]]:
    """Return kind and count of each incident."""
    return issued.select("SELECT kind, count FROM incidents WHERE colour IS NULL ORDER BY id")


def problems(home: Home) -> list[str]:
    """Return what ``status`` says is wrong."""
    found: list[str] = survey(home, load(home, {}))["problems"]
    return found


@pytest.mark.fault("C8")
@pytest.mark.parametrize("content", ["header", "text"])
def test_a_damaged_database_is_set_aside_when_the_server_starts(
    server: Server, issued: Issued, redis_server: RedisServer, content: str
) -> None:
    """The damaged file is kept, a new one begun, and what was in it is lost, named and shown."""
    # Given a database whose header is damaged, or that is no database at all
    gone = live_a_day(server, issued, redis_server)
    assert server.stop() == 0
    database = issued.home.database
    if content == "text":
        database.write_bytes(b"a letter to my aunt\n" * 1_000)
    else:
        spoil(database, 0)
    damaged = database.read_bytes()
    # When a server starts / Then it takes events
    server.start_ready()
    issued.ids = []
    issued.issue(LATER)
    assert issued.settle(server, redis_server)["lost"] == gone
    # and the damaged file is there, byte for byte
    (aside,) = issued.home.root.glob("telemetry.db.damaged-*Z")
    assert aside.read_bytes() == damaged
    # and it is said in the log, among the incidents and by status
    assert incidents(issued) == [("store_damaged", gone)]
    assert "ERROR store damaged" in server.log()
    assert any("damaged" in each and f"{gone} rows" in each for each in problems(issued.home))
    # When it starts again / Then there is no more to say
    server.stop()
    server.start_ready()
    assert issued.settle(server, redis_server)["lost"] == gone
    assert len(incidents(issued)) == 1


@pytest.mark.fault("C8")
def test_the_server_ends_in_one_line_when_a_damaged_database_must_not_be_replaced(
    home: Home, issued: Issued, redis_server: RedisServer, nursery: Nursery
) -> None:
    """With store.on_damage stop a server ends with 4 and touches nothing, at start and later."""
    settings = {"BLUEPLANE_STORE_ON_DAMAGE": "stop"}
    with Server(home, redis_server, nursery, **settings) as server:
        # Given a running server
        live_a_day(server, issued, redis_server)
        # When its database is damaged while it runs
        checkpoint(home)
        spoil(home.database, *range(pages(home)))
        issued.issue(LATER)
        # Then it ends by itself, and what it could not write is where it was
        assert server.wait(PATIENCE_S) == 4
        assert len(issued.spool()) >= LATER
        # When it is started again / Then it ends, too
        server.output.unlink()
        server.start()
        assert server.wait(PATIENCE_S) == 4
        said = server.output.read_text().strip()
        assert len(said.splitlines()) == 1
        assert str(home.database) in said
        assert "store.on_damage" in said
        assert not list(home.root.glob("*.damaged-*"))


def checkpoint(home: Home) -> None:
    """Move everything into the database itself."""
    with closing(sqlite3.connect(home.database, timeout=20)) as connection:
        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0


def pages(home: Home) -> int:
    """Return how many pages the database has."""
    return home.database.stat().st_size // PAGE


@pytest.mark.fault("C8")
@pytest.mark.parametrize("part", ["all", "index"])
def test_a_database_is_replaced_in_place_when_it_is_damaged_while_the_server_runs(
    server: Server, issued: Issued, redis_server: RedisServer, part: str
) -> None:
    """The writer sets it aside, begins a new one, and writes what was in hand into that one."""
    # Given a running server, and a database under it that is rubbish, or has one page of it
    gone = live_a_day(server, issued, redis_server)
    checkpoint(issued.home)
    ((page,),) = issued.select(
        "SELECT rootpage - 1 FROM sqlite_master WHERE name = 'sqlite_autoindex_traces_1'"
    )
    spoil(issued.home.database, *(range(pages(issued.home)) if part == "all" else [page]))
    # When events come / Then they are in a new database
    issued.ids = []
    later = set(issued.issue(LATER))

    def there() -> bool:
        try:
            return later <= set(issued.rows())
        except sqlite3.DatabaseError:
            return False

    wait_until(there, PATIENCE_S, "rows in a new database")
    assert issued.settle(server, redis_server)["lost"] == gone
    assert incidents(issued) == [("store_damaged", gone)]
    assert len(list(issued.home.root.glob("telemetry.db.damaged-*Z"))) == 1
    assert server.status()["deaths"] == 0


@pytest.mark.fault("C8")
@pytest.mark.parametrize(
    "table", ["schema_version", "dictionaries", "custody_totals", "cursors", "sqlite_sequence"]
)
def test_a_database_is_set_aside_when_a_table_that_every_start_reads_is_damaged(
    tmp_path: Path, table: str
) -> None:
    """Whichever page the opening stumbles over, it ends in a new database or in one line."""
    # Given a database with one damaged page
    path = database_file(tmp_path)
    commits = Commits(path)
    commits.write([make_row(commits, make_event())])
    commits.close()
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute(
            "SELECT rootpage - 1 FROM sqlite_master WHERE name = ?", [table]
        ).fetchone()
    spoil(path, page)
    # When it is opened by whoever must not replace it / Then it is refused
    with pytest.raises(StoreBrokenError, match=str(path)):
        Commits(path)
    # When by the server / Then it is set aside
    commits = Commits(path, replace=True)
    assert len(commits.write([make_row(commits, make_event())]).written) == 1
    assert commits.ledger.totals()["messages.written"] == 1
    commits.close()
    assert len(list(tmp_path.glob("*.damaged-*Z"))) == 1


class AtOnce:
    """What a checker needs of the writer: it does at once what it is asked."""

    def __init__(self, commits: Commits) -> None:
        self.commits = commits

    def ask(self, work: Callable[[], None]) -> None:
        """Do it."""
        work()


@pytest.mark.fault("C9")
def test_damage_is_shown_when_the_daily_check_finds_it(home: Home) -> None:
    """What a check finds is an incident that status shows; the database goes on to be used."""
    # Given a database with a damaged page, and a checker whose time has come
    commits = Commits(home.database)
    commits.write([make_row(commits, make_event(n)) for n in range(500)])
    commits.close()
    with closing(sqlite3.connect(home.database)) as connection:
        page = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'traces_session'"
        ).fetchone()[0]
    spoil(home.database, page - 1)
    commits = Commits(home.database)

    checker = Checker(home.database, AtOnce(commits))  # type: ignore[arg-type]
    # When it checks twice within a day
    checker.check()
    checker.check()
    # Then it is recorded once, and shown
    commits.close()
    with reading(home.database) as reader:
        (incident,) = reader.incidents(0)
    assert (incident["kind"], incident["count"]) == ("store_damaged", 0)
    assert any(str(home.database) in each for each in problems(home))


@pytest.mark.fault("C9")
def test_no_flipped_bit_makes_the_store_crash_or_loop(tmp_path: Path) -> None:
    """Of 200 databases with one wrong bit each is read and written, refused, or set aside."""
    # Given a database with rows, and its copies with one bit flipped
    sound = database_file(tmp_path)
    commits = Commits(sound)
    commits.write([make_row(commits, make_event(n)) for n in range(300)])
    commits.close()
    chooser = random.Random(13)
    ends = {"used": 0, "refused": 0, "set aside": 0}
    for number in range(FLIPS):
        path = tmp_path / str(number) / "telemetry.db"
        path.parent.mkdir()
        shutil.copy(sound, path)
        flip(path, choose_bit(chooser, path.stat().st_size))
        # When it is opened, written, read and checked / Then whatever is raised is one of ours
        ends[use(path)] += 1
        shutil.rmtree(path.parent)
    assert sum(ends.values()) == FLIPS
    assert ends["used"], ends
    assert ends["set aside"], ends


def choose_bit(chooser: random.Random, size: int) -> int:
    """Choose a bit: in the schema, in the head of a page, or anywhere, where few are noticed."""
    page = chooser.randrange(size // PAGE)
    place = chooser.choice(
        [chooser.randrange(PAGE), page * PAGE + chooser.randrange(16), chooser.randrange(size)]
    )
    return place * 8 + chooser.randrange(8)


def flip(path: Path, bit: int) -> None:
    """Flip one bit of a file."""
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def use(path: Path) -> str:
    """Do with a database what the server does; return how it ended."""
    try:
        commits = Commits(path, replace=True)
    except StoreError:
        return "refused"
    try:
        write(commits)
        look(path)
        find_damage(path, PATIENCE_S)
        return "set aside" if list(path.parent.glob("*.damaged-*")) else "used"
    finally:
        commits.close()


def write(commits: Commits) -> None:
    """Write rows as the writer does: what SQLite calls damaged is opened anew, once."""
    events = [make_event(number) for number in range(290, 310)]
    with suppress(StoreError):
        try:
            commits.write([make_row(commits, event) for event in events])
        except StoreBrokenError:
            commits.reopen()
            commits.write([make_row(commits, event) for event in events])


def look(path: Path) -> None:
    """Read what the commands read."""
    for number in range(295, 300):
        try:
            with reading(path) as reader:
                for row in reader.traces("event_id", make_event(number).event_id.hex()):
                    reader.event_data(row["sequence"])
                reader.traces("session_id", "session-1")
                reader.settled([make_event(number)])
                reader.sources()
                reader.balance()
        except BlueplaneError:
            continue
