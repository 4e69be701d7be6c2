"""``blueplane dlq``: what could not be written, and what to do about it.

Owns how dead letters are chosen and shown.
Promises that one is sent again, or given up, only by name, by reason or when all are meant.
Leaves the change to the server.
"""

from collections.abc import Sequence
from dataclasses import asdict
from itertools import zip_longest
from typing import Any, Final

import click

from blueplane.clock import NS_PER_MS, wall_ms
from blueplane.errors import NotFoundError, UsageError
from blueplane.figures import age, count, moment, number
from blueplane.interfaces.cli import visible
from blueplane.interfaces.cli.acting import acting
from blueplane.interfaces.cli.asking import confirm
from blueplane.interfaces.cli.options import format_option, home_option
from blueplane.interfaces.cli.output import (
    Column,
    Fact,
    Form,
    Row,
    Table,
    render,
    render_facts,
    render_json,
)
from blueplane.interfaces.cli.storage import stored
from blueplane.paths import Home
from blueplane.pipeline.dead_letters import fields_of
from blueplane.store.letters import Letter

STATES: Final = ("open", "retried", "dropped")
_COLUMNS: Final = (
    Column("message_id", "id", whole=True),
    Column("age_ms", "age", age, whole=True),
    Column("platform", "platform", extra=True),
    Column("hook_type", "event"),
    Column("hop", "hop", extra=True),
    Column("reason", "reason"),
    Column("failures", "tries", number, "right", whole=True),
    Column("state", "state", whole=True),
)

#: Letters of one request: a request is bounded.
AT_ONCE: Final = 5_000

_THING: Final = "dead letter"

_ids_argument = click.argument("ids", nargs=-1)
_reason_option = click.option("--reason", help="Those whose reason has this text in it.")
_all_option = click.option("--all", "every", is_flag=True, help="Every open one.")


@click.group()
def dlq() -> None:
    """List, show, retry or drop dead letters.

    A dead letter is an event that could not be written. It is kept with everything it held until
    it is sent again (retry) or given up (drop).
    """


@dlq.command("list")
@click.option(
    "--state",
    type=click.Choice([*STATES, "all"]),
    default="open",
    show_default=True,
    help="Which of them.",
)
@_reason_option
@format_option
@home_option
def list_letters(home: Home, state: str, reason: str | None, form: Form) -> None:
    """List dead letters, oldest first."""
    letters = _find(home, STATES if state == "all" else (state,), reason or "")
    now_ms = wall_ms()
    rows = [_summary(letter, now_ms) for letter in letters]
    if form == "table" and not rows:
        click.echo(f"no {'' if state == 'all' else f'{state} '}dead letters")
        return
    columns = [column for column in _COLUMNS if column.key != "state" or state == "all"]
    render(Table(columns, rows, caption=_advice(rows)), form)


@dlq.command()
@click.argument("message_id", metavar="ID")
@format_option
@home_option
def show(home: Home, message_id: str, form: Form) -> None:
    """Show one dead letter with everything it holds."""
    with stored(home) as reader:
        letter = reader.letter(message_id)
    if letter is None:
        message = f"no dead letter {message_id}; `blueplane dlq list --state all` lists them"
        raise NotFoundError(message)
    fields = _fields(letter)
    if form == "json":
        render_json({**_envelope(letter), "fields": fields})
        return
    known = {key: value for key, value in _envelope(letter).items() if value not in (None, "")}
    render_facts([Fact(_label(key), _text(key, value)) for key, value in known.items()])
    click.echo()
    render_facts([Fact(field["name"], field["value"]) for field in fields])


@dlq.command()
@_ids_argument
@_reason_option
@_all_option
@home_option
def retry(home: Home, ids: Sequence[str], reason: str | None, *, every: bool) -> int:
    """Send open dead letters again, each as a new message."""
    chosen = _choose(home, ids, reason, every=every)
    changed, running = _change(home, "retry", chosen)
    when = "sent again" if running else "to be sent again when the server runs: `blueplane start`"
    return _report(home, chosen, changed, when)


