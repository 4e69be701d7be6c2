"""The two laws in words.

Owns how a law reads.
Promises numbers as the store has them: nothing is computed but differences.
Leaves the numbers to the store and the place on the screen to the commands.
"""

from collections.abc import Mapping
from typing import Any

from blueplane.figures import number
from blueplane.health.laws import LAWS, remainder


def law_text(law: str, body: Mapping[str, Any]) -> str:
    """Return a law with every number, and before it whether it closes."""
    terms = dict(body[law])
    whole = LAWS[law]
    left = f"{whole} {number(terms.pop(whole))}"
    right = " + ".join(f"{name.replace('_', ' ')} {number(n)}" for name, n in terms.items())
    open_by = remainder(law, body)
    return f"{f'OPEN by {number(open_by)}' if open_by else 'closed'}: {left} = {right}"
