import os
import sys
import threading
from contextlib import suppress

import pytest

from blueplane.threads import NICE, Backoff, Service, be_nice
from helpers.waiting import wait_until

WAIT_S = 20.0


class Worker(Service):
    """Runs until it is stopped, or told to fail."""

    def __init__(self) -> None:
        super().__init__("worker")
        self.fail = threading.Event()
        self.rounds = 0

    def loop(self) -> None:
        while not self.stopping.wait(0.001):
            self.rounds += 1
            self.beat()
            if self.fail.is_set():
                self.fail.clear()
                raise ZeroDivisionError


def test_service_runs_until_it_is_stopped_when_all_is_well() -> None:
    """A service runs in a thread of its own name, beats, and ends when asked."""
    # Given
    worker = Worker()
    assert (worker.alive(), worker.join(0)) == (False, True)
    # When
    before_s = worker.beat_s
    worker.start()
    wait_until(lambda: worker.beat_s > before_s, WAIT_S, "it beats")
    # Then
    assert "worker" in {thread.name for thread in threading.enumerate()}
    assert worker.alive()
    assert worker.join(0) is False
    worker.stop()
    assert worker.join(WAIT_S) is True
    assert worker.error is None


@pytest.mark.fault("A15")
def test_service_reports_and_starts_again_when_its_loop_raises() -> None:
    """An error ends the thread, is kept, and does not keep it from being started anew."""
    # Given
    worker = Worker()
    worker.start()
    # When
    worker.fail.set()
    wait_until(lambda: not worker.alive(), WAIT_S, "it died")
    # Then
    assert isinstance(worker.error, ZeroDivisionError)
    worker.start()
    rounds = worker.rounds
    wait_until(lambda: worker.rounds > rounds, WAIT_S, "it runs again")
    assert worker.error is None
    worker.stop()
    assert worker.join(WAIT_S)


def test_backoff_doubles_up_to_its_cap_when_it_goes_on() -> None:
    """Delays double with jitter, never exceed the cap, and begin again after a reset."""
    # Given
    backoff = Backoff(0.1, 1.0)
    # When
    delays = [backoff.next_s() for _ in range(20)]
    # Then
    nominal = [0.1, 0.2, 0.4, 0.8, *[1.0] * 16]
    assert all(wanted / 2 <= delay <= wanted for delay, wanted in zip(delays, nominal, strict=True))
    assert len(set(delays[4:])) > 1
    backoff.reset()
    assert backoff.next_s() <= 0.1


def test_service_is_unhurried_only_as_long_as_it_says_so() -> None:
    """Whatever happens within, it is over after it, and counts as a sign of life."""
    # Given
    worker = Worker()
    worker.beat_s = 0.0
    # When
    seen = []
    with suppress(ZeroDivisionError), worker.unhurried():
        seen.append(worker.at_length)
        raise ZeroDivisionError
    # Then
    assert (seen, worker.at_length) == ([True], False)
    assert worker.beat_s > 0.0


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere only a whole process can")
def test_thread_gives_way_alone_when_it_is_nice() -> None:
    """A thread that is nice is so itself; the others of the process stay as they were."""
    # Given
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    found = []

    def look() -> None:
        be_nice()
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    # When
    thread = threading.Thread(target=look)
    thread.start()
    thread.join(WAIT_S)

    # Then
    assert found == [max(before, NICE)]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before
