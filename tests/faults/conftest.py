"""What the fault tests share: servers, cheap and real ones, and events to issue.

Owns the fixtures ``server``, ``road`` and ``issued``.
Promises that every server of it ends with the test.
Leaves the faults to the tests.
"""

from collections.abc import Iterator

import pytest

from blueplane.paths import Home
from helpers.issued import Issued
from helpers.nursery import Nursery
from helpers.redis_server import RedisServer
from helpers.road import Road
from helpers.server import Server


@pytest.fixture
def issued(home: Home) -> Issued:
    """Give the book of what is issued to ``home``."""
    return Issued(home)


@pytest.fixture
def server(home: Home, redis_server: RedisServer, nursery: Nursery) -> Iterator[Server]:
    """Give a server, not started, of ``home`` on the test's own Redis."""
    with Server(home, redis_server, nursery) as server:
        yield server


@pytest.fixture
def road(home: Home, redis_server: RedisServer) -> Iterator[Road]:
    """Give an attached road."""
    road = Road(home, redis_server)
    road.settle()
    yield road
    road.close()
