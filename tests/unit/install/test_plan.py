"""Doing a plan: what is done is known as done, whatever interrupts it."""

import signal
import threading

import pytest

from blueplane.install.plan import Run, Step, undisturbed


def steps(log: list[str], fails: str = "", late: str = "") -> list[Step]:
    """Return three steps; one fails before it did anything, or after."""

    def act(name: str) -> None:
        if name == fails:
            raise KeyboardInterrupt
        log.append(name)
        if name == late:
            raise KeyboardInterrupt

    return [
        Step("part", name, lambda name=name: act(name), lambda name=name: name not in log)
        for name in ("one", "two", "three")
    ]


def names(found: list[Step]) -> list[str]:
    """Return what the steps are called."""
    return [step.what for step in found]


@pytest.mark.parametrize(
    ("fails", "late", "done"), [("two", "", ["one"]), ("", "two", ["one", "two"])]
)
def test_step_in_hand_is_on_the_right_side_when_it_is_interrupted(
    fails: str, late: str, done: list[str]
) -> None:
    """Whether it was done is looked up, not guessed."""
    # Given
    log: list[str] = []
    run = Run(steps(log, fails, late))
    # When
    with pytest.raises(KeyboardInterrupt):
        run.go(lambda _: None)
    run.settle()
    # Then
    assert names(run.done) == done == log
    assert names(run.done + run.left) == ["one", "two", "three"]


def test_step_that_somebody_else_did_meanwhile_is_not_done_again() -> None:
    """Between the plan and its turn another install may have done it."""
    # Given
    log: list[str] = ["two"]
    run = Run(steps(log))
    told: list[str] = []
    # When
    run.go(lambda step: told.append(step.what))
    # Then
    assert log == ["two", "one", "three"]
    assert told == ["one", "two", "three"]
    assert names(run.done) == told


def test_ctrl_c_waits_until_a_change_is_through() -> None:
    """A file and its note in the manifest belong together."""
    # Given a change in the middle of which Ctrl-C comes
    done: list[str] = []

    def change() -> None:
        with undisturbed():
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)  # not to another one's
            done.append("all of it")

    # When
    with pytest.raises(KeyboardInterrupt):
        change()
    # Then
    assert done == ["all of it"]
