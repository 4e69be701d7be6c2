"""What is answered over HTTP, without any socket."""

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest

from blueplane.clock import MS_PER_DAY, wall_ms
from blueplane.errors import NotFoundError, QueueUnavailableError, UsageError
from blueplane.health.check import COMPONENTS, Colour, Finding, Moment, Report, Snapshot
from blueplane.pipeline.measures import Measures
from blueplane.server.api import Api
from blueplane.server.wire import Answer, RefusedError, Request
from helpers.prometheus import read
from helpers.road import turn_clock

HOME, USER = "/srv/ada byron/.blueplane", "/srv/ada byron"
MINUTE_MS = 60_000


class Stand:
    """An api, and what it is asked about."""

    def __init__(self) -> None:
        self.error: str | None = None
        self.redis = True
        self.waits_s: float | None = None
        self.backlog = 0
        self.asked: list[tuple[str, int, int]] = []
        self.history: Callable[[], Mapping[str, Any]] = lambda: {"points": []}
        self.now_s = 100.0
        self.measures = Measures()
        probes = SimpleNamespace(
            measures=self.measures,
            redis=lambda: {"connected": self.redis},
            pressure=lambda: {"since_s": self.waits_s},
            store_error=lambda: self.error,
            backlog=lambda: self.backlog,
        )
        self.api = Api(cast("Any", probes), self._history, (HOME, USER), str.upper)

    def _history(self, metric: str, since_ms: int, step_ms: int) -> Mapping[str, Any]:
        self.asked.append((metric, since_ms, step_ms))
        return self.history()

    def render(self, *reports: Report, after_s: float = 1.0) -> None:
        """Publish a snapshot."""
        self.now_s += after_s
        snapshot = Snapshot(wall_ms(), {each.component: each for each in reports})
        self.api.render(snapshot, Moment(snapshot.as_of_ms, self.now_s))

    def get(self, path: str, query: str = "") -> Answer:
        """Ask for a page."""
        return self.api.answer(Request("GET", path, query, {}))


@pytest.fixture
def stand() -> Stand:
    """Give an api."""
    return Stand()


def make_report(name: str, colour: Colour = Colour.GREEN, sentence: str = "bad") -> Report:
    """Make a report of one figure."""
    findings = [Finding("depth", colour, sentence, "blueplane health")] if colour else []
    return Report(name, {"depth": 1, "unknown": None}, findings)


def body(answer: Answer) -> dict[str, Any]:
    """Return the body of a page."""
    found: dict[str, Any] = orjson.loads(answer.body)
    return found


def test_pages_show_the_snapshot_when_it_was_rendered(stand: Stand) -> None:
    """Every component is at its own address and in the whole; unknown is null."""
    # Given
    stand.render(*(make_report(name) for name in COMPONENTS))
    # When / Then
    for path in ("/health", "/api/v1/health"):
        assert stand.get(path).status == 200
        assert body(stand.get(path)).keys() == {"as_of_ms", "health_status", *COMPONENTS}
    for name in COMPONENTS:
        found = body(stand.get(f"/api/v1/health/{name}"))
        assert (found["depth"], found["unknown"]) == (1, None)
        assert (found["health_status"], found["state"], found["findings"]) == ("green", "ok", [])
    assert body(stand.get("/healthz")) == {"status": "alive"}
    assert body(stand.get("/healthz", "challenge=" + "a0" * 32))["proof"] == "A0" * 32
    assert body(stand.get("/healthz", "challenge=A0")) == {"status": "alive"}
    assert read(stand.get("/metrics").body.decode())["blueplane_health_status"].value() == 0


@pytest.mark.parametrize(("colour", "status"), list(zip(Colour, (200, 200, 200, 503), strict=True)))
def test_page_is_503_with_all_of_it_when_it_is_red(
    stand: Stand, colour: Colour, status: int
) -> None:
    """Red is 503, of the component and of the whole, with the full body; others are not."""
    # Given / When
    stand.render(make_report("queue", colour), make_report("chain"))
    # Then
    for path in ("/health", "/api/v1/health", "/api/v1/health/queue"):
        assert stand.get(path).status == status
        assert body(stand.get(path))["health_status"] == colour.word
    assert stand.get("/api/v1/health/chain").status == 200
    assert stand.get("/metrics").status == 200
    assert stand.get("/healthz").status == 200


