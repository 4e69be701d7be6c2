"""What every test may use.

Owns the fixtures ``home``, ``redis_server``, ``nursery`` and ``unchanged``, the option
``--fault-report``, and of which tests the coverage is measured.
Promises that no test sees the user's own home, and that every server ends with its test.
Leaves helpers with more to say to ``tests/helpers``.
"""

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from blueplane.paths import Home
from helpers.nursery import Nursery
from helpers.redis_server import RedisServer, find_binary, missing
from helpers.server import environment

TESTS = Path(__file__).parent
FAULT_IDS = TESTS / "contract" / "fault_ids.txt"
#: The tests that are to cover pipeline and store; measuring slows down every other.
MEASURED = TESTS / "unit"
#: Variables that lead a program out of the test's home.
OUTSIDE = ("CLAUDE_CONFIG_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")


def pytest_configure() -> None:
    """Heed signals also when started in the background, where we would inherit to ignore them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True, scope="session")
def nobodys_home() -> Iterator[None]:
    """Give every test an empty HOME: one that forgets its own must not find the user's."""
    with tempfile.TemporaryDirectory(prefix="bp-", dir="/tmp") as place:
        Path(place).chmod(0o755)  # some tests run us as another user
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HOME", place)
            for name in OUTSIDE:
                patch.delenv(name, raising=False)
            yield


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """Give a prepared home directory; BLUEPLANE_HOME names it, HOME is another, empty one."""
    user_home = tmp_path / "user"
    user_home.mkdir()
    # Short, for the sockets of a home that is too deep.
    runtime = tempfile.mkdtemp(prefix="bp-", dir="/tmp")
    monkeypatch.setenv("HOME", str(user_home))
    monkeypatch.setenv("BLUEPLANE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    # Of all homes there is one port: a test that wants HTTP chooses its own.
    monkeypatch.setenv("BLUEPLANE_HTTP_PORT", "0")
    for name in OUTSIDE:
        monkeypatch.delenv(name, raising=False)
    home = Home(tmp_path / "home")
    home.prepare()
    yield home
    shutil.rmtree(runtime, ignore_errors=True)


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """Give a real, empty, running server with an append-only file, on a Unix socket."""
    if find_binary() is None:
        missing("redis-server")
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Give cheap servers, of any home."""
    with Nursery(environment()) as nursery:
        yield nursery


@pytest.fixture
def unchanged() -> Iterator[None]:
    """Put back what a server changes for its whole process."""
    thresholds, mask = gc.get_threshold(), os.umask(0o022)
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    handlers = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)
    os.umask(mask)
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option ``--fault-report``."""
    parser.addoption(
        "--fault-report",
        action="store_true",
        help="end with a table of the owed faults: passed, failed or absent",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Measure coverage where it counts, and have reports, also those of workers, name faults."""
    for item in items:
        for marker in item.iter_markers("fault"):
            item.user_properties.extend(("fault", fault) for fault in marker.args)
        if not item.path.is_relative_to(MEASURED):
            item.add_marker(pytest.mark.no_cover)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table of ``--fault-report``."""
    if not terminalreporter.config.getoption("--fault-report"):
        return
    outcomes = {
        outcome: _faults(terminalreporter, *categories)
        for outcome, categories in (("failed", ("failed", "error")), ("passed", ("passed",)))
    }
    terminalreporter.section("faults")
    for fault in FAULT_IDS.read_text().split():
        outcome = next((name for name, faults in outcomes.items() if fault in faults), "absent")
        terminalreporter.line(f"{fault:<4} {outcome}")


def _faults(terminalreporter: pytest.TerminalReporter, *categories: str) -> set[str]:
    reports = [
        report for category in categories for report in terminalreporter.stats.get(category, ())
    ]
    return {
        str(value)
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == "fault"
    }
