"""Both laws close after every step, whatever happens in which order.

The machine drives ``Commits`` and ``judge`` as the server does, against a model of plain dicts that
knows of each message and of each captured item what became of it.
"""

import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from blueplane.errors import RowRefusedError
from blueplane.event import Event, Settlement, derive_id
from blueplane.pipeline.batch import prepare
from blueplane.pipeline.commits import Commits
from blueplane.pipeline.custody import (
    Balance,
    Found,
    Verdict,
    enqueued,
    judge,
    letter_origin,
    settled,
)
from blueplane.pipeline.dead_letters import make_letter
from blueplane.pipeline.stream import Counts
from blueplane.store.ledger import Epoch
from helpers.road import CAPTURED_NS, database_file, make_entry, make_event, make_row

TOKEN = "home:token"


@dataclass
class Model:
    """What must be true: outcomes of messages, and of captured items by origin."""

    #: In the stream: message id -> event.
    stream: dict[bytes, Event] = field(default_factory=dict)
    messages: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    rows: dict[bytes, bytes] = field(default_factory=dict)
    #: Captured items, by event and time, that have a row or a duplicate.
    items: set[tuple[bytes, int]] = field(default_factory=set)
    done: set[bytes] = field(default_factory=set)
    buried: set[bytes] = field(default_factory=set)
    #: Origins that have their outcome: their source let go of them.
    finished: set[str] = field(default_factory=set)
    captured: int = 0
    open: dict[str, Event] = field(default_factory=dict)
    retried: dict[str, Event] = field(default_factory=dict)
    dropped: dict[str, Event] = field(default_factory=dict)
    settlements: set[str] = field(default_factory=set)
    added: int = 0
    own_added: int = 0


