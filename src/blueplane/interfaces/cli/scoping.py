"""Whether anything is stored of what is named: a platform or a project.

Owns the sentence for a name that nothing has.
Promises a near match, if there is one.
Leaves reading the options to ``reporting.py``.
"""

from blueplane.errors import NotFoundError
from blueplane.interfaces.cli.near import hint
from blueplane.store import exporting, usage_reports
from blueplane.store.queries import Reader
from blueplane.store.usage_reports import Scope


def check_names(reader: Reader, scope: Scope) -> None:
    """Raise NotFoundError for a platform or a project that nothing is stored of."""
    known = {
        "platform": usage_reports.platforms(reader),
        "project": list(exporting.projects(reader).values()),
    }
    for name, names in known.items():
        said = getattr(scope, name)
        if said is not None and said not in names:
            there = hint(said, names, f"`blueplane usage {name}` lists them")
            message = f"nothing is stored of the {name} {said!r}; {there}"
            raise NotFoundError(message)
