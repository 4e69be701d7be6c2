"""Running checks: rows come in time, and in every case."""

from pathlib import Path
from threading import Event as Flag

import pytest

from blueplane.errors import HomeError, UsageError
from blueplane.install.doctor.check import Check, Level, Result, Row, fail, ok
from blueplane.install.doctor.checks.editors import _broken
from blueplane.install.doctor.firing import fire
from blueplane.install.doctor.mending import mend
from blueplane.install.doctor.registry import CHECKS, chosen
from blueplane.install.doctor.runner import run
from blueplane.install.doctor.scene import Once, Scene, ServerActions, SkipError
from blueplane.install.doctor.settings import Handler
from blueplane.interfaces.cli.doctor import _exit_code


def nobody(*_: object, **__: object) -> None:
    """Be no server."""


@pytest.fixture
def scene() -> Scene:
    """Give a scene without anything."""
    return Scene(HomeError("none"), {}, ServerActions(nobody, nobody, nobody))


def test_rows_come_in_time_and_in_order_when_a_check_hangs(scene: Scene) -> None:
    """A check that hangs costs its own row and its own time."""
    # Given one check that never answers, and one after it
    never = Flag()

    def hang(_scene: Scene) -> Result:
        never.wait(30)
        return ok("late")

    # When
    first, second = run(
        [Check("a", "hangs", hang, 0.05), Check("b", "is well", lambda _: ok("well"))], scene
    )
    never.set()
    # Then
    assert (first.result.level, first.result.evidence) == ("fail", "no answer within 0.05 s")
    assert (second.result.level, second.broke) == ("ok", False)


@pytest.mark.parametrize(
    ("raised", "level", "says", "broke"),
    [
        (SkipError("nothing there"), "skip", "nothing there", False),
        (HomeError("not yours; chown it"), "fail", "not yours; chown it", False),
        (PermissionError(13, "Permission denied", "/x"), "fail", "/x: Permission denied", False),
        (KeyError("pid"), "fail", "the check itself failed: KeyError: 'pid'", True),
    ],
)
def test_a_row_says_what_was_raised_when_a_check_cannot_look(
    scene: Scene, raised: Exception, level: str, says: str, *, broke: bool
) -> None:
    """What is missing is skipped, what is refused fails, and a bug of ours is told as one."""

    # Given
    def look(_scene: Scene) -> Result:
        raise raised

    # When
    (row,) = run([Check("a", "raises", look)], scene)
    # Then
    assert (row.result.level, row.result.evidence, row.broke) == (level, says, broke)


def test_what_a_server_uses_is_mended_before_one_starts(scene: Scene) -> None:
    """A server that starts with an open database makes files that are open, too."""
    # Given rows in the order of the table: the server, and what it uses
    ids = ["program.version", "server.running", "home.permissions", "service.state", "hook.script"]
    rows = run(
        [Check(each, "bad", lambda _: fail("bad", "x", lambda: "done")) for each in ids], scene
    )
    # When
    mended = mend(rows, scene)
    # Then
    assert [each.check.id for each in mended] == [
        "home.permissions", "hook.script", "program.version", "server.running", "service.state",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("levels", "broke", "code"),
    [(["ok", "warn", "skip"], False, 0), (["ok", "fail"], False, 1), (["fail", "ok"], True, 70)],
)
def test_the_exit_code_says_how_bad_it_is_when_rows_are_there(
    levels: list[Level], code: int, *, broke: bool
) -> None:
    """A warning is no failure, and a bug of ours is worse than one."""
    # Given rows
    check = Check("a", "is looked at", lambda _: ok(""))
    rows = [Row(check, Result(level, ""), 1.0, broke) for level in levels]
    # When / Then
    assert _exit_code(rows) == code


def test_a_fact_is_found_out_once_when_many_want_it() -> None:
    """Who comes later gets the same, also when it was an error."""
    # Given
    asked: list[int] = []

    def find() -> int:
        asked.append(1)
        message = "gone"
        raise HomeError(message)

    fact = Once(find)
    # When / Then
    for _ in range(3):
        with pytest.raises(HomeError, match="gone"):
            fact()
    assert len(asked) == 1


def test_checks_are_chosen_by_id_and_group_when_they_are_named() -> None:
    """A name is an id or what is before its dot; the canary flies only when it is wanted."""
    assert chosen((), canary=False) == list(CHECKS)
    assert [check.id for check in chosen((), canary=True)][-1] == "road.canary"
    assert [check.id for check in chosen(("spool",), canary=False)] == [
        "spool.taking", "spool.waiting"
    ]  # fmt: skip
    with pytest.raises(UsageError, match=r"did you mean redis\.server"):
        chosen(("redis.serve",), canary=False)


# --- firing ---------------------------------------------------------------------------------------

HOOK = """\
#!/bin/sh
set -C
{ cat && printf '\\n\\036%s %s\\n' "$1" "$2"; } >"@/$$.$PPID.0"
"""


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("exec @/hook cursor stop", ""),
        ("@/hook cursor stop || true", ""),
        ("exec @/hook cursor start", "hands over something else than it got"),
        ("[ ! -x @/gone ] || exec @/gone cursor stop", "hands nothing over to this home"),
        ("exec @/gone cursor stop", "ends with 127"),
        ("echo hello; exec @/hook cursor stop", "prints: hello"),
        ("@/hook cursor stop; exit 2", "ends with 2"),
        ("cat >/dev/null; sleep 9", "takes longer than"),
    ],
)
def test_a_hook_is_judged_when_it_is_fired(tmp_path: Path, command: str, says: str) -> None:
    """Only a hook that is silent, ends with 0 and hands over what it got is well."""
    # Given a hook of the simplest kind
    spool = tmp_path / "spool"
    spool.mkdir()
    hook = tmp_path / "hook"
    hook.write_text(HOOK.replace("@", str(spool)))
    hook.chmod(0o700)
    # When
    (shot,) = fire({"stop": command.replace("@", str(tmp_path))}, spool, {"PATH": "/usr/bin:/bin"})
    # Then
    assert shot.trouble.startswith(says) if says else not shot.trouble
    # And nothing of it stays
    assert list(spool.iterdir()) == []


@pytest.mark.parametrize(
    "line",
    [
        "./hooks/gone.sh",
        "hooks/gone.sh",
        "$CLAUDE_PROJECT_DIR/.claude/gone.sh",
        '"$CLAUDE_PROJECT_DIR"/.claude/gone.sh',
        "${HOME}/gone.sh",
        "curl https://example.org/gone",
        "npx @acme/gone",
    ],
)
def test_a_hook_of_another_tool_is_well_when_its_path_is_not_absolute(
    scene: Scene, line: str
) -> None:
    """Only a path that means the same everywhere is looked for: the others depend on the editor."""
    # Given / When / Then
    assert list(_broken([Handler("stop", [line], None)], scene)) == []


@pytest.mark.parametrize(
    "line", ["/gone/a --now", "sh '/gone/a'", 'A=1 && X="/gone/a" b', "b|/gone/a"]
)
def test_a_hook_of_another_tool_is_named_when_its_program_is_gone(scene: Scene, line: str) -> None:
    """A program that is not there is named, however the line is put together."""
    # Given / When / Then
    assert list(_broken([Handler("stop", [line], None)], scene)) == [
        "hooks.stop: /gone/a is not there"
    ]
