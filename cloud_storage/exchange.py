"""A request and a response as values: what is sent and what came, with no socket in sight."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """target: path and query. writes: whether it changes anything. repeatable: whether it may be sent again where nobody
    knows what came of it: a read, or a write that an idempotency key names."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    writes: bool = False
    repeatable: bool = True


@dataclass(frozen=True, slots=True)
class Response:
    """headers: by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """A request, and what its answer means. read: gets a response that is the store's own and no refusal to be tried again;
    raises StoreError."""

    request: Request
    read: Callable[[Response], T]
