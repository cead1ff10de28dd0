"""What came of an operation that a directory has routed."""

from __future__ import annotations

from typing import Any, Generic, NamedTuple, TypeVar

from serve_app.operations import Operation
from serve_app.operations.body import answer_types

#: How often an operation is routed again because its bucket was not the key's home.
MAX_REROUTES = 8
A = TypeVar("A")


class Routed(NamedTuple, Generic[A]):
    """What came of an operation: the answer of its key's home, that bucket's id, and the SHA256 of the key in hex; empty
    where many were asked at once, which costs as much as half of their routing."""

    answer: A
    bucket_id: int
    digest: str


def check_kind(operation: type[Operation[Any]], answer: type[Any]) -> None:
    """An answer is of a kind that its operation names: both ends have the same declaration."""
    assert answer in answer_types(operation), f"{operation.name} answered with {answer.__name__}"
