"""What seven days of health history cost: Redis memory, writing and reading.

``python benchmarks/history.py [figures]`` prints one JSON object. A real server is filled with a
sample a minute of so many figures (150), most of which change from sample to sample.
"""

import json
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from blueplane.clock import wall_ms
from blueplane.health.history import Span, points
from blueplane.pipeline.health_log import KEPT_MS, MINUTE_MS, HealthLog, Sample
from helpers.redis_server import RedisServer

SAMPLES = KEPT_MS // MINUTE_MS
#: Samples that are written at once: only the memory of all of them is of interest.
AT_ONCE = 1_000


def samples(figures: int, now_ms: int) -> list[Sample]:
    """Return a week of invented samples: a third counters, a third rates, the rest at rest."""
    chance = random.Random(7)
    names = [f"component{n % 5}.some_figure_of_a_monitor_{n}" for n in range(figures)]
    totals = [0] * figures
    found = []
    for number in range(SAMPLES):
        values: dict[str, float] = {}
        for place, name in enumerate(names):
            totals[place] += chance.randrange(500)
            rate = float(f"{chance.expovariate(0.01):.5g}")
            values[name] = (totals[place], rate, 0)[place % 3]
        found.append(Sample(now_ms - (SAMPLES - number) * MINUTE_MS, values))
    return found


def run(figures: int = 150) -> dict[str, object]:
    """Return the figures."""
    now_ms = wall_ms() // MINUTE_MS * MINUTE_MS
    written = samples(figures, now_ms)
    name = next(iter(written[0].values))
    with RedisServer() as server:
        log = HealthLog(lambda: server.url)
        for first in range(0, SAMPLES, AT_ONCE):
            log.write(written[first : first + AT_ONCE])
        one_s = _timed(lambda: log.write(written[-1:]))
        memory = server.command("MEMORY", "USAGE", "blueplane:health", "SAMPLES", 0)
        entries = server.command("XLEN", "blueplane:health")
        week_s = _timed(lambda: _points(log, name, now_ms, KEPT_MS))
        day_s = _timed(lambda: _points(log, name, now_ms, KEPT_MS // 7))
    return {
        "figures": figures,
        "entries": entries,
        "memory_mb": round(memory / 1e6, 2),
        "bytes_an_entry": memory // entries,
        "write_one_ms": round(one_s * 1e3, 2),
        "read_a_day_ms": round(day_s * 1e3, 1),
        "read_a_week_ms": round(week_s * 1e3, 1),
    }


def _points(log: HealthLog, name: str, now_ms: int, span_ms: int) -> None:
    span = Span.until(now_ms, now_ms - span_ms, MINUTE_MS)
    points(name, log.read([name], span.since_ms, now_ms)[name], span)


def _timed(act: object) -> float:
    began = time.perf_counter()
    act()  # type: ignore[operator]
    return time.perf_counter() - began


if __name__ == "__main__":
    print(json.dumps(run(*map(int, sys.argv[1:])), indent=1))
