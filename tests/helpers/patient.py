"""An install that is well in every row of the doctor, for tests that break it.

Owns a home with a database, hooks in both editors, and a stand-in for the running server.
Promises that what the stand-in says is what a server says, and that the machine's own files, and
its service manager, are not looked at.
Leaves breaking it to the tests.
"""

import json
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Self

import pytest

from blueplane import __version__, proof
from blueplane.errors import RemoteError
from blueplane.install import hooks, making, services, versions
from blueplane.install.doctor.check import Row
from blueplane.install.doctor.checks import database
from blueplane.install.doctor.mending import mend
from blueplane.install.doctor.registry import chosen
from blueplane.install.doctor.runner import run
from blueplane.install.doctor.scene import Scene, ServerActions
from blueplane.install.editors import Machine, find_editors
from blueplane.install.user_places import user_places
from blueplane.lock import ServerLock, is_running
from blueplane.paths import Home
from blueplane.pipeline.commits import Commits
from helpers.http import free_port
from helpers.road import make_event, make_row

TOKEN = "ab" * 32
LAWS = {
    "messages": {"enqueued": 5, "written": 5, "duplicate": 0, "lost": 0},
    "events": {"captured": 5, "written": 5, "filtered": 0, "waiting": 0},
}
ROWS = 5


