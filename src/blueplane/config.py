"""Settings: what the user may choose, and what holds when nothing is chosen.

Owns the table ``SETTINGS``: every key with its type, default, range and meaning, once.
Promises that a ``Settings`` is complete and valid, and that no message or repr shows a password.
Leaves it to the readers of a setting to do something with it.

A value comes from the environment (``redis.url`` is ``BLUEPLANE_REDIS_URL``; an empty variable is
as good as none), else from ``config.yaml`` in the home directory, else from the table.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal, get_args
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

import yaml

from blueplane.errors import ConfigError
from blueplane.paths import Home, private_file

RedisMode = Literal["auto", "private", "external"]
PrivacyLevel = Literal["strict", "balanced", "full"]
LogLevel = Literal["debug", "info", "warning", "error"]

#: Bytes; a larger configuration file is somebody's mistake.
MAX_FILE_BYTES: Final = 256 * 1024
#: Mappings within mappings; a setting needs two.
MAX_DEPTH: Final = 8
#: Characters of a foreign key or value that a message quotes.
MAX_QUOTED: Final = 60

_BOOLEANS: Final = {
    "true": True, "yes": True, "on": True, "1": True,
    "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip
_TYPE_NAMES: Final = {str: "text", int: "a whole number", bool: "true or false"}
_YAML_TAGS: Final = {kind: f"tag:yaml.org,2002:{kind.__name__}" for kind in _TYPE_NAMES}
_YAML_NULL: Final = "tag:yaml.org,2002:null"
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """Where the queue lives. ``url`` may hold a password: show ``shown_url`` instead."""

    mode: RedisMode
    url: str | None = field(repr=False)
    key_prefix: str

    @property
    def shown_url(self) -> str | None:
        """The address without any password, for people and logs."""
        return None if self.url is None else redact_url(self.url)


@dataclass(frozen=True, slots=True)
class PrivacySettings:
    """What may be stored."""

    level: PrivacyLevel
    hash_project_names: bool


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """The bounds of the hand-off directory."""

    max_mb: int
    lease_days: int


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """The in-flight window of the stream."""

    max_entries: int
    max_mb: int


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """How the writer treats what fails."""

    max_retries: int


@dataclass(frozen=True, slots=True)
class LogSettings:
    """The server's log."""

    level: LogLevel
    max_mb: int


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting, complete and valid."""

    redis: RedisSettings
    privacy: PrivacySettings
    spool: SpoolSettings
    queue: QueueSettings
    pipeline: PipelineSettings
    log: LogSettings


_SECTIONS: Final[dict[str, Callable[..., Any]]] = {
    "redis": RedisSettings,
    "privacy": PrivacySettings,
    "spool": SpoolSettings,
    "queue": QueueSettings,
    "pipeline": PipelineSettings,
    "log": LogSettings,
}


def _check_url(url: str) -> str | None:
    """Return what is wrong with a Redis address, without quoting it."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # parsed at this access only
    except ValueError:
        return "is not an address; for example redis://localhost:6379/0"
    if parts.scheme not in {"redis", "rediss", "unix"} or not url.isprintable() or " " in url:
        return "must begin with redis://, rediss:// or unix://, and hold no spaces"
    if _is_ambiguous(parts):
        return "write @ / ? # in a name or password as %40 %2F %3F %23"
    if parts.scheme == "unix" and not parts.path.startswith("/"):
        return "needs an absolute path; for example unix:///run/redis/redis.sock"
    return None


def _is_ambiguous(parts: SplitResult) -> bool:
    """Tell whether a piece of a password may have been taken for a host, path or option."""
    return bool(parts.fragment) or "@" in parts.path + parts.query


def _check_prefix(prefix: str) -> str | None:
    """Return what is wrong with a prefix of keys."""
    if re.fullmatch(r"[A-Za-z0-9_.:{}-]{0,64}", prefix):
        return None
    return "may hold up to 64 letters, digits and any of _ . : { } -"


