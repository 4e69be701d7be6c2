"""The fixtures ``hook`` and ``public_hook``, each once per shell."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from blueplane.paths import Home
from unit.hooks.running import SCRIPT, SHELLS, Hook, make_hook


@pytest.fixture(params=SHELLS)
def hook(request: pytest.FixtureRequest, home: Home) -> Hook:
    """Give the hook in each shell, with a prepared home."""
    return make_hook(request.param, home)


@pytest.fixture(params=SHELLS)
def public_hook(request: pytest.FixtureRequest) -> Iterator[Hook]:
    """Give the hook with a home that every user can reach, and write to."""
    with tempfile.TemporaryDirectory(prefix="bp-", dir="/tmp") as name:
        root = Path(name)
        for directory in (root, root / "spool", root / "run"):
            directory.mkdir(exist_ok=True)
            directory.chmod(0o777)
        script = root / SCRIPT.name
        shutil.copy(SCRIPT, script)
        yield make_hook(request.param, Home(root), script)