class Patient:
    """One install; use it as a context manager. ``environment`` and ``status`` may be changed."""

    def __init__(self, home: Home, system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home = home
        self.user_home = Path(os.environ["HOME"])
        self.system = system
        self.monkeypatch = monkeypatch
        self.environment = {
            "HOME": str(self.user_home),
            "PATH": "/usr/bin:/bin",
            "BLUEPLANE_HTTP_PORT": str(free_port()),
        }
        self.started = 0
        self.restarted = 0
        self.status: dict[str, Any] = {
            "pid": os.getpid(),
            "version": __version__,
            "redis": {"mode": "external", "connected": True, "trouble": None, "version": "7.2.4",
                      "persistence": "aof", "policy": "noeviction", "pid": 1},
            "http": {"port": None, "trouble": None},
            "threads": {"writer": True, "spooler": True},
            "manager": None,
            "sandbox": None,
        }  # fmt: skip
        row = {"what": "transcripts", "files": 2, "bytes": 4096, "bytes_left": 0}
        self.history: dict[str, Any] = {"rows": [row], "unread": []}
        self.proof = TOKEN
        self._lock = ServerLock(home)

    def __enter__(self) -> Self:
        self.monkeypatch.setattr(services, "find", lambda _environment: None)
        self.monkeypatch.setattr(database, "SQLITE_VERSION", (3, 53, 0))
        self._prepare_system()
        self._prepare_home()
        self._prepare_editors()
        self._lock.take()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    # -- the doctor --------------------------------------------------------------------------------

    def scene(self) -> Scene:
        """Return a new scene: a doctor looks at things once."""
        server = ServerActions(self._ask, self._start, self._restart)
        return Scene(self.home, dict(self.environment), server, self.system)

    def examine(self, *only: str) -> list[Row]:
        """Run all checks but the canary, or those of these names."""
        return run(chosen(only, canary=False), self.scene())

    def bad(self) -> dict[str, str]:
        """Return the level of each row that is not well."""
        return {row.check.id: row.result.level for row in self.examine() if row.is_bad}

    def mend(self) -> list[str]:
        """Mend what can be mended; return the trouble of what could not."""
        return [each.trouble for each in mend(self.examine(), self.scene()) if each.trouble]

    def _ask(self, operation: str, *, timeout_s: float, **arguments: str) -> Any:
        assert timeout_s < 1
        if operation == "status":
            return self.status
        if operation == "backfill.status":
            return self.history
        if operation == "prove":
            return proof.answer(self.proof, self.home.home_id(), arguments["challenge"])
        message = "the server does not know this request"
        raise RemoteError(message, 2)

    def _start(self) -> None:
        self.started += 1
        self.home.prepare()
        if not is_running(self.home):
            self._lock.take()

    def _restart(self) -> None:
        self.restarted += 1
        self.status["version"] = __version__

    def end_server(self) -> None:
        """Have no server run."""
        self._lock.release()

    # -- what is there -----------------------------------------------------------------------------

    def _prepare_system(self) -> None:
        mounts = self.system / "proc" / "self" / "mounts"
        mounts.parent.mkdir(parents=True)
        mounts.write_text("/dev/vda1 / ext4 rw 0 0\n")

    def _prepare_home(self) -> None:
        self.home.prepare()
        self.home.secret()
        self.home.token_file.write_text(TOKEN)
        self.home.token_file.chmod(0o600)
        commits = Commits(self.home.database)
        rows = [make_row(commits, make_event(number)) for number in range(ROWS)]
        self._insert(commits, rows)
        commits.close()

    def _insert(self, commits: Commits, rows: list[Any]) -> None:
        with commits._bookkeeping():
            commits._traces.insert(rows, 1_795_150_000_000)
            commits.ledger.add({"messages.written": ROWS})
            commits.ledger.put_balance(1_795_150_000_000, LAWS)
        commits._put_mark()

    def _prepare_editors(self) -> None:
        for name in (".cursor", ".claude"):
            (self.user_home / name).mkdir()
        making.make(self.home, hooks.plan_script(self.home))
        for editor in find_editors(Machine(self.user_home, self.environment, self.system)):
            making.make(self.home, hooks.plan(editor, self.home))

    # -- breaking ----------------------------------------------------------------------------------

    def hooks_file(self, name: str) -> Path:
        """Return the settings file of an editor."""
        file = {"cursor": ".cursor/hooks.json", "claude": ".claude/settings.json"}[name]
        return self.user_home / file

    def edit(self, name: str, **members: object) -> None:
        """Set members of an editor's settings."""
        path = self.hooks_file(name)
        path.write_text(json.dumps({**json.loads(path.read_text()), **members}))

    def add_hook(self, name: str, event: str, entry: Mapping[str, Any]) -> None:
        """Add a hook of another tool."""
        settings = json.loads(self.hooks_file(name).read_text())
        settings["hooks"].setdefault(event, []).append(entry)
        self.edit(name, hooks=settings["hooks"])

    def remove_hook(self, name: str, event: str) -> None:
        """Remove our hook of an event."""
        settings = json.loads(self.hooks_file(name).read_text())
        del settings["hooks"][event]
        self.edit(name, hooks=settings["hooks"])

    def project(self, name: str) -> Path:
        """Make a project that an editor has been at work in, and return its directory."""
        root = self.user_home / "orchard"
        root.mkdir()
        if name == "cursor":
            self.workspace(root.as_uri())
        else:
            self.transcript(json.dumps({"type": "user", "cwd": str(root)}))
        return root

    def workspace(self, uri: str) -> None:
        """Have Cursor have opened a folder."""
        storage = self.user_home / ".config" / "Cursor" / "User" / "workspaceStorage" / "0a1b"
        storage.mkdir(parents=True)
        (storage / "workspace.json").write_text(json.dumps({"folder": uri}))

    def transcript(self, text: str) -> Path:
        """Have Claude Code have kept a transcript."""
        path = self.user_home / ".claude" / "projects" / "-orchard" / "5e55.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text(text + "\n")
        return path

    def link_program(self) -> Path:
        """Have a program installed; return the link to its version."""
        programs = user_places(self.environment).programs
        version = programs / "versions" / "0.1.0-0123456789ab"
        version.mkdir(parents=True)
        (version / "blueplane").write_text("#!/bin/sh\n")
        (version / "blueplane").chmod(0o755)
        current = programs / versions.CURRENT
        current.symlink_to("versions/0.1.0-0123456789ab")
        return current

    def execute(self, statement: str, *parameters: object) -> None:
        """Change the database behind the program's back."""
        with closing(sqlite3.connect(self.home.database)) as connection:
            connection.execute(statement, parameters)
            connection.commit()
