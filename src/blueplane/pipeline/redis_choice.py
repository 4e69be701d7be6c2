"""Which Redis the stream is on.

Owns the choice between a server of the user's and the private one, and the private one's life.
Promises that a private server that was left for another one is drained first: while it holds
entries, sources wait and it is read empty.
Leaves starting it to ``private_redis.py`` and talking to either to ``stream.py``.
"""

import shutil
from typing import Final

from blueplane.clock import monotonic_s
from blueplane.config import RedisSettings
from blueplane.errors import BlueplaneError, QueueUnavailableError
from blueplane.logs import get
from blueplane.paths import Home
from blueplane.pipeline.private_redis import PrivateRedis
from blueplane.threads import Backoff

_log = get("redis")

#: Seconds before a private server that does not start is tried again: first delay and longest.
START_AGAIN_S: Final = (0.1, 10.0)


class RedisChoice:
    """The server of one home; for the daemon's main thread, but for ``url``."""

    def __init__(self, home: Home, settings: RedisSettings) -> None:
        self._settings = settings
        self._data = home.redis / "appendonlydir"
        external = not settings.private
        #: Whether sources wait until a private server, which is not used any more, is empty.
        self.draining = external and self._data.exists()
        self._private = None if external and not self.draining else PrivateRedis(home)
        self._address = home.redis_url
        self._due_s = 0.0
        self._backoff = Backoff(*START_AGAIN_S)
        self.trouble: str | None = None

    @property
    def mode(self) -> str:
        """``private``, ``external``, or ``draining`` from the one to the other."""
        if self._private is None:
            return "external"
        return "draining" if self.draining else "private"

    def url(self) -> str:
        """Return the address; raise QueueUnavailableError while the private server is away."""
        if self._private is None:
            return str(self._settings.url)
        if not self._private.alive():
            raise QueueUnavailableError(self.trouble or "the private redis is not running")
        return self._address

    def version(self, reported: str) -> str:
        """Name the private server as it names itself: Valkey reports a Redis to be compatible."""
        info = self._private.info if self._private is not None else None
        return info.version if info is not None else reported

    def watch(self) -> None:
        """Start the private server, and start it again when it is gone."""
        if self._private is None or self._private.alive() or monotonic_s() < self._due_s:
            return
        try:
            self._private.start()
        except BlueplaneError as error:
            if str(error) != self.trouble:
                _log.warning("cannot start", reason=error)
            self.trouble = str(error)
            self._due_s = monotonic_s() + self._backoff.next_s()
            return
        self.trouble = None
        self._backoff.reset()

    def finish_draining(self) -> None:
        """Leave the private server, which is empty now, for the other one."""
        self.stop(5.0)
        try:
            shutil.rmtree(self._data)
        except OSError as error:  # a link to another disk: it is drained again at the next start
            _log.warning("empty data stays", path=self._data, reason=error)
        self._private = None
        self.draining = False
        _log.info("drained", next=self._settings.shown_url)

    def stop(self, timeout_s: float) -> None:
        """End the private server, if there is one."""
        if self._private is not None:
            self._private.stop(timeout_s)
