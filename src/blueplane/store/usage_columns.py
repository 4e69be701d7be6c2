"""The columns of the usage rollups.

Owns which kinds of tokens there are, which sums a row has, and what its key is.
Promises to import nothing: who reads the rollups is a command that has to be quick.
Leaves keeping them to ``rollups.py``, their types to ``schema.py``.
"""

from collections.abc import Mapping
from typing import Final

#: Kinds of tokens; of ``cache_creation`` two kinds are a part.
KINDS: Final = (
    "input", "output", "cache_creation_5m", "cache_creation_1h", "cache_creation", "cache_read"
)  # fmt: skip
#: Tokens of a prompt above which some models cost more: ``band`` says how many a call is above.
BANDS: Final = (100_000, 200_000)
#: The sums of a row. What no call says is not 0: so each sum has its number of calls. Money is
#: whole nano-dollars.
VALUES: Final = (
    "calls",
    "final_calls",
    *(f"{kind}_tokens" for kind in KINDS),
    *(f"{kind}_known" for kind in KINDS),
    "reported_nano_usd",
    "reported_known",
)
#: The columns that are a row's key, by table; a month is known by its first day.
KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "usage_days": ("day", "platform", "model", "project", "branch", "band"),
    "usage_months": ("month", "platform", "model", "project", "branch", "band"),
    "usage_sessions": ("session", "day", "model", "project", "band"),
    "usage_hours": ("platform", "hour", "day", "model", "project", "band"),
}
#: The columns that are numbers of labels; 0 is none.
LABELS: Final = ("model", "project", "branch")
