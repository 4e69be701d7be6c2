"""Every view of usage, sessions, exports and metrics, held to the truth of a generated tree.

Owns running the commands within this process, and reading what they print for programs.
Promises sums made here, of what is printed; a command that there is none of is left out.
Leaves ``usage`` in all its forms to ``usage_command.py``, making the tree to ``transcripts.py``.
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from typing import Any

from blueplane.analytics.metrics.spans import vector_of
from blueplane.interfaces.cli.main import COMMANDS, main
from blueplane.paths import Home
from blueplane.store.metric_rollups import BoundedScope
from blueplane.store.queries import reading
from helpers import usage_command
from helpers.transcripts import Truth
from helpers.usage_command import KINDS

#: Days since 1970 between which everything is.
DAYS = (0, 50_000)
EXPORTS = ("usage", "calls", "sessions")
#: Kinds of tokens that metrics have, by their places in ``KINDS``.
MEASURED = {
    "input_tokens": 0,
    "output_tokens": 1,
    "cache_creation_tokens": 2,
    "cache_read_tokens": 5,
}

Row = Mapping[str, Any]


def check(home: Home, truth: Truth) -> None:
    """Hold all views to the truth: each sums to the same."""
    usage_command.check(home, truth)
    check_metrics(home, truth)
    costs = {json.loads(printed(home, "usage", "--format", "json"))["total"]["cost_usd"]}
    if "sessions" in COMMANDS:
        answer = json.loads(printed(home, "sessions", "--format", "json"))
        hold("sessions", [answer["total"]], truth)
        hold("sessions", answer["rows"], truth)
        assert {row["session_id"] for row in answer["rows"]} == truth.sessions
        costs |= {answer["total"]["cost_usd"], usage_command.cost(answer["rows"])}
    if "export" in COMMANDS:
        for kind in EXPORTS:
            rows = json.loads(printed(home, "export", kind, "--format", "json"))["rows"]
            text = printed(home, "export", kind, "--format", "csv")
            for form in (rows, list(csv.DictReader(io.StringIO(text)))):
                hold(kind, form, truth)
                costs.add(usage_command.cost(form))
    assert len(costs) == 1, costs


def hold(name: str, rows: Iterable[Row], truth: Truth) -> None:
    """Hold the sums of rows to the truth; a row that counts no calls is of one."""
    rows = list(rows)
    calls = sum(int(row.get("calls", 1)) for row in rows)
    sums = tuple(sum(int(row[kind] or 0) for row in rows) for kind in KINDS)
    assert (calls, *sums) == (len(truth.calls), *truth.totals()), name


def check_metrics(home: Home, truth: Truth) -> None:
    """Hold what metrics have of models to the truth: calls and tokens of each."""
    with reading(home.database) as reader:
        found = vector_of(reader, BoundedScope(*DAYS))["models"]
    calls = Counter(truth.models[key] for key in truth.calls)
    assert {name: row["calls"] for name, row in found.items() if row.get("calls")} == calls
    for model, tokens in usage_command.models(truth).items():
        shown = {kind: found[model].get(kind, 0) for kind in MEASURED}
        assert shown == {kind: tokens[place] for kind, place in MEASURED.items()}, model


def printed(home: Home, *arguments: str) -> str:
    """Return what a command prints; it must succeed."""
    out = io.TextIOWrapper(io.BytesIO(), "utf-8", newline="")
    with redirect_stdout(out):
        code = main([*arguments, "--home", str(home.root)])
    assert code == 0, arguments
    out.seek(0)
    return out.read()
