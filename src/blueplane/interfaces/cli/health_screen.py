"""The words of ``blueplane health``: an overview of all parts, and a page of one.

Owns the layout, what the overview says of each part, and the unit that a figure is shown with.
Promises lines for a terminal of 80x24 in the overview, that a colour only repeats a word, and a
dash for what is unknown.
Leaves colours, findings and figures to the server, which judged.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any, Final

import click

from blueplane.clock import parse_iso_ms, wall_ms
from blueplane.figures import (
    age,
    milliseconds,
    moment,
    number,
    percent,
    shown,
    size,
)
from blueplane.health.check import STALE_S
from blueplane.health.laws import LAWS
from blueplane.interfaces.cli import visible
from blueplane.interfaces.cli.law_words import law_text

STALE_MS: Final = int(STALE_S * 1000)
WELL: Final = ("green", "yellow")

_STYLES: Final[Mapping[str, Mapping[str, Any]]] = {
    "green": {"fg": "green"},
    "yellow": {"fg": "yellow"},
    "orange": {"fg": "bright_red"},
    "red": {"fg": "red", "bold": True},
    "down": {"fg": "red", "bold": True},
}
_ORDER: Final = ("chain", "queue", "database", "capture", "workers")
#: What the overview says of each part: the figure, and the word for it.
_BRIEF: Final[Mapping[str, Mapping[str, str]]] = {
    "chain": {
        "messages_enqueued_last_hour": "1 h: enqueued",
        "messages_written_last_hour": "written",
        "success_rate": "success",
    },
    "queue": {
        "queue_depth": "depth",
        "consumer_lag_ms": "lag",
        "dlq_size": "dead letters",
        "spool_files": "spool files",
    },
    "database": {
        "write_success_rate": "success",
        "write_latency_p95_ms": "write P95",
        "disk_free_mb": "disk free",
    },
    "capture": {
        "capture_rate_events_per_min": "rate",
        "cursor_hooks.success_rate": "cursor hooks",
        "claude_hooks.success_rate": "claude hooks",
    },
    "workers": {
        "backlog": "backlog",
        "lag_ms": "lag",
    },
}
#: What is no figure, or, as the coverage, is shown below them by somebody else.
_NO_FIGURES: Final = ("health_status", "state", "findings", "coverage")
_SEVERITY: Final = ("red", "orange", "yellow", "green")
_NAME_WIDTH: Final = 10
_COLOUR_WIDTH: Final = 8
_BLANK: Final = " " * _NAME_WIDTH
_ABSENT: Final = "not installed"
#: Stands for a space at which no line is broken.
_TIE: Final = "\xa0"
_MAX_TIED: Final = 40
_MB_PER_GB: Final = 1024
_BYTES_PER_MB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Look:
    """A snapshot's body, how old it is, and why it is not the server's own answer (else None)."""

    body: Mapping[str, Any]
    age_ms: int
    trouble: str | None = None

    @property
    def components(self) -> Mapping[str, Mapping[str, Any]]:
        """The parts that were looked at, the chain of custody first."""
        found = {name: part for name, part in self.body.items() if isinstance(part, Mapping)}
        known = [name for name in _ORDER if name in found]
        return {name: found[name] for name in [*known, *(found.keys() - set(known))]}

    @property
    def stale(self) -> bool:
        """Whether the server does not look any more."""
        return self.trouble is None and self.age_ms > STALE_MS

    def is_well(self, part: str | None) -> bool:
        """Whether everything, or one part, is green or yellow, as a running server says now."""
        judged = self.body if part is None else self.components[part]
        seen = self.trouble is None and not self.stale and bool(self.components)
        return seen and judged["health_status"] in WELL


def overview(look: Look, width: int | None, lines: int | None) -> Iterator[str]:
    """Yield a line for each part, and what is wrong, the worst first.

    None as ``width`` breaks no lines, None as ``lines`` leaves nothing out.
    """
    head = _head("health", look, look.body, width)
    for name, part in look.components.items():
        label = f"{name:<{_NAME_WIDTH}}"
        head += _row(label, part["health_status"], _brief(name, part), width)
    yield from head
    findings = [
        {**finding, "sentence": f"{name}: {finding['sentence']}"}
        for name, part in look.components.items()
        for finding in part["findings"]
    ]
    room = None if lines is None else lines - len(head)
    yield from _findings(findings, width, room)


def page(look: Look, name: str, width: int | None) -> Iterator[str]:
    """Yield all figures of one part, by their names, and what is wrong with it."""
    part = look.components[name]
    yield from _head(name, look, part, width)
    figures = dict(_figures(part))
    if figures:
        yield ""
    label_width = max(map(len, figures), default=0)
    for key, text in figures.items():
        yield from _hung(f"{key:<{label_width}}  ", text, width)
    yield from _findings(part["findings"], width, None)


# --- the pieces -------------------------------------------------------------------------------


def _head(name: str, look: Look, part: Mapping[str, Any], width: int | None) -> list[str]:
    """Return the colour and when it was seen; before it, why that may not be so any more."""
    label = f"{name:<{_NAME_WIDTH}}"
    words = (*_words(part), f"as of {moment(look.body['as_of_ms'])}, {age(look.age_ms)}")
    seen = ", ".join(words)
    down = "the server does not look any more; see `blueplane logs`" if look.stale else look.trouble
    if down is not None:
        last = _row(_BLANK, part["health_status"], f"was the last look, {seen}", width)
        return _row(label, "down", down, width) + last
    lines = _row(label, part["health_status"], seen, width)
    if not look.components:
        lines += _row(_BLANK, "", "nothing was looked at yet; ask again in a moment", width)
    return lines


def _words(part: Mapping[str, Any]) -> list[str]:
    """Return what is to be said of a part besides its colour."""
    return [str(part[key]) for key in ("state", "chain_status") if part.get(key, "ok") != "ok"]


def _row(label: str, colour: str, text: str, width: int | None) -> list[str]:
    """Return ``text`` behind a label and a colour; what is too long goes on below itself."""
    first, *others = _hung(f"{label}{colour:<{_COLOUR_WIDTH}}", text, width)
    start, end = len(label), len(label) + len(colour)
    return [first[:start] + _styled(colour) + first[end:], *others]


def _hung(label: str, text: str, width: int | None) -> list[str]:
    text = _TIE.join(map(visible, text.split(_TIE)))
    pieces = (
        [text] if width is None else wrap(text, width - len(label), break_on_hyphens=False) or [""]
    )
    blank = " " * len(label)
    lines = (f"{blank if row else label}{piece}".rstrip() for row, piece in enumerate(pieces))
    return [line.replace(_TIE, " ") for line in lines]


def _styled(colour: str) -> str:
    return click.style(colour, **_STYLES.get(colour, {})) if colour else ""


def _findings(
    findings: Sequence[Mapping[str, str]], width: int | None, room: int | None
) -> Iterator[str]:
    """Yield what is wrong, the worst first, each with its command; what has no room is counted."""
    ordered = sorted(findings, key=lambda finding: _SEVERITY.index(finding["colour"]))
    used = 1
    for place, finding in enumerate(ordered):
        lines = _row("", finding["colour"], finding["sentence"], width)
        lines += _hung(" " * _COLOUR_WIDTH, finding["command"], None)
        used += len(lines)
        if room is not None and used + (place + 1 < len(ordered)) > room:
            yield from _more(len(ordered) - place)
            return
        yield from lines if place else ["", *lines]


def _more(left: int) -> Iterator[str]:
    blank = " " * _COLOUR_WIDTH
    yield f"{blank}and {number(left)} more; `blueplane health PART` shows all of a part"


def _brief(name: str, part: Mapping[str, Any]) -> str:
    """Return the few figures of a part that say most, without those that are unknown."""
    words = _words(part)
    figures = _furthest_behind(part) if name == "workers" else part
    for path, label in _BRIEF.get(name, {}).items():
        value = _at(figures, path)
        if value is not None:
            words.append(_tied(f"{label} {_figure(path, value)}"))
    return ", ".join(words)


def _furthest_behind(part: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the figures of the worker that is furthest behind."""
    workers = [each for each in part.values() if isinstance(each, Mapping)]
    return max(workers, key=lambda each: each["backlog"] or 0, default={})


