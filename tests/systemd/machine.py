"""A machine with a real systemd of its own, in namespaces of this one.

Owns making its tree of files with debootstrap, booting it, running commands in it, and its end.
Promises that nothing of it is left when it ends, and that the tree is never written to by a test.
Leaves what is tried on it to the tests. It needs root, and Debian's packages.
"""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil

from helpers.waiting import wait_until

#: Raise the number when what is in the tree changes.
TREE = Path("/var/tmp/blueplane-systemd-2")
PACKAGES = "dbus,dbus-user-session,libpam-systemd,python3,systemd,systemd-sysv"
SUITE, PYTHON = "bookworm", (3, 11)
USER, UID = "u", 1000
HOME = f"/home/{USER}"
BOOT = Path(__file__).with_name("boot.sh")
BOOT_S = 60.0
COMMAND_S = 90.0

Ended = subprocess.CompletedProcess[str]


def make_tree() -> None:
    """Make the tree, unless it is there; another process that makes it is waited for."""
    with TREE.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not TREE.is_dir():
            _make_tree()


def _make_tree() -> None:
    if shutil.which("debootstrap") is None:
        install = ["apt-get", "install", "-qy", "--no-install-recommends", "debootstrap"]
        subprocess.run(install, check=True, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
    staged = TREE.with_suffix(".new")
    shutil.rmtree(staged, ignore_errors=True)  # of one that was interrupted
    include = f"--include={PACKAGES}"
    subprocess.run(["debootstrap", "--variant=minbase", include, SUITE, staged], check=True)
    add = ["chroot", staged, "useradd", "--create-home", f"--uid={UID}", "--shell=/bin/sh", USER]
    subprocess.run(add, check=True)
    lingering = staged / "var/lib/systemd/linger"
    lingering.mkdir(parents=True, exist_ok=True)
    (lingering / USER).touch()  # its user manager starts with the machine
    staged.rename(TREE)


class Machine:
    """One machine; ``shared`` are directories out here and where they are seen in it, read-only."""

    def __init__(self, shared: Mapping[Path, str]) -> None:
        self._scratch = Path(tempfile.mkdtemp(prefix="bp-systemd-"))
        self._cgroup = _cgroups() / self._scratch.name
        self._output = self._scratch.with_suffix(".out").open("w+b")
        pairs = [str(word) for pair in shared.items() for word in pair]
        self._boot = subprocess.Popen(
            ["/bin/sh", BOOT, TREE, self._scratch, self._cgroup, *pairs],
            stdin=subprocess.DEVNULL, stdout=self._output, stderr=self._output,
        )  # fmt: skip

    def __enter__(self) -> Self:
        try:
            wait_until(self._is_up, BOOT_S, "systemd and the manager of the user run")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it, with everything that runs in it."""
        init = self._init()
        if init is not None:
            init.kill()  # the kernel ends the others of its namespace
        self._boot.kill()
        self._boot.wait()
        wait_until(self._remove_cgroup, BOOT_S, "nothing runs in the cgroup")
        self._output.close()
        Path(self._output.name).unlink()
        self._scratch.rmdir()

    # -- commands ----------------------------------------------------------------------------------

    def run(self, *command: str, **variables: str) -> Ended:
        """Run a command as the user, as one would who is logged in."""
        environment = {
            "HOME": HOME, "USER": USER, "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8",
            "XDG_RUNTIME_DIR": f"/run/user/{UID}", **variables,
        }  # fmt: skip
        words = [f"{name}={value}" for name, value in environment.items()]
        ids = [f"--reuid={UID}", f"--regid={UID}", "--clear-groups"]
        return self.root("setpriv", *ids, "env", "-i", "-C", HOME, *words, *command)

    def root(self, *command: str) -> Ended:
        """Run a command as root."""
        init = self._init()
        assert init is not None, "the machine does not run"
        return subprocess.run(
            ["nsenter", "-t", str(init.pid), "-a", "-r", "-w", "--", *command],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=COMMAND_S,
            check=False,
        )  # fmt: skip

    def systemctl(self, *words: str) -> str:
        """Run ``systemctl --user``, which must work; return what it printed."""
        ended = self.run("systemctl", "--user", *words)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.strip()

    def show(self, name: str, unit: str = "blueplane.service") -> str:
        """Return one property of a unit."""
        return self.systemctl("show", unit, "--value", f"--property={name}")

    def read(self, path: str) -> str:
        """Return the text of a file in it, "" without one."""
        return self.root("cat", path).stdout

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to a process, by the number that it has in the machine."""
        ended = self.root("sh", "-c", f"kill -{int(number)} {pid}")
        assert ended.returncode == 0, ended.stderr

    # -- life --------------------------------------------------------------------------------------

    def _is_up(self) -> bool:
        assert self._boot.poll() is None, self._said()
        if self._init() is None:
            return False
        state = self.root("systemctl", "is-system-running").stdout.strip()
        return state in {"running", "degraded"} and (
            self.run("systemctl", "--user", "is-active", "dbus.socket").returncode == 0
        )

    def _said(self) -> str:
        self._output.seek(0)
        return self._output.read().decode(errors="replace")[-2000:]

    def _init(self) -> psutil.Process | None:
        """Return the process that is number 1 in there, once that is systemd."""
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self._boot.pid).children():
                if child.name() == "systemd":
                    return child
        return None

    def _remove_cgroup(self) -> bool:
        if not self._cgroup.exists():
            return True
        for directory, _, _ in os.walk(self._cgroup, topdown=False):
            with suppress(OSError):
                Path(directory).rmdir()
        return not self._cgroup.exists()


def _cgroups() -> Path:
    """Return where the second version of cgroups is mounted."""
    lines = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    return next(Path(point) for _, point, kind, *_ in lines if kind == "cgroup2")
