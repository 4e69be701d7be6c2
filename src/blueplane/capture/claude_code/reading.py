"""Reading on in a transcript: from where it was read last, or from where the store says.

Owns the decision whether a file is still the one that was read before.
Promises that what was written anew is not taken for what stood there before, and that the store
is to know a file before its lines are handed on.
Leaves the bytes to ``tail.py``, lines to ``courier.py``, and which file is next to the monitor.
"""

from dataclasses import replace

from blueplane.capture.claude_code.courier import Courier, Records
from blueplane.capture.claude_code.files import Transcript
from blueplane.capture.claude_code.places import SOURCE, is_meta, item_of, session_of
from blueplane.capture.claude_code.tail import NOTHING, OpenFile, Piece, RefusedFileError
from blueplane.capture.claude_code.transcript import Place
from blueplane.clock import NS_PER_MS, monotonic_s
from blueplane.event import Mark
from blueplane.logs import get

_log = get("transcripts")


class FileReader:
    """Reads pieces of files; ``secret`` keys their names."""

    def __init__(self, records: Records, courier: Courier, secret: bytes) -> None:
        self._records, self._courier, self._secret = records, courier, secret
        #: How many files could not be read.
        self.errors = 0

    def item(self, path: str) -> str:
        """Name a file in origins and marks."""
        return item_of(path, self._secret)

    def read(self, file: Transcript) -> Piece:
        """Read some lines of a file, none where it may not be read."""
        item = file.place.item if file.place else self.item(file.path)
        try:
            mark = None if file.opened else self._mark(item)
            with OpenFile(file.path, self._secret) as opened:
                if mark is not None and opened.is_read(mark, whole=is_meta(file.path)):
                    file.read_to, file.refused = file.size, ""
                    return NOTHING
                piece = self._read_open(file, opened, mark)
            file.refused = ""
        except FileNotFoundError:
            return NOTHING  # its directory tells
        except (RefusedFileError, OSError) as error:
            self._refuse(file, (isinstance(error, OSError) and error.strerror) or str(error))
            return NOTHING
        return piece

    def _refuse(self, file: Transcript, reason: str) -> None:
        """Note that a file cannot be read; it is tried again when it changes, or somebody asks."""
        if file.refused != reason:
            self.errors += 1
            _log.warning("not read", file=self.item(file.path), reason=reason)
        file.refused_s = file.refused_s if file.refused else monotonic_s()
        file.refused = reason

    def _read_open(self, file: Transcript, opened: OpenFile, mark: Mark | None) -> Piece:
        if not self._is_same(file, opened) and not self._open(file, opened, file.opened or mark):
            return replace(NOTHING, more=True)
        opened.refuse_holes(file.read_to)
        if not is_meta(file.path):
            piece = opened.lines(file.read_to, file.scanned)
        elif file.read_to < opened.size:
            piece = opened.whole()
        else:
            return NOTHING
        if file.place is not None and piece.lines:
            file.place.changed_ms = opened.mtime_ns // NS_PER_MS
            self._announce(file, file.place, opened)
        file.read_to, file.scanned = piece.end, piece.scanned
        file.tail = opened.tail(file.read_to)
        return piece

    def _mark(self, item: str) -> Mark | None:
        """Return what the store knows of a file, or that nothing but its lines on the road is."""
        mark = self._records.mark(SOURCE, item)
        if mark is None and item in self._courier.adopted:
            return Mark(0, 0, "", self._courier.adopted[item])
        return mark

    def _is_same(self, file: Transcript, opened: OpenFile) -> bool:
        """Say whether an open file is what it was when it was read last."""
        return (
            file.opened is not None
            and file.opened.inode == opened.inode
            and file.read_to <= opened.size
            and file.opened.fingerprint in ("", opened.fingerprint(whole=is_meta(file.path)))
            and opened.tail(file.read_to) == file.tail
        )

    def _open(self, file: Transcript, opened: OpenFile, mark: Mark | None) -> bool:
        """Find out where to read on; False while lines of what it was before are on the road."""
        place = self._place(file.path, opened)
        known = mark is not None and not file.opened and opened.is_marked(mark, whole=place.whole)
        if mark is not None and mark.inode and not known:
            if self._courier.is_in_flight(place.item):
                return False
            mark = replace(mark, generation=mark.generation + 1)
        file.read_to = file.scanned = mark.offset if mark and known else 0
        file.suspect_to = opened.size if mark else 0
        file.tail = opened.tail(file.read_to)
        place.generation = mark.generation if mark else 0
        file.known = replace(mark, offset=0, tail=0) if mark else None
        file.place, file.opened = place, opened.mark(place)
        if mark and mark.fingerprint == file.opened.fingerprint:
            place.born_ms = mark.born_ms  # it dates lines as it did before
            file.opened = opened.mark(place)
        return True

    def _place(self, path: str, opened: OpenFile) -> Place:
        name = path.rpartition("/")[2]
        place = Place(self.item(path), name, session_of(path), opened.salt, is_meta(name))
        place.date(opened.head(), opened.mtime_ns // NS_PER_MS)
        return place

    def _announce(self, file: Transcript, place: Place, opened: OpenFile) -> None:
        """Have the store know the file before its lines are on the road.

        Lines without a time of their own are dated by the file. Who reads them again must date them
        as before, or would not know that they are settled.
        """
        if file.opened is None:
            return
        if not file.opened.fingerprint:  # its first line was not whole then
            place.date(opened.head(), opened.mtime_ns // NS_PER_MS)
            file.opened = opened.mark(place)
        if file.known != file.opened:
            file.known = file.opened
            self._courier.announce(place.item, file.opened)
