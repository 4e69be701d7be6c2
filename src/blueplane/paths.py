"""Every path of the program, and the making of private files.

Owns the layout of the home directory and its permissions.
Promises that what it makes is 0700 or 0600 from the start, owned by this user and not a link, and
that a file which is replaced is at any instant the old or the new one.
Leaves what is in the files to their owners.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedWriter, FileIO
from pathlib import Path
from threading import get_native_id
from typing import BinaryIO
from urllib.parse import quote

from blueplane.digests import blake2b, random_bytes
from blueplane.errors import HomeError

#: Bytes of the longest path that a Unix socket can have on every system that we run on.
MAX_SOCKET_PATH = 103
#: Bytes of the longest path of a home: SQLite opens no file whose path has more than 504.
MAX_HOME_PATH = 480
SECRET_BYTES = 32
#: Of a directory that only its owner may use.
PRIVATE_MODE = 0o700
#: Of a file that only its owner may use.
PRIVATE_FILE_MODE = 0o600
#: What a mode allows anybody but the owner.
OTHERS_MODE = stat.S_IRWXG | stat.S_IRWXO
#: In the name of a file that is still being written; the ids of its process and thread follow.
_STAGED = "blueplane-new"


@dataclass(frozen=True, slots=True)
class Home:
    """The home directory of one install and every path in it."""

    root: Path

    @property
    def config_file(self) -> Path:
        """The user's overrides."""
        return self.root / "config.yaml"

    @property
    def database(self) -> Path:
        """The one SQLite file."""
        return self.root / "telemetry.db"

    @property
    def reserve(self) -> Path:
        """Room that is kept for a full disk."""
        return self.root / "reserve"

    @property
    def secret_file(self) -> Path:
        """The per-install secret that keys every hash."""
        return self.root / "secret"

    @property
    def spool(self) -> Path:
        """Hand-off files from the hooks."""
        return self.root / "spool"

    @property
    def quarantine(self) -> Path:
        """What could not be read, set aside."""
        return self.root / "quarantine"

    @property
    def hooks(self) -> Path:
        """The installed hook script."""
        return self.root / "hooks"

    @property
    def extension_file(self) -> Path:
        """The extension that Cursor installed."""
        return self.hooks / "blueplane.vsix"

    @property
    def run(self) -> Path:
        """The lock, the sockets, and the flags that hooks look at."""
        return self.root / "run"

    @property
    def redis(self) -> Path:
        """The private server's files."""
        return self.root / "redis"

    @property
    def logs(self) -> Path:
        """Rotated logs."""
        return self.root / "logs"

    @property
    def backups(self) -> Path:
        """Copies of edited settings files."""
        return self.root / "backups"

    @property
    def lock_file(self) -> Path:
        """Held by the server for its whole life; its text names the holder."""
        return self.run / "server.lock"

    @property
    def full_flag(self) -> Path:
        """There while the spool is full."""
        return self.run / "full"

    @property
    def lease(self) -> Path:
        """Its mtime is when hooks stop taking events without a server."""
        return self.run / "lease"

    @property
    def paused_flag(self) -> Path:
        """There while capture is paused for good."""
        return self.run / "paused"

    @property
    def paused_until(self) -> Path:
        """Its mtime is the end of a pause."""
        return self.run / "paused-until"

    @property
    def pauses(self) -> Path:
        """The pauses that are over."""
        return self.run / "pauses"

    @property
    def refusals(self) -> Path:
        """A letter for each event that a hook did not take."""
        return self.run / "refused"

    @property
    def token_file(self) -> Path:
        """What gives access to personal data over HTTP."""
        return self.run / "token"

    @property
    def control_socket(self) -> Path:
        """Where the server answers commands."""
        return self.socket("control.sock")

    @property
    def redis_socket(self) -> Path:
        """Where the private server listens."""
        return self.socket("redis.sock")

    @property
    def redis_url(self) -> str:
        """The address of the private server, whatever is in the path of its socket."""
        return f"unix://{quote(os.fsencode(self.redis_socket))}"

    @property
    def log_file(self) -> Path:
        """The server's log."""
        return self.logs / "server.log"

    def socket(self, name: str) -> Path:
        """Return where the Unix socket ``name`` is.

        That is under ``run/``, or, for a home too deep for a socket's path, in a private directory
        of its own whose name is a hash of the home.
        """
        direct = self.run / name
        if len(os.fsencode(direct)) <= MAX_SOCKET_PATH:
            return direct
        base = os.environ.get("XDG_RUNTIME_DIR") or os.environ.get("TMPDIR") or "/tmp"  # noqa: S108 - what is made in it is checked
        label = blake2b(os.fsencode(self.root), digest_size=8).hexdigest()
        return Path(base) / f"blueplane-{os.getuid()}-{label}" / name

    def prepare(self) -> None:
        """Make every directory that the server needs; raise HomeError when one is not private."""
        directories = (
            self.root,
            self.spool,
            self.quarantine,
            self.run,
            self.redis,
            self.logs,
            self.backups,
            self.hooks,
            self.control_socket.parent,
        )
        for directory in directories:
            private_directory(directory)

    def secret(self) -> bytes:
        """Return the per-install secret, made at the first call."""
        with suppress(FileNotFoundError):
            return self._read_secret()
        with staged_file(self.secret_file) as (staged, stream):
            stream.write(random_bytes(SECRET_BYTES))
            sync(stream)
            with suppress(FileExistsError):  # another process was first: its secret is the one
                os.link(staged, self.secret_file)
        sync_directory(self.root)
        return self._read_secret()

    def _read_secret(self) -> bytes:
        try:
            with private_file(self.secret_file, os.O_RDONLY | os.O_NONBLOCK) as stream:
                secret = stream.read(SECRET_BYTES + 1)
        except FileNotFoundError:
            raise
        except OSError as error:
            message = f"{self.secret_file}: {error.strerror}; it must be a plain file of yours"
            raise HomeError(message) from error
        if len(secret) != SECRET_BYTES:
            message = (
                f"{self.secret_file}: {len(secret)} bytes instead of {SECRET_BYTES}; "
                "put it back from a backup, or delete it to start with a new one"
            )
            raise HomeError(message)
        return secret

    def home_id(self) -> str:
        """Return the public name of this install: 16 hex digits that say nothing of the secret."""
        return blake2b(self.secret(), digest_size=8, person=b"blueplane-home").hexdigest()


