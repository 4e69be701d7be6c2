"""The rules of our SQL: one writer, one kind of transaction, no memory map, no fork.

Sources are read with ast: every text of the program that is a statement, and every call.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from blueplane.store.connection import open_reader, open_writer

PACKAGE = Path(__file__).parents[2] / "src" / "blueplane"
#: The only module with a connection of its own to write with, and the only one that begins.
CONNECTION = "store/connection.py"
#: Where connections that cannot write are, and who has several reads of one see the same rows.
READING = "store/reading.py"
OPENING = "interfaces/cli/opening.py"
#: The only module that opens the write connection.
COMMITS = "pipeline/commits.py"
#: It makes a new file of what a damaged database holds, which nobody else has open.
RECOVERY = "store/recovery.py"


@cache
def sources() -> dict[str, str]:
    """Return the texts of all modules by path."""
    return {
        str(path.relative_to(PACKAGE)): path.read_text() for path in PACKAGE.rglob("*.py")
    }  # fmt: skip


@cache
def nodes(source: str) -> list[ast.AST]:
    """Return every node of a module: all rules look at the same ones."""
    return list(ast.walk(ast.parse(source)))


def statements(source: str) -> Iterator[str]:
    """Yield every text that is not a docstring."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docs = {
        id(node.body[0].value)
        for node in nodes(source)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in nodes(source):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


def names(source: str) -> set[str]:
    """Return every name, attribute and import of a module."""
    found: set[str] = set()
    for node in nodes(source):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.name for alias in node.names} | {getattr(node, "module", None) or ""}
    return found


def matching(pattern: str) -> list[tuple[str, str]]:
    """Return (module, text) of every text that begins with ``pattern``, in any case."""
    return [
        (name, text)
        for name, source in sources().items()
        for text in statements(source)
        if re.match(rf"\s*(?:{pattern})\b", text, re.IGNORECASE)
    ]


def using(*wanted: str) -> set[str]:
    """Return the modules that use any of these names."""
    return {name for name, source in sources().items() if names(source) & set(wanted)}


@pytest.mark.fault("C4")
def test_every_transaction_is_immediate_when_it_begins() -> None:
    """BUSY_SNAPSHOT cannot happen: who may write begins IMMEDIATE, else nothing can be written."""
    # Given / When
    begins = matching("BEGIN|SAVEPOINT")
    # Then
    assert sorted(begins) == [(CONNECTION, "BEGIN"), (CONNECTION, "BEGIN IMMEDIATE")]
    assert using("one_state") == {READING, OPENING}
    ends = {name for name, _ in matching(r"COMMIT|ROLLBACK|END\s+TRANSACTION")}
    assert ends == {CONNECTION}
    assert using("isolation_level", "executescript", "autocommit") <= {CONNECTION}


@pytest.mark.fault("C14")
def test_there_is_one_write_connection_when_all_sources_are_read() -> None:
    """It is opened in one place, readers cannot write, and checkpoints are made with it alone."""
    # Given / When / Then
    assert using("open_writer") <= {CONNECTION, COMMITS, RECOVERY}
    checkpoints = {name for name, _ in matching(r"PRAGMA\s+wal_checkpoint")}
    assert all(name.startswith("store/") for name in checkpoints)
    assert not {name for name, _ in matching(r"PRAGMA\s+journal_mode")} - {CONNECTION}


@pytest.mark.fault("C14")
def test_no_connection_maps_the_file_when_it_is_open(tmp_path: Path) -> None:
    """A file that is cut while it is mapped would end the process: nothing is mapped."""
    # Given
    path = tmp_path / "a.db"
    writer = open_writer(path)
    reader = open_reader(path)
    # When / Then
    for connection in (writer, reader):
        row = connection.execute("PRAGMA mmap_size").fetchone()
        assert row is None or row[0] == 0
        connection.close()
    assert [name for name, text in matching(".*mmap") if "mmap" in text] == []


@pytest.mark.fault("C15")
def test_nothing_forks_when_all_sources_are_read() -> None:
    """A process that forks with an open database may damage it: none does."""
    # Given / When / Then
    assert using("fork", "forkpty", "multiprocessing", "ProcessPoolExecutor") == set()
    assert "preexec_fn" not in "".join(sources().values())


def test_rules_bite_when_a_source_breaks_one() -> None:
    """The readers see what is between functions, in them and in attributes, and no docstring."""
    # Given
    source = 'def f(c):\n    "BEGIN of it"\n    c.execute("begin deferred")\n    os.fork()'
    # When / Then
    assert list(statements(source)) == ["begin deferred"]
    assert "fork" in names(source)
