import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Thread
from typing import Any

import pytest

from blueplane.clock import monotonic_s
from blueplane.errors import (
    QueueDetachedError,
    QueueError,
    QueueRefusedError,
    QueueUnavailableError,
    QueueUnusableError,
)
from blueplane.event import encode
from blueplane.pipeline import stream as module
from blueplane.pipeline.link import Link
from blueplane.pipeline.redis_server import check, parse_version
from blueplane.pipeline.stream import CONSUMER, Commit, Stream
from helpers.redis_server import RedisServer
from helpers.road import make_event
from helpers.waiting import wait_until

ENQUEUED = "telemetry:enqueued"
REGISTERED = list[tuple[bytes, str, int]]


@contextmanager
def attached(server: RedisServer, url: str = "", prefix: str = "") -> Iterator[Stream]:
    """Give a stream that is attached to ``server``."""
    stream = Stream(lambda: url or server.url, prefix)
    info = stream.inspect()
    stream.make_group()
    stream.open(info)
    yield stream
    stream.close()


@pytest.fixture
def stream(redis_server: RedisServer) -> Iterator[Stream]:
    """Give an attached stream."""
    with attached(redis_server) as stream:
        yield stream


def append(stream: Stream, *numbers: int) -> REGISTERED:
    """Append events; return what was registered of them."""
    registered: REGISTERED = []
    events = [make_event(number) for number in numbers]
    stream.append(
        "hook",
        [encode(event) for event in events],
        [event.origin for event in events],
        lambda *lists: registered.extend(zip(*lists, strict=True)),
    )
    return registered


def counted(server: RedisServer) -> dict[bytes, bytes]:
    """Return what Redis counts as appended, by source."""
    return dict(server.client.hgetall(ENQUEUED))


# --- appending ------------------------------------------------------------------------------------


def test_append_adds_counts_and_registers_when_all_is_well(
    stream: Stream, redis_server: RedisServer
) -> None:
    """Entries, their count by source and their registration belong together."""
    # Given / When
    registered = append(stream, 1, 2)
    # Then
    entries = redis_server.client.xrange(stream.events)
    assert [key for key, _, _ in registered] == [key for key, _ in entries]
    assert [origin for _, origin, _ in registered] == [make_event(n).origin for n in (1, 2)]
    assert [size for _, _, size in registered] == [
        sum(map(len, encode(make_event(n)))) for n in (1, 2)
    ]
    assert counted(redis_server) == {b"hook": b"2"}
    assert stream.length == 2


@pytest.mark.fault("B4")
def test_append_is_refused_and_counts_nothing_when_the_stream_is_gone(
    stream: Stream, redis_server: RedisServer
) -> None:
    """A lost stream is not made by an append, and the count is taken back."""
    # Given a stream that somebody deleted
    append(stream, 1)
    redis_server.command("DEL", stream.events)
    # When
    registered: REGISTERED = []
    with pytest.raises(QueueDetachedError):
        registered = append(stream, 2, 3)
    # Then
    assert registered == []
    assert redis_server.client.exists(stream.events) == 0
    assert counted(redis_server) == {b"hook": b"1"}


@pytest.mark.fault("B2")
def test_append_is_refused_when_redis_was_restarted_until_the_next_attach(
    stream: Stream, redis_server: RedisServer
) -> None:
    """Nothing is appended to a server instance that the writer has not looked at."""
    # Given a restarted server, whose old connection is found dead
    append(stream, 1)
    redis_server.stop()
    redis_server.start()
    with pytest.raises(QueueUnavailableError):
        append(stream, 2)
    # When it is tried on a fresh connection
    stream._appender = None
    with pytest.raises(QueueDetachedError, match="restarted"):
        append(stream, 2)
    # Then only an attach opens it again
    assert redis_server.client.xlen(stream.events) == 1
    stream.detach()
    with pytest.raises(QueueDetachedError, match="not attached"):
        append(stream, 2)
    stream.open(stream.inspect())
    assert len(append(stream, 2)) == 1


