"""Databases that cannot be read any more.

Owns the check of a database's pages, and the setting aside of one that is damaged.
Promises that nothing is ever deleted: a damaged database keeps all its files under another name.
Leaves when to check, and what begins in its place, to ``pipeline/``.
"""

from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from blueplane.clock import iso_utc, monotonic_s, wall_ms
from blueplane.errors import StoreBrokenError, StoreError, StoreUnavailableError
from blueplane.store.connection import ENDINGS, open_reader, translated

#: Steps of SQLite between two looks at the clock.
_STEPS: Final = 10_000


def find_damage(
    path: Path,
    patience_s: float,
    *,
    whole: bool = False,
    stopping: Callable[[], bool] = lambda: False,
) -> str | None:
    """Return what is wrong with a database; None when nothing was found, or not in time.

    ``whole`` also compares indexes with their tables. It cannot see what was changed inside a
    stored text. Given up when ``stopping`` says so. Raises StoreUnavailableError when the file
    cannot be read now.
    """
    deadline_s = monotonic_s() + patience_s

    def is_over() -> bool:
        return stopping() or monotonic_s() > deadline_s

    check = "integrity_check" if whole else "quick_check"
    try:
        with translated(path), closing(open_reader(path)) as reader:
            reader.set_progress_handler(is_over, _STEPS)
            found = str(reader.execute(f"PRAGMA {check}(1)").fetchone()[0])
    except StoreBrokenError as error:
        return str(error)
    except StoreUnavailableError:
        if is_over():
            return None
        raise
    return None if found == "ok" else f"{path}: {' '.join(found.split())}"


def set_aside(path: Path) -> Path:
    """Rename a database and what is beside it; return its new path.

    Its -wal goes with it, so that whoever opens it there sees all of it. Raises StoreError.
    """
    stamp = iso_utc(wall_ms()).translate(str.maketrans("", "", "-:."))
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    try:
        # The database last: until then the next start would find it, and set it aside.
        for ending in reversed(ENDINGS):
            with suppress(FileNotFoundError):
                Path(f"{path}{ending}").rename(f"{aside}{ending}")
    except OSError as error:
        message = f"{path}: damaged, and cannot be set aside: {error.strerror}; move it away"
        raise StoreError(message) from error
    return aside
