"""``blueplane health`` as people run it; what it answers with is made up."""

import json
import re
from collections.abc import Callable

import pytest

from blueplane.clock import wall_ms
from blueplane.figures import UNKNOWN
from blueplane.health.check import Colour, Report, Snapshot
from blueplane.interfaces.cli import health as command
from blueplane.interfaces.cli.health_screen import Look, overview, page
from blueplane.interfaces.cli.main import main
from blueplane.paths import Home
from helpers.cli import Ended, on_terminal, run
from helpers.looks import COMPONENTS, answering, bad, good, store

WELL, NOT_WELL, WRONG_USE = 0, 1, 2
HOUR_MS = 3_600_000
DAY_S = 86_400
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@pytest.mark.parametrize("draw", [run, on_terminal])
def test_health_says_green_and_idle_when_nothing_happens(
    home: Home, draw: Callable[..., Ended]
) -> None:
    """An idle server is well, and each part says that it is idle."""
    # Given a server with nothing to do / When it is asked
    with answering(home, good()):
        ended = draw(home, "health", NO_COLOR="1")
    # Then there is a line for each part, the chain of custody first, and no other
    lines = ended.out.splitlines()
    assert ended.code == WELL
    assert lines[0].startswith("health    green   as of ")
    assert sorted(line.split()[0] for line in lines[1:]) == sorted(COMPONENTS)
    assert [line.split()[1:] for line in lines[1:]] == [["green", "idle"]] * len(COMPONENTS)
    assert lines[1].startswith("chain")


@pytest.mark.parametrize("worst", Colour)
def test_health_exits_by_the_worst_colour(home: Home, worst: Colour) -> None:
    """Green and yellow are fine, orange and red are not; a part has a colour of its own."""
    # Given a server whose queue is worst, and all else a step better
    with answering(home, bad(worst, findings=worst > Colour.GREEN)):
        # When
        whole, part = run(home, "health"), run(home, "health", "chain")
    # Then
    assert whole.code == (WELL if worst <= Colour.YELLOW else NOT_WELL)
    assert part.code == (WELL if worst <= Colour.ORANGE else NOT_WELL)
    assert f"health    {worst.word}" in whole.out


def test_health_shows_what_is_wrong_with_its_command_on_one_screen(home: Home) -> None:
    """On a terminal of 80x24 the worst come first, nothing is cut, and what is left is counted."""
    # Given far more than a screen of trouble
    with answering(home, bad(findings=4)):
        # When
        ended = on_terminal(home, "health")
        whole = run(home, "health")
    # Then the screen holds it, with a prompt below
    lines = COLOURS.sub("", ended.out).splitlines()
    assert len(lines) <= 23
    assert max(map(len, lines)) <= 80
    # And every sentence has its command; the rest is counted
    shown = sum(line.startswith(("red ", "orange ")) for line in lines)
    assert shown == sum(line.startswith("        blueplane help-") for line in lines)
    assert (
        lines[-1] == f"        and {20 - shown} more; `blueplane health PART` shows all of a part"
    )
    found = [line.split()[0] for line in lines if line.startswith(("red ", "orange "))]
    assert found[:4] == ["red"] * 4
    # And a pipe gets all of them, a line each
    assert whole.out.count("line of a screen\n        blueplane help-") == 20


def test_colour_only_repeats_the_word(home: Home) -> None:
    """A terminal shows colours, NO_COLOR, a dumb terminal and a pipe the same words without."""
    # Given / When
    with answering(home, bad()):
        coloured = on_terminal(home, "health", "queue").out
        plain = [
            on_terminal(home, "health", "queue", NO_COLOR="1").out,
            on_terminal(home, "health", "queue", TERM="dumb").out,
        ]
        piped = run(home, "health", "queue").out
    # Then
    aged = re.compile(r", (now|\d+ s ago)")
    assert "\x1b[31m\x1b[1mred\x1b[0m" in coloured
    assert {aged.sub("", text) for text in plain} == {aged.sub("", COLOURS.sub("", coloured))}
    assert "\x1b" not in piped


