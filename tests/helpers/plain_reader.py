"""An independent reading of transcripts by the rules of the figures; shares no code with ours.

Owns forty lines that somebody else might have written.
Promises calls with the maximum of each kind of tokens, over all files of a tree.
Leaves comparing to the tests.
"""

import json
from pathlib import Path
from typing import Any

KINDS = ("input_tokens", "output_tokens", "cache_creation_input_tokens")
NESTED = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")


def read_calls(root: Path) -> dict[tuple[str, str], tuple[int, ...]]:
    """Return the calls of transcripts below ``root`` by (message id, uuid or place, request id)."""
    calls: dict[tuple[str, str], tuple[int, ...]] = {}
    main: dict[tuple[str, str], bool] = {}
    for path in sorted(root.rglob("*.jsonl")):
        for number, raw in enumerate(path.read_bytes().split(b"\n")[:-1]):
            line = parse(raw)
            message = line.get("message")
            if line.get("type") != "assistant" or not isinstance(message, dict):
                continue
            usage = message.get("usage")
            if not isinstance(usage, dict) or message.get("model") == "<synthetic>":
                continue
            name = message.get("id") or line.get("uuid") or f"{path}:{number}"
            key = (name, line.get("requestId", ""))
            nested = usage.get("cache_creation") or {}
            found = [usage.get(kind, 0) for kind in KINDS]
            found += [nested.get(kind, 0) for kind in NESTED]
            found.append(usage.get("cache_read_input_tokens", 0))
            before = calls.get(key, (0,) * 6)
            calls[key] = tuple(map(max, before, found))
            main[key] = main.get(key, False) or not line.get("isSidechain")
    first = {message for message, request in calls if main[message, request]}
    return {key: tokens for key, tokens in calls.items() if main[key] or key[0] not in first}


def parse(raw: bytes) -> dict[str, Any]:
    """Read a line; what is no object has nothing in it."""
    try:
        line = json.loads(raw.decode("utf-8", "replace"))
    except ValueError:
        return {}
    return line if isinstance(line, dict) else {}
