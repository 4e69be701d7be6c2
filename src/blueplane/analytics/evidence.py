"""Which rows of the road say what a record says: a call, a tool call, a prompt.

Owns by what a row is known to speak of a record.
Promises rows of the record's own session, in the order in which they were written.
Leaves finding a row's line in a file to ``capture/claude_code/finding.py``.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from blueplane.analytics.conversations.words import tool_key
from blueplane.analytics.export import call_id
from blueplane.analytics.usage import Usage
from blueplane.store.derived import Trace
from blueplane.store.queries import Reader

#: Rows of one read.
_PAGE: Final = 1_000
#: Rows that begin a turn.
_PROMPTS: Final = frozenset({"user", "UserPromptSubmit", "beforeSubmitPrompt"})


def rows_of(reader: Reader, records: Iterable[Mapping[str, Any]]) -> list[list[Trace]]:
    """Return for each record the rows that speak of it."""
    wanted = list(records)
    found: defaultdict[tuple[str, Any], list[Trace]] = defaultdict(list)
    keys = {(each["session_id"], _key(each)) for each in wanted}
    for session_id in {each["session_id"] for each in wanted}:
        for trace in _rows(reader, session_id):
            for key in _said(trace):
                if (session_id, key) in keys:
                    found[session_id, key].append(trace)
    return [found[each["session_id"], _key(each)] for each in wanted]


def _key(record: Mapping[str, Any]) -> Any:  # noqa: ANN401 - whatever a record is known by
    if "call_id" in record:
        return record["call_id"]
    return ("prompt", record["at_ms"]) if record["key"] is None else record["key"]


def _said(trace: Trace) -> Iterator[Any]:
    """Yield what a row speaks of."""
    call = Usage().read(trace)
    if call is not None:
        yield call_id(*call.key)
    if trace.tool_use_id:
        yield tool_key(trace.platform, trace.tool_use_id)
    if trace.hook_type in _PROMPTS and not trace.tool_use_id:
        yield "prompt", trace.timestamp_ms


def _rows(reader: Reader, session_id: str) -> Iterator[Trace]:
    after = 0
    while found := reader.of_session(session_id, after, _PAGE):
        yield from found
        after = found[-1].sequence
