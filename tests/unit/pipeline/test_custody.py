import threading

import pytest

from blueplane.pipeline.custody import (
    Balance,
    Found,
    InFlight,
    Tally,
    arrivals,
    enqueued,
    is_letter,
    judge,
    letter_origin,
    settled,
)
from blueplane.pipeline.stream import Counts
from blueplane.store.ledger import Epoch

TOKEN = "home:now"
NO_LETTERS = {"open": 0, "dead_lettered": 0, "waiting": 0}


def make_epoch(base: int = 0, high: int = 0, own_high: int = 0) -> Epoch:
    """Make an epoch that begins with nothing settled."""
    return Epoch("now", base, 0, 0, high, own_high, 0)


def make_found(
    added: int, own: dict[bytes, tuple[str, int]], foreign: int = 0, token: str | None = TOKEN
) -> Found:
    """Make what an attach finds: entries of ours and of strangers."""
    enqueued_by_us = {"hook": added - foreign} if token == TOKEN else {}
    counts = Counts(token, added, len(own) + foreign, enqueued_by_us)
    return Found(counts, len(own) + foreign, own, {"hook": len(own)})


def keys(*numbers: int) -> list[bytes]:
    """Make message ids."""
    return [b"%d-0" % number for number in numbers]


# --- what is in flight ----------------------------------------------------------------------------


def test_in_flight_knows_origins_and_bytes_when_messages_come_and_go() -> None:
    """What is registered and not settled is known by id, origin and size, oldest first."""
    # Given
    flight = InFlight()
    # When
    flight.register(keys(1, 2, 3), ["a", "b", "c"], [10, 20, 30])
    flight.settle(keys(2))
    # Then
    assert (len(flight), flight.bytes) == (2, 40)
    assert (flight.ids(), flight.origins()) == (keys(1, 3), ["a", "c"])


def test_in_flight_forgets_a_message_when_it_was_settled_before_it_was_registered() -> None:
    """The writer may be faster than the answer to the append: nothing stays behind."""
    # Given a message that is settled first
    flight = InFlight()
    flight.settle(keys(1))
    # When
    flight.register(keys(1, 2), ["a", "b"], [10, 20])
    # Then
    assert (flight.ids(), flight.bytes) == (keys(2), 20)


def test_in_flight_takes_the_stream_for_the_truth_when_it_is_replaced() -> None:
    """An attach leaves nothing of what was believed before."""
    # Given
    flight = InFlight()
    flight.register(keys(1), ["a"], [10])
    flight.settle(keys(7))
    # When
    flight.replace({b"5-0": ("e", 50)})
    flight.register(keys(7), ["g"], [70])
    # Then
    assert (flight.ids(), flight.bytes) == (keys(5, 7), 120)


def test_in_flight_ends_at_zero_when_two_threads_register_and_settle() -> None:
    """Whoever is first, no message and no byte is left over."""
    # Given one thread that registers and one that settles the same messages
    flight = InFlight()
    messages = keys(*range(3_000))
    start = threading.Barrier(2)

    def register() -> None:
        start.wait()
        for message in messages:
            flight.register([message], ["o"], [7])

    thread = threading.Thread(target=register)
    thread.start()
    # When
    start.wait()
    for message in messages:
        flight.settle([message])
    thread.join()
    # Then
    assert (len(flight), flight.bytes, flight.ids()) == (0, 0, [])


def test_letter_origin_is_told_from_a_file_when_it_is_read() -> None:
    """A message of a retried letter says so in its origin."""
    # Given / When / Then
    assert is_letter(letter_origin("5-0"))
    assert not is_letter("spool:1.1.1:5")
    assert not is_letter("")


# --- the laws -------------------------------------------------------------------------------------


def test_balance_closes_when_every_outcome_is_counted() -> None:
    """Both sums hold with one of each outcome."""
    # Given one of everything
    tally = Tally()
    for outcome in ("written", "duplicate", "dead_lettered", "recovered", "lost"):
        tally.message("cursor", "hook", outcome, own=True)
    for outcome in ("written", "duplicate", "filtered", "quarantined", "refused"):
        tally.event(outcome)
    tally.totals["events.captured"] += 3  # two letters, one of them retried, and their events
    # When
    letters = {"open": 1, "dead_lettered": 2, "waiting": 1}
    balance = Balance(tally.totals, 7, 2, 0, letters, 4)
    body = balance.body()
    # Then
    assert settled(tally.totals) == 5
    assert body["balanced"] is True
    assert (body["captured"], body["waiting"], body["open_dead_letters"]) == (12, 5, 1)


