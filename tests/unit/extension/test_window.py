"""The extension in a window: the events it hands over, what it shows, and when it is silent."""

import json
import os
import re
import socket
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from blueplane.capture.handoff import MAX_NAMES, NAME
from blueplane.capture.hook_event import HandOff, HookReader
from blueplane.capture.sanitise import Sanitiser
from blueplane.clock import wall_ms
from blueplane.paths import Home
from blueplane.server.control import ControlServer
from helpers.server import Server
from helpers.waiting import wait_until
from helpers.window import PATIENCE_S, Window, events, install_sign, opened, waiting
from unit.hooks.running import NOBODY, refused, set_end

FOLDERS = [("file", "/srv/tulips"), ("vscode-remote", "/far/away"), ("file", "/srv/roses")]
HOUR_S = 3600
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ABSENT = "Blueplane is not installed here. `blueplane install`, in a terminal, does that."
FINDING = {
    "metric": "disk_free_mb", "colour": "orange", "sentence": "3 MB are left",
    "command": "blueplane doctor",
}  # fmt: skip


@contextmanager
def answering(home: Home, answer: Callable[[], Any]) -> Iterator[None]:
    """Have a control socket that answers the question for health."""
    server = ControlServer(home.control_socket, {"health": answer})
    server.start()
    try:
        wait_until(home.control_socket.exists, PATIENCE_S, "the control socket")
        yield
    finally:
        server.stop()
        server.join(PATIENCE_S)


