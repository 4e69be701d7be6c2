"""``blueplane doctor`` as a user runs it: with and without a server, a home, and settings."""

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from blueplane.errors import StoreError
from blueplane.lock import ServerLock
from blueplane.paths import Home
from helpers.cli import Ended
from helpers.impostor import Impostor
from helpers.redis_server import missing
from helpers.server import environment
from helpers.smallfs import SmallFs
from helpers.user import User, user
from helpers.waiting import wait_until

NOBODY = 65534
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    """Give a user who has installed us, with a server that runs, for tests that change nothing."""
    with (
        free_port() as port,
        user(
            tmp_path_factory.mktemp("somebody") / "ada", BLUEPLANE_HTTP_PORT=str(port)
        ) as somebody,
    ):
        assert somebody.run("install", "--yes").code == 0
        yield somebody


class free_port:  # noqa: N801 - it reads as a word
    """A port that nobody has."""

    def __enter__(self) -> int:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            return int(listener.getsockname()[1])

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""


def levels(ended: Ended) -> dict[str, str]:
    """Return the level of each row."""
    return {row["id"]: row["level"] for row in ended.json["rows"]}


def fails(ended: Ended) -> set[str]:
    """Return the rows that fail."""
    return {name for name, level in levels(ended).items() if level == "fail"}


def test_everything_is_well_when_it_was_just_installed(installed: User) -> None:
    """With a real server no row fails; --canary adds its row."""
    # Given a user who has just installed / When
    ended = installed.run("doctor", "--format", "json")
    flown = installed.run("doctor", "--canary", "--format", "json")
    # Then
    assert (ended.code, flown.code) == (0, 0), ended.out
    found = levels(ended)
    for row in ("server.identity", "http.identity", "network.listening", "network.outbound",
                "redis.server", "redis.access", "cursor.fires", "claude.fires", "program.links",
                "custody.events"):  # fmt: skip
        assert found[row] == "ok", ended.out
    assert levels(flown).keys() - found.keys() == {"road.canary"}
    assert levels(flown)["road.canary"] == "ok"


def test_nothing_is_captured_when_hooks_are_fired(installed: User) -> None:
    """However often the doctor fires the hooks, no event comes of it."""
    # Given what was captured so far
    installed.run("status")
    before = balance(installed.home)
    # When
    for _ in range(2):
        assert installed.run("doctor", "--only", "cursor", "--only", "claude").code == 0
    # Then
    installed.run("status")
    assert balance(installed.home) == before
    assert [*installed.home.quarantine.iterdir()] == []


def balance(home: Home) -> dict[str, int]:
    """Return what became of events, as it was stored last."""
    with closing(sqlite3.connect(home.database)) as connection:
        (text,) = connection.execute("SELECT body FROM balance").fetchone()
    found: dict[str, int] = json.loads(text)["events"]
    return found


def test_rows_are_shown_to_people_when_nobody_asks_for_json(installed: User) -> None:
    """A row has its id, its level, evidence and, where there is one, a command."""
    # Given / When
    ended = installed.run("doctor", "--only", "server", "--only", "spool.waiting")
    # Then
    title, *rows, caption = ended.out.splitlines()
    assert title.split() == ["check", "evidence", "what", "helps"]
    assert [row.split()[:2] for row in rows] == [
        ["server.running", "ok"], ["server.identity", "ok"], ["spool.waiting", "ok"]
    ]  # fmt: skip
    assert caption.startswith("3 checks in ")


def test_a_check_that_is_none_is_refused_when_it_is_asked_for(installed: User) -> None:
    """The nearest is named."""
    ended = installed.run("doctor", "--only", "spoool.waiting")
    assert ended.code == 2
    assert "did you mean spool.waiting?" in ended.err


# --- without --------------------------------------------------------------------------------------


@pytest.fixture
def somebody(tmp_path: Path) -> Iterator[User]:
    """Give a user who has installed us without a server."""
    with user(tmp_path / "ada") as somebody:
        assert somebody.run("install", "--yes", "--no-service").code == 0
        yield somebody


