"""Where something of a session or a project may be, and how it is taken out of there.

Owns the list of places: rows, what other rows say of it, dead letters, names of files, the
quarantine, backups, and damaged copies of the database.
Promises that a place is cleared in small transactions, and that clearing it twice does no harm.
Leaves the order of things, and the files that hold what was removed (the database's own, and those
of Redis), to ``eraser.py``.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import orjson

from blueplane.clock import NS_PER_MS, wall_ms
from blueplane.errors import StoreError, UsageError
from blueplane.event import MAX_LEVELS, is_deep
from blueplane.paths import Home
from blueplane.pipeline import entry, needles
from blueplane.pipeline.dead_letters import fields_of
from blueplane.store.codec import PLAIN, Codec
from blueplane.store.derived_erasure import DerivedRows
from blueplane.store.erasure import AT_ONCE, EMPTY, FORGOTTEN, Erasure, Selection, StoredRow
from blueplane.store.letters import Letter, Letters

#: Has work done in one transaction of the writer's.
Erase = Callable[[Callable[[Erasure], Mapping[str, int]]], None]
#: Says what becomes of a stored event of a platform, which is b"" when it cannot be decoded.
Rewrite = Callable[[bytes, str], bytes]

#: Copies of a database that could not be read: nobody can look for anything in them.
_DAMAGED: Final = "telemetry.db.damaged-*"
_SPACE: Final = re.compile(r"\s")
#: Bytes of a file that are looked at twice: longer than any way to write a name.
_OVERLAP: Final = 16 * 1024


class Words(Protocol):
    """What is asked of capture; an event is the JSON that its row holds."""

    def project_names(self, project: str) -> tuple[str, ...]:
        """Return every name under which a project may be stored."""

    def shown_project(self, stored: str) -> str:
        """Return the name that a stored project has at the present settings."""

    def shown(self, key: str, stored: str) -> str:
        """Return what a text under a key of payloads is at the present settings; "" if nothing."""

    def shows_prompts(self) -> bool:
        """Whether the texts of prompts are stored at the present level."""

    def renew(self, event: bytes, platform: str) -> bytes:
        """Bring a stored event down to the present level."""

    def strictly(self, event: bytes, platform: str) -> bytes:
        """Bring a stored event down to the strictest level."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be forgotten, as a person says it: exactly one of the three."""

    session: str = ""
    project: str = ""
    before_ms: int = 0

    def check(self) -> None:
        """Raise UsageError unless exactly one thing is wanted."""
        if bool(self.session) + bool(self.project) + bool(self.before_ms) != 1:
            message = "say what to forget: --session, --project or --before"
            raise UsageError(message)
        try:
            (self.session + self.project).encode()
        except UnicodeEncodeError:
            message = "what is to be forgotten is no text in UTF-8"
            raise UsageError(message) from None

    @property
    def needle(self) -> bytes:
        """What traces of it contain; nothing where they are known by their age."""
        return (self.session or self.project).encode()

    @property
    def pattern(self) -> re.Pattern[bytes]:
        """What finds it in any bytes."""
        if self.session:
            return needles.session_in_bytes(self.session)
        return needles.project_in_bytes(self.project)


@dataclass(frozen=True, slots=True)
class Place:
    """One place: what may be there, how much of it is, and how it is cleared.

    ``count_left`` is asked after that, where not all that counts before need be gone.
    """

    place: str
    what: str
    count: Callable[[], int]
    clear: Callable[[], int]
    count_left: Callable[[], int] | None = None

    def left(self) -> int:
        """Return how much is left there."""
        return (self.count_left or self.count)()


@dataclass(frozen=True, slots=True)
class Stored:
    """The store as a reader sees it."""

    erasure: Erasure
    codec: Codec
    letters: Letters


def places(home: Home, wanted: Wanted, words: Words, stored: Stored, erase: Erase) -> list[Place]:
    """Return the places of what is wanted, in the order in which they are cleared."""
    names = words.project_names(wanted.project) if wanted.project else ()
    selection = Selection(wanted.session, names, wanted.before_ms)
    rows = _Rows(stored, erase, selection)
    derived = stored.erasure.derived(selection)
    traces = partial(_traces, stored.erasure)
    letters = _Letters(wanted, names, stored, erase)
    found = [
        Place("home", "traces of an earlier forget", traces, traces),  # before this one leaves any
        Place("database", "dead letters", letters.count, letters.clear),
        Place("database", "events", rows.count, rows.clear),
        _files("quarantine", "files", partial(_meant, home.quarantine, wanted)),
        _files("home", "damaged databases", partial(_damaged, home, wanted)),
    ]
    figures = Place(
        "database", "figures", derived.count, partial(_unlearn, erase, derived), derived.count_left
    )
    if not wanted.needle:
        return [*found, figures]
    said = _Mentions(wanted, words, stored, erase)
    named = partial(stored.erasure.count_origins, wanted.needle.decode())
    unname = partial(_unname, erase, wanted.needle.decode(), named)
    return [
        *found,
        Place("database", "mentions by other events", said.count, said.clear),
        figures,  # after that, for they are derived anew
        Place("database", "names of files", named, unname),
        _files("backups", "files", partial(_meant, home.backups, wanted)),
    ]