@pytest.mark.fault("B13")
def test_append_overwrites_nothing_when_the_key_is_something_else(
    stream: Stream, redis_server: RedisServer
) -> None:
    """A key of another type is left as it is, and the count is taken back."""
    # Given a stranger's string under our key
    redis_server.command("DEL", stream.events)
    redis_server.command("SET", stream.events, "theirs")
    # When
    with pytest.raises(QueueDetachedError):
        append(stream, 1)
    # Then
    assert redis_server.client.get(stream.events) == b"theirs"
    assert counted(redis_server) == {b"hook": b"0"}


def test_append_leaves_other_homes_alone_when_a_prefix_is_set(redis_server: RedisServer) -> None:
    """With another prefix every key is another one."""
    # Given two streams on one server
    with attached(redis_server) as plain, attached(redis_server, prefix="b:") as prefixed:
        # When
        append(prefixed, 1)
        # Then
        assert prefixed.events == "b:telemetry:events"
        assert plain.counts().entries_added == 0
        assert prefixed.counts().enqueued == {"hook": 1}


# --- what a server may answer ---------------------------------------------------------------------


@pytest.mark.fault("B7", "B8")
@pytest.mark.parametrize(
    "refuse",
    [
        ("CONFIG", "SET", "maxmemory", "1"),
        ("REPLICAOF", "127.0.0.1", "1"),
        ("CONFIG", "SET", "min-replicas-to-write", "1"),
    ],
    ids=["OOM", "READONLY", "NOREPLICAS"],
)
def test_append_is_refused_and_goes_on_when_the_server_takes_no_writes(
    stream: Stream, redis_server: RedisServer, refuse: tuple[str, ...]
) -> None:
    """A refusal appends nothing, keeps the stream attached, and ends with its cause."""
    # Given a server that refuses writes
    redis_server.command(*refuse)
    # When
    with pytest.raises(QueueRefusedError):
        append(stream, 1, 2)
    # Then nothing was added, and it works again by itself
    assert stream.attached
    redis_server.command("REPLICAOF", "NO", "ONE")
    redis_server.config_set("maxmemory", 0)
    redis_server.config_set("min-replicas-to-write", 0)
    assert len(append(stream, 1)) == 1
    assert (stream.counts().entries_added, counted(redis_server)) == (1, {b"hook": b"1"})


def test_inspect_is_unavailable_when_nothing_listens() -> None:
    """No server is a trouble that passes, and the message is one line."""
    # Given
    stream = Stream(lambda: "unix:///nowhere/redis.sock")
    # When / Then
    with pytest.raises(QueueUnavailableError, match="does not answer") as caught:
        stream.inspect()
    assert "\n" not in str(caught.value)
    assert stream.attached is False


@pytest.mark.fault("B6")
def test_inspect_is_unavailable_when_the_server_loads(redis_server: RedisServer) -> None:
    """A server that is loading its data will be there: nothing else is concluded."""
    # Given
    redis_server.restart_loading(20)
    # When / Then
    with pytest.raises(QueueUnavailableError, match=r"LOADING|does not answer"):
        Stream(lambda: redis_server.url).inspect()
    redis_server.config_set("key-load-delay", 0)


@pytest.mark.fault("B19")
@pytest.mark.parametrize("login", ["", ":not-that-one@"])
def test_inspect_is_unavailable_and_hides_the_password_when_the_login_fails(
    redis_server: RedisServer, login: str
) -> None:
    """A refused login names the remedy and never the password."""
    # Given a server with a password
    redis_server.config_set("requirepass", "right-one")
    url = f"unix://{login}{redis_server.socket_path}"
    # When / Then
    with pytest.raises(QueueUnavailableError) as caught:
        Stream(lambda: url).inspect()
    assert "not-that-one" not in str(caught.value)


