"""The survey behind ``blueplane status``: every part looked at once, as plain data.

Owns what is asked of whom: the server over its socket, else the files of the home.
Promises an answer whatever is missing or broken, with None for what cannot be known.
Leaves showing it to ``status.py``.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from blueplane.clock import NS_PER_MS, iso_utc, wall_ms, wall_ns
from blueplane.config import Settings
from blueplane.errors import BlueplaneError, NotFoundError, StoreError
from blueplane.interfaces.cli.figures import count
from blueplane.interfaces.cli.reach import stored, uses_private_redis
from blueplane.interfaces.cli.road import LAWS, law_text, remainder
from blueplane.lock import holder, is_running
from blueplane.paths import Home
from blueplane.server.control import ask
from blueplane.store.queries import Reader

Answer = dict[str, Any]

#: Seconds that a server has to tell how it is.
STATUS_S: Final = 10.0
#: Milliseconds for which a break of custody is shown.
BREAKS_MS: Final = 3_600_000
#: What a server writes into its lock.
_HOLDER: Final = re.compile(r"pid (?P<pid>\d+) since (?P<since>\S+)")


def survey(home: Home, settings: Settings) -> Answer:
    """Look at everything.

    Keys: ``home``, ``server``, ``redis``, ``spool``, ``hooks``, ``store``, ``quarantine``,
    ``dead_letters``, ``balance`` (None before the first), ``breaks``, ``rows``, ``total``,
    ``problems``, ``healthy``.
    """
    server, live = _ask_server(home)
    answer = {
        "home": str(home.root),
        "server": server,
        "redis": _redis(home, settings, live),
        "spool": _spool(home.spool),
        "hooks": {"refuse": _refusal(home)},
        **_stored(home, live),
    }
    problems = list(_problems(answer))
    return {**answer, "problems": problems, "healthy": not problems}


# --- the server and its redis --------------------------------------------------------------------


def _ask_server(home: Home) -> tuple[Answer, Answer]:
    """Return what is known of the server, and what it says itself after taking the balance."""
    server: Answer = dict.fromkeys(("running", "pid", "since", "version", "trouble"))
    if not is_running(home):
        return {**server, "running": False}, {}
    server["running"] = True
    wrote = _HOLDER.search(holder(home.lock_file))
    if wrote is not None:
        server |= {"pid": int(wrote["pid"]), "since": wrote["since"]}
    try:
        live = ask(home.socket("control.sock"), "status", timeout_s=STATUS_S)
    except BlueplaneError as error:
        return {**server, "trouble": str(error)}, {}
    kept = ("version", "python", "threads", "deaths")
    return {**server, "pid": live["pid"], **{key: live[key] for key in kept}}, live


def _redis(home: Home, settings: Settings, live: Answer) -> Answer:
    private = uses_private_redis(settings.redis)
    known: Answer = {
        "mode": "private" if private else "external",
        "url": f"unix://{home.socket('redis.sock')}" if private else settings.redis.shown_url,
        "connected": None,
        "trouble": None,
    }
    found = {**known, **live.get("redis", {})}
    if found["mode"] != known["mode"]:  # the server was started with other settings than we have
        found["url"] = None
    return found


# --- files ---------------------------------------------------------------------------------------


def _spool(directory: Path) -> Answer:
    found = list(_files(directory))
    oldest_ns = min((each.st_mtime_ns for each in found), default=None)
    age_ms = None if oldest_ns is None else max(0, wall_ns() - oldest_ns) // NS_PER_MS
    total = sum(each.st_size for each in found)
    return {"files": len(found), "bytes": total, "oldest_age_ms": age_ms}


def _files(directory: Path) -> Iterator[os.stat_result]:
    try:
        entries = list(os.scandir(directory))
    except FileNotFoundError:
        return
    for entry in entries:
        try:
            yield entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue  # released meanwhile


def _refusal(home: Home) -> str | None:
    """Return why hooks take nothing now; None when they do, or when no server ever ran here."""
    if (home.run / "paused").exists():
        return "capture is paused (run/paused exists)"
    if (home.run / "full").exists():
        return "the spool is full (run/full exists)"
    if home.database.exists() and not home.spool.is_dir():
        return "the spool is missing; `blueplane serve` makes it"
    with suppress(FileNotFoundError):  # without a lease they never stop
        if (home.run / "lease").stat().st_mtime_ns < wall_ns():
            return "no server ran for too long: `blueplane serve`"
    return None


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


# --- the store -----------------------------------------------------------------------------------


def _stored(home: Home, live: Answer) -> Answer:
    store: Answer = {
        "path": str(home.database),
        "bytes": _size(home.database),
        "wal_bytes": _size(home.database.with_name(f"{home.database.name}-wal")),
        "rows": None,
        "trouble": live.get("store_error"),
    }
    nothing: Answer = {
        "store": store, "dead_letters": None, "balance": None, "breaks": [], "rows": [],
        "quarantine": None, "total": {"rows": None},
    }  # fmt: skip
    try:
        with stored(home) as reader:
            return {"store": {**store, "rows": reader.count_rows()}, **_read(reader)}
    except NotFoundError:
        return nothing
    except StoreError as error:
        return {**nothing, "store": {**store, "trouble": str(error)}}


def _read(reader: Reader) -> Answer:
    now_ms = wall_ms()
    rows = [
        {
            "platform": each.platform,
            "source": each.source,
            "rows": each.rows,
            "last_capture": iso_utc(each.last_captured_ms),
            "last_capture_age_ms": max(0, now_ms - each.last_captured_ms),
        }
        for each in reader.sources()
    ]
    return {
        "quarantine": _quarantine(reader),
        "dead_letters": {"open": reader.count_open_letters()},
        "balance": _balance(reader),
        "breaks": reader.incidents(now_ms - BREAKS_MS),
        "rows": rows,
        "total": {"rows": sum(each["rows"] for each in rows)},
    }


def _quarantine(reader: Reader) -> Answer:
    rules = {
        rule: count for outcome, rule, count in reader.settlements() if outcome == "quarantined"
    }
    return {"count": sum(rules.values()), "rules": rules}


def _balance(reader: Reader) -> Answer | None:
    snapshot = reader.balance()
    if snapshot is None:
        return None
    as_of_ms = snapshot.as_of_ms
    age_ms = max(0, wall_ms() - as_of_ms)
    as_of = {"as_of": iso_utc(as_of_ms), "as_of_ms": as_of_ms, "as_of_age_ms": age_ms}
    return {**snapshot.body, **as_of}


# --- what is wrong -------------------------------------------------------------------------------


def _problems(answer: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence, with what to do, for everything that is not as it should be."""
    in_flight = (answer["balance"] or {}).get("in_flight", 0)
    waiting = max(answer["spool"]["files"], in_flight)  # what is in the queue may be in both
    yield from _server_problems(answer["server"], answer["redis"], waiting)
    if answer["hooks"]["refuse"]:
        yield f"hooks take nothing: {answer['hooks']['refuse']}"
    if answer["store"]["trouble"]:
        yield f"the database cannot be used: {answer['store']['trouble']}"
    letters = (answer["dead_letters"] or {}).get("open", 0)
    if letters:
        yield f"{count(letters, 'event')} could not be written: see `blueplane dlq list`"
    balance = answer["balance"]
    for law in LAWS if balance and not balance["balanced"] else ():
        if remainder(law, balance):
            yield f"the law of {law} does not close, {law_text(law, balance)}"
    lost = sum(each["count"] - each["recovered"] for each in answer["breaks"])
    if lost:
        yield f"{count(lost, 'message')} lost in the last hour: the list of breaks says why"


def _server_problems(server: Answer, redis: Answer, waiting: int) -> Iterator[str]:
    if not server["running"]:
        if waiting:
            yield f"waiting: {count(waiting, 'event')}, and no server runs: `blueplane serve`"
        return
    if server["trouble"]:
        yield f"the server does not answer: {server['trouble']}"
    elif redis["connected"] is False:
        yield f"redis is away, and the spool keeps everything: {redis['trouble'] or 'see the log'}"
    dead = [name for name, alive in server.get("threads", {}).items() if not alive]
    if dead:
        yield f"died and not yet restarted: {', '.join(dead)}; see the log"
