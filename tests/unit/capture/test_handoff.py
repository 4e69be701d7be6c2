"""The Python twin of the hook script, and the reading of trailers."""

import os
import resource
import stat
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blueplane.capture.handoff import (
    MAX_NAMES,
    NAME,
    TRAILER_MARK,
    hand_off,
    split_trailer,
)
from blueplane.paths import Home
from blueplane.refusal import Refusal
from unit.hooks.running import refused, set_end, set_lease

PAYLOAD = b'{"hook_event_name":"Stop"}'
WORDS = st.from_regex(r"[A-Za-z0-9_-]+", fullmatch=True)
HOUR_S = 3600


class BrokenStream(BytesIO):
    """A standard input that fails after its first bytes."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell():
            raise OSError
        return super().read(size)


class Relief(BytesIO):
    """A standard input at whose end there is room on the disk again."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell():
            allow_files(resource.RLIM_INFINITY)
        return super().read(size)


def allow_files(size: int) -> None:
    """Let this process write files of up to ``size`` bytes (Python ignores the signal)."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))


def spooled(home: Home) -> list[bytes]:
    """Return the content of every spool file."""
    return [path.read_bytes() for path in home.spool.iterdir()]


# --- reading -------------------------------------------------------------------------------------


@given(payload=st.binary(), platform=WORDS, hook_name=WORDS)
def test_split_trailer_gives_back_what_was_written_when_whole(
    payload: bytes, platform: str, hook_name: str
):
    """Payload, platform and hook name come back exactly, whatever bytes the payload has."""
    # Given a whole hand-off file
    raw = payload + TRAILER_MARK + f"{platform} {hook_name}\n".encode()
    # When it is split / Then the parts are those that went in
    assert split_trailer(raw) == (payload, platform, hook_name)


@given(payload=st.binary(), cut=st.integers(min_value=1))
def test_split_trailer_finds_nothing_when_the_file_is_cut(payload: bytes, cut: int):
    """No proper prefix of a hand-off file whose payload has no mark is taken for a whole one."""
    # Given a file that lacks its last bytes
    payload = payload.replace(b"\036", b"")
    raw = payload + b"\n\036claude_code Stop\n"
    cut = min(cut, len(raw))
    # When it is split / Then it is not whole
    assert split_trailer(raw[:-cut]) is None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"{}\n\036",
        b"{}\n\036a b",
        b"{}\n\036a  b\n",
        b"{}\n\036a b \n",
        b"{}\n\036a\n",
        b"{}\n\036a b c\n",
        b"{}\n\036a b\n\n",
        b"{}\n\036a b\nmore",
        b"{}\036a b\n",
        b"{}\n\036a \xc3\xa9\n",
        b"{}\n\036a b\n{}\n\036a b",
    ],
)
def test_split_trailer_finds_nothing_when_the_end_is_no_trailer(raw: bytes):
    """Only a last line of mark, word, space, word and newline makes a file whole."""
    # Given a file with another end / When it is split / Then it is not whole
    assert split_trailer(raw) is None


def test_split_trailer_takes_the_last_mark_when_the_payload_has_one():
    """A trailer inside the payload belongs to the payload."""
    # Given a payload that ends like a hand-off file
    raw = b"{}\n\036a b\n\n\036c d\n"
    # When it is split / Then only the last trailer is cut off
    assert split_trailer(raw) == (b"{}\n\036a b\n", "c", "d")


@pytest.mark.parametrize("name", ["1.2", "1.2.3.4", "a.2.3", "1.2.3\n", "-1.2.3", "1.2.3.tmp", ""])
def test_name_matches_nothing_when_it_is_foreign(name: str):
    """A file that no hook made is not taken for a hand-off file."""
    # Given a foreign name / When it is compared / Then it does not match
    assert NAME.match(name) is None


# --- writing -------------------------------------------------------------------------------------


def test_hand_off_writes_a_whole_private_file_when_all_is_well(home: Home):
    """The file has the hook's name, mode 0600, the payload as it came, and the trailer."""
    # Given a prepared home and a generous umask
    before = os.umask(0)
    # When an event is handed off
    try:
        hand_off(home, "cursor", "afterFileEdit", BytesIO(PAYLOAD))
    finally:
        os.umask(before)
    # Then one file stands in the spool
    [path] = home.spool.iterdir()
    assert NAME.match(path.name)
    assert path.name == f"{os.getpid()}.{os.getppid()}.0"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes() == PAYLOAD + b"\n\036cursor afterFileEdit\n"
    assert refused(home) == ""


