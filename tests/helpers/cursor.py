"""Stores of Cursor that a test makes, with the truth about them.

Owns databases of every version of a conversation that we know (``VERSIONS``), the lists that the
versions keep in three places, and what stands beside them; live changes of all kinds.
Promises that ``Truth`` holds exactly what was written, that secrets are planted at every place
where Cursor has any, and that a large database is quick to make.
Leaves what must become of it to the test. Everybody in it is invented.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blueplane.clock import iso_utc

VERSIONS = (3, 9, 10, 11, 13, 16, 18)
#: Planted wherever somebody's words or secrets are.
CANARY = "canary-marmalade"
START_MS = 1_770_000_000_000
MODELS = ("claude-4.5-sonnet", "gpt-5.2", "composer-1")
TOOLS = ("read_file", "edit_file_v2", "run_terminal_command_v2")
#: The version of a conversation from which its bubbles are rows, and from which they have times.
SPLIT, DATED = 9, 11
#: From which the list is in the global database, and from which it is a table there.
GLOBAL_LIST, TABLE_LIST = 13, 16

#: Of both tables of keys and values.
_COLUMNS = "(key TEXT UNIQUE ON CONFLICT REPLACE, value BLOB)"

Body = dict[str, Any]


@dataclass
class Truth:
    """What was written, by ids; a bubble is (composer, bubble)."""

    composers: dict[str, Body] = field(default_factory=dict)
    bubbles: dict[tuple[str, str], Body] = field(default_factory=dict)
    orphans: set[tuple[str, str]] = field(default_factory=set)
    blocks: dict[str, str] = field(default_factory=dict)
    generations: set[str] = field(default_factory=set)
    prompts: int = 0
    commits: dict[str, Body] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    chats: set[str] = field(default_factory=set)
    transcript_lines: int = 0


class CursorStores:
    """Stores of one user beneath ``user_home``; ``truth`` is what is in them."""

    def __init__(self, user_home: Path, version: int) -> None:
        self.version = version
        self.truth = Truth()
        self.user = user_home / ".config" / "Cursor" / "User"
        self.home = user_home / ".cursor"
        self.state = self.user / "globalStorage" / "state.vscdb"
        self.folder = user_home / "work" / f"teashop-v{version}"
        self.local = self.user / "workspaceStorage" / f"{version:032x}" / "state.vscdb"
        self.tracking = self.home / "ai-tracking" / "ai-code-tracking.db"
        self._clock_ms = START_MS + version * 86_400_000
        self._headers: dict[str, Body] = {}
        self._generations: list[Body] = []
        self._prompts: list[Body] = []
        for path in (self.state, self.local):
            path.parent.mkdir(parents=True, exist_ok=True)
            with writing(path) as database:
                _make_tables(database)
        uri = {"folder": f"file://{self.folder}"}
        (self.local.parent / "workspace.json").write_text(json.dumps(uri))
        self._plant()

    def now_ms(self) -> int:
        """Return a moment that nothing else has."""
        self._clock_ms += 1_000
        return self._clock_ms

    # -- conversations -----------------------------------------------------------------------------

    def converse(self, number: int, turns: int = 2) -> str:
        """Make a conversation; return its id."""
        composer_id = f"{self.version:08x}-0000-4000-8000-{number:012x}"
        created_ms = self.now_ms()
        body: Body = {
            "_v": self.version,
            "composerId": composer_id,
            "name": f"How to brew {CANARY}",
            "createdAt": created_ms,
            "status": "completed",
            "unifiedMode": "agent",
            "isAgentic": True,
            "modelConfig": {"modelName": MODELS[number % 3], "maxMode": False},
            "usageData": {},
            "totalLinesAdded": 10 + number,
            "totalLinesRemoved": number,
            "speculativeSummarizationEncryptionKey": f"{CANARY}-key",
            "blobEncryptionKey": f"{CANARY}-key",
            "subComposerIds": [],
            "somethingNew": f"{CANARY} of a later version",
            "codeBlockData": {},
        }
        body |= (
            {"conversation": []} if self.version < SPLIT else {"fullConversationHeadersOnly": []}
        )
        self.truth.composers[composer_id] = body
        for _ in range(turns):
            self.add_turn(composer_id)
        if self.version >= SPLIT:
            self._orphan(composer_id)
        return composer_id

    def add_turn(self, composer_id: str) -> list[str]:
        """Add a question, a tool call and an answer to a conversation, as Cursor does."""
        return [self.add_bubble(composer_id, kind) for kind in ("question", "tool", "answer")]

    def add_bubble(self, composer_id: str, kind: str) -> str:
        """Add a bubble, and then write the conversation that names it."""
        body = self.truth.composers[composer_id]
        count = sum(1 for owner, _ in self.truth.bubbles if owner == composer_id)
        bubble_id = f"{count:08x}-1111-4111-8111-{composer_id[-12:]}"
        bubble = self._bubble(bubble_id, kind, count)
        self.truth.bubbles[composer_id, bubble_id] = bubble
        if kind == "answer":
            self._block(body, bubble_id, count)
        if self.version < SPLIT:
            body["conversation"].append(bubble)
        else:
            entry = {"bubbleId": bubble_id, "type": bubble["type"]}
            body["fullConversationHeadersOnly"].append(entry)
            self.put(f"bubbleId:{composer_id}:{bubble_id}", bubble)
        self.save(composer_id)
        return bubble_id

    def _bubble(self, bubble_id: str, kind: str, count: int) -> Body:
        at_ms = self.now_ms()
        bubble: Body = {
            "_v": 3,
            "type": 1 if kind == "question" else 2,
            "bubbleId": bubble_id,
            "text": f"{CANARY} number {count}",
            "richText": f"{CANARY} in a frame",
            "tokenCount": {"inputTokens": 0, "outputTokens": 0},
            "workspaceUris": [f"file://{self.folder}"],
            "requestId": f"{count:08x}-2222-4222-8222-222222222222",
            "supportedTools": [1, 2, 3],
            "lints": [],
        }
        if self.version < DATED:
            times = {"clientRpcSendTime": at_ms, "clientEndTime": at_ms + 500}
            bubble |= {"timingInfo": times, "tokenCount": {"inputTokens": 900, "outputTokens": 70}}
        else:
            bubble["createdAt"] = iso_utc(at_ms)
        if kind != "question":
            bubble["modelInfo"] = {"modelName": MODELS[count % 3]}
        if kind == "tool":
            bubble["toolFormerData"] = {
                "tool": 5,
                "name": TOOLS[count % 3],
                "toolCallId": f"call_{self.version}_{count}_{bubble_id[-12:]}",
                "params": json.dumps({"path": f"/home/{CANARY}/tea.py"}),
                "result": f"{CANARY} was read",
                "status": "completed",
                "userDecision": "accepted",
            }
        if kind == "answer":
            bubble["thinking"] = {"text": f"{CANARY} thought", "signature": CANARY}
        return bubble

    def _block(self, body: Body, bubble_id: str, count: int) -> None:
        block_id = f"block-{self.version}-{bubble_id}"
        status = ("accepted", "rejected", "none")[count % 3]
        block = {"status": status, "bubbleId": bubble_id, "createdAt": self.now_ms()}
        uri = f"file://{self.folder}/{CANARY}.py"
        body["codeBlockData"].setdefault(uri, {})[block_id] = block
        self.truth.blocks[block_id] = status

    def _orphan(self, composer_id: str) -> None:
        bubble = self._bubble(f"orphan-{composer_id}", "answer", 0)
        self.truth.orphans.add((composer_id, bubble["bubbleId"]))
        self.put(f"bubbleId:{composer_id}:{bubble['bubbleId']}", bubble)

    def save(self, composer_id: str) -> None:
        """Write a conversation and its line of the list, as of a new moment."""
        body = self.truth.composers[composer_id]
        body["lastUpdatedAt"] = self.now_ms()
        self.put(f"composerData:{composer_id}", body)
        keys = ("composerId", "name", "createdAt", "lastUpdatedAt", "unifiedMode")
        header = {"type": "head", **{key: body[key] for key in keys}}
        if self.version >= GLOBAL_LIST:
            header["workspaceIdentifier"] = {"uri": {"fsPath": str(self.folder)}}
        self._headers[composer_id] = header
        self._save_list(header)

    def _save_list(self, header: Body) -> None:
        everybody = {"allComposers": list(self._headers.values())}
        if self.version < GLOBAL_LIST:
            self.put_item(self.local, "composer.composerData", everybody)
        elif self.version < TABLE_LIST:
            self.put_item(self.state, "composer.composerHeaders", everybody)
        else:
            with writing(self.state) as database:
                values = (header["composerId"], header["createdAt"], header["lastUpdatedAt"])
                database.execute(
                    "INSERT OR REPLACE INTO composerHeaders"
                    " (composerId, createdAt, lastUpdatedAt, isArchived, isSubagent, value)"
                    " VALUES (?, ?, ?, 0, 0, ?)",
                    (*values, json.dumps(header)),
                )

    # -- rows --------------------------------------------------------------------------------------

    def put(self, key: str, body: Body) -> None:
        """Write a row as Cursor does: the one before of the same key goes."""
        with writing(self.state) as database:
            row = (key, json.dumps(body))
            database.execute("INSERT OR REPLACE INTO cursorDiskKV VALUES (?, ?)", row)

    def change_in_place(self, composer_id: str, bubble_id: str, text: str) -> None:
        """Change a bubble by an UPDATE: its row keeps its number."""
        bubble = self.truth.bubbles[composer_id, bubble_id]
        bubble["text"] = text
        self._update(f"bubbleId:{composer_id}:{bubble_id}", bubble)

    def change_composer_in_place(self, composer_id: str) -> None:
        """Change a conversation by an UPDATE, and no list of it."""
        self.truth.composers[composer_id]["totalLinesAdded"] += 1
        self._update(f"composerData:{composer_id}", self.truth.composers[composer_id])

    def touch_in_place(self, composer_id: str) -> None:
        """Change a conversation by an UPDATE, and its line of the list."""
        body = self.truth.composers[composer_id]
        body["lastUpdatedAt"] = self.now_ms()
        body["totalLinesAdded"] += 1
        self._update(f"composerData:{composer_id}", body)
        self._headers[composer_id]["lastUpdatedAt"] = body["lastUpdatedAt"]
        self._save_list(self._headers[composer_id])

    def _update(self, key: str, body: Body) -> None:
        with writing(self.state) as database:
            row = (json.dumps(body), key)
            database.execute("UPDATE cursorDiskKV SET value = ? WHERE key = ?", row)

    def renumber(self) -> None:
        """Write all rows anew, with numbers from 1 on."""
        with writing(self.state) as database:
            database.execute("ALTER TABLE cursorDiskKV RENAME TO before")
            database.execute(f"CREATE TABLE cursorDiskKV {_COLUMNS}")
            database.execute("INSERT INTO cursorDiskKV SELECT * FROM before ORDER BY rowid")
            database.execute("DROP TABLE before")

    def put_blobs(self, count: int) -> None:
        """Write small rows that nobody reads."""
        with writing(self.state) as database:
            database.executemany(
                "INSERT INTO cursorDiskKV VALUES (?, 'x')",
                [(f"agentKv:blob:{number:08x}",) for number in range(count)],
            )

    def put_item(self, path: Path, key: str, body: object) -> None:
        """Write an item of a database."""
        with writing(path) as database:
            row = (key, json.dumps(body))
            database.execute("INSERT OR REPLACE INTO ItemTable VALUES (?, ?)", row)

    def run(self, sql: str, path: Path | None = None) -> None:
        """Run a statement on a database, the global one if none is named."""
        with writing(path or self.state) as database:
            database.execute(sql)

    # -- beside conversations ----------------------------------------------------------------------

    def remember(self, count: int = 3) -> None:
        """Have the workspace remember prompts, one of them typed twice, and generations."""
        for number in range(count):
            text = f"{CANARY} please" if number < 2 else f"{CANARY} {number}"
            self._prompts.append({"text": text, "commandType": 4})
            generation = f"{number + len(self._generations):08x}-3333-4333-8333-333333333333"
            self._generations.append(
                {"unixMs": self.now_ms(), "generationUUID": generation, "type": "composer",
                 "textDescription": f"{CANARY} please"}
            )  # fmt: skip
            self.truth.generations.add(generation)
        self.truth.prompts = len(self._prompts)
        self.put_item(self.local, "aiService.prompts", self._prompts)
        self.put_item(self.local, "aiService.generations", self._generations)

    def track(self, commits: int = 2, requests: int = 2, lines: int = 5) -> None:
        """Have Cursor say who wrote the lines of commits."""
        self.tracking.parent.mkdir(parents=True, exist_ok=True)
        with writing(self.tracking) as database:
            _make_tracking(database)
            for _ in range(commits):
                self._score(database, len(self.truth.commits))
            for _ in range(requests):
                self._write_lines(database, f"request-{len(self.truth.lines)}", lines)

    def _score(self, database: sqlite3.Connection, number: int) -> None:
        commit = f"{number:040x}"
        body = {"linesAdded": 30 + number, "linesDeleted": 4, "composerLinesAdded": 20,
                "humanLinesAdded": 10 + number, "v2AiPercentage": "66.6"}  # fmt: skip
        row = {"commitHash": commit, "branchName": CANARY, "scoredAt": self.now_ms(),
               "commitMessage": f"{CANARY} brewed", **body}  # fmt: skip
        marks = ", ".join("?" * len(row))
        sql = f"INSERT INTO scored_commits ({', '.join(row)}) VALUES ({marks})"
        database.execute(sql, tuple(row.values()))
        self.truth.commits[commit] = body

    def _write_lines(self, database: sqlite3.Connection, request: str, lines: int) -> None:
        before = self.truth.lines.get(request, 0)
        for number in range(before, before + lines):
            database.execute(
                "INSERT INTO ai_code_hashes VALUES (?, 'composer', 'py', ?, ?, ?, ?, ?, ?)",
                (f"{request}-{number}", f"/home/{CANARY}/tea.py", request,
                 f"{self.version:08x}-0000-4000-8000-000000000000", self.now_ms(), MODELS[0],
                 self.now_ms()),
            )  # fmt: skip
        self.truth.lines[request] = before + lines

    def write_more_lines(self, request: str, lines: int) -> None:
        """Have a request write more lines."""
        with writing(self.tracking) as database:
            self._write_lines(database, request, lines)

    def chat(self, number: int = 0) -> None:
        """Make a chat of the command line."""
        chat_id = f"{number:08x}-4444-4444-8444-444444444444"
        directory = self.home / "chats" / f"{number:032x}" / chat_id
        directory.mkdir(parents=True)
        meta = {
            "schemaVersion": 1,
            "createdAtMs": self.now_ms(),
            "updatedAtMs": self.now_ms(),
            "hasConversation": True,
            "cwd": str(self.folder),
            "title": f"{CANARY}?",
        }
        (directory / "meta.json").write_text(json.dumps(meta))
        with writing(directory / "store.db") as database:
            database.execute("CREATE TABLE blobs (id TEXT PRIMARY KEY, data BLOB)")
            database.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT)")
            body = {
                "agentId": chat_id,
                "name": CANARY,
                "lastUsedModel": MODELS[1],
                "mode": "default",
            }
            database.execute("INSERT INTO meta VALUES ('0', ?)", (json.dumps(body).encode().hex(),))
        self.truth.chats.add(chat_id)

    def transcribe(self, lines: int = 3, *, torn: bool = False) -> Path:
        """Append lines to the transcript of an agent; return its path."""
        session = f"{self.version:08x}-5555-4555-8555-555555555555"
        directory = self.home / "projects" / "work-teashop" / "agent-transcripts" / session
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{session}.jsonl"
        with path.open("a") as file:
            for number in range(lines):
                content: list[Body] = [{"type": "text", "text": f"{CANARY} {number}"}]
                if number % 2:
                    tool = {"type": "tool_use", "name": "Read", "input": {"path": f"/{CANARY}"}}
                    content.append(tool)
                role = ("user", "assistant")[number % 2]
                file.write(json.dumps({"role": role, "message": {"content": content}}) + "\n")
            if torn:
                file.write('{"role": "assistant", "mess')
        self.truth.transcript_lines += lines
        return path

    def fill(self) -> None:
        """Make some of everything."""
        for number in range(3):
            self.converse(number)
        self.remember()
        self.track()
        self.chat()
        self.transcribe()

    def inflate(self, megabytes: int) -> None:
        """Make the global database larger by rows that nobody reads, of zeros."""
        with writing(self.state) as database:
            for number in range(megabytes):
                database.execute(
                    "INSERT INTO cursorDiskKV VALUES (?, zeroblob(1048576))",
                    (f"agentKv:blob:{number:064x}",),
                )

    # -- secrets -----------------------------------------------------------------------------------

    def _plant(self) -> None:
        """Write what nobody may ever read."""
        for key in ("cursorAuth/accessToken", "cursorAuth/refreshToken", "cursorAuth/cachedEmail"):
            for path in (self.state, self.local):
                self.put_item(path, key, f"{CANARY}-secret")
        for key in ("agentKv:blob:00", "messageRequestContext:a:b", "composer.content.00"):
            self.put(key, {"text": f"{CANARY}-secret"})


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """Write to a database in one transaction, as Cursor has it: with a -wal while it is open."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=5)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        yield connection
        connection.execute("COMMIT")
    finally:
        connection.close()


