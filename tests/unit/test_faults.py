import signal
import subprocess
import sys
from pathlib import Path

import pytest

from blueplane import faults
from blueplane.errors import UsageError
from blueplane.faults import POINTS, _Armed

SOURCES = Path(faults.__file__).parent


def test_point_does_nothing_when_no_fault_is_asked_for() -> None:
    """Without the variable every point is inert."""
    # Given / When / Then
    assert [faults.point(name) for name in POINTS] == [None] * len(POINTS)
    assert faults.point is faults._inert


def test_point_raises_when_its_time_has_come() -> None:
    """A fault acts at the pass it names, once, or from there on."""
    # Given
    once, onwards = _Armed("after_xadd:raise=OSError@2"), _Armed("after_xadd:raise=ValueError@2+")
    # When / Then
    once("after_xadd")
    once("before_append")
    with pytest.raises(OSError, match="injected"):
        once("after_xadd")
    once("after_xadd")
    onwards("after_xadd")
    for _ in range(2):
        with pytest.raises(ValueError, match="injected"):
            onwards("after_xadd")


def test_point_waits_when_it_is_told_to_sleep() -> None:
    """A pause is a pause, and several faults go together."""
    # Given
    armed = _Armed("after_read:sleep=0.01,in_batch:raise=KeyError")
    # When / Then
    armed("after_read")
    with pytest.raises(KeyError):
        armed("in_batch")


@pytest.mark.parametrize(("action", "number"), [("kill", signal.SIGKILL), ("term", signal.SIGTERM)])
def test_point_ends_the_process_when_it_is_told_to(action: str, number: signal.Signals) -> None:
    """A process dies at the point that the environment names, and only there."""
    # Given
    program = "from blueplane import faults; faults.point('after_read'); faults.point('after_ack')"
    environment = {"BLUEPLANE_FAULTS": f"after_ack:{action}", "PYTHONPATH": str(SOURCES.parent)}
    # When
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, timeout=30, check=False
    )
    # Then
    assert ended.returncode == -number


def test_point_is_refused_when_it_does_not_exist() -> None:
    """A misspelt point is an error: a test that arms it would test nothing."""
    # Given / When / Then
    with pytest.raises(UsageError, match="no fault point 'after_xad'"):
        _Armed("after_xad:kill")


def test_points_are_those_of_the_code_when_they_are_listed() -> None:
    """Every listed point is passed somewhere, and every point that is passed is listed."""
    # Given
    text = "".join(path.read_text() for path in SOURCES.rglob("*.py"))
    # When
    passed = {part.partition('"')[0] for part in text.split('faults.point("')[1:]}
    # Then
    assert passed == POINTS