def test_inspect_is_unusable_when_the_user_lacks_a_command(redis_server: RedisServer) -> None:
    """A user without the commands that we need can never serve us."""
    # Given a user who may not read INFO
    redis_server.command("ACL", "SETUSER", "poor", "on", ">pw", "~*", "+@all", "-info")
    url = f"unix://poor:pw@{redis_server.socket_path}"
    # When / Then
    with pytest.raises(QueueUnusableError, match="info"):
        Stream(lambda: url).inspect()


def test_inspect_goes_on_when_the_user_may_not_read_the_configuration(
    redis_server: RedisServer,
) -> None:
    """A hosted server that forbids CONFIG is usable; its policy is unknown."""
    # Given
    redis_server.command("ACL", "SETUSER", "hosted", "on", ">pw", "~*", "+@all", "-config")
    url = f"unix://hosted:pw@{redis_server.socket_path}"
    # When
    stream = Stream(lambda: url)
    info = stream.inspect()
    # Then
    assert info.policy == "unknown"
    stream.close()


@pytest.mark.fault("B13")
@pytest.mark.parametrize("key", ["telemetry:events", "telemetry:dlq", ENQUEUED, "cdc:events"])
def test_inspect_is_unusable_when_a_key_has_another_type(
    redis_server: RedisServer, key: str
) -> None:
    """Foreign keys under our names are named, with what to do, and not touched."""
    # Given
    redis_server.command("SET", key, "theirs")
    # When / Then
    with pytest.raises(QueueUnusableError, match=f"{key}.*key_prefix"):
        Stream(lambda: redis_server.url).inspect()
    assert redis_server.client.get(key) == b"theirs"


@pytest.mark.fault("B12")
def test_inspect_is_unusable_when_the_server_may_evict(redis_server: RedisServer) -> None:
    """A policy that may evict the stream is refused with the command that mends it."""
    # Given
    redis_server.config_set("maxmemory-policy", "allkeys-lru")
    # When / Then
    with pytest.raises(QueueUnusableError, match="CONFIG SET maxmemory-policy noeviction"):
        Stream(lambda: redis_server.url).inspect()


@pytest.mark.fault("B22")
@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({"redis_version": "6.2.14"}, "6.2.14 is too old"),
        ({"redis_version": "garbage"}, "too old"),
        ({}, "too old"),
        ({"redis_version": "7.0.15", "redis_mode": "cluster"}, "cluster"),
        ({"redis_version": "7.0.15", "cluster_enabled": "1"}, "cluster"),
    ],
)
def test_check_refuses_when_the_server_can_never_serve(info: dict[str, str], words: str) -> None:
    """Too old a server, or a cluster, is refused in words that say what to do."""
    # Given an INFO / When / Then
    with pytest.raises(QueueUnusableError, match=words):
        check(info, "noeviction")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("7.0.15", (7, 0, 15)),
        ("9.1.2", (9, 1, 2)),
        ("7.4", (7, 4)),
        ("8.0-rc1", (8,)),
        ("7.2.x", (7, 2)),
        ("", ()),
        ("255.255.255", (255, 255, 255)),
    ],
)
def test_parse_version_ends_at_what_is_no_number_when_it_reads(
    text: str, version: tuple[int, ...]
) -> None:
    """Versions compare as numbers, and whatever follows them is ignored."""
    # Given / When / Then
    assert parse_version(text) == version


