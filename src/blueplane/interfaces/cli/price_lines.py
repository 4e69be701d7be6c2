"""The prices that the configuration has.

Owns whether it has any.
Promises to read the configuration only then: YAML takes as long to import as a report takes.
Leaves what a line means to ``price_text.py``.
"""

from collections.abc import Mapping

from blueplane.interfaces.cli.lazy import load
from blueplane.paths import Home

_SECTION = b"prices"
_VARIABLE = "BLUEPLANE_PRICES_MODELS"


def price_lines(home: Home, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the lines of ``prices.models``; raise ConfigError for a wrong configuration."""
    if not environ.get(_VARIABLE) and not _is_named(home):
        return ()
    lines: tuple[str, ...] = load("configured_prices", "lines")(home, environ)
    return lines


def _is_named(home: Home) -> bool:
    try:
        return _SECTION in home.config_file.read_bytes()
    except FileNotFoundError:
        return False
    except OSError:
        return True  # whoever reads it has the sentence for that
