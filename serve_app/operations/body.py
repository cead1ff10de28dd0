"""What a message on the data plane carries, beside its envelope (`wire/messages.py`).

A body's class declares all that the rest of the store goes by: its name, whether it needs space, what it counts against
limits, and, as its type parameter, what it is answered with.
"""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar, Generic, TypeVar, get_args

import msgspec

A = TypeVar("A", covariant=True)


class Body(msgspec.Struct, Generic[A], array_like=True, gc=False):
    """A question; `A` is the type of its answer, a union where there are several.

    On the wire: an array that begins with the class' tag. Fields are only ever added at the end, with defaults.
    """

    #: One word: in statistics, metrics and sentences for people.
    name: ClassVar[str] = ""
    #: The first version of the data plane that has it (`wire/versions.py`): an older peer is not sent it.
    since: ClassVar[int] = 4
    #: Whether a bucket refuses it while its disk is full.
    needs_space: ClassVar[bool] = False

    def version_needed(self) -> int:
        """The version of the data plane that this one needs: an older peer would misread what it asks for."""
        return self.since

    @property
    def payload_bytes(self) -> int:
        """Bytes of values in it: what it counts against the limits of queues and connections, beside its key."""
        return 0

    def problem(self) -> str:
        """What makes it impossible to carry out, as a sentence, or empty. Directories check it too; a bucket relies on
        nobody."""
        return ""


class Answer(msgspec.Struct, array_like=True, gc=False):
    """What a body is answered with. On the wire as a body."""

    @property
    def payload_bytes(self) -> int:
        """Bytes of values in it."""
        return 0


@cache
def answer_types(body: type[Body[Any]]) -> tuple[type[Answer], ...]:
    """The classes that a body's class names as its answer."""
    for base in body.__mro__:
        for generic in base.__dict__.get("__orig_bases__", ()):
            for argument in get_args(generic):
                if isinstance(argument, TypeVar):
                    continue
                return get_args(argument) or (argument,)
    raise TypeError(f"{body.__name__} names no answer")