def test_page_is_refused_when_nothing_was_looked_at_yet(stand: Stand) -> None:
    """Before the first look there is only that the server is alive."""
    # Given an api of which nothing was rendered / When / Then
    assert stand.get("/healthz").status == 200
    for path in ("/readyz", "/metrics", "/health", "/api/v1/health/queue"):
        with pytest.raises(RefusedError) as caught:
            stand.get(path)
        assert (caught.value.status, caught.value.code) == (503, "not_yet")


@pytest.mark.parametrize(
    "path", ["/", "/healthz/", "//healthz", "/api/v1/health/", "/HEALTH", "/api/v1/health/../x"]
)
def test_page_is_not_found_when_the_address_is_another(stand: Stand, path: str) -> None:
    """An address is taken as it was sent, or not at all."""
    # Given / When / Then
    stand.render(make_report("queue"))
    with pytest.raises(RefusedError) as caught:
        stand.get(path)
    assert caught.value.status == 404


@pytest.mark.parametrize(
    ("change", "patience_s", "reason"),
    [
        ({"error": "disk I/O error"}, 0, "store_error"),
        ({"redis": False}, 60, "redis_away"),
        ({"waits_s": 60.5}, 0, "sources_wait"),
        ({"backlog": 1}, 60, "writer_stands_still"),
    ],
)
def test_readiness_ends_when_events_are_not_written(
    stand: Stand, change: dict[str, Any], patience_s: float, reason: str
) -> None:
    """A store that fails is at once, the others are after a minute; it comes back by itself."""
    # Given a server that is ready
    stand.waits_s = 59.0
    stand.render()
    assert body(stand.get("/readyz")) == {"status": "ready", "reasons": []}
    # When something fails
    for name, value in change.items():
        setattr(stand, name, value)
    if patience_s:
        stand.render(after_s=patience_s - 1)
        assert stand.get("/readyz").status == 200
    stand.render(after_s=2)
    # Then it is not, in a fixed word, and the server is alive all the same
    assert stand.get("/readyz").status == 503
    assert body(stand.get("/readyz")) == {"status": "not ready", "reasons": [reason]}
    assert stand.get("/healthz").status == 200
    # And it is again when that is over
    stand.error, stand.redis, stand.waits_s, stand.backlog = None, True, None, 0
    stand.render()
    assert stand.get("/readyz").status == 200


def test_readiness_stays_when_the_writer_is_slow_or_has_nothing(stand: Stand) -> None:
    """A writer that settles now and then, or has nothing to write, does not stand still."""
    # Given a server with nothing to do, for an hour
    stand.render()
    stand.render(after_s=3600)
    # When much waits, and a message a minute is settled
    stand.backlog = 1_000
    for _ in range(3):
        stand.render(after_s=59)
        stand.measures.acknowledged(1)
        # Then it is ready all the time
        assert stand.get("/readyz").status == 200