@pytest.mark.parametrize("missing", [-1, 1])
def test_balance_is_open_when_a_message_is_missing_or_too_many(missing: int) -> None:
    """One message more or less than was enqueued opens the first law."""
    # Given one written message
    tally = Tally()
    tally.message("cursor", "hook", "written", own=True)
    tally.event("written")
    # When
    balance = Balance(tally.totals, 1 + missing, 0, 0, NO_LETTERS, 0)
    # Then
    assert balance.remainder() == missing
    assert balance.body()["balanced"] is False


def test_balance_is_open_when_an_event_is_counted_nowhere() -> None:
    """A captured event without an outcome opens the second law."""
    # Given
    tally = Tally()
    tally.totals["events.captured"] += 1
    # When / Then
    assert Balance(tally.totals, 0, 0, 0, NO_LETTERS, 0).body()["balanced"] is False


@pytest.mark.parametrize(
    ("before", "seen", "own", "counted"),
    [
        ({}, {}, {"hook": 4}, {"hook": 4, "": 3}),
        ({"enqueued": 5}, {"hook": 3}, {"hook": 4}, {"hook": 1, "": 1}),
        ({"enqueued": 7}, {"hook": 4}, {"hook": 4}, {}),
        # counters of a time in which nobody counted by source, or of another stream
        ({"enqueued": 6}, {}, {"hook": 4}, {"": 1}),
        ({"enqueued": 6}, {"hook": 9}, {"hook": 4}, {"": 1}),
    ],
)
def test_arrivals_are_counted_once_by_source_when_a_balance_is_stored(
    before: dict[str, int], seen: dict[str, int], own: dict[str, int], counted: dict[str, int]
) -> None:
    """What came since the last balance, and of whom, as far as that is known; it always adds up."""
    # Given seven messages that were ever enqueued
    balance = Balance({}, 7, 7, 0, NO_LETTERS, 0, own)
    # When
    minutes = arrivals(balance, before, seen).minutes
    # Then
    found = {source: n for (_, source, what), n in minutes.items() if what == "enqueued" and n}
    assert found == counted
    assert sum(found.values()) == 7 - before.get("enqueued", 0)


def test_captured_counts_what_waits_when_a_balance_is_stored() -> None:
    """An event is captured when it is seen, and once; files that somebody removed are taken off."""
    # Given three settled events and two that wait
    balance = Balance({"events.captured": 3, "events.written": 3}, 0, 0, 0, NO_LETTERS, 2)
    # When / Then
    for before, new in (({}, 5), ({"captured": 4}, 1), ({"captured": 6}, -1)):
        assert arrivals(balance, before, {}).minutes["", "", "captured"] == new


def test_enqueued_counts_on_when_the_epoch_turns() -> None:
    """The total goes on from what was settled, whatever the new stream counts from."""
    # Given an epoch of a stream that counted to 40, with 5 entries carried over and 100 settled
    epoch = Epoch("t", 35, 100, 80, 40, 5, 0)
    # When / Then
    assert enqueued(epoch, 40) == 105
    assert enqueued(epoch, 47) == 112


# --- judging what vanished ------------------------------------------------------------------------


def test_judge_finds_nothing_when_all_is_there() -> None:
    """Nothing missing is no break, and the epoch goes on."""
    # Given three messages of ours in flight and in the stream
    own = dict.fromkeys(keys(1, 2, 3), ("o", 1))
    # When
    verdict = judge(make_epoch(high=3), TOKEN, {}, keys(1, 2, 3), make_found(3, own))
    # Then
    assert (verdict.turn, verdict.recovered, verdict.lost, verdict.ids) == (False, 0, 0, ())


