"""Attaching to a stream: after every start, and after anything went wrong with it.

Owns the order of it: check the server, see what is there, judge what is not, begin an epoch where
the old one is over, and tell the sources what to send again.
Promises that the gate opens only when all of that is stored, and that it can be killed anywhere.
Leaves the judgement itself to ``custody.py``; runs in the writer's thread, with nothing in hand.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from secrets import token_hex

from blueplane import faults
from blueplane.clock import wall_ms
from blueplane.errors import QueueRefusedError, QueueUnusableError
from blueplane.logs import get
from blueplane.pipeline import entry
from blueplane.pipeline.commits import Commits
from blueplane.pipeline.custody import Found, InFlight, Verdict, judge
from blueplane.pipeline.redis_server import ServerInfo
from blueplane.pipeline.stream import Stream
from blueplane.store.ledger import Epoch

_log = get("custody")

#: Entries whose ids are looked up in the store at once.
_LOOK_UP = 500
#: Entries that are removed from the stream at once.
_REMOVE = 1_000


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
        found, ids = self._look()
        self._free_stuck(ids)
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
        if self.private():
            return  # nobody else's can be in there: the home has a new secret
        if owner is not None and owner.partition(":")[0] != self.home_id:
            message = (
                f"the stream in this redis belongs to home {owner.partition(':')[0]}, ours is "
                f"{self.home_id}: give one of them another redis.key_prefix or redis.url"
            )
            raise QueueUnusableError(message)

    def _look(self) -> tuple[Found, set[bytes]]:
        """See what is in the stream, and its ids; take out what has its outcome in the store.

        A server that lost the end of its log may show entries again that we had removed.
        """
        own: dict[bytes, tuple[str, int]] = {}
        sources: Counter[str] = Counter()
        ids: set[bytes] = set()
        done: list[bytes] = []
        page: list[tuple[bytes, dict[bytes, bytes]]] = []
        # What a stranger adds from here on was not counted, and must not be seen either.
        counts = self.stream.counts()
        for message_id, found in self.stream.scan(counts.last_id):
            fields = found or []
            page.append((message_id, entry.by_name(fields)))
            ids.add(message_id)
            if len(page) == _LOOK_UP:
                done += self._sort(page, own, sources)
                page = []
        done += self._sort(page, own, sources)
        for start in range(0, len(done), _REMOVE):
            self.stream.settle(done[start : start + _REMOVE], None)
        ids.difference_update(done)
        return Found(counts, len(ids), own, sources), ids

    def _free_stuck(self, ids: Iterable[bytes]) -> None:
        """Have entries delivered again that the group has passed and that are not pending.

        Nobody would ever read them: a stranger acknowledged them, read them without, or moved the
        group on.
        """
        last, pending = self.stream.passed()
        passed = sum(_order(key) <= _order(last) for key in ids)
        if passed > pending:
            _log.warning("stuck", entries=passed - pending, cause="the group was moved on")
            self.stream.deliver_again()

    def _sort(
        self,
        page: list[tuple[bytes, dict[bytes, bytes]]],
        own: dict[bytes, tuple[str, int]],
        sources: Counter[str],
    ) -> list[bytes]:
        """Put our own entries of a page into ``own``; return those that are done."""
        done = self.commits.ledger.settled_messages(
            [(key.decode(), entry.text(fields, b"event_id")) for key, fields in page],
        )
        for message_id, fields in page:
            origin = entry.origin(fields)
            if origin and message_id.decode() not in done:
                own[message_id] = (origin, sum(map(len, fields.values())))
                sources[entry.text(fields, b"source")] += 1
        return [message_id for message_id, _ in page if message_id.decode() in done]

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
        epoch = self.commits.begin_epoch(verdict, token_hex(8), base)
        self.in_flight.replace({})
        faults.point("after_epoch_commit")
        self.stream.begin_epoch(self.key_of(epoch), found.sources)
        faults.point("after_epoch_set")
        _log.info("epoch", token=epoch.token, carried=found.length, cause=verdict.cause)
        return epoch

    def _mirror(self) -> None:
        opened = self.commits.letters.open_reasons()
        with suppress(QueueRefusedError):  # a full server: what fills it must be drained first
            self.stream.mirror_dead_letters(opened, (), replace=True)


def _order(message_id: bytes) -> tuple[int, int]:
    milliseconds, _, number = message_id.partition(b"-")
    return int(milliseconds), int(number)
