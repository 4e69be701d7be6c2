"""After a forget what is derived is what the rows that are left say, and nothing else."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import orjson
from hypothesis import example, given, settings
from hypothesis import strategies as st

from blueplane.capture.renewal import Renewal
from blueplane.config import PrivacySettings
from blueplane.event import Event
from blueplane.paths import Home
from blueplane.pipeline.places import Stored, Wanted, places
from blueplane.store.connection import open_reader
from blueplane.store.erasure import Erasure
from blueplane.store.letters import Letters
from helpers.desk import SECRET, T0_MS, Desk
from helpers.road import make_event
from helpers.stories import Teller

WORDS = Renewal(PrivacySettings("full", hash_project_names=False), SECRET)
#: The gaps of a story: two that a stretch goes over, and one that it does not.
GAPS_S = (1, 400, 4_000)
SESSIONS = ("s-alder", "s-birch", "s-cedar")
PROJECTS = ("orchard", "meadow")


class Step(NamedTuple):
    """Something that happens in a session and a project; ``number`` is in its ids."""

    kind: str
    gap: int
    session: int
    project: int
    number: int


HOOKS = {"prompt": "UserPromptSubmit", "start": "PreToolUse", "edit": "PostToolUse",
         "agent": "SubagentStart", "stop": "SubagentStop"}  # fmt: skip
KINDS = (*HOOKS, "answer", "side", "task", "composer")
STEPS = st.builds(
    Step, st.sampled_from(KINDS), st.sampled_from(GAPS_S), st.integers(0, 2), st.integers(0, 1),
    st.integers(0, 1),
)  # fmt: skip
WANTED = st.one_of(
    st.builds(lambda name: Wanted(session=name), st.sampled_from(SESSIONS)),
    st.builds(lambda name: Wanted(project=name), st.sampled_from(PROJECTS)),
    st.builds(lambda gap: Wanted(before_ms=T0_MS + gap * 1_000), st.integers(1, 20_000)),
)


def told(steps: Sequence[Step]) -> list[Event]:
    """Tell the steps as events in full, each after the one before it."""
    tellers = [Teller("full", name) for name in SESSIONS]
    events, second = [], 0
    for step in steps:
        second += step.gap
        cwd = f"/home/ann/{PROJECTS[step.project]}"
        other = SESSIONS[(step.session + 1) % 3]
        teller = tellers[step.session]
        events.append(tell(teller, second, step, cwd, other))
    return events


def tell(teller: Teller, second: int, step: Step, cwd: str, other: str) -> Event:
    """Tell a step; sessions share ids of calls, agents and turns, and name each other."""
    if step.kind == "composer":
        return composer(second, teller.session_id, other, cwd)
    if step.kind == "task":
        fields = {"subagent_type": "explore", "agent_transcript_path": f"/x/{other}.jsonl"}
        return teller.cursor(second, "subagentStop", workspace_roots=[cwd], **fields)
    if step.kind in HOOKS:
        return teller.claude(second, HOOKS[step.kind], **hook_fields(step, cwd, other))
    return teller.line(second, "assistant", cwd=cwd, **line_fields(second, step, other))


def hook_fields(step: Step, cwd: str, other: str) -> dict[str, Any]:
    """Return what a hook of Claude Code says, whatever the hook."""
    return {
        "prompt_id": f"p-{step.number}", "cwd": cwd, "prompt": f"see {other} {cwd}",
        "tool_name": "Edit", "tool_use_id": f"t-{step.number}",
        "tool_input": {"file_path": f"{cwd}/a.py", "old_string": "a", "new_string": "b"},
        "agent_id": f"agent {step.number}", "agent_type": f"type of {step.session}",
    }  # fmt: skip


def line_fields(second: int, step: Step, other: str) -> dict[str, Any]:
    """Return what a line says of a call, or, on the side, a copy of another one."""
    side = {"requestId": other, "isSidechain": True, "agentId": f"agent {step.number}"}
    message = {
        "id": f"m-{step.number}", "model": "claude-opus-4", "stop_reason": "end_turn",
        "usage": {"input_tokens": second, "output_tokens": step.number},
        "content": [{"type": "text", "text": f"in {step.project}"}],
    }  # fmt: skip
    return {
        "gitBranch": f"b-{step.session}", "message": message, "requestId": f"r-{step.number}",
        "uuid": f"u-{second}", "parentUuid": f"u-{second - 1}",
        **(side if step.kind == "side" else {}),
    }  # fmt: skip


def composer(second: int, session: str, parent: str, cwd: str) -> Event:
    """Tell what Cursor's database says of a conversation that is another one's sub-agent."""
    at_ms = T0_MS + second * 1_000
    said = {"parent_conversation_id": parent, "contextUsagePercent": second % 100,
            "createdAt": T0_MS - 1, "subagent_type": "explore"}  # fmt: skip
    return make_event(
        second, platform="cursor", source="database", hook_type="composerData",
        event_type="database_trace", session_id=session, project=cwd.rpartition("/")[2],
        timestamp_ms=at_ms, captured_ns=at_ms * 1_000_000, payload=orjson.dumps(said),
    )  # fmt: skip


@contextmanager
def desk_of(events: Sequence[Event]) -> Iterator[tuple[Desk, Home]]:
    """Give a home in which events are stored, and everything is derived."""
    with TemporaryDirectory() as directory:
        home = Home(Path(directory))
        home.prepare()
        with closing(Desk(home.database)) as desk:
            desk.execute("PRAGMA synchronous = OFF")  # nothing here is about the disk
            desk.tell(*events)
            yield desk, home


def forget(desk: Desk, home: Home, wanted: Wanted) -> int:
    """Clear every place; return how much is left when everything is derived again."""
    with closing(open_reader(desk.database)) as connection:
        stored = Stored(Erasure(connection), desk.commits.codec, Letters(connection))
        found = places(home, wanted, WORDS, stored, desk.commits.erase)
        for place in found[1:]:  # the first are traces in free space
            place.clear()
        desk.derive()
        return sum(place.left() for place in found[1:])


def in_clear(desk: Desk, derived: Any) -> str:
    """Return all that the tables say, as text."""
    names = "SELECT text FROM names WHERE id IN (SELECT session FROM traces UNION SELECT project"
    rows = desk.execute(f"{names} FROM traces) UNION SELECT text FROM labels")
    return repr((derived, rows))


@settings(max_examples=40, deadline=None)
@given(st.lists(STEPS, min_size=1, max_size=10), WANTED)
@example([Step("start", 1, 0, 0, 0), Step("edit", 400, 0, 1, 0)], Wanted(before_ms=T0_MS + 9_000))
@example([Step("answer", 1, 0, 0, 0), Step("answer", 1, 1, 1, 0)], Wanted(project="orchard"))
@example([Step("task", 1, 0, 0, 0), Step("prompt", 1, 1, 1, 0)], Wanted(project="orchard"))
@example([Step("composer", 1, 0, 0, 0), Step("task", 1, 2, 0, 0)], Wanted(session="s-birch"))
def test_what_is_derived_after_a_forget_is_what_a_rebuild_gives(
    steps: list[Step], wanted: Wanted
) -> None:
    """Table by table, from zero and by the command; and nothing of the forgotten is in it."""
    with desk_of(told(steps)) as (desk, home):
        # When
        left = forget(desk, home, wanted)
        # Then
        after = desk.derived()
        assert left == 0
        if wanted.needle:
            assert wanted.needle.decode() not in in_clear(desk, after)
        desk.begin_again(emptied=True)
        desk.derive()
        assert desk.derived() == after
        desk.rebuild()
        desk.derive()
        assert desk.derived() == after
