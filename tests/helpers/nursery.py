"""Cheap servers: one process that has imported the program forks a new server in milliseconds.

Owns the parent of such servers, a process without threads, and the words it is spoken to with.
Promises that a child is the same program as ``python -m blueplane``, with its own environment,
fault points and mutation, and that every child ends with the nursery.
Leaves everything else to ``server.py``: a kill loop of hundreds of rounds is what this is for.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, Self

#: Loaded before the first fork; what a command loads lazily would be loaded by each child again.
PRELOADED = ("blueplane.interfaces.cli.serve", "helpers.mutants")


class Nursery:
    """The parent process; a context manager."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "helpers.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(environment),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()

    def fork(
        self, arguments: Sequence[str], output: str, environment: Mapping[str, str]
    ) -> "Child":
        """Fork a server with this environment, and with the directory that we are in."""
        pid = self.call(
            "fork", arguments=arguments, output=output, directory=str(Path.cwd()),
            environment=dict(environment),
        )  # fmt: skip
        return Child(self, int(pid))

    def call(self, word: str, **arguments: object) -> Any:
        """Ask the process for something and return its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([word, arguments]).encode() + b"\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the nursery ended"
        return json.loads(line)


class Child:
    """A forked server, with those methods of ``subprocess.Popen`` that ``Server`` needs."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery = nursery
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        if self.returncode is None:
            self.returncode = self._nursery.call("poll", pid=self.pid)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless its end was seen already."""
        if self.returncode is None:
            os.kill(self.pid, number)


# --- the process ----------------------------------------------------------------------------------


def _fork(
    arguments: Sequence[str], output: str, directory: str, environment: Mapping[str, str]
) -> int:
    pid = os.fork()
    if pid == 0:
        _become_server(arguments, output, directory, environment)
    _CHILDREN.add(pid)
    return pid


def _become_server(
    arguments: Sequence[str], output: str, directory: str, environment: Mapping[str, str]
) -> NoReturn:
    """Be a server in the forked process, and leave it without what belongs to the nursery."""
    code = 70
    try:
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (descriptor, 1), (descriptor, 2)):
            os.dup2(source, target)
        os.chdir(directory)
        os.environ.clear()
        os.environ.update(environment)
        code = _serve(arguments)
        sys.stdout.flush()
    finally:
        os._exit(code)


def _serve(arguments: Sequence[str]) -> int:
    from blueplane import faults  # noqa: PLC0415 - the nursery's client needs none of it
    from blueplane.interfaces.cli.main import main  # noqa: PLC0415 - nor this
    from helpers import mutants  # noqa: PLC0415 - nor this

    specification = os.environ.get("BLUEPLANE_FAULTS", "")
    if specification:
        faults.point = faults._Armed(specification)
    if mutant := os.environ.get("MUTANT"):
        mutants.apply(mutant)
    return main(arguments)


def _poll(pid: int) -> int | None:
    ended, status = os.waitpid(pid, os.WNOHANG)
    if not ended:
        return None
    _CHILDREN.discard(pid)
    return os.waitstatus_to_exitcode(status)


_CHILDREN: set[int] = set()
_WORDS: dict[str, Any] = {"fork": _fork, "poll": _poll}


def _attend() -> None:
    """Answer until standard input ends; then end every child."""
    for name in PRELOADED:
        __import__(name)
    answers = os.fdopen(os.dup(1), "wb", 0)
    for line in sys.stdin.buffer:
        word, arguments = json.loads(line)
        answers.write(json.dumps(_WORDS[word](**arguments)).encode() + b"\n")
    for pid in _CHILDREN:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


if __name__ == "__main__":
    # Imported under its own name too, by the children: they must see the same module.
    _attend()