def body(colour: str, age_ms: int = 0, **parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return a look of the server's at its health."""
    return {"as_of_ms": wall_ms() - age_ms, "health_status": colour, **parts}


def part(colour: str, *findings: Mapping[str, str], state: str = "ok") -> dict[str, Any]:
    """Return what a look says of a part."""
    return {"health_status": colour, "state": state, "findings": list(findings), "figure": 1}


# --- events --------------------------------------------------------------------------------------


def test_window_hands_its_session_over_when_it_opens_and_closes(
    installed: Home, environment: dict[str, str]
):
    """A window leaves two whole private files: its start with the workspace, and its end."""
    # Given / When
    with opened(environment, folders=FOLDERS) as window:
        window.next("item")
        wait_until(lambda: len(waiting(installed)) == 1, PATIENCE_S, "a start")
        window.close()
        files = list(installed.spool.iterdir())
        pid = window.process.pid
    # Then both are of its process, private, and whole
    assert {path.name for path in files} == {f"{pid}.{os.getpid()}.{n}" for n in (0, 1)}
    assert all(NAME.match(path.name) for path in files)
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    (platform, opening, start), (_, closing, end) = events(installed)
    assert (platform, opening, closing) == ("cursor", "windowOpen", "windowClose")
    # And they tell of one session, its folders and its length
    assert UUID.fullmatch(start["session_id"])
    assert start["session_id"] == end["session_id"]
    assert start["workspace_roots"] == ["/srv/tulips", "/srv/roses"] == end["workspace_roots"]
    assert (start["source"], start["vscode_version"]) == ("startup", "1.99.3")
    assert end["reason"] == "window_close"
    assert 0 <= end["duration_ms"] < PATIENCE_S * 1000
    assert refused(installed) == ""


def test_events_keep_their_order_when_sessions_follow_each_other(
    installed: Home, environment: dict[str, str]
):
    """Each session ends before the next one begins, however quickly they are asked for."""
    # Given
    with opened(environment) as window:
        window.next("item")
        # When
        for _ in range(20):
            window.tell("blueplane.newSession")
        for _ in range(20):
            window.next("message")
        for _ in range(3):  # which the closing overtakes, or does not
            window.tell("blueplane.newSession")
        window.close()
    # Then, for names are given in the order of the files
    files = sorted(installed.spool.iterdir(), key=lambda path: int(path.suffix[1:]))
    hooks = [path.read_bytes().split()[-1].decode() for path in files]
    assert len(hooks) >= 42
    assert hooks == ["windowOpen", "windowClose"] * (len(hooks) // 2)


def test_new_session_ends_the_one_before(installed: Home, environment: dict[str, str]):
    """The command ends the session of the window and begins another, in this order."""
    # Given a window, without a folder
    with opened(environment) as window:
        window.next("item")
        # When
        window.tell("blueplane.newSession")
        assert window.next("message") == "Blueplane: a new session has begun."
        window.close()
    # Then
    told = events(installed)
    assert [hook for _, hook, _ in told] == ["windowOpen", "windowClose"] * 2
    first, ended, second, last = [payload for _, _, payload in told]
    assert first["session_id"] == ended["session_id"] != second["session_id"]
    assert second["session_id"] == last["session_id"]
    assert (ended["reason"], second["source"]) == ("user_close", "clear")
    assert first["workspace_roots"] == []


def two_names(home: Home) -> None:
    """Make the tally a file that has another name elsewhere."""
    (home.run / "full").touch()
    other = home.root / "other"
    other.write_text("kept")
    (home.run / "refused").hardlink_to(other)


REFUSALS: dict[str, tuple[Callable[[Home], object], str | None]] = {
    "full": (lambda home: (home.run / "full").touch(), "ff"),
    "paused": (lambda home: (home.run / "paused").touch(), "pp"),
    "paused for an hour": (lambda home: set_end(home, "paused-until", HOUR_S), "pp"),
    "lease expired": (lambda home: set_end(home, "lease", -HOUR_S), "ll"),
    "no spool": (lambda home: home.spool.rmdir(), "cc"),
    "tally is a link": (
        lambda home: ((home.run / "full").touch(), (home.run / "refused").symlink_to("x")), ""
    ),
    "tally has two names": (two_names, "kept"),
    "tally is a pipe": (
        lambda home: ((home.run / "full").touch(), os.mkfifo(home.run / "refused")), None
    ),
}  # fmt: skip


@pytest.mark.parametrize("label", REFUSALS)
def test_window_hands_nothing_over_when_a_hook_would_not(
    installed: Home, environment: dict[str, str], label: str
):
    """Where a hook takes no event the extension takes none, and leaves the same letter."""
    # Given
    arrange, letters = REFUSALS[label]
    arrange(installed)
    # When
    with opened(environment) as window:
        window.next("item")
        window.close()
    # Then
    assert not installed.spool.exists() or waiting(installed) == []
    assert letters is None or refused(installed) == letters


def test_window_hands_over_when_pause_is_over_and_lease_holds(
    installed: Home, environment: dict[str, str]
):
    """A pause that has ended, and a lease that has not, refuse nothing; taken names are left."""
    # Given, and all but one name are taken by what another process has left
    set_end(installed, "paused-until", -HOUR_S)
    set_end(installed, "lease", HOUR_S)
    with opened(environment) as window:
        window.next("item")
        wait_until(lambda: len(waiting(installed)) == 1, PATIENCE_S, "a start")
        (first,) = installed.spool.iterdir()
        for number in range(1, MAX_NAMES - 1):
            first.with_suffix(f".{number}").write_text("left behind")
        # When
        window.close()
    # Then
    assert b"windowClose" in first.with_suffix(f".{MAX_NAMES - 1}").read_bytes()
    assert first.with_suffix(".1").read_text() == "left behind"
    assert refused(installed) == ""


def test_window_tells_of_itself_only_when_it_is_cursors(
    installed: Home, environment: dict[str, str]
):
    """In another editor nothing is handed over, and health is shown all the same."""
    # Given / When
    with opened(environment, scheme="vscode") as window:
        item = window.next("item")
        window.tell("blueplane.newSession")
        said = window.next("message")
        window.close()
    # Then
    assert item["text"].endswith("Blueplane: server is down")
    assert said == "Blueplane tells of the sessions of Cursor's windows only."
    assert waiting(installed) == []


def test_event_of_a_window_is_of_the_extension(installed: Home, environment: dict[str, str]):
    """What is stored has source ``extension``, the workspace, the columns, and no path."""
    # Given what a window has handed over
    with opened(environment, folders=FOLDERS) as window:
        window.next("item")
        window.close()
    reader = HookReader(Sanitiser("strict", b"k" * 32), lambda _: False)
    # When
    start, end = [
        reader.read(HandOff("1.1.0", 10**18, json.dumps(payload).encode(), platform, hook))
        for platform, hook, payload in events(installed)
    ]
    # Then
    assert (start.source, start.hook_type, start.event_type) == (
        "extension", "windowOpen", "session_start"
    )  # fmt: skip
    assert (end.source, end.hook_type, end.event_type) == (
        "extension", "windowClose", "session_end"
    )  # fmt: skip
    assert UUID.fullmatch(start.session_id)
    assert start.project == "tulips"
    assert start.workspace_hash == end.workspace_hash != ""
    assert "duration_ms" in json.loads(end.metadata)
    payload = json.loads(start.payload)
    assert (payload["source"], payload["vscode_version"]) == ("startup", "1.99.3")
    assert json.loads(end.payload)["reason"] == "window_close"
    assert b"srv" not in start.payload + end.payload


# --- where Blueplane is --------------------------------------------------------------------------


def test_window_is_silent_when_blueplane_is_not_installed(home: Home, environment: dict[str, str]):
    """Without an install nothing is written or shown, also where an uninstall has left the data."""
    # Given data, and no hook
    with opened(environment) as window:
        # When
        assert window.next("item") is None
        window.tell("blueplane.showStatus")
        window.tell("blueplane.newSession")
        # Then only who asks is told
        assert window.next("message") == window.next("message") == ABSENT
        window.close()
    assert waiting(home) == []
    assert refused(home) == ""


def test_session_begins_when_blueplane_is_installed_later(home: Home, environment: dict[str, str]):
    """A window that was open before the install begins its session at the next look."""
    # Given
    with opened(environment) as window:
        assert window.next("item") is None
        # When
        install_sign(home)
        window.tell("focus")
        # Then
        assert window.next("item") is not None
        window.tell("focus")  # and only once
        window.next("item")
        window.close()
    assert [hook for _, hook, _ in events(home)] == ["windowOpen", "windowClose"]


@pytest.mark.parametrize("way", ["setting", "HOME"])
def test_home_is_found_when_the_environment_does_not_name_it(
    home: Home, environment: dict[str, str], way: str
):
    """Without BLUEPLANE_HOME it is ``~/.blueplane``; the setting wins over both."""
    # Given a home in each of the two other ways
    other = Home(Path(environment["HOME"]) / (".blueplane" if way == "HOME" else "chosen"))
    other.prepare()
    install_sign(other)
    install_sign(home)
    if way == "HOME":
        del environment["BLUEPLANE_HOME"]
    # When
    setting = str(other.root) if way == "setting" else ""
    with opened(environment, home=setting) as window:
        window.next("item")
        window.close()
    # Then
    assert len(events(other)) == 2
    assert waiting(home) == []


@pytest.mark.parametrize(
    ("setting", "variables"),
    [("relative", {}), ("", {"BLUEPLANE_HOME": "relative"}), ("", {}), (7, {}), (None, {})],
)
def test_window_does_nothing_when_there_is_no_home(
    tmp_path: Path, environment: dict[str, str], setting: Any, variables: dict[str, str]
):
    """A path that is not absolute, or a setting that is no text, is no home."""
    # Given what looks like a home below the directory that the editor is in
    (tmp_path / "relative" / "hooks").mkdir(parents=True)
    (tmp_path / "relative" / "hooks" / "blueplane-hook").touch()
    kept = {"PATH": environment["PATH"], **variables}
    # When / Then
    with opened(kept, home=setting, directory=tmp_path) as window:
        assert window.next("item") is None
        window.close()


# --- health --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("colour", "shown", "back"),
    [
        ("green", "charts.green", None),
        ("yellow", "charts.yellow", None),
        ("orange", "charts.orange", None),
        ("red", None, "statusBarItem.errorBackground"),
    ],
)
def test_item_says_the_colour_when_the_server_answers(
    installed: Home, environment: dict[str, str], colour: str, shown: str | None, back: str | None
):
    """The item has the colour of the worst part as a word, and as a colour of the theme."""
    # Given
    with answering(installed, lambda: body(colour)), opened(environment) as window:
        # When
        item = window.next("item")
        # Then
        assert re.fullmatch(rf"\$\([a-z-]+\) Blueplane: {colour}", item["text"])
        assert (item.get("colour"), item.get("back")) == (shown, back)
        assert (item["name"], item["command"]) == ("Blueplane", "blueplane.showStatus")


def test_page_names_parts_and_findings_when_asked_for(installed: Home, environment: dict[str, str]):
    """Show status opens a page with every part and, worst first, what is wrong and what helps."""
    # Given two parts, and more findings than the pointer is shown
    mild = [{**FINDING, "colour": "yellow", "sentence": f"mild {n}"} for n in range(5)]
    look = body("orange", chain=part("orange", *mild, FINDING), workers=part("green", state="idle"))
    with answering(installed, lambda: look), opened(environment) as window:
        tip = window.next("item")["tooltip"].splitlines()
        # When
        window.tell("blueplane.showStatus")
        # Then
        page = window.next("page")
        lines = page.splitlines()
        assert lines[0].endswith("  Blueplane: orange")
        assert lines[2:4] == ["  chain     orange", "  workers   idle"]
        assert lines[5] == "  orange: 3 MB are left (blueplane doctor)"
        assert len(lines) == 11
        assert tip[:2] == ["Blueplane: orange", "orange: 3 MB are left (blueplane doctor)"]
        assert tip[-1] == "and 2 more"


def test_item_follows_when_the_server_comes_and_goes(installed: Home, environment: dict[str, str]):
    """Without a server the item says so, and what helps; the next look sees the server."""
    # Given no server
    with opened(environment) as window:
        down = window.next("item")
        assert down["text"].endswith("Blueplane: server is down")
        assert "blueplane start" in down["tooltip"]
        assert down["back"] == "statusBarItem.warningBackground"
        # When one comes / Then
        with answering(installed, lambda: body("green")):
            window.tell("focus")
            assert window.next("item")["text"].endswith("Blueplane: green")
        # When it leaves its socket behind / Then
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(installed.control_socket))
        window.tell("focus")
        assert window.next("item")["text"].endswith("Blueplane: server is down")


