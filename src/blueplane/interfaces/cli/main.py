"""The entry point: parse the command line, run one command, turn errors into one line.

Owns the table of commands and the exit codes of everything that can go wrong.
Promises that ``--help`` and ``--version`` import no command, and that nobody sees a traceback
who did not ask for one with ``--debug``.
Leaves what a command does to its own module: the command ``dlq`` is the function ``dlq`` there.
It returns its exit code, or None for 0.
"""

import errno
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module
from io import TextIOWrapper
from typing import Any, Final, TextIO

import click

from blueplane import __version__
from blueplane.errors import BlueplaneError
from blueplane.interfaces.cli import visible

#: name -> (module, one line of help), in the order in which ``--help`` shows them.
COMMANDS: Final = {
    "serve": ("blueplane.interfaces.cli.serve", "Run the server in the foreground."),
    "start": ("blueplane.interfaces.cli.start", "Start the server in the background."),
    "stop": ("blueplane.interfaces.cli.stop", "Stop the server."),
    "restart": ("blueplane.interfaces.cli.restart", "Stop the server and start it again."),
    "status": ("blueplane.interfaces.cli.status", "Show what runs and what became of the events."),
    "health": ("blueplane.interfaces.cli.health", "Show how every part is, and what is wrong."),
    "doctor": ("blueplane.interfaces.cli.doctor", "Check everything, and say what to do."),
    "top": ("blueplane.interfaces.cli.top", "Watch the hops: rates, backlogs, errors."),
    "usage": ("blueplane.interfaces.cli.usage", "Show tokens and cost by day, session and more."),
    "sessions": ("blueplane.interfaces.cli.sessions", "List sessions, and what came of them."),
    "analyze": ("blueplane.interfaces.cli.analyze", "Show all that is known of a session."),
    "metrics": ("blueplane.interfaces.cli.metrics", "Show what was done, and how it changes."),
    "insights": ("blueplane.interfaces.cli.insights", "Say what is worth a change, and why."),
    "export": ("blueplane.interfaces.cli.export", "Write out calls, sessions, tools, figures."),
    "watch": ("blueplane.interfaces.cli.watch", "Watch what happens now."),
    "explain": ("blueplane.interfaces.cli.explain", "Show what a figure is made of."),
    "statusline": ("blueplane.interfaces.cli.statusline", "Print one line for a status line."),
    "logs": ("blueplane.interfaces.cli.logs", "Show the server's log."),
    "pause": ("blueplane.interfaces.cli.pause", "Have the hooks take nothing, for a while."),
    "resume": ("blueplane.interfaces.cli.resume", "Have the hooks take events again."),
    "trace": ("blueplane.interfaces.cli.trace", "Follow one event along its road."),
    "dlq": ("blueplane.interfaces.cli.dlq", "List, show, retry or drop dead letters."),
    "ignore": ("blueplane.interfaces.cli.ignore", "Leave a directory out, or list the filters."),
    "forget": ("blueplane.interfaces.cli.forget", "Remove what is stored of a session or project."),
    "backfill": ("blueplane.interfaces.cli.backfill", "Show how far the history is read."),
    "rebuild": ("blueplane.interfaces.cli.rebuild", "Derive all figures anew from the events."),
    "scrub": ("blueplane.interfaces.cli.scrub", "Bring old rows down to the privacy level."),
    "selftest": ("blueplane.interfaces.cli.selftest", "Try it all on what is known."),
    "config": ("blueplane.interfaces.cli.config", "List, get or change settings."),
    "install": ("blueplane.interfaces.cli.install", "Connect the editors, run as a service."),
    "uninstall": ("blueplane.interfaces.cli.uninstall", "Take out what `install` put in."),
    "hook": ("blueplane.interfaces.cli.hook", "Hand one event over, where there is no shell."),
}

EXIT_SYSTEM: Final = 4  # a disk, a file or standard output, all needed parts, refuse
EXIT_BUG: Final = 70
EXIT_SIGNAL: Final = 128  # and the number of the signal, as shells have it
EXIT_PIPE: Final = 141  # 128 + SIGPIPE

#: What the machine does to us, as opposed to what we do wrong.
_MACHINE_ERRNOS: Final = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM}
)
_DEBUG: Final = "--debug"
#: Set by the completion of a shell: which answer it wants.
COMPLETE: Final = "_BLUEPLANE_COMPLETE"