def _make_tables(database: sqlite3.Connection) -> None:
    for table in ("ItemTable", "cursorDiskKV"):
        database.execute(f"CREATE TABLE {table} {_COLUMNS}")
    database.execute(
        "CREATE TABLE composerHeaders (composerId TEXT PRIMARY KEY, workspaceId TEXT,"
        " createdAt INTEGER, lastUpdatedAt INTEGER, isArchived INTEGER, isSubagent INTEGER,"
        " recency INTEGER, checkpointAt INTEGER, value TEXT)"
    )


def _make_tracking(database: sqlite3.Connection) -> None:
    database.execute(
        "CREATE TABLE IF NOT EXISTS ai_code_hashes (hash TEXT PRIMARY KEY, source TEXT,"
        " fileExtension TEXT, fileName TEXT, requestId TEXT, conversationId TEXT,"
        " timestamp INTEGER, model TEXT, createdAt INTEGER)"
    )
    database.execute(
        "CREATE TABLE IF NOT EXISTS scored_commits (commitHash TEXT, branchName TEXT,"
        " scoredAt INTEGER, linesAdded INTEGER, linesDeleted INTEGER, tabLinesAdded INTEGER,"
        " tabLinesDeleted INTEGER, composerLinesAdded INTEGER, composerLinesDeleted INTEGER,"
        " humanLinesAdded INTEGER, humanLinesDeleted INTEGER, blankLinesAdded INTEGER,"
        " blankLinesDeleted INTEGER, commitMessage TEXT, commitDate TEXT, v1AiPercentage TEXT,"
        " v2AiPercentage TEXT, PRIMARY KEY (commitHash, branchName))"
    )