ANSWERS: dict[str, Callable[[], Any]] = {
    "an old look": lambda: body("green", age_ms=60_000),
    "no time": lambda: {"health_status": "green"},
    "no colour": lambda: body("blue"),
    "nothing": lambda: None,
    "a list": lambda: [1],
    "an error": lambda: 1 / 0,
    "without end": lambda: body("green", chain=part("x" * 2**21)),
}


@pytest.mark.parametrize("label", ANSWERS)
def test_item_says_no_answer_when_the_answer_is_none(
    installed: Home, environment: dict[str, str], label: str
):
    """An old look, a refusal, or anything that is not a look is no colour."""
    # Given / When
    with answering(installed, ANSWERS[label]), opened(environment) as window:
        item = window.next("item")
    # Then
    assert item["text"].endswith("Blueplane: no answer")
    assert "blueplane doctor" in item["tooltip"]


def test_odd_parts_do_no_harm_when_a_newer_server_sends_them(
    installed: Home, environment: dict[str, str]
):
    """Parts and findings of another form are left out, and the rest is shown."""
    # Given
    look = body("green", chain=part("green"), odd={"health_status": 3}, list=[1], none=None)
    look["chain"]["findings"] = [7, {"sentence": 5}, None]
    with answering(installed, lambda: look), opened(environment) as window:
        # When
        window.tell("blueplane.showStatus")
        # Then
        assert "  chain     green" in window.next("page")


