"""What is answered over HTTP: from a request to an answer, without any socket.

Owns the addresses and what is behind them.
Promises answers out of memory, rendered once a second by the health thread, with nothing in them
that is personal: no paths, versions or process ids, whatever a monitor may say.
Leaves the figures to ``health/`` and their text for Prometheus to ``exposition.py``.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson

from blueplane.clock import MS_PER_DAY, monotonic_s, parse_iso_ms, wall_ms
from blueplane.errors import BlueplaneError, NotFoundError, UsageError
from blueplane.health.check import COMPONENTS, STALE_S, Colour, Moment, Report, Snapshot
from blueplane.health.histograms import batch_seconds, road_seconds
from blueplane.health.private import without_paths
from blueplane.health.probes import Probes
from blueplane.health.readiness import Readiness
from blueplane.proof import CHALLENGE
from blueplane.server import exposition
from blueplane.server.wire import Answer, RefusedError, Request

#: Seconds to wait for another request that reads the history.
TURN_S: Final = 2.0
#: Fields of a query.
MAX_FIELDS: Final = 8

_ALIVE: Final = "/healthz"
_READY: Final = "/readyz"
_METRICS: Final = "/metrics"
_ALL: Final = ("/health", "/api/v1/health")
_HISTORY: Final = "/api/v1/health/history"
_PARTS: Final = {name: f"/api/v1/health/{name}" for name in COMPONENTS}

#: Members of a body that nobody is shown.
_PRIVATE: Final = {"version", "pid", "path", "session_id"}
#: Milliseconds of the units of an age.
_UNITS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": MS_PER_DAY}
_AGE: Final = re.compile(r"([0-9]{1,6})([smhd])")
_EPOCH_MS: Final = re.compile(r"[0-9]{9,15}")

#: Returns the points of a metric since a moment, in steps, as JSON shows them.
History = Callable[[str, int, int], Mapping[str, Any]]


class Api:
    """What one server answers; ``secret_words`` are never in it: the home, and that of the user.

    ``prove`` answers a challenge (``proof.py``).
    """

    def __init__(
        self,
        probes: Probes,
        history: History,
        secret_words: Sequence[str],
        prove: Callable[[str], str],
    ) -> None:
        self._measures = probes.measures
        self._readiness = Readiness(probes)
        self._history = history
        self._prove = prove
        self._words = sorted(filter(None, secret_words), key=len, reverse=True)
        self._turn = Lock()
        self._pages: Mapping[str, Answer] = {}
        self._rendered_s = monotonic_s()

    # -- once a second -----------------------------------------------------------------------------

    def render(self, snapshot: Snapshot, moment: Moment) -> None:
        """Make every page of a snapshot; called by the health thread."""
        whole = self._public(snapshot.body())
        pages = dict.fromkeys(_ALL, _page(whole, broken=snapshot.colour is Colour.RED))
        for name, report in snapshot.reports.items():
            if name in _PARTS:
                pages[_PARTS[name]] = _part(snapshot, whole[name], report)
        pages[_READY] = _ready(self._readiness.look(moment))
        pages[_METRICS] = Answer(200, self._metrics(snapshot), exposition.KIND)
        self._rendered_s = monotonic_s()
        self._pages = pages  # at once: whoever asks sees one moment

    def _metrics(self, snapshot: Snapshot) -> bytes:
        histograms = {
            "blueplane_write_batch_seconds": (
                "Time of a batch until it was durable.",
                batch_seconds(self._measures),
            ),
            "blueplane_captured_to_written_seconds": (
                "Time of an event from its capture to its row.",
                road_seconds(self._measures),
            ),
        }
        return exposition.render(snapshot, histograms)

    def _public(self, value: Any) -> Any:  # noqa: ANN401 - any JSON
        """Return JSON without what is private: a second net below the monitors' own care."""
        if isinstance(value, Mapping):
            return {
                name: self._public(each) for name, each in value.items() if name not in _PRIVATE
            }
        if isinstance(value, list | tuple):
            return [self._public(each) for each in value]
        return self._plain(value) if isinstance(value, str) else value

    def _plain(self, text: str) -> str:
        for word in self._words:
            text = text.replace(word, "<home>")
        return without_paths(text)

    # -- a request ---------------------------------------------------------------------------------

    def answer(self, request: Request) -> Answer:
        """Return the answer to a request that passed the guard; raise RefusedError for none."""
        path = request.path
        if path == _ALIVE:
            return self._alive(request.query)
        if path == _HISTORY:
            return self._past(request.query)
        if path not in {_READY, _METRICS, *_ALL, *_PARTS.values()}:
            raise RefusedError(404, "not_found", "nothing is here")
        page = self._pages.get(path)
        if page is None:
            raise RefusedError(503, "not_yet", "nothing was looked at yet; ask again in a moment")
        if monotonic_s() - self._rendered_s > STALE_S:
            return _stale(page, path)
        return page

    def _alive(self, query: str) -> Answer:
        """Say that we are alive, and to whoever asks with a challenge also that we are we."""
        challenge = _fields(query).get("challenge", "")
        if not CHALLENGE.fullmatch(challenge):
            return _page({"status": "alive"})
        return _page({"status": "alive", "proof": self._prove(challenge)})

    def _past(self, query: str) -> Answer:
        wanted = _fields(query)
        now_ms = wall_ms()
        since_ms = _since_ms(wanted.get("since", "1h"), now_ms)
        step_ms = _age_ms(wanted.get("step", "1m"))
        if not self._turn.acquire(timeout=TURN_S):
            raise RefusedError(503, "busy", "somebody else reads the history; ask again")
        try:
            return _page(self._history(wanted.get("metric", "*"), since_ms, step_ms))
        except UsageError as error:
            raise RefusedError(400, "bad_request", self._plain(str(error))) from error
        except NotFoundError as error:
            raise RefusedError(404, "not_found", self._plain(str(error))) from error
        except BlueplaneError as error:
            raise RefusedError(503, "no_history", "the history cannot be read now") from error
        finally:
            self._turn.release()


