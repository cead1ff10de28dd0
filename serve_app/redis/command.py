"""What a command is: its name, how many arguments it takes, and what becomes of it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from serve_app.errors import InvalidRequest, StoreError
from serve_app.operations import Operation
from serve_app.record_bounds import MAX_KEY_BYTES
from serve_app.redis import replies

if TYPE_CHECKING:
    from serve_app.auth.access import ScopeName
    from serve_app.redis.session import Session

#: As `string2ll` of Redis takes it.
_INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,18}")
LOWEST, HIGHEST = -(2**63), 2**63 - 1
Arguments = list[bytes]
#: An answer of the store, or what it could not do.
Outcome = Any | StoreError


class Wrong(Exception):
    """A command that can't be carried out as it is. reply: what is answered."""

    def __init__(self, reply: bytes) -> None:
        super().__init__(reply)
        self.reply = reply


class Asked(NamedTuple):
    """Operations of the store, carried out together with those of other commands; `reply` makes the answer of what came of
    them, in order."""

    operations: Sequence[Operation[Any]]
    reply: Callable[[Sequence[Outcome]], bytes]


class Later(NamedTuple):
    """What takes more than operations, and is carried out alone."""

    work: Callable[[], Awaitable[bytes]]


Handled = bytes | Asked | Later
Handler = Callable[["Session", Arguments], Handled]


def wrong_number(name: str) -> bytes:
    """What is answered to too many words, or too few. name: of a subcommand as `client|setname`."""
    return replies.error(f"ERR wrong number of arguments for '{name}' command")


def unknown_subcommand(command: str, raw: bytes) -> bytes:
    """What is answered where a command has no such subcommand."""
    return replies.error(f"ERR unknown subcommand '{raw.decode('utf-8', 'replace')[:128]}'. Try {command} HELP.")


@dataclass(frozen=True, slots=True)
class Command:
    """arity: as Redis says it: how many words with the name; at least so many where it is negative. flags: those of
    `COMMAND` that are true here. first, last, step: which of the words are keys; none where `first` is 0."""

    name: str
    arity: int
    handler: Handler
    flags: tuple[str, ...] = ()
    first: int = 0
    last: int = 0
    step: int = 0

    def takes(self, words: int) -> bool:
        return words == self.arity if self.arity > 0 else words >= -self.arity

    @property
    def wrong_number(self) -> bytes:
        return wrong_number(self.name)


def single(operation: Operation[Any], reply: Callable[[Any], bytes]) -> Asked:
    """One operation. reply: of its answer."""

    def replied(outcomes: Sequence[Outcome]) -> bytes:
        outcome = outcomes[0]
        return replies.of_error(outcome) if isinstance(outcome, StoreError) else reply(outcome)

    return Asked((operation,), replied)


def alone(asked: Asked) -> bool:
    """Whether it is not to be carried out with others: it writes, and tells the value that there was."""
    return asked.operations[0].tells_value


def key_of(session: Session, raw: bytes, scope_name: ScopeName) -> bytes:
    """A key that may be used so. Raises InvalidRequest, Unauthorized, Forbidden, Unavailable."""
    if not 0 < len(raw) <= MAX_KEY_BYTES:
        raise InvalidRequest(f"a key has 1 to {MAX_KEY_BYTES:,} bytes; this one has {len(raw):,}")
    if not raw.isascii():
        try:
            raw.decode()
        except UnicodeDecodeError:
            raise InvalidRequest("a key is UTF-8 text") from None
    session.access.require(scope_name, raw)
    return raw


def integer_in(raw: bytes) -> int:
    """Raises Wrong: it is no integer of 64 bits."""
    if not _INTEGER.fullmatch(raw) or not LOWEST <= (number := int(raw)) <= HIGHEST:
        raise Wrong(replies.NOT_AN_INTEGER)
    return number


def summed_up(outcomes: Sequence[Outcome]) -> bytes | None:
    """What to say where some of several keys failed, which are carried out one by one; None where none did. What matters
    most first: may something have happened?"""
    failed = [outcome for outcome in outcomes if isinstance(outcome, StoreError)]
    if not failed:
        return None
    words = ("UNKNOWN", "NOSPACE", "TRYAGAIN", "NOAUTH", "NOPERM", "ERR")
    worst = min(failed, key=lambda error: words.index(replies.word_of(error)))
    if len(outcomes) == 1:
        return replies.of_error(worst)
    return replies.error(f"{replies.word_of(worst)} {len(failed)} of {len(outcomes)} keys failed, one by: {worst}")