def _at(part: Mapping[str, Any], path: str) -> object:
    first, _, rest = path.partition(".")
    value = part.get(first)
    return _at(value, rest) if rest and isinstance(value, Mapping) else value


# --- a figure ---------------------------------------------------------------------------------


def _figures(part: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of every figure; of a balance, its laws as in ``status``."""
    for name, value in part.items():
        if name == "balance" and value is not None:
            yield from ((law, law_text(law, value)) for law in LAWS)
            yield "as_of", _figure("as_of", value["as_of"])
        elif name not in _NO_FIGURES:
            yield name, _figure(name, value)


def _when(at: int | str) -> str:
    at_ms = parse_iso_ms(at) if isinstance(at, str) else at
    return f"{moment(at_ms)}, {age(wall_ms() - at_ms)}"


def _megabytes(value: float) -> str:
    return f"{number(value)} MB" if value < _MB_PER_GB else size(value * _BYTES_PER_MB)


#: What the name of a figure has in it, and how such a figure is shown; the first that fits.
_UNITS: Final[Sequence[tuple[str, Callable[[Any], str]]]] = (
    ("_timestamp", _when),
    ("as_of", _when),
    ("_per_sec", lambda value: f"{number(value)}/s"),
    ("_per_min", lambda value: f"{number(value)}/min"),
    ("_rate", percent),
    ("_wait_s", lambda value: milliseconds(value * 1000)),
    ("_ms", milliseconds),
    ("_bytes", size),
    ("memory", size),
    ("_mb", _megabytes),
)


def _figure(name: str, value: Any) -> str:  # noqa: ANN401 - whatever JSON has
    """Show a figure with the unit that its name tells."""
    if isinstance(value, Mapping):
        return _group(value)
    if isinstance(value, list | tuple):
        return "; ".join(_figure(name, each) for each in value) or "none"
    fits = (show for unit, show in _UNITS if unit in name)
    if value is None or isinstance(value, bool):
        return shown(value)
    if isinstance(value, str):
        return _when(value) if next(fits, None) is _when else value
    return next(fits, number)(value)


def _group(values: Mapping[str, Any]) -> str:
    """Show figures that belong together; mere switches by their setting, for they may be many."""
    never_ran = values.get("installed") is False and not values.get("total_executions")
    if never_ran or values.get("state") == _ABSENT:
        return _ABSENT
    if values and all(isinstance(value, bool) for value in values.values()):
        by_setting = {
            word: [name for name in values if values[name] is word] for word in (True, False)
        }
        return "; ".join(
            f"{shown(word)}: {', '.join(names)}" for word, names in by_setting.items() if names
        )
    return ", ".join(_member(name, value) for name, value in values.items()) or "none"


def _member(name: str, value: object) -> str:
    if isinstance(value, Mapping | list | tuple) and value:
        return f"{name} ({_figure(name, value)})"
    return _tied(f"{name} {_figure(name, value)}")


def _tied(text: str) -> str:
    """Return a text that is not broken into lines, unless it is a long one."""
    return text.replace(" ", _TIE) if len(text) <= _MAX_TIED else text
