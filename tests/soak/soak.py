"""The soak: thousands of lives of one server, each ended at a random place, and a verdict.

Owns the choice of deaths, the looks of the oracle in between, and the block of figures at the end.
Promises to end after ``--minutes`` whatever happens, to use loopback and Unix sockets only, and a
home of its own; what went wrong can be run again with the seed.
Leaves the deaths themselves to ``helpers/killing.py`` and what must hold to ``helpers/oracle.py``.

    python3 build.py soak [--kills N] [--seed S]
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from threading import Event as Flag
from time import monotonic
from typing import Any, Final, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from blueplane.paths import Home
from helpers.killing import ARRANGEMENTS, LIFE_S, KillLoop
from helpers.nursery import Nursery
from helpers.oracle import DRAIN_S, STREAM, Oracle, stored
from helpers.redis_server import RedisServer
from helpers.server import ROOT, Server, environment
from helpers.waiting import wait_until

HOOK: Final = ROOT / "hooks" / "blueplane-hook"
HOOK_S: Final = 10.0
KILLS: Final = 2_000
MINUTES: Final = 40.0
#: Deaths between two looks of the oracle, and between two lines of progress in a pipe.
LOOK_EVERY: Final = 200
SAY_EVERY: Final = 100
#: Of so many events one goes through the real hook script; the others are files as it leaves them.
HOOK_SHARE: Final = 0.3
#: The longest that a server lives between an event and a signal, in seconds.
MOMENT_S: Final = 0.05
#: How often each kind of death is chosen; the rest is at a fault point.
SHARES: Final = (("signal", 0.15), ("stop", 0.03), ("redis", 0.06), ("flush", 0.02))
#: These begin with a flush, which only our own events survive: foreign ones are settled before.
LOSE_THE_STREAM: Final = frozenset({"after_epoch_commit", "after_epoch_set", "flush"})
#: The rows of the block, in their order; ``docs/OPERATIONS.md`` has the last one.
FIGURES: Final = (
    "kills", "seed", "kills by point", "events captured", "rows written", "duplicates",
    "redelivered", "recovered", "lost", "dead letters", "quarantined", "complaints", "seconds",
    "messages", "events",
)  # fmt: skip


class HookedOracle(Oracle):
    """An oracle of which some events go through the real hook script."""

    def _write(self, payload: bytes, platform: str, hook_name: str) -> str:
        """Hand an event over; "" stands for the name of a file that the script chose."""
        bad = not payload.endswith(b"}")  # the name of a bad file must be known
        if bad or self._random.random() >= HOOK_SHARE:
            return super()._write(payload, platform, hook_name)
        done = subprocess.run(
            [str(HOOK), platform, hook_name],
            input=payload,
            env={"BLUEPLANE_HOME": str(self.home.root)},
            capture_output=True,
            timeout=HOOK_S,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), done
        return ""


class Show(Protocol):
    """Whoever shows the progress."""

    def __call__(self, kills: int, words: str) -> None:
        """Show how far it is."""


@dataclass(slots=True)
class Soak:
    """One soak of one server on one Redis."""

    loop: KillLoop
    oracle: Oracle
    redis: RedisServer
    random: Random
    kills: int = 0
    complaints: list[str] = field(default_factory=list)

    def run(self, kills: int, ends_s: float, show: Show) -> None:
        """Kill until ``kills`` are done, something is wrong, or the time is over."""
        while self.kills < kills and not self.complaints and monotonic() < ends_s:
            self._guard(self._die)
            self.kills += 1
            if self.kills % LOOK_EVERY == 0 or self.kills == kills:
                self._guard(self._look)
            show(self.kills, f"{self.oracle.captured} events, {len(self.complaints)} complaints")
        if monotonic() >= ends_s and not self.complaints:
            self._guard(self._look)

    def _guard(self, step: Callable[[], None]) -> None:
        """Turn a step that fails into a complaint: it ends the soak, and not the report."""
        try:
            step()
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            self.complaints.append(str(error)[-2_000:] or repr(error))

    def _die(self) -> None:
        death = self._choose()
        if death in LOSE_THE_STREAM:
            self._drain()
        elif self.redis.command("EXISTS", STREAM):
            self.oracle.issue_foreign(self.redis)
        if death in ARRANGEMENTS:
            self.loop.die_at(death)
        else:
            _DEATHS[death](self)

    def _choose(self) -> str:
        chance = self.random.random()
        for death, share in SHARES:
            if chance < share:
                return death
            chance -= share
        return self.random.choice(sorted(ARRANGEMENTS))

    def _any_moment(self) -> None:
        """Let a server live for some events, until a moment that nobody has chosen."""
        self.loop.server.start()
        for _ in range(self.random.randrange(1, 4)):
            self.oracle.issue_some(self.random.randrange(1, 10))
            Flag().wait(self.random.random() * MOMENT_S)

    def _die_of_a_signal(self) -> None:
        self._any_moment()
        self.loop.server.kill()
        self.loop.killed["signal"] += 1

    def _stop_in_order(self) -> None:
        self.loop.server.start_ready()
        self.oracle.issue_some(self.random.randrange(1, 20))
        code = self.loop.server.stop()
        assert code == 0, f"a server that was asked to stop ended with {code}"
        self.loop.killed["stop"] += 1

    def _lose_the_stream(self) -> None:
        """Let a server live through a FLUSHALL that finds events on their way."""
        server = self.loop.server
        server.start_ready("after_read:sleep=1")
        self.oracle.issue_some(self.random.randrange(1, 20))
        wait_until(lambda: server.balance().get("in_flight"), LIFE_S, "events are on their way")
        self.redis.flush()
        self.oracle.issue_some(self.random.randrange(1, 20))
        server.kill()
        self.loop.killed["flush"] += 1

    def _drain(self) -> None:
        self.loop.server.start_ready()
        self.oracle.drain(self.loop.server)
        self.loop.server.kill()

    def _look(self) -> None:
        """Have everything come to rest, and the oracle say what is wrong."""
        server = self.loop.server
        server.start_ready()
        self.oracle.drain(server, DRAIN_S)
        self.complaints += self.oracle.verdict(server, self.redis)
        server.balance()
        server.send(signal.SIGTERM)
        server.wait()


_DEATHS: Final[dict[str, Callable[[Soak], None]]] = {
    "signal": Soak._die_of_a_signal,
    "stop": Soak._stop_in_order,
    "redis": lambda soak: soak.loop.lose_redis(),
    "flush": Soak._lose_the_stream,
}


# --- the figures ----------------------------------------------------------------------------------


def figures(soak: Soak, seed: int, seconds: float) -> dict[str, Any]:
    """Return what is to be said of a soak, by the names of ``FIGURES``."""
    body = soak.loop.server.balance()
    messages, events = body.get("messages", {}), body.get("events", {})
    points = sorted(soak.loop.killed.items(), key=lambda item: (-item[1], item[0]))
    values = (
        soak.kills, str(seed), ", ".join(f"{name} {count}" for name, count in points),
        soak.oracle.captured + len(soak.oracle.bad), sum(stored(soak.oracle.home).values()),
        messages.get("duplicate"), soak.loop.redelivered, messages.get("recovered"),
        messages.get("lost"), messages.get("dead_lettered"), events.get("quarantined"),
        len(soak.complaints), round(seconds), law(messages, "enqueued"), law(events, "captured"),
    )  # fmt: skip
    return dict(zip(FIGURES, values, strict=True))


def law(terms: dict[str, int], whole: str) -> str:
    """Return a law with its numbers, added up here."""
    if not terms:
        return "not known"
    parts = {name: count for name, count in terms.items() if name != whole}
    closed = "closed" if terms[whole] == sum(parts.values()) else "OPEN"
    right = " + ".join(f"{name.replace('_', ' ')} {count}" for name, count in parts.items())
    return f"{closed}: {whole} {terms[whole]} = {right}"


def block(found: dict[str, Any]) -> str:
    """Return the figures as the table that ``docs/OPERATIONS.md`` has."""
    rows = [f"| {name} | {_cell(value)} |" for name, value in found.items()]
    return "\n".join(["| soak | last result |", "|---|---|", *rows])


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


# --- running it -----------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a soak; 0 when it was whole and nothing was wrong, else 1."""
    options = _options(arguments)
    print(f"soak: seed {options.seed}", file=sys.stderr, flush=True)
    began_s = monotonic()
    directory = Path(tempfile.mkdtemp(prefix="bp-soak-", dir="/tmp"))
    with ExitStack() as stack:
        soak = _prepare(stack, directory, options)
        show = stack.enter_context(_Shown(options.kills))
        soak.run(options.kills, began_s + options.minutes * 60, show)
        found = figures(soak, options.seed, monotonic() - began_s)
    print(block(found))
    for complaint in soak.complaints[:20]:
        print(f"soak: {complaint}", file=sys.stderr)
    whole = soak.kills == options.kills
    if not whole and not soak.complaints:
        text = f"stopped after {options.minutes:g} minutes, {soak.kills} of {options.kills} kills"
        print(f"soak: {text}", file=sys.stderr)
    if soak.complaints:
        print(f"soak: the home is kept in {directory}", file=sys.stderr)
    else:
        shutil.rmtree(directory, ignore_errors=True)
    return int(bool(soak.complaints) or not whole)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="build.py soak", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--seed", type=int, default=Random().randrange(1 << 32))
    parser.add_argument("--minutes", type=float, default=MINUTES, help="it stops after these")
    parser.add_argument("--mutant", default="", help="break one promise (helpers/mutants.py)")
    return parser.parse_args(arguments)


