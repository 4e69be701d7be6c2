"""The dashboard, the alert rules and the table of metrics say what a running server offers."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from blueplane.interfaces.cli.main import COMMANDS
from blueplane.paths import Home
from blueplane.server.families import FAMILIES, OF_HOOKS, OF_WORKERS
from helpers.handing import hand_off
from helpers.server import Server
from helpers.waiting import wait_until
from helpers.web import free_port, get

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "packaging" / "grafana" / "blueplane.json"
ALERTS = ROOT / "packaging" / "prometheus" / "alerts.yml"
METRICS = ROOT / "docs" / "METRICS.md"
SERVER = ROOT / "src" / "blueplane" / "server"
WAIT_S = 30.0
#: Enough for hooks of both platforms.
EVENTS = 120

#: What Prometheus itself adds.
THEIRS = {"job", "instance"}
OF_PROMETHEUS = {"up"}
#: What an alert must be there for.
WANTED = {
    "blueplane_component_status", "blueplane_messages_settled_total", "blueplane_redis_connected",
    "blueplane_database_disk_free_bytes", "blueplane_dead_letters_open",
    "blueplane_queue_stuck_consumers", "blueplane_spool_oldest_age_seconds",
    "blueplane_database_last_write_timestamp_seconds",
}  # fmt: skip

SAMPLE = re.compile(r"(?P<name>[a-z_]+)(?:\{(?P<labels>.*)\})? \S+")
LABEL = re.compile(r'(\w+)=~?"([^"]*)"')
SELECTOR = re.compile(r"\b(?P<name>(?:blueplane_|up\b)\w*)(?:\{(?P<labels>[^}]*)\})?")
GROUPED = re.compile(r"\b(?:by|on|ignoring|without) ?\(([^)]*)\)")
LEGEND = re.compile(r"\{\{ ?(\w+) ?\}\}")
OURS = re.compile(r"`blueplane (\w+)")

Series = dict[str, list[dict[str, str]]]


@pytest.fixture(scope="module")
def exposed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Series]:
    """Give the labels of every sample, by name, of a server that has seen both platforms."""
    home = Home(tmp_path_factory.mktemp("packaging") / "home")
    home.prepare()
    user_home = home.root.parent / "user"
    user_home.mkdir()
    port = free_port()
    with Server(home, HOME=str(user_home), BLUEPLANE_HTTP_PORT=str(port)) as server:
        server.start_ready()
        hand_off(home, EVENTS)

        def seen() -> Series:
            return series(get(port, "/metrics").body.decode())

        wait_until(lambda: "blueplane_hook_active" in seen(), WAIT_S, "it has seen the hooks")
        wait_until(
            lambda: server.status()["http"]["trouble"] is None and not any(home.spool.iterdir()),
            WAIT_S, "all is written",
        )  # fmt: skip
        wait_until(lambda: "blueplane_chain_success_ratio" in seen(), WAIT_S, "a balance is taken")
        yield seen()


def series(text: str) -> Series:
    """Return the labels of every sample in the text of Prometheus."""
    found: Series = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            sample = SAMPLE.fullmatch(line)
            assert sample is not None, line
            found.setdefault(sample["name"], []).append(dict(LABEL.findall(sample["labels"] or "")))
    return found


def unmet(expression: str, exposed: Series, legend: str = "") -> list[str]:
    """Return what of an expression no sample has: names, labels, and values of labels."""
    missing, known = [], set(THEIRS)
    for name, text in SELECTOR.findall(expression):
        samples = exposed.get(name, [])
        wanted = {key: value for key, value in LABEL.findall(text) if key not in THEIRS}
        known |= {key for sample in samples for key in sample}
        if name not in OF_PROMETHEUS and not any(
            wanted.items() <= each.items() for each in samples
        ):
            missing.append(f"{name}{wanted or ''}")
    grouped = {word.strip() for words in GROUPED.findall(expression) for word in words.split(",")}
    return [*missing, *sorted((grouped | set(LEGEND.findall(legend))) - known)]


def queries() -> list[tuple[str, str, str]]:
    """Return title, expression and legend of everything that the dashboard asks for."""
    board = json.loads(DASHBOARD.read_text())
    return [
        (panel["title"], target["expr"], target["legendFormat"])
        for panel in board["panels"]
        for target in panel.get("targets", ())
    ]


def rules() -> list[dict[str, Any]]:
    """Return all alert rules."""
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def documented() -> dict[str, set[str]]:
    """Return the labels of every metric in the table, by its name."""
    rows = re.findall(r"^\| `(\w+)` \| \w+ \| (.*?) \|", METRICS.read_text(), re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}


def test_dashboard_asks_for_what_the_server_offers(exposed: Series) -> None:
    """Every name, label and value of a label in a panel is one of a running server's."""
    # Given / When
    missing = {title: unmet(expr, exposed, legend) for title, expr, legend in queries()}
    # Then
    assert {title: names for title, names in missing.items() if names} == {}


