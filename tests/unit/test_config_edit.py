"""Changes of the configuration file: the one setting, and nothing else."""

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import get_native_id
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blueplane import config_text
from blueplane.config import BY_KEY, SETTINGS, in_file, load
from blueplane.config_edit import add_item, remove_item, set_value, unset
from blueplane.errors import ConfigError, HomeError
from blueplane.paths import Home
from helpers.config_texts import COMMENT, texts
from helpers.configs import choices_of_all, valid_values

#: Where the new file is written before it takes the place of the old one.
STAGED = f".config.yaml.blueplane-new-{os.getpid()}-{get_native_id()}"
LISTS = [setting.key for setting in SETTINGS if setting.many]
#: What a strange file is made of.
PIECES = [
    "log", "level", "max_mb", "filter", "hooks", "info", "7", "a", ":", ": ", " ", "  ", "\n",
    "\n  ", "\n- ", "{", "}", "[", "]", ",", "'", '"', "# c\n", "#", "? ", "|\n  ", ">-\n  ",
    "!!str ", "&x ", "---\n", "...\n", "\ufeff", "\r\n", "null", "~", "log.level: ", "log: {",
    "filter:\n  hooks: [",
]  # fmt: skip
#: Drawn files are many and the parser in Python is slow.
drawn = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)


def known(chosen: dict[str, Any]) -> dict[str, Any]:
    """Return settings as they compare: the order of a list says nothing, an empty one is none."""
    plain = {key: sorted(v) if isinstance(v, tuple) else v for key, v in chosen.items()}
    return {key: value for key, value in plain.items() if value != []}


def together(chosen: dict[str, Any]) -> bool:
    """Whether the values go together."""
    return chosen.get("redis.mode") != "external" or chosen.get("redis.url") is not None


def comments(text: str) -> list[str]:
    """Return the comments of a drawn file."""
    return re.findall(COMMENT, text)


def change(data: st.DataObject, home: Home, before: dict[str, Any]) -> dict[str, Any]:
    """Change one thing; return what must hold then."""
    key = data.draw(st.sampled_from([*BY_KEY, *before]))
    after = dict(before)
    if key in LISTS and data.draw(st.booleans()):
        old = before.get(key, ())
        item = data.draw(st.sampled_from(old) if old else valid_values(BY_KEY[key]).map(first))
        if item is None or item in old:
            remove_item(home, key, str(item))
            return {**after, key: tuple(each for each in old if each != item)}
        add_item(home, key, item)
        return {**after, key: (*old, item)}
    if data.draw(st.integers(0, 3)) == 0:
        after.pop(key, None)
        if together(after):
            unset(home, key)
        else:
            refuses(home, lambda: unset(home, key))
            after = before
        return after
    after[key] = data.draw(valid_values(BY_KEY[key]))
    if together(after):
        set_value(home, key, after[key])
    else:
        refuses(home, lambda: set_value(home, key, after[key]))
        after = before
    return after


def first(items: tuple[str, ...]) -> str | None:
    """Return the first of some items, if there is one."""
    return items[0] if items else None


def refuses(home: Home, work: Callable[[], object]) -> None:
    """See ``work`` refused, and the file as it was."""
    before = home.config_file.read_bytes()
    with pytest.raises(ConfigError, match=r"redis\.url is not set"):
        work()
    assert home.config_file.read_bytes() == before


@drawn
@given(data=st.data(), chosen=choices_of_all)
def test_change_keeps_everything_else_when_a_person_wrote_the_file(
    tmp_path: Path, data: st.DataObject, chosen: dict[str, Any]
) -> None:
    """After changes each other setting has its value, and every comment is there, in its order."""
    # Given a file in any form that people use
    home = Home(tmp_path)
    text = data.draw(texts(chosen))
    home.config_file.write_bytes(text.encode())
    assert known(in_file(home)) == known(chosen)
    for _ in range(3):
        # When one thing is changed
        chosen = change(data, home, chosen)
        # Then that changed, and nothing else
        assert known(in_file(home)) == known(chosen)
        now = home.config_file.read_bytes().decode()
        assert comments(now) == comments(text)
        assert "\n" not in now.replace("\r\n", "") or "\r\n" not in text


