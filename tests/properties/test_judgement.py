"""What an attach concludes of vanished messages, for any history that a stream can have."""

from dataclasses import dataclass

from hypothesis import example, given
from hypothesis import strategies as st

from blueplane.pipeline.custody import Found, Verdict, judge
from blueplane.pipeline.stream import Counts
from blueplane.store.ledger import Epoch

TOKEN = "home:token"
#: What was settled before this epoch, and how much of it was our own.
BEFORE, OWN_BEFORE = 1_000, 900
#: What the stream counted before this epoch.
BASE = 70


@dataclass(frozen=True)
class Entry:
    """One entry of an epoch: ours or a stranger's, and what became of it.

    ``fate``: settled; still in the stream; or deleted by a stranger. ``known``: its id is known to
    the server that attaches, as it is until that server ends.
    """

    own: bool
    fate: str
    known: bool


@dataclass(frozen=True)
class History:
    """An epoch: its entries in order, how many of them Redis still remembers, and what was seen.

    ``seen`` entries had been added when the last balance was taken.
    """

    entries: tuple[Entry, ...]
    remembered: int
    seen: int
    flushed: bool

    def settled(self) -> list[Entry]:
        """Return the entries that have an outcome in the store."""
        return [entry for entry in self.entries if entry.fate == "settled"]

    def here(self) -> dict[bytes, Entry]:
        """Return what is in the stream."""
        if self.flushed:
            return {}
        return {
            b"%d-0" % number: entry
            for number, entry in enumerate(self.entries[: self.remembered])
            if entry.fate == "here"
        }

    def vanished(self, *, own: bool) -> int:
        """Return how many of ours, or of strangers, have neither outcome nor place."""
        waiting = [entry for entry in self.entries if entry.fate != "settled"]
        return sum(e.own == own for e in waiting) - sum(e.own == own for e in self.here().values())


def entries() -> st.SearchStrategy[tuple[Entry, ...]]:
    """Give the entries of an epoch."""
    fates = st.sampled_from(["settled", "settled", "here", "deleted"])
    return st.lists(st.builds(Entry, st.booleans(), fates, st.booleans()), max_size=12).map(tuple)


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Give a history; in some the end of Redis' log is forgotten, in some everything."""
    made = draw(entries())
    length = len(made)
    remembered = draw(st.one_of(st.just(length), st.integers(0, length)))
    return History(made, remembered, draw(st.integers(0, length)), draw(st.booleans()))


def judged(history: History) -> Verdict:
    """Have it judged as an attach would."""
    settled = history.settled()
    totals = {
        "messages.written": BEFORE + len(settled),
        "messages.own": OWN_BEFORE + sum(entry.own for entry in settled),
    }
    own_seen = sum(entry.own for entry in history.entries[: history.seen])
    epoch = Epoch("token", BASE, BEFORE, OWN_BEFORE, BASE + history.seen, own_seen, 0)
    return judge(epoch, TOKEN, totals, in_flight(history), found(history))


def in_flight(history: History) -> list[bytes]:
    """Return the ids that the server knows to be in flight."""
    return [
        b"%d-0" % number
        for number, entry in enumerate(history.entries)
        if entry.own and entry.known and entry.fate != "settled"
    ]


def found(history: History) -> Found:
    """Return what an attach sees of the stream."""
    own = {key: ("spool:x", 1) for key, entry in history.here().items() if entry.own}
    added = sum(entry.own for entry in history.entries[: history.remembered])
    counts = (
        Counts(None, 0, 0, {})
        if history.flushed
        else Counts(TOKEN, BASE + history.remembered, len(history.here()), {"hook": added})
    )
    return Found(counts, len(history.here()), own, {"hook": len(own)})


@given(histories())
@example(
    # A stranger's entry waits while a later one is settled, and Redis forgets that one.
    History(
        (
            Entry(own=False, fate="here", known=False),
            Entry(own=True, fate="settled", known=False),
        ),
        remembered=1,
        seen=0,
        flushed=False,
    ),
)
def test_the_first_law_closes_after_any_judgement(history: History) -> None:
    """Enqueued is settled and in flight and recovered and lost, whatever Redis has forgotten."""
    # Given a history / When it is judged
    verdict = judged(history)
    # Then what is counted is not negative
    assert verdict.recovered >= 0
    assert verdict.lost >= 0
    # and the sum closes; a new epoch begins with a sum that does
    if not verdict.turn:
        parts = len(history.settled()) + verdict.recovered + verdict.lost + len(history.here())
        assert history.remembered == parts


@given(histories())
def test_nothing_is_called_lost_or_recovered_that_was_not(history: History) -> None:
    """A judgement never counts more of ours, or of a stranger's, than did vanish."""
    # Given a history / When it is judged
    verdict = judged(history)
    # Then it is careful
    assert verdict.recovered <= history.vanished(own=True)
    assert verdict.lost <= history.vanished(own=False)


@given(entries(), st.integers(0, 12))
def test_a_judgement_is_exact_when_redis_has_forgotten_nothing(
    made: tuple[Entry, ...], seen: int,
) -> None:  # fmt: skip
    """Deleted entries are counted one by one, ours as recovered and a stranger's as lost."""
    # Given entries, some of them deleted by a stranger
    history = History(made, len(made), min(seen, len(made)), flushed=False)
    # When it is judged / Then every one is counted as what it is
    verdict = judged(history)
    assert not verdict.turn
    assert verdict.recovered == history.vanished(own=True)
    assert verdict.lost == history.vanished(own=False)


@given(entries(), st.booleans())
def test_a_judgement_is_exact_when_all_is_flushed_right_after_a_balance(
    made: tuple[Entry, ...], known: bool,
) -> None:  # fmt: skip
    """Of a stream that was seen whole before it was lost nothing is left out, known ids or not."""
    # Given entries that a balance has seen, and then a flush
    made = tuple(Entry(entry.own, entry.fate, known) for entry in made)
    history = History(made, len(made), len(made), flushed=True)
    # When it is judged / Then every one is counted
    verdict = judged(history)
    assert verdict.turn
    assert verdict.recovered == history.vanished(own=True)
    assert verdict.lost == history.vanished(own=False)


@given(histories())
def test_the_ids_of_a_break_are_those_that_are_known_and_gone(history: History) -> None:
    """A break names every message that the server knew and that is not in the stream."""
    # Given a history / When it is judged / Then exactly those are named
    gone = [key.decode() for key in in_flight(history) if key not in history.here()]
    assert list(judged(history).ids) == gone
