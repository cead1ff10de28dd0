"""What goes wrong in the store, in terms that a caller can act on: the tree of all that the store raises on purpose.

    StoreError
    ├── InvalidRequest
    │   ├── PartialPut
    │   └── UnsupportedEncoding
    ├── Unauthorized
    ├── Forbidden
    ├── KeyNotFound
    ├── RangeNotSatisfiable
    ├── ConditionFailed
    ├── NotText
    ├── NotANumber
    │   └── NotADecimal
    ├── NumberOverflow
    ├── IdempotencyKeyReused
    ├── HistoryLost
    ├── ValueTooLarge
    ├── UploadTimeout
    ├── Unavailable
    │   ├── NoRay              cluster/ray_connection.py
    │   └── Retired            wire/link.py
    ├── OutcomeUnknown
    ├── DiskFull
    ├── StorageFault
    │   ├── StorageDamaged
    │   ├── StorageForeign
    │   ├── StorageNewer
    │   ├── StorageInUse
    │   └── StorageUnusable
    └── Overtaken              authority/proposing_bucket.py

Those with a file of their own are known around it alone. The split that matters is between an operation that was
refused (nothing changed, try again) and one whose outcome is unknown (it may have happened). `http/problems.py` maps each
class to a status.

What is no StoreError goes no further than to whoever called the module that raises it, and is made one of these there, or
ends something: a connection (`wire/connection.py`, `wire/frames.py`), a lookup (`wire/link.py`), a request whose client has
gone (`http/uploads.py`), a process whose disk failed (`storage/engine.py`), a command (`command_output/failure.py`).
"""


class StoreError(Exception):
    """Base of all that the store raises on purpose. `str(error)` is a sentence fit to show a user."""


class InvalidRequest(StoreError):
    """The request can never succeed as it is: a bad key, value or parameter."""


class PartialPut(InvalidRequest):
    """A request would store a part of a value; values are stored whole."""


class UnsupportedEncoding(InvalidRequest):
    """The body is encoded in a way, or of a type, that is not taken here."""


class Unauthorized(StoreError):
    """The request shows no token that the store takes. invalid_token: whether it shows any, of whatever kind."""

    def __init__(self, detail: str, *, invalid_token: bool = False) -> None:
        super().__init__(detail)
        self.invalid_token = invalid_token


class Forbidden(StoreError):
    """The request's token lacks the scope that is needed, or is for other keys. Names what is missing."""


class KeyNotFound(StoreError):
    """No record has the key."""


class ConditionFailed(StoreError):
    """The key's record does not meet the request's condition; nothing was changed."""

    def __init__(self, detail: str, *, revision: int = 0) -> None:
        """revision: of the record there is; 0 where there is none."""
        super().__init__(detail)
        self.revision = revision


class NotText(StoreError):
    """The value is not UTF-8 text, so it can't be in an answer of the first API."""


class NotANumber(StoreError):
    """An increment found a value that is not the decimal text of a 64-bit number; nothing was changed."""


class NotADecimal(NotANumber):
    """An increment found a value that is not the text of a decimal number; nothing was changed."""


class NumberOverflow(StoreError):
    """An increment would have gone beyond 64 bits; nothing was changed."""


class IdempotencyKeyReused(StoreError):
    """The idempotency key was given to another request on the same key before; nothing was changed."""


class HistoryLost(StoreError):
    """A watch asks for changes that the store does not have any more: list the keys, and watch from now on."""


class RangeNotSatisfiable(StoreError):
    """No byte of the value is in the range that a GET asks for. size: how long the value is."""

    def __init__(self, size: int) -> None:
        super().__init__(f"no byte of the value is in the range; it has {size:,} bytes")
        self.size = size


class ValueTooLarge(StoreError):
    """The value is longer than `limits.max_value_bytes`."""


class UploadTimeout(StoreError):
    """A request body stopped arriving before its end; nothing was changed."""


class Unavailable(StoreError):
    """Refused and nothing changed: a bucket that can't be reached or serve now, or a full queue. Worth a retry."""

    def __init__(self, detail: str, *, retry_after_s: int = 1) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class OutcomeUnknown(StoreError):
    """A write was sent to its bucket and no answer came back: it may or may not have happened."""


class DiskFull(StoreError):
    """The bucket's disk is below its reserve: writes are refused and nothing changed; reads and deletes go on."""


class StorageFault(StoreError):
    """Base of what keeps a bucket's storage from being opened or used. The bucket serves nothing while it lasts."""

    #: A short stable word for logs and status.
    kind = "fault"
    #: Whether opening again later can help without anybody's hand.
    transient = False


class StorageDamaged(StorageFault):
    """A file of the storage is missing or fails its checksum. Names the file."""

    kind = "damaged"


class StorageForeign(StorageFault):
    """The folder, volume or database belongs to another bucket or another store, or is not a bucket's at all."""

    kind = "foreign"


class StorageNewer(StorageFault):
    """The storage was written by a newer release with a format that this one does not know."""

    kind = "newer-format"


class StorageInUse(StorageFault):
    """Another process holds the folder's lock; it may be an earlier incarnation that is still ending."""

    kind = "in-use"
    transient = True


class StorageUnusable(StorageFault):
    """The operating system refused: no permission, no such device, no space to open the database."""

    kind = "unusable"
    transient = True