@drawn
@given(data=st.data(), chosen=choices_of_all)
def test_set_touches_only_one_place_when_it_changes_a_value(
    tmp_path: Path, data: st.DataObject, chosen: dict[str, Any]
) -> None:
    """A new key is only inserted, and of an old one only the value is another."""
    # Given a file, and a setting that is not a list
    home = Home(tmp_path)
    text = data.draw(texts(chosen))
    home.config_file.write_bytes(text.encode())
    key = data.draw(st.sampled_from([key for key in BY_KEY if key not in LISTS]))
    value = data.draw(valid_values(BY_KEY[key]))
    if not together({**chosen, key: value}):
        return
    # When it is set
    changed = set_value(home, key, value)
    # Then at most the old value is gone from between what is before and behind it
    now = home.config_file.read_bytes().decode()
    before = alike(text, now)
    behind = alike(text[before:][::-1], now[before:][::-1])
    gone = text[before : len(text) - behind].strip("'\"")
    old = json.dumps(chosen.get(key)).strip('"')
    assert changed == (text != now)
    assert changed or chosen[key] == value
    assert gone in old or (key not in chosen and gone == "{}")


def alike(one: str, other: str) -> int:
    """Return how many characters two texts have in common at their beginnings."""
    pairs = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


@drawn
@given(text=st.lists(st.sampled_from(PIECES), max_size=16).map("".join))
def test_change_is_right_or_refused_when_the_file_is_noise(tmp_path: Path, text: str) -> None:
    """Whatever the file is, a change is made whole or refused, and then the file is untouched."""
    # Given noise
    home = Home(tmp_path)
    home.config_file.write_bytes(text.encode())
    for work, expected in (
        (lambda: set_value(home, "log.level", "error"), {"log.level": "error"}),
        (lambda: add_item(home, "filter.hooks", "x"), {"filter.hooks": ["x"]}),
        (lambda: unset(home, "log.level"), {"log.level": None}),
    ):
        before = home.config_file.read_bytes()
        was: dict[str, Any] | None = None
        # When it is changed
        with suppress(ConfigError):
            was = known(in_file(home))
            was = work() and {**was, **expected}
        # Then it is refused and as it was, or only that is another
        if was and home.config_file.read_bytes() != before:
            assert known(in_file(home)) == {key: value for key, value in was.items() if value}
        else:
            assert home.config_file.read_bytes() == before


