"""The doctor's report: what is a user's own is not in it, and what helps is."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from blueplane.install.doctor import bundle
from blueplane.install.doctor.check import Check, Row, fail, ok
from blueplane.install.doctor.scene import Scene, ServerActions
from blueplane.paths import Home


def nobody(*_: object, **__: object) -> None:
    """Be no server."""


@pytest.fixture(autouse=True)
def user_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the test's user a home directory: what the editors keep is planted there.

    Below /tmp wherever other tests write: what is in /dev is no user's.
    """
    with tempfile.TemporaryDirectory(prefix="bp-", dir="/tmp") as path:
        monkeypatch.setenv("HOME", path)
        yield Path(path)


def told(evidence: str, user_home: Path) -> str:
    """Return what a report says for the evidence of a row; ``@`` is the user's home."""
    variables = {"HOME": str(user_home), "USER": "ada"}
    scene = Scene(Home(user_home / ".blueplane"), variables, ServerActions(*[nobody] * 3))
    row = Row(Check("a", "is looked at", ok), fail(evidence.replace("@", str(user_home)), ""), 1.0)
    report = orjson.loads(bundle.make(scene, [row]))
    return str(report["rows"][0]["evidence"])


@pytest.mark.parametrize(
    ("evidence", "shown"),
    [
        # Paths, with blanks in them or without
        ("/srv/Secret Project/x: refused", "<path>: refused"),
        ("/srv/Secret Project/My Part/x is gone", "<path> is gone"),
        ("/srv/secret leads to /opt/secret/b", "<path> leads to <path>"),
        ("a=/srv/secret/a b=/srv/secret/b", "a=<path> b=<path>"),
        ("/usr/bin/redis-server: not found", "/usr/bin/redis-server: not found"),
        # What is below the user's home, or only seems to be
        ("@/work/secret/.cursor/hooks.json: x", "~/<path>: x"),
        ("@/Secret Project/.claude/settings.json: x", "~/<path>: x"),
        ("@/.claude/projects/-secret/1.jsonl: x", "~/<path>: x"),
        ("@-secret/x: y", "<path>: y"),
        ("@.secret/x: y", "<path>: y"),
        ("@/.cursor/hooks.json: x", "~/.cursor/hooks.json: x"),
        ("@/.claude/settings.json: x", "~/.claude/settings.json: x"),
        ("@/.local/share/blueplane/current: none", "~/.local/share/blueplane/current: none"),
        ("@/.blueplane/telemetry.db.", "<home>/telemetry.db."),
        ("@/.blueplane-secret/x", "~/<path>"),
        # Events
        ("hooks.secret[0].command: must be a text", "hooks.<event>[0].command: must be a text"),
        ('hooks["secret: \\" x"]: must be a list', "hooks.<event>: must be a list"),
        ("hooks.stop[0]: must be an object", "hooks.stop[0]: must be an object"),
        ("hooks.json is there", "hooks.json is there"),
    ],
)  # fmt: skip
def test_what_is_the_users_own_is_not_told(user_home: Path, evidence: str, shown: str) -> None:
    """Names of projects, directories and events of theirs are left out, and nothing else."""
    assert told(evidence, user_home) == shown


def test_project_is_known_by_what_the_editor_kept_of_it(tmp_path: Path, user_home: Path) -> None:
    """A directory whose last part has a blank is left out whole, as far as an editor knows it."""
    # Given a project of Claude Code's
    project = tmp_path / "The Secret"
    project.mkdir()
    (user_home / ".claude").mkdir()
    transcript = user_home / ".claude" / "projects" / "-the-secret" / "1.jsonl"
    transcript.parent.mkdir(parents=True)
    transcript.write_text(json.dumps({"cwd": str(project)}) + "\n")
    # When / Then
    assert told(f"{project} is not there", user_home) == "<project> is not there"