def test_dashboard_begins_with_the_chain_and_shows_every_component(exposed: Series) -> None:
    """The chain of custody is first, and each component has a section of its own."""
    # Given / When
    panels = json.loads(DASHBOARD.read_text())["panels"]
    sections = [panel["title"].lower() for panel in panels if panel["type"] == "row"]
    # Then
    components = {labels["component"] for labels in exposed["blueplane_component_status"]}
    assert sections[0].startswith("chain")
    assert {title.partition(" ")[0] for title in sections} == components
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    assert all(place["x"] + place["w"] <= 24 for place in places)


def test_alerts_ask_for_what_the_server_offers(exposed: Series) -> None:
    """Every rule is about figures that exist, and there is one for each trouble that is owed."""
    # Given / When
    missing = {rule["alert"]: unmet(rule["expr"], exposed) for rule in rules()}
    asked = {name for rule in rules() for name, _ in SELECTOR.findall(rule["expr"])}
    # Then
    assert {name: found for name, found in missing.items() if found} == {}
    assert WANTED - asked == set()


def test_alerts_say_what_to_do() -> None:
    """Every alert has a severity, a sentence, commands that exist, and its line in the README."""
    # Given
    readme = ALERTS.with_name("README.md").read_text()
    # When / Then
    for rule in rules():
        text = rule["annotations"]["summary"] + rule["annotations"]["description"]
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert set(OURS.findall(text)) <= COMMANDS.keys()
        assert f"| `{rule['alert']}` |" in readme
    assert len({rule["alert"] for rule in rules()}) == len(rules()) == readme.count("| `Blueplane")


def test_every_metric_is_documented(exposed: Series) -> None:
    """What the server offers is in docs/METRICS.md with its labels, and nothing else is."""
    # Given what is offered now, and every name that could be
    sources = [path.read_text() for path in SERVER.glob("*.py")]
    possible = {name for text in sources for name in re.findall(r'"(blueplane_[a-z_]+)"', text)}
    # When
    table = documented()
    offered: dict[str, set[str]] = {}
    for name, samples in exposed.items():
        metric = re.sub(r"_(bucket|sum|count)$", "", name)
        whole = metric if metric in table else name
        labels = {key for sample in samples for key in sample} - {"le"}
        offered.setdefault(whole, set()).update(labels)
    # Then
    assert table.keys() == possible
    assert {name: table.get(name) for name in offered} == offered


def test_every_word_of_a_label_is_documented() -> None:
    """What a label of fixed words may say is in docs/METRICS.md, in the same order."""
    # Given every metric that is several figures
    text = METRICS.read_text()
    families = [
        each for each in (*FAMILIES, *OF_HOOKS, *OF_WORKERS) if not isinstance(each.figures, str)
    ]
    # When
    patterns = {
        each.name: rf"^\| `{each.name}` .*`{each.label}`: ([\w, ]+) \|" for each in families
    }
    rows = {name: re.search(row, text, re.MULTILINE) for name, row in patterns.items()}
    # Then
    words = {name: row[1].split(", ") if row else None for name, row in rows.items()}
    assert words == {each.name: list(each.figures) for each in families}


@pytest.mark.parametrize(
    ("expression", "legend", "missing"),
    [
        ("blueplane_gone > 0", "", ["blueplane_gone"]),
        ('a{x="1"} + blueplane_a{x="2"}', "", ["blueplane_a{'x': '2'}"]),
        ('sum by (y) (blueplane_a{x="1",job="$job"})', "", ["y"]),
        ("blueplane_a", "{{x}} {{z}}", ["z"]),
        ("rate(blueplane_a[5m]) unless ignoring (x) up == 0", "{{x}}", []),
    ],
)
def test_check_bites_when_a_name_drifts(expression: str, legend: str, missing: list[str]) -> None:
    """The check above finds names, labels and values that are not there."""
    # Given / When
    found = unmet(expression, {"blueplane_a": [{"x": "1"}]}, legend)
    # Then
    assert found == missing