@pytest.mark.parametrize(
    ("before", "work", "after"),
    [
        (None, lambda h: set_value(h, "log.level", "debug"), "log:\n  level: debug\n"),
        ("# a", lambda h: set_value(h, "log.level", "debug"), "# a\nlog:\n  level: debug\n"),
        (
            "log:\r\n    level: info # why\r\n",
            lambda h: set_value(h, "log.max_mb", 5),
            "log:\r\n    level: info # why\r\n    max_mb: 5\r\n",
        ),
        ("log: {level: 'info'}", lambda h: unset(h, "log.level"), "log: {}"),
        (
            "log:\n  level: info  # why\n  max_mb: 3\n",
            lambda h: unset(h, "log.level"),
            "log:\n  # why\n  max_mb: 3\n",
        ),
        ("redis:\n  url:  # none\n", lambda h: set_value(h, "redis.url", "redis://h"),
         "redis:\n  url: 'redis://h'  # none\n"),
        ("{}", lambda h: add_item(h, "filter.hooks", "yes"), "{filter: {hooks: ['yes']}}"),
        (
            "filter:\n",
            lambda h: add_item(h, "filter.projects", "it's\u200b\\"),
            'filter:\n  projects:\n    - "it\'s\\U0000200b\\\\"\n',
        ),
        (
            "filter:\n  hooks:\n  - a # one\n  # two\n  - b\n",
            lambda h: remove_item(h, "filter.hooks", "a"),
            "filter:\n  hooks:\n  # one\n  # two\n  - b\n",
        ),
        (
            "filter: {hooks: [a, b, a]}",
            lambda h: remove_item(h, "filter.hooks", "a"),
            "filter: {hooks: [b]}",
        ),
        (
            "filter: {hooks: [a, # one\n  b]}",
            lambda h: remove_item(h, "filter.hooks", "a"),
            "filter: {hooks: [ # one\n  b]}",
        ),
        (
            "filter:\n  hooks: [a, b] # both\n",
            lambda h: set_value(h, "filter.hooks", ("b", "c")),
            "filter:\n  hooks: [b, c] # both\n",
        ),
        (
            "redis:\n  key_prefix: >-\n    a\n\n# end\n",
            lambda h: set_value(h, "redis.mode", "private"),
            "redis:\n  key_prefix: >-\n    a\n  mode: private\n\n# end\n",
        ),
    ],
)  # fmt: skip
def test_file_is_exactly_this_when_changed(
    home: Home, before: str | None, work: Callable[[Home], bool], after: str
) -> None:
    """A change looks as if a careful person had made it."""
    # Given a file, or none
    if before is not None:
        home.config_file.write_bytes(before.encode())
    # When it is changed
    changed = work(home)
    # Then it is exactly this, for its owner only, and a second time it stays
    assert changed
    assert home.config_file.read_bytes().decode() == after
    assert stat.S_IMODE(home.config_file.stat().st_mode) == 0o600
    assert not work(home)
    assert home.config_file.read_bytes().decode() == after


@pytest.mark.parametrize(
    ("text", "work", "says"),
    [
        ("log: {level: loud}", lambda h: set_value(h, "log.level", "info"), "'loud' is not one of"),
        ("log: [", lambda h: unset(h, "log.level"), ", line "),
        (
            "redis:\n  key_prefix: |- # why\n    a\n",
            lambda h: set_value(h, "redis.key_prefix", "b"),
            "redis.key_prefix cannot be changed without losing something else that is written",
        ),
        ("", lambda h: set_value(h, "log.lebel", "info"), "did you mean log.level?"),
        ("", lambda h: add_item(h, "log.level", "info"), "log.level: is not a list"),
        ("", lambda h: add_item(h, "filter.hooks", "a b"), "filter.hooks: must be 1 to 64 letters"),
        ("", lambda h: set_value(h, "redis.mode", "external"), "redis.url is not set"),
        (
            "#" * 262_144,
            lambda h: set_value(h, "log.level", "info"),
            "would become larger than it may be",
        ),
    ],
)
def test_change_is_refused_when_it_cannot_be_made_alone(
    home: Home, text: str, work: Callable[[Home], bool], says: str
) -> None:
    """A wrong file, a wrong key, and what would touch something else, are refused in one line."""
    # Given a file
    home.config_file.write_text(text)
    # When it is changed
    with pytest.raises(ConfigError) as caught:
        work(home)
    # Then it is refused and as it was
    assert says in str(caught.value)
    assert str(caught.value).isprintable()
    assert home.config_file.read_text() == text