def test_hand_off_copies_every_byte_when_the_payload_is_large(home: Home):
    """A payload of more than one buffer arrives unchanged."""
    # Given a megabyte of every byte value
    payload = bytes(range(256)) * 4096
    # When it is handed off
    hand_off(home, "cursor", "stop", BytesIO(payload))
    # Then it is whole and the same
    assert [split_trailer(raw) for raw in spooled(home)] == [(payload, "cursor", "stop")]


@pytest.mark.fault("F5")
def test_hand_off_takes_the_next_name_when_a_name_is_taken(home: Home):
    """What stands in the spool is never written to again."""
    # Given a file that a dead process with the same ids left, and a link that leads elsewhere
    stem = f"{os.getpid()}.{os.getppid()}"
    (home.spool / f"{stem}.0").write_bytes(b"left behind")
    (home.spool / f"{stem}.1").symlink_to(home.root / "elsewhere")
    # When an event is handed off
    hand_off(home, "cursor", "stop", BytesIO(PAYLOAD))
    # Then it has the third name and the others are untouched
    assert split_trailer((home.spool / f"{stem}.2").read_bytes()) == (PAYLOAD, "cursor", "stop")
    assert (home.spool / f"{stem}.0").read_bytes() == b"left behind"
    assert not (home.root / "elsewhere").exists()


@pytest.mark.fault("F5")
def test_hand_off_counts_a_refusal_when_every_name_is_taken(home: Home):
    """After fifty names the event is refused with the letter c."""
    # Given fifty files with this process's names
    for number in range(MAX_NAMES):
        (home.spool / f"{os.getpid()}.{os.getppid()}.{number}").touch()
    # When an event is handed off
    hand_off(home, "cursor", "stop", BytesIO(PAYLOAD))
    # Then nothing was written and the refusal is counted
    assert set(spooled(home)) == {b""}
    assert len(spooled(home)) == MAX_NAMES
    assert refused(home) == "c"


@pytest.mark.parametrize(("flag", "letter"), [("full", "f"), ("paused", "p")])
def test_hand_off_counts_a_refusal_when_a_flag_is_up(home: Home, flag: str, letter: str):
    """A full or paused spool gets no file, and the letter says why."""
    # Given the flag
    (home.run / flag).touch()
    # When two events are handed off
    hand_off(home, "cursor", "stop", BytesIO(PAYLOAD))
    hand_off(home, "cursor", "stop", BytesIO(PAYLOAD))
    # Then none was taken and both are counted, in a private file
    assert spooled(home) == []
    assert refused(home) == letter * 2
    assert Refusal(letter)
    assert stat.S_IMODE((home.run / "refused").stat().st_mode) == 0o600


@pytest.mark.parametrize(("seconds", "letters", "files"), [(-HOUR_S, "l", 0), (HOUR_S, "", 1)])
def test_hand_off_heeds_the_lease_when_there_is_one(
    home: Home, seconds: int, letters: str, files: int
):
    """A lease that has run out refuses with l and leaves no file; a running one changes nothing."""
    # Given a lease
    set_lease(home, seconds)
    # When an event is handed off
    hand_off(home, "cursor", "stop", BytesIO(PAYLOAD))
    # Then it was taken only within the lease
    assert (refused(home), len(spooled(home))) == (letters, files)


