"""The privacy allow-list: the one place that decides what of a payload is stored.

Owns the three levels and what becomes of each kind of key (``vocabulary.py`` has the words).
Promises for ``strict`` that no prompt, answer, code, command, output, path or e-mail passes, in a
value or in a key, that the work is linear, and that no shape of a payload raises.
Leaves reading bytes to ``parse.py`` and the envelope of an event to the readers.
"""

import re
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from functools import lru_cache
from typing import Any, Final, TypeAlias

import orjson

from blueplane.capture import vocabulary as words
from blueplane.capture.adapter import NO_OWN_KEYS, OwnKeys
from blueplane.capture.parse import BigNumber, Body
from blueplane.capture.pseudonyms import Pseudonyms
from blueplane.capture.stand_ins import StandIns
from blueplane.capture.workspace import (
    MAX_PATH,
    Workspace,
    canonical,
    project_name,
    workspace_hash,
)
from blueplane.config import PrivacyLevel

Handler: TypeAlias = Callable[[Any], object]

#: Items of a list that are looked into; of a longer one the number is kept beside them.
MAX_ITEMS: Final = 8
MAX_PATHS: Final = 32
#: Keys of one object that are not in the vocabulary; the rest is counted.
MAX_UNKNOWN_KEYS: Final = 48
#: Characters of a path, a branch or a project that is stored in clear.
MAX_CLEAR_CHARS: Final = 1024
MAX_PROJECT_CHARS: Final = 128
_MAX_DIGITS: Final = 40
_WORKSPACES: Final = 256
_PLATFORMS: Final = 64
_MAX_KEY_CHARS: Final = 64
_MEASURES: Final = frozenset({"chars", "lines", "items", "digits", "more"})


class Sanitiser:
    """What may be stored at one level, with the pseudonyms of one install.

    ``secret`` keys every hash (at most 64 bytes). ``full`` keeps everything but secrets.
    """

    def __init__(
        self, level: PrivacyLevel, secret: bytes, *, hash_project_names: bool = False
    ) -> None:
        self.level = level
        self._secret = secret
        self._hash_project_names = hash_project_names
        self._pseudonyms = Pseudonyms(secret)
        self._strict = _Rules(self._pseudonyms, clear=False)
        self._rules = _Rules(self._pseudonyms, clear=True) if level == "balanced" else self._strict
        self._stand_ins = StandIns(secret, self._strict.keys)
        self._known_workspace = lru_cache(_WORKSPACES)(self._workspace)
        self._rules_with = lru_cache(_PLATFORMS)(self._make_rules_with)

    def payload(self, body: Body, tool_name: str = "", own_keys: OwnKeys = NO_OWN_KEYS) -> bytes:
        """Make the canonical JSON of what may be stored of a parsed payload.

        ``tool_name`` says whose input and output it holds: of an unknown tool only the shape stays.
        ``own_keys`` are those of its platform.
        """
        rules = self._rules if own_keys is NO_OWN_KEYS else self._rules_with(own_keys)
        kept = _without_secrets(body) if self.level == "full" else rules(body, tool_name)
        return orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)

    def identifier(self, text: str) -> str:
        """Return an id of the platform as it is, or its pseudonym when it could be prose."""
        return text if words.ID.match(text) or not text else self._pseudonyms.name("i:", text)

    def workspace(self, path: str) -> Workspace:
        """Name a workspace by its path, as an editor writes it; a hostile one is not remembered."""
        remembered = len(path) <= MAX_PATH
        return self._known_workspace(path) if remembered else self._workspace(path)

    def training_form(self, payload: bytes) -> bytes:
        """Make a stored event fit to train a compression dictionary on.

        Takes canonical JSON of this class, alone or as ``{"metadata": ..., "payload": ...}``, at
        any level, and returns it at ``strict`` with a stand-in for every id, pseudonym and name.
        """
        event = orjson.loads(payload)
        if event.keys() == {"metadata", "payload"}:
            tool_name = event["metadata"].get("tool_name", "")
            event["payload"] = self._strict(event["payload"], tool_name)
        else:
            event = self._strict(event, "")
        return orjson.dumps(self._stand_ins.replace(event), option=orjson.OPT_SORT_KEYS)

    def _make_rules_with(self, own_keys: OwnKeys) -> "_Rules":
        return _Rules(self._pseudonyms, clear=self.level == "balanced", own_keys=own_keys)

    def _workspace(self, path: str) -> Workspace:
        directory = canonical(path)
        project = project_name(directory)[:MAX_PROJECT_CHARS]
        if project and self._hash_project_names:
            project = self._pseudonyms.name("n:", project)
        return Workspace(workspace_hash(directory, self._secret), project)


