"""What the fault tests share: cheap servers.

Owns the fixture ``nursery``.
Promises that every server of it ends with the test.
Leaves the faults to the tests.
"""

from collections.abc import Iterator

import pytest

from blueplane.paths import Home
from helpers.nursery import Nursery
from helpers.server import environment


@pytest.fixture
def nursery(home: Home) -> Iterator[Nursery]:
    """Give cheap servers of ``home``."""
    assert home, "the fixture sets the environment that servers inherit"
    with Nursery(environment()) as nursery:
        yield nursery
