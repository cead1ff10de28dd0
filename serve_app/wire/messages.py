"""The messages between a directory, or another bucket, and a bucket.

A message is an envelope and a body. Bodies are msgpack arrays of msgspec structs, tagged by a small integer; fields are only
ever added at the end, with defaults. The operations of clients have modules of their own (`operations/`); what directories
and buckets ask of buckets for their own sake is here. Replies come in any order.
"""

from __future__ import annotations

from typing import Any, ClassVar, Union

import msgspec

from serve_app import outcomes
from serve_app.changes import Change
from serve_app.errors import StorageDamaged
from serve_app.operations import ANSWERS, OPERATIONS
from serve_app.operations.body import Answer, Body
from serve_app.operations.operation import CONDITIONS_SINCE
from serve_app.record_bounds import MAX_KEY_BYTES
from serve_app.records import HEADER_BYTES, expires_ms
from serve_app.topology import MAX_BUCKET_COUNT, MAX_REVISION, Topology
from serve_app.wire.voting import Accept, Accepted, Outvoted, Prepare, Promised

# -- the handshake, which is the same in every version ---------------------------------------------------------------


class Hello(msgspec.Struct, array_like=True, gc=False, tag=0):
    """The first frame of a connection.

    oldest, newest: the versions that the caller speaks (`versions.py`); a newest of 0 is an earlier release's, which speaks
    `oldest` alone. identity: of the storage expected, or empty where the caller can't know yet. guest: the caller is a
    client's process and no part of the store: there may be many, and they have slots of their own.
    """

    oldest: int
    token: str
    bucket_id: int
    identity: str
    newest: int = 0
    guest: bool = False


class Welcome(msgspec.Struct, array_like=True, gc=False, tag=0):
    """The answer to a good Hello; anything else is hung up on. version: what both ends speak from here on; 0 is an earlier
    release's, which speaks the caller's `oldest`."""

    bucket_id: int
    identity: str
    incarnation: str
    version: int = 0


# -- what directories and buckets ask of a bucket --------------------------------------------------------------------


class Status(Answer, tag=7):
    """What a bucket knows of itself. keys and bytes are exact; fault is a sentence, empty when it serves."""

    bucket_id: int
    identity: str
    incarnation: str
    topology: Topology | None
    keys: int
    bytes: int
    revision: int
    free_bytes: int
    disk_full: bool
    queued_writes: int
    fault: str
    last_error: str
    #: Other buckets whose data this one's process can see beside its own.
    siblings: tuple[int, ...] = ()
    #: Of the move under way: whether all keys that leave this bucket have left, how many have and have not yet.
    move_done: bool = True
    moved_keys: int = 0
    moved_bytes: int = 0
    remaining_keys: int = 0
    #: What the move waits for at this bucket; at bucket 0 also what keeps a move from starting.
    waiting_for: str = ""
    #: As remaining_keys; and how fast keys have left in the last few seconds.
    remaining_bytes: int = 0
    keys_per_s: float = 0.0
    bytes_per_s: float = 0.0
    #: The highest epoch that a directory has told this process of.
    heard_epoch: int = 0


class Inspect(Body[Status], tag=4):
    """Ask for the bucket's status. Sent about once a second, it is the connection's heartbeat as well, and tells bucket 0
    which bucket_count the directory is configured with (0: none, or not a directory). The envelope's epoch is that of the
    topology that the directory knows (0: none)."""

    name: ClassVar[str] = "inspect"
    directory: str = ""
    configured_count: int = 0


class Install(Body[Status], tag=5):
    """Hand the bucket a topology; it installs it if it is newer than its own."""

    name: ClassVar[str] = "install"
    topology: Topology


class Establish(Body[Status], tag=6):
    """Ask bucket 0 to found the store with buckets of these identities. Whatever topology is in the answer is the store's,
    whoever asked first."""

    name: ClassVar[str] = "establish"
    identities: tuple[str, ...]


class AcceptLoss(Body[Status], tag=8):
    """Ask bucket 0 to go on with another storage for a bucket whose data is lost."""

    name: ClassVar[str] = "accept-loss"
    bucket_id: int
    identity: str


class WindowWritten(Answer, tag=8):
    """A window's records, and its marker, are on the target's disk."""


