"""Settings: defaults, file, environment, and what is said about a wrong one."""

import os
import subprocess
import sys
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blueplane import config_file
from blueplane.config import SETTINGS, changes, load, settle
from blueplane.config_values import Value, parse, redact_url
from blueplane.errors import ConfigError
from blueplane.paths import Home
from helpers.configs import choices_of_all, nested, one_line

NOWHERE = Home(Path("/nonexistent/blueplane"))
LOADERS = [yaml.SafeLoader, config_file._LOADER]


def complaint(home: Home, text: str | bytes) -> str:
    """Return what is said about the configuration file ``text``."""
    home.config_file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        load(home, {})
    return str(caught.value)


def test_settings_are_the_defaults_when_nothing_is_chosen() -> None:
    """A home without a configuration file has the default of every setting in the table."""
    # Given a home without a file / When it is loaded
    found = load(NOWHERE, {})
    # Then every setting has its default
    assert {s.key: attrgetter(s.key)(found) for s in SETTINGS} == {
        s.key: s.default for s in SETTINGS
    }


def test_settings_are_documented_when_listed() -> None:
    """Every setting has one line of help, and a default that it would itself accept."""
    for setting in SETTINGS:
        # Given a setting / When its help and its default are looked at
        parsed = setting.default
        if setting.default is not None:
            parsed = parse(setting, one_line(setting.default))
        # Then they hold
        assert setting.help
        assert "\n" not in setting.help
        assert parsed == setting.default


@given(choices_of_all)
def test_environment_sets_every_setting_when_valid(chosen: dict[str, Value]) -> None:
    """What is written to the environment variable of a setting comes back as its value."""
    # Given valid values as text in the environment
    environ = {s.variable: one_line(chosen[s.key]) for s in SETTINGS if s.key in chosen}
    # When the settings are loaded
    found = load(NOWHERE, environ)
    # Then they are those values
    assert found == settle(chosen)
    assert {key: attrgetter(key)(found) for key in chosen} == chosen


