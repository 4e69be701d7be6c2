"""Values that a shell completes."""

import os
import shlex
from contextlib import redirect_stderr, redirect_stdout
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from unittest.mock import patch

import pytest

from blueplane.interfaces.cli.main import COMPLETE, main
from blueplane.paths import Home
from helpers.desk import answer, at, hook
from helpers.told import HOSTILE, sessions, told

#: What a name has that a shell would take for something else.
UNSAFE = set(" \t\n\r\x1b'\"`$\\!*?[](){}<>|&;#~=:%^")
EVIL = ("a b", "$(touch evil)", "`evil`", "it's", "a\nplain,evil", "-x", "~root", "a;b", "a:b")


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Give a home with sessions and projects, some of which a shell would mangle."""
    evil = [
        each
        for n, name in enumerate((*EVIL, *HOSTILE))
        for each in (
            answer(700 + n, session_id=name, project=name, **at(n)),
            hook(800 + n, "Stop", "stop", platform=name, session_id=f"of {name}", **at(n)),
        )
    ]  # fmt: skip
    return told(tmp_path_factory.mktemp("values") / "home", [*sessions(), *evil])


def completed(home: Home, *words: str) -> tuple[int, str, list[str]]:
    """Return the exit code, the complaint and what bash is offered for the last word."""
    out, said = TextIOWrapper(BytesIO(), "utf-8", write_through=True), StringIO()
    asked = {
        COMPLETE: "bash_complete", "BLUEPLANE_HOME": str(home.root),
        "COMP_WORDS": shlex.join(["blueplane", *words]), "COMP_CWORD": str(len(words)),
    }  # fmt: skip
    with patch.dict(os.environ, asked), redirect_stdout(out), redirect_stderr(said):
        code = main([])
    lines = out.buffer.getvalue().decode().splitlines()
    offered = [line.removeprefix("plain,") for line in lines if line]
    return code, said.getvalue(), offered


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("usage", "--project", "f"), ["first"]),
        (("export", "--project", "sec"), ["second"]),
        (("sessions", "--platform", "c"), ["claude_code", "cursor"]),
        (("metrics", "--category", "err"), ["errors"]),
        (("metrics", "--metric", "error_r"), ["error_rate"]),
        (("metrics", "--group-by", "mo"), ["month", "model"]),
        (("analyze", "two"), ["two-days"]),
        (("trace", "going"), ["going-on"]),
        (("explain", "metrics.error_r"), ["metrics.error_rate"]),
        (("explain", "usage.calls", "--session", "la"), ["last"]),
    ],
)
def test_a_value_is_completed_when_it_is_known(
    known: Home, words: tuple[str, ...], offered: list[str]
) -> None:
    """What is stored, and what figures there are, is offered by how it begins."""
    # Given / When / Then
    assert completed(known, *words) == (0, "", offered)


@pytest.mark.parametrize(
    "words", [("usage", "--project"), ("usage", "--platform"), ("analyze",), ("trace",)]
)
def test_a_name_is_not_offered_when_a_shell_would_mangle_it(
    known: Home, words: tuple[str, ...]
) -> None:
    """Spaces, quotes, signs of a shell and what does not print are never completed."""
    # Given / When
    code, said, offered = completed(known, *words, "")
    evil = completed(known, *words, "a")
    # Then
    assert (code, said) == (0, "")
    assert len(offered) > 1
    assert not UNSAFE & set("".join(offered))
    assert not any(each.startswith("-") for each in offered)
    assert evil == (0, "", ["a,b"])


@pytest.mark.parametrize("broken", ["nothing", "no database", "a foreign file"])
def test_nothing_is_said_when_nothing_can_be_completed(tmp_path: Path, broken: str) -> None:
    """Without a store, or with one that cannot be read, there are no values and no complaint."""
    # Given
    home = Home(tmp_path / "home")
    if broken != "nothing":
        home.prepare()
    if broken == "a foreign file":
        home.database.write_bytes(b"no database" * 1000)
    # When / Then
    for words in (("usage", "--project"), ("sessions", "--platform"), ("analyze",)):
        assert completed(home, *words, "") == (0, "", [])
