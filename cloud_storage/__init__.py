"""A client of the store that people like to use: `Store`, and `AsyncStore` with the same methods.

    from cloud_storage import Store

    with Store() as store:
        store.put("greeting", "hello")
        print(store.get_text("greeting"))

Nothing here needs Ray. docs/python.md describes all of it.
"""

from typing import TYPE_CHECKING, Any

from cloud_storage.codecs import BYTES, JSON, MSGPACK, PICKLE, TEXT, Codec
from cloud_storage.errors import (
    ConditionFailed,
    DiskFull,
    Forbidden,
    HistoryLost,
    Incompatible,
    Interrupted,
    InvalidRequest,
    NotANumber,
    OutcomeUnknown,
    Refused,
    SomeFailed,
    StoreError,
    Unauthorized,
    Unavailable,
    ValueTooLarge,
)
from cloud_storage.mapping import StoreMapping
from cloud_storage.records import Event, Imported, Listed, Record, Written
from cloud_storage.store import Store

if TYPE_CHECKING:
    from cloud_storage.async_store import AsyncStore

__all__ = [
    "BYTES",
    "JSON",
    "MSGPACK",
    "PICKLE",
    "TEXT",
    "AsyncStore",
    "Codec",
    "ConditionFailed",
    "DiskFull",
    "Event",
    "Forbidden",
    "HistoryLost",
    "Imported",
    "Incompatible",
    "Interrupted",
    "InvalidRequest",
    "Listed",
    "NotANumber",
    "OutcomeUnknown",
    "Record",
    "Refused",
    "SomeFailed",
    "Store",
    "StoreError",
    "StoreMapping",
    "Unauthorized",
    "Unavailable",
    "ValueTooLarge",
    "Written",
]


def __getattr__(name: str) -> Any:
    """aiohttp takes longer to import than all else here, and who uses `Store` does without it."""
    if name == "AsyncStore":
        from cloud_storage.async_store import AsyncStore

        globals()[name] = AsyncStore
        return AsyncStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__} - {"TYPE_CHECKING", "Any"})