class Window(Body[WindowWritten], tag=7):
    """From bucket to bucket: all records of a window of the source's keys that have their new home here.

    The target writes it only in the envelope's very epoch, and once; a late or repeated one is acknowledged and not written.
    revision: the source's counter; nothing in the window has a higher revision, nor had what was deleted there. outcomes: of
    requests that may come again, by the names of their facts (`storage/outcomes.py`).
    """

    name: ClassVar[str] = "window"
    source: int
    end: bytes
    revision: int
    records: list[tuple[bytes, bytes]]
    outcomes: list[tuple[bytes, bytes]] = msgspec.field(default_factory=list)

    @property
    def payload_bytes(self) -> int:
        return sum(len(key) + len(raw) for key, raw in (*self.records, *self.outcomes))

    def version_needed(self) -> int:
        plain = not self.outcomes and not any(expires_ms(raw) for _, raw in self.records)
        return self.since if plain else CONDITIONS_SINCE

    def problem(self) -> str:
        # All of it becomes durable: what could not be read again would keep the bucket from opening.
        if not 0 <= self.source < MAX_BUCKET_COUNT:
            return f"a window comes from one of the buckets 0 to {MAX_BUCKET_COUNT - 1}"
        if not 0 <= self.revision <= MAX_REVISION:
            return f"a revision is 0 to {MAX_REVISION}"
        if len(self.end) > MAX_KEY_BYTES + 1:
            return "a window ends at a key or just behind it"
        if not all(1 <= len(key) <= MAX_KEY_BYTES and len(raw) >= HEADER_BYTES for key, raw in self.records):
            return "a window holds what is no record"
        try:
            for name, raw in self.outcomes:
                outcomes.key_in(name)
                if not 0 <= outcomes.decode(raw).due_ms <= MAX_REVISION:
                    return "an outcome is remembered until a time that can't be"
        except StorageDamaged as error:
            return str(error)
        return ""


#: A Surveyed names no more misplaced keys than this.
MISPLACED_NAMED = 100


class Surveyed(Answer, tag=9):
    """keys: how many records were looked at; misplaced: the first few that are not at home here. next_start: where to go on,
    empty at the end. epoch: of the topology and cursor that it was judged by."""

    keys: int
    misplaced: list[bytes]
    next_start: bytes
    epoch: int


class Survey(Body[Surveyed], tag=9):
    """Ask which of the bucket's records, from `start` on, are at home under its own topology."""

    name: ClassVar[str] = "survey"
    start: bytes


# -- answers to anything -----------------------------------------------------------------------------------------------


class Moved(Answer, tag=5):
    """This bucket is not the key's home under the topology that it has itself persisted (None: it has none yet).

    cursor: of the keys whose old home is this bucket, those below it have moved in that topology's move.
    """

    topology: Topology | None
    cursor: bytes = b""


class Refused(Answer, tag=6):
    """Nothing was changed, unless the reason is `unknown`: it may have happened. detail is a sentence for people.

    reason: `busy` (a queue is full), `disk-full`, `expired` (its deadline had passed), `fault` (the storage can't serve, or
    not this), `invalid` (it can never succeed), `unknown`; of operations that came later `not-a-number`, `overflow`,
    `key-reused`. `refusals.py` has the errors that they stand for.
    """

    reason: str
    detail: str


# -- many keys at once --------------------------------------------------------------------------------------------------

_AN_OPERATION: Any = Union[(*OPERATIONS,)]
_ANSWER_OF_AN_OPERATION: Any = Union[(*ANSWERS, Moved, Refused)]


class BatchAnswered(Answer, tag=14):
    """The answers, in the order of the operations."""

    answers: list[_ANSWER_OF_AN_OPERATION]

    @property
    def payload_bytes(self) -> int:
        return sum(answer.payload_bytes for answer in self.answers)


#: Operations in one message.
MAX_BATCH = 1000


class Batch(Body[BatchAnswered], tag=13):
    """Carry out each of these operations, in order, as if it had come alone; the envelope's epoch is each one's claim."""

    name: ClassVar[str] = "batch"
    since: ClassVar[int] = CONDITIONS_SINCE
    operations: list[_AN_OPERATION]

    def version_needed(self) -> int:
        needed: int = max(self.since, *(operation.version_needed() for operation in self.operations))
        return needed

    @property
    def payload_bytes(self) -> int:
        values: int = sum([operation.payload_bytes for operation in self.operations if operation.writes])
        return values + sum([len(operation.key) for operation in self.operations])

    def problem(self) -> str:
        if not 1 <= len(self.operations) <= MAX_BATCH:
            return f"a batch has 1 to {MAX_BATCH} operations"
        # One that does not fit into the answer would be refused there, and yet have happened.
        for operation in self.operations:
            if operation.tells_value:
                return f"a {operation.name} in a batch is answered without the value"
            problem: str = operation.problem()
            if problem:
                return problem
        return ""


