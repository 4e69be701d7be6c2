import errno
import os
import stat
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Event as Flag
from types import SimpleNamespace
from typing import ClassVar

import pytest

from blueplane.capture import spool as module
from blueplane.capture.filters import Filters
from blueplane.capture.hook_event import HookReader
from blueplane.capture.pausing import pause
from blueplane.capture.sanitise import Sanitiser
from blueplane.capture.spool import HALF_S, Spooler
from blueplane.clock import NS_PER_S
from blueplane.config import FilterSettings, SpoolSettings
from blueplane.errors import (
    HomeError,
    QueueRefusedError,
    QueueUnavailableError,
    StoreUnavailableError,
)
from blueplane.event import Event, Settlement
from blueplane.paths import Home
from helpers.road import TurnedClock, turn_clock
from helpers.waiting import wait_until

WAIT_S = 20.0
SECRET = bytes(32)
TRAILER = b"\n\x1eclaude_code UserPromptSubmit\n"


class Stand:
    """Intake and records as the spooler sees them, in memory."""

    def __init__(self) -> None:
        self.open = True
        self.error: Exception | None = None
        self.emitted: list[Event] = []
        self.recovered: list[Exception] = []
        self.outcomes: list[Settlement] = []
        self.known: set[str] = set()
        self.asked: list[str] = []
        self.offset = 0
        self.refused: Counter[str] = Counter()
        self.before_read: Callable[[], None] = lambda: None
        self.on_emit: Callable[[Sequence[Event]], None] = lambda _events: None

    def emit(self, events: Sequence[Event], _stopping: Flag) -> None:
        if self.error is not None:
            raise self.error
        self.emitted += events
        self.on_emit(events)

    def recover(self, error: Exception) -> None:
        self.recovered.append(error)

    def settled(self, events: Sequence[Event]) -> set[str]:
        self.asked += [event.origin for event in events]
        return {event.origin for event in events} & self.known

    def settle(self, outcomes: Sequence[Settlement]) -> None:
        self.outcomes += outcomes

    def refused_offset(self) -> int:
        self.before_read()
        return self.offset

    def refuse(self, offset: int, counts: Mapping[str, int]) -> None:
        self.offset = offset
        self.refused.update(counts)


class Spool:
    """A spool with a spooler, stepped by the test."""

    made: ClassVar[list[Spooler]] = []

    def __init__(self, home: Home, max_mb: int = 256) -> None:
        self.home = home
        self.stand = Stand()
        self.reader = HookReader(Sanitiser("strict", SECRET), lambda _event: False)
        self.spooler = Spooler(home, SpoolSettings(max_mb, 7), self.reader, self.stand, self.stand)
        self.made.append(self.spooler)

    def write(self, name: str, content: bytes = b"{}" + TRAILER, age_s: float = 0) -> Path:
        """Write a file as a hook leaves it, ``age_s`` ago."""
        path = self.home.spool / name
        path.write_bytes(content)
        at_ns = 1_795_150_000 * NS_PER_S - int(age_s * NS_PER_S)
        os.utime(path, ns=(at_ns, at_ns))
        return path

    def look(self) -> None:
        """Look at the whole directory."""
        self.spooler._take(None)

    def origins(self) -> list[str]:
        """Return the origins that were emitted."""
        return [event.origin for event in self.stand.emitted]

    def names(self) -> list[str]:
        """Return the names of the files that were emitted, in order."""
        return [origin.split(":")[1] for origin in self.origins()]

    def left(self) -> set[str]:
        """Return what is in the spool."""
        return {entry.name for entry in self.home.spool.iterdir()}

    def rules(self) -> dict[str, str]:
        """Return outcome and rule by the name of the file."""
        return {
            item.origin.split(":")[1]: f"{item.outcome} {item.rule}" for item in self.stand.outcomes
        }


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """Stop and close every spooler that a test made."""
    yield
    while Spool.made:
        spooler = Spool.made.pop()
        spooler.stop()
        assert spooler.join(WAIT_S)
        spooler.close()


@pytest.fixture
def spool(home: Home) -> Spool:
    """Give an empty spool and its spooler, which does not run."""
    return Spool(home)


# --- files become events --------------------------------------------------------------------------


@pytest.mark.fault("F5")
def test_spooler_sends_the_oldest_first_when_many_wait(spool: Spool) -> None:
    """Files are sent in the order of their capture, not of their names."""
    # Given
    spool.write("9.1.0", age_s=30)
    spool.write("1.1.0", age_s=10)
    spool.write("5.1.0", age_s=20)
    # When
    spool.look()
    # Then
    assert spool.names() == ["9.1.0", "5.1.0", "1.1.0"]