def _page(body: Mapping[str, Any], *, broken: bool = False) -> Answer:
    return Answer(503 if broken else 200, orjson.dumps(body))


def _part(snapshot: Snapshot, body: Mapping[str, Any], report: Report) -> Answer:
    dated = {"as_of_ms": snapshot.as_of_ms, **body}
    return _page(dated, broken=report.colour is Colour.RED)


def _ready(reasons: Sequence[str]) -> Answer:
    body = {"status": "not ready" if reasons else "ready", "reasons": reasons}
    return _page(body, broken=bool(reasons))


def _stale(page: Answer, path: str) -> Answer:
    """Return an old page as what it is: a look that was taken long ago."""
    return _ready(("health_stands_still",)) if path == _READY else Answer(503, page.body, page.kind)


def _fields(query: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(query, max_num_fields=MAX_FIELDS))
    except ValueError:
        raise RefusedError(400, "bad_request", "the query has too many fields") from None


def _since_ms(text: str, now_ms: int) -> int:
    """Read a moment: an age as ``24h``, milliseconds since the epoch, or ISO 8601."""
    if _EPOCH_MS.fullmatch(text):
        return int(text)
    if _AGE.fullmatch(text):
        return now_ms - _age_ms(text)
    try:
        return parse_iso_ms(text.replace(" ", "+"))  # a plus is a space in a query
    except (ValueError, OverflowError):
        message = "since is an age as 24h, a time as 2026-01-31T08:00:00Z, or milliseconds"
        raise RefusedError(400, "bad_request", message) from None


def _age_ms(text: str) -> int:
    matched = _AGE.fullmatch(text)
    if matched is None:
        message = "a number and one of s, m, h, d is wanted, as 5m"
        raise RefusedError(400, "bad_request", message)
    return int(matched[1]) * _UNITS[matched[2]]
