"""Importing what a command needs only now and then; start-up stays quick without it.

Owns nothing. Promises to import nothing by itself. Leaves what is loaded to who asks for it.
"""

from importlib import import_module
from typing import Any


def load(module: str, name: str) -> Any:  # noqa: ANN401 - a function or a class of ours
    """Return what a module beside this one has under a name."""
    return getattr(import_module(f"blueplane.interfaces.cli.{module}"), name)
