"""The messages between a directory, or another bucket, and a bucket.

A message is an envelope and a body. Bodies are msgpack arrays of msgspec structs, tagged by a small integer; fields are only
ever added at the end, with defaults. The operations of clients have modules of their own (`operations/`); what directories
and buckets ask of buckets for their own sake is here. Replies come in any order.
"""

from __future__ import annotations

from typing import Any, ClassVar, Union

import msgspec

from serve_app.operations import ANSWERS, OPERATIONS
from serve_app.operations.body import Answer, Body
from serve_app.record_bounds import MAX_KEY_BYTES
from serve_app.records import HEADER_BYTES
from serve_app.topology import MAX_BUCKET_COUNT, Topology

# -- the handshake, which is the same in every version ---------------------------------------------------------------


class Hello(msgspec.Struct, array_like=True, gc=False, tag=0):
    """The first frame of a connection.

    oldest, newest: the versions that the caller speaks (`versions.py`); a newest of 0 is an earlier release's, which speaks
    `oldest` alone. identity: of the storage expected, or empty where the caller can't know yet.
    """

    oldest: int
    token: str
    bucket_id: int
    identity: str
    newest: int = 0


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


#: Beyond any that there will be, and far enough below what a bucket's counts can hold.
_MAX_REVISION = 2**62


class WindowWritten(Answer, tag=8):
    """A window's records, and its marker, are on the target's disk."""


class Window(Body[WindowWritten], tag=7):
    """From bucket to bucket: all records of a window of the source's keys that have their new home here.

    The target writes it only in the envelope's very epoch, and once; a late or repeated one is acknowledged and not written.
    revision: the source's counter; nothing in the window has a higher revision, nor had what was deleted there.
    """

    name: ClassVar[str] = "window"
    source: int
    end: bytes
    revision: int
    records: list[tuple[bytes, bytes]]

    @property
    def payload_bytes(self) -> int:
        return sum(len(key) + len(raw) for key, raw in self.records)

    def problem(self) -> str:
        # All of it becomes durable: what could not be read again would keep the bucket from opening.
        if not 0 <= self.source < MAX_BUCKET_COUNT:
            return f"a window comes from one of the buckets 0 to {MAX_BUCKET_COUNT - 1}"
        if not 0 <= self.revision <= _MAX_REVISION:
            return f"a revision is 0 to {_MAX_REVISION}"
        if len(self.end) > MAX_KEY_BYTES + 1:
            return "a window ends at a key or just behind it"
        if not all(1 <= len(key) <= MAX_KEY_BYTES and len(raw) >= HEADER_BYTES for key, raw in self.records):
            return "a window holds what is no record"
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
    not this), `invalid` (it can never succeed), `unknown`. `refusals.py` has the errors that they stand for.
    """

    reason: str
    detail: str


# -- envelopes ---------------------------------------------------------------------------------------------------------

#: What directories and buckets ask for their own sake.
INTERNAL: tuple[type[Body[Any]], ...] = (Inspect, Install, Establish, Window, AcceptLoss, Survey)
_BODIES: Any = Union[(*OPERATIONS, *INTERNAL)]
_ANSWERS: Any = Union[(*ANSWERS, Moved, Refused, Status, WindowWritten, Surveyed)]


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


class Reply(msgspec.Struct, array_like=True, gc=False):
    """The answer to a call."""

    call: int
    answer: _ANSWERS
