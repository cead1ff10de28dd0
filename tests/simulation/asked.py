"""What a client asks for: the product's operation, and the event that its answer makes of it in the history."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from serve_app.operations import (
    Counted,
    Delete,
    Deleted,
    Described,
    Get,
    Head,
    Increment,
    Missing,
    NotMet,
    Operation,
    Put,
    Sized,
    Splice,
    Swap,
    Swapped,
    Touch,
    Touched,
    Value,
    Written,
)
from serve_app.operations.condition import Condition
from tests.support.linearizability import ANY, NOT_MET, READS, Event, Kind


@dataclass(frozen=True)
class Asked:
    """An operation on a key. value: of a put, swap or append, the text; of an increment, what is added. if_match,
    if_none_match: a revision, or `ANY`; 0 where there is no condition. ttl_ms: 0 where what it leaves never expires. named:
    the idempotency key, or empty. remember_ms: for how long that is remembered, 0 for as long as where nothing is said."""

    kind: Kind
    key: str
    value: str | None = None
    if_match: int = 0
    if_none_match: int = 0
    ttl_ms: int = 0
    named: str = ""
    remember_ms: int = 0

    @property
    def writes(self) -> bool:
        return self.kind not in READS

    def operation(self, *, batched: bool = False) -> Operation[Any]:
        """The product's own. The same each time: a request that is sent again is the very same."""
        key, named, remember_ms = self.key.encode(), self.named.encode(), self.remember_ms
        condition = None
        if self.if_match or self.if_none_match:
            condition = Condition(
                (self.if_match,) if self.if_match else None, (self.if_none_match,) if self.if_none_match else None
            )
        if self.kind == "get":
            return Get(key, condition=condition)
        if self.kind == "head":
            return Head(key, condition=condition)
        if self.kind == "delete":
            with_value = not batched and not named  # no batch answers with what it deleted
            return Delete(
                key, with_value=with_value, condition=condition, idempotency_key=named, remember_ms=remember_ms
            )
        if self.kind == "touch":
            return Touch(key, ttl_ms=self.ttl_ms, condition=condition, idempotency_key=named, remember_ms=remember_ms)
        assert self.value is not None
        if self.kind == "increment":
            return Increment(
                key, int(self.value), self.ttl_ms, condition=condition, idempotency_key=named, remember_ms=remember_ms
            )
        value = self.value.encode()
        if self.kind == "append":
            return Splice(key, value, "text/plain", condition=condition, idempotency_key=named, remember_ms=remember_ms)
        if self.kind == "swap":
            return Swap(
                key,
                value,
                "text/plain",
                self.ttl_ms,
                with_value=not batched and not named,
                condition=condition,
                idempotency_key=named,
                remember_ms=remember_ms,
            )
        return Put(
            key, value, "text/plain", self.ttl_ms, condition=condition, idempotency_key=named, remember_ms=remember_ms
        )

    def event(self, answer: Any, called_s: float, ended_s: float) -> Event:
        """What came of it. answer: the product's; None where that is unknown."""
        found, revision = (None, 0) if answer is None else meaning(self.kind, answer)
        return Event(
            self.key,
            self.kind,
            self.value,
            found,
            called_s,
            math.inf if answer is None else ended_s,
            revision,
            self.if_match,
            self.if_none_match,
            self.ttl_ms > 0,
        )

    def __str__(self) -> str:
        told = [self.kind, self.key]
        for name, revision in (("if-match", self.if_match), ("if-none-match", self.if_none_match)):
            if revision:
                told.append(f"{name} {'*' if revision == ANY else revision}")
        if self.ttl_ms:
            told.append(f"for {self.ttl_ms} ms")
        if self.named:
            told.append(f"as {self.named}")
        if self.remember_ms:
            told.append(f"remembered for {self.remember_ms} ms")
        return " ".join(told)


def meaning(kind: Kind, answer: Any) -> tuple[str | int | None, int]:
    """What an answer says of the record, and its revision, 0 where it says none."""
    if isinstance(answer, Missing):
        return (False if kind == "touch" else None), 0
    if isinstance(answer, NotMet):
        return NOT_MET, answer.revision
    if isinstance(answer, Written):
        return not answer.created, answer.revision
    if isinstance(answer, Described):
        assert answer.json_bytes == answer.size + len('""'), "all values are ASCII, and need no escapes"
        return answer.size, answer.revision
    if isinstance(answer, Touched):
        return True, answer.revision
    if isinstance(answer, Counted):
        return answer.value, answer.revision
    if isinstance(answer, Sized):
        return answer.size, answer.revision
    if isinstance(answer, Swapped):
        assert answer.stored, "it stores always"
        return (answer.value.decode() or True) if answer.existed else None, answer.revision
    assert isinstance(answer, Value | Deleted), f"{answer!r:.80} answers nothing"
    # No value is empty here: a deletion that tells none was not asked for it.
    return answer.value.decode() or True, answer.revision


def events_of(items: list[tuple[Asked, Any]], called_s: float, ended_s: float) -> list[Event]:
    """What came of a batch: each item that was not refused, with its answer or None.

    What it did to one key, it did at one instant and in order: unless nothing of it writes, or some of it was sent again, as
    what has an idempotency key may be.
    """
    by_key: dict[str, list[tuple[Asked, Any]]] = {}
    for asked, answer in items:
        by_key.setdefault(asked.key, []).append((asked, answer))
    events: list[Event] = []
    for key, some in by_key.items():
        parts = [asked.event(answer, called_s, ended_s) for asked, answer in some]
        writes = any(asked.writes for asked, _ in some)
        together = writes and not any(asked.named or answer is None for asked, answer in some)
        if together and len(parts) > 1:
            events.append(Event(key, "batch", None, None, called_s, ended_s, parts=tuple(parts)))
        else:
            events += parts
    return events
