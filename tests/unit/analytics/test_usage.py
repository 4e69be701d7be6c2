"""Calls: one row each, the maximum of each field, and nothing that is not known."""

from typing import Any

import pytest

from blueplane.event import MAX_INT, Event
from helpers.desk import T0_MS, Desk, answer, at, hook, line

TOKENS = "input_tokens, output_tokens, cache_read_tokens, cache_creation_tokens"


def streamed(number: int, call: int, output: int, **changes: Any) -> Event:
    """Make one of several lines of a call."""
    message = {"id": f"msg_{call}", **changes.pop("message", {})}
    payload = {"requestId": f"req_{call}", **changes.pop("payload", {})}
    return answer(number, (7, output, 3, 2), message=message, payload=payload, **changes)


def test_a_call_is_one_row_with_the_most_tokens_when_its_lines_repeat_them(desk: Desk) -> None:
    """Streamed lines repeat a call with placeholders: maximum of each field, final by one."""
    # Given a call of three lines, the last but one of which is complete, and a call without an end
    desk.tell(
        streamed(1, 1, 2),
        streamed(2, 1, 900, message={"stop_reason": "end_turn"}),
        streamed(3, 1, 4),
        streamed(4, 2, 1),
    )
    # When
    found = desk.usage(f"{TOKENS}, final, model, timestamp_ms")
    # Then
    assert found == [
        (7, 900, 3, 2, 1, "claude-opus-4", T0_MS + 1), (7, 1, 3, 2, 0, "claude-opus-4", T0_MS + 4)
    ]  # fmt: skip


def test_a_call_is_one_row_when_its_lines_are_in_several_batches(desk: Desk) -> None:
    """What a batch says is joined with what is stored already, whichever comes first."""
    # Given / When
    desk.tell(streamed(3, 1, 900, message={"stop_reason": "tool_use"}))
    desk.tell(streamed(1, 1, 2), streamed(2, 1, 5))
    # Then
    assert desk.usage("output_tokens, final, timestamp_ms") == [(900, 1, T0_MS + 1)]


def test_a_call_is_known_across_files_and_sessions_when_its_ids_are_copied(desk: Desk) -> None:
    """A resumed file that rewrote uuid and session is the same call, and belongs to the first."""
    # Given / When
    desk.tell(streamed(1, 1, 50), streamed(2, 1, 60, session_id="session-2"))
    # Then
    assert desk.usage("session_id, output_tokens") == [("session-1", 60)]


def test_a_call_is_known_by_less_when_ids_are_missing(desk: Desk) -> None:
    """Message and request; the message alone; the line itself where there is neither."""
    # Given
    alone = {"payload": {"requestId": None}}
    nothing = {"message": {"id": None}, "payload": {"requestId": None}}
    # When
    desk.tell(
        answer(1, message={"id": "msg_a"}, payload={"requestId": "r-1"}),
        answer(2, message={"id": "msg_a"}, payload={"requestId": "r-2"}),
        answer(3, message={"id": "msg_b"}, **alone),
        answer(4, message={"id": "msg_b"}, **alone),
        answer(5, **nothing),
        answer(6, **nothing),
    )
    # Then
    assert len(desk.usage()) == 2 + 1 + 2


@pytest.mark.parametrize("parent_first", [True, False])
def test_a_replay_in_a_sidechain_counts_once_when_its_request_is_another(
    desk: Desk, parent_first: bool
) -> None:
    """A sub-agent's transcript that repeats its parent's messages has other request ids."""
    # Given a call of the parent, and the copies of it in two sub-agents' files
    call = {"message": {"id": "msg_a"}}
    parent = answer(1, (10, 500, 0, 0), payload={"requestId": "r-1"}, **call)
    copies = [
        answer(
            number, (10, 20, 0, 0), **call,
            payload={"requestId": f"r-{number}", "isSidechain": True, "agentId": f"a{number}"},
        )
        for number in (2, 3)
    ]  # fmt: skip
    # When they come in one order or in the other
    desk.tell(*([parent] if parent_first else copies))
    desk.tell(*(copies if parent_first else [parent]))
    # Then
    assert desk.usage("output_tokens, parent_session_id, agent_id") == [(500, None, None)]


def test_a_replay_counts_once_when_only_sidechains_have_it(desk: Desk) -> None:
    """Of copies in sub-agents' files, whose parent is in none, the first in time stays."""
    # Given / When
    for number in (3, 2):
        payload = {"requestId": f"r-{number}", "isSidechain": True, "agentId": f"a{number}"}
        desk.tell(answer(number, message={"id": "msg_a"}, payload=payload))
    # Then
    assert desk.usage("timestamp_ms, agent_id") == [(T0_MS + 2, "a2")]


def test_a_call_of_a_sub_agent_is_linked_when_it_has_one(desk: Desk) -> None:
    """Lines of a sub-agent have the session of its parent, and name the agent."""
    # Given / When
    desk.tell(answer(1), answer(2, payload={"isSidechain": True, "agentId": "a77"}))
    # Then
    assert desk.usage("session_id, parent_session_id, agent_id") == [
        ("session-1", None, None), ("session-1", "session-1", "a77")
    ]  # fmt: skip


