"""Reports over generated trees: how long each takes, on a small store and on a large one.

``python benchmarks/reports.py [--small 10] [--large 200] [--program FILE] [--ccusage FILE]`` prints
one JSON object: P50 and P95 of every view in milliseconds, spawn to exit, and how many times as
long the large store takes; beside them ``--version``. ``--program`` is the frozen executable. With
``--ccusage``, a program of that name (``npm install --prefix DIRECTORY ccusage``), both are held to
the truth in each field of each view, and timed in turns. It fails unless all our views, rows and
totals, of usage, sessions, exports and metrics, sum to the truth.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.backfill import FILLER, LIMIT_S, is_derived, is_read
from benchmarks.latency import percentile

from blueplane.interfaces.cli.main import COMMANDS as THERE
from blueplane.paths import Home
from helpers import all_views
from helpers.redis_server import RedisServer
from helpers.server import Server
from helpers.transcripts import Scribe, Truth, write
from helpers.usage_command import KINDS, VIEWS
from helpers.waiting import wait_until

OURS = (sys.executable, "-m", "blueplane")
COMMANDS = {
    "version": ("--version",),
    "statusline": ("statusline",),
    **{view: ("usage", view) for view in VIEWS},
    "daily_json": ("usage", "--format", "json", "--limit", "30"),
    **{
        "_".join(words).replace("--", ""): words
        for words in (
            ("sessions",), ("sessions", "--period", "month"), ("sessions", "--sort", "cost"),
            ("analyze", "last"), ("analyze", "last", "--timeline"),
            ("metrics",), ("metrics", "--group-by", "day"), ("metrics", "--group-by", "tool"),
            ("insights",), ("export", "usage"), ("explain", "usage.output_tokens"),
        )
        if words[0] in THERE
    },
}  # fmt: skip
#: Theirs for our kinds, and their views.
THEIR_KINDS = {
    "input_tokens": "inputTokens", "output_tokens": "outputTokens",
    "cache_creation_tokens": "cacheCreationTokens", "cache_read_tokens": "cacheReadTokens",
}  # fmt: skip
THEIR_VIEWS = ("daily", "weekly", "monthly", "session")


@dataclass(frozen=True)
class Place:
    """A tree of transcripts, what is true of it, and the home of a server that has read it."""

    user: Path
    home: Home
    truth: Truth

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a command there, as a user's shell has it."""
        ours = {"HOME": str(self.user), "BLUEPLANE_HOME": str(self.home.root)}
        without = ("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "CLAUDE_CONFIG_DIR")
        return {k: v for k, v in os.environ.items() if k not in without} | ours


def make(directory: Path, megabytes: int) -> Place:
    """Write a tree, and have a server read it."""
    user, home = directory / "user", Home(directory / "home")
    home.prepare()
    scribe = Scribe(seed=7, filler=FILLER)
    write(user / ".claude" / "projects", scribe.lines(megabytes * 1_000_000))
    os.environ |= {"HOME": str(user), "BLUEPLANE_HTTP_PORT": "0"}
    os.environ.pop("CLAUDE_CONFIG_DIR", None)
    with RedisServer() as redis, Server(home, redis) as server:
        server.start()
        wait_until(home.database.exists, LIMIT_S, "the database is there")
        wait_until(lambda: is_read(home, scribe.truth), LIMIT_S, "every line has its outcome")
        wait_until(lambda: is_derived(home), LIMIT_S, "everything is derived")
        server.stop()
    return Place(user, home, scribe.truth)


def asked(place: Place, command: Sequence[str]) -> str:
    """Return what a command prints."""
    done = subprocess.run(
        command, env=place.environ, stdin=subprocess.DEVNULL, capture_output=True, check=True
    )
    return done.stdout.decode()


def timed(runs: int, commands: dict[str, tuple[Place, Sequence[str]]]) -> dict[str, list[float]]:
    """Run all commands in turns, and return the milliseconds of each."""
    took: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(runs + 1):
        for name, (place, command) in commands.items():
            began = time.perf_counter()
            asked(place, command)
            if turn:  # the first one warms up
                took[name].append((time.perf_counter() - began) * 1000)
    return took


def shown(took: list[float]) -> dict[str, float]:
    """Return the figures of one command."""
    return {
        "p50_ms": round(statistics.median(took), 1), "p95_ms": round(percentile(took, 0.95), 1)
    }  # fmt: skip


def check(place: Place, program: Sequence[str]) -> None:
    """Raise AssertionError unless every view sums to the truth, in this process and another."""
    all_views.check(place.home, place.truth)
    wanted = dict(zip(KINDS, place.truth.totals(), strict=True))
    for view in VIEWS:
        total = json.loads(asked(place, [*program, "usage", view, "--format", "json"]))["total"]
        if total["calls"] != len(place.truth.calls) or wanted != {k: total[k] for k in wanted}:
            message = f"{view}: {total} is not {wanted}"
            raise AssertionError(message)


def compare(place: Place, program: Sequence[str], theirs: str, runs: int) -> dict[str, Any]:
    """Return how far off theirs is, by view and field, and how long both take for the days."""
    wanted = dict(zip(KINDS, place.truth.totals(), strict=True))
    off: dict[str, dict[str, str]] = {}
    for view in THEIR_VIEWS:
        answer = json.loads(asked(place, [theirs, view, "--json", "--offline"]))
        off[view] = {
            kind: f"{(answer['totals'][name] / wanted[kind] - 1) * 100:+.2f} %"
            for kind, name in THEIR_KINDS.items()
        }
    took = timed(runs, {
        "ours": (place, [*program, "usage", "daily", "--format", "json"]),
        "theirs": (place, [theirs, "daily", "--json", "--offline"]),
    })  # fmt: skip
    times = {name: shown(values) for name, values in took.items()}
    ratio = times["theirs"]["p50_ms"] / times["ours"]["p50_ms"]
    version = asked(place, [theirs, "--version"]).split()[-1]
    return {"version": version, "off": off, **times, "times_as_fast": round(ratio, 1), "target": 4}


def run(directory: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return the figures."""
    places = {name: make(directory / name, getattr(options, name)) for name in ("small", "large")}
    program = (options.program,) if options.program else OURS
    check(places["large"], program)
    found: dict[str, Any] = {
        "calls": {name: len(place.truth.calls) for name, place in places.items()},
        "frozen": bool(options.program), "target_p95_ms": 100.0, "target_ratio": 1.2,
    }  # fmt: skip
    for name, words in COMMANDS.items():
        pair = {size: (place, [*program, *words]) for size, place in places.items()}
        took = timed(options.runs, pair)
        ratio = statistics.median(took["large"]) / statistics.median(took["small"])
        found[name] = {**shown(took["large"]), "ratio": round(ratio, 2)}
    if options.ccusage:
        found["ccusage"] = compare(places["large"], program, options.ccusage, options.runs // 2)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--small", type=int, default=10)
    parser.add_argument("--large", type=int, default=200)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--program", type=os.path.abspath)
    parser.add_argument("--ccusage", type=os.path.abspath)
    with tempfile.TemporaryDirectory() as name:
        print(json.dumps(run(Path(name), parser.parse_args()), indent=1))
