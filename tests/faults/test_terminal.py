"""Foreign text on a terminal: shown as what it is, and never obeyed."""

import re

import pytest

from blueplane.clock import wall_ns
from blueplane.event import encode
from blueplane.paths import Home
from helpers.cli import on_terminal as drawn
from helpers.cli import run
from helpers.issued import EVENTS, Issued
from helpers.redis_server import RedisServer
from helpers.road import make_event
from helpers.server import Server
from helpers.waiting import wait_until

PATIENCE_S = 30.0
#: Clears the screen, rings, hides what follows, turns the text round, ends the text, and rules.
EVIL = "\x1b[2J\x07\x1b[8m\u202e\x00\u2028\x9b31m[red]\u200d"
SHOWN = r"\x1b[2J\x07\x1b[8m\u202e\x00\u2028\x9b31m[red]\u200d"
SESSION = EVIL.replace("\0", "")
#: How ``trace`` shows an event in which every text steers, but for the hops.
GOLDEN = rf"""event           2b9d306126efa63ccd36d219cebc0f9c
platform        {SHOWN}
source          {SHOWN}
event type      {SHOWN}
hook type       {SHOWN}
session id      {SHOWN.replace(chr(92) + "x00", "")}
workspace hash  fedcba9876543210
project         {SHOWN}
turn id         {SHOWN}
tool use id     {SHOWN}
model           \x07
tool name       \x1b[2J\u202e"""
DRAWN = ("status", "session", "event", "letters", "letter")
#: What our own colours are made of; nothing else may be left of an escape.
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def on_terminal(home: Home, *arguments: str) -> str:
    """Run a command on a terminal of its own and return what it wrote there, without colours."""
    ended = drawn(home, *arguments)
    assert ended.code in (0, 1, 2)
    return COLOURS.sub("", ended.out)


def steering(text: str) -> str:
    """Return every character that would do something to a terminal."""
    return "".join(sorted({char for char in text if not char.isprintable() and char != "\n"}))


@pytest.mark.fault("D6")
def test_no_command_obeys_foreign_text_when_it_steers_a_terminal(
    home: Home, issued: Issued, redis_server: RedisServer
) -> None:
    """Ids, projects, tools, platforms and reasons that hold escapes are shown as their escapes."""
    # Given a row in which every text steers, and a dead letter of such fields
    event = make_event(
        1, captured_ns=wall_ns(), origin="", session_id=SESSION, project=EVIL, platform=EVIL,
        hook_type=EVIL, event_type=EVIL, source=EVIL, turn_id=EVIL, tool_use_id=EVIL,
        metadata=b'{"tool_name": "\\u001b[2J\\u202e", "model": "\\u0007"}',
        payload=b'{"text": "\\u001b[2J\\u202e\\u0000"}',
    )  # fmt: skip
    bad = make_event(2, captured_ns=wall_ns(), origin="", platform=EVIL, hook_type=EVIL)
    fields = [*encode(bad._replace(payload=EVIL.encode())), EVIL.encode(), EVIL.encode()]
    with Server(home, redis_server) as server:
        server.start_ready()
        redis_server.command("XADD", EVENTS, "*", *encode(event))
        letter = redis_server.command("XADD", EVENTS, "*", *fields).decode()
        wait_until(
            lambda: len(issued.rows()) == 1 and server.balance().get("open_dead_letters") == 1,
            PATIENCE_S,
            "a row and a dead letter",
        )
        # When every command that shows them is run, in a pipe and on a terminal
        event_id = event.event_id.hex()
        commands = {
            "status": ("status",),
            "session": ("trace", SESSION),
            "event": ("trace", event_id, "--data"),
            "letters": ("dlq", "list", "--state", "all"),
            "letter": ("dlq", "show", letter),
            "unknown": ("trace", "\x1b[2Jnobody"),
            "no command": ("\x1b[2J",),
        }
        ended = {name: run(home, *arguments) for name, arguments in commands.items()}
        piped = {name: each.out + each.err for name, each in ended.items()}
        drawn = {name: on_terminal(home, *commands[name]) for name in DRAWN}
    # Then none of it steers
    assert {name: steering(text) for name, text in piped.items() if steering(text)} == {}
    assert {name: steering(text) for name, text in drawn.items() if steering(text)} == {}
    # and what would, is seen: in one line of a pipe, in a cell of a terminal
    assert all(SHOWN in piped[name] for name in ("status", "event", "letters", "letter"))
    assert piped["event"].splitlines()[:12] == [line.rstrip() for line in GOLDEN.splitlines()]
    assert drawn["event"].splitlines()[1].rstrip() == GOLDEN.splitlines()[1]
    assert piped["no command"].startswith(r"blueplane: no command")
    assert r"\x1b[2J" in piped["no command"]
