"""The workflow names what exists, and has no more rights than it needs; zizmor checks the rest."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers.build_verbs import build_verbs

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "build.yml"
#: What is built and tested.
PLATFORMS = {"linux-x86_64", "linux-aarch64", "macos-arm64"}
PINNED = re.compile(r"uses: [\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+\n")
VERB = re.compile(r"build\.py ([a-z-]+)")


@pytest.fixture
def workflow() -> dict[str, Any]:
    """Give the workflow."""
    loaded: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text())
    return loaded


def test_workflow_builds_every_artefact_on_every_platform(workflow: dict[str, Any]) -> None:
    """Each platform makes the executable and the zipapp, one makes all, by verbs that exist."""
    # Given
    rows = workflow["jobs"]["artefacts"]["strategy"]["matrix"]["include"]
    # When
    verbs = {row["platform"]: set(row["verbs"].split()) for row in rows}
    # Then
    assert verbs.keys() == PLATFORMS
    assert all(each in ({"all"}, {"binary", "zipapp"}) for each in verbs.values())
    assert {"all"} in verbs.values()
    named = set().union(*verbs.values(), VERB.findall(WORKFLOW.read_text()))
    assert named - build_verbs().keys() == set()


def test_workflow_waits_for_jobs_and_asks_for_values_that_exist(workflow: dict[str, Any]) -> None:
    """What a job waits for is a job; what it asks its matrix for is in each row of that."""
    for job in workflow["jobs"].values():
        # Given
        needs = job.get("needs", [])
        rows = job.get("strategy", {}).get("matrix", {}).get("include", [])
        # When
        asked = set(re.findall(r"\bmatrix\.(\w+)", yaml.safe_dump(job)))
        # Then
        assert set([needs] if isinstance(needs, str) else needs) <= workflow["jobs"].keys()
        assert bool(rows) == bool(asked)
        assert all(asked <= row.keys() for row in rows)


def test_workflow_can_only_read(workflow: dict[str, Any]) -> None:
    """No job may write anywhere or knows a secret, and every action is named by its commit."""
    # Given
    text = WORKFLOW.read_text()
    # When
    rights = [workflow["permissions"], *(job["permissions"] for job in workflow["jobs"].values())]
    # Then
    assert all(each in ({}, {"contents": "read"}) for each in rights)
    assert "secrets." not in text
    assert len(PINNED.findall(text)) == text.count("uses:") > 0


def test_workflow_keeps_what_it_built(workflow: dict[str, Any]) -> None:
    """Every job that builds uploads `dist`, and it is an error when there is nothing."""
    # Given
    jobs = [workflow["jobs"][name] for name in ("artefacts", "collect")]
    # When
    uploads = [
        step["with"] for job in jobs for step in job["steps"] if "upload" in step.get("uses", "")
    ]
    # Then
    assert len(uploads) == len(jobs)
    assert all((each["path"], each["if-no-files-found"]) == ("dist/", "error") for each in uploads)