def _traces(erasure: Erasure) -> int:
    """Return 1 when files are still to be written anew, which whoever clears does in any case."""
    return int(erasure.is_unfinished())


def _unlearn(erase: Erase, derived: DerivedRows) -> int:
    found = derived.count()
    for removal in derived.removals():
        erase(partial(Erasure.remove_derived, removal=removal))
    erase(partial(Erasure.derive_anew, now_ms=wall_ms()))
    return found


def _unname(erase: Erase, needle: str, count: Callable[[], int]) -> int:
    found = count()
    erase(lambda erasure: erasure.remove_origins(needle))
    return found


# --- rows -----------------------------------------------------------------------------------------


class _Rows:
    """The rows of what is wanted."""

    def __init__(self, stored: Stored, erase: Erase, selection: Selection) -> None:
        self._erasure = stored.erasure
        self._erase = erase
        self._selection = selection

    def count(self) -> int:
        return len(self._erasure.rows(self._selection))

    def clear(self) -> int:
        found = self._erasure.rows(self._selection)
        for start in range(0, len(found), AT_ONCE):
            chunk = found[start : start + AT_ONCE].tolist()
            self._erase(partial(Erasure.remove_rows, sequences=chunk))
        return len(found)


class _Mentions:
    """Other rows that say something of it: the id of a session, or a path within a project."""

    def __init__(self, wanted: Wanted, words: Words, stored: Stored, erase: Erase) -> None:
        self._stored = stored
        self._erase = erase
        if wanted.session:
            self._pattern = needles.session_in_bytes(wanted.session)
            found = needles.session_in_text(wanted.session)
            self._rewrite = or_emptied(lambda event, _: _without_id(event, found))
        else:
            # Not every word that is also a project's name: a component of a path.
            self._pattern = needles.project_in_path(wanted.project)
            self._rewrite = or_emptied(words.strictly)

    def count(self) -> int:
        return sum(1 for rows in self._stored.erasure.contents() for _ in self._changed(rows))

    def clear(self) -> int:
        cleared = 0
        for rows in self._stored.erasure.contents():
            changed = list(self._changed(rows))
            if changed:
                self._erase(partial(Erasure.replace_contents, rows=changed))
            cleared += len(changed)
        return cleared

    def _changed(self, rows: Sequence[StoredRow]) -> Iterator[StoredRow]:
        return rewritten(rows, self._stored.codec, self._without)

    def _without(self, event: bytes, platform: str) -> bytes:
        return self._rewrite(event, platform) if self._pattern.search(event) else event


def _without_id(event: bytes, found: re.Pattern[str]) -> bytes:
    """Take an id out of every text of an event, and leave keys and numbers as they are.

    Nothing stands for a text that is it, or a name with it, of a file or not: it would be another.
    """

    def without(value: Any) -> Any:  # noqa: ANN401 - any JSON value
        if type(value) is str:
            name = value.replace("\\", "/").rpartition("/")[2].partition(".")[0]
            is_name = found.fullmatch(value) or (found.search(name) and not _SPACE.search(name))
            return None if is_name else found.sub(FORGOTTEN, value)
        if type(value) is list:
            return [without(item) for item in value]
        if type(value) is dict:
            return {key: without(item) for key, item in value.items()}
        return value

    before = orjson.loads(event)
    after = without(before)
    return event if after == before else orjson.dumps(after, option=orjson.OPT_SORT_KEYS)


def rewritten(rows: Iterable[StoredRow], codec: Codec, rewrite: Rewrite) -> Iterator[StoredRow]:
    """Yield those of the rows that ``rewrite`` changes, as they become."""
    for row in rows:
        before = _decoded(row, codec)
        after = rewrite(before, row.platform)
        if after != before:
            plain = [(PLAIN, after)]
            [(number, data)] = plain if after == EMPTY else codec.encode(row.source, [after])
            yield row._replace(codec=number, data=data)


def or_emptied(rewrite: Rewrite) -> Rewrite:
    """Return what rewrites an event, and leaves nothing of what is none."""
    return lambda event, platform: rewrite(event, platform) if is_event(event) else EMPTY


