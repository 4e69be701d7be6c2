"""Links that somebody planted where our files are: what they lead to stays as it is."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from blueplane.paths import Home, private_touch
from helpers.issued import SCRIPT, Issued
from helpers.nursery import Nursery
from helpers.redis_server import RedisServer
from helpers.server import Server, environment
from helpers.waiting import wait_until

PATIENCE_S = 30.0
REFUSED = (2, 4)
#: Time of a file that is set aside, and so a part of its name there.
OLD_NS = 1_795_150_000_000_000_000
#: A hand-off file that is somebody else's: its session must not become a row.
THEIRS = b'{"session_id": "theirs"}\n\x1eclaude_code Stop\n'

Plant = Callable[[Path, Path], None]
plants = pytest.mark.parametrize("plant", [os.symlink, os.link], ids=["symlink", "hard link"])


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Give a file of somebody else's, readable by all."""
    path = tmp_path / "target"
    path.write_bytes(THEIRS)
    path.chmod(0o644)
    os.utime(path, ns=(OLD_NS, OLD_NS))
    return path


def looks(path: Path) -> tuple[bytes, int, int]:
    """Return what must not change of a file."""
    found = path.stat()
    return path.read_bytes(), stat.S_IMODE(found.st_mode), found.st_mtime_ns


def hook(home: Home) -> None:
    """Run the hook; it must be silent, whatever is planted."""
    ended = subprocess.run(
        ["sh", str(SCRIPT), "claude_code", "Stop"],
        input=b"{}", env={"BLUEPLANE_HOME": str(home.root)}, capture_output=True,
        timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


@pytest.mark.fault("G9")
@plants
def test_server_goes_on_when_links_are_where_its_files_will_be(
    home: Home, issued: Issued, target: Path, plant: Plant, nursery: Nursery
) -> None:
    """Flags, sockets, pid files and logs replace a link; none is written through."""
    # Given links in every place that the server or its Redis makes anew
    places = [
        *(home.run / name for name in ("lease", "refused", "control.sock", "redis.sock")),
        *(home.redis / name for name in ("pid", "temp-1.aof")),
        *(home.logs / name for name in ("redis.log", "redis.log.1", "server.log.1")),
        home.quarantine / f"{OLD_NS}-9.9.9",
    ]
    for place in places:
        plant(target, place)
    bad = home.spool / "9.9.9"
    bad.write_bytes(b"no json\n\x1eclaude_code Stop\n")
    os.utime(bad, ns=(OLD_NS, OLD_NS))
    before = looks(target)
    with Server(home, nursery=nursery) as server:
        # When a server runs, sets a file aside, and a hook is refused
        server.start_ready()
        wait_until(lambda: not bad.exists(), PATIENCE_S, "the bad file is set aside")
        (home.run / "paused").touch()
        hook(home)
        (home.run / "paused").unlink()
        issued.issue(5)
        balance = issued.settle(server, None)
        assert server.stop() == 0
    # Then everything is written, and what the links lead to is as it was
    assert balance["events"]["quarantined"] == 1
    assert looks(target) == before
    kept = (home.quarantine / f"{OLD_NS}-9.9.9").read_bytes()
    assert kept == b"no json\n\x1eclaude_code Stop\n"


@pytest.mark.fault("G9")
def test_hook_notes_no_refusal_through_a_link(home: Home, target: Path) -> None:
    """Without a server the hook itself leaves alone what a link in the place of its tally names."""
    # Given a tally that is a link, and a reason to refuse
    (home.run / "refused").symlink_to(target)
    (home.run / "paused").touch()
    before = looks(target)
    # When the hook refuses / Then
    hook(home)
    assert looks(target) == before
    assert not list(home.spool.iterdir())


@pytest.mark.fault("G9")
@plants
def test_full_flag_is_made_when_a_link_is_in_its_place(
    home: Home, target: Path, plant: Plant
) -> None:
    """The flag of a full spool, and the lease, are files of our own, whatever was there."""
    # Given links that lead nowhere for now, or to a file
    for name in ("full", "lease"):
        plant(target, home.run / name)
    before = looks(target)
    # When they are made
    for name in ("full", "lease"):
        private_touch(home.run / name)
        os.utime(home.run / name, ns=(1, 1))
    # Then
    assert looks(target) == before
    assert stat.S_IMODE((home.run / "full").lstat().st_mode) == 0o600


@pytest.mark.fault("G9")
def test_links_in_the_spool_are_set_aside_when_they_are_met(
    server: Server, home: Home, issued: Issued, target: Path, redis_server: RedisServer,
) -> None:  # fmt: skip
    """A link, a directory, a pipe or a device in the spool is no event, and is not followed."""
    # Given such things among events, and one bad file that is a hard link
    directory = target.with_name("directory")
    directory.mkdir()
    (directory / "kept").write_bytes(b"kept")
    (home.spool / "1.1.1").symlink_to(target)
    (home.spool / "1.1.2").symlink_to(directory)
    (home.spool / "1.1.3").symlink_to("/dev/zero")
    (home.spool / "1.1.4").symlink_to("nowhere")
    (home.spool / "1.1.5").mkdir()
    os.mkfifo(home.spool / "1.1.6")
    target.write_bytes(b"no json" + THEIRS)
    os.link(target, home.spool / "1.1.7")
    before = looks(target)
    issued.issue(10)
    # When the server meets them
    server.start_ready()
    balance = issued.settle(server, redis_server)
    # Then the events are rows, and nothing else is; what the links lead to is as it was
    assert balance["events"]["quarantined"] == 7
    assert looks(target) == before
    assert (directory / "kept").read_bytes() == b"kept"
    assert not list(home.spool.iterdir())
    rules = dict(issued.select("SELECT rule, count(*) FROM settlements GROUP BY rule"))
    assert rules == {"not-a-file": 6, "not-json": 1}


@pytest.fixture
def names(home: Home) -> dict[str, Path]:
    """Give the files that must be ours before anything is done."""
    return {
        "log": home.log_file,
        "lock": home.lock_file,
        "database": home.database,
        "wal": home.database.with_name("telemetry.db-wal"),
        "shm": home.database.with_name("telemetry.db-shm"),
    }


@pytest.mark.fault("G9")
@plants
@pytest.mark.parametrize("name", ["log", "lock", "database", "wal", "shm"])
def test_server_refuses_in_one_line_when_a_file_of_its_own_is_a_link(
    home: Home, target: Path, names: dict[str, Path], plant: Plant, name: str
) -> None:
    """Log, lock and database must be files of our own: the server says which is not, and ends."""
    # Given a link in the place of one of them
    plant(target, names[name])
    before = looks(target)
    # When a server starts
    ended = serve(home)
    # Then it refuses in one line that names the file, which is as it was
    assert ended.returncode in REFUSED
    assert str(names[name]) in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert looks(target) == before


@pytest.mark.fault("G9")
@pytest.mark.parametrize("name", ["secret", "config.yaml"])
def test_server_refuses_in_one_line_when_a_file_that_it_reads_is_a_link(
    home: Home, target: Path, name: str
) -> None:
    """Configuration and secret are not read through a link."""
    # Given a link in the place of one of them
    (home.root / name).symlink_to(target)
    before = looks(target)
    # When a server starts / Then
    ended = serve(home)
    assert ended.returncode in REFUSED
    assert str(home.root / name) in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert "bug" not in ended.stderr
    assert looks(target) == before


def serve(home: Home) -> subprocess.CompletedProcess[str]:
    """Start a server that is to refuse, and return how it ended."""
    return subprocess.run(
        [sys.executable, "-m", "blueplane", "serve", "--home", str(home.root)],
        env=environment(), capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip


@pytest.fixture
def redirected(home: Home, tmp_path: Path) -> Path:
    """Give a directory of somebody else's to which our redis directory leads."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (elsewhere / "theirs").write_bytes(b"theirs")
    home.redis.rmdir()
    home.redis.symlink_to(elsewhere)
    return elsewhere


@pytest.mark.fault("G9")
def test_directory_that_leads_elsewhere_is_used_and_nothing_else_in_it_is_touched(
    home: Home, issued: Issued, redirected: Path, nursery: Nursery
) -> None:
    """A directory on another disk is the user's choice; other files in it are not."""
    # Given / When
    with Server(home, nursery=nursery) as server:
        server.start_ready()
        issued.issue(5)
        issued.settle(server, None)
        assert server.stop() == 0
    # Then
    assert (redirected / "theirs").read_bytes() == b"theirs"
    assert (redirected / "appendonlydir").is_dir()
