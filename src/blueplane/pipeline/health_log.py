"""The history of health in Redis: samples, a minute each, kept for seven days.

Owns the key ``blueplane:health`` behind ``redis.key_prefix``, and how a sample is packed.
Promises to touch no key of the stream, a connection a call, and never more than ``MAX_ENTRIES``.
Leaves to ``health/history.py`` what a sample is made of.

Without the module TimeSeries the key is a stream. An entry holds ``s``, a sample: compressed JSON
``[minute, name of its names, value, value, ...]``; or ``n``, names: the same of a list. Names are
written once an hour, and when there are new ones, so that the oldest entries can go at any time.
An id is the minute in milliseconds, or, after a clock that went back, the last one: what counts is
the minute inside.

With the module each figure is a series ``blueplane:health:<figure>`` with the label ``blueplane``.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any, Final

import orjson
import zstandard

from blueplane.digests import blake2b
from blueplane.errors import QueueError
from blueplane.pipeline.link import Command, Link, has_series, require

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
KEPT_MS: Final = 7 * 24 * HOUR_MS
#: A sample a minute, and names an hour.
MAX_ENTRIES: Final = (KEPT_MS + HOUR_MS) // MINUTE_MS + (KEPT_MS + HOUR_MS) // HOUR_MS
#: Entries that may go for their age at once: a clock that is years ahead for a minute costs little.
MAX_EXPIRED: Final = 100
#: Entries beyond those of a span that are read for the names that they need.
SPARE_ENTRIES: Final = 64
#: Seconds until a silent server counts as gone: whoever asks has other things to do.
TIMEOUT_S: Final = 1.0
#: Bytes of an entry once it is unpacked; a stranger's may claim anything.
MAX_BYTES: Final = 256 * 1024

#: Of compression; a level above it makes a sample no smaller.
LEVEL: Final = 9

Values = Mapping[str, float]
Series = dict[int, float]


@dataclass(frozen=True, slots=True)
class Sample:
    """All figures of one minute, which began ``at_ms`` milliseconds after the epoch."""

    at_ms: int
    values: Values


class HealthLog:
    """The samples of one home; any thread may read, one writes."""

    def __init__(self, find_url: Callable[[], str], prefix: str = "") -> None:
        self._find_url = find_url
        self._key = f"{prefix}blueplane:health"
        #: The names that were written last, in their order, and in which hour.
        self._names: dict[str, None] = {}
        self._hour: int | None = None

    def write(self, samples: Sequence[Sample]) -> None:
        """Append samples, oldest first; raise QueueError when it is not sure that all were."""
        with closing(self._connect()) as link:
            if has_series(link):
                require(link.pipeline(list(self._added(samples))))
                return
            try:
                require(link.pipeline(list(self._appended(link, samples))))
            except QueueError:
                self._hour = None  # the names may be what is missing
                raise

    def names(self, span_ms: int = KEPT_MS) -> list[str]:
        """Return the names of all figures that were kept in the last ``span_ms``, in order."""
        with closing(self._connect()) as link:
            if has_series(link):
                return sorted(self._series(link))
            known = _names(self._entries(link, span_ms)).values()
        return sorted({name for names in known for name in names})

    def read(self, wanted: Collection[str], since_ms: int, now_ms: int) -> dict[str, Series]:
        """Return what is kept of the figures ``wanted``, by minute, between two times."""
        found: dict[str, Series] = {name: {} for name in wanted}
        with closing(self._connect()) as link:
            if has_series(link):
                return self._ranges(link, found, (since_ms, now_ms))
            entries = self._entries(link, min(now_ms - since_ms, KEPT_MS))
        for at_ms, name, value in _values(entries, found.keys()):
            if since_ms <= at_ms <= now_ms:
                found[name][at_ms] = value
        return found

    def _connect(self) -> Link:
        link = Link(self._find_url(), TIMEOUT_S)
        link.connect()
        return link

    # -- a stream --------------------------------------------------------------------------------

    def _appended(self, link: Link, samples: Sequence[Sample]) -> Iterator[Command]:
        last = link.call("XREVRANGE", self._key, "+", "-", "COUNT", 1)
        top_ms = int(last[0][0].partition(b"-")[0]) if last else 0
        if not last:  # a server that came back empty has no names either
            self._hour = None
        for sample in samples:
            top_ms = max(top_ms, sample.at_ms)
            for field, packed in self._packed(sample):
                limit = ("MAXLEN", "~", MAX_ENTRIES)
                yield ("XADD", self._key, *limit, f"{top_ms}-*", field, packed)
            oldest_ms = sample.at_ms - KEPT_MS - HOUR_MS
            if oldest_ms > 0:
                age = ("MINID", "~", oldest_ms, "LIMIT", MAX_EXPIRED)
                yield ("XTRIM", self._key, *age)

    def _packed(self, sample: Sample) -> Iterator[tuple[str, bytes]]:
        hour = sample.at_ms // HOUR_MS
        if hour != self._hour or not self._names.keys() >= sample.values.keys():
            # Figures come and go: those of before stay, else each time there were other names.
            before = self._names if len(self._names) <= 2 * len(sample.values) else {}
            self._names = dict.fromkeys(sorted({*before, *sample.values}))
            self._hour = hour
            yield "n", zstandard.compress(orjson.dumps(list(self._names)), LEVEL)
        label = _label(orjson.dumps(list(self._names)))
        values = [sample.values.get(name) for name in self._names]
        content = orjson.dumps([sample.at_ms // MINUTE_MS, label, *values])
        yield "s", zstandard.compress(content, LEVEL)

    def _entries(self, link: Link, span_ms: int) -> list[tuple[bytes, bytes]]:
        """Return field and content of the entries of the last ``span_ms``, and some before them."""
        count = span_ms // MINUTE_MS + span_ms // HOUR_MS + SPARE_ENTRIES
        entries = link.call("XREVRANGE", self._key, "+", "-", "COUNT", count)
        return [(fields[0], fields[1]) for _, fields in entries]

    # -- TimeSeries ------------------------------------------------------------------------------

    def _added(self, samples: Sequence[Sample]) -> Iterator[Command]:
        for sample in samples:
            for name, value in sample.values.items():
                yield (
                    "TS.ADD", f"{self._key}:{name}", sample.at_ms, repr(value),
                    "RETENTION", KEPT_MS, "ON_DUPLICATE", "LAST",
                    "LABELS", "blueplane", self._key, "figure", name,
                )  # fmt: skip

    def _series(self, link: Link) -> list[str]:
        keys = link.call("TS.QUERYINDEX", f"blueplane={self._key}")
        return [key.decode("utf-8", "replace")[len(self._key) + 1 :] for key in keys]

    def _ranges(
        self, link: Link, found: dict[str, Series], between_ms: tuple[int, int]
    ) -> dict[str, Series]:
        names = sorted(found.keys() & set(self._series(link)))
        replies = link.pipeline(
            [("TS.RANGE", f"{self._key}:{name}", *between_ms) for name in names]
        )
        require(replies)
        for name, reply in zip(names, replies, strict=True):
            found[name] = {int(at_ms): float(value) for at_ms, value in reply}
        return found


def _label(text: bytes) -> str:
    return blake2b(text, digest_size=6).hexdigest()


def _names(entries: Sequence[tuple[bytes, bytes]]) -> dict[str, list[str]]:
    """Return the lists of names in entries, by their labels."""
    unpack = zstandard.ZstdDecompressor().decompress
    texts = [_unpacked(unpack, packed) for field, packed in entries if field == b"n"]
    found = {_label(text): _loaded(text) for text in texts}
    return {label: [n for n in names if isinstance(n, str)] for label, names in found.items()}


def _values(
    entries: Sequence[tuple[bytes, bytes]], wanted: Collection[str]
) -> Iterator[tuple[int, str, float]]:
    """Yield time, name and value of what is wanted, of entries newest first; oldest first."""
    places = {
        label: [(2 + place, name) for place, name in enumerate(names) if name in wanted]
        for label, names in _names(entries).items()
    }
    unpack = zstandard.ZstdDecompressor().decompress
    for field, packed in reversed(entries):
        match _loaded(_unpacked(unpack, packed)) if field == b"s" else []:
            case [int(minute), str(label), *_] as content:
                for place, name in places.get(label, ()):
                    value = content[place] if place < len(content) else None
                    if isinstance(value, int | float):
                        yield minute * MINUTE_MS, name, value


def _unpacked(unpack: Callable[[bytes], bytes], packed: bytes) -> bytes:
    """Return what is in an entry; nothing for what is not ours."""
    with suppress(zstandard.ZstdError):
        if 0 < zstandard.frame_content_size(packed) <= MAX_BYTES:
            return unpack(packed)
    return b""


def _loaded(text: bytes) -> list[Any]:
    with suppress(orjson.JSONDecodeError):
        content = orjson.loads(text)
        if isinstance(content, list):
            return content
    return []
