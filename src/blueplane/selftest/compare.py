"""What has to be shown of the corpus against what is shown, view by view.

Owns the checks, and what each of them says.
Promises that a view is held to every row and every figure, and that one which cannot be asked is a
check that differs.
Leaves asking a view to whom it is given.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isclose
from typing import Any, Final, TypeAlias

from blueplane.errors import BlueplaneError
from blueplane.figures import UNKNOWN, count, dollars, number
from blueplane.pipeline.custody import Balance
from blueplane.selftest import truth
from blueplane.selftest.corpus import Call, Corpus, Outcomes

Row: TypeAlias = Mapping[str, Any]
#: Returns what a command of these words answers, with ``rows`` and ``total``; raises
#: BlueplaneError.
Ask: TypeAlias = Callable[[str], Mapping[str, Any]]

#: Differences of one check that are named.
_NAMED: Final = 5
#: Commands that only write rows.
_WITHOUT_TOTAL: Final = "export "
#: How far a figure may be off that was not made of whole numbers.
_NEAR: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Check:
    """What a view has to show, what it shows, and where the two differ."""

    view: str
    expected: str
    shown: str
    differences: Sequence[str] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether it shows what it has to."""
        return not self.differences


def view(name: str, corpus: Corpus, ask: Ask) -> Check:
    """Hold a view to the calls: each row, each figure, and the total where it shows one."""
    rows = truth.rows(name, corpus.calls, corpus.silent)
    total = truth.total(corpus.calls)
    expected = _sums(rows)
    try:
        answer = ask(name)
    except BlueplaneError as error:
        return Check(name, expected, UNKNOWN, [str(error)])
    differences = _differences(name, rows, answer["rows"])
    if not name.startswith(_WITHOUT_TOTAL):
        differences += _apart("total", total, answer["total"], truth.FIGURES)
    return Check(name, expected, _sums(answer["rows"]), differences[:_NAMED])


def _sums(rows: Sequence[Row]) -> str:
    tokens, usd = (sum(row.get(name) or 0 for row in rows) for name in ("total_tokens", "cost_usd"))
    return f"{len(rows)} rows, {number(tokens)}, {dollars(usd)}"


def _differences(view: str, expected: Iterable[Row], shown: Iterable[Row]) -> list[str]:
    """Return where rows differ; some of a key are compared in the order of their figures."""
    wanted, found = (_by_key(rows, truth.KEYS[view]) for rows in (expected, shown))
    figures = truth.figures_of(view)
    differences: list[str] = []
    for key in sorted({*wanted, *found}):
        ours, theirs = wanted.get(key, []), found.get(key, [])
        name = " ".join(key)
        if len(ours) != len(theirs):
            differences.append(f"{name}: {len(theirs)} rows instead of {len(ours)}")
        for one, other in zip(ours, theirs, strict=False):
            differences += _apart(name, one, other, figures)
    return differences


def _by_key(rows: Iterable[Row], keys: Sequence[str]) -> dict[tuple[str, ...], list[Row]]:
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in sorted(rows, key=_amounts):
        found.setdefault(tuple(str(row.get(key)) for key in keys), []).append(row)
    return found


def _amounts(row: Row) -> list[float]:
    return [row.get(kind) or 0 for kind in (*truth.WHOLE, "calls")]


def _apart(name: str, expected: Row, shown: Row, figures: Iterable[str]) -> list[str]:
    return [
        f"{name}: {figure} is {shown.get(figure)} instead of {expected[figure]}"
        for figure in figures
        if not _same(expected[figure], shown.get(figure))
    ]


def _same(expected: float | None, shown: float | None) -> bool:
    if expected is None or shown is None:
        return expected is shown
    return isclose(expected, shown, rel_tol=_NEAR, abs_tol=_NEAR)


def metric(name: str, expected: float | None, shown: float | None) -> Check:
    """Hold a figure to what was worked out by hand."""
    wrong = _apart("it", {name: expected}, {name: shown}, [name])
    return Check(name, _figure(expected), _figure(shown), wrong)


def _figure(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,.6g}"


def models(calls: Sequence[Call], shown: Mapping[str, Row]) -> Check:
    """Hold what metrics have of models to the calls: each kind of tokens of each model."""
    wanted = {row["model"]: row for row in truth.rows("usage model", calls)}
    called = {name: row for name, row in shown.items() if row.get("calls")}
    nothing: Row = dict.fromkeys(("calls", *truth.WHOLE))
    differences = [
        difference
        for model in sorted({*wanted, *called})
        for difference in _apart(
            model, wanted.get(model, nothing), called.get(model, nothing), nothing
        )
    ]
    expected, found = _calls(wanted.values()), _calls(called.values())
    return Check("models in metrics", expected, found, differences[:_NAMED])


def _calls(rows: Collection[Row]) -> str:
    tokens = sum(row.get(kind) or 0 for row in rows for kind in truth.WHOLE)
    return f"{count(sum(row['calls'] for row in rows), 'call')}, {number(tokens)}"


def laws(expected: Outcomes, balance: Balance) -> list[Check]:
    """Hold both laws of custody to what was captured."""
    sent = expected.written + expected.duplicate
    kept = {"written": expected.written, "duplicate": expected.duplicate}
    left_out = {"filtered": expected.filtered, "quarantined": expected.quarantined}
    captured = sent + sum(left_out.values())
    return [
        _law("messages", {"enqueued": sent, **kept}, balance.messages()),
        _law("events", {"captured": captured, **kept, **left_out}, balance.events()),
    ]


def _law(name: str, terms: Mapping[str, int], shown: Mapping[str, int]) -> Check:
    """Hold a law to its terms; those that are not named have to be 0."""
    wanted = {**dict.fromkeys(shown, 0), **terms}
    return Check(
        f"law of {name}", _sum_of(wanted), _sum_of(shown), _apart(name, wanted, shown, wanted)
    )


def _sum_of(terms: Mapping[str, int]) -> str:
    head, *rest = terms.values()
    return f"{head} = {' + '.join(str(each) for each in rest if each)}"
