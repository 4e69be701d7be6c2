"""The files that are shipped beside the code: the hook script, service files, dashboards.

Owns where they lie: in ``_data`` of an installed package, else in the checkout that it runs from.
Promises the same names in both: those of the checkout, such as ``hooks/blueplane-hook``.
Leaves what is in them, and what is done with them, to the callers.
"""

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

from blueplane.errors import HomeError

#: The hook script that editors run.
HOOK: Final = "hooks/blueplane-hook"


def find(name: str) -> Traversable:
    """Return the shipped file ``name``; ``importlib.resources.as_file`` gives it a path.

    Raises HomeError when it is missing.
    """
    shipped = files("blueplane") / "_data" / name
    if shipped.is_file():
        return shipped
    checkout = Path(__file__).parents[2] / name
    if checkout.is_file():
        return checkout
    message = f"{shipped}: missing; install Blueplane again"
    raise HomeError(message)
