"""The values of settings: what one may be, and how it is read from text.

Owns the record of a setting, the reading of its value from text, and the checks of texts.
Promises that what is wrong is said in one line, quoted briefly and never with a password.
Leaves which settings there are to ``config.py``, and the file to ``config_file.py``.
"""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, Literal, get_args
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

from blueplane.logs import COMPONENTS

LogLevel = Literal["debug", "info", "warning", "error"]

#: Characters of a foreign key or value that a message quotes.
MAX_QUOTED: Final = 60
#: Items of a list.
MAX_ITEMS: Final = 1000
#: Characters of the name of a project, and of a path.
MAX_PROJECT: Final = 128
MAX_PATH: Final = 4096
#: Words allowed, above which a message names the nearest of them and not all.
MAX_CHOICES_SHOWN: Final = 8

Value = str | int | bool | tuple[str, ...] | None

_BOOLEANS: Final = {
    "true": True, "yes": True, "on": True, "1": True,
    "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip
_TYPE_NAMES: Final = {str: "text", int: "a whole number", bool: "true or false"}


@dataclass(frozen=True, slots=True)
class Setting:
    """One key: its type, its default and what it means.

    ``least`` and ``most`` bound a number (inclusive), ``choices`` lists the words allowed, and
    ``check`` returns what is wrong with a text, or None. A ``nullable`` setting may be None. One of
    ``many`` is a tuple of texts, for each of which the rest holds.
    """

    key: str
    kind: type[str] | type[int] | type[bool]
    default: Value
    help: str
    choices: tuple[str, ...] = ()
    least: int = 0
    most: int = 0
    nullable: bool = False
    many: bool = False
    check: Callable[[str], str | None] | None = None

    @property
    def variable(self) -> str:
        """The environment variable that overrides this setting."""
        return "BLUEPLANE_" + self.key.replace(".", "_").upper()

    @property
    def allowed(self) -> str:
        """What values are allowed, for people."""
        if len(self.choices) > MAX_CHOICES_SHOWN:
            return "one of those that docs/OPERATIONS.md lists"
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.kind is int:
            return f"a whole number from {self.least} to {self.most}"
        return _TYPE_NAMES[self.kind]


# --- from text ---------------------------------------------------------------------------------


def parse(setting: Setting, text: str) -> Value:
    """Read a value from its text; raise ValueError, which says what is allowed."""
    if not setting.many:
        return parse_one(setting, text)
    items = [item.strip() for item in text.split(",") if item.strip()]
    return parse_items(setting, items)


def parse_items(setting: Setting, items: Collection[str]) -> tuple[str, ...]:
    """Read a list from its items, dropping what is there twice; raise ValueError as ``parse``."""
    if len(items) > MAX_ITEMS:
        message = f"has {len(items)} items; {MAX_ITEMS} is the most"
        raise ValueError(message)
    return tuple(dict.fromkeys(str(parse_one(setting, item)) for item in items))


def parse_one(setting: Setting, text: str) -> str | int | bool:
    """Read one value, or one item of a list; raise ValueError as ``parse``."""
    if setting.kind is bool:
        return _parse_bool(setting, text)
    if setting.kind is int:
        return _parse_int(setting, text)
    if setting.choices and text not in setting.choices:
        raise ValueError(_is_not(setting, text))
    problem = setting.check(text) if setting.check else None
    problem = problem or (None if is_utf8(text) else "is not UTF-8")
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
    close = get_close_matches(text, setting.choices, n=1)
    if close and len(setting.choices) > MAX_CHOICES_SHOWN:
        return f"{quoted(text)} is not known; did you mean {close[0]}?"
    return f"{quoted(text)} is not {setting.allowed}"


def is_utf8(text: str) -> bool:
    """Whether ``text`` can be written; what came in as foreign bytes cannot."""
    return not any("\ud800" <= c <= "\udfff" for c in text)


def quoted(text: str) -> str:
    """Quote foreign text for a message: printable and short."""
    return ascii(text if len(text) <= MAX_QUOTED else text[:MAX_QUOTED] + "...")


def unknown(key: str, keys: Sequence[str]) -> str:
    """Say that ``keys`` have no ``key``, and what may have been meant."""
    below = [each for each in keys if each.startswith(f"{key}.")]
    if below:
        return f"{key} is a section; its keys are {', '.join(below)}"
    sections = {each.partition(".")[0] for each in keys}
    return f"no setting {quoted(key)}; {nearest(key, [*keys, *sorted(sections)])}"


def nearest(word: str, known: Iterable[str]) -> str:
    """Say what may have been meant by ``word``."""
    close = get_close_matches(word, known, n=1)
    return f"did you mean {close[0]}?" if close else "docs/OPERATIONS.md lists the known ones"


# --- checks of texts ------------------------------------------------------------------------------


def check_url(url: str) -> str | None:
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


def check_prefix(prefix: str) -> str | None:
    """Return what is wrong with a prefix of keys."""
    if re.fullmatch(r"[A-Za-z0-9_.:{}-]{0,64}", prefix):
        return None
    return "may hold up to 64 letters, digits and any of _ . : { } -"


def check_word(word: str) -> str | None:
    """Return what is wrong with the name of a platform or a hook."""
    if re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", word):
        return None
    return "must be 1 to 64 letters, digits and any of _ . -"


def check_project(name: str) -> str | None:
    """Return what is wrong with the name of a project."""
    return None if 1 <= len(name) <= MAX_PROJECT else f"must have 1 to {MAX_PROJECT} characters"


def check_workspace(path: str) -> str | None:
    """Return what is wrong with the path of a directory."""
    if "\0" in path or not (path == "~" or path.startswith(("/", "~/", "file:///"))):
        return "must begin with /, ~/ or file:///"
    return None if len(path) <= MAX_PATH else f"is longer than {MAX_PATH} characters"


def check_component_level(item: str) -> str | None:
    """Return what is wrong with the log level of a component."""
    component, _, level = item.partition("=")
    if component not in COMPONENTS:
        close = get_close_matches(component, COMPONENTS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(COMPONENTS)}"
        return f"no component {quoted(component)} logs; {hint}"
    if level not in get_args(LogLevel):
        return f"write {component}=LEVEL, where LEVEL is one of {', '.join(get_args(LogLevel))}"
    return None


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
