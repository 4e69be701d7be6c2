"""A server in the background, where no service manager keeps one.

Owns starting it apart from the terminal, and finding the process that is to be signalled.
Promises that neither the current directory nor a PYTHON variable has a say in what is run, and that
no process gets a signal that was not seen to be the server of this home.
Leaves asking a running server to the caller, who knows its socket.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from threading import Event as Flag
from typing import Final

import psutil

import blueplane
from blueplane.clock import monotonic_s, parse_iso_ms
from blueplane.errors import (
    AlreadyRunningError,
    BlueplaneError,
    HomeError,
    RemoteError,
    ServerUnavailableError,
)
from blueplane.install.system_programs import last_line
from blueplane.lock import holder, is_running, named_holder
from blueplane.paths import Home, private_file

#: Seconds until a server that was started answers, and until one that was asked to stop has ended.
START_S: Final = 15.0
STOP_S: Final = 15.0
#: Seconds between two looks.
_TICK_S: Final = 0.02
#: Seconds by which the start of a process may seem to lie behind what it wrote into the lock.
_SLACK_S: Final = 5.0
#: Bytes of what a server printed that are looked at, and characters of one line that are shown.
_TAIL_BYTES: Final = 4096
_MAX_WORDS: Final = 500
#: What a server that finds another one running ends with.
_ALREADY_RUNNING: Final = AlreadyRunningError.exit_code
#: With -I alone a checkout would not be found that is no part of this Python. It comes after the
#: standard library, which has the first three places and must not be stood in for, and before what
#: is installed, which can be another version of us.
BOOT: Final = (
    "import sys; sys.path.insert(3, sys.argv.pop(1)); "
    "from blueplane.interfaces.cli.entry import main; sys.exit(main())"
)


@dataclass(frozen=True, slots=True)
class RunningServer:
    """The running server, as the interfaces reach it: its pid and version, and a wish to stop.

    Each is None, or False, when none answers.
    """

    pid: Callable[[], int | None]
    version: Callable[[], str | None]
    asks_to_stop: Callable[[], bool]


# --- starting ------------------------------------------------------------------------------------


def start(home: Home, answers: Callable[[], int | None]) -> int:
    """Start a server and return its pid once ``answers()``, the pid of who answers, is not None.

    Raises AlreadyRunningError when another one was quicker, RemoteError with the exit code and the
    last words of a server that ended, ServerUnavailableError when it does not answer in time, and
    HomeError when it cannot be started at all.
    """
    home.prepare()
    server = _launch(home)
    deadline_s = monotonic_s() + START_S
    while monotonic_s() < deadline_s:
        with suppress(subprocess.TimeoutExpired):
            raise _ended(home, server.wait(_TICK_S))
        pid = answers()
        if pid is not None:
            return pid
    message = f"the server (pid {server.pid}) runs and does not answer yet; see {home.log_file}"
    raise ServerUnavailableError(message)


def output_file(home: Home) -> Path:
    """Return where a server in the background prints to."""
    return home.logs / "serve.out"


def command(home: Home) -> list[str]:
    """Return the command line that runs a server of ``home`` with the code that runs now."""
    serve = ["serve", "--home", str(home.root)]
    if getattr(sys, "frozen", False):
        return [sys.executable, *serve]
    package = Path(blueplane.__file__).parents[1]
    return [sys.executable, "-I", "-c", BOOT, str(package), *serve]


def _launch(home: Home) -> "subprocess.Popen[bytes]":
    output = output_file(home)
    try:
        output.unlink(missing_ok=True)  # it could be a link, or still belong to an earlier server
        with private_file(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as stream:
            return subprocess.Popen(
                command(home), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
                cwd=home.root, start_new_session=True,
            )  # fmt: skip
    except OSError as error:
        message = f"{error.filename or output}: {error.strerror}; the server cannot be started"
        raise HomeError(message) from error


def _ended(home: Home, code: int) -> BlueplaneError:
    """Return what a server that ended at once has to say."""
    words = last_words(output_file(home)) or f"it said nothing; see {home.log_file}"
    if code == _ALREADY_RUNNING and is_running(home):
        return AlreadyRunningError(words)
    how = f"exit code {code}" if code >= 0 else f"signal {-code}"
    needed = ServerUnavailableError.exit_code
    return RemoteError(f"the server ended with {how}: {words}", code if code > 0 else needed)


def last_words(output: Path) -> str:
    """Return the last line that a server printed, without what every complaint begins with."""
    with suppress(OSError), private_file(output, os.O_RDONLY) as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - _TAIL_BYTES))
        line = last_line(stream.read().decode("utf-8", "replace"))
        return line.removeprefix("blueplane: ")[:_MAX_WORDS]
    return ""


# --- stopping ------------------------------------------------------------------------------------


def stop(home: Home, ask: Callable[[], bool]) -> bool:
    """Stop the server and wait for its end; False when none runs.

    ``ask()`` asks the server itself and says whether it agreed; else the process that holds the
    lock gets SIGTERM. Raises ServerUnavailableError when it is not known to be that server, or did
    not end in time.
    """
    if not is_running(home):
        return False
    if not ask() and is_running(home):
        _terminate(home)
    deadline_s = monotonic_s() + STOP_S
    while is_running(home):
        if monotonic_s() > deadline_s:
            message = (
                f"the server ({holder(home.lock_file)}) did not stop within {STOP_S:.0f} s; "
                "`kill -9` ends it, and nothing is lost by that"
            )
            raise ServerUnavailableError(message)
        Flag().wait(_TICK_S)
    return True


def _terminate(home: Home) -> None:
    """Send SIGTERM to the server of this home, and to nobody else."""
    try:
        process = _find(home)
        process.terminate()  # psutil looks again whether the pid is still that process's
    except psutil.NoSuchProcess:
        if is_running(home):
            raise _refuse(home, "that process does not exist") from None
    except psutil.AccessDenied:
        raise _refuse(home, "that process belongs to another user") from None


def _find(home: Home) -> psutil.Process:
    """Return the process that the lock's text names, once it is seen to be a server of ``home``."""
    named = named_holder(home.lock_file)
    if named is None:
        raise _refuse(home, "that names no process")
    pid, since = named
    try:
        since_s = parse_iso_ms(since) / 1000
    except ValueError:
        raise _refuse(home, "that has no time") from None
    process = psutil.Process(pid)
    if process.uids().real != os.getuid():
        raise psutil.AccessDenied(process.pid)
    if not _serves(process, home):
        raise _refuse(home, "that process is no server of this home")
    if process.create_time() > since_s + _SLACK_S:
        raise _refuse(home, "that process began later: its number was used again")
    return process


def _serves(process: psutil.Process, home: Home) -> bool:
    """Say whether a command line is ``blueplane ... serve`` with this home, or with none."""
    words = process.cmdline()
    if "serve" not in words or not any("blueplane" in word for word in words):
        return False
    given = [word.partition("=")[2] for word in words if word.startswith("--home=")]
    given += [after for word, after in pairwise(words) if word == "--home"]
    ours = home.root.resolve()
    return all(Path(process.cwd(), each).resolve() == ours for each in given)


def _refuse(home: Home, reason: str) -> ServerUnavailableError:
    return ServerUnavailableError(
        f"a server runs, does not answer, and gets no signal: {home.lock_file} says "
        f"{holder(home.lock_file)[:_MAX_WORDS]!r}, and {reason}; find it and end it yourself"
    )