def test_page_shows_every_figure_with_its_unit(home: Home) -> None:
    """The page of a part has all figures under their names; unknown is a dash."""
    # Given / When
    with answering(home, bad()):
        out = {part: run(home, "health", part).out for part in COMPONENTS}
    # Then
    wanted = {
        "queue": [
            "queue_depth                  12,000",
            "consumer_lag_ms              42 s",
            "enqueue_rate_events_per_sec  3.5/s",
            "spool_bytes                  2.5 MB",
            "redis                        connected yes, mode private, used_memory_bytes 3.0 MB",
        ],
        "database": [
            "write_success_rate  99.99 %",
            "disk_free_mb        2.0 GB",
            f"last_error          {UNKNOWN}",
        ],
        "capture": [
            f"cursor_hooks      success_rate {UNKNOWN}, hooks_active (yes: stop; no: preToolUse)",
            "database_monitor  not installed",
        ],
        "chain": [
            "messages                    closed: enqueued 7 = written 5 + in flight 2",
            "success_rate                100 %",
            "breaks                      none",
        ],
        "workers": [],
    }  # fmt: skip
    for part, lines in wanted.items():
        assert [line for line in lines if line not in out[part].splitlines()] == []
        assert f"something is wrong with it, {part} 0" in out[part]


def test_json_is_the_snapshot_with_its_age(home: Home) -> None:
    """Programs get the body as it is over HTTP, all of it or one part."""
    # Given
    look = bad()
    with answering(home, look):
        # When
        whole = run(home, "health", "--format", "json").json
        part = run(home, "health", "queue", "--format", "json").json
    # Then
    for answer in (whole, part):
        assert answer.pop("age_ms") >= 0
        assert answer.pop("trouble") is None
        assert answer.pop("as_of_ms") == look.as_of_ms
    body = json.loads(json.dumps(look.body()))
    assert whole == {key: body[key] for key in ("health_status", *COMPONENTS)}
    assert part == body["queue"]


def test_last_stored_look_is_shown_when_no_server_runs(home: Home) -> None:
    """Without a server the last look is shown as what it is: old, and not well."""
    # Given a server that was well an hour ago
    store(home, good(wall_ms() - HOUR_MS))
    # When
    shown, answer = run(home, "health"), run(home, "health", "--format", "json")
    # Then its age is said, and why
    assert (shown.code, answer.code) == (NOT_WELL, NOT_WELL)
    first, second = shown.out.splitlines()[:2]
    assert first == "health    down    no server runs; `blueplane start` starts one"
    assert second.split()[:5] == ["green", "was", "the", "last", "look,"]
    assert second.endswith(", 1 h ago")
    assert answer.json["age_ms"] >= HOUR_MS
    assert answer.json["trouble"].startswith("no server runs")


def test_one_line_says_so_when_nothing_was_ever_stored(home: Home) -> None:
    """A home without a database is no traceback and no green."""
    # Given a new home / When
    ended = run(home, "health")
    # Then
    assert (ended.code, ended.out) == (NOT_WELL, "")
    assert ended.err.endswith("no database yet; `blueplane start` makes it\n")


def test_part_that_was_never_seen_is_named(home: Home) -> None:
    """A snapshot of before the first look has no parts, and is not well."""
    # Given a server that has not looked yet
    with answering(home, Snapshot(wall_ms())):
        # When
        whole, part = run(home, "health"), run(home, "health", "queue")
    # Then
    assert (whole.code, part.code) == (NOT_WELL, NOT_WELL)
    assert "nothing was looked at yet" in whole.out
    assert "nothing was seen of queue yet" in part.err


@pytest.mark.parametrize("arguments", [["pipeline"], ["--since", "soon"], ["--metric", "queue.*"]])
def test_wrong_use_is_one_line(home: Home, arguments: list[str]) -> None:
    """What cannot be meant is refused in one line."""
    # Given / When
    ended = run(home, "health", *arguments)
    # Then
    assert (ended.code, ended.out, ended.err.count("\n")) == (WRONG_USE, "", 1)