def default_home() -> Home:
    """Return the home directory: ``BLUEPLANE_HOME``, else ``~/.blueplane``.

    Raises HomeError when there is neither, or none that could be a home.
    """
    chosen = os.environ.get("BLUEPLANE_HOME")
    if chosen:
        return home_at(Path(os.path.abspath(chosen)))  # noqa: PTH100 - resolve() would follow links
    user_home = os.environ.get("HOME")
    if not user_home:
        message = "neither BLUEPLANE_HOME nor HOME is set; set BLUEPLANE_HOME to a directory"
        raise HomeError(message)
    if not os.path.isabs(user_home):  # noqa: PTH117 - hooks look for a slash, too
        message = f"HOME is {user_home!r}, no absolute path; set BLUEPLANE_HOME to a directory"
        raise HomeError(message)
    return home_at(Path(user_home) / ".blueplane")


def home_at(root: Path) -> Home:
    """Return the home in a directory; raise HomeError when its path cannot be that of a home."""
    try:
        length = len(str(root).encode())
    except UnicodeEncodeError:
        message = f"{root}: the path is not UTF-8; set BLUEPLANE_HOME to a directory whose path is"
        raise HomeError(message) from None
    if length > MAX_HOME_PATH:
        message = (
            f"{str(root)[:60]}...: the path is too long, {length} bytes of {MAX_HOME_PATH} at "
            "most; set BLUEPLANE_HOME to a directory with a shorter one"
        )
        raise HomeError(message)
    return Home(root)