@pytest.mark.parametrize("silence", ["hangs", "half"])
def test_window_closes_at_once_when_the_server_hangs(
    installed: Home, environment: dict[str, str], silence: str
):
    """A server that takes the question and is silent is given up, and holds up no closing."""
    # Given
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(installed.control_socket))
        listener.listen()
        with opened(environment) as window:
            connection, _ = listener.accept()
            with connection:
                if silence == "half":
                    connection.sendall(b'{"ok": {"health_')
                    connection.shutdown(socket.SHUT_RDWR)
                # When / Then
                assert window.next("item")["text"].endswith("Blueplane: no answer")
                window.tell("focus")
                window.close()
    assert [hook for _, hook, _ in events(installed)] == ["windowOpen", "windowClose"]


def test_nobody_else_is_asked_when_the_directory_is_not_ours(
    installed: Home, environment: dict[str, str]
):
    """A socket below a link, or in a directory of another user, is not asked."""
    # Given a directory of sockets that a link leads to
    elsewhere = installed.root / "elsewhere"
    installed.run.rename(elsewhere)
    installed.run.symlink_to(elsewhere)
    with answering(installed, lambda: body("green")), opened(environment) as window:
        # When / Then
        item = window.next("item")
        assert item["text"].endswith("Blueplane: unknown")
        assert "blueplane health" in item["tooltip"]
        # And another user's
        installed.run.unlink()
        elsewhere.rename(installed.run)
        if os.geteuid() == 0:
            os.chown(installed.run, NOBODY, NOBODY)
            window.tell("focus")
            assert window.next("item")["text"].endswith("Blueplane: unknown")
            os.chown(installed.run, 0, 0)


def test_item_says_unknown_when_the_home_is_too_deep(tmp_path: Path, environment: dict[str, str]):
    """A home whose socket lies elsewhere is captured from; only its health is not known."""
    # Given
    deep = Home(tmp_path / ("deep" * 25))
    deep.prepare()
    install_sign(deep)
    # When
    with opened({**environment, "BLUEPLANE_HOME": str(deep.root)}) as window:
        item = window.next("item")
        window.close()
    # Then
    assert item["text"].endswith("Blueplane: unknown")
    assert len(events(deep)) == 2


# --- a real server -------------------------------------------------------------------------------


def test_window_is_written_when_a_server_runs(installed: Home, environment: dict[str, str]):
    """The item shows a real server's colour, and both events of a window become rows."""
    # Given
    with Server(installed) as server:
        server.start_ready()
        began_s = time.monotonic()
        # When
        with opened(environment, folders=FOLDERS) as window:
            wait_until(lambda: is_well(window), PATIENCE_S, "a colour in the status bar")
            window.close()
        # Then
        wait_until(lambda: server.balance().get("written") == 2, PATIENCE_S, "two rows")
        assert server.balance()["captured"] == 2
        assert time.monotonic() - began_s < 2 * PATIENCE_S


def is_well(window: Window) -> bool:
    """Have the window look again; say whether it shows that the server is well."""
    window.tell("focus")
    text = str(window.next("item")["text"])
    return text.endswith(("Blueplane: green", "Blueplane: yellow"))
