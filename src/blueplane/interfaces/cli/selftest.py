"""``blueplane selftest``: a corpus with known truth, and what every view shows of it.

Owns the temporary home, asking the views as a user does, and the exit code.
Promises to touch neither the user's home nor the network, to need no Redis and no server, and to
leave nothing behind.
Leaves the corpus, its truth and the comparison to ``selftest/``.
"""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from typing import Any, Final

import click

from blueplane.analytics.metrics.catalogue import figures
from blueplane.analytics.metrics.spans import vector_of
from blueplane.errors import BlueplaneError, HomeError
from blueplane.figures import count
from blueplane.interfaces.cli.lazy import load
from blueplane.interfaces.cli.options import format_option
from blueplane.interfaces.cli.output import Column, Form, Table, render
from blueplane.paths import Home
from blueplane.selftest import compare, story, truth
from blueplane.selftest.compare import Check
from blueplane.selftest.corpus import Corpus
from blueplane.selftest.road import Road
from blueplane.store.metric_rollups import BoundedScope
from blueplane.store.queries import reading

EXIT_DIFFERS: Final = 1
#: Days that the corpus is within, in days since 1970.
_DAYS: Final = (0, 50_000)
_STYLES: Final = {"ok": "green", "differs": "bold red"}
_COLUMNS: Final = (
    Column("view", "view", whole=True),
    Column("expected", "expected"),
    Column("shown", "shown"),
    Column("result", "", style=lambda result: _STYLES[result], whole=True),
)


@click.command()
@format_option
def selftest(form: Form) -> int:
    """Try this program on transcripts and hooks of which the truth is known.

    They are as hostile as real ones: forks, replays, lines that are cut off,
    clocks that are off. They go through the same parts as yours, in a temporary
    home, and every view is held to the truth. It takes a second or two, and
    touches nothing of yours.

    Exit code 0: every view shows what it has to; 1: one differs.
    """
    checks = run()
    differing = [check for check in checks if not check.ok]
    rows = [
        {
            "view": check.view,
            "expected": check.expected,
            "shown": check.shown,
            "result": "ok" if check.ok else "differs",
            "differences": check.differences,
        }
        for check in checks
    ]
    render(Table(_COLUMNS, rows, caption=_verdict(len(checks), differing)), form)
    return EXIT_DIFFERS if differing else 0


def _verdict(whole: int, differing: list[Check]) -> str:
    if not differing:
        return f"{count(whole, 'check')}, and all is as it has to be; in usage: rows, tokens, cost"
    told = [f"{check.view}: {each}" for check in differing for each in check.differences]
    return "; ".join([f"{len(differing)} of {count(whole, 'check')} differ", *told])


def run() -> list[Check]:
    """Take the corpus down the road and compare every view."""
    corpus = Corpus()
    told = story.tell(corpus)
    with _place() as home:
        road = Road(home, home.root / "corpus")
        try:
            road.read_files(corpus.files, whole=False)
            road.take_hooks(told)
            road.read_files(corpus.files, whole=True)
            checks = compare.laws(corpus.outcomes, road.balance())
        finally:
            road.close()
        return [*_views(home, corpus), *checks]


@contextmanager
def _place() -> Iterator[Home]:
    """Give a home that is gone afterwards, with no setting of the environment in force."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("BLUEPLANE_")}
    with _temporary() as place:
        home = Home(Path(place).resolve() / "home")
        home.prepare()
        for name in kept:
            del os.environ[name]
        try:
            yield home
        finally:
            os.environ.update(kept)


def _temporary() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="blueplane-selftest-")
    except OSError as error:
        message = f"no place for a temporary home: {error.strerror}; let TMPDIR name one"
        raise HomeError(message) from error


def _views(home: Home, corpus: Corpus) -> list[Check]:
    known = load("main", "COMMANDS")
    asked = [name for name in truth.KEYS if name.split()[0] in known]
    checks = [compare.view(name, corpus, partial(_ask, home)) for name in asked]
    with reading(home.database) as reader:
        whole = vector_of(reader, BoundedScope(*_DAYS))
        told = figures(
            vector_of(reader, BoundedScope(*_DAYS, project=story.PROJECT)), story.FIGURES
        )
    checks.append(compare.models(corpus.calls, whole["models"]))
    return [*checks, *(compare.metric(n, each, told[n].value) for n, each in story.FIGURES.items())]


def _ask(home: Home, words: str) -> Mapping[str, Any]:
    """Return what a command prints for programs, as a user would have it."""
    out, complaint = TextIOWrapper(BytesIO(), "utf-8"), StringIO()
    with redirect_stdout(out), redirect_stderr(complaint):
        code = load("main", "main")([*words.split(), "--format", "json", "--home", str(home.root)])
    if code:
        raise BlueplaneError(complaint.getvalue().strip() or f"exit code {code}")
    out.seek(0)
    answer: Mapping[str, Any] = json.load(out)
    return answer
