"""Filter rules as a person knows them, each with what it left out.

Owns the way back from the name of a rule in the database to the words of the configuration.
Promises every rule that is configured and every one that ever left something out, once.
Leaves the rules to ``capture/filters.py`` and showing them to the commands.
"""

from collections.abc import Iterable
from typing import Final

from blueplane.capture.rule_names import CURSOR_COMPATIBILITY, NO_RULES, UNKNOWN_PLACE
from blueplane.config import FilterSettings
from blueplane.interfaces.cli.lazy import load
from blueplane.interfaces.cli.output import Row
from blueplane.paths import Home
from blueplane.store.queries import RuleCount

#: Rules of our own: as they are stored, their kind and the words for them.
_OWN: Final = {
    CURSOR_COMPATIBILITY: ("built in", CURSOR_COMPATIBILITY),
    UNKNOWN_PLACE: ("built in", "unknown workspace"),
}


def filter_rules(home: Home, settings: FilterSettings, counts: Iterable[RuleCount]) -> list[Row]:
    """Return a row a rule: those of the configuration in its order, then the others.

    Keys: ``kind``; ``rule``, in clear while it is configured; ``name``, as it is stored;
    ``configured``; ``events``; ``last_ms``, None for never.
    """
    counted = {each.rule: each for each in counts if each.outcome == "filtered"}
    known = _configured(home, settings)
    others = [name for name in counted if name not in known]
    rows = [(*words, name, True) for name, words in known.items()]
    rows += [(*_words(name), name, name in _OWN) for name in others]
    return [
        {
            "kind": kind,
            "rule": rule,
            "name": name,
            "configured": configured,
            "events": counted[name].count if name in counted else 0,
            "last_ms": counted[name].last_ms if name in counted else None,
        }
        for kind, rule, name, configured in rows
    ]


def kind_words(kind: str) -> str:
    """Show a kind of rule."""
    return kind.replace("_", " ")


def _configured(home: Home, settings: FilterSettings) -> dict[str, tuple[str, str]]:
    if settings == NO_RULES:
        return {}  # asks for no secret, which a home without a server does not have
    return dict(load("configured_rules", "configured")(home, settings))


def _words(name: str) -> tuple[str, str]:
    """Say what is known of a rule that is not configured: of a place only its hash."""
    kind, _, item = name.partition(":")
    return _OWN.get(name, (kind, item))