@pytest.mark.parametrize(
    ("arguments", "module", "handed"),
    [
        (["incidents"], "incidents", (None, "table")),
        (["incidents", "--since", "7d", "--format", "json"], "incidents", (7 * DAY_S, "json")),
        (["--since", "24h"], "sparks", (DAY_S, (), "table")),
        (["queue", "--since", "30m"], "sparks", (1800, ("queue.*",), "table")),
        (["--since", "24h", "--metric", "a.b"], "sparks", (DAY_S, ("a.b",), "table")),
    ],
)
def test_past_is_shown_by_the_part_that_knows_it(
    home: Home,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    module: str,
    handed: tuple[object, ...],
) -> None:
    """What was is no look at now: it goes to the history or the incidents, and exits with 0."""
    # Given parts that note what they are asked
    asked: list[tuple[object, ...]] = []

    def load(part: str, name: str) -> Callable[..., None]:
        return lambda *given: asked.append((part, name, *given))

    monkeypatch.setattr(command, "load", load)
    # When
    code = main(["health", *arguments])
    # Then
    assert (code, asked) == (WELL, [(module, "show", home, *handed)])


@pytest.mark.parametrize("arguments", [["incidents"], ["incidents", "--since", "1h"]])
def test_incidents_are_shown_without_a_server(home: Home, arguments: list[str]) -> None:
    """The incidents are in the database."""
    # Given
    store(home, good())
    # When
    ended = run(home, "health", *arguments)
    # Then
    assert (ended.code, ended.out, ended.err) == (WELL, "no incidents\n", "")


def test_look_is_not_well_when_the_server_stopped_to_look() -> None:
    """A green snapshot that grows old says nothing about now."""
    # Given the same green look, fresh and old
    body = good().body()
    fresh, old = Look(body, 10_000), Look(body, 10_001)
    # When / Then
    assert fresh.is_well(None)
    assert not old.is_well(None)
    first = COLOURS.sub("", next(overview(old, 80, 23)))
    assert first.startswith("health    down    the server does not look any more")


def test_overview_shows_the_worker_that_is_furthest_behind() -> None:
    """Of several workers the line says the largest backlog, with that worker's own lag."""
    # Given
    figures = {
        "sessions": {"watermark": 9, "backlog": 2, "lag_ms": 50},
        "usage": {"watermark": 1, "backlog": 10, "lag_ms": 40},
        "metrics": {"watermark": None, "backlog": None, "lag_ms": None},
    }
    look = Look(Snapshot(wall_ms(), {"workers": Report("workers", figures)}).body(), 0)
    # When
    lines = [COLOURS.sub("", line) for line in overview(look, None, None)]
    # Then
    assert lines[1] == "workers   green   backlog 10, lag 40 ms"


@pytest.mark.parametrize("name", ["last_timestamp", "x" * 40 + "_timestamp"])
def test_line_is_broken_where_words_end(name: str) -> None:
    """A figure stays with its name on one line when there is room, and no word is cut."""
    # Given figures that need more than a line
    figures = {"first": {f"{name}_{n}": "2026-11-20T07:00:00Z" for n in range(3)}}
    look = Look(Snapshot(wall_ms(), {"queue": Report("queue", figures)}).body(), 0)
    # When
    lines = [COLOURS.sub("", line) for line in page(look, "queue", 80)]
    # Then
    assert max(map(len, lines)) <= 80
    words = " ".join(" ".join(page(look, "queue", None)).split())
    assert " ".join(" ".join(lines).split()) == COLOURS.sub("", words)


def test_foreign_text_does_not_steer_the_terminal() -> None:
    """What a figure has of somebody else's is shown, and never obeyed."""
    # Given a figure with an escape in it
    report = Report("queue", {"last_error": "\x1b[2Jgone", "consumers": {"a\x07": 1}})
    look = Look(Snapshot(wall_ms(), {"queue": report}).body(), 0)
    # When
    text = COLOURS.sub("", "\n".join([*page(look, "queue", 80), *overview(look, 80, 23)]))
    # Then
    assert "\x1b" not in text
    assert "\x07" not in text
    assert r"\x1b[2Jgone" in text
