"""A strict reader of Prometheus' text format, version 0.0.4.

Owns ``read``, which takes what a server shows and nothing that only some readers would take.
Promises to fail with the line that breaks a rule.
Leaves which metrics there must be to the test.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

Labels = tuple[tuple[str, str], ...]

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"'
_SAMPLE = re.compile(rf"({_NAME})(?:\{{({_LABEL}(?:,{_LABEL})*)\}})? (\S+)")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?|[+-]Inf")
_OF_A_HISTOGRAM = ("_bucket", "_sum", "_count")


@dataclass
class Family:
    """A metric: its kind, its help, and the values by name and labels."""

    name: str
    help: str
    kind: str = ""
    samples: dict[tuple[str, Labels], float] = field(default_factory=dict)

    def value(self, **labels: str) -> float:
        """Return the value with exactly these labels."""
        return self.samples[self.name, tuple(sorted(labels.items()))]


def read(text: str) -> Mapping[str, Family]:
    """Return every metric by name; raise AssertionError for what is not strictly the format."""
    assert text.endswith("\n"), "the last line does not end"
    families: dict[str, Family] = {}
    family: Family | None = None
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            _, _, name, help_text = line.split(" ", 3)
            assert name not in families, f"twice: {line}"
            assert help_text, line
            family = families[name] = Family(name, help_text)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert family is not None, line
            assert (family.name, family.kind, family.samples) == (name, "", {}), line
            assert kind in {"counter", "gauge", "histogram"}, line
            family.kind = kind
        else:
            assert family is not None, line
            _add(family, line)
    for each in families.values():
        _check(each)
    return families


def _add(family: Family, line: str) -> None:
    matched = _SAMPLE.fullmatch(line)
    assert matched, f"no sample: {line!r}"
    name, inner, value = matched[1], matched[2] or "", matched[matched.lastindex or 0]
    ends = _OF_A_HISTOGRAM if family.kind == "histogram" else ("",)
    assert name in {family.name + end for end in ends}, f"not of {family.name}: {line}"
    assert _NUMBER.fullmatch(value), f"no number: {line}"
    labels = tuple(sorted(re.findall(_LABEL, inner)))
    assert len(dict(labels)) == len(labels), f"a label is there twice: {line}"
    assert (name, labels) not in family.samples, f"twice: {line}"
    family.samples[name, labels] = float(value)


def _check(family: Family) -> None:
    assert family.kind, f"{family.name} has no type"
    assert family.samples, f"{family.name} has no sample"
    assert (family.kind == "counter") == family.name.endswith("_total"), family.name
    if family.kind == "counter":
        assert min(family.samples.values()) >= 0, family.name
    if family.kind == "histogram":
        _check_histogram(family)


def _check_histogram(family: Family) -> None:
    buckets = {
        float(dict(labels)["le"]): value
        for (name, labels), value in family.samples.items()
        if name.endswith("_bucket")
    }
    bounds = list(buckets)
    assert bounds == sorted(bounds), f"{family.name}: buckets are not in order"
    assert bounds[-1] == inf, f"{family.name}: no bucket for all"
    counts = list(buckets.values())
    assert counts == sorted(counts), f"{family.name}: a bucket has less than the one below it"
    assert counts[-1] == family.samples[f"{family.name}_count", ()], family.name
    assert family.samples[f"{family.name}_sum", ()] >= 0, family.name
