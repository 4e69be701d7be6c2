"""Every path of the program, and the making of private files.

Owns the layout of the home directory and its permissions.
Promises that what it makes is 0700 or 0600 from the start, owned by this user and not a link.
Leaves what is in the files to their owners.
"""

import os
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from io import FileIO
from pathlib import Path
from secrets import token_bytes, token_hex

from blueplane.errors import HomeError

#: Bytes of the longest path that a Unix socket can have on every system that we run on.
MAX_SOCKET_PATH = 103
SECRET_BYTES = 32
#: Of a directory that only its owner may use.
PRIVATE_MODE = 0o700


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
    def run(self) -> Path:
        """The lock and the flags that hooks look at."""
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
        base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
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
            self.socket("control.sock").parent,
        )
        for directory in directories:
            private_directory(directory)

    def secret(self) -> bytes:
        """Return the per-install secret, made at the first call."""
        with suppress(FileNotFoundError):
            return self._read_secret()
        staged = self.root / f".secret.{token_hex(8)}"
        with private_file(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as stream:
            stream.write(token_bytes(SECRET_BYTES))
            stream.flush()
            os.fsync(stream.fileno())
        try:
            os.link(staged, self.secret_file)
        except FileExistsError:
            pass  # another process was first: its secret is the one
        finally:
            staged.unlink()
        return self._read_secret()

    def _read_secret(self) -> bytes:
        with private_file(self.secret_file, os.O_RDONLY) as stream:
            secret = stream.read(SECRET_BYTES + 1)
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
    """Return the home directory: ``BLUEPLANE_HOME``, else ``~/.blueplane``."""
    chosen = os.environ.get("BLUEPLANE_HOME")
    if chosen:
        return Home(Path(os.path.abspath(chosen)))  # noqa: PTH100 - resolve() would follow links
    user_home = os.environ.get("HOME")
    if not user_home:
        message = "neither BLUEPLANE_HOME nor HOME is set; set BLUEPLANE_HOME to a directory"
        raise HomeError(message)
    return Home(Path(user_home) / ".blueplane")


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
    """Open ``path`` unbuffered with mode 0600; never through a link."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    return FileIO(descriptor, "r" if flags & os.O_ACCMODE == os.O_RDONLY else "w")