@dlq.command()
@_ids_argument
@_reason_option
@_all_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@home_option
def drop(home: Home, ids: Sequence[str], reason: str | None, *, every: bool, yes: bool) -> int:
    """Give open dead letters up.

    They stay in the database: `blueplane dlq list --state dropped` lists them.
    """
    chosen = _choose(home, ids, reason, every=every)
    if chosen and not yes:
        confirm(f"give up {count(len(chosen), _THING)} for good?")
    changed, _ = _change(home, "drop", chosen)
    return _report(home, chosen, changed, "dropped")


# --- choosing and changing -----------------------------------------------------------------------


def _find(home: Home, states: Sequence[str], reason: str) -> list[Letter]:
    with stored(home) as reader:
        return list(reader.letters(states, reason))


def _choose(home: Home, ids: Sequence[str], reason: str | None, *, every: bool) -> Sequence[str]:
    """Return the ids that are meant; raise UsageError when it is not said in exactly one way."""
    if bool(ids) + (reason is not None) + every != 1:
        message = "say which: ids (see `blueplane dlq list`), --reason TEXT or --all"
        raise UsageError(message)
    return ids or [letter.message_id for letter in _find(home, ["open"], reason or "")]


def _change(home: Home, verb: str, ids: Sequence[str]) -> tuple[list[str], bool]:
    """Change those of ``ids`` that are open; return them, and whether a server goes on to run."""
    if not ids:
        return [], True
    changed: list[str] = []
    with acting(home) as act:
        for start in range(0, len(ids), AT_ONCE):
            changed += act(f"dlq.{verb}", ids=list(ids[start : start + AT_ONCE]))
        return changed, act.running


def _report(home: Home, chosen: Sequence[str], changed: Sequence[str], what: str) -> int:
    """Say what was done; return 1 when something that was named was not open."""
    if not chosen:
        click.echo("no open dead letters of that kind")
        return 0
    if changed:
        click.echo(f"{count(len(changed), _THING)} {what}")
    missed = [message_id for message_id in chosen if message_id not in set(changed)]
    with stored(home) as reader:
        for message_id in missed:
            letter = reader.letter(message_id)
            click.echo(f"blueplane: {visible(message_id)} {_why_not(letter)}", err=True)
    return int(bool(missed))


def _why_not(letter: Letter | None) -> str:
    if letter is None:
        return "is no dead letter"
    if letter.state == "open" and letter.truncated:
        return "is truncated and cannot be sent again; `blueplane dlq drop` gives it up"
    return f"is {letter.state} already"


# --- showing -------------------------------------------------------------------------------------


def _envelope(letter: Letter) -> dict[str, Any]:
    envelope = asdict(letter)
    del envelope["raw"]
    captured_ns = envelope.pop("captured_ns")
    return {**envelope, "captured_ms": None if captured_ns is None else captured_ns // NS_PER_MS}


def _summary(letter: Letter, now_ms: int) -> dict[str, Any]:
    return {**_envelope(letter), "age_ms": now_ms - letter.opened_ms}


def _advice(rows: Sequence[Row]) -> str:
    first = rows[0]["message_id"] if rows else "ID"
    change = "; retry or drop the open ones by id or --reason"
    any_open = any(row["state"] == "open" for row in rows)
    return f"`blueplane dlq show {first}` shows one{change if any_open else ''}"


def _fields(letter: Letter) -> list[dict[str, str]]:
    """Return the fields of the entry; a byte that is not UTF-8 is shown as its escape.

    There is none when the row of the letter is damaged.
    """
    texts = [part.decode("utf-8", "backslashreplace") for part in fields_of(letter) or []]
    pairs = zip_longest(texts[0::2], texts[1::2], fillvalue="")
    return [{"name": name, "value": value} for name, value in pairs]


def _label(key: str) -> str:
    return key.removesuffix("_ms").replace("_", " ")


def _text(key: str, value: Any) -> str:  # noqa: ANN401 - any column
    if key.endswith("_ms"):
        return moment(value)
    return value.hex() if isinstance(value, bytes) else str(value)
