"""The release that these tests look at, and homes for what they run.

Owns the fixtures ``release``, ``binary`` and ``user_home``.
Promises that the release is built once, by whichever process of the session needs it first.
Leaves everything else to the tests.
"""

import os
from pathlib import Path

import pytest

from helpers.artefacts import built_once, only


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a directory that all processes of the session share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def release(shared: Path) -> Path:
    """Give the directory of a whole release, as `build.py all` makes it."""
    return built_once("all", shared)


@pytest.fixture
def binary(release: Path) -> Path:
    """Give the executable."""
    return only(release, "blueplane-*-[lm]*_*[0-9]")


@pytest.fixture
def user_home(tmp_path: Path) -> Path:
    """Give an empty home directory of a user."""
    directory = tmp_path / "user"
    directory.mkdir()
    return directory
