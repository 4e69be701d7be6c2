import os
import stat
import threading
from pathlib import Path

import pytest

from blueplane import paths
from blueplane.errors import HomeError
from blueplane.paths import (
    MAX_SOCKET_PATH,
    Home,
    default_home,
    private_directory,
    private_file,
    replacing,
)


def mode(path: Path) -> int:
    """Return the permissions of a file."""
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.fault("G10")
def test_home_is_private_when_it_is_prepared_with_a_careless_umask(tmp_path: Path) -> None:
    """Every directory is 0700, whatever the umask, also one that was open before."""
    # Given a careless umask and a directory that all may read
    home = Home(tmp_path / "deep" / "home")
    before = os.umask(0)
    try:
        home.spool.mkdir(parents=True)
        home.spool.chmod(0o755)
        # When
        home.prepare()
    finally:
        os.umask(before)
    # Then
    made = [path for path in (home.root, *home.root.rglob("*")) if path.is_dir()]
    assert len(made) >= 8
    assert {mode(path) for path in made} == {0o700}


@pytest.mark.fault("G9")
def test_home_is_refused_when_something_else_is_in_the_way(tmp_path: Path) -> None:
    """A file in place of a directory is named, with what to do."""
    # Given
    home = Home(tmp_path / "home")
    home.root.mkdir()
    home.run.write_text("a file")
    # When / Then
    with pytest.raises(HomeError, match=str(home.run)):
        home.prepare()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a directory of another user")
def test_directory_is_refused_when_it_belongs_to_another_user(tmp_path: Path) -> None:
    """Another user's directory is refused with its owner."""
    # Given
    other = tmp_path / "other"
    other.mkdir()
    os.chown(other, 12_345, 12_345)
    # When / Then
    with pytest.raises(HomeError, match="uid 12345"):
        private_directory(other)


def test_directory_may_be_a_link_when_the_user_made_it_one(tmp_path: Path) -> None:
    """A home that is a link to a directory of the user is their choice; a broken one is not."""
    # Given
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    # When / Then
    private_directory(tmp_path / "link")
    with pytest.raises(HomeError, match="broken"):
        private_directory(tmp_path / "broken")


