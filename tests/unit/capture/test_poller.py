import pytest

from blueplane.capture import poller
from blueplane.capture.poller import Poller, Task
from blueplane.errors import StoreError
from helpers.road import turn_clock
from helpers.waiting import wait_until

WAIT_S = 30.0


@pytest.mark.fault("A14")
def test_poller_runs_tasks_at_their_intervals_when_time_passes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A task runs when it is due; rounds that were missed are not made up for."""
    # Given
    turned = turn_clock(monkeypatch)
    done: list[str] = []
    task = Task("count", 10.0, lambda: done.append("x"))
    service = Poller([task])
    # When / Then
    service._run_if_due(task)
    assert done == []
    turned.sleepless(95)
    service._run_if_due(task)
    service._run_if_due(task)
    assert done == ["x"]
    turned.sleepless(11)
    service._run_if_due(task)
    assert done == ["x", "x"]


def test_poller_goes_on_when_a_task_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the store costs one line of the log, and the task is tried again later."""
    # Given
    said: list[object] = []
    monkeypatch.setattr(type(poller._log), "_write", lambda *given: said.append(given[-1]))
    tries: list[int] = []

    def fail() -> None:
        tries.append(1)
        raise StoreError("away")

    service = Poller([Task("fail", 0.001, fail)])
    # When
    service.start()
    wait_until(lambda: len(tries) > 2, WAIT_S, "tried again")
    service.stop()
    assert service.join(WAIT_S)
    # Then
    assert service.error is None
    assert len(said) == len(tries)