class _Rules:
    """The handlers of ``strict``, or, with ``clear``, of ``balanced``."""

    def __init__(
        self, pseudonyms: Pseudonyms, *, clear: bool, own_keys: OwnKeys = NO_OWN_KEYS
    ) -> None:
        self._pseudonyms = pseudonyms
        self._by_type: Mapping[type, Handler] = {
            str: _text,
            BigNumber: _big_number,
            bool: _same,
            int: _same,
            float: _same,
            type(None): _same,
            list: self._list,
            dict: self._nested,
        }
        self._known = self._own_handlers(own_keys, clear=clear) | self._handlers(clear=clear)
        self.keys = frozenset(self._known)
        self._opaque = self._known | dict.fromkeys(words.TOOL_CONTENT, self._shape)

    def __call__(self, body: Body, tool_name: str) -> Body:
        """Keep of a whole payload what may be kept."""
        handlers = self._known if tool_name in words.KNOWN_TOOLS else self._opaque
        return self._object(body, handlers, self._top_level_key)

    def _handlers(self, *, clear: bool) -> dict[str, Handler]:
        table: dict[str, Handler] = dict.fromkeys(words.PLAIN | words.TOOL_CONTENT, self._any)
        kinds: tuple[tuple[frozenset[str], Handler], ...] = (
            (words.PATHS, self._clear_path if clear else self._path),
            (words.TRANSCRIPTS, self._clear_path if clear else self._transcript),
            (words.BRANCHES, self._clear_path if clear else self._branch),
            (words.COMMANDS, self._named_command if clear else self._command),
            (words.CODE, self._code),
            (words.COUNTED, self._count),
            (words.IDS, self._id),
            (words.MODELS, self._matching(words.MODEL)),
            (words.NAMES, self._matching(words.NAME)),
            (words.VERSIONS, self._matching(words.VERSION)),
            (words.TIMES, self._matching(words.TIME)),
            (frozenset({"hash"}), self._matching(words.HASH)),
            (words.MODEL_SETTINGS, self._model_settings),
        )
        for keys, handler in kinds:
            table.update(dict.fromkeys(keys, handler))
        for key, values in words.ENUMERATIONS.items():
            table[key] = self._one_of(values)
        for key, values in words.LABELS.items():
            table[key] = self._label(values, clear=clear)
        return table

    def _own_handlers(self, own: OwnKeys, *, clear: bool) -> dict[str, Handler]:
        """Return the handlers of keys that one platform adds; none of them lets prose pass."""
        kinds: tuple[tuple[AbstractSet[str], Handler], ...] = (
            (own.paths, self._clear_path if clear else self._path),
            (own.branches, self._clear_path if clear else self._branch),
            (own.commands, self._named_command if clear else self._command),
            (own.code, self._code),
            (own.ids, self._id),
        )
        table = {key: handler for keys, handler in kinds for key in keys}
        table |= {key: self._one_of(values) for key, values in own.enumerations.items()}
        return {key: handler for key, handler in table.items() if not _is_secret(key)}

    # --- by type: what is not known by its key ---------------------------------------------------

    def _any(self, value: object) -> object:
        return self._by_type[type(value)](value)

    def _list(self, items: list[object]) -> object:
        return _bounded(items, self._any)

    def _nested(self, body: Body) -> Body:
        return self._object(body, self._known, self._nested_key)

    def _object(
        self,
        body: Body,
        handlers: Mapping[str, Handler],
        rename: Callable[[str], str],
    ) -> Body:
        kept: Body = {}
        unknown = 0
        for key, value in body.items():
            handler = handlers.get(key)
            if handler is not None:
                kept[key] = handler(value)
            elif not _is_secret(key):
                unknown += 1
                if unknown <= MAX_UNKNOWN_KEYS:
                    kept[rename(key)] = self._any(value)
        if unknown > MAX_UNKNOWN_KEYS:
            kept["more"] = unknown - MAX_UNKNOWN_KEYS
        return kept

    def _top_level_key(self, key: str) -> str:
        return key if words.IDENTIFIER_KEY.match(key) else self._nested_key(key)

    def _nested_key(self, key: str) -> str:
        return self._pseudonyms.name("k:", key)

    def _shape(self, value: object) -> object:
        """Keep lengths and flags only: the input or output of a tool that we know nothing of."""
        if type(value) is dict:
            return value if _is_measure(value) else self._shape_of_object(value)
        if type(value) is list:
            return _bounded(value, self._shape)
        if isinstance(value, (int, float, BigNumber)) and not isinstance(value, bool):
            return {"digits": len(str(value))}
        return self._any(value)

    def _shape_of_object(self, body: Body) -> Body:
        keys = [key for key in body if not _is_secret(key)]
        kept = {
            key if key in self._known else self._nested_key(key): self._shape(body[key])
            for key in keys[:MAX_UNKNOWN_KEYS]
        }
        if len(keys) > MAX_UNKNOWN_KEYS:
            kept["more"] = len(keys) - MAX_UNKNOWN_KEYS
        return kept

    # --- by kind of key --------------------------------------------------------------------------

    def _path(self, value: object) -> object:
        return self._paths(value, self._pseudonyms.path)

    def _clear_path(self, value: object) -> object:
        return self._paths(value, self._short_text)

    def _paths(self, value: object, name: Callable[[str], object]) -> object:
        if type(value) is str:
            return name(value)
        if type(value) is list and all(type(item) is str for item in value):
            kept = [name(item) for item in value[:MAX_PATHS]]
            return kept if len(value) <= MAX_PATHS else {"items": len(value), "first": kept}
        return self._any(value)

    def _short_text(self, text: str) -> object:
        return text if len(text) <= MAX_CLEAR_CHARS else _text(text)

    def _transcript(self, value: object) -> object:
        """Keep the file's name where it is an id: it links an agent to its transcript."""
        if type(value) is not str:
            return self._any(value)
        name = value.replace("\\", "/").rpartition("/")[2]
        return name if words.TRANSCRIPT_NAME.match(name) else self._pseudonyms.path(value)

    def _branch(self, value: object) -> object:
        return self._pseudonyms.name("b:", value) if type(value) is str else self._any(value)

    def _id(self, value: object) -> object:
        if type(value) is not str:
            return self._any(value)
        return value if words.ID.match(value) else self._pseudonyms.name("i:", value)

    def _code(self, value: object) -> object:
        if type(value) is not str:
            return self._any(value)
        if not value:
            return _text(value)
        lines = value.count("\n") + (not value.endswith("\n"))
        return {"chars": len(value), "lines": lines, "hash": self._pseudonyms.digest(value)}

    def _command(self, value: object) -> object:
        if type(value) is not str or not value:
            return self._any(value)
        return {"chars": len(value), "hash": self._pseudonyms.digest(value)}

    def _named_command(self, value: object) -> object:
        if type(value) is dict and value.keys() == {"chars", "hash", "name"} and _is_named(value):
            return value  # by this very function
        if type(value) is str and (name := _command_name(value)):
            return {"chars": len(value), "hash": self._pseudonyms.digest(value), "name": name}
        return self._command(value)

    def _count(self, value: object) -> object:
        return {"items": len(value)} if type(value) is list else self._any(value)

    def _model_settings(self, value: object) -> object:
        if type(value) is not list:
            return self._any(value)
        word = self._one_of(words.MODEL_SETTING_WORDS)
        keys = ("id", "value")
        settings = [item for item in value[:MAX_ITEMS] if type(item) is dict]
        return [{key: word(item[key]) for key in keys if key in item} for item in settings]

    # --- makers of handlers ----------------------------------------------------------------------

    def _matching(self, shape: re.Pattern[str]) -> Handler:
        def keep_if_shaped(value: object) -> object:
            return value if type(value) is str and shape.match(value) else self._any(value)

        return keep_if_shaped

    def _one_of(self, values: AbstractSet[str]) -> Handler:
        def keep_if_known(value: object) -> object:
            return value if type(value) is str and value in values else self._any(value)

        return keep_if_known

    def _label(self, values: frozenset[str], *, clear: bool) -> Handler:
        def keep_or_name(value: object) -> object:
            if type(value) is not str:
                return self._any(value)
            if value in values or (clear and words.NAME.match(value)):
                return value
            return self._pseudonyms.name("n:", value)

        return keep_or_name


