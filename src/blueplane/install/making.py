"""Changes of files, made and noted in the manifest.

Owns the one way in which an install, an uninstall and the doctor change a file.
Promises that whatever was made is noted, also when it is killed in between, so that it can be
undone exactly.
Leaves the change itself to ``changes.py``, and undoing it to ``removal.py``.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from blueplane.errors import BlueplaneError
from blueplane.install import changes, manifest
from blueplane.install.changes import FileChange
from blueplane.install.manifest import Manifest
from blueplane.install.plan import Step, undisturbed
from blueplane.lock import one_at_a_time
from blueplane.paths import Home


@contextmanager
def alone(home: Home) -> Iterator[None]:
    """Have installs, uninstalls and the doctor's fixes of one home wait for each other."""
    with ExitStack() as stack:
        with suppress(OSError):  # not there, or shut: an install makes it, and opens it, first
            stack.enter_context(one_at_a_time(home.hooks))
        yield


def step(home: Home, part: str, change: FileChange) -> Step:
    """Return the step that makes a change."""
    return Step(
        part, f"{_verb(change)} {change.path}: {change.why}", lambda: make(home, change),
        lambda: _is_pending(change), change.path, change.diff,
    )  # fmt: skip


def _verb(change: FileChange) -> str:
    if change.after is None:
        return "remove"
    return "write" if change.before is None else "change"


def _is_pending(change: FileChange) -> bool:
    """Whether the file does not hold yet what it is to hold."""
    try:
        return changes.read(change.path) != change.after
    except BlueplaneError:
        return True  # whoever makes the change says what is wrong


def make(home: Home, change: FileChange) -> None:
    """Make a change and note it in the manifest, so that it can be undone exactly."""
    note_directories(home, missing_parents(change.path))
    with undisturbed():
        known, _ = manifest.load(home)
        if known.file(change.path) is None:  # noted first, should we be killed in between
            manifest.save(home, known.with_change(change, None))
        backup = changes.apply(change, home.backups)
        manifest.save(home, known.with_change(change, backup))


def missing_parents(path: Path) -> tuple[Path, ...]:
    """Return the directories that a new file needs and that are not there, deepest first."""
    return tuple(parent for parent in path.parents if not parent.exists())


def note_directories(home: Home, made: tuple[Path, ...]) -> None:
    """Note directories that are about to be made."""
    if made:
        record(home, lambda known: replace(known, directories=(*known.directories, *made)))


def record(home: Home, change: Callable[[Manifest], Manifest]) -> None:
    """Change the manifest."""
    with undisturbed():
        known, _ = manifest.load(home)
        manifest.save(home, change(known))