@pytest.mark.fault("C7")
def test_spooler_keeps_a_file_when_it_is_not_released(spool: Spool) -> None:
    """A file goes when its outcome is stored, and not when it was sent."""
    # Given
    spool.write("1.1.0")
    spool.look()
    # When it is looked at again
    spool.look()
    # Then it is sent once, and goes with its release
    assert (len(spool.origins()), spool.left()) == (1, {"1.1.0"})
    spool.spooler.release(spool.origins())
    assert spool.left() == set()


class Emptied(deque[object]):
    """A deque that another thread empties right after it was looked at."""

    def __bool__(self) -> bool:
        return True


class TakenBack(dict[str, object]):
    """A table from which another thread takes an entry right after it was looked up."""

    def __contains__(self, key: object) -> bool:
        return True


@pytest.mark.fault("A15")
def test_release_ends_no_thread_when_another_one_was_there_first(spool: Spool) -> None:
    """The writer and the spooler may take the same released file, or the same sent one."""
    # Given that each look is out of date at once
    path = spool.write("1.1.0")
    spool.look()
    spool.spooler._released = Emptied()
    spool.spooler._sent = TakenBack(spool.spooler._sent)
    # When
    spool.spooler.release([*spool.origins(), "spool:2.1.0:5"])
    spool.spooler.reconcile({})
    # Then
    assert not path.exists()


def test_release_is_harmless_when_it_does_not_know_the_origin(spool: Spool) -> None:
    """Origins of others, of nobody, and of files that are gone already do nothing."""
    # Given
    path = spool.write("1.1.0")
    spool.look()
    # When
    spool.spooler.release(["dlq:1-0", "", "spool:no:5", "spool:1.1.0:7", "transcript:x:1"])
    assert spool.left() == {"1.1.0"}
    path.unlink()
    spool.spooler.release(spool.origins())
    spool.spooler.release(spool.origins())
    # Then
    assert spool.left() == set()


@pytest.mark.fault("A1")
def test_spooler_waits_for_the_trailer_when_a_file_is_half(spool: Spool) -> None:
    """A half file is not an event; whole, it is one, with the time of its end."""
    # Given a file without a trailer
    path = spool.write("1.1.0", b'{"session_id":"s-1"}', age_s=5)
    spool.look()
    assert (spool.origins(), spool.spooler.waiting()) == ([], 0)
    # When its hook ends
    with path.open("ab") as file:
        file.write(TRAILER)
    spool.look()
    # Then
    assert spool.origins() == [f"spool:1.1.0:{path.stat().st_mtime_ns}"]
    assert spool.spooler.waiting() == 1


