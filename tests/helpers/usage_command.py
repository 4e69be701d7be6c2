"""``blueplane usage`` held to the truth of a generated tree, in every view and every form.

Owns running the command within this process, and reading its answers.
Promises sums made here of what is printed: rows by rows, by model and in all.
Leaves making the tree to ``transcripts.py``.
"""

import csv
import io
import json
from collections.abc import Iterable
from contextlib import redirect_stdout
from typing import Any

from blueplane.interfaces.cli.main import main
from blueplane.paths import Home
from helpers.transcripts import Tokens, Truth

VIEWS = (
    "daily",
    "weekly",
    "monthly",
    "session",
    "model",
    "project",
    "branch",
    "platform",
    "blocks",
)
#: In the order of ``Tokens``.
KINDS = (
    "input_tokens", "output_tokens", "cache_creation_tokens", "cache_creation_5m_tokens",
    "cache_creation_1h_tokens", "cache_read_tokens",
)  # fmt: skip


def printed(home: Home, *arguments: str) -> str:
    """Return what the command prints; it must succeed."""
    out = io.StringIO()
    with redirect_stdout(out):
        code = main(["usage", *arguments, "--home", str(home.root)])
    assert code == 0, arguments
    return out.getvalue()


def check(home: Home, truth: Truth) -> None:
    """Hold all views and forms to the truth."""
    wanted = (len(truth.calls), len(truth.final), *truth.totals())
    costs = set()
    for view in VIEWS:
        answer = json.loads(printed(home, view, "--format", "json"))
        table = list(csv.DictReader(io.StringIO(printed(home, view, "--format", "csv"))))
        assert sums([answer["total"]]) == sums(answer["rows"]) == sums(table) == wanted, view
        costs |= {answer["total"]["cost_usd"], cost(answer["rows"]), cost(table)}
        lines = printed(home, view, "--limit", "3").splitlines()
        assert any(line.startswith("total") and f"{len(truth.calls):,}" in line for line in lines)
        drawn = printed(home, view, "--format", "chart", "--limit", "2")
        assert drawn.count("$") == min(2, len(answer["rows"]))
    assert len(costs) == 1
    assert by_model(json.loads(printed(home, "model", "--format", "json"))["rows"]) == models(truth)


def sums(rows: Iterable[dict[str, Any]]) -> tuple[int, ...]:
    """Return the sums of calls, of final ones, and of each kind of tokens."""
    rows = list(rows)
    return tuple(
        sum(int(row[key] or 0) for row in rows) for key in ("calls", "final_calls", *KINDS)
    )


def cost(rows: Iterable[dict[str, Any]]) -> float:
    """Return what rows cost, added in pico-dollars."""
    return sum(round(float(row["cost_usd"] or 0) * 10**12) for row in rows) / 10**12


def by_model(rows: Iterable[dict[str, Any]]) -> dict[str, Tokens]:
    """Return the tokens of each row of a model."""
    return {row["model"]: tuple(row[key] for key in KINDS) for row in rows}  # type: ignore[misc]


def models(truth: Truth) -> dict[str, Tokens]:
    """Return the tokens of each model."""
    found: dict[str, tuple[int, ...]] = {}
    for key, tokens in truth.calls.items():
        before = found.get(truth.models[key], (0,) * len(tokens))
        found[truth.models[key]] = tuple(map(sum, zip(before, tokens, strict=True)))
    return found  # type: ignore[return-value]