@pytest.mark.parametrize("form", ["sections", "dotted"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chosen=choices_of_all)
def test_file_sets_every_setting_when_valid(
    tmp_path: Path, form: str, chosen: dict[str, Value]
) -> None:
    """A setting is read from the file, below its section or by its full key."""
    # Given valid values in a file
    home = Home(tmp_path)
    plain = {key: list(v) if isinstance(v, tuple) else v for key, v in chosen.items()}
    home.config_file.write_text(yaml.safe_dump(nested(plain) if form == "sections" else plain))
    # When the settings are loaded / Then they are those values
    assert load(home, {}) == settle(chosen)


def test_environment_wins_when_the_file_says_otherwise(home: Home) -> None:
    """The environment is stronger than the file, and an empty variable is as good as none."""
    # Given a file, and an environment with one value, one empty and foreign variables
    home.config_file.write_text("spool: {max_mb: 5, lease_days: 9}\n")
    environ = {
        "BLUEPLANE_SPOOL_MAX_MB": "6",
        "BLUEPLANE_SPOOL_LEASE_DAYS": "",
        "BLUEPLANE_HOME": "elsewhere",
        "BLUEPLANE_OF_ANOTHER_TOOL": "x",
    }
    # When the settings are loaded
    found = load(home, environ)
    # Then the variable with a value wins, and the others change nothing
    assert found.spool.max_mb == 6
    assert found.spool.lease_days == 9


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("BLUEPLANE_LOG_LEVEL", "loud", "'loud' is not one of debug, info, warning, error"),
        ("BLUEPLANE_SPOOL_MAX_MB", "many", "'many' is not a whole number from 1 to 100000"),
        ("BLUEPLANE_SPOOL_MAX_MB", "0", "'0' is not a whole number from 1 to 100000"),
        ("BLUEPLANE_PRIVACY_HASH_PROJECT_NAMES", "maybe", "'maybe' is not true or false"),
        ("BLUEPLANE_REDIS_KEY_PREFIX", "a b", "may hold up to 64 letters"),
        ("BLUEPLANE_FILTER_EVENT_TYPES", "canary,file_reed", "'file_reed' is not known; did you"),
        ("BLUEPLANE_FILTER_EVENT_TYPES", "zzz", "'zzz' is not one of those that docs/OPERATIONS"),
        ("BLUEPLANE_FILTER_HOOKS", "a b", "must be 1 to 64 letters, digits and any of _ . -"),
        ("BLUEPLANE_FILTER_PLATFORMS", "x" * 65, "must be 1 to 64 letters"),
        ("BLUEPLANE_FILTER_PROJECTS", "x" * 129, "must have 1 to 128 characters"),
        ("BLUEPLANE_FILTER_PROJECTS", "caf\udce9", "is not UTF-8"),
        ("BLUEPLANE_FILTER_WORKSPACES", "/a,b/c", "must begin with /, ~/ or file:///"),
        ("BLUEPLANE_FILTER_WORKSPACES", "~other/a", "must begin with /, ~/ or file:///"),
        ("BLUEPLANE_FILTER_WORKSPACES", "/a\0b", "must begin with /, ~/ or file:///"),
        ("BLUEPLANE_FILTER_WORKSPACES", "/" * 4097, "is longer than 4096 characters"),
        (
            "BLUEPLANE_LOG_LEVELS",
            "wirter=debug",
            "no component 'wirter' logs; did you mean writer?",
        ),
        ("BLUEPLANE_LOG_LEVELS", "?=debug", "no component '?' logs; known are capture, consumer"),
        ("BLUEPLANE_LOG_LEVELS", "writer", "write writer=LEVEL, where LEVEL is one of debug, info"),
        ("BLUEPLANE_LOG_LEVELS", "writer=loud", "write writer=LEVEL, where LEVEL is one of debug"),
        (
            "BLUEPLANE_FILTER_PROJECTS",
            ",".join(map(str, range(1001))),
            "has 1001 items; 1000 is the most",
        ),
    ],
)
def test_environment_is_refused_by_name_when_wrong(variable: str, value: str, says: str) -> None:
    """A wrong value in the environment names the variable and what is allowed."""
    # Given a wrong value / When it is loaded
    with pytest.raises(ConfigError) as caught:
        load(NOWHERE, {variable: value})
    # Then the message names the variable and the remedy
    assert str(caught.value).startswith(f"{variable} in the environment: {says}")


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "---\n", "redis:\nlog:\n", "redis: {url: null}", "\ufeff{}"]
)
def test_file_is_fine_when_it_holds_nothing(home: Home, text: str) -> None:
    """An empty file, one of comments, and empty sections choose nothing."""
    # Given a file without a value
    home.config_file.write_text(text)
    # When it is loaded / Then the defaults hold
    assert load(home, {}) == settle({})


