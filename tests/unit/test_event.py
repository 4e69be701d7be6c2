import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueplane.errors import UndecodableEntryError
from blueplane.event import COLUMNS, EVENT_TYPES, MAX_INT, Event, decode, derive_id, encode
from helpers.road import make_event

text = st.text(st.characters(exclude_categories=["Cs"]))
events = st.builds(
    Event,
    event_id=st.binary(min_size=16, max_size=16),
    platform=text,
    source=text,
    hook_type=text,
    event_type=text,
    session_id=text,
    # From year 1000 to year 9999.
    timestamp_ms=st.integers(-30_610_224_000_000, 253_402_300_799_999),
    captured_ns=st.integers(0, MAX_INT),
    workspace_hash=text,
    project=text,
    turn_id=text,
    tool_use_id=text,
    payload=st.binary(),
    metadata=st.binary(),
    origin=text,
)


@given(events)
def test_event_comes_back_when_it_is_encoded_and_decoded(event: Event) -> None:
    """Decoding gives back exactly what was encoded."""
    # Given an event / When / Then
    assert decode(encode(event)) == event


@given(st.permutations(range(len(encode(make_event())) // 2)), st.binary(), st.binary())
def test_event_comes_back_when_fields_are_shuffled_and_unknown_ones_added(
    order: list[int], name: bytes, value: bytes
) -> None:
    """A newer writer may send more fields, in any order."""
    # Given
    event = make_event()
    fields = encode(event)
    known = fields[0::2]
    shuffled = [part for index in order for part in fields[2 * index : 2 * index + 2]]
    # When
    more = [] if name in known else [name, value]
    # Then
    assert decode([*more, *shuffled]) == event


@pytest.mark.fault("F11")
@pytest.mark.parametrize("name", [b"project", b"turn_id", b"tool_use_id", b"origin"])
def test_event_is_read_when_an_older_writer_left_a_field_out(name: bytes) -> None:
    """What not every event has may be missing."""
    # Given
    fields = encode(make_event())
    index = fields.index(name)
    # When
    event = decode(fields[:index] + fields[index + 2 :])
    # Then
    assert event.event_id == make_event().event_id
    assert getattr(event, name.decode()) == ""


@pytest.mark.fault("D11")
@given(st.lists(st.binary()))
def test_decode_refuses_when_an_entry_is_anything(fields: list[bytes]) -> None:
    """Whatever is in the stream, it is an event or refused in one way."""
    # Given any fields / When / Then
    with pytest.raises(UndecodableEntryError):
        decode(fields)


@pytest.mark.fault("D11")
@pytest.mark.parametrize("name", [b"v", b"event_id", b"timestamp", b"captured_at", b"payload"])
def test_decode_names_the_field_when_it_is_missing(name: bytes) -> None:
    """A missing field is named."""
    # Given
    fields = encode(make_event())
    index = fields.index(name)
    # When / Then
    with pytest.raises(UndecodableEntryError, match=f"no field {name.decode()}"):
        decode(fields[:index] + fields[index + 2 :])


def test_derived_id_differs_when_parts_are_cut_differently() -> None:
    """No two lists of parts have one id, however they are cut; the same list always has."""
    # Given
    lists: list[tuple[str | bytes, ...]] = [
        ("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""), ("", "abc"), (), ("",), ("\ud800",),
    ]  # fmt: skip
    # When
    derived = {derive_id(*parts) for parts in lists}
    # Then
    assert len(derived) == len(lists)
    assert {len(one) for one in derived} == {16}
    assert derive_id("a", b"b") == derive_id("a", "b")


def test_tables_of_types_are_whole_when_they_are_read() -> None:
    """Every event type has a priority, every column a type that SQLite has."""
    # Given / When / Then
    assert set(EVENT_TYPES.values()) == {1, 2, 3}
    assert "other" in EVENT_TYPES
    assert set(COLUMNS.values()) == {str, int}
