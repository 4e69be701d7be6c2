from collections.abc import Iterator

import pytest

from blueplane.paths import Home
from helpers.redis_server import RedisServer
from helpers.road import Road

WAIT_S = 20.0


@pytest.fixture
def road(home: Home, redis_server: RedisServer) -> Iterator[Road]:
    """Give the road of a server that is attached."""
    road = Road(home, redis_server)
    road.writer.attach()
    yield road
    road.writer.stop()
    road.writer.join(WAIT_S)
    road.close()
