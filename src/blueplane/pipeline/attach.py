"""Attaching to a stream: after every start, and after anything went wrong with it.

Owns the order of it: check the server, see what is there, judge what is not, begin an epoch where
the old one is over, and tell the sources what to send again.
Promises that the gate opens only when all of that is stored, and that it can be killed anywhere.
Leaves the judgement itself to ``custody.py``; runs in the writer's thread, with nothing in hand.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from blueplane import faults
from blueplane.clock import wall_ms
from blueplane.digests import random_hex
from blueplane.errors import QueueRefusedError
from blueplane.logs import get
from blueplane.pipeline import entry
from blueplane.pipeline.commits import Commits
from blueplane.pipeline.custody import Found, InFlight, Verdict, judge, unaccounted
from blueplane.pipeline.redis_server import ServerInfo, check_owner
from blueplane.pipeline.stream import Stream
from blueplane.store.ledger import Epoch

_log = get("custody")

#: Entries whose ids are looked up in the store at once.
_LOOK_UP = 500


@dataclass(frozen=True, slots=True)
class Attachment:
    """What the stream is on, and the epoch it is in."""

    server: ServerInfo
    epoch: Epoch


@dataclass(frozen=True, slots=True)
class Attacher:
    """What an attach needs.

    ``home_id`` keeps two homes apart on one server; ``private`` says that the server is ours alone.
    """

    stream: Stream
    commits: Commits
    in_flight: InFlight
    home_id: str
    private: Callable[[], bool] = lambda: False

    def attach(
        self, epoch: Epoch | None, retell: Callable[[Mapping[str, bytes]], None]
    ) -> Attachment:
        """Attach, judge, and ``retell`` the sources which origins wait in the stream.

        Raises QueueError when Redis cannot serve us now, StoreError when the store cannot.
        """
        self.stream.detach()
        server = self.stream.inspect()
        self._check_owner()
        self.stream.set_aside_if_exhausted(wall_ms())
        self.stream.make_group()
        self.stream.claim_pending()
        found = self._look()
        self._miss_announced(epoch, found)
        epoch = self._judge(epoch, found)
        # Before anything else can fail: what was judged must not be judged again.
        self.in_flight.replace(found.own)
        self._mirror()
        retell({origin: message_id for message_id, (origin, _) in found.own.items()})
        self.stream.open(server)
        return Attachment(server, epoch)

    def key_of(self, epoch: Epoch) -> str:
        """Return what ``telemetry:epoch`` holds during an epoch of this home."""
        return f"{self.home_id}:{epoch.token}"

    def _check_owner(self) -> None:
        owner = self.stream.counts().epoch
        if not self.private():  # else nobody else's can be in there: the home has a new secret
            check_owner(owner, self.home_id)

    def _look(self) -> Found:
        """See what is in the stream; take out what has its outcome in the store.

        A server that lost the end of its log may show entries again that we had removed.
        """
        happened = self.stream.happened()
        last, _ = self.stream.passed()
        sight = _Sight(_order(last))
        page: list[_Glance] = []
        # What a stranger adds from here on was not counted, and must not be seen either.
        counts = self.stream.counts()
        for message_id, fields in self.stream.scan(counts.last_id):
            page.append(_glance(message_id, fields or []))
            if len(page) == _LOOK_UP:
                self._sort(page, sight)
                page = []
        self._sort(page, sight)
        self._free_stuck(sight.passed)
        return Found(counts, sight.length, sight.own, sight.sources, happened)

    def _free_stuck(self, passed: int) -> None:
        """Have entries delivered again that the group has passed and that are not pending.

        Nobody would ever read them: a stranger acknowledged them, read them without, or moved the
        group on.
        """
        _, pending = self.stream.passed()
        if passed > pending:
            _log.warning("stuck", entries=passed - pending, cause="the group was moved on")
            self.stream.deliver_again()

    def _sort(self, page: list["_Glance"], sight: "_Sight") -> None:
        """Remove what is done from the stream, and note the rest in ``sight``."""
        looked_up = [(seen.message_id.decode(), seen.event_id) for seen in page]
        done = {key.encode() for key in self.commits.ledger.settled_messages(looked_up)}
        if done:
            self.stream.settle(list(done), None)
            self.in_flight.settle(done)  # else they would be missed
        for seen in page:
            if seen.message_id not in done:
                sight.note(seen)

    def _miss_announced(self, epoch: Epoch | None, found: Found) -> None:
        """Count rows as lost that were announced, and that the store does not have any more.

        Their sources have let go of them. A store that was rolled back knows by its mark what it
        lacks; this is what was written after that.
        """
        last, count = self.stream.announced(self.commits.ledger.last_sequence())
        own = count
        if epoch is not None and found.counts.epoch == self.key_of(epoch):
            most, own = unaccounted(epoch, self.commits.ledger.totals(), found)
            count = min(count, most)
        if last:
            self.commits.note_announced(last, count, own)

    def _judge(self, epoch: Epoch | None, found: Found) -> Epoch:
        if epoch is None:
            verdict = Verdict(turn=True, recovered=0, lost=0, ids=(), cause="first epoch")
            return self._turn(verdict, found)
        totals = self.commits.ledger.totals()
        verdict = judge(epoch, self.key_of(epoch), totals, self.in_flight.ids(), found)
        if verdict.broken:
            _log.warning(
                "break", recovered=verdict.recovered, lost=verdict.lost, cause=verdict.cause
            )
        if verdict.turn:
            return self._turn(verdict, found)
        if verdict.broken:
            self.commits.note_break(verdict)
        return epoch

    def _turn(self, verdict: Verdict, found: Found) -> Epoch:
        """Begin an epoch: in the store first, so that a death between the two only repeats it.

        Until the first balance the epoch has seen nothing, and so lacks nothing when it is
        repeated: what is in the stream is carried into the next one.
        """
        base = found.counts.entries_added - found.length
        epoch = self.commits.begin_epoch(verdict, random_hex(8), base, found.sources)
        self.in_flight.replace({})
        faults.point("after_epoch_commit")
        self.stream.begin_epoch(self.key_of(epoch), found.sources, alone=self.private())
        faults.point("after_epoch_set")
        _log.info("epoch", token=epoch.token, carried=found.length, cause=verdict.cause)
        return epoch

    def _mirror(self) -> None:
        opened = self.commits.letters.open_reasons()
        with suppress(QueueRefusedError):  # a full server: what fills it must be drained first
            self.stream.mirror_dead_letters(opened, (), replace=True)


class _Glance(NamedTuple):
    """What an attach keeps of an entry: its fields may be of any size."""

    message_id: bytes
    event_id: str
    origin: str
    source: str
    size: int


def _glance(message_id: bytes, fields: list[bytes]) -> _Glance:
    """Look at an entry; one that is larger than any event is nobody's whom we know."""
    size = entry.size(fields)
    if entry.is_oversized(fields, size):
        return _Glance(message_id, "", "", "", size)
    named = entry.by_name(fields)
    event_id, source = entry.text(named, b"event_id"), entry.text(named, b"source")
    return _Glance(message_id, event_id, entry.origin(named), source, size)


@dataclass(slots=True)
class _Sight:
    """What is in the stream; ``passed`` of it up to the id that the group has read last."""

    last: tuple[int, int]
    own: dict[bytes, tuple[str, int]] = field(default_factory=dict)
    sources: Counter[str] = field(default_factory=Counter)
    length: int = 0
    passed: int = 0

    def note(self, seen: _Glance) -> None:
        """Note an entry that has no outcome yet."""
        self.length += 1
        self.passed += _order(seen.message_id) <= self.last
        if seen.origin:
            self.own[seen.message_id] = (seen.origin, seen.size)
            self.sources[seen.source] += 1


def _order(message_id: bytes) -> tuple[int, int]:
    milliseconds, _, number = message_id.partition(b"-")
    return int(milliseconds), int(number)