def _prepare(stack: ExitStack, directory: Path, options: argparse.Namespace) -> Soak:
    """Put home, Redis, nursery and server together; they end with ``stack``."""
    home = Home(directory / "home")
    home.prepare()
    (directory / "user").mkdir()
    own = {
        "HOME": str(directory / "user"),
        "BLUEPLANE_HOME": str(home.root),
        "XDG_RUNTIME_DIR": str(directory),
    }
    os.environ.update(own)
    redis = stack.enter_context(RedisServer())
    nursery = stack.enter_context(Nursery(environment()))
    server = stack.enter_context(Server(home, redis, nursery, MUTANT=options.mutant))
    random = Random(options.seed)
    oracle = HookedOracle(home, options.seed)
    return Soak(KillLoop(server, oracle, random, redis), oracle, redis, random)


class _Shown:
    """The progress: a bar on a terminal, a line now and then in a pipe; on standard error."""

    def __init__(self, kills: int) -> None:
        self._kills = kills
        self._bar: Progress | None = None
        if sys.stderr.isatty():
            columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            words = TextColumn("{task.description}")
            self._bar = Progress(*columns, words, console=Console(stderr=True))

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
            self._bar.add_task("", total=self._kills)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, kills: int, words: str) -> None:
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=kills, description=words)
        elif kills % SAY_EVERY == 0 or kills == self._kills:
            print(f"soak: {kills} of {self._kills} kills, {words}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
