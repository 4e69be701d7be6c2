"""What every test of the extension begins with: an installed home, and an editor's environment."""

import os

import pytest

from blueplane.paths import Home
from helpers.window import install_sign


@pytest.fixture
def installed(home: Home) -> Home:
    """Give the home of an install; no server runs."""
    install_sign(home)
    return home


@pytest.fixture
def environment(home: Home) -> dict[str, str]:
    """Give what an editor is started with."""
    assert os.environ["BLUEPLANE_HOME"] == str(home.root)
    return {name: os.environ[name] for name in ("HOME", "PATH", "BLUEPLANE_HOME")}
