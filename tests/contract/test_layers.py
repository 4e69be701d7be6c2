"""The one-way import rule: who may import whom, and which module alone may touch what.

Imports are read from the source text with ast, so nothing is run and no import can hide.
"""

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "src" / "blueplane"

BASE = (
    "clock", "config", "config_edit", "config_file", "config_text", "config_values", "days",
    "digests", "errors", "event", "faults", "figures", "lean", "lock", "logs", "paths",
    "price_text", "proof", "refusal", "revival", "sandbox", "shipped", "supervisor", "threads",
)  # fmt: skip
#: What the base may import besides the standard library and itself.
BASE_LIBRARIES = {"orjson", "yaml"}

_QUEUE_AND_STORE = (*BASE, "pipeline.link", "pipeline.stream", "store")
_DERIVED = (
    *_QUEUE_AND_STORE, "pipeline.custody", "pipeline.health_log", "pipeline.measures",
    "pipeline.metric_log",
)  # fmt: skip
_BELOW_INSTALL = (*_QUEUE_AND_STORE, "analytics", "capture", "health", "pipeline")
_BELOW_INTERFACES = (*_BELOW_INSTALL, "daemon", "install", "selftest", "server")

#: A module or package -> what of ours it may import, besides what is in it.
#: Of several entries that fit a module the longest counts.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(BASE, BASE),
    "store": BASE,
    "pipeline.redis_server": BASE,
    "pipeline.link": BASE,
    "pipeline.health_log": (*BASE, "pipeline.link"),
    "pipeline.metric_log": (*BASE, "pipeline.link"),
    "pipeline.stream": (*BASE, "pipeline.link", "pipeline.redis_server"),
    "capture": BASE,
    "pipeline": _QUEUE_AND_STORE,
    "analytics": _DERIVED,
    "health": _DERIVED,
    "server": (*BASE, "analytics", "health", "store.queries"),
    "install": _BELOW_INSTALL,
    "onlookers": (*_BELOW_INSTALL, "install.notify", "server"),
    "monitors": (*BASE, "capture", "health.probes"),
    "daemon": (*_BELOW_INSTALL, "monitors", "onlookers", "server"),
    "selftest": _BELOW_INSTALL,
    # A truth that is worked out without the program.
    "selftest.corpus": (),
    "selftest.story": ("selftest.corpus",),
    "selftest.truth": ("selftest.corpus",),
    "interfaces": _BELOW_INTERFACES,
    "__main__": ("interfaces",),
}

#: Somebody else's module -> the only ones of ours that may import it.
ONLY_IN: dict[str, tuple[str, ...]] = {
    "click": ("interfaces.cli",),
    "redis": ("pipeline.link",),
    "rich": ("interfaces.cli",),
    "sqlite3": ("store", "capture.cursor.database"),
    "subprocess": ("install", "pipeline.private_redis"),
}

#: A function of the standard library -> the only modules of ours that may use it.
USED_ONLY_IN: dict[str, tuple[str, ...]] = {
    "time.time": ("clock",),
    "time.time_ns": ("clock",),
    "time.clock_gettime": ("clock",),
    "datetime.now": ("clock",),
    "datetime.utcnow": ("clock",),
    "datetime.today": ("clock",),
    "date.today": ("clock",),
    "os.fork": (),
    "os.forkpty": (),
    "importlib.import_module": (
        "analytics.metrics.additions",
        "config",
        "interfaces.cli.lazy",
        "interfaces.cli.main",
        "pipeline.link",
    ),
}

#: Imports commands when they are asked for, so that start-up stays quick.
LAZY = "interfaces.cli.main"

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Module:
    """What one source text says; names of ours are without the ``blueplane.`` before them."""

    name: str
    libraries: frozenset[str]
    ours: frozenset[str]
    in_functions: frozenset[str]
    uses: frozenset[str]