class Laws(RuleBasedStateMachine):
    """One store, one stream, and everything that can happen to a message."""

    messages = Bundle("messages")
    letters = Bundle("letters")

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.commits = Commits(database_file(self.directory))
        self.model = Model()
        self.number = 0

    @initialize()
    def begin(self) -> None:
        """Begin the first epoch."""
        self._turn(Verdict(turn=True, recovered=0, lost=0, ids=(), cause="first"))

    def teardown(self) -> None:
        self.commits.close()
        shutil.rmtree(self.directory)

    # -- the stream --------------------------------------------------------------------------------

    def _add(self, event: Event) -> bytes:
        self.number += 1
        message_id = b"%d-0" % (CAPTURED_NS // 1_000_000 + self.number)
        self.model.stream[message_id] = event
        self.model.added += 1
        self.model.own_added += bool(event.origin)
        return message_id

    @rule(target=messages, identity=st.integers(0, 4), capture=st.integers(0, 2), own=st.booleans())
    def append(self, identity: int, capture: int, *, own: bool) -> object:
        """A source sends a captured item, again if it vanished; or a stranger sends anything."""
        captured_ns = CAPTURED_NS + identity * 1_000 + capture
        origin = f"spool:{identity}.{capture}:{captured_ns}" if own else ""
        event = make_event(
            0, event_id=derive_id(str(identity)), captured_ns=captured_ns, origin=origin
        )
        return self._add(event) if self._may_send(origin) else multiple()

    def _may_send(self, origin: str) -> bool:
        """Say whether a source sends this: not what is in the stream or has its outcome."""
        sent = {event.origin for event in self.model.stream.values()} | self.model.finished
        return not origin or origin not in sent

    # -- outcomes ----------------------------------------------------------------------------------

    @rule(chosen=st.lists(messages, max_size=6, unique=True))
    def write(self, chosen: list[bytes]) -> None:
        """The writer takes a batch; what was written before comes again as a redelivery.

        A message that has a letter never comes again: the attach removes it from the stream.
        """
        known = [key for key in chosen if key in self.model.stream.keys() - self.model.buried]
        events = [self.model.stream[key] for key in known]
        rows = [
            make_row(self.commits, event, key) for event, key in zip(events, known, strict=True)
        ]
        if rows:
            self.commits.write(rows)
        for key, event in zip(known, events, strict=True):
            self._wrote(key, event)

    def _wrote(self, key: bytes, event: Event) -> None:
        model = self.model
        if key in model.done:
            return
        model.done.add(key)
        model.finished.add(event.origin)
        outcome = "written" if model.rows.setdefault(event.event_id, key) == key else "duplicate"
        item = (event.event_id, event.captured_ns)
        same = item in model.items
        model.items.add(item)
        model.messages[outcome] += 1
        letter = event.origin.removeprefix("dlq:")
        if letter != event.origin:
            source = model.retried.pop(letter, None)
            if source is not None and source.origin:
                model.events[outcome] += 1
        elif event.origin:
            model.captured += not same
            model.events[outcome] += not same

    @rule(target=letters, key=messages)
    def bury(self, key: bytes) -> object:
        """A message fails for good; what was settled before counts nothing."""
        event = self.model.stream.get(key)
        if event is None or key in self.model.done - self.model.buried:
            return multiple()
        (delivery,) = prepare([make_entry(event, key)], self.commits.codec)
        opened = self.commits.dead_letter(make_letter(delivery, 3, RowRefusedError("poison")))
        assert opened is (key not in self.model.done)
        if opened:
            self._buried(key, event)
        return key.decode()

    def _buried(self, key: bytes, event: Event) -> None:
        model = self.model
        model.done.add(key)
        model.buried.add(key)
        model.finished.add(event.origin)
        model.messages["dead_lettered"] += 1
        before = event.origin.removeprefix("dlq:")
        origin, again = event.origin, False
        if before != event.origin:
            again = model.retried.pop(before, None) is not None
            found = self.commits.letters.get(before)
            origin = found.origin if found else ""
        model.open[key.decode()] = event._replace(origin=origin)
        model.captured += bool(origin) and not again

    @rule(letter=letters)
    def retry(self, letter: str) -> None:
        """A person retries a letter."""
        changed = self.commits.retry([letter])
        event = self.model.open.pop(letter, None)
        assert changed == ([letter] if event is not None else [])
        if event is not None:
            self.model.retried[letter] = event

    @rule(target=messages, letter=letters)
    def send_letter(self, letter: str) -> object:
        """The writer sends a retried letter, again if it vanished."""
        event = self.model.retried.get(letter)
        if event is None or not self._may_send(letter_origin(letter)):
            return multiple()
        return self._add(event._replace(origin=letter_origin(letter)))

    @rule(letter=letters)
    def drop(self, letter: str) -> None:
        """A person gives a letter up."""
        changed = self.commits.drop([letter])
        event = self.model.open.pop(letter, None)
        assert changed == ([letter] if event is not None else [])
        if event is not None:
            self.model.dropped[letter] = event

    @rule(key=consumes(messages))
    def acknowledge(self, key: bytes) -> None:
        """A settled entry leaves the stream."""
        if key in self.model.done:
            self.model.stream.pop(key, None)

    # -- what never reached the stream -------------------------------------------------------------

    @rule(number=st.integers(0, 5), outcome=st.sampled_from(["filtered", "quarantined"]))
    def settle(self, number: int, outcome: str) -> None:
        """A file is filtered or quarantined, perhaps for the second time."""
        origin = f"spool:bad{number}:1"
        self.commits.settle([Settlement(origin, outcome, "rule", "", "", 1)])
        if origin not in self.model.settlements:
            self.model.settlements.add(origin)
            self.model.events[outcome] += 1
            self.model.captured += 1

    @rule(count=st.integers(0, 3))
    def refuse(self, count: int) -> None:
        """Hooks refused."""
        self.commits.refuse(1, {"f": count})
        self.model.events["refused"] += count
        self.model.captured += count

    # -- attaching ---------------------------------------------------------------------------------

    @rule(
        restart=st.booleans(),
        flush=st.booleans(),
        seen=st.booleans(),
        taken=st.sets(st.integers(0, 9)),
    )
    def attach(self, *, restart: bool, flush: bool, seen: bool, taken: set[int]) -> None:
        """The server looks at the stream anew, after a restart, a flush, or deletions by hand.

        What no balance had ``seen`` before a flush was never known: it may be missing in the count.
        """
        model = self.model
        epoch = self.commits.ledger.epoch()
        assert epoch is not None
        for key in [key for key in model.stream if key in model.done]:
            del model.stream[key]
        before = dict(model.stream)
        gone = [key for n, key in enumerate(before) if flush or n in taken]
        for key in gone:
            del model.stream[key]
        lost = [key for key in gone if not before[key].origin]
        in_flight = [] if restart else [key for key, event in before.items() if event.origin]
        if seen:
            epoch = self._seen(epoch)
        verdict = judge(
            epoch, TOKEN, self.commits.ledger.totals(), in_flight, self._found(flush=flush)
        )
        if seen or not flush:
            assert (verdict.recovered + verdict.lost, verdict.lost) == (len(gone), len(lost))
        assert verdict.recovered + verdict.lost <= len(gone)
        assert verdict.lost <= len(lost)
        model.messages["recovered"] += verdict.recovered
        model.messages["lost"] += verdict.lost
        assert verdict.turn is flush
        if flush:
            model.added = 0
            model.own_added = sum(bool(event.origin) for event in model.stream.values())
            self._turn(verdict)
        elif gone:
            self.commits.note_break(verdict)

    def _seen(self, epoch: Epoch) -> Epoch:
        """Return the epoch as the last balance before the fault left it."""
        high, own = max(epoch.high, self.model.added), max(epoch.own_high, self.model.own_added)
        return Epoch(
            epoch.token, epoch.base, epoch.settled_at_start, epoch.own_at_start, high, own, 0
        )

    def _found(self, *, flush: bool) -> Found:
        model = self.model
        own = {key: (event.origin, 1) for key, event in model.stream.items() if event.origin}
        counts = Counts(TOKEN, model.added, len(model.stream), {"hook": model.own_added})
        if flush:
            counts = Counts(None, 0, 0, {})
        return Found(counts, len(model.stream), own, {"hook": len(own)})

    def _turn(self, verdict: Verdict) -> None:
        base = self.model.added - len(self.model.stream)
        self.commits.begin_epoch(verdict, "token", base)

    # -- the laws ----------------------------------------------------------------------------------

    @invariant()
    def both_laws_close(self) -> None:
        """The sums close, and every number is the model's."""
        model = self.model
        totals = self.commits.ledger.totals()
        epoch = self.commits.ledger.epoch()
        if epoch is None:
            return
        in_flight = sum(key not in model.done for key in model.stream)
        added = model.added - (len(model.stream) - in_flight)  # done and not acknowledged
        pending = added - (model.added - len(model.stream))
        balance = Balance(
            totals, enqueued(epoch, model.added), pending, 0, self.commits.letters.counts(), 0
        )
        assert balance.remainder() == 0
        assert balance.body()["balanced"] is True
        names = ("written", "duplicate", "dead_lettered", "recovered", "lost")
        assert {name: totals.get(f"messages.{name}", 0) for name in names} == {
            name: model.messages[name] for name in names
        }
        assert settled(totals) == model.messages.total()

    @invariant()
    def events_are_the_models(self) -> None:
        """Every captured item is in exactly one place of the second law."""
        model = self.model
        totals = self.commits.ledger.totals()
        names = ("written", "duplicate", "filtered", "quarantined", "refused")
        assert {name: totals.get(f"events.{name}", 0) for name in names} == {
            name: model.events[name] for name in names
        }
        assert totals.get("events.captured", 0) == model.captured
        groups = (model.open, model.dropped, model.retried)
        own = [sum(bool(event.origin) for event in group.values()) for group in groups]
        assert self.commits.letters.counts() == {
            "open": len(model.open),
            "dead_lettered": own[0] + own[1],
            "waiting": own[2],
        }

    @precondition(lambda self: self.model.rows)
    @invariant()
    def no_event_has_two_rows(self) -> None:
        """An event is stored once, and nothing is stored that was not sent."""
        found = self.commits._connection.execute("SELECT event_id FROM traces").fetchall()
        assert sorted(row[0] for row in found) == sorted(self.model.rows)


TestLaws = Laws.TestCase
TestLaws.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
