"""Changes of the configuration file that touch nothing but one setting.

Owns the editing of ``config.yaml``: a value set or taken out, an item of a list added or removed.
Promises that every other value, every comment and the order stay as they were, that a change which
cannot keep them is refused, and that the file is at any time the old or the new one, 0600.
Leaves the text to ``config_text.py``, and telling the running server to whoever made the change.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import yaml

from blueplane import config_file
from blueplane.config import BY_KEY, find, in_environment, settle
from blueplane.config_text import ABSENT, comments, rewrite
from blueplane.config_values import Setting, Value, parse_items
from blueplane.errors import ConfigError, HomeError
from blueplane.lock import one_at_a_time
from blueplane.paths import Home, private_directory, replacing

_Chosen = dict[str, Value]


def set_value(home: Home, key: str, value: Value) -> bool:
    """Set ``key``, a valid ``value``; return whether that changed the file.

    Raises ConfigError for an unknown key, for a file that is wrong already and for one that would
    be afterwards; HomeError when the file cannot be written.
    """
    return _edit(home, key, lambda chosen: {**chosen, key: value})


def unset(home: Home, key: str) -> bool:
    """Take ``key`` out, so that its default holds; return and raise as ``set_value``."""
    return _edit(home, key, lambda chosen: {k: v for k, v in chosen.items() if k != key})


def add_item(home: Home, key: str, item: str) -> bool:
    """Add ``item`` to the list ``key``, if it is not there; return and raise as ``set_value``."""
    return _edit(home, key, lambda chosen: {**chosen, key: _with(key, _items(chosen, key), item)})


def remove_item(home: Home, key: str, item: str) -> bool:
    """Remove ``item`` from the list ``key``; return and raise as ``set_value``."""

    def without(chosen: _Chosen) -> _Chosen:
        items = _items(chosen, key)
        return {**chosen, key: tuple(i for i in items if i != item)} if item in items else chosen

    return _edit(home, key, without)


def _items(chosen: _Chosen, key: str) -> tuple[str, ...]:
    items = chosen.get(key, ())
    if not find(key).many or not isinstance(items, tuple):
        message = f"{key}: is not a list"
        raise ConfigError(message)
    return items


def _with(key: str, items: tuple[str, ...], item: str) -> tuple[str, ...]:
    try:
        return parse_items(find(key), [*items, item])
    except ValueError as error:
        message = f"{key}: {error}"
        raise ConfigError(message) from None


# --- the file ------------------------------------------------------------------------------------


def _edit(home: Home, key: str, change: Callable[[_Chosen], _Chosen]) -> bool:
    setting = find(key)
    with _alone(home):
        data = config_file.read(home.config_file) or b""
        before = config_file.values(home.config_file, data, BY_KEY)
        after = change(before)
        text = data.decode("utf-8")
        changed = _changed(home, text, setting, (before, after))
        if changed == text:
            return False
        settle({**after, **in_environment(os.environ)})
        _replace(home, changed.encode("utf-8"))
    return True


@contextmanager
def _alone(home: Home) -> Iterator[None]:
    """Have two commands at once change the file one after the other."""
    private_directory(home.root)
    private_directory(home.run)
    with one_at_a_time(home.run):
        yield


def _replace(home: Home, data: bytes) -> None:
    try:
        with replacing(home.config_file) as stream:
            stream.write(data)
    except OSError as error:
        message = f"{home.config_file}: {error.strerror}; it is as it was"
        raise HomeError(message) from None


def _changed(home: Home, text: str, setting: Setting, chosen: tuple[_Chosen, _Chosen]) -> str:
    """Return ``text`` with the change, proved to be that change and nothing else."""
    before, after = chosen
    old, new = before.get(setting.key, ABSENT), after.get(setting.key, ABSENT)
    if old == new:
        return text
    refused = f"{home.config_file}: {setting.key} cannot be changed without losing something else"
    message = f"{refused} that is written there; change it in an editor"
    try:
        changed = rewrite(text, setting.key, old, new)
        data = changed.encode("utf-8")
        found = config_file.values(home.config_file, data, BY_KEY)
        kept = comments(changed) == comments(text)
    except (yaml.YAMLError, ConfigError):
        raise ConfigError(message) from None
    if not kept or not _alike(found, after):
        raise ConfigError(message)
    if len(data) > config_file.MAX_FILE_BYTES:
        message = f"{home.config_file}: would become larger than it may be; remove something"
        raise ConfigError(message)
    return changed


def _alike(one: Mapping[str, Value], other: Mapping[str, Value]) -> bool:
    """Compare settings; the order of a list says nothing, and an empty list is none."""

    def known(chosen: Mapping[str, Value]) -> dict[str, Any]:
        plain = {k: sorted(v) if isinstance(v, tuple) else v for k, v in chosen.items()}
        return {k: v for k, v in plain.items() if v != []}

    return known(one) == known(other)
