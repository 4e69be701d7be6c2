"""``blueplane install``: connect the editors, and have the server run by itself.

Owns what the user may choose, and what is said at the end.
Promises a plan with the exact diff of every file before the one question, and that a second run
changes nothing and says so.
Leaves the steps to ``install/setup.py`` and the plan on the screen to ``planning.py``.
"""

import os

import click

from blueplane.config import load
from blueplane.install import redis_setup
from blueplane.install.completion import SHELLS, Shell, login_shell
from blueplane.install.editors import NAMES
from blueplane.install.plan import Plan, Run
from blueplane.install.setup import Setup, Wanted, tidy, usual_parts
from blueplane.install.user_places import user_places
from blueplane.interfaces.cli import visible
from blueplane.interfaces.cli.completing import completion_text
from blueplane.interfaces.cli.flight import fly
from blueplane.interfaces.cli.options import home_option
from blueplane.interfaces.cli.output import Form
from blueplane.interfaces.cli.planning import (
    How,
    Words,
    answer,
    carry_out,
    exit_code,
    is_agreed,
    plan_options,
    say,
    untouched,
)
from blueplane.interfaces.cli.running import server_of
from blueplane.paths import Home

_only = click.option(
    "--only", type=click.Choice(sorted(NAMES)), help="Leave the other editor as it is."
)


@click.group(invoke_without_command=True)
@_only
@click.option("--no-service", is_flag=True, help="No service, and no server that is started.")
@plan_options
@click.pass_context
def install(
    context: click.Context, /, how: How, *, only: str | None, no_service: bool
) -> int | None:
    """Connect Cursor and Claude Code, and have the server run by itself.

    It shows what it found and every change that it would make, and asks once. It puts the program
    into its place, makes the database, adds hooks to the settings of the editors, lets the system's
    service manager run the server, and ends with an event of its own, sent through the hook of each
    editor. A second run changes nothing; one of a newer version upgrades what is there.

    The parts can be done alone: `blueplane install hooks`, `service` and so on.

    \b
    Exit codes:
      0  it is installed, or was already
      1  the answer was no, or the event of its own did not arrive
      2  a file is not as it should be, so something is left out; the rest is done
    """  # noqa: D301 - click wants the character, not its name
    if context.invoked_subcommand is not None:
        return None
    shell = login_shell(os.environ)
    completions = (shell,) if shell else ()
    parts = usual_parts(how.home)
    return _install(how, parts, only, service=not no_service, completions=completions)


@install.command()
@_only
@plan_options
def hooks(how: How, *, only: str | None) -> int:
    """Add our hooks to the settings of the editors."""
    return _install(how, frozenset({"hooks"}), only)


@install.command()
@plan_options
def service(how: How) -> int:
    """Have the system's service manager run the server."""
    return _install(how, frozenset({"program", "database", "service"}))


@install.command()
@plan_options
def database(how: How) -> int:
    """Make the database, or bring it to this version."""
    return _install(how, frozenset({"database"}))


@install.command()
@click.argument("shells", nargs=-1, type=click.Choice(SHELLS), metavar="[bash|zsh|fish]...")
@plan_options
def completion(how: How, shells: tuple[Shell, ...]) -> int:
    """Have a shell complete the commands; your login shell, if none is given."""
    login = login_shell(os.environ)
    chosen = shells or ((login,) if login else SHELLS)
    return _install(how, frozenset({"completion"}), completions=chosen)


@install.command()
@plan_options
def extension(how: How) -> int:
    """Add our extension to Cursor: health in the status bar, sessions of its windows.

    It is a file below the home; Cursor's own command installs it, or you, where there is none.
    Exit code 2: that command did not; the file is there, and it is said how you do it.
    """
    return _install(how, frozenset({"extension"}))


@install.command()
@click.option("--url", help="Address of a Redis of yours; without it, that of the settings.")
@home_option
def redis(home: Home, url: str | None) -> None:
    """Check a Redis of your own, and use it from now on.

    It must be of version 7.0 or newer, not evict what is stored, and let us do what we need; what
    else is worth knowing of it is said. Without one, the server starts a private one.
    """
    settings = load(home, os.environ).redis
    if url is None:
        click.echo(visible(redis_setup.outlook(home, settings)))
        return
    found = redis_setup.look(home, url, settings.key_prefix)
    click.echo(visible(found.summary))
    for remark in found.remarks:
        say(f"note: {remark}", hang=6)
    if redis_setup.use(home, url, settings):
        click.echo("redis.url: set; `blueplane restart` has a running server use it")
    else:
        click.echo("redis.url: was set already")


# --- all of it ------------------------------------------------------------------------------------


def _install(
    how: How,
    parts: frozenset[str],
    only: str | None = None,
    *,
    service: bool = True,
    completions: tuple[Shell, ...] = (),
) -> int:
    wanted = Wanted(
        how.home, user_places(os.environ), os.environ, completion_text, parts,
        NAMES.get(only or "", ""), service, completions,
    )  # fmt: skip
    with untouched():
        setup = Setup(wanted, server_of(how.home))
        plan = setup.plan()
        if not is_agreed(plan, how, _words(len(plan.steps))):
            return exit_code(plan)
    run = carry_out(plan.steps, how.form, setup.alone())
    try:
        return _finish(plan, run, wanted, how.form)
    except KeyboardInterrupt:
        click.echo("blueplane: stopped; every step is done, and nothing was proved", err=True)
        raise


def _words(changes: int) -> Words:
    return Words(
        question=f"make these {changes} changes?" if changes > 1 else "make this change?",
        nothing="everything is as it should be",
        nothing_else="the rest is as it should be",
    )


def _finish(plan: Plan, run: Run, wanted: Wanted, form: Form) -> int:
    removed = tidy(wanted.places) if "program" in wanted.parts else []
    flights = fly(wanted) if wanted.parts >= {"hooks", "service"} else []
    if form == "json":
        answer(plan, run, removed_versions=removed, canaries=[each.body() for each in flights])
    else:
        for name in removed:
            click.echo(f"removed: version {name}, which nobody runs any more")
        for flight in flights:
            say(flight.text(), hang=4)
        _say_end(plan, wanted)
    return exit_code(plan) or int(not all(flight.arrived for flight in flights))


def _say_end(plan: Plan, wanted: Wanted) -> None:
    but = ", but for what is left out above" if plan.problems else ""
    if "hooks" in wanted.parts:
        checks = "`blueplane status` shows what arrives, `blueplane doctor` checks it"
        if wanted.service and "service" in wanted.parts:
            say("history is read in the background; `blueplane backfill` shows how far", hang=2)
        say(f"installed{but}; {checks}", hang=2)
    else:
        click.echo(f"done{but}")
