"""Commands of one connection that were begun together, and their answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any, cast

from serve_app.errors import ValueTooLarge
from serve_app.operations import Answer, Operation, Value, Written
from serve_app.redis.command import Asked, Handled, Outcome
from serve_app.redis.straight import Reply

#: Of answers, what is written together.
WRITTEN_BYTES = 256 * 1024
#: What makes a command's answer, or what is carried out alone.
Begun = Handled | Reply
Operations = list[Operation[Any]]
_STRAIGHT = {FunctionType}


def all_answers(begun: list[Begun], operations: Operations, outcomes: list[Outcome]) -> bytes:
    """Of a burst. outcomes: of all its operations, in order."""
    if set(map(type, begun)) == _STRAIGHT:  # as most are: then each has one operation
        replies = cast("list[Callable[[Any], bytes]]", begun)
        return b"".join([reply(outcome) for reply, outcome in zip(replies, outcomes, strict=True)])
    return b"".join([reply_of(one, mine) for one, _, mine in each(begun, operations, outcomes)])


def each(
    begun: list[Begun], operations: Operations, outcomes: list[Outcome]
) -> Iterator[tuple[Asked | Reply | bytes, list[Operation[Any]], list[Outcome]]]:
    """The commands of a burst that are not carried out alone, each with its own operations and what came of them."""
    at = 0
    for one in cast("list[Asked | Reply | bytes]", begun):
        count = len(one.operations) if isinstance(one, Asked) else 0 if isinstance(one, bytes) else 1
        yield one, operations[at : at + count], outcomes[at : at + count]
        at += count


def reply_of(one: Asked | Reply | bytes, outcomes: list[Outcome]) -> bytes:
    """What is answered to a command."""
    if isinstance(one, bytes):
        return one
    return one.reply(outcomes) if isinstance(one, Asked) else one(outcomes[0])


def takes_long(outcomes: list[Outcome]) -> bool:
    """Whether some of it is to be asked for again, or it is more than is written together."""
    size = 0
    for outcome in outcomes:
        kind: type[Any] = type(outcome)
        if kind is Value:
            size += len(cast(Value, outcome).value)
        elif kind is Written:
            pass  # as most are that are none
        elif isinstance(outcome, Answer):
            size += outcome.payload_bytes
        elif isinstance(outcome, ValueTooLarge):
            return True
    return size > WRITTEN_BYTES