class Entry(msgspec.Struct, array_like=True, gc=False):
    """A record in a list. size: its value's bytes. Times are milliseconds since the Unix epoch. value: empty where they were
    not asked for."""

    key: bytes
    size: int
    content_type: str
    revision: int
    created_ms: int
    modified_ms: int
    expires_ms: int
    value: bytes = b""


class Listed(Answer, tag=15):
    """entries, prefixes: in the order of their bytes. upto: there may be more behind this name; empty at the end."""

    entries: list[Entry]
    prefixes: list[bytes]
    upto: bytes

    @property
    def payload_bytes(self) -> int:
        return sum(len(entry.value) + len(entry.key) for entry in self.entries)


class List(Body[Listed], tag=14):
    """Ask for the bucket's first records whose names are behind `start_after`, in order. The envelope's epoch is that of the
    topology by which the buckets are asked; a bucket that has another answers `Moved`.

    A record's name is its key; where a delimiter is given and is in the key behind the prefix, the key up to its first one,
    and of those with one name only that is told. taken: whether those are asked for that came from other buckets, or those
    whose old home this is. values: whether values are to be in the answer.
    """

    name: ClassVar[str] = "list"
    since: ClassVar[int] = CONDITIONS_SINCE
    start_after: bytes
    prefix: bytes
    delimiter: bytes
    limit: int
    values: bool
    taken: bool

    def problem(self) -> str:
        if max(map(len, (self.start_after, self.prefix, self.delimiter))) > MAX_KEY_BYTES:
            return f"a name has at most {MAX_KEY_BYTES} bytes"
        return "" if 1 <= self.limit <= MAX_LISTED else f"a list has 1 to {MAX_LISTED} names"


#: Names in one answer.
MAX_LISTED = 1000


class Changed(Answer, tag=16):
    """changes: in order, none of them at or before the place that was asked for. since: what is before is not known any more.
    upto: the place up to which this is all. identity: of the storage that says so. began: where its part in the store
    began; nothing is to be told of before."""

    changes: list[Change]
    since: int
    upto: int
    identity: str
    began: int


#: Changes in one answer, about.
MAX_CHANGES = 2000


class Changes(Body[Changed], tag=15):
    """Ask for the bucket's changes after a place in its feed; where there are none yet, they are waited for, for at most
    `wait_ms` milliseconds."""

    name: ClassVar[str] = "changes"
    since: ClassVar[int] = CONDITIONS_SINCE
    after: int
    wait_ms: int

    def problem(self) -> str:
        return "" if 0 <= self.after <= MAX_REVISION else f"a place in a feed is 0 to {MAX_REVISION}"


# -- envelopes ---------------------------------------------------------------------------------------------------------

#: What directories and buckets ask for their own sake.
INTERNAL: tuple[type[Body[Any]], ...] = (
    Inspect, Install, Establish, Window, AcceptLoss, Survey, Batch, List, Changes, Prepare, Accept,
)  # fmt: skip
_BODIES: Any = Union[(*OPERATIONS, *INTERNAL)]
_ANSWERS: Any = Union[
    (
        *ANSWERS, Moved, Refused, Status, WindowWritten, Surveyed, BatchAnswered, Listed, Changed,
        Promised, Accepted, Outvoted,
    )
]  # fmt: skip


class Envelope(msgspec.Struct, array_like=True, gc=False):
    """A call: what is asked, and how.

    call: an id, which pairs it with its reply. timeout_ms: what is left of its deadline when it is sent; clocks are never
    compared across machines. epoch: of an operation, while keys move, the epoch in which the directory learned that its key
    has moved here: a new home carries it out in that very epoch only. Else 0. (Window and Inspect say what it is to them.)
    """

    call: int
    timeout_ms: int
    epoch: int
    body: _BODIES

    def deadline_s(self, arrived_s: float) -> float:
        """On the clock that says when it arrived."""
        return arrived_s + self.timeout_ms / 1000


class Reply(msgspec.Struct, array_like=True, gc=False):
    """The answer to a call."""

    call: int
    answer: _ANSWERS
