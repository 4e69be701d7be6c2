"""Insights: what in the figures is worth a change, with its evidence and one suggestion.

Owns what an insight is, the list of rules, and the order in which insights are told.
Promises none without data: every rule has a number of things that it needs at least, and says what
it saw, of how much, of which days, and where its threshold is.
Leaves the rules to ``insight_rules.py``, figures to ``metrics/catalogue.py``.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from blueplane.analytics.metrics.catalogue import CATALOGUE, Figure
from blueplane.analytics.metrics.vector import Vector

Kind = Literal["productivity", "errors", "patterns"]
Priority = Literal["high", "medium", "low"]

PRIORITIES: Final[tuple[Priority, ...]] = ("high", "medium", "low")
#: Beyond a threshold by this factor an insight is one priority higher.
_FAR: Final = 2.0


class ModelCost(NamedTuple):
    """What the calls of a model cost, where all of them have a price."""

    model: str
    calls: int
    output_tokens: int
    cost_usd: float


@dataclass(frozen=True, slots=True)
class Scene:
    """What rules look at: a period, the one before it (empty where there is none), and costs."""

    now: Vector
    before: Vector
    costs: Sequence[ModelCost] = ()

    def figure(self, name: str) -> Figure:
        """Return a figure of the period."""
        return CATALOGUE[name].make(self.now)

    def figure_before(self, name: str) -> Figure:
        """Return a figure of the period before."""
        return CATALOGUE[name].make(self.before)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a rule saw: a value made of ``n`` things, and the threshold that it is beyond.

    ``before`` is the value of the period before, where the rule compares.
    """

    metric: str
    unit: str
    value: float
    n: int
    threshold: float
    before: float | None = None


@dataclass(frozen=True, slots=True)
class Insight:
    """What a rule says of one subject: a tool, a model, a kind of file, or all ("")."""

    subject: str
    finding: str
    evidence: Evidence
    suggestion: str


@dataclass(frozen=True, slots=True)
class Told:
    """An insight with its rule."""

    rule: str
    kind: Kind
    priority: Priority
    insight: Insight


#: What a row of an insight has, in this order.
FIELDS: Final = (
    "rule", "kind", "priority", "subject", "finding", "suggestion", *Evidence.__slots__
)  # fmt: skip


def as_row(told: Told) -> dict[str, Any]:
    """Return an insight under the names that all interfaces show."""
    insight = told.insight
    return {
        "rule": told.rule,
        "kind": told.kind,
        "priority": told.priority,
        "subject": insight.subject or None,
        "finding": insight.finding,
        "suggestion": insight.suggestion,
        **{name: getattr(insight.evidence, name) for name in insight.evidence.__slots__},
    }


Find: TypeAlias = Callable[[Scene], Iterable[Insight]]


class Rule(NamedTuple):
    """A rule; ``priority`` is that of a value which is just beyond its threshold."""

    name: str
    kind: Kind
    priority: Priority
    find: Find


RULES: Final[dict[str, Rule]] = {}


def rule(name: str, kind: Kind, priority: Priority) -> Callable[[Find], Find]:
    """Declare the function below it as a rule."""

    def declare(find: Find) -> Find:
        RULES[name] = Rule(name, kind, priority, find)
        return find

    return declare


def what_rules_say(rules: Mapping[str, Rule], scene: Scene) -> list[Told]:
    """Return what rules say, the most urgent first."""
    found = [told for each in rules.values() for told in _told(each, scene)]
    return sorted(found, key=_urgency)


def _told(each: Rule, scene: Scene) -> Iterator[Told]:
    for insight in each.find(scene):
        yield Told(each.name, each.kind, _priority(each, insight.evidence), insight)


def _priority(each: Rule, evidence: Evidence) -> Priority:
    place = PRIORITIES.index(each.priority)
    return PRIORITIES[max(0, place - 1)] if _distance(evidence) >= _FAR else each.priority


def _distance(evidence: Evidence) -> float:
    """Return how far a value is beyond its threshold, in whichever direction: 1 is at it."""
    large, small = sorted((abs(evidence.value), abs(evidence.threshold)), reverse=True)
    return large / small if small else _FAR


def _urgency(told: Told) -> tuple[Any, ...]:
    place = PRIORITIES.index(told.priority)
    return place, -_distance(told.insight.evidence), told.rule, told.insight.subject
