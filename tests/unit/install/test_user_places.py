"""Where a user's programs, data and configuration lie."""

import os
from pathlib import Path

import pytest

from blueplane.errors import HomeError
from blueplane.install.user_places import user_places


def test_places_are_those_of_xdg_when_they_are_absolute(tmp_path: Path) -> None:
    """A variable that is no absolute path counts as unset."""
    # Given
    environment = {"HOME": str(tmp_path), "XDG_DATA_HOME": "/data", "XDG_CONFIG_HOME": "relative"}
    # When
    places = user_places(environment)
    # Then
    assert (places.data, places.config) == (Path("/data"), tmp_path / ".config")
    assert places.programs == Path("/data/blueplane")
    assert places.command == tmp_path / ".local" / "bin" / "blueplane"


@pytest.mark.fault("F10")
def test_root_in_the_home_of_another_is_refused(tmp_path: Path) -> None:
    """With sudo, everything would be root's in a home that is not."""
    # Given a home of somebody else
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    os.chown(tmp_path, 12345, 12345)
    # When / Then
    with pytest.raises(HomeError, match="belongs to uid 12345, and you are root"):
        user_places({"HOME": str(tmp_path)})