def test_only_the_server_fails_when_it_is_dead_and_fix_starts_it(somebody: User) -> None:
    """A dead server is one row, and --fix starts it."""
    # Given no server
    # When / Then
    ended = somebody.run("doctor", "--format", "json")
    assert ended.code == 1
    assert fails(ended) == {"server.running"}
    # And when it may mend
    mended = somebody.run("doctor", "--fix", "--format", "json")
    # Then it says what it did, and all is well
    assert mended.json["fixed"] == [
        {"id": "server.running", "what": "started the server", "trouble": None}
    ]
    assert mended.code == 0, mended.out
    assert somebody.run("doctor").code == 0


def test_only_one_row_fails_when_the_server_hangs(somebody: User) -> None:
    """Whoever holds the lock and does not answer is given up, and costs one row."""
    # Given a process that holds the lock, and a socket that nobody reads
    lock = ServerLock(somebody.home)
    lock.take()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(somebody.home.control_socket))
        somebody.home.control_socket.chmod(0o600)
        silent.listen()
        # When
        ended = somebody.run("doctor", "--format", "json")
    lock.release()
    # Then
    assert fails(ended) == {"server.running"}


@pytest.mark.fault("B14")
def test_redis_is_blamed_when_it_hangs(tmp_path: Path) -> None:
    """A Redis that is stopped is one row, and the server that waits for it is well."""
    with user(tmp_path / "ada") as somebody:
        # Given a server whose private Redis answers nobody
        assert somebody.run("install", "--yes").code == 0
        try:
            # When the doctor looks, before the server itself gives it up
            signal_redis(somebody, signal.SIGSTOP)
            ended = somebody.run("doctor", "--format", "json")
            # Then
            assert fails(ended) == {"redis.server"}, ended.out
            assert "does not answer" in ended.out
            # And `status`, once it is quicker than the server, says what it could not learn
            wait_until(lambda: status_lacks_balance(somebody), PATIENCE_S, "`status` says so")
        finally:
            signal_redis(somebody, signal.SIGCONT)


def signal_redis(somebody: User, number: int) -> None:
    """Send a signal to the Redis that the server has by now, if it has one."""
    with suppress(OSError):
        os.kill(int((somebody.home.redis / "pid").read_text()), number)


def status_lacks_balance(somebody: User) -> bool:
    """Freeze Redis; return whether `status` says that there is no new balance, and no trouble."""
    signal_redis(somebody, signal.SIGSTOP)
    status = somebody.run("status", "--format", "json").json
    quick: bool = status["server"]["trouble"] is None
    return quick and any("no new balance" in note for note in status["notes"])


def test_rows_are_there_when_the_configuration_is_broken(somebody: User) -> None:
    """What needs the settings is skipped, the rest is looked at."""
    # Given
    (somebody.home.root / "config.yaml").write_text("redis: [\n")
    (somebody.home.root / "config.yaml").chmod(0o600)
    # When
    ended = somebody.run("doctor", "--format", "json")
    # Then
    assert ended.code == 1
    assert fails(ended) == {"server.running", "config.valid"}
    assert levels(ended)["redis.server"] == "skip"
    assert levels(ended)["cursor.fires"] == "ok"