def _same(value: object) -> object:
    return value


def _text(value: str) -> object:
    return {"chars": len(value)}


def _big_number(value: str) -> object:
    return value if len(value) <= _MAX_DIGITS else {"digits": len(value)}


def _bounded(items: list[object], keep: Handler) -> object:
    """Look into the first items; a list of texts becomes its measures."""
    texts = [item for item in items if type(item) is str]
    if texts and len(texts) == len(items):
        return {"items": len(items), "chars": sum(map(len, texts))}
    first = [keep(item) for item in items[:MAX_ITEMS]]
    return first if len(items) <= MAX_ITEMS else {"items": len(items), "first": first}


def _is_measure(body: Body) -> bool:
    return body.keys() <= _MEASURES and all(type(value) is int for value in body.values())


def _is_named(command: Body) -> bool:
    name, digest = command["name"], command["hash"]
    whole = type(name) is str and words.COMMAND_NAME.match(name) is not None
    hashed = type(digest) is str and words.HASH.match(digest) is not None
    return whole and hashed and type(command["chars"]) is int


def _command_name(command: str) -> str:
    """Return the program that a command starts with; "" when it begins with anything else."""
    word = command[:MAX_CLEAR_CHARS].split(maxsplit=1)[:1]
    name = word[0].rpartition("/")[2] if word else ""
    return name if words.COMMAND_NAME.match(name) else ""


def _is_secret(key: str) -> bool:
    return _is_secret_cached(key) if len(key) <= _MAX_KEY_CHARS else bool(words.SECRETS.search(key))


@lru_cache(1024)
def _is_secret_cached(key: str) -> bool:
    return bool(words.SECRETS.search(key))


def _without_secrets(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if type(value) is dict:
        return {key: _without_secrets(item) for key, item in value.items() if not _is_secret(key)}
    if type(value) is list:
        return [_without_secrets(item) for item in value]
    return value
