"""Capture: what editors do becomes events.

Owns the way from a hook's hand-off file or an editor's own store to a sanitised Event.
Promises to emit nothing unsanitised and to release a source only when it is told to.
Leaves the queue and the database to the callable that it is given.
"""