def count_unreadable(rows: Iterable[StoredRow], codec: Codec) -> int:
    """Return of how many of the rows nobody can tell what is in them."""
    return sum(not is_event(_decoded(row, codec)) for row in rows)


def _decoded(row: StoredRow, codec: Codec) -> bytes:
    with suppress(StoreError):
        return codec.decode(row.codec, row.data)
    return b""


def is_event(text: bytes) -> bool:
    """Whether a text is ``{"metadata": {...}, "payload": {...}}``, of which parts can be taken.

    It need not be, also where no bit is wrong: what claims to come from a source of ours is stored
    as it is.
    """
    try:
        event = orjson.loads(text)
        tool_name = event["metadata"].get("tool_name", "")
        is_known = isinstance(event["payload"], dict) and isinstance(tool_name, str | None)
    except (ValueError, LookupError, TypeError, AttributeError):
        return False
    may_be_deep = text.count(b"{") + text.count(b"[") > MAX_LEVELS
    return is_known and not (may_be_deep and is_deep(event, MAX_LEVELS + 1))


# --- dead letters ---------------------------------------------------------------------------------


class _Letters:
    """The dead letters of what is wanted; their content goes, that they were there stays."""

    def __init__(self, wanted: Wanted, names: Sequence[str], stored: Stored, erase: Erase) -> None:
        self._wanted = wanted
        self._names = [name.encode() for name in names]
        self._stored = stored
        self._erase = erase

    def count(self) -> int:
        return len(self._found())

    def clear(self) -> int:
        found = self._found()
        if found:
            now_ms = wall_ms()
            self._erase(partial(Erasure.empty_letters, message_ids=found, now_ms=now_ms))
        return len(found)

    def _found(self) -> list[str]:
        letters = self._stored.letters.all()
        return [each.message_id for each in letters if self._is_meant(each)]

    def _is_meant(self, letter: Letter) -> bool:
        if letter.reason == FORGOTTEN:
            return False
        if self._wanted.before_ms:
            at_ms = letter.opened_ms if letter.captured_ns is None else _ms(letter.captured_ns)
            return at_ms < self._wanted.before_ms
        # Anybody may have made it: what cannot be told apart goes.
        fields = fields_of(letter)
        if fields is None:
            return True
        table = entry.by_name(fields)
        pattern = self._wanted.pattern
        if self._wanted.project and table.get(b"project"):
            if table[b"project"] in self._names:
                return True
            pattern = needles.project_in_path(self._wanted.project)
        return any(map(pattern.search, (letter.reason.encode(), *fields)))


def _ms(captured_ns: int) -> int:
    return captured_ns // NS_PER_MS


# --- files ----------------------------------------------------------------------------------------


def _files(place: str, what: str, find: Callable[[], list[Path]]) -> Place:
    def clear() -> int:
        found = find()
        for path in found:
            path.unlink(missing_ok=True)
        return len(found)

    return Place(place, what, lambda: len(find()), clear)


def _meant(directory: Path, wanted: Wanted) -> list[Path]:
    """Return files that are older, or that have what is wanted in their name or in their bytes."""
    found = []
    for path in sorted(directory.rglob("*")):
        with suppress(FileNotFoundError):  # retention has removed it meanwhile
            if _is_meant(path, wanted):
                found.append(path)
    return found


def _is_meant(path: Path, wanted: Wanted) -> bool:
    if path.is_dir() and not path.is_symlink():
        return False
    if wanted.before_ms:
        return _ms(path.lstat().st_mtime_ns) < wanted.before_ms
    if wanted.pattern.search(str(path.name).encode("utf-8", "surrogateescape")):
        return True
    return path.is_file() and not path.is_symlink() and _holds(path, wanted.pattern)


def _holds(path: Path, pattern: re.Pattern[bytes]) -> bool:
    """Whether a file has it, also where every other byte of it is 0, as in UTF-16."""
    kept = b""
    with path.open("rb") as file:
        while part := file.read(1024 * 1024):
            kept += part
            if pattern.search(kept) or pattern.search(kept.replace(b"\0", b"")):
                return True
            kept = kept[-_OVERLAP:]
    return False


def _damaged(home: Home, wanted: Wanted) -> list[Path]:
    found = sorted(home.root.glob(_DAMAGED))
    if wanted.before_ms:
        return [path for path in found if _ms(path.lstat().st_mtime_ns) < wanted.before_ms]
    return found


def as_rows(found: Sequence[Place]) -> list[dict[str, Any]]:
    """Return places with their counts, as a table shows them."""
    return [{"place": each.place, "what": each.what, "count": each.count()} for each in found]