@pytest.mark.fault("B14")
def test_append_is_unavailable_when_the_server_is_frozen(
    stream: Stream, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frozen server is given up after one timeout, without a second try."""
    # Given
    stream.detach()
    monkeypatch.setattr(module, "COMMAND_TIMEOUT_S", 0.3)
    stream.open(stream.inspect())
    append(stream, 1)
    redis_server.freeze()
    # When / Then
    with pytest.raises(QueueUnavailableError):
        append(stream, 2)
    redis_server.thaw()
    assert redis_server.client.xlen(stream.events) <= 2


# --- reading --------------------------------------------------------------------------------------


def test_read_history_shows_what_is_pending_when_the_read_is_repeated(
    stream: Stream, redis_server: RedisServer
) -> None:
    """What was delivered and not settled comes first, in pages; a deleted one without fields."""
    # Given three delivered entries, the second of which somebody deletes
    keys = [key for key, _, _ in append(stream, 1, 2, 3)]
    stream.read_new(10, 0)
    redis_server.command("XDEL", stream.events, keys[1])
    # When
    first = stream.read_history(b"0", 2)
    rest = stream.read_history(first[-1][0], 2)
    # Then
    assert [(key, bool(fields)) for key, fields in first + rest] == [
        (keys[0], True),
        (keys[1], False),
        (keys[2], True),
    ]
    assert stream.read_history(keys[2], 2) == []


@pytest.mark.fault("B5")
def test_read_is_detached_when_the_group_is_gone(stream: Stream, redis_server: RedisServer) -> None:
    """A destroyed group is found by the next read, and made again at the first entry."""
    # Given
    append(stream, 1)
    redis_server.command("XGROUP", "DESTROY", stream.events, "processors")
    # When
    with pytest.raises(QueueDetachedError):
        stream.read_new(10, 0)
    # Then
    stream.make_group()
    assert len(stream.read_new(10, 0)) == 1


def test_unblock_ends_a_read_when_another_thread_asks(stream: Stream) -> None:
    """A read that waits for a minute ends at once."""
    # Given a thread that waits for an entry
    ended: list[object] = []

    def read() -> None:
        try:
            ended.append(stream.read_new(1, 60_000))
        except QueueError as error:
            ended.append(error)

    thread = Thread(target=read, daemon=True)
    thread.start()

    # When it is unblocked, as often as it takes: it may not wait yet
    def unblock() -> bool:
        stream.unblock_reader()
        return bool(ended)

    # Then
    wait_until(unblock, 20, "the read ended")
    thread.join(20)
    assert not thread.is_alive()


def test_claim_takes_pages_when_others_have_many_pending(
    stream: Stream, redis_server: RedisServer
) -> None:
    """All pending entries of other consumers become ours."""
    # Given more entries than one XAUTOCLAIM returns
    append(stream, *range(250))
    redis_server.command(
        "XREADGROUP", "GROUP", "processors", "other", "COUNT", 250, "STREAMS", stream.events, ">"
    )
    # When
    stream.claim_pending()
    # Then
    assert len(stream.read_history(b"0", 1_000)) == 250


# --- settling -------------------------------------------------------------------------------------


def test_settle_is_one_round_trip_when_it_announces_and_removes(
    stream: Stream, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Announcement, acknowledgement, removal and length go out in one piece."""
    # Given two delivered entries
    keys = [key for key, _, _ in append(stream, 1, 2)]
    stream.read_new(10, 0)
    sent: list[Any] = []
    link = stream._link()._connection
    send = link.send_packed_command
    monkeypatch.setattr(
        link, "send_packed_command", lambda data, **rest: (sent.append(data), send(data, **rest))
    )
    # When
    stream.settle(keys[:1], Commit(5, 7, 3, 1))
    stream.finish()
    # Then
    assert len(sent) == 1
    assert (stream.length, redis_server.client.xlen(stream.events)) == (1, 1)
    assert redis_server.client.xpending(stream.events, "processors")["pending"] == 1
    ((_, fields),) = redis_server.client.xrange("cdc:events")
    assert fields == {b"first": b"5", b"last": b"7", b"count": b"3", b"priority": b"1"}


def test_settle_announces_nothing_when_nothing_was_committed(
    stream: Stream, redis_server: RedisServer
) -> None:
    """Entries that made no row are removed without waking anybody."""
    # Given
    keys = [key for key, _, _ in append(stream, 1)]
    # When
    stream.settle(keys, None)
    stream.finish()
    # Then
    assert redis_server.client.exists("cdc:events") == 0
    assert stream.length == 0


@pytest.mark.fault("B7")
def test_settle_acknowledges_when_the_server_is_out_of_memory(
    stream: Stream, redis_server: RedisServer
) -> None:
    """Without memory for the announcement entries still leave the stream: that makes room."""
    # Given a delivered entry and a full server
    keys = [key for key, _, _ in append(stream, 1)]
    stream.read_new(10, 0)
    redis_server.config_set("maxmemory", 1)
    # When
    stream.settle(keys, Commit(1, 1, 1, 1))
    stream.finish()
    # Then
    assert redis_server.client.xlen(stream.events) == 0
    assert redis_server.client.xpending(stream.events, "processors")["pending"] == 0


@pytest.mark.fault("B8")
def test_settle_is_refused_when_the_server_is_read_only(
    stream: Stream, redis_server: RedisServer
) -> None:
    """An acknowledgement that was not taken is not taken for one."""
    # Given
    keys = [key for key, _, _ in append(stream, 1)]
    stream.read_new(10, 0)
    redis_server.command("REPLICAOF", "127.0.0.1", "1")
    # When / Then
    stream.settle(keys, Commit(1, 1, 1, 1))
    with pytest.raises(QueueRefusedError):
        stream.finish()
    redis_server.command("REPLICAOF", "NO", "ONE")
    assert redis_server.client.xlen(stream.events) == 1


# --- counters and the rest ------------------------------------------------------------------------


def test_counts_are_zero_when_there_is_no_stream(redis_server: RedisServer) -> None:
    """A server that knows nothing of us says so in numbers, not in errors."""
    # Given
    stream = Stream(lambda: redis_server.url)
    stream.inspect()
    # When
    counts = stream.counts()
    # Then
    assert (counts.epoch, counts.entries_added, counts.length, counts.enqueued) == (None, 0, 0, {})
    stream.close()


def test_begin_epoch_replaces_the_counters_when_it_begins(stream: Stream) -> None:
    """A new epoch has its own token and counts only what it is told."""
    # Given counters of the epoch before
    append(stream, 1, 2)
    # When
    stream.begin_epoch("home:two", {"hook": 1})
    # Then
    counts = stream.counts()
    assert (counts.epoch, counts.enqueued, counts.entries_added) == ("home:two", {"hook": 1}, 2)


def test_mirror_shows_the_open_letters_when_they_change(
    stream: Stream, redis_server: RedisServer
) -> None:
    """The mirror is brought up to date, or written anew."""
    # Given
    stream.mirror_dead_letters({"1-0": "a", "2-0": "b"}, ())
    # When
    stream.mirror_dead_letters({"3-0": "c"}, ["1-0"])
    stream.mirror_dead_letters({}, ())
    # Then
    assert redis_server.client.hgetall(stream.dead_letters) == {b"2-0": b"b", b"3-0": b"c"}
    stream.mirror_dead_letters({"9-0": "z"}, (), replace=True)
    assert redis_server.client.hgetall(stream.dead_letters) == {b"9-0": b"z"}


def test_transact_runs_nothing_when_one_command_is_wrong(redis_server: RedisServer) -> None:
    """Commands of a transaction run together or not at all."""
    # Given
    link = Link(redis_server.url, 5)
    link.connect()
    # When
    with pytest.raises(QueueError):
        link.transact([("SET", "a", "1"), ("NOSUCHCOMMAND",)])
    # Then
    assert redis_server.client.get("a") is None
    link.close()


@pytest.mark.parametrize("work", ["counts", "settle"])
def test_stream_is_detached_when_it_was_never_attached(
    redis_server: RedisServer, work: str
) -> None:
    """Nothing can be asked of a stream before an attach looked at the server."""
    # Given
    stream = Stream(lambda: redis_server.url)
    # When / Then
    with pytest.raises(QueueDetachedError, match="not attached"):
        stream.counts() if work == "counts" else stream.settle([b"1-0"], None)
    with pytest.raises(QueueDetachedError, match="not attached"):
        stream.read_new(1, 0)


# --- announcements --------------------------------------------------------------------------------


@pytest.mark.fault("C10")
def test_announced_counts_what_came_after_a_sequence_when_commits_were_announced(
    stream: Stream, redis_server: RedisServer
) -> None:
    """Rows after a sequence are counted commit by commit, and what a stranger adds is not."""
    # Given three commits, of which the second used up two sequences for nothing, and rubbish
    for commit in (Commit(1, 10, 10, 1), Commit(13, 15, 3, 1), Commit(16, 16, 1, 1)):
        stream.settle([b"1-0"], commit)
    rubbish = ({"first": "x"}, {"first": 9, "last": 8, "count": 1}, {"last": 10**12, "count": 1})
    for fields in rubbish:
        redis_server.client.xadd("cdc:events", fields)
    # When / Then
    assert stream.announced(16) == (0, 0)
    assert stream.announced(15) == (16, 1)
    assert stream.announced(12) == (16, 4)
    # and what is not kept any more is counted by its sequences
    redis_server.client.xtrim("cdc:events", maxlen=5, approximate=False)
    assert stream.announced(0) == (16, 12 + 4)


def test_announced_is_nothing_when_no_commit_was(stream: Stream) -> None:
    """A server without announcements tells of no rows."""
    # Given / When / Then
    assert stream.announced(0) == (0, 0)


# --- a look for health ----------------------------------------------------------------------------


def test_look_tells_what_is_in_the_stream_when_some_of_it_was_read(
    stream: Stream, redis_server: RedisServer,
) -> None:  # fmt: skip
    """Length, what is in hand and since when, our own entries without canaries, and the server."""
    # Given three entries, one of a canary, two of them delivered
    stream.make_group()
    first = append(stream, 1)[0][0]
    append(stream, 2)
    event = make_event(3, source="canary")
    stream.append("canary", [encode(event)], [event.origin], lambda *_: None)

    # When
    before = stream.observe()
    stream.read_new(2, 0)
    after = stream.observe()

    # Then
    assert (before.length, before.pending, before.oldest_pending) == (3, {}, None)
    assert (before.oldest, before.enqueued) == (first, 2)
    assert (after.length, after.pending, after.oldest_pending) == (3, {CONSUMER: 2}, first)
    assert (after.oldest, after.consumers, after.policy) == (first, 1, "noeviction")
    assert after.memory is not None
    assert abs(after.memory - int(redis_server.client.info("memory")["used_memory"])) < 1_000_000


def test_look_finds_nothing_when_the_stream_is_empty(stream: Stream) -> None:
    """An empty stream has no oldest entry; that is known, not unknown."""
    # Given an attached stream without an entry

    # When
    sight = stream.observe()

    # Then
    assert (sight.length, sight.pending, sight.oldest, sight.oldest_pending) == (0, {}, None, None)
    assert sight.enqueued == 0


def test_look_fetches_no_entry_when_the_oldest_is_in_hand(
    stream: Stream, redis_server: RedisServer,
) -> None:  # fmt: skip
    """A giant that the writer works on is not fetched again with every look."""
    # Given an entry of a megabyte that was read
    redis_server.command("XADD", stream.events, "*", "giant", b"x" * 1_000_000)
    stream.read_new(1, 0)
    stream.observe()

    # When
    sent = int(redis_server.client.info("stats")["total_net_output_bytes"])
    sight = stream.observe()

    # Then
    assert sight.oldest == sight.oldest_pending is not None
    assert int(redis_server.client.info("stats")["total_net_output_bytes"]) - sent < 100_000


def test_look_is_refused_when_the_gate_is_closed(stream: Stream, redis_server: RedisServer) -> None:
    """What is in a stream that we are not attached to may be somebody else's; no socket stays."""
    # Given
    stream.observe()
    before = len(redis_server.client.client_list())

    # When
    stream.detach()
    with pytest.raises(QueueDetachedError):
        stream.observe()

    # Then
    wait_until(
        lambda: len(redis_server.client.client_list()) == before - 1, 20.0, "its socket is closed"
    )


def test_look_goes_on_when_redis_was_restarted(stream: Stream, redis_server: RedisServer) -> None:
    """A server instance that nobody attached to is not looked at; after an attach it is."""
    # Given
    append(stream, 1)
    stream.observe()

    # When
    redis_server.restart()
    for _ in range(2):
        with pytest.raises(QueueError):
            stream.observe()
    stream.open(stream.inspect())

    # Then
    assert stream.observe().length == 1


@pytest.mark.fault("B14")
def test_look_is_short_when_redis_is_frozen(stream: Stream, redis_server: RedisServer) -> None:
    """A server that does not answer holds a look up for less than a second, again and again."""
    # Given
    stream.observe()
    redis_server.freeze()

    # When / Then
    for _ in range(3):
        began_s = monotonic_s()
        with pytest.raises(QueueUnavailableError):
            stream.observe()
        assert monotonic_s() - began_s < 1.0
    redis_server.thaw()
    assert stream.observe().length == 0


def test_connecting_is_short_when_nobody_takes_the_connection() -> None:
    """A host that does not even answer costs no longer than the answer to a command may."""
    # Given a port whose queue of connections is full
    with ExitStack() as sockets:
        port = sockets.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(2):
            waiting = sockets.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(port.getsockname())
        link = Link(f"redis://127.0.0.1:{port.getsockname()[1]}/0", 0.2)

        # When
        began_s = monotonic_s()
        with pytest.raises(QueueUnavailableError):
            link.connect()

        # Then
        assert monotonic_s() - began_s < 1.0


@pytest.mark.fault("B19")
def test_look_leaves_out_what_the_user_may_not_ask(redis_server: RedisServer) -> None:
    """A user without rights to look at the group gets the rest; what is missing is unknown."""
    # Given
    rights = ("on", ">pw", "~*", "+@all", "-xpending", "-xinfo|consumers")
    redis_server.command("ACL", "SETUSER", "poor", *rights)
    with attached(redis_server, f"unix://poor:pw@{redis_server.socket_path}") as stream:
        append(stream, 1)

        # When
        sight = stream.observe()

        # Then
        assert (sight.length, sight.pending, sight.consumers) == (1, None, None)
        assert sight.oldest is not None


@pytest.mark.fault("B5")
def test_look_fails_when_the_group_is_gone(stream: Stream, redis_server: RedisServer) -> None:
    """A group that somebody removed is trouble, not an empty queue."""
    # Given
    append(stream, 1)
    redis_server.command("XGROUP", "DESTROY", stream.events, "processors")

    # When / Then
    with pytest.raises(QueueDetachedError):
        stream.observe()


@pytest.mark.fault("B20", "F2")
def test_one_home_alone_marks_a_stream_when_two_found_it_unmarked(
    stream: Stream, redis_server: RedisServer
) -> None:
    """The second of two that looked at the same moment is told, and does not take it over."""
    # Given two homes that have looked at a server without a mark
    stream.inspect()
    other = Stream(lambda: redis_server.url)
    other.inspect()
    stream.begin_epoch("home-1:a", {})
    # When the second wants it too / Then
    with pytest.raises(QueueDetachedError, match="another home"):
        other.begin_epoch("home-2:b", {})
    assert stream.counts().epoch == "home-1:a"
    # And the first may begin another epoch, and whoever is alone any
    stream.begin_epoch("home-1:c", {})
    other.begin_epoch("home-2:d", {}, alone=True)
    assert stream.counts().epoch == "home-2:d"
    other.close()
