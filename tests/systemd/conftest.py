"""What a test of the service may use: a machine with a systemd, and the program in it.

Owns the fixtures ``machine`` and ``program``.
Promises that none of these tests is collected but by ``python3 build.py test-systemd``, for they
need root and namespaces.
Leaves the machine to ``machine.py``.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from machine import Machine, make_tree
from program import Program, shared

collect_ignore_glob = [] if os.environ.get("BLUEPLANE_TEST_SYSTEMD") else ["test_*.py"]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Make the tree of files, once on this machine: it takes longer than a test may."""
    if os.environ.get("BLUEPLANE_TEST_SYSTEMD") and session.items:
        make_tree()


@pytest.fixture
def machine() -> Iterator[Machine]:
    """Give a machine that has just been started; it ends with the test."""
    with Machine(shared()) as machine:
        yield machine


@pytest.fixture
def program(machine: Machine) -> Program:
    """Give the program in the machine, where ``install`` puts it; there is no service yet."""
    return Program(machine)
