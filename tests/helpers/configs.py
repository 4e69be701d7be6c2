"""Settings drawn at random, and the texts that hold them.

Owns what hypothesis draws for every setting of the table.
Promises that everything drawn is valid, alone and together.
Leaves what must hold of them to the tests.
"""

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from blueplane.config import SETTINGS
from blueplane.config_values import Setting, Value
from blueplane.logs import COMPONENTS

WORDS = st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True)
LEVELS = ("debug", "info", "warning", "error")

_TEXTS: dict[str, st.SearchStrategy[Any]] = {
    "redis.url": st.sampled_from(["redis://localhost", "rediss://h:1/2?db=3", "unix:///r.sock"]),
    "redis.key_prefix": st.from_regex(r"[A-Za-z0-9_.:{}-]{1,64}", fullmatch=True),
    "capture.claude_dirs": st.builds("{}{}".format, st.sampled_from(["/", "~/"]), WORDS),
    "capture.cursor_data": st.builds("{}{}".format, st.sampled_from(["/", "~/"]), WORDS),
    "capture.cursor_home": st.builds("{}{}".format, st.sampled_from(["/", "~/"]), WORDS),
    "prices.models": st.builds("{} input={} output=0.25".format, WORDS, st.integers(0, 99)),
    "filter.workspaces": st.builds("{}{}".format, st.sampled_from(["/", "~/"]), WORDS),
}


def valid_values(setting: Setting) -> st.SearchStrategy[Any]:
    """Draw what ``setting`` accepts; items of lists have no comma in them."""
    if setting.key == "log.levels":
        chosen = st.dictionaries(st.sampled_from(COMPONENTS), st.sampled_from(LEVELS))
        return chosen.map(lambda levels: tuple(f"{name}={v}" for name, v in levels.items()))
    if setting.many:
        items = _TEXTS.get(setting.key, WORDS)
        if setting.choices:
            items = st.sampled_from(setting.choices)
        return st.lists(items, max_size=4, unique=True).map(tuple)
    if setting.choices:
        return st.sampled_from(setting.choices)
    if setting.kind is int:
        return st.integers(setting.least, setting.most)
    return st.booleans() if setting.kind is bool else _TEXTS[setting.key]


choices_of_all = st.fixed_dictionaries(
    {},
    optional={setting.key: valid_values(setting) for setting in SETTINGS},
).filter(lambda chosen: chosen.get("redis.mode") != "external" or "redis.url" in chosen)


def one_line(value: Value) -> str:
    """Write a value as the environment has it."""
    return ",".join(value) if isinstance(value, tuple) else str(value)


def nested(chosen: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Put each value below its section."""
    found: dict[str, dict[str, Any]] = {}
    for key, value in chosen.items():
        section, _, name = key.partition(".")
        found.setdefault(section, {})[name] = value
    return found