def test_environment_counts_when_values_must_go_together(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file may rely on an address that the environment has."""
    # Given an address in the environment
    monkeypatch.setenv("BLUEPLANE_REDIS_URL", "redis://h")
    # When the file asks for a server of one's own / Then that is fine
    assert set_value(home, "redis.mode", "external")
    assert load(home, os.environ).redis.mode == "external"


def test_every_item_is_there_when_many_are_added_at_once(home: Home) -> None:
    """Two changes at the same time are made one after the other."""
    # Given many items
    items = [f"item-{number}" for number in range(24)]
    # When they are added by several threads at once
    with ThreadPoolExecutor(8) as pool:
        changed = list(pool.map(lambda item: add_item(home, "filter.hooks", item), items))
    # Then none is missing
    assert all(changed)
    assert sorted(load(home, {}).filter.hooks) == sorted(items)


@pytest.mark.fault("G9")
@pytest.mark.parametrize("name", ["config.yaml", STAGED], ids=["file", "staged"])
@pytest.mark.parametrize("make", [os.symlink, os.link], ids=["symlink", "hardlink"])
def test_other_file_is_untouched_when_a_link_to_it_is_planted(
    home: Home, name: str, make: Callable[[Path, Path], None]
) -> None:
    """A link in the place of the file, or of the one that will replace it, leads nowhere."""
    # Given a file of somebody else with a link to it
    other = home.root / "other"
    other.write_text("log:\n  level: info\n")
    other.chmod(0o644)
    make(other, home.root / name)
    # When a setting is changed
    if make is os.symlink and name == "config.yaml":
        with pytest.raises(ConfigError, match="make it a plain file"):
            set_value(home, "log.level", "debug")
    else:
        set_value(home, "log.level", "debug")
        assert load(home, {}).log.level == "debug"
    # Then the other file is as it was
    assert other.read_text() == "log:\n  level: info\n"
    assert stat.S_IMODE(other.stat().st_mode) == 0o644


@pytest.mark.fault("C2")
def test_file_is_as_it_was_when_the_disk_is_full(home: Home) -> None:
    """A change that cannot be written leaves the old file, and nothing else."""
    # Given a file, and a process whose files may not grow, which fails like a full disk
    text = "# kept\nlog:\n  level: info\n"
    home.config_file.write_text(text)
    script = """
import resource
from blueplane import config_edit, errors, paths
resource.setrlimit(resource.RLIMIT_FSIZE, (4, resource.RLIM_INFINITY))
try:
    config_edit.set_value(paths.default_home(), 'log.level', 'debug')
except errors.HomeError as error:
    print(error)
"""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    # When it changes a setting
    command = [sys.executable, "-c", script]
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    # Then it says so, and the file is the old one
    assert ended.stdout.startswith(f"{home.config_file}: "), ended.stderr
    assert ended.stdout.endswith("; it is as it was\n")
    assert home.config_file.read_text() == text
    assert not list(home.root.glob(".config*"))


def test_change_is_an_error_of_the_home_when_it_cannot_be_written(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failing replacement is told in one line, and the file is the old one."""

    # Given a system that refuses to put one file in the place of another
    def fail(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "replace", fail)
    # When a setting is changed
    with pytest.raises(HomeError, match=r"config\.yaml: Permission denied; it is as it was"):
        set_value(home, "log.level", "debug")
    # Then nothing is there
    assert not home.config_file.exists()
    assert not list(home.root.glob(".config*"))


@pytest.mark.parametrize(
    "text", ["a", "a b", "~", "0b_", "yes", "1", "a: b", "- a", "é", "\n", "'", '"\\']
)
def test_text_comes_back_when_it_is_written(home: Home, text: str) -> None:
    """Whatever a project is called, its name can be added to a list, and removed."""
    # Given a list with something in it, in either form
    for before in ("filter: {projects: [x]}", "filter:\n  projects:\n    - x\n"):
        home.config_file.write_text(before)
        # When the name is added
        add_item(home, "filter.projects", text)
        # Then it is there, and can be taken out
        assert load(home, {}).filter.projects == ("x", text)
        remove_item(home, "filter.projects", text)
        assert home.config_file.read_text() == before


@given(st.text(min_size=1, max_size=20))
def test_any_text_is_written_so_that_yaml_reads_it(text: str) -> None:
    """What is written for a text is read back as that text."""
    # Given any text / When it is written and read / Then it is the same
    assert yaml.safe_load(f"[{config_text._text(text)}]") == [text]
