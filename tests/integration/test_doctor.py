"""The doctor: each defect is one row, what can be mended is mended, and it never takes long."""

import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from blueplane.install import changes, hooks, making
from blueplane.install.background import RunningServer
from blueplane.install.doctor.checks import database
from blueplane.install.doctor.registry import CHECKS
from blueplane.install.removal import Removal, Unwanted
from blueplane.install.user_places import user_places
from blueplane.paths import Home
from helpers.breaking import Breaker, make_file, make_old
from helpers.redis_server import RedisServer, missing

Plant = Callable[[Breaker], object]

NOBODY = 65534


@pytest.fixture
def patient(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Breaker]:
    """Give an install that is well, with a server."""
    with Breaker(home, tmp_path / "system", monkeypatch) as patient:
        yield patient


class Defect(NamedTuple):
    """Something to break: the row that must say so, its level, and whether it can be mended."""

    row: str
    plant: Plant
    level: str = "fail"
    mends: bool = False


DEFECTS = [
    Defect("program.version", Breaker.old_server, mends=True),
    Defect("program.links", Breaker.dangling_program),
    Defect("server.running", lambda p: p.end_server(), mends=True),
    Defect("server.running", Breaker.dead_thread),
    Defect("server.identity", Breaker.impostor),
    Defect("http.identity", Breaker.somebody_on_our_port),
    Defect("service.file", Breaker.stale_unit, "warn", mends=True),
    Defect("service.state", Breaker.disabled_service, mends=True),
    Defect("service.state", Breaker.stopped_service, mends=True),
    Defect("service.sandbox", Breaker.open_sandbox, "warn"),
    Defect("home.permissions", lambda p: p.home.database.chmod(0o644), mends=True),
    Defect("home.links", Breaker.planted_link),
    Defect("home.location", Breaker.network_disk, "warn"),
    Defect("config.valid", lambda p: make_file(p.home.config_file, "spoool:\n  max_mb: 3\n")),
    Defect("redis.server", Breaker.unreachable_redis),
    Defect("database.file", Breaker.gone_database),
    Defect("database.pages", Breaker.damaged_database),
    Defect("database.schema", lambda p: p.execute(
        "INSERT INTO schema_version VALUES (99, 'of tomorrow', 0)")),
    Defect("database.sqlite", lambda p: p.monkeypatch.setattr(
        database, "SQLITE_VERSION", (3, 40, 1)), "warn"),
    Defect("database.wal", Breaker.large_wal, "warn"),
    Defect("database.disk", Breaker.full_disk),
    Defect("database.set_aside", lambda p: make_file(
        p.home.root / "telemetry.db.damaged-20261120T061635123Z"), "warn"),
    Defect("spool.taking", lambda p: p.home.spool.rmdir(), mends=True),
    Defect("spool.taking", lambda p: make_file(p.home.full_flag)),
    Defect("spool.taking", lambda p: make_old(make_file(p.home.lease), 90_000)),
    Defect("spool.taking", lambda p: make_file(p.home.paused_flag), "warn"),
    Defect("spool.waiting", Breaker.waiting_event),
    Defect("quarantine.files", lambda p: make_file(p.home.quarantine / "17-1.2.0"), "warn"),
    Defect("custody.messages", lambda p: p.open_law("messages")),
    Defect("custody.events", lambda p: p.open_law("events")),
    Defect("custody.losses", Breaker.losses),
    Defect("dead_letters.open", Breaker.dead_letter),
    Defect("hook.script", Breaker.gone_script, mends=True),
    Defect("hook.script", Breaker.script_without_right, mends=True),
    Defect("cursor.settings", Breaker.unknown_event),
    Defect("cursor.hooks", lambda p: p.remove_hook("cursor", "stop"), mends=True),
    Defect("cursor.other_hooks", lambda p: p.foreign_hook("cursor"), "warn"),
    Defect("cursor.projects", Breaker.cursor_project, "warn"),
    Defect("claude.settings", Breaker.comment),
    Defect("claude.hooks", lambda p: p.remove_hook("claude", "Stop"), mends=True),
    Defect("claude.switches", lambda p: p.edit("claude", disableAllHooks=True)),
    Defect("claude.switches", Breaker.managed_only),
    Defect("claude.other_hooks", lambda p: p.foreign_hook("claude"), "warn"),
    Defect("claude.other_hooks", Breaker.failing_foreign_hook, "warn"),
    Defect("claude.projects", Breaker.claude_project, "warn"),
    Defect("claude.cleanup", lambda p: p.edit("claude", cleanupPeriodDays=3), "warn"),
    Defect("claude.activity", Breaker.unheard_claude, "warn"),
    Defect("editors.history", lambda p: p.history["unread"].append(
        {"path": "/somewhere/state.vscdb", "reason": "no database", "bytes": 1}), "warn"),
    Defect("editors.elsewhere", Breaker.remote_workspace, "warn"),
    Defect("network.listening", Breaker.wide_port),
    Defect("network.outbound", Breaker.outbound),
]  # fmt: skip


