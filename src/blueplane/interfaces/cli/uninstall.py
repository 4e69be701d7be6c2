"""``blueplane uninstall``: take out exactly what ``install`` put in.

Owns the question, and with ``--purge`` the size of what would be gone.
Promises that what was captured stays unless it is to be purged.
Leaves the steps to ``install/removal.py`` and the plan on the screen to ``planning.py``.
"""

import os

import click

from blueplane.figures import size as size_text
from blueplane.install import purging
from blueplane.install.plan import Plan
from blueplane.install.removal import Removal, Unwanted
from blueplane.install.user_places import user_places
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


@click.command()
@click.option("--purge", is_flag=True, help="Also remove everything that was captured.")
@plan_options
def uninstall(how: How, *, purge: bool) -> int:
    """Take out exactly what `blueplane install` put in.

    The settings files of the editors are what they were before, or, where somebody else has changed
    them since, without our entries. The server is stopped. What was captured stays, unless you say
    --purge: then its size is shown before the question.

    \b
    Exit codes:
      0  nothing of us is left but the data
      1  the answer was no
      2  something is left, because a file is not as it should be
    """  # noqa: D301 - click wants the character, not its name
    home = how.home
    unwanted = Unwanted(home, user_places(os.environ), os.environ, purge)
    with untouched():
        removal = Removal(unwanted, server_of(home))
        plan = removal.plan()
        size = size_text(purging.size(home))
        data = f"{size} in {home.root}"
        if not is_agreed(plan, how, _words(len(plan.steps), size if purge else "", data)):
            return exit_code(plan)
    run = carry_out(plan.steps, how.form, removal.alone())
    if how.form == "json":
        answer(plan, run)
    else:
        stays = f"what was captured ({size}) stays in {home.root}; remove that when you want"
        _say_end(plan, "" if purge else stays)
    return exit_code(plan)


def _words(steps: int, lost: str, data: str) -> Words:
    """Return what is asked; ``lost`` is the size of what is gone for good then, if anything is."""
    question = f"take these {steps} steps" if steps > 1 else "take this step"
    return Words(
        question=f"{question}, and remove {lost} of data for good?" if lost else f"{question}?",
        nothing="nothing of us is there",
        nothing_else="what is left out above stays",
        note=f"data: {data}" if lost else "",
    )


def _say_end(plan: Plan, stays: str) -> None:
    if plan.problems:
        say(f"uninstalled, but for what is left out above; {stays or 'the data is gone'}", hang=2)
    else:
        say(f"uninstalled; {stays or 'nothing is left'}", hang=2)