@pytest.mark.parametrize("loader", LOADERS, ids=["python", "native"])
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("redis:\n  ulr: x", "2, column 3: no setting 'redis.ulr'; did you mean redis.url?"),
        ("spol: {max_mb: 1}", "1, column 8: no setting 'spol.max_mb'; did you mean spool."),
        ("zzzzzz: 1", "1, column 1: no setting 'zzzzzz'; docs/OPERATIONS.md lists"),
        ('"\\e[31m": 1', r"1, column 1: no setting '\x1b[31m'"),
        ("redis: 5", "1, column 1: redis is a section; write its keys below it"),
        ("redis: {mode: {a: 1}}", "1, column 16: no setting 'redis.mode.a'"),
        ("? [a]\n: b", "1, column 3: a key must be a word"),
        ("redis: {mode: [auto]}", "1, column 15: redis.mode: must be one of auto, private"),
        ("log: {level: loud}", "1, column 14: log.level: 'loud' is not one of debug"),
        ("log: {level: null}", "1, column 14: log.level: must be one of debug"),
        ("log: {level: 'a\n\n b'}", r"1, column 14: log.level: 'a\nb' is not one of"),
        ("spool: {max_mb: true}", "1, column 17: spool.max_mb: must be a whole number from 1"),
        ("spool: {max_mb: '5'}", "1, column 17: spool.max_mb: must be a whole number from 1"),
        ("spool: {max_mb: 1.5}", "1, column 17: spool.max_mb: must be a whole number from 1"),
        ("spool: {max_mb: 0}", "1, column 17: spool.max_mb: '0' is not a whole number"),
        (f"spool: {{max_mb: {'9' * 5000}}}", "1, column 17: spool.max_mb: '999"),
        ("redis: {key_prefix: 12}", "1, column 21: redis.key_prefix: must be text; put it in"),
        (
            "privacy: {hash_project_names: 1}",
            "1, column 31: privacy.hash_project_names: must be true or false",
        ),
        ("redis: {url: 'http://h'}", "1, column 14: redis.url: must begin with redis://"),
        ("redis: {url: 'unix://h'}", "1, column 14: redis.url: needs an absolute path"),
        ("redis: {mode: auto}\nredis: {}", "2, column 1: 'redis' is there twice; remove one"),
        ("log: {level: info, level: info}", "1, column 20: 'log.level' is there twice"),
        ("log.level: info\nlog: {level: info}", "2, column 7: 'log.level' is there twice"),
        ("redis: &a {mode: auto}\nlog: *a", "2, column 6: `*` repeats another value"),
        ("redis: &a\n  x: *a", "2, column 6: `*` repeats another value"),
        ("log: {level: !!python/name:os.system x}", "1, column 14: log.level: must be one of"),
        ("- a", "1, column 1: the file must hold `key: value` lines"),
        ("just words", "1, column 1: the file must hold `key: value` lines"),
        ("a: b: c", "1, column 5: mapping values are not allowed"),
        ("log:\n\tlevel: info", "2, column 1: found character"),
        ("a: 1\n---\nb: 2", "2, column 1: but found another document"),
        ("filter: {projects: a}", "1, column 20: filter.projects: must be a list; write `- `"),
        ("filter: {projects: [a, 7]}", "1, column 24: filter.projects: must be text; put it in"),
        ("filter: {projects: [[a]]}", "1, column 21: filter.projects: must be text; put it in"),
        ("filter: {projects: [null]}", "1, column 21: filter.projects: must be text; put it in"),
        (
            "filter: {projects: ['']}",
            "1, column 21: filter.projects: must have 1 to 128 characters",
        ),
        ("filter: {hooks: [ok, 'a b']}", "1, column 22: filter.hooks: must be 1 to 64 letters"),
        (
            f"filter: {{hooks: [{', '.join(['a'] * 1001)}]}}",
            "1, column 17: filter.hooks: has 1001 items; 1000 is the most",
        ),
    ],
)
def test_file_is_refused_with_its_place_when_wrong(
    home: Home, monkeypatch: pytest.MonkeyPatch, loader: type, text: str, says: str
) -> None:
    """A wrong line is named by file, line, column and key, in one line that says what to do."""
    # Given a wrong file, and either parser
    monkeypatch.setattr(config_file, "_LOADER", loader)
    # When it is loaded
    message = complaint(home, text)
    # Then the message says where and what
    assert message.startswith(f"{home.config_file}, line {says}")
    assert message.isprintable()
    assert len(message) < 400


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\xff\xfe", "not YAML: byte 0 is not UTF-8"),
        (b"log:\x00", "not YAML: character 4 is not allowed"),
        (b"#" * (config_file.MAX_FILE_BYTES + 1), "larger than 256 KB; keep only settings in it"),
    ],
    ids=["not-utf8", "control", "large"],
)
def test_file_is_refused_when_it_is_no_text(home: Home, data: bytes, says: str) -> None:
    """Bytes that are no text, and a file far too large, are named as such."""
    # Given such a file / When it is loaded / Then the message says so
    assert complaint(home, data) == f"{home.config_file}: {says}"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(alphabet="redis: {}[]modeurl.&*!|>-'\"\\\n\t#%1?é\x00", max_size=60))
