"""scripts/ingest_smoke.py, run as a person runs it, against real servers."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from blueplane.paths import Home
from helpers.oracle import reading
from helpers.redis_server import RedisServer
from helpers.server import ROOT, Server, environment

SCRIPT = ROOT / "scripts" / "ingest_smoke.py"
#: Seconds; the script waits 20 s for rows that do not come.
RUN_S = 60.0
FIELDS = re.compile(r"^(\w+) .* (\d+)/(\d+)$", re.MULTILINE)

Done = subprocess.CompletedProcess[str]


def smoke(home: Home, *arguments: str, **settings: str) -> Done:
    """Run the script on ``home`` to its end."""
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments, "--home", str(home.root)],
        env={**environment(), **settings},
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )


def smoke_rows(home: Home) -> int:
    """Count the rows that are told from real ones by platform, source and project."""
    with reading(home) as connection:
        found = connection.execute(
            "SELECT count(*) FROM raw_traces WHERE platform = 'smoke' AND source = 'canary'"
            " AND project = 'blueplane-smoke'"
        ).fetchone()
    return int(found[0])


def test_smoke_shows_every_field_when_the_queue_is_the_private_one(home: Home) -> None:
    """Of 700 events pushed, 700 rows have every field as expected, and both laws close."""
    # Given a server with a Redis of its own
    with Server(home) as server:
        server.start_ready()

        # When
        ran = smoke(home, "700")

        # Then
        assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout
        fields = FIELDS.findall(ran.stdout)
        assert len(fields) > 20
        assert {(right, total) for _, right, total in fields} == {("700", "700")}
        assert ran.stdout.count("closed: ") == 2
        assert smoke_rows(home) == 700


def test_smoke_uses_the_redis_of_the_server_when_it_is_an_external_one(
    home: Home, redis_server: RedisServer
) -> None:
    """It pushes into the queue of this home only, and says what to set where it cannot know it."""
    # Given a server on a Redis of the user's, behind a prefix
    prefix = {"BLUEPLANE_REDIS_KEY_PREFIX": "mine:"}
    url = {"BLUEPLANE_REDIS_URL": redis_server.url}
    with Server(home, redis_server, **prefix) as server:
        server.start_ready()

        # When it is asked with the server's settings, without the address, and without the prefix
        well = smoke(home, "10", **url, **prefix)
        lost = smoke(home, "10", **prefix)
        astray = smoke(home, "10", **url)

        # Then only the first one pushes anything
        assert (well.returncode, smoke_rows(home)) == (0, 10), well.stderr
        assert (lost.returncode, astray.returncode) == (4, 4)
        assert "BLUEPLANE_REDIS_URL" in lost.stderr
        assert "is not this home's" in astray.stderr
    assert redis_server.command("EXISTS", "telemetry:events") == 0


@pytest.mark.parametrize("prepared", [True, False])
def test_smoke_says_so_when_no_server_runs(home: Home, tmp_path: Path, *, prepared: bool) -> None:
    """Without a server it is one line and exit code 4, and nothing is made."""
    # Given a home that no server runs in, or none at all
    where = home if prepared else Home(tmp_path / "nowhere")

    # When
    refused = smoke(where)

    # Then
    assert (refused.returncode, refused.stdout) == (4, "")
    assert len(refused.stderr.splitlines()) == 1
    assert where.root.exists() is prepared
    assert not where.secret_file.exists()


def test_smoke_fails_when_rows_are_not_what_was_pushed(home: Home) -> None:
    """A server that stores other ids than it was sent is not well: exit code 1."""
    # Given a server that gives every row an id of its own
    with Server(home, MUTANT="write_twice") as server:
        server.start_ready()

        # When
        ran = smoke(home, "20")

        # Then
        assert ran.returncode == 1
        assert re.search(r"^event_id .* 0/20$", ran.stdout, re.MULTILINE)
        assert "NOT WELL" in ran.stdout
