"""The configuration's prices, read as the configuration is.

Owns nothing. Promises what ``config.load`` does. Leaves when it is needed to ``prices.py``.
"""

from collections.abc import Mapping

from blueplane.config import load
from blueplane.paths import Home


def lines(home: Home, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the lines of ``prices.models``."""
    return load(home, environ).prices.models
