"""The worker ``usage``: one row per call to a model's API, with its tokens.

Owns which rows speak of a call, and by what two of them are known to speak of the same one.
Promises the maximum of each kind of token over all rows of a call, in whatever files they were, and
None for what no row says.
Leaves prices, and summing up, to whoever reads the table.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from blueplane.analytics.fields import amount, cost, largest, measured, number, table, text
from blueplane.event import MAX_INT
from blueplane.store.derived import Call, Derived, Tokens, Trace

#: The model of a message that no model made.
SYNTHETIC: Final = "<synthetic>"
#: Dollars that no call takes: what says more is nonsense, and no sum could hold it.
MOST_USD: Final = 100_000.0
#: Cursor's hooks that say how many tokens a generation took.
_CURSOR_HOOKS: Final = ("afterAgentResponse", "stop")


class Usage:
    """The worker of API calls."""

    name = "usage"

    def read(self, trace: Trace) -> Call | None:
        """Return what a row says of a call; None when it speaks of none."""
        match trace.platform, trace.source, trace.hook_type:
            case "claude_code", "transcript", "assistant":
                return _claude_call(trace)
            case "cursor", "hook", hook if hook in _CURSOR_HOOKS and trace.turn_id:
                return _cursor_call(trace)
        return None

    def write(self, tables: Derived, found: Sequence[Call]) -> None:
        """Store calls, those of one call as one."""
        calls: dict[tuple[int, int], Call] = {}
        for call in found:
            before = calls.get(call.key)
            calls[call.key] = call if before is None else _merged(before, call)
        tables.add_calls(calls.values())


def _claude_call(trace: Trace) -> Call | None:
    """Read an assistant's line; one without usage, or that no model made, is of no call."""
    payload = trace.payload
    message = table(payload, "message")
    tokens = _claude_tokens(trace, table(message, "usage"))
    model = trace.model or message.get("model")
    if model == SYNTHETIC or not any(token is not None for token in tokens):
        return None
    agent = text(payload, "agentId")
    return Call(
        _claude_key(trace, text(message, "id"), text(payload, "requestId")),
        trace.platform,
        trace.session_id,
        agent,
        bool(payload.get("isSidechain")) or agent is not None,
        model if isinstance(model, str) else None,
        trace.project or None,
        text(payload, "gitBranch"),
        trace.timestamp_ms,
        text(message, "stop_reason") is not None,
        Tokens(*map(measured, tokens)),
        _believable_cost(cost(payload.get("costUSD"))),
    )


def _claude_key(trace: Trace, message_id: str | None, request_id: str | None) -> tuple[int, int]:
    """Return what a call is known by: message and request, the message alone, else the line."""
    if message_id is None:
        return number("line", trace.event_id.hex()), 0
    message = number("call", trace.platform, message_id)
    return message, number("request", request_id) if request_id else 0


def _claude_tokens(trace: Trace, usage: Mapping[str, Any]) -> Tokens:
    """Take the columns, else what the payload has; older versions left the sum of a kind at 0."""
    nested = table(usage, "cache_creation")
    five_minutes = amount(nested.get("ephemeral_5m_input_tokens"))
    one_hour = amount(nested.get("ephemeral_1h_input_tokens"))
    parts = [part for part in (five_minutes, one_hour) if part is not None]
    created = _either(trace.cache_creation_tokens, usage, "cache_creation_input_tokens")
    return Tokens(
        _either(trace.input_tokens, usage, "input_tokens"),
        _either(trace.output_tokens, usage, "output_tokens"),
        five_minutes,
        one_hour,
        largest(created, min(sum(parts), MAX_INT) if parts else None),
        _either(trace.cache_read_tokens, usage, "cache_read_input_tokens"),
    )


def _cursor_call(trace: Trace) -> Call:
    """Read a hook; a generation that took no tokens at all is one of which they are unknown."""
    tokens = Tokens(
        input=trace.input_tokens,
        output=trace.output_tokens,
        cache_creation=trace.cache_creation_tokens,
        cache_read=trace.cache_read_tokens,
    )
    return Call(
        (number("call", trace.platform, trace.turn_id), 0),
        trace.platform,
        trace.session_id,
        None,
        False,  # noqa: FBT003 - a field of a record
        trace.model,
        trace.project or None,
        None,
        trace.timestamp_ms,
        trace.hook_type == "stop",
        Tokens(*map(measured, tokens)) if any(tokens) else Tokens(),
        None,
    )


def _believable_cost(usd: float | None) -> float | None:
    return usd if usd is not None and usd <= MOST_USD else None


def _merged(before: Call, call: Call) -> Call:
    """Return what two rows say of one call, as the table would have it."""
    sidechain = before.sidechain and call.sidechain
    return before._replace(
        agent=(before.agent or call.agent) if sidechain else None,
        sidechain=sidechain,
        model=before.model or call.model,
        project=before.project or call.project,
        branch=before.branch or call.branch,
        timestamp_ms=min(before.timestamp_ms, call.timestamp_ms),
        final=before.final or call.final,
        tokens=Tokens(*map(largest, before.tokens, call.tokens)),
        reported_cost_usd=largest(before.reported_cost_usd, call.reported_cost_usd),
    )


def _either(column: int | None, usage: Mapping[str, Any], key: str) -> int | None:
    return amount(usage.get(key)) if column is None else column
