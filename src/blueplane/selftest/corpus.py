"""Transcripts as hostile as real ones: what a program that counts tokens gets wrong.

Owns the lines, file by file, and which calls they speak of.
Promises the same bytes each time, and that what is true of them is noted as they are written.
Leaves sums to ``truth.py``, hooks to ``story.py``.

In them: streamed lines that repeat a call with placeholders, forks that copy lines and resumed
sessions that rewrite their ids, sub-agents and replays of their parent's calls under other request
ids, calls without ids, messages that no model made, lines that are cut off, no JSON or no UTF-8,
clocks that are years off, models without a price, prompts so long that they cost more.
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

#: A Sunday evening, the last but one day of a month.
START_MS: Final = round(datetime(2026, 8, 30, 20, 10, tzinfo=UTC).timestamp() * 1000)
SECOND_MS: Final = 1_000
MINUTE_MS: Final = 60 * SECOND_MS
HOUR_MS: Final = 60 * MINUTE_MS
_TEN_YEARS_MS: Final = 10 * 365 * 24 * HOUR_MS
OPUS, SONNET, HAIKU = "claude-opus-4-1-20250805", "claude-sonnet-4-5-20250929", "claude-haiku-4-5"
NOBODY: Final = "claude-unheard-of-1"
_MALFORMED: Final = (
    b'{"type":"assistant","uuid":"broken', b"[1,2,3]", b'"only a text"', b"null", b"not json",
    b"\xff\xfe\x00{",
)  # fmt: skip


class Tokens(NamedTuple):
    """Tokens of a call; None is unknown."""

    input: int | None = None
    output: int | None = None
    cache_creation: int | None = None
    cache_creation_5m: int | None = None
    cache_creation_1h: int | None = None
    cache_read: int | None = None


class Call(NamedTuple):
    """A call of a model, as it is true."""

    platform: str
    session: str
    project: str
    branch: str
    model: str
    at_ms: int
    final: bool
    tokens: Tokens


@dataclass(slots=True)
class Outcomes:
    """What has to become of everything that is captured."""

    written: int = 0
    duplicate: int = 0
    quarantined: int = 0
    filtered: int = 0


@dataclass(slots=True)
class File:
    """A transcript in the making; ``cut`` is where it ends while a first reader looks at it."""

    path: str
    session: str
    project: str
    branch: str = "main"
    agent: str = ""
    now_ms: int = START_MS
    raw: bytearray = field(default_factory=bytearray)
    lines: list[dict[str, Any]] = field(default_factory=list)
    cut: int | None = None


class Corpus:
    """All files, by the order in which they are read, and what is true of them."""

    def __init__(self) -> None:
        self.files: list[File] = []
        self.calls: list[Call] = []
        #: Sessions without a call: id, platform, project.
        self.silent: list[tuple[str, str, str]] = []
        self.outcomes = Outcomes()
        self._number = 0
        self._write()

    def _write(self) -> None:
        first = self._open("orchard", "main", 0)
        self._streams(first)
        self._oddities(first)
        self._agent(first)
        self._graft(first)
        self._resumed(first)
        self._days()

    # -- what is in it -----------------------------------------------------------------------------

    def _streams(self, file: File) -> None:
        """Write calls whose lines have placeholders, in order and not."""
        self._plain(file, {"type": "summary", "summary": "Apples", "leafUuid": "x"})
        self._line(file, {"type": "user", "message": {"role": "user", "content": "fix it"}})
        self.call(file, OPUS, (2, 5, 900), Tokens(7, 900, 330, 300, 30, 12_000))
        self.call(file, OPUS, (2, 1_200, 4), Tokens(11, 1_200, 0, 0, 0, 45_000), ends=1)
        self.call(file, SONNET, (3, 80), Tokens(9, 80, 21_000, 20_000, 1_000, 190_000))
        self.call(file, SONNET, (64,), Tokens(150_000, 64, 60_000, 60_000, 0, 500), ends=None)

    def _oddities(self, file: File) -> None:
        """Write what is hardly a call, or none, and a clock that jumps; then a line that is cut."""
        self.call(file, HAIKU, (4, 77), Tokens(5, 77, 0, 0, 0, 100), request="")
        self.call(file, NOBODY, (12,), Tokens(1_000, 12, 10, 10, 0, 1))
        for raw in _MALFORMED:
            file.raw += raw + b"\n"
            self.outcomes.quarantined += 1
        self._synthetic(file)
        self._plain(file, {"type": "mode", "mode": "default", "sessionId": file.session})
        now_ms = file.now_ms
        file.now_ms += _TEN_YEARS_MS
        self._line(file, {"type": "system", "subtype": "turn_duration", "durationMs": 1})
        file.now_ms = now_ms
        self._line(file, {"type": "user", "message": {"content": "caf\udcff"}})  # no UTF-8
        file.cut = len(file.raw) + 200  # within the next line
        self.call(file, OPUS, (6, 345), Tokens(8, 345, 40, 0, 40, 999))

    def _agent(self, parent: File) -> None:
        """Write a sub-agent's own call, and replays of its parent's under other request ids."""
        place = f"{parent.path.removesuffix('.jsonl')}/subagents/agent-a1"
        meta = File(f"{place}.meta.json", parent.session, parent.project)
        meta.raw += json.dumps({"agentType": "Explore", "toolUseId": "toolu_1"}).encode()
        self.outcomes.written += 1
        agent = File(f"{place}.jsonl", parent.session, parent.project, agent="a1")
        agent.now_ms = parent.now_ms
        self.files += [meta, agent]
        self.call(agent, HAIKU, (3, 250), Tokens(20, 250, 500, 500, 0, 3_000))
        for line in [line for line in parent.lines if line["type"] == "assistant"][:4]:
            again = {key: line[key] for key in ("type", "message")}
            self._line(agent, {**again, "requestId": self._code("req")})

    def _graft(self, source: File) -> None:
        """Write a session that begins with lines of another one, and goes on by itself."""
        graft = self._open("orchard", "graft", 3 * HOUR_MS)
        for line in source.lines[:6]:
            self._bytes(graft, line)
            self.outcomes.duplicate += 1
        self.call(graft, SONNET, (1, 33), Tokens(3, 33, 0, 0, 0, 2_000))

    def _resumed(self, source: File) -> None:
        """Write a session whose copies have ids of their own: their calls belong to the first."""
        resumed = self._open("orchard", "main", 8 * HOUR_MS)
        for line in source.lines[:8]:
            self._bytes(resumed, {**line, "uuid": self._uuid(), "sessionId": resumed.session})
            self.outcomes.written += 1
        self.call(resumed, OPUS, (1, 2, 3), Tokens(2, 3, 4, 4, 0, 5))

    def _days(self) -> None:
        """Write short sessions of several projects, over the ends of a day, a week, a month.

        The first two calls come just before, and at, the moment at which five hours are over.
        """
        edge = self._open("orchard", "main", 4 * HOUR_MS + 50 * MINUTE_MS - 2 * SECOND_MS)
        for output in (10, 20):
            self.call(edge, OPUS, (output,), Tokens(1, output, 0, 0, 0, 10))
        for number in range(12):
            project = ("pear yard", "=plum", "Jardin d'été")[number % 3]
            file = self._open(project, ("main", "dev")[number % 2], number * 7 * HOUR_MS)
            for step in range(3):
                model = (OPUS, SONNET, HAIKU)[(number + step) % 3]
                five, hour, read = 100 * number, 10 * step, 1_000 * (number + 1)
                tokens = Tokens(number + 1, 50 + step, five + hour, five, hour, read)
                self.call(file, model, (1, 50 + step), tokens)

    # -- lines -------------------------------------------------------------------------------------

    def call(
        self,
        file: File,
        model: str,
        outputs: Sequence[int],
        tokens: Tokens,
        **how: Any,  # noqa: ANN401 - a number or a text
    ) -> None:
        """Write a call: a line for each output that is told meanwhile.

        ``ends`` is which line has the reason of the end, the last one unless it is said, None for
        none; ``request`` the request id, where it is not a new one.
        """
        ends = how.get("ends", len(outputs) - 1)
        request, message = how.get("request", self._code("req")), self._code("msg")
        at_ms = file.now_ms + SECOND_MS
        for number, output in enumerate(outputs):
            said = _message(message, model, tokens._replace(output=output))
            said["stop_reason"] = "end_turn" if number == ends else None
            line = {"type": "assistant", "message": said}
            self._line(file, line | ({"requestId": request} if request else {}))
        place = (file.session, file.project, file.branch)
        self.calls.append(Call("claude_code", *place, model, at_ms, ends is not None, tokens))

    def _synthetic(self, file: File) -> None:
        nothing = Tokens(0, 0, 0, 0, 0, 0)
        message = _message(self._uuid(), "<synthetic>", nothing)
        self._line(file, {"type": "assistant", "message": message, "isApiErrorMessage": True})

    def _open(self, project: str, branch: str, after_ms: int) -> File:
        session = self._uuid()
        file = File(f"projects/{len(self.files):02}/{session}.jsonl", session, project, branch)
        file.now_ms += after_ms
        self.files.append(file)
        return file

    def _plain(self, file: File, line: dict[str, Any]) -> None:
        """Write a line that has neither an id nor a time."""
        self.outcomes.written += 1
        self._bytes(file, line)

    def _line(self, file: File, line: dict[str, Any]) -> None:
        file.now_ms += SECOND_MS
        whole = {
            **line, "uuid": self._uuid(), "sessionId": file.session, "version": "2.1.220",
            "cwd": f"/home/robin/{file.project}", "gitBranch": file.branch,
            "isSidechain": bool(file.agent), "timestamp": _iso(file.now_ms),
        }  # fmt: skip
        if file.agent:
            whole["agentId"] = file.agent
        file.lines.append(whole)
        self.outcomes.written += 1
        self._bytes(file, whole)

    def _bytes(self, file: File, line: dict[str, Any]) -> None:
        text = json.dumps(line, ensure_ascii=False, separators=(",", ":"))
        file.raw += text.encode("utf-8", "surrogateescape") + b"\n"

    def _uuid(self) -> str:
        self._number += 1
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"orchard/{self._number}"))

    def _code(self, kind: str) -> str:
        self._number += 1
        return f"{kind}_{self._number:024x}"


def _message(message: str, model: str, tokens: Tokens) -> dict[str, Any]:
    usage = {
        "input_tokens": tokens.input, "output_tokens": tokens.output,
        "cache_creation_input_tokens": tokens.cache_creation,
        "cache_read_input_tokens": tokens.cache_read,
        "cache_creation": {"ephemeral_5m_input_tokens": tokens.cache_creation_5m,
                           "ephemeral_1h_input_tokens": tokens.cache_creation_1h},
    }  # fmt: skip
    block = {"type": "text", "text": "apples and pears"}
    return {"id": message, "role": "assistant", "model": model, "content": [block], "usage": usage}


def _iso(at_ms: int) -> str:
    moment = datetime.fromtimestamp(at_ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03d}Z"
