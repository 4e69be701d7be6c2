"""What is said of a plan: sentences on a terminal and in a pipe."""

from io import StringIO

import pytest

from blueplane.interfaces.cli.planning import say

PATH = "/home/dana/" + "a-long-name/" * 8 + "hooks.json"


class Terminal(StringIO):
    """A terminal that remembers what was written."""

    def isatty(self) -> bool:
        """Say that it is one."""
        return True


def test_a_sentence_is_broken_between_words_when_it_is_longer_than_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No word of a plan is torn apart, and what goes on stands below its own beginning."""
    # Given a terminal of 80 columns
    terminal = Terminal()
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout", terminal)
    # When
    say(f" 4. write {PATH}: the script that editors run\x07", hang=4)
    say("note: " + "a sentence of several words " * 6, hang=6)
    # Then
    lines = terminal.getvalue().splitlines()
    assert lines[:3] == [" 4. write", f"    {PATH}:", "    the script that editors run\\x07"]
    assert all(len(line) <= 80 for line in lines if PATH not in line)
    assert all(line.startswith("      ") for line in lines[4:])


def test_a_sentence_is_one_line_when_it_goes_into_a_pipe(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A program reads line by line."""
    # Given / When
    say("note: " + "word " * 40 + "end", hang=6)
    # Then
    assert capsys.readouterr().out == "note: " + "word " * 40 + "end\n"
