"""``blueplane status``: what runs, and what became of the events, on one screen.

Owns the screen.
Promises the stored balance with its age, server or not, and every number that a law is made of.
Leaves the numbers, and what counts as not healthy, to ``survey.py``.
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

import click

from blueplane.clock import parse_iso_ms
from blueplane.config import load, settle
from blueplane.errors import ConfigError
from blueplane.figures import UNKNOWN, age, count, lasting, moment, number, size
from blueplane.health.laws import LAWS, remainder
from blueplane.interfaces.cli.law_words import law_text
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
from blueplane.interfaces.cli.rules import kind_words
from blueplane.interfaces.cli.survey import survey
from blueplane.paths import Home

_ALARM: Final = "bold red"

_ROW_COLUMNS: Final = (
    Column("platform", "platform"),
    Column("source", "source"),
    Column("written", "written", number, "right"),
    Column("last_capture_age_ms", "last written", age, "right"),
)
_RULE_COLUMNS: Final = (
    Column("kind", "filtered by", kind_words),
    Column("rule", "rule"),
    Column("events", "events", number, "right"),
)
_BREAK_COLUMNS: Final = (
    Column("started_ms", "break", moment, whole=True),
    Column("count", "messages", number, "right"),
    Column("recovered", "sent again", number, "right"),
    Column("cause", "cause"),
)


@click.command()
@format_option
@home_option
def status(home: Home, form: Form) -> int:
    """Show what runs and what became of the events.

    \b
    Exit codes:
      0  healthy, or no server runs and no hook waits for one
      1  not healthy: events wait and no server runs, hooks take nothing (other
         than in a pause), the configuration is wrong, the disk is full or
         read-only, redis or the database fails, a dead letter is open, a law does
         not close, something was lost in the last hour, or the database was
         damaged, gone or replaced in the last day
    """  # noqa: D301 - click wants the character, not its name
    try:
        settings, trouble = load(home, os.environ), None
    except ConfigError as error:  # a server may run all the same
        settings, trouble = settle({}), str(error)
    answer = survey(home, settings, trouble)
    if form == "json":
        render_json(answer)
    else:
        _show(answer)
    return int(not answer["healthy"])


def _show(answer: Mapping[str, Any]) -> None:
    render_facts([*_parts(answer), Fact("", ""), *_laws(answer["balance"])])
    for columns, rows in (
        (_ROW_COLUMNS, answer["rows"]),
        (_RULE_COLUMNS, _biting(answer["filtered"])),
        (_BREAK_COLUMNS, answer["breaks"]),
    ):
        if rows:
            click.echo()
            render(Table(columns, rows), "table")
    click.echo()
    problems = answer["problems"]
    notes = [Fact("note", each) for each in answer["notes"]]
    found = [Fact("not healthy", each, _ALARM) for each in problems] or [_well(answer["server"])]
    render_facts([*notes, *found])


def _biting(filtered: Mapping[str, Any] | None) -> list[Row]:
    """Return the rules that left something out; `blueplane ignore` lists the others too."""
    return [rule for rule in filtered["rules"] if rule["events"]] if filtered else []


def _well(server: Mapping[str, Any]) -> Fact:
    if not server["running"]:
        rest = "no hook waits for one; what editors keep is read once one runs: `blueplane start`"
        return Fact("no server", rest)
    return Fact("healthy", "nothing is lost, and nothing waits that should not")


def _parts(answer: Mapping[str, Any]) -> Iterator[Fact]:
    yield Fact("home", answer["home"])
    yield Fact("server", _server(answer["server"]))
    yield Fact("redis", _redis(answer["redis"]))
    yield Fact("database", _store(answer["store"]))
    if answer["http"] and answer["http"]["port"]:
        yield Fact("http", _http(answer["http"]))
    yield Fact("capture", answer["capture"]["state"])
    yield Fact("spool", _spool(answer["spool"]))
    if answer["backpressure"] and answer["backpressure"]["state"] != "none":
        yield Fact("sources", _pressure(answer["backpressure"]))
    yield Fact("quarantine", _quarantine(answer["quarantine"]))
    letters = answer["dead_letters"]
    opened = letters["open"] if letters else None
    yield Fact("dead letters", f"{number(opened)} open" if opened else _none(opened))


def _server(server: Mapping[str, Any]) -> str:
    if not server["running"]:
        return "not running; `blueplane start` starts it"
    version = f" {server['version']}" if server["version"] else ""
    pid = server["pid"] or UNKNOWN
    return f"running{version}, pid {pid}, since {_since(server['since'])}{_held(server)}"


#: How much the system holds the server back, in words; without, nothing is to be said.
_SANDBOX: Final = {
    "full": ", which lets it write nothing but its home",
    "filter": ", which lets it write wherever you can",
}


def _held(server: Mapping[str, Any]) -> str:
    """Say which service manager keeps the server, and what that lets it do."""
    if not server.get("manager"):
        return ""
    level = (server.get("sandbox") or {}).get("level", "")
    return f", kept by {server['manager']}{_SANDBOX.get(level, '')}"


def _since(text: str | None) -> str:
    return UNKNOWN if text is None else moment(parse_iso_ms(text))


def _redis(redis: Mapping[str, Any]) -> str:
    where = "private" if redis["mode"] == "private" else redis["url"] or "external"
    if redis["connected"] is None:
        return f"{where}, not asked"
    if not redis["connected"]:
        return f"{where}, NOT CONNECTED"
    return f"{where}, connected, version {redis['version']}, persistence {redis['persistence']}"


def _http(http: Mapping[str, Any]) -> str:
    return "NOT SERVED" if http["trouble"] else f"http://127.0.0.1:{http['port']}/health"


def _store(store: Mapping[str, Any]) -> str:
    if store["bytes"] is None:
        return "none yet"
    total = store["bytes"] + (store["wal_bytes"] or 0)
    rows = store["rows"]
    return f"{f'{UNKNOWN} rows' if rows is None else count(rows, 'row')} in {size(total)}"


def _spool(spool: Mapping[str, Any]) -> str:
    if not spool["files"]:
        return "empty"
    oldest = age(spool["oldest_age_ms"])
    return f"{number(spool['files'])} waiting, {size(spool['bytes'])}, the oldest from {oldest}"


def _pressure(pressure: Mapping[str, Any]) -> str:
    """Say why events wait in the spool; nothing is lost by it."""
    waited = lasting(pressure["since_s"] * 1000)
    there = f"{number(pressure['in_flight'])} of {number(pressure['window'])} events on their way"
    return f"have waited for {waited}, {there}: {pressure['reason']}"


def _quarantine(quarantine: Mapping[str, Any] | None) -> str:
    if not quarantine or not quarantine["count"]:
        return _none(quarantine)
    rules = ", ".join(f"{rule} {number(events)}" for rule, events in quarantine["rules"].items())
    found = f"{number(quarantine['count'])} ({rules}), {count(quarantine['kept'], 'file')} kept"
    in_place = quarantine["in_place"]
    stay = "in editors' own files, where they stay: `blueplane backfill --malformed`"
    return f"{found}, {number(in_place)} {stay}" if in_place else found


def _none(value: object) -> str:
    return UNKNOWN if value is None else "none"


def _laws(balance: Mapping[str, Any] | None) -> Iterator[Fact]:
    if balance is None:
        yield Fact("balance", "none yet")
        return
    for law in LAWS:
        yield Fact(law, law_text(law, balance), _ALARM if remainder(law, balance) else "")
    yield Fact("", f"as of {moment(balance['as_of_ms'])}, {age(balance['as_of_age_ms'])}")