def test_cache_creation_is_whole_when_only_its_parts_are_written(desk: Desk) -> None:
    """Old versions left the sum at 0 beside parts that are not; elsewhere the sum holds."""
    # Given
    parts = {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 4}
    message = {"usage": {"cache_creation": parts}}
    # When
    desk.tell(answer(1, (1, 1, 0, 0), message=message), answer(2, (1, 1, 0, 50), message=message))
    # Then
    columns = "cache_creation_tokens, cache_creation_5m_tokens, cache_creation_1h_tokens"
    assert desk.usage(columns) == [(34, 30, 4), (50, 30, 4)]


def test_tokens_are_read_of_the_payload_when_they_are_no_columns(desk: Desk) -> None:
    """What a column could not hold stays in the payload, and nonsense counts as nothing."""
    # Given
    usage = {
        "input_tokens": 11, "output_tokens": -1, "cache_read_input_tokens": MAX_INT + 1,
        "cache_creation_input_tokens": True,
    }  # fmt: skip
    # When
    payload = {"message": {"id": "m", "model": "claude-x", "usage": usage}}
    desk.tell(line(1, payload=payload))
    # Then
    assert desk.usage(f"{TOKENS}, model") == [(11, None, None, None, "claude-x")]


def test_no_call_is_counted_when_no_model_answered(desk: Desk) -> None:
    """A synthetic message is none, nor is what a person wrote, nor a line without usage."""
    # Given / When
    desk.tell(
        line(1, payload={"message": {"id": "a", "model": "<synthetic>", "usage": {}}}),
        line(2, payload={"message": {"id": "b", "model": "claude-x"}}),
        line(3, "user", payload={"message": {"id": "c", "usage": {"input_tokens": 9}}}),
        hook(4, "Stop", "turn_end", metadata={"input_tokens": 9}),
    )
    # Then
    assert desk.usage() == []


def test_the_reported_cost_is_kept_beside_when_a_line_has_one(desk: Desk) -> None:
    """Very old lines have a price: the highest, and of nonsense none."""
    # Given / When
    for number, price in enumerate((0.25, 0.5, "much", True, float(-1))):
        desk.tell(streamed(number, 1, 1, payload={"costUSD": price}))
    # Then
    assert desk.usage("reported_cost_usd") == [(0.5,)]


def test_a_generation_of_cursor_is_one_call_when_two_hooks_tell_its_tokens(desk: Desk) -> None:
    """Both hooks of a turn carry the same numbers: the maximum, never the sum."""
    # Given / When
    told = {"model": "gpt-5", "input_tokens": 17674, "output_tokens": 220}
    desk.tell(
        hook(1, "afterAgentResponse", "assistant_response", "cursor", turn_id="g1", metadata=told),
        hook(2, "stop", "turn_end", "cursor", turn_id="g1", metadata=told | {"output_tokens": 221}),
        hook(3, "afterAgentThought", "assistant_response", "cursor", turn_id="g1", metadata=told),
        hook(4, "stop", "turn_end", "cursor", metadata=told),
    )
    # Then
    assert desk.usage("input_tokens, output_tokens, final, model") == [(17674, 221, 1, "gpt-5")]


@pytest.mark.parametrize("told", [{}, {"input_tokens": 0, "output_tokens": 0}])
def test_tokens_of_cursor_are_unknown_when_a_build_sends_none(
    desk: Desk, told: dict[str, int]
) -> None:
    """A generation without tokens is a call of which they are unknown, not 0."""
    # Given / When
    desk.tell(hook(1, "stop", "turn_end", "cursor", turn_id="g1", metadata=told))
    # Then
    assert desk.usage(TOKENS) == [(None, None, None, None)]


@pytest.mark.fault("D4")
def test_sums_hold_when_a_line_claims_more_tokens_than_there_can_be(desk: Desk) -> None:
    """A number that no call takes is unknown: added up, such numbers would fit no column."""
    # Given / When
    for number in range(3):
        payload = {"costUSD": 1e18}
        desk.tell(answer(number, (MAX_INT, 7, MAX_INT, 10**12 + 1), payload=payload))
    told = {"input_tokens": MAX_INT, "output_tokens": 5}
    desk.tell(hook(9, "stop", "turn_end", "cursor", turn_id="g1", metadata=told))
    # Then
    assert desk.usage(f"{TOKENS}, reported_cost_usd")[:3] == [(None, 7, None, None, None)] * 3
    [(known, output)] = desk.execute("SELECT sum(input_known), sum(output_tokens) FROM usage_days")
    assert (known, output) == (0, 26)


@pytest.mark.fault("E3")
def test_a_call_has_its_first_time_when_lines_come_out_of_order(desk: Desk) -> None:
    """Event time only: a line of the future or of the past changes no sum."""
    # Given / When
    ten_years = 10 * 365 * 24 * 60
    desk.tell(streamed(1, 1, 5, **at(ten_years)), streamed(2, 1, 6, **at(-ten_years)))
    # Then
    assert desk.usage("output_tokens, timestamp_ms") == [(6, T0_MS - ten_years * 60_000)]


def test_project_and_branch_are_those_of_the_line_when_it_names_them(desk: Desk) -> None:
    """A session that moves on has calls of two branches."""
    # Given / When
    desk.tell(
        answer(1, project="orchard", payload={"gitBranch": "b:1"}),
        answer(2, project="orchard", payload={"gitBranch": "b:2"}),
        answer(3),
    )
    # Then
    assert desk.usage("project, branch") == [("orchard", "b:1"), ("orchard", "b:2"), (None, None)]