@pytest.mark.fault("F10")
@pytest.mark.parametrize("name", [None, "", "relative/home", "/gone", "/dev/null"])
def test_rows_are_there_when_there_is_no_home(somebody: User, name: str | None) -> None:
    """Without a home, or with one that is none, there are rows, and no file is made anywhere."""
    # Given somebody whose HOME is no directory
    variables = somebody.environment(PYTHONPATH=str(somebody.source))
    variables.pop("HOME")
    if name is not None:
        variables["HOME"] = name
    # When
    ended = subprocess.run(
        [sys.executable, "-m", "blueplane", "doctor", "--format", "json"],
        env=variables, cwd=somebody.directory, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    # Then
    assert (ended.returncode, ended.stderr) == (1, "")
    found = levels(Ended(ended.returncode, ended.stdout, ended.stderr))
    assert {row for row, level in found.items() if level == "fail"} == {"home.directory"}
    assert not (somebody.directory / "relative").exists()


AS_NOBODY = f"""
import os, sys
from blueplane.interfaces.cli import doctor, main, output, drawing
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
sys.exit(main.main())
"""


@pytest.mark.fault("G5")
@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_nothing_is_left_behind_when_the_home_is_another_users(
    somebody: User, tmp_path: Path, mode: int
) -> None:
    """In a home of somebody else there are rows, and no file is made in it."""
    if os.geteuid() != 0:
        missing("right to become another user (root)")
    # Given a home that nobody may not enter, or may
    place = Path(shutil.copytree(somebody.home.root, tmp_path / "copy" / "home"))
    for directory in (place, *place.parents):
        if directory.is_relative_to(tmp_path.parent):
            directory.chmod(0o755)
    place.chmod(mode)
    before = sorted(place.rglob("*"))
    # When nobody asks the doctor about it
    command = [sys.executable, "-c", AS_NOBODY, "doctor", "--format", "json", "--home", str(place)]
    ended = subprocess.run(
        command, env={**environment(), "HOME": "/nonexistent"}, cwd="/", capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    # Then
    assert (ended.returncode, ended.stderr) == (1, "")
    assert fails(Ended(ended.returncode, ended.stdout, "")) == {"home.directory"}
    assert sorted(place.rglob("*")) == before


@pytest.mark.fault("C16")
def test_a_read_only_file_system_is_named_when_the_database_is_on_it(tmp_path: Path) -> None:
    """The row says so, and no row has a traceback."""
    # Given a home on a file system that became read-only
    with SmallFs(tmp_path / "disk", 32) as disk, user(disk.directory / "ada") as somebody:
        assert somebody.run("install", "--yes", "--no-service").code == 0
        disk.protect(on=True)
        # When
        ended = somebody.run("doctor", "--format", "json")
        # Then
        found = {row["id"]: row for row in ended.json["rows"]}
        assert ended.code == 1
        assert found["database.file"]["level"] == "fail"
        assert "read-only" in found["database.file"]["evidence"]
        assert fails(ended) <= {"database.file", "server.running", "home.directory",
                                "spool.taking"}  # fmt: skip
        disk.protect(on=False)


@pytest.mark.fault("G5")
def test_root_leaves_nothing_behind_when_the_home_is_a_users(
    somebody: User, tmp_path: Path
) -> None:
    """Root may look into every home; a file of root's in it would keep its owner's server out."""
    if os.geteuid() != 0:
        missing("right to give files away (root)")
    # Given a home of nobody's
    place = Path(shutil.copytree(somebody.home.root, tmp_path / "copy" / "home"))
    for path in (place, *place.rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    before = sorted(place.rglob("*"))
    # When root asks the doctor about it
    ended = somebody.run("doctor", "--format", "json", "--home", str(place))
    # Then
    assert fails(ended) == {"home.directory"}
    assert sorted(place.rglob("*")) == before


# --- who answers ----------------------------------------------------------------------------------


@pytest.mark.fault("G6")
def test_an_impostor_is_told_when_no_server_runs(somebody: User) -> None:
    """Whoever has the port or the socket while we are down is named, and gets no secret."""
    # Given strangers on the port and on the control socket
    token = somebody.home.run / "token"
    token.write_text("ab" * 32)
    token.chmod(0o600)
    page = b'HTTP/1.1 200 OK\r\n\r\n{"status":"alive","proof":"' + b"00" * 64 + b'"}'
    with (
        socket.create_server(("127.0.0.1", 0)) as port,
        socket.socket(socket.AF_UNIX) as path,
    ):
        path.bind(str(somebody.home.control_socket))
        somebody.home.control_socket.chmod(0o600)
        path.listen()
        web, control = Impostor(port, page), Impostor(path, b'{"ok":"00"}\n')
        # When
        ended = somebody.run(
            "doctor", "--format", "json", BLUEPLANE_HTTP_PORT=str(port.getsockname()[1])
        )
    # Then
    assert fails(ended) == {"server.running", "server.identity"}
    assert levels(ended)["http.identity"] == "warn"
    assert web.heard
    assert b"ab" * 32 not in web.heard + control.heard


# --- the report -----------------------------------------------------------------------------------


def test_a_report_is_shown_and_written_when_the_answer_is_yes(
    installed: User, tmp_path: Path
) -> None:
    """It has the rows, no name, path or password, and is 0600; without a yes there is none."""
    # Given a user with a password in their settings
    path = tmp_path / "report.json"
    secret = {"BLUEPLANE_REDIS_URL": "redis://:sesame@127.0.0.1:1/0", "USER": "ada"}
    # When the answer is no / Then nothing is written
    refused = installed.run("doctor", "--bundle", str(path), stdin="n\n", **secret)
    assert refused.code == 1
    assert not path.exists()
    # When it is yes
    written = installed.run("doctor", "--bundle", str(path), stdin="y\n", **secret)
    # Then what was shown is what was written
    text = path.read_text()
    assert written.out.startswith(text)
    assert path.stat().st_mode & 0o777 == 0o600
    report = json.loads(text)
    assert len(report["rows"]) > 40
    for word in ("sesame", str(installed.directory), socket.gethostname()):
        assert word not in text
    assert re.search(r"\bada\b", text) is None
    # And a user whose name is a word of ours makes no row unknown
    other = str(tmp_path / "named.json")
    named = installed.run("doctor", "--bundle", other, "--yes", USER="home").out
    assert {row["id"] for row in json.loads(named)["rows"]} >= {"home.links", "home.location"}
    # And nobody's file is replaced
    again = installed.run("doctor", "--bundle", str(path), "--yes")
    assert again.code == 4
    assert path.read_text() == text


# --- recovering -----------------------------------------------------------------------------------


@pytest.mark.fault("C8")
def test_a_damaged_database_is_recovered_when_it_is_the_homes_own(somebody: User) -> None:
    """What can be read is the home's database again; the damaged one is kept."""
    # Given a server that wrote something, and a header that is lost since
    assert somebody.run("serve", "--once").code == 0
    database = somebody.home.database
    rows = count(database)
    assert rows
    damaged = b"x" * 100 + database.read_bytes()[100:]
    database.write_bytes(damaged)
    assert fails(somebody.run("doctor", "--format", "json")) >= {"database.pages"}
    # When
    ended = somebody.run("doctor", "--recover", "--format", "json")
    # Then
    assert ended.code == 0
    assert ended.json["installed"]
    assert count(database) == rows
    assert Path(ended.json["damaged"]).read_bytes() == damaged
    assert database.stat().st_mode & 0o777 == 0o600
    # And nothing more is to be recovered, and a server goes on with it
    assert fails(somebody.run("doctor", "--format", "json")) == {"server.running"}
    assert somebody.run("doctor", "--recover").code == 1
    assert somebody.run("serve", "--once").code == 0
    assert count(database) == rows + 1


@pytest.mark.fault("C8")
def test_a_database_that_was_set_aside_is_recovered_beside_the_present_one(somebody: User) -> None:
    """The present database stays, and `forget` finds what was recovered by its name."""
    # Given a damaged database beside a good one
    assert somebody.run("serve", "--once").code == 0
    database = somebody.home.database
    aside = database.with_name("telemetry.db.damaged-20261120T061635123Z")
    aside.write_bytes(database.read_bytes())
    aside.chmod(0o600)
    present = database.read_bytes()
    # When
    ended = somebody.run("doctor", "--recover", "--format", "json")
    # Then
    assert not ended.json["installed"]
    assert ended.json["path"] == f"{aside}.recovered"
    assert database.read_bytes() == present
    assert count(Path(ended.json["path"])) == count(database)
    assert levels(somebody.run("doctor", "--format", "json"))["database.set_aside"] == "ok"


@pytest.mark.fault("C8")
def test_nothing_is_replaced_when_a_server_runs_or_nothing_can_be_read(somebody: User) -> None:
    """A damaged database is left to a server that runs; one that holds nothing is said to."""
    # Given a server, and a damaged database
    database = somebody.home.database
    database.write_bytes(b"a letter to my aunt\n" * 1000)
    lock = ServerLock(somebody.home)
    lock.take()
    # When / Then
    ended = somebody.run("doctor", "--recover")
    assert ended.code == 3
    assert ended.err.count("\n") == 1
    assert database.exists()
    # And without one
    lock.release()
    ended = somebody.run("doctor", "--recover")
    assert ended.code == StoreError.exit_code
    assert ended.err.count("\n") == 1
    (aside,) = somebody.home.root.glob("telemetry.db.damaged-*")
    assert aside.read_bytes().startswith(b"a letter")


def count(database: Path) -> int:
    """Return how many events there are."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM raw_traces").fetchone()[0])