@pytest.mark.fault("G9")
def test_file_is_not_opened_when_it_is_a_link(tmp_path: Path) -> None:
    """Nothing of ours is written through a link."""
    # Given
    target = tmp_path / "target"
    target.write_bytes(b"theirs")
    (tmp_path / "link").symlink_to(target)
    # When / Then
    with pytest.raises(OSError, match="link"):
        private_file(tmp_path / "link", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    assert target.read_bytes() == b"theirs"


@pytest.mark.fault("G10")
def test_file_is_private_when_it_is_made(tmp_path: Path) -> None:
    """A file is 0600 from the start, readable or writable as it was opened."""
    # Given
    before = os.umask(0)
    try:
        # When
        with private_file(tmp_path / "f", os.O_WRONLY | os.O_CREAT) as file:
            file.write(b"ours")
    finally:
        os.umask(before)
    # Then
    assert mode(tmp_path / "f") == 0o600
    with private_file(tmp_path / "f", os.O_RDONLY) as file:
        assert file.read() == b"ours"


def test_file_is_on_the_disk_when_it_takes_the_place_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new file is synced before it is moved, and the directory after; it is private."""
    # Given a record of what is synced and what is moved
    path, done = tmp_path / "f", []
    path.write_bytes(b"old")
    fsync, replace = os.fsync, Path.replace

    def record_sync(descriptor: int) -> None:
        done.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def record_move(self: Path, target: Path) -> Path:
        assert self.read_bytes() == b"new"
        done.append("move")
        return replace(self, target)

    monkeypatch.setattr(paths.os, "fsync", record_sync)
    monkeypatch.setattr(Path, "replace", record_move)
    # When
    with replacing(path) as stream:
        stream.write(b"new")
    # Then
    assert (done, path.read_bytes(), mode(path)) == (["file", "move", "directory"], b"new", 0o600)


def test_file_is_as_it_was_when_its_successor_is_not_finished(tmp_path: Path) -> None:
    """Whatever ends the block, the old file is there and nothing of the new one."""
    # Given
    path = tmp_path / "f"
    path.write_bytes(b"old")

    def break_off() -> None:
        with replacing(path) as stream:
            stream.write(b"ne")
            raise KeyboardInterrupt

    # When
    with pytest.raises(KeyboardInterrupt):
        break_off()
    # Then
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["f"]


def test_file_is_whole_when_many_threads_replace_it_at_once(tmp_path: Path) -> None:
    """Each writes a file of its own; the last one that is moved stays, as it was written."""
    # Given several threads that begin at the same moment, each with a text of its own
    path, start = tmp_path / "f", threading.Barrier(8)
    texts = [b"%d" % number * 5_000 for number in range(8)]
    failed: list[Exception] = []

    def write(text: bytes) -> None:
        start.wait()
        for _ in range(5):
            try:
                with replacing(path) as stream:
                    stream.write(text)
                assert path.read_bytes() in texts
            except (OSError, AssertionError) as error:
                failed.append(error)

    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    # When
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Then
    assert failed == []
    assert path.read_bytes() in texts
    assert [each.name for each in tmp_path.iterdir()] == ["f"]


def test_secret_is_made_once_when_many_ask_for_it_at_once(home: Home) -> None:
    """Whoever asks first, there is one secret, and nothing else is left behind."""
    # Given several threads that ask at the same moment
    start = threading.Barrier(8)
    found: list[bytes] = []

    def ask() -> None:
        start.wait()
        found.append(home.secret())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    # When
    for thread in threads:
        thread.join()
    # Then
    assert len(found) == 8
    assert len(set(found)) == 1
    assert [path.name for path in home.root.glob(".secret*")] == []
    assert mode(home.secret_file) == 0o600


@pytest.mark.parametrize("size", [0, 31, 33])
def test_secret_is_refused_when_it_was_damaged(home: Home, size: int) -> None:
    """A secret that is not whole is named, and not replaced: old hashes hang on it."""
    # Given
    home.secret_file.write_bytes(b"x" * size)
    # When / Then
    with pytest.raises(HomeError, match="32"):
        home.secret()
    assert home.secret_file.stat().st_size == size


def test_home_id_says_nothing_of_the_secret_when_it_is_shown(home: Home, tmp_path: Path) -> None:
    """A home has one public name, another home another one."""
    # Given
    other = Home(tmp_path / "other")
    other.prepare()
    # When / Then
    assert home.home_id() == home.home_id() != other.home_id()
    assert len(home.home_id()) == 16
    assert home.home_id() not in home.secret().hex()


@pytest.mark.fault("F10")
@pytest.mark.parametrize("depth", [1, 40])
def test_socket_has_room_when_the_home_is_deep(monkeypatch: pytest.MonkeyPatch, depth: int) -> None:
    """A socket's path always fits, is private, and is another one for another home."""
    # Given
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/tmp")
    home = Home(Path("/tmp", *["home"] * depth))
    other = Home(home.root / "other")
    # When / Then
    path = home.socket("control.sock")
    assert len(os.fsencode(path)) <= MAX_SOCKET_PATH
    assert path != other.socket("control.sock")
    assert (path.parent == home.run) is (depth == 1)


@pytest.mark.fault("F10")
def test_default_home_is_found_when_the_environment_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """BLUEPLANE_HOME wins, HOME comes next, and without either there is no home."""
    # Given / When / Then
    monkeypatch.setenv("HOME", "/home/ottilie")
    monkeypatch.setenv("BLUEPLANE_HOME", str(tmp_path / "a b\nc"))
    assert default_home().root == tmp_path / "a b\nc"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BLUEPLANE_HOME", "relative")
    assert default_home().root == tmp_path / "relative"
    monkeypatch.setenv("BLUEPLANE_HOME", "")
    assert default_home().root == Path("/home/ottilie/.blueplane")
    monkeypatch.delenv("HOME")
    with pytest.raises(HomeError, match="set BLUEPLANE_HOME"):
        default_home()
