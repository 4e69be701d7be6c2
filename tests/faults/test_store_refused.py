"""The system refuses to read or write the database: it is named, and nothing is lost by it."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import get_native_id

import psutil
import pytest

from blueplane.errors import StoreBrokenError, StoreError
from blueplane.paths import Home
from blueplane.pipeline.commits import Commits
from helpers.issued import Issued
from helpers.nursery import Nursery
from helpers.redis_server import RedisServer, missing
from helpers.road import database_file, make_event, make_row
from helpers.server import Server
from helpers.smallfs import SmallFs
from helpers.waiting import wait_until

NOBODY = 65534
PATIENCE_S = 30.0


@pytest.fixture
def private() -> Iterator[Path]:
    """Give a directory that belongs to nobody, with a database of nobody's in it."""
    if os.geteuid() != 0:
        missing("right to become another user (root)")
    with tempfile.TemporaryDirectory(prefix="bp-", dir="/tmp") as name:
        path = database_file(Path(name))
        Commits(path).close()
        for each in (name, path):
            os.chown(each, NOBODY, NOBODY)
        yield Path(name)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Be nobody for the length of a block."""
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.fault("C16")
@pytest.mark.parametrize(
    ("name", "mode"), [("telemetry.db", 0o400), ("telemetry.db", 0o000), ("", 0o500), ("", 0o000)]
)
def test_open_names_the_file_when_the_system_refuses_it(
    private: Path, name: str, mode: int
) -> None:
    """A file or directory that may not be written ends in one line with its path, and exit 4."""
    # Given
    (private / name).chmod(mode)
    # When
    with as_nobody(), pytest.raises(StoreError) as caught:
        Commits(database_file(private), replace=True)
    # Then it is refused, not called damaged, and nothing was made or moved
    assert not isinstance(caught.value, StoreBrokenError)
    assert "damaged" not in str(caught.value)
    assert caught.value.exit_code == 4
    assert str(private) in str(caught.value)
    assert "\n" not in str(caught.value)
    (private / name).chmod(0o700)
    assert not list(private.glob("*.damaged-*"))


@pytest.mark.fault("C16")
def test_rows_are_written_when_the_mark_cannot_be(private: Path) -> None:
    """A mark that cannot be replaced stops nothing."""
    # Given a directory where the new mark is written
    (private / f".telemetry.mark.blueplane-new-{os.getpid()}-{get_native_id()}").mkdir()
    # When / Then
    with as_nobody():
        commits = Commits(database_file(private))
        assert len(commits.write([make_row(commits, make_event())]).written) == 1
        commits.close()


@pytest.mark.fault("C16")
def test_events_wait_when_the_disk_of_the_database_fails(
    home: Home, issued: Issued, redis_server: RedisServer, nursery: Nursery
) -> None:
    """While every sync of the -wal fails nothing is let go of; afterwards all of it is written."""
    # Given a server on a disk that fails for a while: of each thread the third sync and some more
    program = shutil.which("strace") or missing("strace")
    Commits(home.database).close()
    fails = ["-P", f"{home.database}-wal", "-e", "trace=fdatasync,fsync"]
    fails += ["-e", "inject=fdatasync,fsync:error=EIO:when=3..5"]
    with Server(home, redis_server, nursery) as server:
        server.start(prefix=[program, "-f", "-o", os.devnull, *fails])
        server.wait_ready()

        # When events come
        def failed() -> bool:
            issued.issue()
            return "store failed" in server.log()

        wait_until(failed, PATIENCE_S, "the disk has failed")
        # Then the log says what failed, and before long all is written, none of it a dead letter
        assert "IOERR" in server.log()
        balance = issued.settle(server, redis_server)
        assert (balance["dead_lettered"], balance["lost"]) == (0, 0)
        assert "writer retry" not in server.log()
        assert server.status()["store_error"] is None
        for child in psutil.Process(server.pid).children():
            child.send_signal(signal.SIGTERM)
        assert server.wait() == 0


@pytest.mark.fault("C16")
def test_the_server_ends_in_one_line_when_its_file_system_is_read_only(
    home: Home, issued: Issued, redis_server: RedisServer, nursery: Nursery
) -> None:
    """A home that became read-only is refused with 4; once it can be written all is as before."""
    with SmallFs(home.root, size_mb=64) as disk:
        home.prepare()
        with Server(home, redis_server, nursery) as server:
            # Given a home with rows, on a file system that became read-only
            server.start_ready()
            issued.issue(5)
            issued.settle(server, redis_server)
            assert server.stop() == 0
            disk.protect(on=True)
            server.output.unlink()
            # When a server starts / Then it ends with 4, and one line that names the home
            server.start()
            assert server.wait() == 4
            said = server.output.read_text().strip()
            assert len(said.splitlines()) == 1
            assert str(home.root) in said
            # and the next one has every row
            disk.protect(on=False)
            server.start_ready()
            assert issued.settle(server, redis_server)["lost"] == 0
