"""The words of ``blueplane serve``."""

from pathlib import Path

import pytest

from blueplane.interfaces.cli import serve
from blueplane.paths import Home


@pytest.mark.parametrize(
    ("code", "clean", "says"),
    [
        (0, True, "stopped"),
        (0, False, "stopped, but not in order; see {log}"),
        (70, True, "gave up, its threads died too often; see {log}"),
    ],
)
def test_last_line_says_how_it_ended_when_the_server_stops(
    tmp_path: Path, code: int, *, clean: bool, says: str
) -> None:
    """A server that gave up, or could not stop in order, does not call that stopped."""
    # Given a home / When a server there has ended
    home = Home(tmp_path)
    # Then its last line says how, and where to look
    assert serve._ended(home, code, clean=clean) == says.format(log=home.log_file)
