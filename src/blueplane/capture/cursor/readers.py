"""Which reader a store of Cursor's has.

Owns the table of kinds and readers.
Promises a reader for every store that ``workspaces.py`` finds.
Leaves reading to them.
"""

from blueplane.capture.cursor.agent_transcripts import AgentTranscriptReader
from blueplane.capture.cursor.chats import ChatReader
from blueplane.capture.cursor.conversations import ComposerReader
from blueplane.capture.cursor.found import Reader
from blueplane.capture.cursor.lists import ListReader, Lists
from blueplane.capture.cursor.tracking import TrackingReader
from blueplane.capture.cursor.workspaces import Store


def make_reader(store: Store, lists: Lists) -> Reader:
    """Return what reads a store."""
    if store.kind == "lists":
        return ListReader(store, lists)
    if store.kind == "composers":
        return ComposerReader(store, lists)
    if store.kind == "tracking":
        return TrackingReader(store)
    return ChatReader(store) if store.kind == "chat" else AgentTranscriptReader(store)
