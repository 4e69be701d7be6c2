"""Dictionaries of an install's own.

Owns when one is trained: once, after the first rows of a source.
Promises that nothing personal enters a dictionary: it is trained on the training form only.
Leaves that form to the sanitiser, training and encoding to the store's codec.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from blueplane.logs import get
from blueplane.pipeline.writer import Writer
from blueplane.store.codec import train
from blueplane.store.queries import SERVER_READ_S, reading

_log = get("trainer")

#: Rows of a source after which its dictionary is trained, and on which.
TRAIN_AFTER: Final = 1_000


@dataclass(frozen=True, slots=True)
class Trainer:
    """Trains dictionaries; ``training_form`` takes everything personal out of an event."""

    database: Path
    training_form: Callable[[bytes], bytes]
    writer: Writer

    def train_one(self) -> None:
        """Train for one source that is due, if any."""
        with reading(self.database, SERVER_READ_S) as reader:
            sources = reader.untrained_sources(TRAIN_AFTER)
            if not sources:
                return
            source = sources[0]
            rows = reader.recent_data(source, TRAIN_AFTER)
        data = train(source, [self.training_form(row) for row in rows])
        self.writer.ask(lambda: self.writer.commits.add_dictionary(source, data))
        _log.info("dictionary trained", source=source, bytes=len(data))