@pytest.mark.fault("A1", "A11")
def test_spooler_sets_a_half_file_aside_when_a_minute_has_passed(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """60 s of our own clock after it was first seen, whatever the wall clock says."""
    # Given a half file that is very old by its mtime
    turned = turn_clock(monkeypatch)
    spool.write("1.1.0", b"half of it", age_s=900)
    spool.look()
    turned.wall_shift_ns = 3_600 * NS_PER_S
    turned.shift_s = HALF_S - 1
    spool.look()
    assert spool.stand.outcomes == []
    # When
    turned.shift_s = HALF_S + 1
    spool.look()
    # Then
    assert spool.rules() == {"1.1.0": "quarantined half"}
    (kept,) = spool.home.quarantine.iterdir()
    assert kept.read_bytes() == b"half of it"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert (spool.left(), spool.spooler.waiting()) == (set(), 0)


def test_spooler_gives_a_new_file_its_own_minute_when_a_half_one_had_its_name(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A half file that vanished leaves nothing behind, neither in the count nor for its name."""
    # Given a half file that its hook removes, as it does when it is refused
    turned = turn_clock(monkeypatch)
    path = spool.write("1.1.0", b"half")
    spool.look()
    path.unlink()
    spool.look()
    # When another one appears under its name long after
    turned.shift_s = 10 * HALF_S
    spool.write("1.1.0", b"another half", age_s=-50)
    spool.write("2.1.0")
    spool.look()
    # Then
    assert spool.stand.outcomes == []
    assert spool.spooler.waiting() == 1


def test_spooler_sends_another_event_when_a_name_is_used_again(spool: Spool) -> None:
    """The same name with another time is another event."""
    # Given
    spool.write("1.1.0", age_s=10)
    spool.look()
    spool.spooler.release(spool.origins())
    # When
    spool.write("1.1.0", age_s=5)
    spool.look()
    # Then
    assert spool.names() == ["1.1.0", "1.1.0"]
    assert len({event.event_id for event in spool.stand.emitted}) == 2


def test_release_leaves_the_new_file_alone_when_its_name_was_used_again(spool: Spool) -> None:
    """The release of an old file does not remove the new one of that name."""
    # Given a file that was sent and released, and its name used again
    spool.write("1.1.0", age_s=10)
    spool.look()
    old = spool.origins()
    spool.spooler.release(old)
    spool.write("1.1.0", age_s=5)
    spool.look()
    # When
    spool.spooler.release(old)
    # Then
    assert spool.left() == {"1.1.0"}


# --- what is no event -----------------------------------------------------------------------------


@pytest.mark.fault("F5", "D5", "D8")
def test_spooler_sets_aside_what_is_no_event_when_it_meets_it(spool: Spool, tmp_path: Path) -> None:
    """Whatever lies in the spool costs only itself: it is set aside, counted, and others flow."""
    # Given one of each, and a good one
    secret = tmp_path / "secret.txt"
    secret.write_bytes(b"{}" + TRAILER)
    spool.write("1.1.1", b"not json" + TRAILER)
    spool.write("1.1.2", b"[1]" + TRAILER)
    spool.write("1.1.3", TRAILER)
    spool.write("notes.txt", b"what somebody left")
    (spool.home.spool / "1.1.4").symlink_to(secret)
    (spool.home.spool / "1.1.5").mkdir()
    os.mkfifo(spool.home.spool / "1.1.6")
    spool.write("1.1.7")
    # When
    spool.look()
    spool.look()
    # Then
    assert spool.names() == ["1.1.7"]
    rules = spool.rules()
    assert {name: rules[name] for name in ("notes.txt", "1.1.4", "1.1.5", "1.1.6")} == {
        "notes.txt": "quarantined foreign-file",
        "1.1.4": "quarantined not-a-file",
        "1.1.5": "quarantined not-a-file",
        "1.1.6": "quarantined not-a-file",
    }
    assert {rules[f"1.1.{n}"].split()[0] for n in (1, 2, 3)} == {"quarantined"}
    assert len(spool.stand.outcomes) == 7
    assert spool.left() == {"1.1.7"}
    assert secret.read_bytes() == b"{}" + TRAILER


@pytest.mark.fault("D7")
def test_spooler_keeps_the_envelope_when_a_file_is_too_large(spool: Spool) -> None:
    """Of a huge event the envelope stays, with its size, and it is never read whole."""
    # Given a sparse file of a gigabyte with a trailer
    path = spool.home.spool / "1.1.0"
    with path.open("wb") as file:
        file.truncate(1 << 30)
        file.seek(0, os.SEEK_END)
        file.write(TRAILER)
    # When
    spool.look()
    # Then
    (event,) = spool.stand.emitted
    assert (event.hook_type, event.payload) == ("UserPromptSubmit", b'{"bytes":%d}' % (1 << 30))


@pytest.mark.fault("E2", "F5")
@pytest.mark.parametrize("at_s", [-5, 1 << 33, 15_000_000_000])
def test_spooler_sets_a_file_aside_when_its_time_is_none(spool: Spool, at_s: int) -> None:
    """A file from before 1970, or from the far future, costs only itself."""
    # Given a file with an absurd mtime, as far as this file system can hold it
    path = spool.write("1.1.0")
    os.utime(path, (at_s, at_s))
    spool.write("2.1.0")
    believable = 0 <= path.stat().st_mtime_ns < 1 << 63
    # When
    spool.look()
    # Then
    expected = {} if believable else {"1.1.0": "quarantined mtime"}
    assert spool.rules() == expected
    assert "2.1.0" in spool.names()


@pytest.mark.fault("F5")
@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_spooler_waits_when_the_system_is_short_of_something(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """What the system lacks is no fault of the file: it stays and is sent later."""
    # Given a system without descriptors
    spool.write("1.1.0")
    with monkeypatch.context() as patch:

        def short(*_: object, **__: object) -> int:
            raise OSError(code, os.strerror(code))

        patch.setattr(module.os, "open", short)
        # When
        with pytest.raises((HomeError, OSError)):
            spool.look()
    # Then
    assert (spool.stand.outcomes, spool.left()) == ([], {"1.1.0"})
    spool.look()
    assert spool.names() == ["1.1.0"]


def test_spooler_counts_a_file_as_gone_when_it_vanishes_after_it_was_read(spool: Spool) -> None:
    """A whole file that somebody removes before it could be sent is counted, not forgotten."""
    # Given a file that was read while nothing could be sent
    spool.stand.open = False
    path = spool.write("1.1.0")
    spool.look()
    assert spool.origins() == []
    # When
    path.unlink()
    spool.stand.open = True
    spool.look()
    # Then
    assert spool.rules() == {"1.1.0": "quarantined gone"}


def test_spooler_settles_what_needs_no_queue_when_redis_is_away(spool: Spool) -> None:
    """Bad files do not wait for Redis; good ones do, and are read once for that."""
    # Given
    spool.stand.open = False
    spool.write("1.1.0")
    spool.write("1.1.1", b"no" + TRAILER)
    # When
    spool.look()
    spool.look()
    # Then
    assert list(spool.rules()) == ["1.1.1"]
    assert spool.left() == {"1.1.0"}
    spool.stand.open = True
    spool.look()
    assert spool.names() == ["1.1.0"]


# --- after a restart, and after an attach ---------------------------------------------------------


@pytest.mark.fault("A11")
def test_reconcile_settles_a_leftover_when_an_earlier_server_stored_it(spool: Spool) -> None:
    """A file whose outcome is stored is removed, and not sent again."""
    # Given a leftover of a killed server, and a file that is new
    old = spool.write("1.1.0", age_s=9)
    spool.write("2.1.0")
    spool.stand.known = {f"spool:1.1.0:{old.stat().st_mtime_ns}"}
    # When
    spool.spooler.reconcile({})
    spool.look()
    # Then
    assert spool.names() == ["2.1.0"]
    assert spool.left() == {"2.1.0"}
    assert len(spool.stand.asked) == 2


def test_leftover_that_is_stored_is_not_counted_as_filtered_when_rules_changed(
    spool: Spool,
) -> None:
    """A file that was stored under other rules is removed; one that was not is filtered."""
    # Given two leftovers of a killed server, one of them stored, and a rule made since
    stored = spool.write("1.1.0")
    spool.write("1.1.1")
    spool.stand.known = {f"spool:1.1.0:{stored.stat().st_mtime_ns}"}
    spool.spooler.reconcile({})
    rules = FilterSettings((), (), ("claude_code",), (), ())
    spool.reader.use(Sanitiser("strict", SECRET), Filters(rules, SECRET))
    # When
    spool.look()
    # Then
    assert spool.rules() == {"1.1.1": "filtered platform:claude_code"}
    assert (spool.left(), spool.names()) == (set(), [])


def test_settlement_names_the_source_when_the_extension_handed_over(spool: Spool) -> None:
    """What is filtered or set aside counts where it came from: a hook, or the extension."""
    # Given an event of a window and one of a hook, both filtered, and half an object of a window
    rules = FilterSettings((), (), (), (), ("windowOpen", "stop"))
    spool.reader.use(Sanitiser("strict", SECRET), Filters(rules, SECRET))
    spool.write("1.1.0", b"{}\n\x1ecursor windowOpen\n")
    spool.write("1.1.1", b"{}\n\x1ecursor stop\n")
    spool.write("1.1.2", b"{\n\x1ecursor windowClose\n")
    # When
    spool.look()
    # Then
    sources = {each.hook_type: (each.outcome, each.source) for each in spool.stand.outcomes}
    assert sources == {
        "windowOpen": ("filtered", "extension"),
        "stop": ("filtered", "hook"),
        "windowClose": ("quarantined", "extension"),
    }


def test_reconcile_sends_again_what_is_not_in_the_stream_when_it_is_told(spool: Spool) -> None:
    """What is in the stream waits, the rest is sent again; each is released in the end."""
    # Given two files that were sent, one of which is still in the stream
    spool.write("1.1.0", age_s=2)
    spool.write("1.1.1", age_s=1)
    spool.look()
    first, second = spool.origins()
    # When
    spool.spooler.reconcile({first: b"1-0"})
    spool.look()
    # Then
    assert spool.origins() == [first, second, second]
    spool.spooler.release([first, second])
    assert spool.left() == set()


def test_reconcile_adopts_a_file_when_an_earlier_server_sent_it(spool: Spool) -> None:
    """A new server releases what the one before it sent, without having seen it before."""
    # Given a file whose entry is in the stream, and names that are none of ours
    path = spool.write("1.1.0")
    origin = f"spool:1.1.0:{path.stat().st_mtime_ns}"
    # When
    spool.spooler.reconcile(
        {origin: b"1-0", "spool:gone:5": b"2-0", "dlq:9-0": b"3-0", "x": b"4-0"}
    )
    spool.look()
    # Then
    assert spool.origins() == []
    spool.spooler.release([origin, "spool:gone:5"])
    assert spool.left() == set()


def test_emit_leaves_the_file_unsent_when_the_queue_fails(spool: Spool) -> None:
    """An append that failed, or may have, is forgotten: the next attach says what is there."""
    # Given
    spool.write("1.1.0")
    spool.stand.error = QueueUnavailableError("gone")
    # When
    with pytest.raises(QueueUnavailableError):
        spool.look()
    spool.spooler.release([f"spool:1.1.0:{(spool.home.spool / '1.1.0').stat().st_mtime_ns}"])
    # Then
    assert spool.left() == {"1.1.0"}
    spool.stand.error = None
    spool.look()
    assert spool.names() == ["1.1.0"]


def test_spooler_releases_a_file_when_the_writer_is_faster_than_the_answer(spool: Spool) -> None:
    """An event may be written before its append returned: its file goes all the same."""
    # Given a writer that commits at once
    spool.write("1.1.0")
    spool.stand.on_emit = lambda events: spool.spooler.release([event.origin for event in events])
    # When
    spool.look()
    # Then
    assert spool.left() == set()


# --- flags and refusals ---------------------------------------------------------------------------


def later(spool: Spool, turned: TurnedClock, seconds: float = module.ROUND_S + 1) -> None:
    """Let a round pass, and look."""
    turned.sleepless(seconds)
    spool.look()


def test_spooler_counts_refusals_once_when_it_starts_again(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each letter counts once, by reason, also across restarts; others are noise."""
    # Given letters of hooks
    turned = turn_clock(monkeypatch)
    tally = spool.home.run / "refused"
    tally.write_bytes(b"ffp?\x00\xffl")
    later(spool, turned)
    # When more come, and another server counts on
    with tally.open("ab") as file:
        file.write(b"xc")
    again = Spool(spool.home)
    again.stand.offset = spool.stand.offset
    later(again, turned)
    later(again, turned)
    # Then
    assert spool.stand.refused == {"f": 2, "p": 1, "l": 1}
    assert again.stand.refused == {"x": 1, "c": 1}


def test_spooler_counts_a_letter_once_when_it_comes_while_it_reads(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A letter that a hook appends in the middle of the counting is counted once."""
    # Given a file of which half is counted, and a hook that appends at the wrong moment
    turned = turn_clock(monkeypatch)
    tally = spool.home.run / "refused"
    tally.write_bytes(b"ffff")
    spool.stand.offset = 2

    def append() -> None:
        with tally.open("ab") as file:
            file.write(b"p")

    spool.stand.before_read = append
    # When
    later(spool, turned)
    spool.stand.before_read = lambda: None
    later(spool, turned)
    # Then
    assert spool.stand.refused == {"f": 2, "p": 1}


def test_spooler_counts_from_the_start_when_the_file_was_made_anew(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tally that is shorter than what was counted of it is another one."""
    # Given
    turned = turn_clock(monkeypatch)
    spool.stand.offset = 50
    (spool.home.run / "refused").write_bytes(b"pp")
    # When
    later(spool, turned)
    # Then
    assert (spool.stand.refused, spool.stand.offset) == ({"p": 2}, 2)


@pytest.mark.fault("F5")
def test_spooler_stops_the_hooks_at_the_cap_and_lets_them_on_when_there_is_room(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flag goes up at the cap and down at nine tenths of it, not in between."""
    # Given a cap of 1 MB, and nothing that can be sent
    turned = turn_clock(monkeypatch)
    spool = Spool(home, max_mb=1)
    spool.stand.open = False
    flag = home.run / "full"
    for number in range(11):
        spool.write(f"{number}.1.0", b"{%b}" % (b" " * 99_000) + TRAILER, age_s=100 - number)
    # When / Then: at the cap
    later(spool, turned)
    assert flag.exists()
    assert stat.S_IMODE(flag.stat().st_mode) == 0o600
    # When / Then: below the cap, above nine tenths
    spool.stand.open = True
    later(spool, turned)
    spool.spooler.release(spool.origins()[:1])
    later(spool, turned)
    assert flag.exists()
    # When / Then: below nine tenths
    spool.spooler.release(spool.origins()[:3])
    later(spool, turned)
    assert not flag.exists()
    spool.spooler.release(spool.origins())
    assert spool.spooler._bytes == 0


@pytest.mark.fault("B7", "B8", "F5")
@pytest.mark.parametrize("error", [QueueRefusedError("OOM"), QueueUnavailableError("gone")])
def test_spooler_keeps_house_when_nothing_can_be_sent(
    home: Home, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The cap holds and the lease is renewed also while the queue refuses."""
    # Given a queue that refuses, and a spool over its cap
    turned = turn_clock(monkeypatch)
    spool = Spool(home, max_mb=1)
    spool.stand.error = error
    for number in range(11):
        spool.write(f"{number}.1.0", b"{%b}" % (b" " * 99_000) + TRAILER)
    # When
    for _ in range(2):
        with pytest.raises(type(error)):
            later(spool, turned)
    # Then
    assert (home.run / "full").exists()
    assert (home.run / "lease").exists()


def test_spooler_stops_the_hooks_when_the_store_cannot_count_their_refusals(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that is away keeps refusals from being counted, and nothing else from being done."""
    # Given a store that is away, refusals to count, and a spool over its cap
    turned = turn_clock(monkeypatch)
    spool = Spool(home, max_mb=1)
    (home.run / "refused").write_bytes(b"f")

    def away() -> None:
        raise StoreUnavailableError("full")

    spool.stand.before_read = away
    spool.stand.open = False
    spool.write("1.1.0", b"{%b}" % (b" " * (1 << 20)) + TRAILER)
    # When
    with pytest.raises(StoreUnavailableError):
        later(spool, turned)
    # Then
    assert (home.run / "full").exists()
    spool.stand.before_read = lambda: None
    later(spool, turned)
    assert spool.stand.refused == {"f": 1}


def test_spooler_removes_the_end_of_a_pause_when_it_is_over(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file of a pause stays for as long as it lasts, and then goes at the next round."""
    # Given a pause of an hour
    turned = turn_clock(monkeypatch)
    pause(spool.home, 3_600)
    flag = spool.home.run / "paused-until"
    # When most of it has passed, and then the rest
    later(spool, turned, 3_500)
    during = flag.exists()
    later(spool, turned, 200)
    # Then
    assert (during, flag.exists()) == (True, False)


def test_spooler_renews_the_lease_when_it_runs(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hooks may collect for seven days after the server last ran."""
    # Given
    turned = turn_clock(monkeypatch)
    spool.look()
    lease = spool.home.run / "lease"
    first_ns = lease.stat().st_mtime_ns
    assert first_ns > module.wall_ns() + (7 * 86_400 - 60) * NS_PER_S
    # and it is never set to now on the way: a hook that runs at that moment would take nothing
    later(spool, turned)
    assert lease.stat().st_mtime_ns == first_ns
    # When an hour has passed
    later(spool, turned, module.LEASE_STEP_S + 1)
    # Then
    assert lease.stat().st_mtime_ns - first_ns > 3_600 * NS_PER_S
    assert stat.S_IMODE(lease.stat().st_mode) == 0o600


@pytest.mark.fault("E1", "E2")
@pytest.mark.parametrize("jump_s", [-2 * 3600, 10 * 365 * 86_400])
def test_spooler_renews_the_lease_when_the_clock_jumps_and_comes_back(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, jump_s: int
) -> None:
    """Hooks compare the lease with the wall clock: it is seven days ahead of that, wherever it is.

    A lease of ten years would never end, one of the past would stop capture at once.
    """
    turned = turn_clock(monkeypatch)
    later(spool, turned)
    for jump in (jump_s, -jump_s):
        # Given / When the clock jumps, and a round passes
        turned.wall_shift_ns += jump * NS_PER_S
        later(spool, turned)
        # Then
        ahead_ns = (spool.home.run / "lease").stat().st_mtime_ns - module.wall_ns()
        assert abs(ahead_ns / NS_PER_S - 7 * 86_400) < module.LEASE_STEP_S
    # and files are taken as before
    spool.write("1.1.0")
    later(spool, turned)
    assert spool.names() == ["1.1.0"]


# --- the thread -----------------------------------------------------------------------------------


def test_thread_sends_a_file_when_it_is_finished(spool: Spool) -> None:
    """A running spooler takes what appears, and ends when asked to."""
    # Given
    spool.spooler.start()
    # When
    spool.write("1.1.0")
    # Then
    wait_until(spool.names, WAIT_S, "the file was sent")
    spool.spooler.stop()
    assert spool.spooler.join(WAIT_S)
    assert spool.spooler.error is None


def test_thread_goes_on_when_the_queue_comes_back(spool: Spool) -> None:
    """A failing queue is looked into, and what waits is sent when it is back."""
    # Given
    spool.stand.error = QueueUnavailableError("gone")
    spool.write("1.1.0")
    spool.spooler.start()
    wait_until(lambda: spool.stand.recovered, WAIT_S, "somebody was told")
    # When
    spool.stand.error = None
    # Then
    wait_until(spool.names, WAIT_S, "the file was sent")
    spool.spooler.stop()
    assert spool.spooler.join(WAIT_S)


def test_thread_looks_at_once_when_it_is_woken(spool: Spool) -> None:
    """After an attach files that waited are sent without a new file to wake anybody."""
    # Given a file that waits for the stream
    spool.stand.open = False
    spool.write("1.1.0")
    spool.spooler.start()
    wait_until(lambda: spool.spooler._files, WAIT_S, "the file was seen")
    # When
    spool.stand.open = True
    spool.spooler.wake()
    # Then
    wait_until(spool.names, WAIT_S, "the file was sent")
    spool.spooler.stop()
    assert spool.spooler.join(WAIT_S)


# --- more than is kept in mind --------------------------------------------------------------------


@pytest.mark.fault("F5")
def test_spooler_takes_all_oldest_first_when_more_wait_than_it_keeps_in_mind(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many files wait, no more than ``KEPT`` of them are known, and none is passed over."""
    # Given 23 files, five of which may be known, and chunks of two
    monkeypatch.setattr(module, "KEPT", 5)
    monkeypatch.setattr(module, "CHUNK", 2)
    for number in range(23):
        spool.write(f"{number}.1.0", age_s=number)
    known = []

    def release(events: Sequence[Event]) -> None:
        known.append(len(spool.spooler._files))
        spool.spooler.release([event.origin for event in events])

    spool.stand.on_emit = release
    # When
    spool.look()
    # Then all went, the oldest first, and no more were known than may be
    assert spool.names() == [f"{number}.1.0" for number in reversed(range(23))]
    assert max(known) <= 5
    spool.look()
    assert (spool.left(), spool.spooler.waiting(), spool.spooler.backlog) == (set(), 0, 0)
    assert spool.spooler._bytes == 0


def test_spooler_finds_a_file_later_when_it_was_told_of_it_while_it_knew_enough(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is finished while others are left out is counted, and taken when its turn is."""
    # Given a full mind, and a queue that takes nothing
    monkeypatch.setattr(module, "KEPT", 3)
    monkeypatch.setattr(module, "CHUNK", 2)
    spool.stand.open = False
    for number in range(6):
        spool.write(f"{number}.1.0", age_s=100 - number)
    spool.look()
    assert (len(spool.spooler._files), spool.spooler.backlog) == (3, 6)
    # When a file is finished
    spool.write("9.1.0")
    spool.spooler._take(["9.1.0"])
    # Then it is not kept in mind
    assert (len(spool.spooler._files), spool.spooler.backlog) == (3, 7)
    # and goes last when the queue is open again
    spool.stand.open = True
    spool.stand.on_emit = lambda events: spool.spooler.release([each.origin for each in events])
    spool.look()
    assert spool.names() == [*(f"{number}.1.0" for number in range(6)), "9.1.0"]


def test_spooler_looks_a_file_up_when_it_does_not_know_since_when_it_is_there(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was left out at an attach may be settled already: it is never sent unseen."""
    # Given files of which one was settled by an earlier server, and little room
    monkeypatch.setattr(module, "KEPT", 2)
    monkeypatch.setattr(module, "CHUNK", 1)
    for number in range(5):
        spool.write(f"{number}.1.0", age_s=100 - number)
    settled = spool.home.spool / "4.1.0"
    spool.stand.known = {f"spool:4.1.0:{settled.stat().st_mtime_ns}"}
    spool.spooler.reconcile({})
    spool.stand.on_emit = lambda events: spool.spooler.release([each.origin for each in events])
    # When / Then
    spool.look()
    assert spool.names() == [f"{number}.1.0" for number in range(4)]
    # and a file that was told to be finished just now is not looked up
    spool.stand.asked = []
    spool.write("5.1.0")
    spool.spooler._take(["5.1.0"])
    assert (spool.names()[-1], spool.stand.asked) == ("5.1.0", [])


def test_spooler_hands_on_few_files_at_once_when_they_are_large(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is handed on together is bounded in bytes, too; one file alone may be larger."""
    # Given three files of 600 bytes, one of 5,000 and two small ones
    monkeypatch.setattr(module, "CHUNK_BYTES", 2_000)
    sizes = [600, 600, 600, 5_000, 20, 20]
    for number, size in enumerate(sizes):
        content = b'{"a": "%s"}' % (b"x" * size) + TRAILER
        spool.write(f"{number}.1.0", content, age_s=100 - number)
    emitted: list[int] = []
    spool.stand.on_emit = lambda events: emitted.append(len(events))
    # When
    spool.look()
    # Then
    assert emitted == [3, 1, 2]


def test_spooler_counts_what_files_occupy_when_it_compares_with_the_cap(home: Home) -> None:
    """Small files fill a disk by blocks: 256 of them are a megabyte, whatever is in them."""
    # Given a cap of 1 MB, and a queue that takes nothing
    spool = Spool(home, max_mb=1)
    spool.stand.open = False
    # When there are 255 files of a few bytes / Then hooks may go on
    for number in range(255):
        spool.write(f"{number}.1.0")
    spool.look()
    spool.spooler._flag_full()
    assert not (home.run / "full").exists()
    # and with one more they may not
    spool.write("256.1.0")
    spool.look()
    spool.spooler._flag_full()
    assert (home.run / "full").exists()


@pytest.mark.fault("F6")
def test_spooler_waits_when_no_descriptor_is_left_to_look_with(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory that cannot be opened for a moment is no end of a thread."""
    # Given
    spool.write("1.1.0")
    assert spool.spooler.waiting() == 1

    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refuse)
        # When / Then
        with pytest.raises(HomeError, match="Too many open files"):
            spool.look()
        assert spool.spooler.waiting() == 1
    spool.look()
    assert spool.names() == ["1.1.0"]


@pytest.mark.fault("B21")
def test_spooler_says_once_that_files_wait_when_the_gate_opens_in_vain(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gate that opens, and closes at the first append, is one trouble: it is said once."""
    # Given a queue whose gate closes at every failure
    said: list[str] = []
    monkeypatch.setattr(type(module._log), "warning", lambda _log, event, **_: said.append(event))
    spool.stand.error = QueueUnavailableError("cut")

    def close(error: Exception) -> None:
        spool.stand.recovered.append(error)
        spool.stand.open = False

    monkeypatch.setattr(spool.stand, "recover", close)
    spool.write("1.1.0")
    spool.spooler.start()
    # When it is opened again and again
    for number in range(1, 4):
        wait_until(lambda: len(spool.stand.recovered) >= number, WAIT_S, "an append failed")  # noqa: B023 - waited for at once
        beat_s = spool.spooler.beat_s
        spool.spooler.wake()
        wait_until(lambda: spool.spooler.beat_s > beat_s, WAIT_S, "it looked in vain")  # noqa: B023 - waited for at once
        spool.stand.open = True
        spool.spooler.wake()
    # Then it was said once; and again after it had worked in between
    assert said == ["files wait"]
    spool.stand.error = None
    spool.stand.open = True
    spool.spooler.wake()
    wait_until(lambda: spool.names() == ["1.1.0"], WAIT_S, "it was sent")
    spool.stand.error = QueueUnavailableError("cut")
    spool.write("1.1.1")
    wait_until(lambda: len(said) == 2, WAIT_S, "it is said again")


# --- what waits -----------------------------------------------------------------------------------


def test_held_is_nothing_when_the_spool_is_empty(spool: Spool) -> None:
    """An empty spool has no files, no bytes and no oldest one."""
    # Given an empty spool

    # When
    spool.look()

    # Then
    assert spool.spooler.held() == (0, 0, None)


def test_held_counts_files_until_their_outcome_is_stored(spool: Spool) -> None:
    """Files in the stream are still held; those that are released, or half, do not wait."""
    # Given a half file, which is the oldest, and two whole ones, one of two blocks
    half = spool.write("1.1.1", b"{", age_s=50)
    spool.write("1.1.2", b'{"a":"%s"}' % (b"x" * 5_000) + TRAILER, age_s=40)
    young = spool.write("1.1.3", age_s=30)

    # When they are in the stream
    spool.look()
    sent = spool.spooler.held()
    # and the older one is settled
    spool.spooler.release([spool.origins()[0]])
    left = spool.spooler.held()

    # Then
    assert sent == (2, 4 * 4096, young.stat().st_mtime_ns - 10 * NS_PER_S)
    assert left == (1, 2 * 4096, young.stat().st_mtime_ns)
    assert half.exists()


def test_held_counts_files_that_are_only_counted(
    spool: Spool, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Files beyond those that are known count too; the oldest one is among the known."""
    # Given
    monkeypatch.setattr(module, "KEPT", 3)
    spool.stand.open = False
    oldest = spool.write("1.1.1", age_s=99)
    for number in range(2, 12):
        spool.write(f"1.1.{number}", age_s=number)

    # When
    spool.look()

    # Then
    assert spool.spooler.held() == (11, 11 * 4096, oldest.stat().st_mtime_ns)


def test_held_leaves_out_what_is_settled_and_cannot_be_moved(
    spool: Spool, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A bad file that must stay where it is has its outcome: it waits for nothing."""
    # Given
    spool.write("1.1.1", b"not json" + TRAILER)

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(spool.spooler, "_quarantine", SimpleNamespace(take=refuse))

    # When
    spool.look()

    # Then
    assert spool.left() == {"1.1.1"}
    assert spool.spooler.held()[0::2] == (0, None)
