"""``blueplane health``: how every part is, and what is wrong.

Owns the choice of what is shown, and the exit code.
Promises an answer in a moment, server or not: without one the last stored look, with its age.
Leaves judging to the server, and the words to ``health_screen.py``.
"""

import sys
from collections.abc import Mapping
from typing import Any, Final

import click

from blueplane.clock import wall_ms
from blueplane.errors import BlueplaneError, NotFoundError, UsageError
from blueplane.health.check import COMPONENTS
from blueplane.interfaces.cli.health_screen import Look, overview, page
from blueplane.interfaces.cli.lazy import load
from blueplane.interfaces.cli.options import duration_s, format_option, home_option
from blueplane.interfaces.cli.screen import coloured
from blueplane.lock import is_running
from blueplane.paths import Home
from blueplane.server.control import ask

INCIDENTS: Final = "incidents"
CAPTURE: Final = "capture"
#: Seconds that a server has to tell how it is.
ANSWER_S: Final = 5.0
#: Columns of a terminal that are used, and lines, so that the prompt has room below.
WIDTH: Final = 80
LINES: Final = 23


@click.command()
@click.argument("part", required=False, type=click.Choice([*COMPONENTS, INCIDENTS]))
@click.option(
    "--since", metavar="TIME", help="How it went for so long: 90s, 30m (minutes), 24h or 7d."
)
@click.option(
    "--metric", "metrics", multiple=True, metavar="NAME",
    help="With --since: of this figure; 'queue.*' for several.",
)  # fmt: skip
@format_option
@home_option
def health(
    home: Home, part: str | None, since: str | None, metrics: tuple[str, ...], form: str
) -> int:
    """Show how every part is, and what is wrong.

    Without a server the last stored look is shown, with its age. INCIDENTS are the times in which
    something was not green.

    \b
    Examples:
      blueplane health chain
      blueplane health incidents --since 7d
      blueplane health --since 24h --metric 'queue.*'

    \b
    Exit codes:
      0  green or yellow; with --since, and for incidents: there is an answer
      1  orange or red, no server runs, or it does not look any more
    """  # noqa: D301 - click wants the character, not its name
    since_s = None if since is None else duration_s(since)
    if part == INCIDENTS:
        load("incidents", "show")(home, since_s, form)
        return 0
    if since_s is not None:
        load("sparks", "show")(home, since_s, metrics or _figures(part), form)
        return 0
    if metrics:
        message = "--metric is of the past: say how much of it, --since 24h"
        raise UsageError(message)
    look = _look(home)
    if part is not None and part not in look.components:
        message = f"nothing was seen of {part} yet; ask again in a moment"
        raise NotFoundError(message)
    if form == "json":
        more = {"alone": load("witnesses", "found")(home)} if part == CAPTURE else {}
        load("output", "render_json")({**_answer(look, part), **more})
    else:
        _show(look, part)
        coverage = look.components[part].get("coverage", ()) if part else ()
        for line in load("witnesses", "lines")(home, coverage) if part == CAPTURE else ():
            click.echo(line)
    return int(not look.is_well(part))


def _figures(part: str | None) -> tuple[str, ...]:
    return () if part is None else (f"{part}.*",)


def _look(home: Home) -> Look:
    """Ask the server, else read what it stored last."""
    if not is_running(home):
        return _stored(home, "no server runs; `blueplane start` starts one")
    try:
        body = ask(home.control_socket, "health", timeout_s=ANSWER_S)
    except BlueplaneError as error:
        return _stored(home, f"the server does not answer: {error}")
    return _made(body, body["as_of_ms"])


def _stored(home: Home, trouble: str) -> Look:
    with load("storage", "stored")(home) as reader:
        snapshot = reader.health()
    if snapshot is None:
        message = f"{home.database}: no look at health is stored yet; `blueplane start` makes one"
        raise NotFoundError(message)
    return _made(snapshot.body, snapshot.as_of_ms, trouble)


def _made(body: Mapping[str, Any], as_of_ms: int, trouble: str | None = None) -> Look:
    return Look(body, max(0, wall_ms() - as_of_ms), trouble)


def _answer(look: Look, part: str | None) -> Mapping[str, Any]:
    """Return what programs get: the body as over HTTP, and how old it is and why."""
    body = look.body if part is None else look.components[part]
    known = {"as_of_ms": look.body["as_of_ms"], "age_ms": look.age_ms, "trouble": look.trouble}
    return {**known, **body}


def _show(look: Look, part: str | None) -> None:
    on_screen = sys.stdout is not None and sys.stdout.isatty()
    width, lines = (WIDTH, LINES) if on_screen else (None, None)
    text = overview(look, width, lines) if part is None else page(look, part, width)
    for line in text:
        click.echo(line, color=coloured(sys.stdout))
