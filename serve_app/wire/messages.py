"""The messages between a directory and a bucket.

msgpack arrays of msgspec structs, tagged by a small integer; fields are only ever added at the end, with defaults, so two
releases that share `VERSION` understand each other. `call` pairs a reply with its request; replies come in any order.
`timeout_ms` is what is left of the operation's deadline when it was sent: clocks are never compared across machines.
"""

from __future__ import annotations

import msgspec

from serve_app.topology import Topology

#: Raised by any change that an older peer would misread. Peers of another version are hung up on.
VERSION = 3


class _Message(msgspec.Struct, array_like=True, gc=False):
    pass


# -- from the directory ----------------------------------------------------------------------------------------------


class Hello(_Message, tag=0):
    """The first frame of a connection. identity is the storage expected, or empty where the directory can't know yet."""

    version: int
    token: str
    bucket_id: int
    identity: str


class Get(_Message, tag=1):
    """epoch, here and below: while keys move, the epoch in which the directory learned that this key has moved here; else
    0. A new home takes the operation only in that very epoch."""

    call: int
    timeout_ms: int
    key: bytes
    epoch: int = 0


class Put(_Message, tag=2):
    call: int
    timeout_ms: int
    key: bytes
    value: bytes
    content_type: str
    epoch: int = 0


class Delete(_Message, tag=3):
    call: int
    timeout_ms: int
    key: bytes
    epoch: int = 0


class Inspect(_Message, tag=4):
    """Ask for `Status`. Sent about once a second, it is the connection's heartbeat as well, and tells bucket 0 which
    bucket_count the directory is configured with (0: none, or not a directory), and the epoch of the topology that it knows
    (0: none)."""

    call: int
    timeout_ms: int
    directory: str = ""
    configured_count: int = 0
    epoch: int = 0


class Install(_Message, tag=5):
    """Hand the bucket a topology; it takes it if it is newer than its own, and answers `Status` either way."""

    call: int
    timeout_ms: int
    topology: Topology


class Establish(_Message, tag=6):
    """Ask bucket 0 to found the store with buckets of these identities. Answered with `Status`: whatever is in it now
    is the topology, whoever asked first."""

    call: int
    timeout_ms: int
    identities: tuple[str, ...]


class Window(_Message, tag=7):
    """From bucket to bucket: all records of a window of the source's keys that have their new home here.

    The target takes it only in the very epoch, once, and answers `Taken`; a late or repeated one is not written.
    revision: the source's counter; nothing in the window has a higher revision, nor had what was deleted there.
    """

    call: int
    timeout_ms: int
    epoch: int
    source: int
    end: bytes
    revision: int
    records: list[tuple[bytes, bytes]]


class AcceptLoss(_Message, tag=8):
    """Ask bucket 0 to go on with another storage for a bucket whose data is lost. Answered with `Status`."""

    call: int
    timeout_ms: int
    bucket_id: int
    identity: str


class Survey(_Message, tag=9):
    """Ask which of the bucket's records, from `start` on, are at home under its own topology. Answered with `Surveyed`."""

    call: int
    timeout_ms: int
    start: bytes


Request = Hello | Get | Put | Delete | Inspect | Install | Establish | Window | AcceptLoss | Survey


# -- from the bucket -------------------------------------------------------------------------------------------------


class Welcome(_Message, tag=0):
    """The answer to a good Hello; anything else is hung up on."""

    bucket_id: int
    identity: str
    incarnation: str


class Value(_Message, tag=1):
    call: int
    value: bytes
    content_type: str
    revision: int


class Missing(_Message, tag=2):
    """No record has this key. To a Delete: nothing was deleted."""

    call: int


class Written(_Message, tag=3):
    call: int
    created: bool
    revision: int


class Deleted(_Message, tag=4):
    """The record that was deleted; revision is that of the deletion."""

    call: int
    value: bytes
    content_type: str
    revision: int


class Moved(_Message, tag=5):
    """This bucket is not the key's home under the topology that it has itself persisted (None: it has none yet).

    cursor: of the keys whose old home is this bucket, those below it have moved in that topology's move.
    """

    call: int
    topology: Topology | None
    cursor: bytes = b""


class Refused(_Message, tag=6):
    """Nothing was changed, unless the reason is `unknown`. reason is one of `REASONS`, detail a sentence for people."""

    call: int
    reason: str
    detail: str


class Status(_Message, tag=7):
    """What a bucket knows of itself. keys and bytes are exact; fault is a sentence, empty when it serves."""

    call: int
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


class Taken(_Message, tag=8):
    """A window's records, and its marker, are on the target's disk."""

    call: int


#: A Surveyed names no more misplaced keys than this.
MISPLACED_NAMED = 100


class Surveyed(_Message, tag=9):
    """keys: how many records were looked at; misplaced: the first few that are not at home here. next_start: where to go on,
    empty at the end. epoch: of the topology and cursor that it was judged by."""

    call: int
    keys: int
    misplaced: list[bytes]
    next_start: bytes
    epoch: int


Reply = Welcome | Value | Missing | Written | Deleted | Moved | Refused | Status | Taken | Surveyed

#: busy: a queue is full. disk-full. expired: its deadline had passed. fault: the storage can't serve (this).
#: invalid: the request can never succeed. unknown: the exception, it may have happened.
REASONS = ("busy", "disk-full", "expired", "fault", "invalid", "unknown")