def test_nothing_is_wrong_when_everything_is_well(patient: Breaker) -> None:
    """A healthy install has no row that fails or warns, and most of them look at something."""
    # Given an install that is well / When it is examined
    rows = patient.examine()
    # Then
    assert [row for row in rows if row.is_bad or row.broke] == []
    assert sum(row.result.level == "ok" for row in rows) >= 30
    assert all(row.result.evidence for row in rows)


@pytest.mark.fault("C16", "C17", "G9", "G10")
@pytest.mark.parametrize(
    "defect", DEFECTS, ids=[f"{number}-{each.row}" for number, each in enumerate(DEFECTS)]
)
def test_a_defect_is_exactly_one_row_when_it_is_planted(patient: Breaker, defect: Defect) -> None:
    """Each defect makes its own row bad and no other; --fix mends it where the row says so."""
    # Given one defect
    kept = defect.plant(patient)
    # When the doctor looks
    rows = patient.examine()
    # Then exactly its row says so, with evidence and a command
    bad = {row.check.id: row.result.level for row in rows if row.is_bad}
    assert bad == {defect.row: defect.level}, [row.result for row in rows if row.is_bad]
    (row,) = [row for row in rows if row.is_bad]
    assert row.result.evidence
    assert row.result.command
    assert "\n" not in row.result.evidence + row.result.command
    assert not row.broke
    assert row.fixable == defect.mends
    # And what can be mended is well afterwards
    if defect.mends:
        assert patient.mend() == []
        assert patient.bad() == {}
    if isinstance(kept, socket.socket):
        kept.close()


def test_every_check_has_a_defect_or_a_test_of_its_own_when_all_are_listed() -> None:
    """No row of the table can go bad without a test that saw it."""
    # Given / When
    untested = {check.id for check in CHECKS} - {defect.row for defect in DEFECTS}
    # Then what is left is tested below, or is the twin of another editor's row
    assert untested == {
        "home.directory", "redis.access", "cursor.fires", "claude.fires", "cursor.activity",
    }  # fmt: skip
    assert len({check.id for check in CHECKS}) == len(CHECKS)


def test_another_port_is_the_help_when_somebody_has_ours(patient: Breaker) -> None:
    """Whose port it is can be looked at, but what helps is one that is free."""
    # Given somebody on the port, of whom our server knows
    with patient.somebody_on_our_port():
        port = patient.status["http"]["port"]
        patient.status["http"]["trouble"] = f"port {port} is taken by another program"
        # When
        (row,) = patient.examine("http.identity")
    # Then
    assert row.result.level == "warn"
    assert row.result.evidence.endswith(f"; port {port} is taken by another program")
    other = port + 1 if port < 65535 else port - 1
    command = f"blueplane config set http.port {other} && blueplane restart"
    assert row.result.command == command


