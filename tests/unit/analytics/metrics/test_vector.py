from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from blueplane.analytics.metrics.vector import (
    Vector,
    add,
    bounds,
    bucket,
    mean,
    merge,
    merged,
    percentile,
    spread,
)

VALUES = st.lists(st.integers(0, 10**12), min_size=1, max_size=40)


def spread_of(values: list[int]) -> Vector:
    """Return the spread of values."""
    vector: Vector = {}
    for value in values:
        spread(vector, "it", value=value)
    return vector.get("it", {})


@given(st.integers(0, 2**62))
def test_bucket_holds_a_value_that_is_near_its_middle(value: int) -> None:
    """A value lies in its bucket, whose middle is within 1/128 of it; small ones are exact."""
    # Given / When
    first, last = bounds(bucket(value))
    # Then
    assert first <= value <= last
    assert abs((first + last) / 2 - value) <= value / 128
    assert value >= 128 or first == last


@given(VALUES, st.sampled_from([1, 50, 95, 99, 100]))
def test_percentile_is_near_that_of_the_values_themselves(values: list[int], percent: int) -> None:
    """The nearest rank, within 1 % of the value at it."""
    # Given
    exact = sorted(values)[max(1, -(-len(values) * percent // 100)) - 1]
    # When
    found = percentile(spread_of(values), percent)
    # Then
    assert found is not None
    assert abs(found - exact) <= exact / 100


@given(st.lists(VALUES, min_size=1, max_size=6), st.randoms())
def test_merged_is_the_same_in_any_order(parts: list[list[int]], random: object) -> None:
    """What spans add up to is what all of their values together are."""
    # Given
    vectors: list[Vector] = [{"a": {"it": spread_of(part)}, "n": len(part)} for part in parts]
    random.shuffle(vectors)  # type: ignore[attr-defined]
    # When
    whole = merged(vectors)
    # Then
    together = reduce(lambda one, other: [*one, *other], parts)
    assert whole == {"a": {"it": spread_of(together)}, "n": len(together)}


def test_merge_changes_no_part_when_it_adds_to_the_whole() -> None:
    """Parts are added up again later."""
    # Given
    part: Vector = {}
    add(part, "tools", "Bash", "ok")
    whole: Vector = {}
    # When
    merge(whole, part)
    merge(whole, part)
    # Then
    assert part == {"tools": {"Bash": {"ok": 1}}}
    assert whole == {"tools": {"Bash": {"ok": 2}}}


def test_merge_takes_a_tool_for_a_tool_when_it_is_named_as_a_part_of_a_spread() -> None:
    """Names are those of strangers: a tool may have any."""
    # Given
    part: Vector = {}
    for name in ("in", "least", "most", "n", "sum"):
        add(part, "tools", name, "ok")
        spread(part, "tools", name, "ms", value=70)
    # When
    whole = merged([part, part])
    # Then
    twice: Vector = {"ok": 2, "ms": spread_of([70, 70])}
    assert whole == {"tools": dict.fromkeys(part["tools"], twice)}


def test_mean_and_percentile_are_unknown_when_there_is_nothing() -> None:
    """Unknown is not 0."""
    assert mean({}) is None
    assert percentile({}, 50) is None
