import os

import pytest

from blueplane.errors import AlreadyRunningError
from blueplane.lock import ServerLock, holder, is_running
from blueplane.paths import Home


@pytest.mark.fault("F4")
@pytest.mark.parametrize(
    "text", [b"", b"\xff\xfe garbage", b"pid 1 since yesterday\n", b"x" * 100_000]
)
def test_lock_is_taken_when_its_file_holds_anything(home: Home, text: bytes) -> None:
    """What is in the file is for people: only the lock itself decides."""
    # Given
    home.lock_file.write_bytes(text)
    assert is_running(home) is False
    # When
    lock = ServerLock(home)
    lock.take()
    # Then
    assert is_running(home) is True
    assert holder(home.lock_file).startswith(f"pid {os.getpid()} since 20")
    lock.release()
    lock.release()
    assert (is_running(home), holder(home.lock_file)) == (False, "unknown process")


def test_lock_is_nobodys_when_there_is_no_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Where no home is, no server runs, and looking makes nothing."""
    # Given
    home = Home(tmp_path_factory.mktemp("empty") / "home")
    # When / Then
    assert is_running(home) is False
    assert holder(home.lock_file) == "unknown process"
    assert not home.root.exists()


@pytest.mark.fault("F1")
def test_second_server_is_refused_when_the_lock_file_was_removed(home: Home) -> None:
    """Whoever clears ``run`` under a running server does not let a second one in."""
    # Given
    lock = ServerLock(home)
    lock.take()
    # When
    home.lock_file.unlink()
    # Then
    assert is_running(home) is True
    with pytest.raises(AlreadyRunningError, match="another server runs"):
        ServerLock(home).take()
    lock.release()
    assert is_running(home) is False