def test_file_never_ends_in_a_foreign_error_when_it_is_noise(tmp_path: Path, text: str) -> None:
    """Whatever the file holds, the answer is settings or a one-line ConfigError."""
    # Given noise in the file
    home = Home(tmp_path)
    home.config_file.write_text(text)
    said = ""
    # When it is loaded
    try:
        load(home, {})
    except ConfigError as error:
        said = str(error)
    # Then it is valid, or refused in one line
    assert said.isprintable()


@pytest.mark.parametrize("text", ["[" * 100_000 + "]" * 100_000, "redis: " + "{a: " * 60_000])
def test_file_is_refused_when_it_is_nested_to_break_the_parser(home: Home, text: str) -> None:
    """A file of nested brackets is refused; it does not overflow the stack of the process."""
    # Given such a file, and a process of its own, as an overflow ends one
    home.config_file.write_text(text)
    script = "import os; from blueplane import config, paths; config.load(paths.default_home(), {})"
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    # When it is loaded
    command = [sys.executable, "-c", script]
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    # Then it is refused
    assert ended.returncode == 1
    assert "nested too deeply" in ended.stderr


@pytest.mark.fault("G9")
def test_file_is_refused_when_it_is_not_a_plain_file(home: Home) -> None:
    """A link, a directory or a pipe in the place of the file is refused and not waited for."""
    # Given a valid file elsewhere
    elsewhere = home.root / "elsewhere.yaml"
    elsewhere.write_text("log: {level: debug}")
    makers: dict[str, Callable[[Path], None]] = {
        "Too many levels of symbolic links": lambda path: path.symlink_to(elsewhere),
        "Is a directory": Path.mkdir,
    }
    for reason, make in makers.items():
        # When a link to it or a directory is there
        make(home.config_file)
        with pytest.raises(ConfigError) as caught:
            load(home, {})
        # Then it is refused
        assert str(caught.value).startswith(f"{home.config_file}: {reason}; make it a plain file")
        home.config_file.rename(home.root / reason)
    # When a pipe that nobody writes to is there / Then it is at least not waited for
    os.mkfifo(home.config_file)
    assert load(home, {}) == settle({})


def test_settings_are_refused_when_external_has_no_address() -> None:
    """The mode external needs an address; the message names the key and the variable."""
    # Given the mode without the address / When it is loaded
    with pytest.raises(ConfigError, match=r"redis\.url is not set; set it or BLUEPLANE_REDIS_URL"):
        load(NOWHERE, {"BLUEPLANE_REDIS_MODE": "external"})
    # Then with the address it is fine
    settle({"redis.mode": "external", "redis.url": "redis://localhost"})


@pytest.mark.parametrize("text", ["[a, b, a]", "\n  - a\n  - b\n  - a", "['a', \"b\"]"])
def test_list_has_each_item_once_when_the_file_repeats_one(home: Home, text: str) -> None:
    """A list keeps its order, and each of its items once."""
    # Given a list in the file
    home.config_file.write_text(f"filter:\n projects: {text}\n")
    # When it is loaded / Then each item is there once
    assert load(home, {}).filter.projects == ("a", "b")


def test_list_is_empty_when_the_file_has_only_its_name(home: Home) -> None:
    """A list whose items are all taken out is an empty one."""
    # Given the key without a value
    home.config_file.write_text("filter:\n  projects:\n  # - a\n")
    # When it is loaded / Then the list is empty
    assert load(home, {}).filter.projects == ()


