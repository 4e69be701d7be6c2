"""Ways to break an install that is well.

Owns one method for each defect.
Promises that each breaks one thing.
Leaves what the doctor says to the test.
"""

import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from blueplane import proof
from blueplane.clock import wall_ms
from blueplane.install import services
from blueplane.install.changes import FileChange, plan
from blueplane.install.doctor.checks import database
from blueplane.install.service_state import ServiceState
from blueplane.paths import Home
from blueplane.store.queries import Footprint
from blueplane.store.wal import LARGE_BYTES
from helpers.impostor import Impostor
from helpers.patient import LAWS, TOKEN, Patient

RUNNING = ServiceState(installed=True, enabled=True, running=True, pid=1, detail="active")


class FakeService:
    """A service manager that is told what to say."""

    kind = "systemd"

    def __init__(self, patient: Patient, state: ServiceState) -> None:
        patient.link_program()
        self._patient = patient
        self._state = state
        self.path = patient.user_home / "unit"
        self.text = b"[Service]\n"
        self.path.write_bytes(self.text)
        patient.monkeypatch.setattr(services, "find", lambda _environment: self)

    def home(self) -> Path:
        return self._patient.home.root

    def unit(self, _program: Path, _home: Home) -> FileChange:
        return plan(self.path, self.text, mode=0o600, why="a test")

    def is_current(self, _program: Path, _home: Home) -> bool:
        return self.path.read_bytes() == self.text

    def state(self) -> ServiceState:
        return RUNNING if self._patient.started else self._state

    def enable_and_start(self) -> None:
        self._state = RUNNING

    def hint(self) -> None:
        return None


def make_old(path: Path, seconds: float) -> None:
    """Have a file have been written so long ago."""
    at = time.time() - seconds
    os.utime(path, (at, at))


def make_file(path: Path, text: str = "x") -> Path:
    """Make a private file, and the directories that it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)
    return path


class Breaker(Patient):
    """An install whose owner breaks it."""

    def old_server(self) -> None:
        self.status["version"] = "0.0.9"

    def dead_thread(self) -> None:
        self.status["threads"]["writer"] = False

    def impostor(self) -> None:
        self.proof = "cd" * 32

    def dangling_program(self) -> None:
        current = self.link_program()
        current.unlink()
        current.symlink_to("versions/9.9.9-0123456789ab")

    def stale_unit(self) -> None:
        service = FakeService(self, RUNNING)
        service.path.write_bytes(b"[Service]\nExecStart=/gone\n")

    def disabled_service(self) -> None:
        FakeService(self, replace(RUNNING, enabled=False))

    def stopped_service(self) -> None:
        FakeService(self, replace(RUNNING, running=False))

    def open_sandbox(self) -> None:
        self.status["manager"] = "systemd"
        self.status["sandbox"] = {"level": "filter", "writable": ["/home/ada/.claude"]}

    def planted_link(self) -> None:
        (self.home.logs / "server.log.1").symlink_to("/etc/passwd")

    def network_disk(self) -> None:
        mounts = self.system / "proc" / "self" / "mounts"
        mounts.write_text(f"box:/x {self.home.root.parent} nfs4 rw 0 0\n")

    def unreachable_redis(self) -> None:
        self.environment["BLUEPLANE_REDIS_URL"] = f"unix://{self.home.run}/nobody.sock"

    def full_disk(self) -> None:
        self.monkeypatch.setattr(database, "footprint", lambda _path: Footprint(1, 1, 1024))

    def gone_database(self) -> None:
        for path in self.home.root.glob("telemetry.db*"):
            path.unlink()

    def damaged_database(self) -> None:
        self.home.database.write_bytes(b"a letter to my aunt\n" * 1000)

    def large_wal(self) -> None:
        wal = self.home.database.with_name("telemetry.db-wal")
        wal.touch(0o600)
        os.truncate(wal, LARGE_BYTES + 1)

    def waiting_event(self) -> None:
        make_old(make_file(self.home.spool / "1.2.0"), 300)

    def open_law(self, law: str) -> None:
        first = next(iter(LAWS[law]))
        body = {**LAWS, law: {**LAWS[law], first: 9}}
        self.execute("UPDATE balance SET body = ?", json.dumps(body))

    def losses(self) -> None:
        self.execute(
            "INSERT INTO incidents (kind, started_ms, ended_ms, count, recovered, cause, ids)"
            " VALUES ('break', ?, ?, 3, 1, 'a flush', '[]')", wall_ms(), wall_ms(),
        )  # fmt: skip

    def dead_letter(self) -> None:
        self.execute(
            "INSERT INTO dead_letters (message_id, origin, platform, source, hook_type, raw,"
            " reason, error_class, failures, hop, state, opened_ms) VALUES ('1-0', '', 'cursor',"
            " 'hook', 'stop', x'00', 'no', 'TypeError', 3, 'write', 'open', ?)", wall_ms(),
        )  # fmt: skip

    def gone_script(self) -> None:
        (self.home.hooks / "blueplane-hook").unlink()

    def script_without_right(self) -> None:
        (self.home.hooks / "blueplane-hook").chmod(0o600)

    def unknown_event(self) -> None:
        self.add_hook("cursor", "beforeLunch", {"command": "true"})

    def comment(self) -> None:
        path = self.hooks_file("claude")
        path.write_text("// mine\n" + path.read_text())

    def foreign_hook(self, name: str) -> None:
        command = {"type": "command", "command": "/opt/gone/notify --now"}
        entry = {"hooks": [command]} if name == "claude" else command
        self.add_hook(name, {"cursor": "stop", "claude": "Stop"}[name], entry)

    def failing_foreign_hook(self) -> None:
        said = {"type": "system", "subtype": "stop_hook_summary", "hookErrors": ["no"]}
        self.transcript(json.dumps(said))

    def managed_only(self) -> None:
        path = self.system / "etc" / "claude-code" / "managed-settings.json"
        make_file(path, '{"allowManagedHooksOnly": true}')

    def cursor_project(self) -> None:
        root = self.project("cursor")
        make_file(root / ".cursor" / "hooks.json", '{"version": 1, "hooks": {"stop": "no list"}}')

    def claude_project(self) -> None:
        root = self.project("claude")
        make_file(root / ".claude" / "settings.local.json", '{"disableAllHooks": true}')

    def unheard_claude(self) -> None:
        self.transcript("{}")
        make_old(self.home.hooks / "blueplane-hook", 7200)

    def remote_workspace(self) -> None:
        self.workspace("vscode-remote://ssh-remote%2Bbox/home/ada/orchard")

    def wide_port(self) -> object:
        listener = socket.socket()
        listener.bind(("0.0.0.0", 0))  # noqa: S104 - that is the defect
        listener.listen()
        return listener

    def outbound(self) -> object:
        caller = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with suppress(OSError):
            caller.connect(("192.0.2.1", 9))  # no byte is sent
            return caller
        caller.close()
        pytest.skip("this machine has no way to anywhere")

    def somebody_on_our_port(self) -> object:
        listener = socket.create_server(("127.0.0.1", 0))
        said = proof.answer(TOKEN, self.home.home_id(), "0" * 64)  # to another question
        Impostor(listener, f'HTTP/1.1 200 OK\r\n\r\n{{"proof":"{said}"}}'.encode())
        self.status["http"] = {"port": listener.getsockname()[1], "trouble": None}
        return listener
