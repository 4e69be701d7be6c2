"""Settings: what the user may choose, and what holds when nothing is chosen.

Owns the table ``SETTINGS``: every key with its type, default, range and meaning, once.
Promises that a ``Settings`` is complete and valid, and that no message or repr shows a password.
Leaves it to the readers of a setting to do something with it.

A value comes from the environment (``redis.url`` is ``BLUEPLANE_REDIS_URL``; an empty variable is
as good as none), else from ``config.yaml`` in the home directory, else from the table.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Any, Final, Literal, get_args

from blueplane.config_values import (
    LogLevel,
    Setting,
    Value,
    check_component_level,
    check_prefix,
    check_project,
    check_url,
    check_word,
    check_workspace,
    parse,
    redact_url,
    unknown,
)
from blueplane.errors import ConfigError
from blueplane.event import EVENT_TYPES
from blueplane.paths import Home
from blueplane.price_text import check_price

RedisMode = Literal["auto", "private", "external"]
PrivacyLevel = Literal["strict", "balanced", "full"]
OnDamage = Literal["replace", "stop"]

#: Bytes of a megabyte, in which people choose sizes; the program counts bytes.
_MEGABYTE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """Where the queue lives. ``url`` may hold a password: show ``shown_url`` instead."""

    mode: RedisMode
    url: str | None = field(repr=False)
    key_prefix: str

    @property
    def private(self) -> bool:
        """Whether the queue is in a server of our own."""
        return self.mode == "private" or (self.mode == "auto" and not self.url)

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

    @property
    def max_bytes(self) -> int:
        """Bytes that it may take of the disk."""
        return self.max_mb * _MEGABYTE


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """The in-flight window of the stream."""

    max_entries: int
    max_mb: int

    @property
    def max_bytes(self) -> int:
        """Bytes that may be in flight."""
        return self.max_mb * _MEGABYTE


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """How the writer treats what fails."""

    max_retries: int


@dataclass(frozen=True, slots=True)
class LogSettings:
    """The server's log."""

    level: LogLevel
    levels: tuple[str, ...]
    max_mb: int

    @property
    def max_bytes(self) -> int:
        """Bytes at which the file is rotated."""
        return self.max_mb * _MEGABYTE


@dataclass(frozen=True, slots=True)
class FilterSettings:
    """What is left out: an event that one of these names is not stored."""

    workspaces: tuple[str, ...]
    projects: tuple[str, ...]
    platforms: tuple[str, ...]
    event_types: tuple[str, ...]
    hooks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RetentionSettings:
    """How long things are kept; 0 days is for ever."""

    raw_days: int
    dead_letter_days: int
    quarantine_days: int
    quarantine_mb: int

    @property
    def quarantine_bytes(self) -> int:
        """Bytes of the quarantine above which its oldest files go."""
        return self.quarantine_mb * _MEGABYTE


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """What to do about a database that is damaged."""

    on_damage: OnDamage


@dataclass(frozen=True, slots=True)
class CaptureSettings:
    """What is read besides what hooks hand over."""

    transcripts: bool
    claude_dirs: tuple[str, ...]
    databases: bool
    cursor_data: str | None
    cursor_home: str | None


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Where health is shown to browsers and programs; port 0 is nowhere."""

    port: int


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """How a person hears of what is not green."""

    notify: bool


@dataclass(frozen=True, slots=True)
class PricesSettings:
    """What models cost, where it is not what the bundled table says."""

    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting, complete and valid."""

    redis: RedisSettings
    privacy: PrivacySettings
    spool: SpoolSettings
    queue: QueueSettings
    pipeline: PipelineSettings
    log: LogSettings
    filter: FilterSettings
    retention: RetentionSettings
    store: StoreSettings
    health: HealthSettings
    http: HttpSettings
    capture: CaptureSettings
    prices: PricesSettings