def test_list_from_the_environment_drops_blanks_when_split_at_commas() -> None:
    """In the environment a comma separates items; blanks around one count for nothing."""
    # Given such a text / When it is loaded
    found = load(NOWHERE, {"BLUEPLANE_FILTER_WORKSPACES": " /a b ,, ~/c,file:///d,/a b,"})
    # Then these are the items
    assert found.filter.workspaces == ("/a b", "~/c", "file:///d")


def test_settings_are_refused_when_a_component_has_two_levels() -> None:
    """One component has one level."""
    # Given two / When they are loaded / Then they are refused
    with pytest.raises(ConfigError, match=r"log\.levels: writer is there twice; remove one"):
        load(NOWHERE, {"BLUEPLANE_LOG_LEVELS": "writer=info,main=info,writer=debug"})


@given(choices_of_all, choices_of_all)
def test_changes_names_exactly_the_keys_whose_values_differ(
    one: dict[str, Value], other: dict[str, Value]
) -> None:
    """What differs between two settings is named by its full keys, in the order of the table."""
    # Given two settings
    old, new = settle(one), settle(other)
    # When they are compared
    found = changes(old, new)
    # Then these are the keys
    defaults = {s.key: s.default for s in SETTINGS}
    assert found == tuple(
        key for key, default in defaults.items() if one.get(key, default) != other.get(key, default)
    )


def test_settle_refuses_when_a_key_is_unknown() -> None:
    """A caller that chooses a setting that does not exist is told the nearest one."""
    # Given a wrong key / When it is settled / Then the nearest is named
    with pytest.raises(ConfigError, match=r"did you mean log\.level\?"):
        settle({"log.lebel": "info"})
    # When a section is chosen / Then its keys are named
    with pytest.raises(ConfigError, match=r"log is a section; its keys are log\.level, "):
        settle({"log": "info"})


@pytest.mark.fault("G14")
@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=4))
def test_password_is_never_shown_when_the_address_has_one(words: str) -> None:
    """Neither a repr, nor the address for people, nor an error message shows the password."""
    # Given a password, in the address and as an option of it
    secret = "pw" + quote(words, safe="")
    urls = [
        f"redis://:{secret}@localhost:6379/0",
        f"rediss://me:{secret}@h",
        f"redis://h/1?db=2&password={secret}",
        f"unix://me:{secret}@/run/redis.sock",
    ]
    for url in urls:
        # When settings with it are shown
        found = load(NOWHERE, {"BLUEPLANE_REDIS_URL": url})
        # Then the value is whole, and nothing shown has the password
        assert found.redis.url == url
        assert secret not in repr(found)
        assert secret not in str(found.redis.shown_url)


@pytest.mark.fault("G14")
@pytest.mark.parametrize(
    "url",
    [
        "redis://u:pw#sword@h",
        "redis://u:12/pw@h",
        "redis://:pw?x@h",
        "redis://u:pw@[h",
        "http://pw",
    ],
)
def test_address_is_refused_without_quoting_it_when_ambiguous(url: str) -> None:
    """An address whose password could be taken for something else is refused and never shown."""
    # Given an address that cannot be read in one way only / When it is loaded
    with pytest.raises(ConfigError) as caught:
        load(NOWHERE, {"BLUEPLANE_REDIS_URL": url})
    # Then it is refused without a piece of it
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://me@h", "redis://me@h"),
        ("rediss://me:a@b@h:1/2?db=3", "rediss://me:***@h:1/2?db=3"),
        ("redis://:pw@h?password=pw&ssl_keyfile=k", "redis://:***@h?password=***&ssl_keyfile=***"),
        ("redis://u:p#w@h", "redis://***"),
    ],
)
def test_redact_url_keeps_the_place_when_it_hides_the_password(url: str, shown: str) -> None:
    """A redacted address still says where the server is."""
    # Given an address / When it is redacted / Then only secrets are gone
    assert redact_url(url) == shown
