"""The documentation names everything that a user can type or set."""

from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from blueplane.config import SETTINGS
from blueplane.interfaces.cli.main import COMMANDS, blueplane

ROOT = Path(__file__).parents[2]
OPERATIONS = ROOT / "docs" / "OPERATIONS.md"
README = ROOT / "README.md"


def commands(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    """Yield a command and all beneath it, each with what a user types for it."""
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            beneath = command.get_command(context, name)
            assert beneath is not None
            yield from commands(f"{path} {name}", beneath)


@pytest.mark.parametrize("name", COMMANDS)
def test_command_has_help_and_is_documented_when_listed(name: str) -> None:
    """Every command, and every one beneath it, has help and is in the README or OPERATIONS."""
    # Given the command, and what a user can read
    command = blueplane.get_command(click.Context(blueplane), name)
    assert command is not None
    text = README.read_text() + OPERATIONS.read_text()

    # When everything that can be typed is collected
    found = dict(commands(f"blueplane {name}", command))

    # Then
    assert [path for path, each in found.items() if not each.help] == []
    assert [path for path in found if path not in text] == []


def test_operations_documents_every_setting_when_one_is_added() -> None:
    """Every configuration key is in docs/OPERATIONS.md."""
    # Given
    text = OPERATIONS.read_text()

    # When
    missing = [setting.key for setting in SETTINGS if f"`{setting.key}`" not in text]

    # Then
    assert missing == []


@pytest.mark.parametrize("command", ["python3 build.py run", "python3 build.py test"])
def test_readme_names_the_command_when_somebody_has_just_cloned(command: str) -> None:
    """The README says how to start the program and how to test it."""
    # Given / When
    text = README.read_text()

    # Then
    assert command in text
