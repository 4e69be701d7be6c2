"""The survey behind ``blueplane status``: every part looked at once, as plain data.

Owns what is asked of whom: the server over its socket, else the files of the home.
Promises an answer whatever is missing or broken, with None for what cannot be known.
Leaves showing it to ``status.py``.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from blueplane.capture.pausing import paused
from blueplane.clock import MS_PER_DAY, NS_PER_MS, iso_utc, wall_ms, wall_ns
from blueplane.config import Settings
from blueplane.errors import BlueplaneError, NotFoundError, StoreError
from blueplane.event import STORED_SOURCES
from blueplane.figures import count, lasting, size
from blueplane.health.laws import LAWS, remainder
from blueplane.interfaces.cli.law_words import law_text
from blueplane.interfaces.cli.pause import in_words
from blueplane.interfaces.cli.rules import filter_rules
from blueplane.interfaces.cli.storage import stored
from blueplane.lock import is_running, named_holder
from blueplane.paths import Home
from blueplane.server.control import ask
from blueplane.store import location
from blueplane.store.marker import read_mark
from blueplane.store.queries import Reader, footprint
from blueplane.store.wal import LARGE_BYTES

Answer = dict[str, Any]

#: Seconds that a server has to tell how it is.
STATUS_S: Final = 10.0
#: Milliseconds for which a break of custody is shown.
BREAKS_MS: Final = 3_600_000
#: The same for what happened to the database.
ALARMS_MS: Final = MS_PER_DAY
#: Free bytes below which a disk is full.
FULL_BYTES: Final = 1024 * 1024
_READ_ONLY: Final = getattr(os, "ST_RDONLY", 1)
#: Seconds for which events may wait in the spool of a server that is behind.
PRESSURE_S: Final = 60.0


def survey(home: Home, settings: Settings, config_trouble: str | None = None) -> Answer:
    """Look at everything; ``config_trouble`` is what is wrong with the configuration.

    Keys: ``home``, ``server``, ``redis``, ``capture``, ``spool``, ``hooks``, ``backpressure``,
    ``http`` and ``history`` (None without a server), ``store``, ``filtered``, ``quarantine``,
    ``dead_letters``, ``balance`` (None before the first), ``breaks``, ``alarms`` (what happened to
    the database), ``rows``, ``total``, ``notes``, ``problems``, ``healthy``.
    """
    server, live = _ask_server(home)
    answer = {
        "home": str(home.root),
        "server": server,
        "redis": _redis(home, settings, live),
        "capture": _capture(home),
        "spool": _spool(home.spool),
        "hooks": {"refuse": _refusal(home)},
        "backpressure": live.get("backpressure"),
        "http": live.get("http"),
        "history": live.get("history"),
        **_stored(home, settings, live),
    }
    problems = [each for each in (config_trouble, _no_room(home)) if each]
    problems += _problems(answer)
    remarks = (
        _pause(home), location.trouble(home.root), _no_http(live.get("http") or {}),
        _old_balance(live), *_history(live.get("history") or {}),
    )  # fmt: skip
    answer["notes"] = [remark for remark in remarks if remark]
    return {**answer, "problems": problems, "healthy": not problems}


# --- the server and its redis --------------------------------------------------------------------


def _ask_server(home: Home) -> tuple[Answer, Answer]:
    """Return what is known of the server, and what it says itself after taking the balance."""
    known = ("running", "pid", "since", "version", "trouble", "manager", "sandbox")
    server: Answer = dict.fromkeys(known)  # one of an older version may not know all of it
    if not is_running(home):
        return {**server, "running": False}, {}
    server["running"] = True
    named = named_holder(home.lock_file)
    if named is not None:
        server |= dict(zip(("pid", "since"), named, strict=True))
    try:
        live = ask(home.control_socket, "status", timeout_s=STATUS_S)
    except BlueplaneError as error:
        return {**server, "trouble": str(error)}, {}
    kept = ("version", "python", "threads", "deaths", "manager", "sandbox")
    return {**server, "pid": live["pid"], **{key: live[key] for key in kept if key in live}}, live


def _redis(home: Home, settings: Settings, live: Answer) -> Answer:
    private = settings.redis.private
    known: Answer = {
        "mode": "private" if private else "external",
        "url": home.redis_url if private else settings.redis.shown_url,
        "connected": None,
        "trouble": None,
    }
    found = {**known, **live.get("redis", {})}
    if found["mode"] != known["mode"]:  # the server was started with other settings than we have
        found["url"] = None
    return found


def _no_http(http: Answer) -> str | None:
    """Say that nobody is answered over HTTP; capture goes on without."""
    if not http.get("trouble"):
        return None
    return f"no HTTP: {http['trouble']}; the server tries again, or set http.port to another"


def _old_balance(live: Answer) -> str | None:
    """Say that the balance is not of now, of a store that answers: else a problem says it."""
    trouble = live.get("balance_trouble")
    return f"no new balance: {trouble}" if trouble and not live.get("store_error") else None


def _history(found: Answer) -> Iterator[str]:
    """Say what of the editors' own files is not read."""
    if found.get("bytes_left"):
        yield f"{size(found['bytes_left'])} that editors keep is not read: see `blueplane backfill`"
    if found.get("unread"):
        files = count(found["unread"], "file")
        yield f"{files} that editors keep cannot be read: `blueplane backfill` says which"


