"""Invented transcripts of Claude Code, of any size, and exactly what is true of them.

Owns ``Scribe``, which yields lines to append, file by file or mixed, and ``Truth``.
Promises that the same seed writes the same bytes, that the truth holds after every line that was
taken, and that nobody real is in any of it.
Leaves writing to the test: all at once, or while a server reads along.
"""

import json
import random
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

#: Tokens of a call: input, output, cache creation, of it 5 minutes and 1 hour, cache read.
Tokens = tuple[int, int, int, int, int, int]
#: A call: (message id or uuid, request id).
Key = tuple[str, str]
#: A line to append: the path below the root, and its bytes.
Written = tuple[str, bytes]

START: Final = datetime(2026, 9, 1, 9, tzinfo=UTC)
MODELS: Final = ("claude-opus-4-1-20250805", "claude-sonnet-4-5-20250929", "claude-haiku-4-5")
WORDS: Final = (
    "alder", "birch", "cedar", "elder", "hazel", "linden", "maple", "rowan", "spruce", "willow"
)  # fmt: skip
MALFORMED: Final = (
    b'{"type":"assistant","uuid":"broken',
    b"[1,2,3]",
    b'"only a text"',
    b"null",
    b"not json at all",
    b"\xff\xfe\x00{",
)
TOOLS: Final = ("Bash", "Read", "Edit", "Write", "Grep", "Glob", "TodoWrite", "Task")
USAGE_ZERO: Final = {"web_search_requests": 0, "web_fetch_requests": 0}


@dataclass
class Truth:
    """What is true of everything that was written.

    ``events`` are lines that make a row, ``copies`` those that another file has already.
    """

    calls: dict[Key, Tokens] = field(default_factory=dict)
    models: dict[Key, str] = field(default_factory=dict)
    final: set[Key] = field(default_factory=set)
    sessions: set[str] = field(default_factory=set)
    agents: dict[str, str] = field(default_factory=dict)
    events: int = 0
    copies: int = 0
    malformed: int = 0
    synthetic: int = 0
    bytes: int = 0
    kinds: Counter[str] = field(default_factory=Counter)

    def totals(self) -> Tokens:
        """Return the sum of all calls."""
        sums = [sum(values) for values in zip(*self.calls.values(), strict=True)]
        return (sums[0], sums[1], sums[2], sums[3], sums[4], sums[5])


@dataclass
class _Session:
    """One file in the making, and the lines that a fork may copy."""

    path: str
    session_id: str
    cwd: str
    version: str
    branch: str
    agent: str = ""
    parent: str | None = None
    prompt: str = ""
    now: datetime = START
    written: list[dict[str, Any]] = field(default_factory=list)


