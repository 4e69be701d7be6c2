"""The error tree.

Owns every exception that crosses a module of ours; each says what the program exits with.
Promises that a message is one line for the user: what happened, where, what to do.
Leaves drivers' exceptions to the edge that imports the driver: it translates them into these.
"""


class BlueplaneError(Exception):
    """The base of every error that a user can cause or mend."""

    exit_code = 70


class UsageError(BlueplaneError):
    """The command line or a request asks for something that makes no sense."""

    exit_code = 2


class ConfigError(BlueplaneError):
    """The configuration has an unknown key, a wrong type or a value out of range."""

    exit_code = 2


class NotFoundError(BlueplaneError):
    """What was asked for by id is nowhere to be found."""

    exit_code = 1


class AlreadyRunningError(BlueplaneError):
    """Another server holds the lock of this home directory."""

    exit_code = 3


class HomeError(BlueplaneError):
    """The home directory, or a file in it, cannot be made, is not private, or is not ours."""

    exit_code = 4


class InstallError(BlueplaneError):
    """A file that is to be installed, edited or removed cannot be, as it is or as it was found."""

    exit_code = 2


class ServiceError(BlueplaneError):
    """The service manager of the system is not there, refuses, or could not do it."""

    exit_code = 4


# --- capture -----------------------------------------------------------------------------------


class MalformedPayloadError(BlueplaneError):
    """A captured payload cannot be read: it goes to quarantine under ``rule``.

    ``rule`` is one word that is counted (``empty``, ``not-json``, ``depth``, ...); the message
    says where in the payload, and never quotes it.
    """

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(f"{rule}: {detail}")
        self.rule = rule
        self.detail = detail


class FilteredError(BlueplaneError):
    """A named rule of the configuration or of a platform leaves this event out."""

    def __init__(self, rule: str) -> None:
        super().__init__(rule)
        self.rule = rule


class EditorDatabaseError(BlueplaneError):
    """A database of an editor cannot be read now; ``cause`` says why, in words without a path."""

    exit_code = 4

    def __init__(self, path: object, cause: str) -> None:
        super().__init__(f"{path}: {cause}")
        self.cause = cause


# --- queue ---------------------------------------------------------------------------------------


class QueueError(BlueplaneError):
    """Redis cannot do what was asked; the caller keeps what it holds and tries again later."""

    exit_code = 4


class QueueUnavailableError(QueueError):
    """No connection, a timeout, a server that is loading, or a refused login."""


class QueueDetachedError(QueueError):
    """The stream, its group or the server instance changed: attach again before going on."""


class QueueRefusedError(QueueError):
    """The server is reachable and refuses writes (memory, disk, read-only)."""


class QueueUnusableError(QueueError):
    """The server can never serve this home as it is: version, cluster, eviction, foreign keys."""


class UndecodableEntryError(BlueplaneError):
    """An entry of the stream is not an event; its raw fields become a dead letter."""


class OversizedEntryError(UndecodableEntryError):
    """An entry is larger than any event of ours: only its beginning becomes a dead letter."""


# --- server --------------------------------------------------------------------------------------


class ServerUnavailableError(BlueplaneError):
    """No server answers on its socket."""

    exit_code = 4


class RemoteError(BlueplaneError):
    """The server could not do what was asked; message and exit code are its own."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


# --- store ---------------------------------------------------------------------------------------


class StoreError(BlueplaneError):
    """The database cannot be opened, is newer than this program, or is damaged."""

    exit_code = 4


class StoreUnavailableError(StoreError):
    """The store failed, not the event: full, busy, read-only or an I/O error. Try again later."""


class StoreFullError(StoreUnavailableError):
    """There is no room on the disk of the database; the message says how much is free."""


class StoreBrokenError(StoreUnavailableError):
    """The database is damaged, or not the file of its name any more: it must be opened anew."""


class RowRefusedError(StoreError):
    """The store is well and cannot hold this row: the event's failure, not the store's."""
