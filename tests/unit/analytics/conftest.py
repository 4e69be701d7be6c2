from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.desk import Desk
from helpers.road import database_file


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Give a store with all workers."""
    desk = Desk(database_file(tmp_path))
    yield desk
    desk.close()