def test_pages_are_503_when_nobody_looks_any_more(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot of more than ten seconds is shown as what it is, and the server is not ready."""
    # Given
    turned = turn_clock(monkeypatch)
    stand.render(make_report("queue"))
    turned.sleepless(9)
    assert stand.get("/health").status == 200
    # When the health thread stands still
    turned.sleepless(1.1)
    # Then
    assert body(stand.get("/readyz"))["reasons"] == ["health_stands_still"]
    assert stand.get("/health").status == 503
    assert body(stand.get("/health"))["queue"]["depth"] == 1
    assert stand.get("/healthz").status == 200


@pytest.mark.fault("G15")
@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        (f"{HOME}/telemetry.db: disk full", "<home><path>: disk full"),
        (f"in {USER}/work/secret, twice", "in <home><path>, twice"),
        ("no unix:///run/user/1/redis.sock", "no <path>"),
        (
            "1/2 of 10 events/s; see docs/OPERATIONS.md",
            "1/2 of 10 events/s; see docs/OPERATIONS.md",
        ),
    ],
)
def test_page_holds_no_path_when_a_monitor_says_one(
    stand: Stand, sentence: str, shown: str
) -> None:
    """Paths, versions and process ids of a body are not shown, whatever was put there."""
    # Given a report that has them
    figures = {"redis": {"version": "7.2.4", "pid": 12, "connected": True}, "path": HOME,
               "listed": [{"session_id": "abc"}], "schema_version": 4}  # fmt: skip
    finding = Finding("redis", Colour.RED, sentence, f"ls {HOME}")
    # When
    stand.render(Report("queue", figures, [finding]))
    # Then
    found = body(stand.get("/api/v1/health/queue"))
    assert found["redis"] == {"connected": True}
    assert found["listed"] == [{}]
    assert found["schema_version"] == 4
    assert "path" not in found
    assert found["findings"][0]["sentence"] == shown
    for path in ("/health", "/api/v1/health/queue", "/metrics"):
        page = stand.get(path).body.decode()
        assert "ada" not in page
        assert "7.2.4" not in page


@pytest.mark.parametrize(
    ("query", "metric", "age_ms", "step_ms"),
    [
        ("", "*", 60 * MINUTE_MS, MINUTE_MS),
        ("metric=queue.queue_depth&since=24h&step=5m", "queue.queue_depth", MS_PER_DAY, 300_000),
        ("metric=a&since=7d&step=1h", "a", 7 * MS_PER_DAY, 60 * MINUTE_MS),
        ("since=90s", "*", 90_000, MINUTE_MS),
    ],
)
def test_history_is_asked_when_a_query_makes_sense(
    stand: Stand, query: str, metric: str, age_ms: int, step_ms: int
) -> None:
    """Since is an age, step a time; without them it is an hour, by minutes."""
    # Given / When
    answer = stand.get("/api/v1/health/history", query)
    # Then
    assert (answer.status, body(answer)) == (200, {"points": []})
    ((asked, since_ms, asked_step_ms),) = stand.asked
    assert (asked, asked_step_ms) == (metric, step_ms)
    assert 0 <= wall_ms() - age_ms - since_ms < MINUTE_MS


@pytest.mark.parametrize(
    ("text", "since_ms"),
    [
        ("1795150000000", 1_795_150_000_000),
        ("2026-11-20T04:46:40Z", 1_795_150_000_000),
        ("2026-11-20T06:46:40%2B02:00", 1_795_150_000_000),
        ("2026-11-20T06:46:40+02:00", 1_795_150_000_000),
    ],
)
def test_history_begins_at_a_time_when_since_is_one(stand: Stand, text: str, since_ms: int) -> None:
    """Since may be a time, or milliseconds since the epoch."""
    # Given / When
    stand.get("/api/v1/health/history", f"since={text}")
    # Then
    assert stand.asked[0][1] == since_ms


@pytest.mark.parametrize(
    "query",
    ["since=yesterday", "since=-1h", "since=1w", "step=5", "step=-5m", "step=x",
     "since=9999999h", "since=2026-13-01", "&".join(f"a{n}=1" for n in range(99))],
)  # fmt: skip
def test_history_is_refused_when_a_query_makes_no_sense(stand: Stand, query: str) -> None:
    """A query that cannot be read is 400 and asks nobody."""
    # Given / When
    with pytest.raises(RefusedError) as caught:
        stand.get("/api/v1/health/history", query)
    # Then
    assert (caught.value.status, caught.value.code) == (400, "bad_request")
    assert stand.asked == []


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (UsageError("step of 1 ms: whole minutes are wanted"), 400, "bad_request"),
        (NotFoundError("no figure of that name has a history"), 404, "not_found"),
        (QueueUnavailableError(f"{HOME}/run/redis.sock: refused"), 503, "no_history"),
    ],
)
def test_history_says_why_when_it_cannot_be_read(
    stand: Stand, error: Exception, status: int, code: str
) -> None:
    """Nonsense is 400, an unknown figure 404, a Redis that is away 503; none has a path in it."""

    # Given
    def fail() -> Mapping[str, Any]:
        raise error

    stand.history = fail
    # When
    with pytest.raises(RefusedError) as caught:
        stand.get("/api/v1/health/history")
    # Then
    assert (caught.value.status, caught.value.code) == (status, code)
    assert "ada" not in str(caught.value)
    # And the next may ask
    stand.history = dict
    assert stand.get("/api/v1/health/history").status == 200
