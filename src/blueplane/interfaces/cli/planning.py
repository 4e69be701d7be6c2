"""A plan on the screen: shown, agreed to, done, and what came of it.

Owns the options of every command that has one, how a plan and its diffs look, the one question, and
the words after an interruption.
Promises that nothing is done before a person said yes, and that after Ctrl-C or an error it is said
what was done and what was not.
Leaves the plan to ``install/``.
"""

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import wraps
from shutil import get_terminal_size
from textwrap import fill
from typing import Final

import click

from blueplane.install.plan import Plan, Run, Step
from blueplane.interfaces.cli import MAX_WIDTH, visible
from blueplane.interfaces.cli.asking import confirm
from blueplane.interfaces.cli.options import format_option, home_option
from blueplane.interfaces.cli.output import Fact, Form, render_facts, render_json
from blueplane.paths import Home

#: Exit code when something is left out, because a file is not as it should be; the rest is done.
EXIT_LEFT_OUT: Final = 2
_COLOURS: Final = {"+": "green", "-": "red", "@": "cyan"}
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class How:
    """What may be said of every plan: for which home, how it is told, and whether it is done."""

    home: Home
    form: Form
    yes: bool
    dry_run: bool


def plan_options(command: Callable[..., int | None]) -> Callable[..., int | None]:
    """Add the options of every plan; the command gets them as one record."""

    @click.option("--yes", is_flag=True, help="Do not ask.")
    @click.option("--dry-run", is_flag=True, help="Only show what would be done.")
    @format_option
    @home_option
    @wraps(command)
    def told(home: Home, form: Form, *, yes: bool, dry_run: bool, **others: object) -> int | None:
        return command(How(home, form, yes, dry_run), **others)

    return told


# --- before --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Words:
    """What a command says of its plan.

    ``nothing`` is said when there is nothing to do, ``nothing_else`` when that is so because
    something is left out; ``note`` is said before the question.
    """

    question: str
    nothing: str
    nothing_else: str
    note: str = ""


def is_agreed(plan: Plan, how: How, words: Words) -> bool:
    """Show a plan and ask; False when there is nothing to be done, which is said.

    Raises click.Abort when the answer is no.
    """
    if how.form == "table":
        _show(plan)
    _show_problems(plan)
    if how.dry_run or not plan.steps:
        _end_early(plan, how.form, words)
        return False
    if words.note and how.form == "table":
        say(words.note, hang=6)
    if not how.yes:
        confirm(words.question)
    return True


def _end_early(plan: Plan, form: Form, words: Words) -> None:
    if form == "json":
        answer(plan, None)
    elif plan.steps:
        click.echo("nothing was changed: this was a dry run")
    elif plan.problems:
        click.echo(f"nothing else to do: {words.nothing_else}")
    else:
        click.echo(f"nothing to do: {words.nothing}")


def exit_code(plan: Plan) -> int:
    """Return the exit code of a plan that was shown, or done."""
    return EXIT_LEFT_OUT if plan.problems else 0


def _show(plan: Plan) -> None:
    """Print what was found, then each step, those that change a text with their diff."""
    if plan.found:
        render_facts([Fact(label, text) for label, text in plan.found])
        click.echo()
    for number, step in enumerate(plan.steps, start=1):
        say(f"{number:>2}. {step.what}", hang=4)
        _show_diff(step.diff())
    for remark in plan.remarks:
        say(f"note: {remark}", hang=6)


def say(text: str, *, hang: int, err: bool = False) -> None:
    """Print a sentence; a terminal gets it in lines, all but the first ``hang`` columns further in.

    No word is broken, so a path that is longer than a line can still be copied.
    """
    stream, shown = sys.stderr if err else sys.stdout, visible(text)
    if stream is not None and stream.isatty():
        columns = min(get_terminal_size().columns, MAX_WIDTH)
        shown = fill(
            shown, columns, subsequent_indent=" " * hang,
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip
    click.echo(shown, err=err)


def _show_diff(text: str) -> None:
    for line in text.splitlines():
        click.secho(f"      {visible(line)}", fg=_COLOURS.get(line[:1]))


def _show_problems(plan: Plan) -> None:
    """Print on standard error what could not be planned."""
    for problem in plan.problems:
        say(f"blueplane: {problem}", hang=2, err=True)


@contextmanager
def untouched() -> Iterator[None]:
    """Say of Ctrl-C before the first step that nothing was changed."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo("blueplane: nothing was changed", err=True)
        raise


# --- while ---------------------------------------------------------------------------------------


def carry_out(steps: Sequence[Step], form: Form, alone: AbstractContextManager[None]) -> Run:
    """Do the steps while ``alone`` is held, and tell of each.

    Raises what a step raises, after it was said what was done and what was not.
    """
    run = Run(steps)
    with _interruptible():
        try:
            with alone:
                run.go(_tell if form == "table" else _be_quiet)
        except BaseException:  # Ctrl-C too: whatever it was, the user must know how far it came
            _hold_signals()
            run.settle()
            _account(run)
            raise
    return run


def _tell(step: Step) -> None:
    say(f"done: {step.what}", hang=6)


def _be_quiet(_step: Step) -> None:
    """Say nothing: the answer for programs comes at the end."""


def _account(run: Run) -> None:
    """Say how far it came."""
    click.echo("blueplane: stopped before the end", err=True)
    for title, steps in (("done", run.done), ("not done", run.left)):
        for step in steps:
            say(f"  {title}: {step.what}", hang=4, err=True)
    click.echo("  nothing is half done: run it again for what is left", err=True)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Have SIGTERM and SIGHUP end it as Ctrl-C does: with an account."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _hold_signals() -> None:
    """Have a second Ctrl-C not end the account of the first one."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


# --- after ---------------------------------------------------------------------------------------


def answer(plan: Plan, run: Run | None, **more: object) -> None:
    """Print a plan for programs, and what of it was done."""
    done = run.done if run is not None else []
    rows = [
        {
            "part": step.part,
            "what": step.what,
            "path": None if step.path is None else str(step.path),
            "diff": diff,
            "done": step in done,
        }
        for step, diff in ((step, step.diff()) for step in plan.steps)
    ]
    found = [{"what": label, "is": text} for label, text in plan.found]
    said = {"found": found, "remarks": plan.remarks, "problems": plan.problems}
    render_json({"rows": rows, "total": {}, **said, **more})