# --- files ---------------------------------------------------------------------------------------


def _capture(home: Home) -> Answer:
    pause = paused(home)
    until_ms = None if pause is None else pause.until_ms
    until = None if until_ms is None else iso_utc(until_ms)
    words = "on" if pause is None else in_words(pause)
    return {"paused": pause is not None, "until": until, "state": words}


def _no_room(home: Home) -> str | None:
    """Say that nothing can be written where the home is."""
    try:
        found = os.statvfs(home.root)
    except OSError:
        return None  # no home yet, or none that can be looked into
    if found.f_flag & _READ_ONLY:
        return f"nothing can be written: the file system of {home.root} is read-only"
    free = found.f_bavail * found.f_frsize
    return f"the disk of {home.root} is full: {size(free)} free" if free < FULL_BYTES else None


def _pause(home: Home) -> str | None:
    """Return what is to be said of a pause: a person wanted it, so nothing is wrong."""
    pause = paused(home)
    return None if pause is None else f"capture is {in_words(pause)}; `blueplane resume` ends that"


def _spool(directory: Path) -> Answer:
    files, total, oldest_ns = 0, 0, None
    for found in _files(directory):  # one after the other: there may be very many
        files, total = files + 1, total + found.st_size
        oldest_ns = min(oldest_ns or found.st_mtime_ns, found.st_mtime_ns)
    age_ms = None if oldest_ns is None else max(0, wall_ns() - oldest_ns) // NS_PER_MS
    return {"files": files, "bytes": total, "oldest_age_ms": age_ms}


def _files(directory: Path) -> Iterator[os.stat_result]:
    try:
        entries = os.scandir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return
    with entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # released meanwhile
                yield entry.stat(follow_symlinks=False)


def _refusal(home: Home) -> str | None:
    """Return why hooks take nothing now; None when they do, or when no server ever ran here."""
    if home.full_flag.exists():
        return "the spool is full (run/full exists)"
    if home.database.exists() and not home.spool.is_dir():
        return "the spool is missing; `blueplane start` makes it"
    with suppress(FileNotFoundError, NotADirectoryError):  # without a lease they never stop
        if home.lease.stat().st_mtime_ns < wall_ns():
            return "no server ran for too long: `blueplane start`"
    return None


# --- the store -----------------------------------------------------------------------------------