def within(name: str, packages: Iterable[str]) -> bool:
    """Say whether a module is one of ``packages`` or beneath one."""
    return any(f"{name}.".startswith(f"{package}.") for package in packages)


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield the full dotted name of everything that is imported anywhere in ``tree``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def attributes(tree: ast.AST) -> Iterator[str]:
    """Yield ``owner.name`` for every attribute, of the owner its last name only."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = node.value
            yield f"{getattr(owner, 'id', getattr(owner, 'attr', ''))}.{node.attr}"


def read(name: str, text: str, known: Iterable[str]) -> Module:
    """Read one source text; ``known`` are our modules, to tell a module from a name in it."""
    tree = ast.parse(text)
    names = set(imports(tree))
    inner = (node for node in ast.walk(tree) if isinstance(node, FUNCTIONS))
    ours = {each.removeprefix("blueplane.") for each in names if within(each, ["blueplane"])}
    return Module(
        name,
        libraries=frozenset(each.partition(".")[0] for each in names) - {"blueplane"},
        ours=frozenset(each if each in known else each.rpartition(".")[0] for each in ours),
        in_functions=frozenset(each for function in inner for each in imports(function)),
        uses=frozenset(names | set(attributes(tree))),
    )


def wrong_directions(module: Module) -> Iterator[str]:
    """Yield imports of ours against the direction of the layers."""
    entries = [entry for entry in MAY_IMPORT if within(module.name, [entry])]
    if module.name and not entries:
        yield f"{module.name} has no layer: give it one in {Path(__file__).name}"
    for entry in sorted(entries, key=len)[-1:]:
        allowed = {"", entry, *MAY_IMPORT[entry]}
        yield from (f"{module.name} imports {each}" for each in module.ours
                    if each and not within(each, allowed))  # fmt: skip


def wrong_libraries(module: Module) -> Iterator[str]:
    """Yield imports of modules that only another part of the program may know."""
    for library in module.libraries:
        if not within(module.name, ONLY_IN.get(library, [module.name])):
            yield f"{module.name} imports {library}"
        if not library:
            yield f"{module.name} imports from a dot: write the full name"
        if module.name in BASE and library not in BASE_LIBRARIES | sys.stdlib_module_names:
            yield f"{module.name} imports {library}: the base must not need it"


def wrong_uses(module: Module) -> Iterator[str]:
    """Yield functions that only another module may use, and imports inside functions."""
    for name in module.uses & USED_ONLY_IN.keys():
        if module.name not in USED_ONLY_IN[name]:
            yield f"{module.name} uses {name}"
    if module.name != LAZY:
        yield from (f"{module.name} imports {each} in a function" for each in module.in_functions)


def cycles(modules: Iterable[Module]) -> list[str]:
    """Return the cycle that imports make; none when they make none."""
    graph = {module.name: module.ours - {module.name} for module in modules}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [f"cycle: {' <- '.join(error.args[1])}"]
    return []


def breaches(sources: dict[str, str]) -> list[str]:
    """Return every breach of the rules in ``sources``, texts by module name."""
    modules = [read(name, text, sources) for name, text in sources.items()]
    rules = (wrong_directions, wrong_libraries, wrong_uses)
    found = {each for module in modules for rule in rules for each in rule(module)}
    return cycles(modules) + sorted(found)


def module_name(path: Path) -> str:
    """Return the name of a module of ours, '' for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.fault("E1")
def test_source_tree_keeps_the_layers_when_every_import_is_read() -> None:
    """No module of the program breaks a rule of the layers."""
    # Given
    sources = {module_name(path): path.read_text() for path in PACKAGE.rglob("*.py")}
    assert {"", "errors", "clock"} <= sources.keys()

    # When
    found = breaches(sources)

    # Then
    assert found == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("errors", "from blueplane.store.connection import Store"),
        ("store.traces", "import blueplane.pipeline.stream"),
        ("pipeline.stream", "from blueplane.pipeline.custody import balance"),
        ("pipeline.writer", "from blueplane.health.check import Check"),
        ("capture.spool", "from blueplane.store import connection"),
        ("analytics.usage", "from blueplane.health.check import Check"),
        ("health.queue", "from blueplane.pipeline.writer import WriterThread"),
        ("server.api", "from blueplane.store.connection import Store"),
        ("install.hooks", "from blueplane.server import http"),
        ("daemon", "from blueplane.interfaces.cli import output"),
        ("newcomer", "import os"),
        ("config", "import psutil"),
        ("health.queue", "from . import check"),
        ("pipeline.consumer", "import redis.client"),
        ("health.database", "from sqlite3 import Connection"),
        ("install.doctor", "import click"),
        ("server.http", "from rich.text import Text"),
        ("capture.poller", "import subprocess"),
        ("health.history", "import time\nSTART = time.time()"),
        ("health.history", "from time import time_ns"),
        ("logs", "import datetime\nSTART = datetime.datetime.now(datetime.UTC)"),
        ("daemon", "import os\nos.fork()"),
        ("store.queries", "def read() -> None:\n    import orjson"),
        ("daemon", "import importlib\nimportlib.import_module('blueplane.interfaces')"),
    ],
)
def test_rules_bite_when_a_module_breaks_one(name: str, text: str) -> None:
    """Each rule names the module that breaks it."""
    # Given a source text with one breach

    # When
    found = breaches({name: text})

    # Then
    assert len(found) == 1
    assert found[0].startswith(name)


def test_rules_bite_when_two_modules_import_each_other() -> None:
    """A cycle inside a layer is a breach although both directions are allowed there."""
    # Given
    sources = {
        "store.traces": "from blueplane.store import schema",
        "store.schema": "from blueplane.store.traces import insert",
    }

    # When
    found = breaches(sources)

    # Then
    assert len(found) == 1
    assert found[0].startswith("cycle: ")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("clock", "import time\nNOW = time.time_ns()"),
        ("store.connection", "import sqlite3\nfrom blueplane.paths import Home"),
        ("capture.cursor.database", "import sqlite3"),
        ("pipeline.custody", "from blueplane.pipeline.stream import Stream"),
        ("interfaces.cli.main", "def load() -> None:\n    import blueplane.daemon"),
        ("interfaces.cli.status", "import click\nfrom blueplane import __version__"),
        ("health.check", "import time\nSTART = time.monotonic()"),
    ],
)
def test_rules_let_pass_when_a_module_keeps_them(name: str, text: str) -> None:
    """What the layout allows is no breach."""
    # Given a source text that keeps the rules

    # When
    found = breaches({name: text})

    # Then
    assert found == []