def private_directory(path: Path) -> None:
    """Make ``path`` a directory of this user with mode 0700; raise HomeError when it cannot be."""
    try:
        path.mkdir(mode=PRIVATE_MODE, parents=True, exist_ok=True)
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) and path.is_symlink():
            found = path.stat()  # a home that is itself a link is the user's choice
        if not stat.S_ISDIR(found.st_mode):
            message = f"{path}: not a directory; move it away"
            raise HomeError(message)
        if found.st_uid != os.getuid():
            message = f"{path}: belongs to uid {found.st_uid}, not to you; chown it"
            raise HomeError(message)
        if stat.S_IMODE(found.st_mode) != PRIVATE_MODE:
            path.chmod(PRIVATE_MODE)
    except OSError as error:
        message = f"{path}: {error.strerror}; make it a directory that you can write to"
        raise HomeError(message) from error


def private_file(path: Path, flags: int) -> FileIO:
    """Open ``path`` unbuffered with mode 0600; never through a link, nor to write to a hard link.

    Raises OSError: ELOOP for the one, EMLINK for the other.
    """
    wanted = flags & ~os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, wanted, PRIVATE_FILE_MODE)
    file = FileIO(descriptor, "r" if _only_reads(flags) else "w")
    if not _only_reads(flags) and os.fstat(file.fileno()).st_nlink > 1:
        file.close()
        raise OSError(errno.EMLINK, os.strerror(errno.EMLINK), str(path))
    if flags & os.O_TRUNC:
        file.truncate(0)
    return file


def _only_reads(flags: int) -> bool:
    return flags & os.O_ACCMODE == os.O_RDONLY


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Give a private file that takes the place of ``path`` when the block ends well.

    It is whole and on the disk before. Raises OSError; ``path`` is then as it was.
    """
    with staged_file(path) as (staged, stream):
        yield stream
        sync(stream)
        staged.replace(path)
    sync_directory(path.parent)


@contextmanager
def staged_file(path: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """Give a new private file beside ``path``, gone afterwards unless it was moved; raise OSError.

    What processes that were killed have left of such files goes, too.
    """
    staged = path.with_name(f".{path.name}.{_STAGED}-{os.getpid()}-{get_native_id()}")
    _remove_leftovers(path, staged)
    try:
        with BufferedWriter(private_file(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL)) as stream:
            yield staged, stream
    finally:
        with suppress(OSError):
            staged.unlink()


def _remove_leftovers(path: Path, staged: Path) -> None:
    prefix = f".{path.name}.{_STAGED}-"
    with suppress(OSError):  # whoever makes the file says what is wrong
        for other in path.parent.iterdir():
            pid, _, thread = other.name.removeprefix(prefix).partition("-")
            is_one = other.name.startswith(prefix) and pid.isdecimal() and thread.isdecimal()
            if other == staged or (is_one and not _is_alive(int(pid))):
                other.unlink()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def sync(stream: BinaryIO) -> None:
    """Have what was written survive a power cut; raise OSError."""
    stream.flush()
    os.fsync(stream.fileno())


def sync_directory(directory: Path) -> None:
    """Have a change of names survive a power cut, where the file system can promise that."""
    with suppress(OSError):  # the change is made: what is left is no failure of it
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def private_touch(path: Path) -> None:
    """Make ``path`` an empty file, or leave the one that is there; a link to another makes way."""
    if is_link(path):
        path.unlink()
    # Not ``touch``, which sets the time of a file that is there: hooks read a lease from it.
    private_file(path, os.O_WRONLY | os.O_CREAT).close()


def is_link(path: Path) -> bool:
    """Whether ``path`` is a link, or one of several names of a file: what is changed is another's.

    A directory is none: one that is a link to another disk is the user's choice.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISLNK(found.st_mode) or (stat.S_ISREG(found.st_mode) and found.st_nlink > 1)


def free_bytes(directory: Path) -> int | None:
    """Return the bytes that are free for us on the disk of ``directory``; None where unknown."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize
