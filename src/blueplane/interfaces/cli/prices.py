"""The prices that a command reckons with: the bundled ones, and those of the configuration.

Owns whether the configuration has any.
Promises to read it only then: YAML takes as long to import as a report takes.
Leaves what a line means to ``price_text.py``, which price holds to ``analytics/prices.py``.
"""

import os
from typing import Final

from blueplane.analytics.prices import PriceTable, load_prices
from blueplane.interfaces.cli.lazy import load
from blueplane.paths import Home

_SECTION: Final = b"prices"
_VARIABLE: Final = "BLUEPLANE_PRICES_MODELS"


def prices_of(home: Home) -> PriceTable:
    """Return the prices of a home; raise ConfigError for a wrong configuration."""
    if not os.environ.get(_VARIABLE) and not _is_named(home):
        return load_prices()
    return load_prices(load("configured_prices", "lines")(home, os.environ))


def _is_named(home: Home) -> bool:
    try:
        return _SECTION in home.config_file.read_bytes()
    except FileNotFoundError:
        return False
    except OSError:
        return True  # whoever reads it has the sentence for that