@dataclass(frozen=True, slots=True)
class Setting:
    """One key: its type, its default and what it means.

    ``least`` and ``most`` bound a number (inclusive), ``choices`` lists the words allowed, and
    ``check`` returns what is wrong with a text, or None. A ``nullable`` setting may be None.
    """

    key: str
    kind: type[str] | type[int] | type[bool]
    default: str | int | bool | None
    help: str
    choices: tuple[str, ...] = ()
    least: int = 0
    most: int = 0
    nullable: bool = False
    check: Callable[[str], str | None] | None = None

    @property
    def variable(self) -> str:
        """The environment variable that overrides this setting."""
        return "BLUEPLANE_" + self.key.replace(".", "_").upper()

    @property
    def allowed(self) -> str:
        """What values are allowed, for people."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.kind is int:
            return f"a whole number from {self.least} to {self.most}"
        return _TYPE_NAMES[self.kind]


SETTINGS: Final = (
    Setting(
        "redis.mode", str, "auto",
        "where the queue lives: redis.url if set, else a private server (auto); always a private "
        "server (private); always redis.url (external)",
        choices=get_args(RedisMode),
    ),
    Setting(
        "redis.url", str, None,
        "address of a Redis of your own: redis://, rediss:// or unix://",
        nullable=True, check=_check_url,
    ),
    Setting(
        "redis.key_prefix", str, "",
        "put before the name of every key, to share one Redis between several homes",
        check=_check_prefix,
    ),
    Setting(
        "privacy.level", str, "strict",
        "what is stored: no texts and no paths (strict), also paths, branches and command names "
        "(balanced), everything (full)",
        choices=get_args(PrivacyLevel),
    ),
    Setting(
        "privacy.hash_project_names", bool,
        default=False,
        help="store a keyed hash instead of a project's name",
    ),
    Setting(
        "spool.max_mb", int, 256,
        "size of the hand-off directory at which hooks stop adding to it, in MB",
        least=1, most=100_000,
    ),
    Setting(
        "spool.lease_days", int, 7,
        "days after the server last ran at which hooks stop collecting",
        least=1, most=3650,
    ),
    Setting(
        "queue.max_entries", int, 20_000,
        "events in the queue at which the sources wait",
        least=100, most=1_000_000,
    ),
    Setting(
        "queue.max_mb", int, 64,
        "size of the queue at which the sources wait, in MB",
        least=1, most=10_000,
    ),
    Setting(
        "pipeline.max_retries", int, 3,
        "failures of one event after which it becomes a dead letter",
        least=1, most=100,
    ),
    Setting(
        "log.level", str, "info",
        "the least severe lines that the log keeps",
        choices=get_args(LogLevel),
    ),
    Setting(
        "log.max_mb", int, 10,
        "size at which the log is rotated, in MB; three older files are kept",
        least=1, most=1000,
    ),
)  # fmt: skip

_BY_KEY: Final = {setting.key: setting for setting in SETTINGS}

Value = str | int | bool | None


def load(home: Home, environ: Mapping[str, str]) -> Settings:
    """Read the settings of ``home``; ``environ`` wins over the file.

    Raises ConfigError, one line that names file or variable, key and remedy. A home without a
    configuration file has the defaults.
    """
    return settle({**_read_file(home.config_file), **_read_environment(environ)})


def settle(chosen: Mapping[str, Value]) -> Settings:
    """Fill up ``chosen`` (full key to valid value) with the defaults.

    Raises ConfigError for an unknown key and for values that do not go together.
    """
    for key in chosen:
        if key not in _BY_KEY:
            raise ConfigError(_unknown(key))
    values: dict[str, dict[str, Value]] = {name: {} for name in _SECTIONS}
    for setting in SETTINGS:
        section, _, name = setting.key.partition(".")
        values[section][name] = chosen.get(setting.key, setting.default)
    settings = Settings(**{name: make(**values[name]) for name, make in _SECTIONS.items()})
    if settings.redis.mode == "external" and settings.redis.url is None:
        message = (
            "redis.mode is external, and redis.url is not set; "
            f"set it or {_BY_KEY['redis.url'].variable}, or use redis.mode auto"
        )
        raise ConfigError(message)
    return settings


def redact_url(url: str) -> str:
    """Return ``url`` without its password and without the values of its options, except ``db``."""
    parts = urlsplit(url)
    if _is_ambiguous(parts):
        return f"{parts.scheme}://***"
    user, at, host = parts.netloc.rpartition("@")
    name, colon, _ = user.partition(":")
    hidden = [(key, value if key == "db" else "***") for key, value in parse_qsl(parts.query)]
    login = f"{name}{colon}{'***' if colon else ''}{at}"
    query = "?" + urlencode(hidden, safe="*", quote_via=quote) if hidden else ""
    return f"{parts.scheme}://{login}{host}{parts.path}{query}"


# --- the environment -----------------------------------------------------------------------------


def _read_environment(environ: Mapping[str, str]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for setting in SETTINGS:
        text = environ.get(setting.variable)
        if text:
            try:
                found[setting.key] = _parse(setting, text)
            except ValueError as error:
                message = f"{setting.variable} in the environment: {error}"
                raise ConfigError(message) from None
    return found


# --- the file ------------------------------------------------------------------------------------


def _read_file(path: Path) -> dict[str, Value]:
    try:
        # a pipe in the file's place must not hold us up: without O_NONBLOCK its opening would wait
        with private_file(path, os.O_RDONLY | os.O_NONBLOCK) as stream:
            data = stream.read(MAX_FILE_BYTES + 1) or b""
    except FileNotFoundError:
        return {}
    except OSError as error:
        message = f"{path}: {error.strerror}; make it a plain file that you can read"
        raise ConfigError(message) from None
    if len(data) > MAX_FILE_BYTES:
        message = f"{path}: larger than {MAX_FILE_BYTES // 1024} KB; keep only settings in it"
        raise ConfigError(message)
    try:
        return dict(_read_entries(_entries(_compose(data))))
    except yaml.MarkedYAMLError as error:
        raise ConfigError(_located(path, error)) from None
    except (UnicodeDecodeError, yaml.reader.ReaderError) as error:
        message = f"{path}: not YAML: {_reason(error)}"
        raise ConfigError(message) from None


def _compose(data: bytes) -> yaml.Node | None:
    """Parse to nodes, constructing nothing, after a look at what a hostile file could abuse.

    The composer recurses: a few thousand nested brackets overflow the stack of the process.
    """
    text = data.decode("utf-8")
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.AliasEvent):
            raise _fault(event, "`*` repeats another value; write the value out")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise _fault(event, "nested too deeply; a setting is `section:` and `key: value`")
    return yaml.compose(text, Loader=_LOADER)


def _reason(error: UnicodeDecodeError | yaml.reader.ReaderError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start} is not UTF-8"
    return f"character {error.position} is not allowed"


def _located(path: Path, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    place = f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else f"{path}"
    return f"{place}: {' '.join((error.problem or 'not YAML').split())}"


@dataclass(frozen=True, slots=True)
class _Entry:
    """A line of the file: its full key, the node that names it and the node of its value."""

    key: str
    name: yaml.Node
    value: yaml.Node


def _entries(root: yaml.Node | None) -> Iterator[_Entry]:
    """Walk the sections and yield each entry that is not a section itself."""
    if root is None or root.tag == _YAML_NULL:
        return
    if not isinstance(root, yaml.MappingNode):
        raise _fault(root, "the file must hold `key: value` lines")
    keys: set[str] = set()
    waiting = [_Entry("", root, root)]
    while waiting:
        entry = waiting.pop()
        if entry.key in keys:
            raise _fault(entry.name, f"{_quoted(entry.key)} is there twice; remove one")
        keys.add(entry.key)
        if isinstance(entry.value, yaml.MappingNode):
            waiting.extend(reversed(_below(entry)))
        else:
            yield entry


def _below(section: _Entry) -> list[_Entry]:
    below = []
    for name, value in section.value.value:
        if not isinstance(name, yaml.ScalarNode):
            raise _fault(name, "a key must be a word")
        key = f"{section.key}.{name.value}" if section.key else str(name.value)
        below.append(_Entry(key, name, value))
    return below


def _read_entries(entries: Iterable[_Entry]) -> Iterator[tuple[str, Value]]:
    for entry in entries:
        if entry.key in _SECTIONS:
            if entry.value.tag != _YAML_NULL:
                problem = f"{entry.key} is a section; write its keys below it, indented"
                raise _fault(entry.name, problem)
        elif entry.key not in _BY_KEY:
            raise _fault(entry.name, _unknown(entry.key))
        else:
            yield entry.key, _read_scalar(_BY_KEY[entry.key], entry.value)


def _read_scalar(setting: Setting, node: yaml.Node) -> Value:
    if node.tag == _YAML_NULL and setting.nullable:
        return None
    if node.tag != _YAML_TAGS[setting.kind]:
        hint = "; put it in quotes" if setting.kind is str and not setting.choices else ""
        raise _fault(node, f"{setting.key}: must be {setting.allowed}{hint}")
    try:
        return _parse(setting, node.value)
    except ValueError as error:
        raise _fault(node, f"{setting.key}: {error}") from None


def _fault(node: yaml.Node | yaml.Event, problem: str) -> yaml.MarkedYAMLError:
    mark: Any = node.start_mark  # C and Python loaders have a class each, alike but unrelated
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


# --- values --------------------------------------------------------------------------------------


def _parse(setting: Setting, text: str) -> Value:
    """Read a value from its text; raise ValueError, which says what is allowed."""
    if setting.kind is bool:
        return _parse_bool(setting, text)
    if setting.kind is int:
        return _parse_int(setting, text)
    if setting.choices and text not in setting.choices:
        raise ValueError(_is_not(setting, text))
    problem = setting.check(text) if setting.check else None
    if problem:
        raise ValueError(problem)
    return text


def _parse_bool(setting: Setting, text: str) -> bool:
    value = _BOOLEANS.get(text.lower())
    if value is None:
        raise ValueError(_is_not(setting, text))
    return value


def _parse_int(setting: Setting, text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise ValueError(_is_not(setting, text)) from None
    if not setting.least <= value <= setting.most:
        raise ValueError(_is_not(setting, text))
    return value


def _is_not(setting: Setting, text: str) -> str:
    return f"{_quoted(text)} is not {setting.allowed}"


def _quoted(text: str) -> str:
    return ascii(text if len(text) <= MAX_QUOTED else text[:MAX_QUOTED] + "...")


def _unknown(key: str) -> str:
    close = get_close_matches(key, [*_BY_KEY, *_SECTIONS], n=1)
    hint = f"did you mean {close[0]}?" if close else "docs/OPERATIONS.md lists the known ones"
    return f"no setting {_quoted(key)}; {hint}"
