"""The workers that there are.

Owns the list of them.
Promises the same ones wherever rows are derived from.
Leaves what each derives to its module, when to ``worker.py``.
"""

from blueplane.analytics.conversations.words import Names
from blueplane.analytics.conversations.worker import Conversations
from blueplane.analytics.metrics.worker import Metrics
from blueplane.analytics.sessions import Sessions
from blueplane.analytics.usage import Usage
from blueplane.analytics.witnesses import Witnesses
from blueplane.analytics.worker import Store, Workers


def make_workers(store: Store, names: Names) -> Workers:
    """Return the thread of all workers; ``names`` are the keyed hashes of this install."""
    return Workers(store, (Usage(), Sessions(), Witnesses(), Conversations(names)), Metrics())
