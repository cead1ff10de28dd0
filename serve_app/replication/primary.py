"""The primary of a bucket: when a write is answered, when a read may be, and what it may propose.

One object for each process that is a primary, for as long as it is. It holds nothing that is not lost with the process.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Collection
from dataclasses import dataclass

from serve_app.replication.entry import Entry, Known
from serve_app.replication.following import Following, Label
from serve_app.replication.stream import Acknowledged

#: How long the standby's acknowledgement lets the primary answer reads, by the primary's clock since it sent what was
#: acknowledged. The standby waits for `standby.SILENCE_S` by its own: clocks may be 11 % apart.
LEASE_S = 0.8


class Joining(enum.IntEnum):
    """How far the other copy has been brought up. From ENDING on its acknowledgement is needed for every group."""

    NO = 0
    WALKING = 1
    ENDING = 2
    ENDED = 3
    PROPOSED = 4


class Proposal(enum.Enum):
    """What a primary may propose of its entry."""

    DROP = "drop"
    RENEW = "renew"
    JOIN = "join"
    SWITCH = "switch"


@dataclass
class Flight:
    """The group that is being written. keys: those that it changes."""

    label: Label
    keys: Collection[bytes]
    synced: bool = False
    acknowledged: bool = False


class Greeting(enum.Enum):
    """What a new connection to the other copy is for."""

    FOLLOW = "follow"
    SEND_AGAIN = "send again"
    LEARN = "learn"


class Primary:
    """See the module."""

    def __init__(self, identity: str, known: Known, label: Label, *, restarted: bool) -> None:
        """label: of the last group on its disk. restarted: the process has just started, so that whatever it promised or was
        granted before is not known any more: it serves nothing until a newer topology says that it may."""
        self.identity = identity
        self.known = known
        self.label = label
        self.recovering = restarted
        self.switching = False
        self.flight: Flight | None = None
        self.joining = Joining.NO
        #: Whom a join is for: the acknowledgements of another storage are none of it.
        self.joins = ""
        #: The connection to the other copy, by a number that no other has; 0 for none.
        self.stream = 0
        self._lease_until_s = -math.inf

    @property
    def entry(self) -> Entry:
        return self.known.entry

    # -- writes ------------------------------------------------------------------------------------------------------

    def may_write(self) -> bool:
        """Whether another group may begin: one after the other."""
        return not self.recovering and not self.switching and self.flight is None

    def begin(self, keys: Collection[bytes]) -> Label:
        """A group begins: it is written here and sent at once, where there is a stream that takes it."""
        assert self.may_write(), "one group after the other"
        label = Label(self.entry.epoch, self.label.number + 1)
        self.flight = Flight(label, keys)
        return label

    def synced(self) -> None:
        """The group in flight is on this storage's disk."""
        assert self.flight is not None
        self.flight.synced = True

    def needs_acknowledgement(self) -> bool:
        """Whether a group is done only once the other copy has it too."""
        return self.entry.in_sync or self.joining >= Joining.ENDING

    def may_answer(self) -> bool:
        """Whether the group in flight is done: its clients are answered, and the next one may begin."""
        flight = self.flight
        if flight is None or self.recovering or not flight.synced:
            return False
        return flight.acknowledged or not self.needs_acknowledgement()

    def finish(self) -> None:
        """The group in flight is done."""
        assert self.flight is not None
        assert self.may_answer()
        self.label, self.flight = self.flight.label, None

    # -- reads -------------------------------------------------------------------------------------------------------

    def read_waits(self, key: bytes) -> bool:
        """Whether a read of this key waits for the group in flight: what that changes may be undone yet."""
        return self.flight is not None and key in self.flight.keys

    def may_read(self, now_s: float) -> bool:
        """Whether what has been read may be told. Asked after the value was read: by then another primary may serve."""
        if self.recovering or self.switching:
            return False
        return now_s < self._lease_until_s or not self.needs_lease()

    def needs_lease(self) -> bool:
        """Whether the other copy may have been promoted without a word: from the moment that it may be in sync."""
        return self.entry.in_sync or self.joining is Joining.PROPOSED

    # -- the stream --------------------------------------------------------------------------------------------------

    def greeted(self, stream: int, identity: str, following: Following) -> Greeting | None:
        """What may be sent on a new connection to a storage that has come so far; None for nothing: it has to be dropped, or
        joined. The connection before it, and all that it still carries, is past."""
        if self.recovering:
            return None
        greeting = self._continues(following) if self._follows(identity) else self._begins(identity)
        if greeting is not None:
            self.stream = stream
        return greeting

    def _follows(self, identity: str) -> bool:
        in_sync = self.entry.in_sync and identity == self.entry.standby
        return in_sync or (self.joining is Joining.PROPOSED and identity == self.joins)

    def _continues(self, following: Following) -> Greeting | None:
        flight = self.flight
        if following.learning:
            return None
        if following.label == self.label:
            return Greeting.FOLLOW if flight is None else Greeting.SEND_AGAIN
        if flight is not None and following.label == flight.label:
            flight.acknowledged = True
            return Greeting.FOLLOW
        return None

    def _begins(self, identity: str) -> Greeting | None:
        if self.entry.in_sync or self.joining is not Joining.NO:
            return None
        self.joining, self.joins = Joining.WALKING, identity
        return Greeting.LEARN

    def broke(self) -> None:
        """The connection is gone. What has been proposed may be decided all the same: that is kept to."""
        self.stream = 0
        if self.joining is not Joining.PROPOSED:
            self.joining, self.joins = Joining.NO, ""

    def ending(self) -> Label:
        """All windows are sent: the label that ends them."""
        assert self.joining is Joining.WALKING
        self.joining = Joining.ENDING
        return self.label if self.flight is None else self.flight.label

    def acknowledged(self, answer: Acknowledged) -> None:
        """The other copy has something, durably."""
        if answer.stream != self.stream or answer.identity != (self.joins or self.entry.standby):
            return
        if answer.end and self.joining is Joining.ENDING:
            self.joining = Joining.ENDED
        if self.flight is not None and answer.label == self.flight.label:
            self.flight.acknowledged = True
        if self.needs_lease():
            self._lease_until_s = max(self._lease_until_s, answer.sent_s + LEASE_S)

    # -- proposals ---------------------------------------------------------------------------------------------------

    def may_propose(self, proposal: Proposal) -> bool:
        """Looked at when the acceptors are asked, under the topology that is installed then."""
        if proposal is Proposal.DROP:
            return self.entry.in_sync
        if proposal is Proposal.RENEW:
            return self.recovering and not self.entry.in_sync
        if proposal is Proposal.JOIN:
            return self.joining is Joining.ENDED
        return self.entry.in_sync and not self.recovering and not self.switching and self.flight is None

    def proposing(self, proposal: Proposal) -> Entry:
        """The entry to be proposed; from here on it may be decided, whatever this process hears of it."""
        assert self.may_propose(proposal)
        epoch = self.known.epoch + 1
        if proposal is Proposal.DROP:
            return self.entry.drop(epoch)
        if proposal is Proposal.RENEW:
            return self.entry.renew(epoch)
        if proposal is Proposal.JOIN:
            self.joining = Joining.PROPOSED
            return self.entry.join(epoch, self.joins)
        self.switching = True
        return self.entry.switch(epoch)

    # -- topologies --------------------------------------------------------------------------------------------------

    def install(self, known: Known) -> bool:
        """Go by a newer topology, which is durable. Whether this storage is the primary still; if not, what was in flight is
        of unknown fate, and this object is of no more use."""
        before, self.known = self.known, known
        if known.entry == before.entry:
            # Another bucket's change: the instance that our proposal was for is over, without it.
            self.switching = False
            if self.joining is Joining.PROPOSED:
                self.joining = Joining.ENDED if self.stream else Joining.NO
                self.joins = self.joins if self.stream else ""
            return True
        if known.entry.primary != self.identity:
            return False
        joined = self.joining is Joining.PROPOSED
        self.stream, self.switching, self.joining, self.joins = 0, False, Joining.NO, ""
        if not known.entry.in_sync:
            self.recovering, self._lease_until_s = False, -math.inf
            if self.flight is not None:
                self.flight.acknowledged = False
        elif self.recovering or not (before.entry.in_sync or joined):
            # A join that was proposed before this process began: it knows of no lease, nor of what was required.
            self.recovering, self.flight, self._lease_until_s = True, None, -math.inf
        return True
