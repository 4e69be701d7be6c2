"""The filter rules of the configuration, by the names under which they are counted.

Owns the order in which they are shown.
Promises each once.
Leaves what a rule leaves out to ``capture/filters.py``, which takes a while to import.
"""

from collections.abc import Iterator

from blueplane.capture.filters import Filters
from blueplane.config import FilterSettings
from blueplane.paths import Home


def configured(home: Home, settings: FilterSettings) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield the stored name of each rule with its kind and its words."""
    filters = Filters(settings, home.secret())
    for kind, items in (
        ("workspace", settings.workspaces),
        ("project", settings.projects),
        ("platform", settings.platforms),
        ("event_type", settings.event_types),
        ("hook", settings.hooks),
    ):
        for item in items:
            yield filters.rule(kind, item), (kind, item)
