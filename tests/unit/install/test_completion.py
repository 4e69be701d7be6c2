"""Where each shell looks for our completion."""

from pathlib import Path

import pytest

from blueplane.install import completion
from blueplane.install.user_places import UserPlaces


@pytest.mark.parametrize(
    ("shell", "place"),
    [
        ("bash", "data/bash-completion/completions/blueplane"),
        ("zsh", "data/zsh/site-functions/_blueplane"),
        ("fish", "config/fish/completions/blueplane.fish"),
    ],
)
def test_completion_is_put_where_the_shell_looks(
    tmp_path: Path, shell: completion.Shell, place: str
) -> None:
    """Each has a directory of the user's that it reads when it is asked to complete."""
    # Given
    places = UserPlaces(tmp_path, tmp_path / "data", tmp_path / "config")
    # When
    change = completion.plan(shell, places, lambda shell: f"text for {shell}")
    # Then
    assert (change.path, change.after) == (tmp_path / place, f"text for {shell}".encode())


@pytest.mark.parametrize(
    ("variable", "shell"), [("/bin/zsh", "zsh"), ("/usr/bin/bash", "bash"), ("/bin/sh", None)]
)
def test_login_shell_is_known_by_its_name(variable: str, shell: str | None) -> None:
    """Another shell has no completion of ours."""
    # Given / When / Then
    assert completion.login_shell({"SHELL": variable}) == shell
    assert completion.login_shell({}) is None
