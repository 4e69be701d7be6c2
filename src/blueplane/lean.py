"""Imports without what they bring along and nobody here uses.

Owns standing in for a module while another one is imported.
Promises that whoever imports the real one later gets all of it.
Leaves what is worth it to whoever imports: it is measured in the memory of an idle server.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import ModuleType


class StandIn(ModuleType):
    """In place of a module of which nothing but the names of errors is used."""

    def __getattr__(self, name: str) -> type[Exception]:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (Exception,), {})


@contextmanager
def instead_of(name: str, stand_in: ModuleType) -> Iterator[None]:
    """Have a module imported as ``stand_in`` for a while, unless it is there already."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = stand_in
    try:
        yield
    finally:
        del sys.modules[name]


def without_init(name: str) -> ModuleType:
    """Return an empty package whose modules can be imported."""
    found = find_spec(name)
    package = ModuleType(name)
    package.__path__ = list(found.submodule_search_locations or ()) if found else []
    return package
