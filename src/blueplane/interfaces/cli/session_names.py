"""Which session is meant by what somebody wrote: its id, the beginning of one, or ``last``.

Owns that rule, for every command that is given a session.
Promises one session, or an error that names those which it could be.
Leaves what is asked of a session to the commands.
"""

from typing import Final

from blueplane.errors import NotFoundError, UsageError
from blueplane.store.reading import Reads
from blueplane.store.session_list import Known, beginning, nearest, newest

_LAST: Final = "last"
#: Ids that are named when several begin so.
_NAMED: Final = 3


def find_session(reader: Reads, name: str) -> Known:
    """Return the session that is meant; raise NotFoundError for none, UsageError for several."""
    found = _known(reader, name)
    if found is None:
        close = nearest(reader, name)
        hint = f"did you mean {close}?" if close else "`blueplane sessions` lists them"
        message = f"no session {name!r}; {hint}"
        raise NotFoundError(message)
    return found


def full_id(reader: Reads, name: str) -> str:
    """Return the id of the session that is meant; raise UsageError for several.

    What begins no id that is known is returned as it is: it may be of events that wait, or of dead
    letters.
    """
    found = _known(reader, name)
    return name if found is None else found.session_id


def _known(reader: Reads, name: str) -> Known | None:
    if name == _LAST:
        return _newest(reader)
    found = beginning(reader, name, _NAMED + 1) if name else []
    ids = list(dict.fromkeys(each.session_id for each in found))
    if len(ids) > 1 and ids[0] != name:
        names = ", ".join(ids[:_NAMED])
        more = " and more" if len(found) > _NAMED else ""
        message = f"several sessions begin with {name!r}: {names}{more}; write more of one"
        raise UsageError(message)
    return found[0] if found else None


def _newest(reader: Reads) -> Known:
    last = newest(reader)
    if last is None:
        message = "no sessions yet: they come as editors tell of them; see `blueplane status`"
        raise NotFoundError(message)
    return last