class Scribe:
    """Writes sessions; ``filler`` is about how many bytes of text a line has.

    Sessions begin within so many ``days`` after the start; ``skew`` is the share of lines that are
    written by a clock that is off.
    """

    def __init__(
        self, seed: int = 1, filler: int = 1_500, days: int = 60, skew: float = 0.01
    ) -> None:
        self._random = random.Random(seed)
        self._filler, self._days, self._skew = filler, days, skew
        self._prose = " ".join(self._random.choices(WORDS, k=8_000))
        self.truth = Truth()
        self._past: list[_Session] = []
        self._of_main: list[Key] = []

    def lines(self, size: int) -> Iterator[Written]:
        """Yield lines, session after session, until there are ``size`` bytes of them."""
        while self.truth.bytes < size:
            yield from self._session()

    def mixed(self, size: int, files: int = 4) -> Iterator[Written]:
        """Yield lines of several sessions by turns."""
        open_ones = [self._session() for _ in range(files)]
        while self.truth.bytes < size:
            index = self._random.randrange(files)
            line = next(open_ones[index], None)
            if line is None:
                open_ones[index] = self._session()
            else:
                yield line

    # -- a session ---------------------------------------------------------------------------------

    def _session(self) -> Iterator[Written]:
        dice = self._random
        name, session_id = dice.choice(WORDS), self._uuid()
        session = _Session(
            f"-home-robin-{name}/{session_id}.jsonl", session_id, f"/home/robin/{name}",
            dice.choice(("1.0.98", "2.0.42", "2.1.220")), dice.choice(("main", "feature/leaves")),
            now=START + timedelta(minutes=dice.randrange(60 * 24 * self._days)),
        )  # fmt: skip
        self.truth.sessions.add(session_id)
        if self._past and dice.random() < 0.15:
            yield from self._fork(session)
        else:
            yield self._plain(session, {"type": "summary", "summary": "Leaves", "leafUuid": "x"})
        yield self._plain(session, {"type": "mode", "mode": "default", "sessionId": session_id})
        for _ in range(dice.randint(1, 6)):
            yield from self._turn(session)
        if dice.random() < 0.3:
            yield self._plain(session, self._cost(session))
        self._past = [*self._past[-5:], session]

    def _fork(self, session: _Session) -> Iterator[Written]:
        """Copy lines of an earlier session, as a resumed one does, under either session's id."""
        source = self._random.choice(self._past)
        renamed = self._random.random() < 0.5
        for line in source.written[: self._random.randint(1, 12)]:
            copy = {**line, "sessionId": session.session_id} if renamed else line
            self.truth.copies += 1
            yield self._bytes(session, copy)

    def _turn(self, session: _Session) -> Iterator[Written]:
        dice = self._random
        session.prompt = self._uuid()
        yield self._line(session, {"type": "user", "message": self._says("user")})
        for _ in range(dice.randint(1, 4)):
            yield from self._call(session)
            if dice.random() < 0.05:
                yield self._malformed(session)
            if dice.random() < 0.05:
                yield self._synthetic(session)
        if dice.random() < 0.25 and not session.agent:
            yield from self._agent(session)
        turn = {"type": "system", "subtype": "turn_duration", "durationMs": dice.randrange(9_000)}
        yield self._line(session, turn)

    # -- lines -------------------------------------------------------------------------------------

    def _call(self, session: _Session) -> Iterator[Written]:
        """Write a call: a line for each block, with a placeholder for tokens until the last."""
        dice = self._random
        message_id, request_id = f"msg_{self._code()}", f"req_{self._code()}"
        if dice.random() < 0.05:
            request_id = ""
        model, blocks = dice.choice(MODELS), dice.randint(1, 4)
        five, hour = dice.randrange(4_000), dice.randrange(0, 900, 3)
        output, read = dice.randint(10, 6_000), dice.randrange(90_000)
        tokens = (dice.randint(1, 40), output, five + hour, five, hour, read)
        ends = dice.random() < 0.8
        tool_id = f"toolu_{self._code()}"
        for number in range(blocks):
            last = number == blocks - 1
            output = tokens[1] if last else dice.randint(1, 9)
            seen = (tokens[0], output, tokens[2], tokens[3], tokens[4], tokens[5])
            message = self._answer(message_id, model, seen, tool_id if last else "")
            message["stop_reason"] = "tool_use" if last and ends else None
            self._count(session, (message_id, request_id), model, seen, ended=last and ends)
            yield self._assistant(session, message, request_id)
        result = {"type": "user", "message": self._result(tool_id), "toolUseResult": self._tool()}
        yield self._line(session, result)
        if session.agent and self._of_main and dice.random() < 0.2:
            yield self._replay(session)

    def _assistant(self, session: _Session, message: dict[str, Any], request_id: str) -> Written:
        line = {"type": "assistant", "message": message}
        if request_id:
            line["requestId"] = request_id
        return self._line(session, line)

    def _replay(self, session: _Session) -> Written:
        """Write a call of the main thread again, as a side chain does: it is the same call."""
        key = self._random.choice(self._of_main)
        message = self._answer(key[0], self.truth.models[key], self.truth.calls[key], "")
        return self._assistant(session, message, f"req_{self._code()}")

    def _count(
        self, session: _Session, key: Key, model: str, tokens: Tokens, *, ended: bool
    ) -> None:
        truth = self.truth
        if key not in truth.calls and key[1] and not session.agent:
            self._of_main = [*self._of_main[-20:], key]
        before = truth.calls.get(key, (0,) * 6)
        best = [max(pair) for pair in zip(before, tokens, strict=True)]
        truth.calls[key] = (best[0], best[1], best[2], best[3], best[4], best[5])
        truth.models[key] = model
        if ended:
            truth.final.add(key)

    def _synthetic(self, session: _Session) -> Written:
        self.truth.synthetic += 1
        message = self._answer(self._uuid(), "<synthetic>", (0, 0, 0, 0, 0, 0), "")
        message["stop_reason"] = "stop_sequence"
        return self._line(
            session, {"type": "assistant", "message": message, "isApiErrorMessage": True}
        )

    def _agent(self, session: _Session) -> Iterator[Written]:
        """Write a sub-agent's file beside the session, or, with what describes it, below it."""
        agent_id = f"a{self._random.getrandbits(40):010x}"
        directory, _, _ = session.path.rpartition("/")
        below = self._random.random() < 0.6
        path = f"{directory}/agent-{agent_id}.jsonl"
        if below:
            path = f"{directory}/{session.session_id}/subagents/agent-{agent_id}.jsonl"
            meta = {"agentType": "Explore", "description": "look", "toolUseId": "toolu_1",
                    "spawnDepth": 1}  # fmt: skip
            self.truth.events += 1
            self.truth.kinds["agent-meta"] += 1
            yield path.replace(".jsonl", ".meta.json"), json.dumps(meta).encode()
        self.truth.agents[agent_id] = session.session_id
        agent = _Session(
            path, session.session_id, session.cwd, session.version, session.branch, agent_id,
            now=session.now,
        )  # fmt: skip
        yield from self._turn(agent)
        session.now = agent.now

    def _cost(self, session: _Session) -> dict[str, Any]:
        usage = {"inputTokens": 10, "outputTokens": 20, "costUSD": 0.25}
        return {
            "type": "cost-state", "sessionId": session.session_id, "totalCostUSD": 0.25,
            "totalDuration": 1_000, "modelUsage": {MODELS[0]: usage},
        }  # fmt: skip

    def _answer(self, message_id: str, model: str, tokens: Tokens, tool: str) -> dict[str, Any]:
        block: dict[str, Any] = {"type": "text", "text": self._text()}
        if tool:
            block = {"type": "tool_use", "id": tool, "name": self._random.choice(TOOLS),
                     "input": {"command": "make leaves", "description": self._text()}}  # fmt: skip
        return {
            "id": message_id, "type": "message", "role": "assistant", "model": model,
            "content": [block], "stop_reason": None, "stop_sequence": None,
            "usage": {
                "input_tokens": tokens[0], "cache_creation_input_tokens": tokens[2],
                "cache_read_input_tokens": tokens[5], "output_tokens": tokens[1],
                "cache_creation": {"ephemeral_5m_input_tokens": tokens[3],
                                   "ephemeral_1h_input_tokens": tokens[4]},
                "server_tool_use": USAGE_ZERO, "service_tier": "standard",
            },
        }  # fmt: skip

    def _says(self, role: str) -> dict[str, Any]:
        return {"role": role, "content": self._text()}

    def _result(self, tool_id: str) -> dict[str, Any]:
        block = {"type": "tool_result", "tool_use_id": tool_id, "content": self._text()}
        return {"role": "user", "content": [block]}

    def _tool(self) -> object:
        """Return what one of several tools answered."""
        text, number = self._text(), self._random.randrange(400)
        path = f"/home/robin/alder/{self._random.choice(WORDS)}.py"
        patch = [{"oldStart": number, "oldLines": 1, "newStart": number, "newLines": 2,
                  "lines": ["-elm", "+elm", "+ash"]}]  # fmt: skip
        return self._random.choice(
            (
                {"stdout": text, "stderr": "", "interrupted": False, "isImage": False},
                {"stdout": text, "stderr": "", "interrupted": False, "isImage": False,
                 "noOutputExpected": False},
                {"filePath": path, "oldString": text, "newString": text, "originalFile": None,
                 "structuredPatch": patch, "userModified": False, "replaceAll": False},
                {"type": "text", "file": {"filePath": path, "content": text, "numLines": number,
                                          "startLine": 1, "totalLines": number}},
                {"type": "create", "filePath": path, "content": text, "structuredPatch": [],
                 "originalFile": None},
                {"mode": "files_with_matches", "filenames": [path] * 3, "numFiles": 3},
                {"filenames": [path], "durationMs": number, "numFiles": 1, "truncated": False},
                {"oldTodos": [{"content": text}], "newTodos": [{"content": text}] * 2},
                f"Error: {text}",
            )
        )  # fmt: skip

    def _malformed(self, session: _Session) -> Written:
        self.truth.malformed += 1
        raw = self._random.choice(MALFORMED) + b"\n"
        self.truth.bytes += len(raw)
        return session.path, raw

    def _plain(self, session: _Session, line: dict[str, Any]) -> Written:
        """Write a line that has neither a uuid nor a time."""
        self.truth.events += 1
        self.truth.kinds[line["type"]] += 1
        return self._bytes(session, line)

    def _line(self, session: _Session, line: dict[str, Any]) -> Written:
        dice = self._random
        session.now += timedelta(milliseconds=dice.randint(5, 20_000))
        moment = session.now
        if dice.random() < self._skew:
            moment += timedelta(days=dice.choice((-3_650, 3_650)))
        identity = self._uuid()
        whole = {
            "parentUuid": session.parent, "isSidechain": bool(session.agent),
            "userType": "external", "cwd": session.cwd, "sessionId": session.session_id,
            "version": session.version, "gitBranch": session.branch, "entrypoint": "cli",
            **line, "uuid": identity, "promptId": session.prompt,
            "timestamp": f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z",
        }  # fmt: skip
        if session.agent:
            whole["agentId"] = session.agent
        session.parent = identity
        session.written.append(whole)
        self.truth.events += 1
        self.truth.kinds[line["type"]] += 1
        return self._bytes(session, whole)

    def _bytes(self, session: _Session, line: dict[str, Any]) -> Written:
        raw = json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode()
        if self._random.random() < 0.01 and b"rowan" in raw:
            raw = raw.replace(b"rowan", b"row\xffn", 1)  # what no UTF-8 text holds
        self.truth.bytes += len(raw) + 1
        return session.path, raw + b"\n"

    def _text(self) -> str:
        length = int(self._random.expovariate(1 / self._filler)) + 1
        start = self._random.randrange(len(self._prose) // 2)
        return self._prose[start : start + length]

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def _code(self) -> str:
        return "01" + f"{self._random.getrandbits(110):022x}"


def write(root: Path, lines: Iterator[Written]) -> None:
    """Append lines to their files below ``root``, the directory of all projects."""
    for path, group in _grouped(lines):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("ab") as out:
            out.write(b"".join(group))


def _grouped(lines: Iterator[Written]) -> Iterator[tuple[str, list[bytes]]]:
    path, group = "", list[bytes]()
    for name, raw in lines:
        if name != path and group:
            yield path, group
            group = []
        path = name
        group.append(raw)
    if group:
        yield path, group
