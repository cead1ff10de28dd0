"""What the run of two copies is made of: storages, the processes on them, and what is under way between these."""

from __future__ import annotations

from dataclasses import dataclass, field

from serve_app.replication.entry import Known
from serve_app.replication.following import Following
from serve_app.replication.primary import Primary
from serve_app.replication.standby import Standby
from serve_app.replication.stream import Acknowledged, Sent

Data = dict[bytes, int]


@dataclass
class Storage:
    """What outlives a process."""

    identity: str
    known: Known
    data: Data = field(default_factory=dict)
    following: Following = field(default_factory=Following)


@dataclass
class Reading:
    """A read that has looked, and has not been answered."""

    key: bytes
    value: int
    seen: frozenset[int]


@dataclass
class Channel:
    """One connection from a primary to the other copy: what it carries there, and what comes back."""

    number: int
    to: Copy
    of: Copy
    messages: list[Sent[Data]] = field(default_factory=list)
    answers: list[Acknowledged] = field(default_factory=list)


@dataclass
class Copy:
    """One storage, and the process on it."""

    name: str
    storage: Storage
    rate: float = 1.0
    up: bool = False
    born_s: float = 0.0
    primary: Primary | None = None
    standby: Standby | None = None
    changes: Data = field(default_factory=dict)
    reading: Reading | None = None
    channel: Channel | None = None
    #: How many keys a learner was sent.
    walked: int = 0