def _stored(home: Home, settings: Settings, live: Answer) -> Answer:
    room = footprint(home.database)
    store: Answer = {
        "path": str(home.database),
        "bytes": room.database,
        "wal_bytes": room.wal,
        "rows": None,
        "trouble": live.get("store_error"),
    }
    nothing: Answer = {
        "store": store, "dead_letters": None, "balance": None, "breaks": [], "alarms": [],
        "rows": [], "filtered": None, "quarantine": None, "total": {"written": None},
    }  # fmt: skip
    try:
        with stored(home) as reader:
            return {
                "store": {**store, "rows": reader.count_rows()},
                "filtered": _filtered(home, settings, reader),
                **_read(home, reader),
            }
    except NotFoundError:
        mark = read_mark(home.database)
        if mark is None or not mark.rows:
            return nothing
        gone = f"it is gone, and had {count(mark.rows, 'row')}: put it back, or start a server"
        return {**nothing, "store": {**store, "trouble": gone}}
    except StoreError as error:
        return {**nothing, "store": {**store, "trouble": str(error)}}


def _read(home: Home, reader: Reader) -> Answer:
    now_ms = wall_ms()
    rows = [
        {
            "platform": each.platform,
            "source": each.source,
            "written": each.written,
            "last_capture": iso_utc(each.last_captured_ms),
            "last_capture_age_ms": max(0, now_ms - each.last_captured_ms),
        }
        for each in reader.sources()
    ]
    return {
        "quarantine": _quarantine(home, reader),
        "dead_letters": {"open": reader.count_open_letters()},
        "balance": _balance(reader),
        "breaks": reader.incidents(now_ms - BREAKS_MS),
        "alarms": _alarms(reader, now_ms - ALARMS_MS),
        "rows": rows,
        "total": {"written": sum(each["written"] for each in rows)},
    }


def _alarms(reader: Reader, since_ms: int) -> list[str]:
    """Return what happened to the database, newest first, each once."""
    found = reader.incidents(since_ms)
    return list(dict.fromkeys(i["cause"] for i in found if i["kind"].startswith("store_")))


def _filtered(home: Home, settings: Settings, reader: Reader) -> Answer:
    rules = filter_rules(home, settings.filter, reader.rules())
    return {"count": sum(each["events"] for each in rules), "rules": rules}


def _quarantine(home: Home, reader: Reader) -> Answer:
    rules = {each.rule: each.count for each in reader.rules() if each.outcome == "quarantined"}
    kept = sum(1 for _ in _files(home.quarantine))
    in_place = sum(
        each.count
        for each in reader.outcomes()
        if each.outcome == "quarantined" and each.source in STORED_SOURCES
    )
    return {"count": sum(rules.values()), "rules": rules, "kept": kept, "in_place": in_place}


def _balance(reader: Reader) -> Answer | None:
    snapshot = reader.balance()
    return None if snapshot is None else snapshot.shown(wall_ms())


# --- what is wrong -------------------------------------------------------------------------------


def _problems(answer: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence, with what to do, for everything that is not as it should be."""
    in_flight = (answer["balance"] or {}).get("in_flight", 0)
    waiting = max(answer["spool"]["files"], in_flight)  # what is in the queue may be in both
    yield from _server_problems(answer["server"], answer["redis"], waiting)
    pressure = answer["backpressure"] or {}
    if (pressure.get("since_s") or 0) >= PRESSURE_S and answer["redis"]["connected"]:
        yield f"sources have waited for {lasting(pressure['since_s'] * 1000)}: {pressure['reason']}"
    if answer["hooks"]["refuse"]:
        yield f"hooks take nothing: {answer['hooks']['refuse']}"
    if answer["store"]["trouble"]:
        yield f"the database cannot be used: {answer['store']['trouble']}"
    yield from (f"in the last day: {alarm}" for alarm in answer["alarms"])
    wal_bytes = answer["store"]["wal_bytes"] or 0
    if wal_bytes > LARGE_BYTES:
        yield (
            f"the -wal of the database is large ({size(wal_bytes)}): another program has it open "
            "to read; end that"
        )
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
            yield f"waiting: {count(waiting, 'event')}, and no server runs: `blueplane start`"
        return
    if server["trouble"]:
        yield f"the server does not answer: {server['trouble']}"
    elif redis["connected"] is False:
        yield f"redis is away, and the spool keeps everything: {redis['trouble'] or 'see the log'}"
    dead = [name for name, alive in server.get("threads", {}).items() if not alive]
    if dead:
        yield f"died and not yet restarted: {', '.join(dead)}; see the log"