_SECTIONS: Final[dict[str, Callable[..., Any]]] = {
    "redis": RedisSettings,
    "privacy": PrivacySettings,
    "spool": SpoolSettings,
    "queue": QueueSettings,
    "pipeline": PipelineSettings,
    "log": LogSettings,
    "filter": FilterSettings,
    "retention": RetentionSettings,
    "store": StoreSettings,
    "health": HealthSettings,
    "http": HttpSettings,
    "capture": CaptureSettings,
    "prices": PricesSettings,
}


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
        nullable=True, check=check_url,
    ),
    Setting(
        "redis.key_prefix", str, "",
        "put before the name of every key, to share one Redis between several homes",
        check=check_prefix,
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
        "spool.max_mb", int, 512,
        "room on disk that the hand-off directory may take before hooks stop adding to it, in MB",
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
    Setting(
        "log.levels", str, (),
        "levels of single components, as component=level; the others have log.level",
        many=True, check=check_component_level,
    ),
    Setting(
        "filter.workspaces", str, (),
        "directories from which nothing is stored, with all below them",
        many=True, check=check_workspace,
    ),
    Setting(
        "filter.projects", str, (),
        "projects (a workspace's last directory) of which nothing is stored",
        many=True, check=check_project,
    ),
    Setting(
        "filter.platforms", str, (),
        "platforms of which nothing is stored, as cursor",
        many=True, check=check_word,
    ),
    Setting(
        "filter.event_types", str, (),
        "types of event that are not stored, as file_read",
        many=True, choices=tuple(EVENT_TYPES),
    ),
    Setting(
        "filter.hooks", str, (),
        "hooks whose events are not stored, by their native names, as beforeReadFile",
        many=True, check=check_word,
    ),
    Setting(
        "retention.raw_days", int, 0,
        "days for which the rows of events are kept; 0 is for ever",
        most=36_500,
    ),
    Setting(
        "retention.dead_letter_days", int, 90,
        "days for which dead letters are kept; 0 is for ever",
        most=36_500,
    ),
    Setting(
        "retention.quarantine_days", int, 7,
        "days for which files in quarantine are kept",
        least=1, most=3650,
    ),
    Setting(
        "retention.quarantine_mb", int, 50,
        "size of the quarantine above which its oldest files go, in MB",
        least=1, most=10_000,
    ),
    Setting(
        "store.on_damage", str, "replace",
        "what to do when the database is damaged: set it aside and begin a new one (replace), or "
        "end the server (stop)",
        choices=get_args(OnDamage),
    ),
    Setting(
        "health.notify", bool,
        default=False,
        help="show a notification on the desktop when health becomes worse, at most one a minute",
    ),
    Setting(
        "http.port", int, 7531,
        "port on 127.0.0.1 that health is shown on; 0 is none",
        most=65_535,
    ),
    Setting(
        "capture.transcripts", bool,
        default=True,
        help="read the transcripts that Claude Code writes",
    ),
    Setting(
        "capture.claude_dirs", str, (),
        "directories of Claude Code's configuration besides the usual ones",
        many=True, check=check_workspace,
    ),
    Setting(
        "capture.databases", bool,
        default=True,
        help="read what Cursor stores of conversations, commits and agents",
    ),
    Setting(
        "capture.cursor_data", str, None,
        "directory of Cursor's data, if it is not the system's, as ~/.config/Cursor",
        nullable=True, check=check_workspace,
    ),
    Setting(
        "capture.cursor_home", str, None,
        "directory of Cursor's agents, if it is not ~/.cursor",
        nullable=True, check=check_workspace,
    ),
    Setting(
        "prices.models", str, (),
        "what models cost, in dollars for a million tokens, as 'my-model input=3 output=15'",
        many=True, check=check_price,
    ),
)  # fmt: skip

#: Every setting by its full key.
BY_KEY: Final = {setting.key: setting for setting in SETTINGS}


def load(home: Home, environ: Mapping[str, str]) -> Settings:
    """Read the settings of ``home``; ``environ`` wins over the file.

    Raises ConfigError, one line that names file or variable, key and remedy. A home without a
    configuration file has the defaults.
    """
    return settle({**in_file(home), **in_environment(environ)})


def find(key: str) -> Setting:
    """Return a setting by its full key; raise ConfigError, naming the nearest, without one."""
    if key not in BY_KEY:
        raise ConfigError(unknown(key, list(BY_KEY)))
    return BY_KEY[key]


def in_file(home: Home) -> dict[str, Value]:
    """Return what the configuration file of ``home`` chooses, by full key."""
    path = home.config_file
    if _is_missing(path):
        return {}
    config_file = import_module("blueplane.config_file")  # YAML is slow to import
    data = config_file.read(path)
    found: dict[str, Value] = {} if data is None else config_file.values(path, data, BY_KEY)
    return found


def _is_missing(path: Path) -> bool:
    """Say whether there is no file; what is there and cannot be read is for the reading to say."""
    try:
        path.lstat()
    except OSError as error:
        return isinstance(error, FileNotFoundError)
    return False


def in_environment(environ: Mapping[str, str]) -> dict[str, Value]:
    """Return what ``environ`` chooses, by full key."""
    found: dict[str, Value] = {}
    for setting in SETTINGS:
        text = environ.get(setting.variable)
        if text:
            try:
                found[setting.key] = parse(setting, text)
            except ValueError as error:
                message = f"{setting.variable} in the environment: {error}"
                raise ConfigError(message) from None
    return found


def settle(chosen: Mapping[str, Value]) -> Settings:
    """Fill up ``chosen`` (full key to valid value) with the defaults.

    Raises ConfigError for an unknown key and for values that do not go together.
    """
    for key in chosen:
        find(key)
    values: dict[str, dict[str, Value]] = {name: {} for name in _SECTIONS}
    for setting in SETTINGS:
        section, _, name = setting.key.partition(".")
        values[section][name] = chosen.get(setting.key, setting.default)
    settings = Settings(**{name: make(**values[name]) for name, make in _SECTIONS.items()})
    _check_together(settings)
    return settings


def _check_together(settings: Settings) -> None:
    if settings.redis.mode == "external" and settings.redis.url is None:
        message = (
            "redis.mode is external, and redis.url is not set; "
            f"set it or {BY_KEY['redis.url'].variable}, or use redis.mode auto"
        )
        raise ConfigError(message)
    components = [item.partition("=")[0] for item in settings.log.levels]
    for component in components:
        if components.count(component) > 1:
            message = f"log.levels: {component} is there twice; remove one"
            raise ConfigError(message)


def changes(old: Settings, new: Settings) -> tuple[str, ...]:
    """Return the full keys whose values differ, in the order of the table."""
    getters = {setting.key: attrgetter(setting.key) for setting in SETTINGS}
    return tuple(key for key, get in getters.items() if get(old) != get(new))
