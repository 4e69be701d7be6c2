"""The image and the compose file: a server that reaches nothing, and says whether it is well."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from blueplane.paths import Home
from helpers.server import Server, environment
from helpers.waiting import wait_until

ROOT = Path(__file__).parents[2]
WAIT_S = 30.0
#: Variables of compose.yaml, with a value and without one.
GIVEN = re.compile(r"\$\{(\w+):-([^}]*)\}")


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the last stage of the Dockerfile."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found = [(line.split()[0], line.partition(" ")[2]) for line in lines]
    last = max(index for index, (name, _) in enumerate(found) if name == "FROM")
    return found[last:]


@pytest.fixture
def image() -> dict[str, str]:
    """Give what the image says of itself, by instruction."""
    return dict(instructions())


@pytest.fixture
def service() -> dict[str, Any]:
    """Give the one service of the compose file, with the defaults of its variables."""
    loaded = yaml.safe_load(GIVEN.sub(r"\2", (ROOT / "compose.yaml").read_text()))
    (only,) = loaded["services"].values()
    assert isinstance(only, dict)
    return only


def health_command(image: dict[str, str]) -> list[str]:
    """Return the command line that tells whether the container is healthy."""
    command: list[str] = json.loads(image["HEALTHCHECK"].partition("CMD ")[2])
    return command


def test_container_can_do_nothing_but_keep_its_home(service: dict[str, Any]) -> None:
    """No port, no network, no capability, and a root that is read-only."""
    # Given / When
    kept = {key: service[key] for key in ("network_mode", "read_only", "cap_drop", "security_opt")}
    # Then
    assert kept == {
        "network_mode": "none", "read_only": True, "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
    }  # fmt: skip
    assert "ports" not in service
    assert "EXPOSE" not in dict(instructions())


def test_image_and_compose_file_agree(image: dict[str, str], service: dict[str, Any]) -> None:
    """Both run as the same user, who is not root, with the same home and the same check."""
    # Given
    home = image["ENV"].partition("=")[2]
    # When
    (mounted,) = service["volumes"]
    # Then
    assert image["VOLUME"] == home == mounted.partition(":")[2]
    assert image["USER"] == service["user"]
    assert int(image["USER"].partition(":")[0]) > 0
    assert service["healthcheck"]["test"] == ["CMD", *health_command(image)]
    assert [*json.loads(image["ENTRYPOINT"]), *json.loads(image["CMD"])] == ["blueplane", "serve"]


def test_container_stops_in_the_time_that_a_server_takes(service: dict[str, Any]) -> None:
    """It is killed only after the server would have ended by itself."""
    # Given / When
    grace_s = int(service["stop_grace_period"].removesuffix("s"))
    # Then
    assert grace_s > 10


def test_health_check_says_whether_the_server_is_well(home: Home, image: dict[str, str]) -> None:
    """The image's own command line ends with 0 while a server runs well, and with 1 without one."""
    # Given
    name, *words = health_command(image)
    assert name == "blueplane"

    def code() -> int:
        command = [sys.executable, "-m", "blueplane", *words, "--home", str(home.root)]
        ended = subprocess.run(command, env=environment(), capture_output=True, check=False)
        return ended.returncode

    # When
    with Server(home) as server:
        server.start_ready()
        wait_until(lambda: code() == 0, WAIT_S, "it is healthy")
    # Then
    assert code() == 1


def test_everything_that_the_image_copies_is_let_through() -> None:
    """The build is given the executable, and not the checkout."""
    # Given
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    # When
    patterns = [line for line in ignored if not line.startswith("#")]
    # Then
    assert patterns[:2] == ["*", "!dist/blueplane-*-linux-*"]
    assert "COPY dist/ " in (ROOT / "Dockerfile").read_text()