@pytest.mark.fault("G9")
def test_a_program_is_told_when_its_place_is_somebody_elses(patient: Breaker) -> None:
    """Whoever owns the place of the program could put any other there."""
    if os.geteuid() != 0:
        missing("right to give files away (root)")
    # Given
    programs = patient.link_program().parent
    assert patient.bad() == {}
    os.chown(programs, NOBODY, NOBODY)
    # When
    (row,) = patient.examine("program.links")
    # Then
    assert (row.result.level, row.result.command) == ("fail", f"ls -ld {programs}")
    assert "belongs to somebody else" in row.result.evidence


@pytest.mark.fault("B14")
def test_a_redis_of_the_users_is_told_when_it_hangs(patient: Breaker) -> None:
    """It is the Redis that does not answer, and the row says so in time."""
    with RedisServer() as server:
        # Given a server of the user's that is stopped
        patient.environment["BLUEPLANE_REDIS_URL"] = server.url
        assert patient.bad() == {}
        server.freeze()
        # When
        rows = patient.examine()
        server.thaw()
    # Then
    (row,) = [row for row in rows if row.is_bad]
    assert (row.check.id, row.result.level) == ("redis.server", "fail")
    assert "redis does not answer" in row.result.evidence


@pytest.mark.fault("G7")
def test_an_open_redis_is_told_when_it_lets_everybody_in(patient: Breaker) -> None:
    """A Redis on a port without a password is a warning, and one with a password is none."""
    with RedisServer(tcp=True) as server:
        # Given a server of the user's without a password
        patient.environment["BLUEPLANE_REDIS_URL"] = server.url
        # When / Then
        assert patient.bad() == {"redis.access": "warn"}
        # And when it has one
        server.config_set("requirepass", "sesame")
        patient.environment["BLUEPLANE_REDIS_URL"] = f"redis://:sesame@127.0.0.1:{server.port}"
        rows = patient.examine("redis")
        assert [row.result.level for row in rows] == ["ok", "ok"]
        assert "sesame" not in "".join(row.result.evidence for row in rows)


@pytest.mark.parametrize("name", ["cursor", "claude"])
def test_hooks_are_fired_and_leave_nothing_when_they_are_checked(
    patient: Breaker, name: str
) -> None:
    """The very command lines are run, each takes its file, and nothing stays in the spool."""
    # Given what the settings say
    # When they are fired
    (row,) = patient.examine(f"{name}.fires")
    # Then all of them ran
    commands = sum(map(len, json.loads(patient.hooks_file(name).read_text())["hooks"].values()))
    assert row.result.level == "ok"
    assert row.result.evidence.startswith(f"{commands} hooks ran")
    # And nothing of it is on the road of an event
    assert list(patient.home.spool.iterdir()) == []
    assert not patient.home.refusals.exists()


@pytest.mark.parametrize("name", ["cursor", "claude"])
def test_a_hook_that_prints_is_told_when_it_is_fired(patient: Breaker, name: str) -> None:
    """What a hook prints may reach the model, so it fails the row."""
    # Given an environment in which every program complains
    patient.environment["LD_PRELOAD"] = "/gone/spy.so"
    # When / Then
    (row,) = patient.examine(f"{name}.fires")
    assert row.result.level == "fail"
    assert "prints: " in row.result.evidence
    assert list(patient.home.spool.iterdir()) == []


# --- mending -------------------------------------------------------------------------------------


def test_uninstall_takes_the_script_out_when_the_doctor_wrote_it(patient: Breaker) -> None:
    """What the doctor writes is noted like what an install writes: it is known as ours."""
    # Given the script of an older version
    script = hooks.hook_path(patient.home)
    making.make(patient.home, changes.plan(script, b"#!/bin/sh\n", mode=0o700, why="older"))
    # When
    assert patient.mend() == []
    # Then
    assert patient.bad() == {}
    unwanted = Unwanted(patient.home, user_places(patient.environment), patient.environment)
    plan = Removal(unwanted, RunningServer(lambda: None, lambda: None, lambda: False)).plan()
    assert script in {step.path for step in plan.steps}
    assert plan.remarks == ()
