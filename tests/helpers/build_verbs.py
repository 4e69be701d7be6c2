"""The verbs of build.py, for tests of what names them."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

BUILD = Path(__file__).parents[2] / "build.py"


def build_verbs() -> dict[str, Callable[..., int]]:
    """Return every verb of build.py by its name."""
    spec = importlib.util.spec_from_file_location("blueplane_build", BUILD)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    verbs: dict[str, Callable[..., int]] = module.VERBS
    return verbs
