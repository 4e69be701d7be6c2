"""The two laws of custody, as a stored balance has them.

Owns what each law says is on the left of "=", and by how much a law does not close.
Promises to import nothing: a command that only shows a balance starts quickly.
Leaves counting to ``pipeline/custody.py``, and the words to whoever shows them.
"""

from collections.abc import Mapping
from typing import Any, Final

#: The laws, by their names in ``Balance.body``, and the term on the left of each.
LAWS: Final = {"messages": "enqueued", "events": "captured"}


def remainder(law: str, body: Mapping[str, Any]) -> int:
    """Return how many are without an outcome; less than 0 when there are too many outcomes."""
    terms = body[law]
    return int(2 * terms[LAWS[law]] - sum(terms.values()))
