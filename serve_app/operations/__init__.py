"""The operations: what a client may ask of a key, one module each. A new one is listed here, and nowhere else.

`OPERATIONS` are all there are, `ANSWERS` the classes that they are answered with.
"""

from __future__ import annotations

from typing import Any

from serve_app.operations.answers import Counted, Deleted, Missing, NotMet, Touched, Value, Written
from serve_app.operations.body import Answer, Body, answer_types
from serve_app.operations.delete import Delete
from serve_app.operations.expire import Expire
from serve_app.operations.get import Get
from serve_app.operations.head import Described, Head
from serve_app.operations.increment import Increment
from serve_app.operations.increment_decimal import CountedDecimal, IncrementDecimal
from serve_app.operations.operation import Operation, ReadOperation, WriteOperation
from serve_app.operations.put import Put
from serve_app.operations.splice import Sized, Splice
from serve_app.operations.swap import Swap, Swapped
from serve_app.operations.touch import Touch

OPERATIONS: tuple[type[Operation[Any]], ...] = (
    Get,
    Head,
    Put,
    Delete,
    Touch,
    Increment,
    IncrementDecimal,
    Splice,
    Swap,
    Expire,
)
#: In the order in which they are first named; each once.
ANSWERS: tuple[type[Answer], ...] = tuple(dict.fromkeys(kind for each in OPERATIONS for kind in answer_types(each)))

__all__ = [
    "ANSWERS",
    "OPERATIONS",
    "Answer",
    "Body",
    "Counted",
    "CountedDecimal",
    "Delete",
    "Deleted",
    "Described",
    "Expire",
    "Get",
    "Head",
    "Increment",
    "IncrementDecimal",
    "Missing",
    "NotMet",
    "Operation",
    "Put",
    "ReadOperation",
    "Sized",
    "Splice",
    "Swap",
    "Swapped",
    "Touch",
    "Touched",
    "Value",
    "WriteOperation",
    "Written",
]