class _Group(click.Group):
    """A group that imports a command only when it is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command:
        if cmd_name not in COMMANDS:
            close = get_close_matches(cmd_name, COMMANDS, n=2)
            hint = f"; did you mean {' or '.join(close)}?" if close else ""
            message = f"no command {cmd_name!r}{hint}"
            raise click.UsageError(message, ctx)
        command = getattr(import_module(COMMANDS[cmd_name][0]), cmd_name)
        if not isinstance(command, click.Command):
            raise TypeError(cmd_name)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        item = import_module("click.shell_completion").CompletionItem
        fitting = [name for name in COMMANDS if name.startswith(incomplete)]
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [*(item(name, help=COMMANDS[name][1]) for name in fitting), *options]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(
    cls=_Group,
    name="blueplane",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80},
)
@click.version_option(__version__, prog_name="blueplane", message="%(prog)s %(version)s")
@click.option(_DEBUG, is_flag=True, expose_value=False, help="Show the traceback of an error.")
@click.pass_context
def blueplane(context: click.Context) -> None:
    """Private, local telemetry for AI-assisted coding."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line ``arguments`` (those of the process, if None); return the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    kept = [word for word in given if word != _DEBUG]  # allowed before and after the command
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # an encoding may lack the dash
    code = _guarded(kept, debug=len(kept) < len(given))
    return _flush(code)


def _guarded(arguments: list[str], *, debug: bool) -> int:
    try:
        if wanted := os.environ.get(COMPLETE):
            return _complete(wanted)
        return _run(arguments)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return error.exit_code
    except KeyboardInterrupt as end:
        return EXIT_SIGNAL + (end.args[0] if end.args else signal.SIGINT)
    except BrokenPipeError:
        return EXIT_PIPE
    except Exception as error:  # noqa: BLE001 - the top of the program: nothing is above it
        if debug:
            sys.excepthook(*sys.exc_info())
        code, message = _explain(error, arguments)
        _complain(message)
        return code


def _run(arguments: list[str]) -> int:
    try:
        with blueplane.make_context("blueplane", arguments) as context:
            result = blueplane.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    return result if isinstance(result, int) else 0


def _complete(wanted: str) -> int:
    """Answer a shell; what cannot be completed has no answer, and no complaint either."""
    complete = import_module("click.shell_completion").shell_complete
    with suppress(click.UsageError, BlueplaneError, OSError):
        return int(complete(blueplane, {}, "blueplane", COMPLETE, wanted))
    return 0


def _explain(error: Exception, arguments: Sequence[str]) -> tuple[int, str]:
    """Return the exit code and the line for a person."""
    if isinstance(error, BlueplaneError):
        return error.exit_code, str(error)
    if isinstance(error, click.UsageError):
        return error.exit_code, _explain_usage(error, arguments)
    if isinstance(error, click.ClickException):
        return error.exit_code, error.format_message()
    if isinstance(error, click.Abort):
        return 1, "the answer was no, so nothing was changed"
    hint = "run with --debug for the traceback"
    if isinstance(error, PermissionError) and error.filename:
        hint = "make it yours to read and write"
    if isinstance(error, OSError) and error.errno in _MACHINE_ERRNOS:
        return EXIT_SYSTEM, f"{error.filename or 'output'}: {error.strerror}; {hint}"
    return EXIT_BUG, f"a bug of ours: {type(error).__name__}: {error}; {hint}"


def _explain_usage(error: click.UsageError, arguments: Sequence[str]) -> str:
    message = error.format_message().rstrip(".")
    if message.endswith(("?", "?)")):  # it names what was probably meant
        return message
    command = " ".join(["blueplane", *(word for word in arguments[:1] if word in COMMANDS)])
    return f"{message}; see `{error.ctx.command_path if error.ctx else command} --help`"


def _complain(message: str) -> None:
    try:
        click.echo(f"blueplane: {visible(message)}", err=True)
    except OSError:  # nobody can be told; the exit code still tells
        abandon(sys.stderr)


def _flush(code: int) -> int:
    """Write out what is left; a reader that went away, or a full disk, is no bug of ours."""
    try:
        click.echo(nl=False)
    except BrokenPipeError:
        abandon(sys.stdout)
        return EXIT_PIPE
    except OSError as error:
        abandon(sys.stdout)
        if code == 0:  # else somebody has complained already
            _complain(f"output: {error.strerror}")
            return EXIT_SYSTEM
    return code


def abandon(stream: TextIO) -> None:
    """Drop what is still buffered: when the interpreter ends it would fail again, loudly."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
