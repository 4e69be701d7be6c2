"""Recovering what a damaged database still holds.

Owns which database is recovered, where the new one goes, and putting it in the old one's place.
Promises that the damaged files are kept, that no server runs while the home's own database is
replaced, and that whatever is kept is found by ``blueplane forget``.
Leaves reading around the damage to ``store/recovery.py``.

The home's own database, where it is damaged, is set aside first. Killed after that, the next
attempt finds no database and one that was set aside, and goes on.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blueplane.errors import NotFoundError, StoreError
from blueplane.lock import ServerLock
from blueplane.paths import Home
from blueplane.store import damage
from blueplane.store.connection import ENDINGS
from blueplane.store.recovery import Taken, recover

RECOVER: Final = "blueplane doctor --recover"
#: Seconds for the check whether the home's own database is damaged.
_CHECK_S: Final = 60.0
#: How ``store/damage.py`` names what it sets aside; ``forget`` looks for the same.
_ASIDE: Final = "{}.damaged-*"
#: What is added to that: a database made of it, and one in whose place such a database is now.
_RECOVERED: Final = ".recovered"
_REPLACED: Final = ".replaced"


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was recovered: the damaged database, the new one, and what of each table.

    ``installed`` when the new one is the home's now.
    """

    damaged: Path
    path: Path
    taken: list[Taken]
    installed: bool


def set_aside(database: Path) -> list[Path]:
    """Return the damaged databases that were not recovered yet, the newest last."""
    found = sorted(database.parent.glob(_ASIDE.format(database.name)))
    others = (*filter(None, ENDINGS), _REPLACED)
    return [
        path
        for path in found
        if not path.name.endswith(others)
        and _RECOVERED not in path.name  # nor what an attempt that was killed left of one
        and not _add(path, _RECOVERED).exists()
    ]


def recover_newest(home: Home) -> Recovered:
    """Recover the home's own database if it is damaged, else the newest that was set aside.

    It becomes the home's, unless the home has one. Raises NotFoundError when none is damaged,
    AlreadyRunningError when a server runs on what is to be replaced, and StoreError when nothing
    in it can be read.
    """
    is_damaged = home.database.exists() and damage.find_damage(home.database, _CHECK_S) is not None
    waiting = set_aside(home.database)
    if not is_damaged and not waiting:
        message = f"{home.root}: no database in it is damaged, and none was set aside"
        raise NotFoundError(message)
    if home.database.exists() and not is_damaged:
        damaged = waiting[-1]
        path = _add(damaged, _RECOVERED)
        return Recovered(damaged, path, recover(damaged, path), installed=False)
    with _alone(home):
        damaged = damage.set_aside(home.database) if is_damaged else waiting[-1]
        path = _add(damaged, _RECOVERED)
        taken = recover(damaged, path)
        _install(home.database, path)
        return Recovered(_mark(damaged), home.database, taken, installed=True)


def _add(path: Path, ending: str) -> Path:
    return path.with_name(f"{path.name}{ending}")


@contextmanager
def _alone(home: Home) -> Iterator[None]:
    home.prepare()
    lock = ServerLock(home)
    lock.take()
    try:
        yield
    finally:
        lock.release()


def _install(database: Path, path: Path) -> None:
    try:
        for ending in filter(None, ENDINGS):  # of a database that is gone
            _add(database, ending).unlink(missing_ok=True)
        path.rename(database)
    except OSError as error:
        message = f"{database}: {error.strerror}; what was recovered is in {path}"
        raise StoreError(message) from error


def _mark(damaged: Path) -> Path:
    """Rename a damaged database whose successor is in place: nobody need recover it again."""
    marked = _add(damaged, _REPLACED)
    for ending in reversed(ENDINGS):
        with suppress(FileNotFoundError):
            Path(f"{damaged}{ending}").rename(f"{marked}{ending}")
    return marked
