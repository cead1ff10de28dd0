"""An operation: what a client asks of a key. Each is a class in a module of its own, listed in `operations/__init__.py`.

Directories route it, buckets run it, statistics count it, and retries and limits go by what its class declares.
"""

from __future__ import annotations

import re
from typing import ClassVar, Protocol

from serve_app.operations.answers import NotMet
from serve_app.operations.body import A, Body
from serve_app.operations.condition import Condition, Verdict, judge
from serve_app.outcomes import OUTCOMES_KEPT_MS
from serve_app.record_bounds import MAX_IDEMPOTENCY_KEY_BYTES, MAX_KEY_BYTES
from serve_app.records import header

_VISIBLE = re.compile(rb"[\x21-\x7e]+")
#: The version of the data plane with conditions, expiry and idempotency keys.
CONDITIONS_SINCE = 5
#: And that with what changes a part of a value, tells what there was, and touches some records alone.
VALUES_SINCE = 6


class Records(Protocol):
    """A bucket's records as one write sees them: with the changes of the writes before it. In the writer's thread.

    A record whose time has come is none: who looks at it finds it deleted.
    """

    #: Milliseconds since the Unix epoch.
    now_ms: int

    def get(self, key: bytes) -> bytes | None:
        """A stored record's bytes, or None. Raises StorageDamaged."""

    def put(self, key: bytes, raw: bytes, revision: int) -> None:
        """Store a record, which has this revision."""

    def delete(self, key: bytes, revision: int) -> None:
        """Remove a record that `get` found. revision: of the deletion."""

    def next_revision(self) -> int:
        """A revision that this bucket has never given before."""


class Operation(Body[A]):
    """See the module."""

    #: Whether it changes anything.
    writes: ClassVar[bool] = False
    key: bytes

    @property
    def repeatable(self) -> bool:
        """Whether it may be sent again where it is not known what came of it."""
        return not self.writes

    @property
    def tells_value(self) -> bool:
        """Whether it writes and its answer holds the value that there was. Such a one comes alone: among others the answer
        might not fit into the message, and would be refused though it happened."""
        return False

    def problem(self) -> str:
        return "" if 1 <= len(self.key) <= MAX_KEY_BYTES else f"a key has 1 to {MAX_KEY_BYTES} bytes"


class ReadOperation(Operation[A], kw_only=True):
    """Answered from a key's record, wherever that is found first: in memory, or by a reading thread on the disk.

    condition: a record that does not meet it is answered with `NotMet`.
    """

    condition: Condition | None = None

    def version_needed(self) -> int:
        return self.since if self.condition is None else max(self.since, CONDITIONS_SINCE)

    def problem(self) -> str:
        if self.condition is None and 0 < len(self.key) <= MAX_KEY_BYTES:
            return ""  # as most are: every one is asked, twice
        return super().problem() or ("" if self.condition is None else self.condition.problem())

    def answer(self, raw: bytes | None) -> A | NotMet:
        """The answer, given the record's bytes, or None where no record has the key.

        Raises:
            StorageDamaged, StorageNewer: the bytes are no record that this release can read.
        """
        return (
            self.describe(raw) if self.condition is None else not_met(self.condition, raw, True) or self.describe(raw)
        )

    def describe(self, raw: bytes | None) -> A:
        """The answer where the condition is met. Raises as `answer`."""
        raise NotImplementedError


class WriteOperation(Operation[A], kw_only=True):
    """Decided by the bucket's writer, in order, and answered after the sync.

    condition: where the record does not meet it nothing is changed, and the answer is `NotMet`. idempotency_key: names the
    request, so that one that comes again gets the answer of the first and changes nothing (IETF draft
    "The Idempotency-Key HTTP Header Field"); empty where it is not to be remembered. remember_ms: for how long at least, for
    a client that will not ask after that; 0: for as long as any is.
    """

    writes: ClassVar[bool] = True
    #: Whether it makes a record where there is none. Else such a key is answered as missing, whatever the condition (RFC
    #: 9110, 13.2.1: what would not be a success without it is not looked at with it).
    creates: ClassVar[bool] = False
    condition: Condition | None = None
    idempotency_key: bytes = b""
    remember_ms: int = 0

    @property
    def repeatable(self) -> bool:
        return bool(self.idempotency_key)

    def version_needed(self) -> int:
        plain = self.condition is None and not self.idempotency_key
        return self.since if plain else max(self.since, CONDITIONS_SINCE)

    def problem(self) -> str:
        named = self.idempotency_key
        if not named and not self.remember_ms and self.condition is None and 0 < len(self.key) <= MAX_KEY_BYTES:
            return ""  # as most are: every one is asked, twice
        if named and (len(named) > MAX_IDEMPOTENCY_KEY_BYTES or not _VISIBLE.fullmatch(named)):
            return f"an idempotency key has 1 to {MAX_IDEMPOTENCY_KEY_BYTES} visible ASCII characters"
        if not 0 <= self.remember_ms <= OUTCOMES_KEPT_MS:
            return f"an idempotency key is remembered for at most {OUTCOMES_KEPT_MS // 1000} s"
        return super().problem() or ("" if self.condition is None else self.condition.problem())

    def decide(self, records: Records) -> A | NotMet:
        """Change the records; the answer.

        Raises:
            StoreError: it is refused, and has changed nothing. (Anything else is a mistake, after which nobody knows what it
                has changed of its group: it ends the bucket's process, which then has the state of the group before.)
        """
        old = records.get(self.key)
        condition = self.condition if self.creates or old is not None else None
        if condition is not None and (failed := not_met(condition, old, False)):
            return failed
        return self.change(records, old)

    def change(self, records: Records, old: bytes | None) -> A:
        """Change the records, given the key's record, where the condition is met. Raises as `decide`."""
        raise NotImplementedError


def not_met(condition: Condition, raw: bytes | None, reading: bool) -> NotMet | None:
    """The answer where a record, or that there is none, does not meet a condition. Raises StorageDamaged, StorageNewer."""
    if raw is None:
        return None if judge(condition, None, 0, reading) is Verdict.GO_ON else NotMet(0)
    known = header(raw)
    verdict = judge(condition, known.revision, known.modified_ms, reading)
    if verdict is Verdict.GO_ON:
        return None
    return NotMet(known.revision, known.modified_ms, known.expires_ms, verdict is Verdict.NOT_MODIFIED)