@pytest.mark.parametrize(("seconds", "letters", "files"), [(HOUR_S, "p", 0), (-HOUR_S, "", 1)])
def test_hand_off_heeds_the_end_of_a_pause_when_there_is_one(
    home: Home, seconds: int, letters: str, files: int
):
    """Until a pause is over nothing is taken, and it is refused with p."""
    # Given a pause with an end
    set_end(home, "paused-until", seconds)
    # When an event is handed off
    hand_off(home, "cursor", "stop", BytesIO(PAYLOAD))
    # Then it was taken only after the pause
    assert (refused(home), len(spooled(home))) == (letters, files)


@pytest.mark.fault("G12")
@pytest.mark.parametrize("word", ["", "a b", "a\n", "../a", "é", "a;b", "a\0", "\udcff"])
def test_hand_off_counts_a_refusal_when_a_word_is_not_one(home: Home, word: str):
    """A platform or hook name outside A-Z a-z 0-9 _ - is refused with x, in either place."""
    # Given a bad word / When it stands for the platform, then for the hook
    hand_off(home, word, "stop", BytesIO(PAYLOAD))
    hand_off(home, "cursor", word, BytesIO(PAYLOAD))
    # Then both are refused
    assert (refused(home), spooled(home)) == ("xx", [])


def test_hand_off_leaves_no_trailer_when_the_input_breaks(home: Home):
    """An input that fails halfway leaves a file that nobody takes for a whole event."""
    # Given an input that fails after its first bytes / When it is handed off
    hand_off(home, "cursor", "stop", BrokenStream(PAYLOAD))
    # Then what came is there without a trailer
    assert spooled(home) == [PAYLOAD]


@pytest.mark.fault("C2")
def test_hand_off_leaves_no_trailer_when_no_more_can_be_written(home: Home):
    """A write that the system cuts short raises nothing and leaves no whole event."""
    # Given a file size limit inside the payload
    allow_files(10)
    # When an event is handed off
    try:
        hand_off(home, "cursor", "stop", BytesIO(PAYLOAD))
    finally:
        allow_files(resource.RLIM_INFINITY)
    # Then the part that fitted is there, and no more
    assert spooled(home) == [PAYLOAD[:10]]


@pytest.mark.fault("C2")
@pytest.mark.parametrize("size", [len(PAYLOAD), 1_000_000])
def test_hand_off_never_completes_a_cut_payload_when_room_comes_back(home: Home, size: int):
    """A payload of which a part could not be written gets no trailer, even if that would fit."""
    # Given a file size limit inside the payload, which is gone at its end
    payload = PAYLOAD.ljust(size, b" ")
    allow_files(size - 10)
    # When an event is handed off
    hand_off(home, "cursor", "stop", Relief(payload))
    # Then it is either whole or not complete
    [raw] = spooled(home)
    assert split_trailer(raw) in {None, (payload, "cursor", "stop")}


@pytest.mark.parametrize("missing", ["spool", "run", "both", "home"])
def test_hand_off_raises_nothing_when_directories_are_missing(tmp_path: Path, missing: str):
    """Whatever part of the home is gone, the editor does not hear of it."""
    # Given a home that lacks something
    home = Home(tmp_path / "home")
    for name in {"spool": ["run"], "run": ["spool"], "both": [""], "home": []}[missing]:
        (home.root / name).mkdir(parents=True)
    # When an event is handed off
    hand_off(home, "cursor", "stop", BytesIO(PAYLOAD))
    # Then what could be done was done
    assert home.spool.exists() == (missing == "run")
    assert refused(home) == ("c" if missing == "spool" else "")


def test_hand_off_raises_nothing_when_the_spool_is_a_file(home: Home):
    """A file in the place of the spool costs the event and counts it."""
    # Given a file where the spool should be
    home.spool.rmdir()
    home.spool.write_bytes(b"")
    # When an event is handed off
    hand_off(home, "cursor", "stop", BytesIO(PAYLOAD))
    # Then the refusal is counted
    assert (home.spool.read_bytes(), refused(home)) == (b"", "c")