@pytest.mark.fault("B11")
def test_judge_names_what_vanished_when_somebody_deletes_entries() -> None:
    """Deleted entries of ours are recovered by id; those of a stranger are lost."""
    # Given two of ours and two foreign entries, of which one each is left
    found = make_found(4, {b"1-0": ("o", 1)}, foreign=2)
    found = Found(Counts(TOKEN, 4, 2, {"hook": 2}), 2, found.own, found.sources)
    # When
    verdict = judge(make_epoch(high=4), TOKEN, {}, keys(1, 2), found)
    # Then
    assert (verdict.turn, verdict.recovered, verdict.lost, verdict.ids) == (False, 1, 1, ("2-0",))


def test_judge_knows_our_own_by_their_counter_when_the_ids_died_with_the_server() -> None:
    """After a restart no ids are known, but how many of ours were added is."""
    # Given three of ours, of which one is left, and a new server that knows no ids
    found = Found(Counts(TOKEN, 3, 1, {"hook": 3}), 1, {b"3-0": ("o", 1)}, {"hook": 1})
    # When
    verdict = judge(make_epoch(high=3), TOKEN, {}, [], found)
    # Then
    assert (verdict.recovered, verdict.lost, verdict.ids) == (2, 0, ())


@pytest.mark.fault("B4")
@pytest.mark.parametrize("token", [None, "home:older"])
def test_judge_turns_the_epoch_when_the_stream_is_another_one(token: str | None) -> None:
    """Without our epoch in Redis everything that was in flight vanished."""
    # Given five added, two of them foreign and one written, and an empty stream
    totals = {"messages.written": 1, "messages.own": 1}
    # When
    verdict = judge(
        make_epoch(high=5, own_high=3), TOKEN, totals, keys(2, 3), make_found(0, {}, token=token)
    )
    # Then
    assert (verdict.turn, verdict.recovered, verdict.lost) == (True, 2, 2)
    assert verdict.cause == "redis lost the stream"


@pytest.mark.fault("B2")
def test_judge_turns_the_epoch_when_the_counter_is_behind_what_was_settled() -> None:
    """A server that counts less than was settled lost the end of its log, whatever its token."""
    # Given three settled, one more in flight, and a server that remembers two
    totals = {"messages.written": 3, "messages.own": 3}
    found = Found(Counts(TOKEN, 2, 0, {"hook": 2}), 0, {}, {})
    # When
    verdict = judge(make_epoch(), TOKEN, totals, keys(4), found)
    # Then
    assert (verdict.turn, verdict.recovered, verdict.lost) == (True, 1, 0)
    assert verdict.cause == "redis lost the end of its log"


def test_judge_counts_no_less_than_nothing_when_more_is_there_than_known() -> None:
    """Entries that nobody knew of are no break."""
    # Given a foreign entry that came after the last balance
    found = Found(Counts(TOKEN, 1, 1, {}), 1, {}, {})
    # When
    verdict = judge(make_epoch(), TOKEN, {}, [], found)
    # Then
    assert (verdict.turn, verdict.recovered, verdict.lost) == (False, 0, 0)


@pytest.mark.parametrize(
    ("happened", "same", "cause"),
    [
        ({"stayed", "evicted"}, True, "redis evicted the stream"),
        ({"stayed", "flushed"}, False, "redis was flushed"),
        ({"restarted", "flushed"}, False, "redis was flushed"),
        ({"stayed"}, True, "the stream was deleted"),
        ({"stayed"}, False, "the stream was deleted"),
        ({"restarted"}, True, "redis lost the end of its log"),
        ({"restarted"}, False, "redis came back without the stream"),
        (set(), False, "redis lost the stream"),
    ],
)
def test_cause_is_what_the_server_tells_when_a_stream_is_lost(
    happened: set[str], cause: str, *, same: bool
) -> None:
    """The worst thing that the server did since it was last seen is the cause."""
    # Given three entries of ours that are gone with the stream
    counts = Counts("t" if same else None, 0, 0, {})
    found = Found(counts, 0, {}, {}, frozenset(happened))
    # When
    verdict = judge(Epoch("t", 0, 0, 0, 3, 3, 0), "t", {}, [b"1-0"], found)
    # Then
    assert verdict.turn
    assert verdict.cause.startswith(cause)
