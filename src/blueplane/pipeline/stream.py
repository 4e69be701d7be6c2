"""The Redis stream: append, read, settle, and attach.

Owns every key in Redis.
Promises that nothing is appended to a server or a stream that the writer has not attached to.
Leaves connections to ``link.py``, what an entry holds to ``event.py`` and what it counts for to
``custody.py``.

Keys, each behind ``redis.key_prefix``:

``telemetry:events``    stream; one entry an event (``event.py`` has the fields); group
                        ``processors`` with one consumer. Entries leave it when they are settled,
                        so its length is what is in flight. Never trimmed.
``telemetry:enqueued``  hash, source -> entries that our sources added in this epoch
``telemetry:epoch``     string, ``<home id>:<token>``; missing = the stream was lost
``telemetry:dlq``       hash, message id -> reason of the open dead letters (a mirror)
``cdc:events``          stream, one entry a commit: first, last, count, priority; about 1,000 kept
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from threading import Lock
from typing import Any, Final

from blueplane.errors import (
    QueueDetachedError,
    QueueError,
    QueueRefusedError,
    QueueUnusableError,
)
from blueplane.pipeline.link import (
    COMMAND_TIMEOUT_S,
    Argument,
    Command,
    Link,
    Reply,
    read_info,
    require,
    require_permission,
)
from blueplane.pipeline.redis_server import UNKNOWN_POLICY, Deeds, ServerInfo, check, deeds

#: Milliseconds that an idle read waits in the server. A private server ticks once a second, so
#: the answer may come a second late.
BLOCK_MS: Final = 5_000
#: Seconds until a silent server counts as gone. Longer than a block and its tick, for a timeout
#: below the block would make each idle read an error.
READ_TIMEOUT_S: Final = 8.0
#: The same for the command that ends a waiting read: a frozen server must not hold up a stop.
UNBLOCK_TIMEOUT_S: Final = 1.0
#: The same for a look at the queue, which must not hold up whoever looks at everything.
OBSERVE_TIMEOUT_S: Final = 0.5
#: Entries of the wake-up stream that are kept.
CDC_KEPT: Final = 1_000
#: Commands that acknowledge and remove entries.
REMOVAL: Final = 3
#: Milliseconds that an id may be ahead of the clock: a hundred years.
MAX_AHEAD_MS: Final = 100 * 365 * 86_400_000
#: Entries that a scan takes at once.
SCAN_PAGE: Final = 1_000
#: Bytes of a stream, and of its entries on average, beyond which there may be strangers' entries of
#: any size in it, and how many are then read at once.
HEAVY_BYTES: Final = 64 * 1024 * 1024
HEAVY_AVERAGE: Final = 4 * 1024
FEW: Final = 8
GROUP: Final = "processors"
#: The one consumer of the group: stable, so that its pending entries are its own after a restart.
CONSUMER: Final = "writer"

#: (message id, fields); the fields are None when the entry was deleted after its delivery.
Entry = tuple[bytes, list[bytes] | None]


@dataclass(frozen=True, slots=True)
class Counts:
    """What the server says of the stream in one instant.

    ``enqueued`` are the entries that our own sources added in this epoch, by source; ``epoch`` is
    None when the key is gone; ``last_id`` is that of the newest entry ever.
    """

    epoch: str | None
    entries_added: int
    length: int
    enqueued: dict[str, int]
    last_id: bytes = b"+"


@dataclass(frozen=True, slots=True)
class Sight:
    """What a look at the queue finds; what the server does not tell us is None.

    ``pending`` is how many entries each consumer has and did not acknowledge; ``oldest_pending`` is
    the id of the oldest of them, ``oldest`` that of the oldest entry, None where there is none.
    ``enqueued`` is what our sources added in this epoch, canaries apart; ``memory`` is in bytes.
    """

    length: int
    pending: Mapping[str, int] | None
    oldest_pending: bytes | None
    oldest: bytes | None
    consumers: int | None
    enqueued: int
    memory: int | None
    policy: str | None


@dataclass(frozen=True, slots=True)
class Commit:
    """What one commit tells whoever waits for new rows."""

    first_sequence: int
    last_sequence: int
    count: int
    priority: int


class Stream:
    """The stream and the keys beside it, for the threads of one server.

    Each role has its own connection: ``append`` (any source, one at a time), ``read`` (consumer),
    ``observe`` (health), everything else (writer). They talk only to the server instance that
    ``open`` named.
    """

    def __init__(self, find_url: Callable[[], str], prefix: str = "") -> None:
        self._find_url = find_url
        self._run_id: str | None = None
        #: What the server had done when it was last opened, and when it was last asked.
        self._deeds_opened: Deeds | None = None
        self._deeds: Deeds | None = None
        self._appending = Lock()
        self._control: Link | None = None
        self._reader: Link | None = None
        self._appender: Link | None = None
        self._observer: Link | None = None
        self._owed = 0
        self.length = 0
        self.events = f"{prefix}telemetry:events"
        self.dead_letters = f"{prefix}telemetry:dlq"
        self._enqueued = f"{prefix}telemetry:enqueued"
        self._epoch = f"{prefix}telemetry:epoch"
        self._cdc = f"{prefix}cdc:events"

    # -- attaching: the writer, while nothing is in hand and no source appends ------------------

    def inspect(self) -> ServerInfo:
        """Connect anew and check that the server can serve us.

        Raises QueueUnusableError, with what to change, when it never can.
        """
        self._disconnect()
        link = Link(self._find_url(), COMMAND_TIMEOUT_S)
        link.connect()
        self._control = link
        server = check(link.info(), _policy(link))
        for key, wanted in (
            (self.events, b"stream"),
            (self._cdc, b"stream"),
            (self._enqueued, b"hash"),
            (self.dead_letters, b"hash"),
            (self._epoch, b"string"),
        ):
            found = link.call("TYPE", key)
            if found not in (wanted, b"none"):
                message = (
                    f"redis key {key} is a {found.decode()}, not a {wanted.decode()}: something "
                    "else uses this server; set redis.key_prefix or another redis.url"
                )
                raise QueueUnusableError(message)
        self._check_permissions(link)
        return server

    def _check_permissions(self, link: Link) -> None:
        """Raise QueueUnusableError, which names the command, when the user may not do all we need.

        In a transaction that is given up every command is checked and none is run.
        """
        probe = (b"probe", b"1")
        link.call("MULTI")  # alone: were it refused, the others would be run
        replies = link.pipeline(
            [
                ("XADD", self.events, "NOMKSTREAM", "*", *probe),
                ("XADD", self._cdc, "NOMKSTREAM", "*", *probe),
                ("XREADGROUP", "GROUP", GROUP, CONSUMER, "STREAMS", self.events, ">"),
                ("XAUTOCLAIM", self.events, GROUP, CONSUMER, 0, "0-0"),
                ("XACK", self.events, GROUP, "0-0"),
                ("XDEL", self.events, "0-0"),
                ("XLEN", self.events),
                ("XRANGE", self.events, "-", "+", "COUNT", 1),
                ("XINFO", "STREAM", self.events),
                ("XGROUP", "CREATE", self.events, GROUP, "0", "MKSTREAM"),
                ("HINCRBY", self._enqueued, *probe),
                ("HGETALL", self._enqueued),
                ("HSET", self.dead_letters, *probe),
                ("HDEL", self.dead_letters, "probe"),
                ("DEL", self._enqueued),
                ("SET", self._epoch, "probe"),
                ("GET", self._epoch),
                ("CLIENT", "UNBLOCK", 0),
                ("DISCARD",),
            ],
        )
        require_permission(replies)

    def make_group(self) -> None:
        """Make the stream and its group, at the first entry, where they do not exist."""
        # Not by trying: a full server refuses that before it looks whether there is anything to do.
        if not self._has_group():
            self._link().call("XGROUP", "CREATE", self.events, GROUP, "0", "MKSTREAM")

    def _has_group(self) -> bool:
        if self._link().call("TYPE", self.events) == b"none":
            return False
        groups = self._link().call("XINFO", "GROUPS", self.events)
        return any(GROUP.encode() in group for group in groups)

    def set_aside_if_exhausted(self, now_ms: int) -> None:
        """Rename a stream whose ids have run away: no entry after them could be told in time.

        New ids are never below the last one, so a single absurd id, which anyone can give, would
        spoil all that follow.
        """
        if self._link().call("TYPE", self.events) == b"none":
            return
        info = self._link().call("XINFO", "STREAM", self.events)
        last = _by_name(info)[b"last-generated-id"]
        if int(last.partition(b"-")[0]) > now_ms + MAX_AHEAD_MS:
            self._link().call("RENAME", self.events, f"{self.events}:set-aside-{now_ms}")

    def deliver_again(self) -> None:
        """Have everything in the stream delivered anew, as if the group had read nothing of it."""
        self._link().call("XGROUP", "SETID", self.events, GROUP, "0")

    def passed(self) -> tuple[bytes, int]:
        """Return the id up to which the group has read, and how many entries are pending."""
        for group in self._link().call("XINFO", "GROUPS", self.events):
            details = _by_name(group)
            if details[b"name"] == GROUP.encode():
                return details[b"last-delivered-id"], int(details[b"pending"])
        message = "the group is gone"
        raise QueueDetachedError(message)

    def claim_pending(self) -> None:
        """Take over the pending entries of any consumer that is not us."""
        claim = ("XAUTOCLAIM", self.events, GROUP, CONSUMER, 0)
        start = self._link().call(*claim, "0-0", "JUSTID")[0]
        while start != b"0-0":
            start = self._link().call(*claim, start, "JUSTID")[0]

    def scan(self, last: bytes = b"+") -> Iterator[Entry]:
        """Return every entry of the stream up to the id ``last``, oldest first."""
        start = b"-"
        count = FEW if self._is_heavy(self._link()) else SCAN_PAGE
        while True:
            page = self._link().call("XRANGE", self.events, start, last, "COUNT", count)
            yield from map(tuple, page)
            if len(page) < count:
                return
            start = b"(" + page[-1][0]

    def begin_epoch(self, token: str, enqueued: Mapping[str, int], *, alone: bool = False) -> None:
        """Mark the stream as belonging to the epoch ``token``, with what is of our own in it.

        Raises QueueDetachedError when another home has marked it since it was looked at; ``alone``
        says that no other can have.
        """
        # Of two homes that found it unmarked at the same moment, one is first.
        first = alone or self._link().call("SET", self._epoch, token, "NX")
        if not first and not self._is_ours(token):
            message = "another home was first to use this stream"
            raise QueueDetachedError(message)
        commands: list[Command] = [("DEL", self._enqueued), ("SET", self._epoch, token)]
        commands += [("HSET", self._enqueued, source, n) for source, n in enqueued.items()]
        require(self._link().transact(commands))

    def happened(self) -> frozenset[str]:
        """Return what the server did since ``open`` that makes entries vanish (``Deeds.since``)."""
        link = self._link()
        self._deeds = deeds({**link.info(), **link.info("commandstats")})
        return self._deeds.since(self._deeds_opened)

    def _is_ours(self, token: str) -> bool:
        held = self._link().call("GET", self._epoch) or b""
        return bool(held.partition(b":")[0] == token.partition(":")[0].encode())

    def open(self, server: ServerInfo) -> None:
        """Let sources append and the consumer read, on this server instance only."""
        self._run_id = server.run_id
        self._deeds_opened = self._deeds

    # -- appending: any source, one at a time ----------------------------------------------------

    def append(
        self,
        source: str,
        entries: Sequence[list[bytes]],
        origins: Sequence[str],
        register: Callable[[Sequence[bytes], Sequence[str], Sequence[int]], None],
    ) -> None:
        """Append entries of one source and count them, as one transaction.

        ``register`` is told their ids, origins and sizes before any attach can look at the stream.
        Raises QueueError when none of them was appended, or when it is not known whether they were:
        the caller keeps them either way, and asks again after the next attach.
        """
        # A stream that was lost is made again only by an attach, which begins a new epoch.
        add = ("XADD", self.events, "NOMKSTREAM", "*")
        commands: list[Command] = [(*add, *fields) for fields in entries]
        commands.append(("HINCRBY", self._enqueued, source, len(entries)))
        commands.append(("XLEN", self.events))
        with self._appending:
            if self._appender is None or not self.attached:
                self._appender = self._open_link(COMMAND_TIMEOUT_S)
            replies = self._appender.transact(commands)
            added = [reply for reply in replies[: len(entries)] if isinstance(reply, bytes)]
            if len(added) < len(entries):
                self._appender.call("HINCRBY", self._enqueued, source, len(added) - len(entries))
                failed = [reply for reply in replies if isinstance(reply, Exception)]
                message = f"the stream takes nothing: {failed[0] if failed else 'it is gone'}"
                raise QueueDetachedError(message)
            register(added, origins, [sum(map(len, fields)) for fields in entries])
        self.length = int(replies[-1])

    # -- reading: the consumer -------------------------------------------------------------------

    def read_history(self, after: bytes, count: int) -> list[Entry]:
        """Return pending entries of our consumer after the id ``after``."""
        return self._read("COUNT", count, "STREAMS", self.events, after)

    def read_new(self, count: int, block_ms: int) -> list[Entry]:
        """Return entries that were never delivered; wait up to ``block_ms`` for the first."""
        block = ("BLOCK", block_ms) if block_ms else ()
        return self._read("COUNT", count, *block, "STREAMS", self.events, ">")

    def is_heavy(self) -> bool:
        """Whether the stream is so large that few of its entries may be read at once."""
        return self._is_heavy(self._reading())

    def _is_heavy(self, link: Link) -> bool:
        # Of all entries: those that are read next may be the large ones.
        memory = ("MEMORY", "USAGE", self.events, "SAMPLES", 0)
        used, length = link.pipeline([memory, ("XLEN", self.events)])
        if not (isinstance(used, int) and isinstance(length, int)):
            return False  # a hosted server may not tell: what was read last must do
        return used > max(HEAVY_BYTES, length * HEAVY_AVERAGE)

    def unblock_reader(self) -> None:
        """End a read that waits, from another thread; a server that does not help is cut off."""
        reader = self._reader
        if reader is None or not reader.client_id:
            return
        try:
            link = Link(self._find_url(), UNBLOCK_TIMEOUT_S)
            link.connect()
            with closing(link):
                link.call("CLIENT", "UNBLOCK", reader.client_id)
        except QueueError:
            reader.sever()

    def _read(self, *rest: Argument) -> list[Entry]:
        reader = self._reading()
        try:
            reply = reader.call("XREADGROUP", "GROUP", GROUP, CONSUMER, *rest)
        except QueueError:
            reader.close()
            self._reader = None
            raise
        return [tuple(entry) for entry in reply[0][1]] if reply else []

    def _reading(self) -> Link:
        if self._reader is None:
            self._reader = self._open_link(READ_TIMEOUT_S)
        return self._reader

    # -- settling: the writer ----------------------------------------------------------------------

    def settle(self, message_ids: Sequence[bytes], commit: Commit | None) -> None:
        """Announce a commit, acknowledge its entries and remove them, in one round trip.

        The answer is read by ``finish``, or before the next command: the next batch need not wait
        for it. Raises QueueError when the one before failed, or when this one cannot be sent.
        """
        commands: list[Command] = [] if commit is None else [self._announcement(commit)]
        # No transaction: a full server takes none, and an attach removes what is acknowledged only.
        commands += [
            ("XACK", self.events, GROUP, *message_ids),
            ("XDEL", self.events, *message_ids),
            ("XLEN", self.events),
        ]
        self._link().send(commands)
        self._owed = len(commands)

    def _announcement(self, commit: Commit) -> Command:
        return (
            "XADD", self._cdc, "MAXLEN", "~", CDC_KEPT, "*",
            "first", commit.first_sequence, "last", commit.last_sequence,
            "count", commit.count, "priority", commit.priority,
        )  # fmt: skip

    def announced(self, after: int) -> tuple[int, int]:
        """Return the last sequence that was announced, and how many rows after ``after``.

        (0, 0) when nothing after it was. Of old announcements only some are kept: rows before the
        oldest of those are counted by their sequences.
        """
        found = [_read_announcement(fields) for _, fields in self._link().call(
            "XRANGE", self._cdc, "-", "+",
        )]  # fmt: skip
        rows = sorted(row for row in found if row is not None and row[1] > after)
        if not rows:
            return 0, 0
        before = max(0, rows[0][0] - after - 1)
        return rows[-1][1], before + sum(count for *_, count in rows)

    def finish(self) -> None:
        """Read the answer to ``settle``; raise QueueError when it failed."""
        if self._owed and self._control is not None:
            owed, self._owed = self._owed, 0
            replies = self._control.receive(owed)
            # Not the announcement: a full server may refuse it, and must be emptied all the same.
            require(replies[-REMOVAL:])
            with suppress(QueueRefusedError):
                require(replies[:-REMOVAL])
            self.length = int(replies[-1])

    def counts(self) -> Counts:
        """Return the counters of the stream, all of one instant.

        Waits for an append under way and holds the next one up: a transaction would do the same in
        the server, but a full one takes none.
        """
        with self._appending:
            info, enqueued, epoch = self._link().pipeline(
                [
                    ("XINFO", "STREAM", self.events),
                    ("HGETALL", self._enqueued),
                    ("GET", self._epoch),
                ],
            )
        require([enqueued, epoch])
        missing = isinstance(info, Exception)  # the stream itself does not exist
        details = {} if missing else _by_name(info)
        self.length = int(details.get(b"length", 0))
        return Counts(
            epoch.decode("utf-8", "replace") if epoch is not None else None,
            int(details.get(b"entries-added", 0)),
            self.length,
            self._read_enqueued(enqueued),
            details.get(b"last-generated-id", b"+"),
        )

    def _read_enqueued(self, pairs: list[bytes]) -> dict[str, int]:
        try:
            return {name.decode(): int(value) for name, value in _by_name(pairs).items()}
        except ValueError:
            message = (
                f"redis key {self._enqueued} holds something that is not ours; "
                "delete the key, or set redis.key_prefix"
            )
            raise QueueUnusableError(message) from None

    # -- looking: health ---------------------------------------------------------------------------

    def observe(self) -> Sight:
        """Look at the queue; a server that does not answer costs about half a second.

        Raises QueueError then, and while the gate is closed: what is there may not be ours.
        """
        try:
            if self._observer is None or not self.attached:
                self._close_observer()
                self._observer = self._open_link(OBSERVE_TIMEOUT_S)
            return self._see(self._observer)
        except QueueError:
            self._close_observer()
            raise

    def _see(self, link: Link) -> Sight:
        length, pending, consumers, enqueued, memory = link.pipeline(
            [
                ("XLEN", self.events),
                ("XPENDING", self.events, GROUP),
                ("XINFO", "CONSUMERS", self.events, GROUP),
                ("HGETALL", self._enqueued),
                ("INFO", "memory"),
            ],
        )
        require([length, enqueued])
        counts = self._read_enqueued(enqueued)
        count, oldest, _, owners = _permitted(pending) or (None, None, None, None)
        known = _permitted(consumers)
        about = read_info(_permitted(memory) or b"")
        return Sight(
            int(length),
            None if count is None else {name.decode(): int(n) for name, n in owners or ()},
            oldest,
            self._oldest(link, oldest) if length else None,
            None if known is None else len(known),
            sum(counts.values()) - counts.get("canary", 0),
            int(about["used_memory"]) if "used_memory" in about else None,
            about.get("maxmemory_policy"),
        )

    def _oldest(self, link: Link, pending: bytes | None) -> bytes | None:
        # An entry that is pending was read before any that is not: no need to fetch a whole one.
        if pending is not None:
            return pending
        first = link.call("XRANGE", self.events, "-", "+", "COUNT", 1)
        return first[0][0] if first else None

    def _close_observer(self) -> None:
        if self._observer is not None:
            self._observer.close()
            self._observer = None

    # -- beside the stream: the writer -----------------------------------------------------------

    def mirror_dead_letters(
        self,
        opened: Mapping[str, str],
        closed: Sequence[str],
        *,
        replace: bool = False,
    ) -> None:
        """Bring the mirror of the open dead letters up to date."""
        commands: list[Command] = [("DEL", self.dead_letters)] if replace else []
        if closed:
            commands.append(("HDEL", self.dead_letters, *closed))
        commands += [("HSET", self.dead_letters, key, reason) for key, reason in opened.items()]
        if commands:
            require(self._link().pipeline(commands))

    def rewrite_files(self) -> bool:
        """Have the server write its files anew, with what is in it now; False when it has none."""
        info = self._link().info()
        if info.get("aof_enabled") == "1":
            self._link().call("BGREWRITEAOF")
            return True
        if info.get("rdb_last_save_time", "0") == "0":
            return False
        self._link().call("BGSAVE")
        return True

    def rewriting(self) -> bool:
        """Whether the server still writes; raise QueueRefusedError when it could not."""
        info = self._link().info()
        names = ("aof_rewrite_in_progress", "aof_rewrite_scheduled", "rdb_bgsave_in_progress")
        if any(info.get(name) == "1" for name in names):
            return True
        kind = "aof_last_bgrewrite" if info.get("aof_enabled") == "1" else "rdb_last_bgsave"
        if info.get(f"{kind}_status") != "ok":
            message = "redis could not write its files anew; see its log"
            raise QueueRefusedError(message)
        return False

    # -- connections -------------------------------------------------------------------------------

    def detach(self) -> None:
        """Close the gate: nothing is appended or read until the next attach.

        Waits for an append under way, so that whoever looks next sees what it did.
        """
        self._run_id = None
        with self._appending:
            if self._appender is not None:
                self._appender.close()
                self._appender = None

    @property
    def attached(self) -> bool:
        """Whether sources may append."""
        return self._run_id is not None

    def close(self) -> None:
        """Close the gate and every connection."""
        self._disconnect()
        self._close_observer()

    def _disconnect(self) -> None:
        """Close the gate and the connections of consumer and writer."""
        self.detach()
        for link in (self._control, self._reader):
            if link is not None:
                link.close()
        self._control = self._reader = None
        self._owed = 0

    def _link(self) -> Link:
        if self._control is None:
            message = "not attached to redis"
            raise QueueDetachedError(message)
        self.finish()
        return self._control

    def _open_link(self, timeout_s: float) -> Link:
        wanted = self._run_id
        if wanted is None:
            message = "not attached to redis"
            raise QueueDetachedError(message)
        link = Link(self._find_url(), timeout_s)
        link.connect()
        try:
            if link.info()["run_id"] != wanted:
                message = "redis was restarted"
                raise QueueDetachedError(message)
        except QueueError:
            link.close()
            raise
        return link


def _by_name(pairs: list[Any]) -> dict[bytes, Any]:
    """Return the values of a reply that lists names and values by turns."""
    return dict(zip(pairs[0::2], pairs[1::2], strict=True))


def _permitted(reply: Reply) -> Reply:
    """Return a reply; None when the user of ``redis.url`` may not ask for it."""
    try:
        require([reply])
    except QueueUnusableError:
        return None
    return reply


def _read_announcement(fields: list[bytes]) -> tuple[int, int, int] | None:
    """Return first, last and count; None for what is not ours."""
    values = dict(zip(fields[0::2], fields[1::2], strict=False))
    try:
        first, last, count = (int(values[name]) for name in (b"first", b"last", b"count"))
    except (KeyError, ValueError):
        return None
    return (first, last, count) if 0 < count <= last - first + 1 else None


def _policy(link: Link) -> str:
    try:
        reply = link.call("CONFIG", "GET", "maxmemory-policy")
    except (QueueRefusedError, QueueUnusableError):
        return UNKNOWN_POLICY  # a hosted server may not have CONFIG, or forbid it
    return reply[1].decode() if len(reply) > 1 else UNKNOWN_POLICY
