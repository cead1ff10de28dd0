"""The other copy of a bucket: what it takes from its primary, and when it may take the primary's place."""

from __future__ import annotations

import enum
from typing import Any

from serve_app.replication.entry import Entry, Known
from serve_app.replication.following import Following
from serve_app.replication.stream import Beat, End, Group, Sent, Window

#: How long a primary must have been silent, by the standby's clock, before it may be replaced.
SILENCE_S = 1.0


class Verdict(enum.Enum):
    """What becomes of a message. All but REJECT and APPLY are acknowledged; REJECT closes the connection."""

    #: Write its changes and its label in one durable step, then acknowledge.
    TAKE = "take"
    #: Write its changes: a learner's label says nothing until the end.
    APPLY = "apply"
    #: Note durably that all of it is here, with the label.
    END = "end"
    #: It is here already, or there is nothing to be written.
    ACKNOWLEDGE = "acknowledge"
    REJECT = "reject"


class Standby:
    """One for each process whose storage is a bucket's copy and not its primary. `following` is as it is on the disk."""

    def __init__(self, identity: str, known: Known, following: Following, now_s: float) -> None:
        """now_s: when the process has started or has ceased to be the primary, on its own clock: silence begins then."""
        self.identity = identity
        self.known = known
        self.following = following
        #: When it acknowledged something last.
        self.heard_s = now_s
        #: b of the entry whose primary has asked it to take over.
        self.asked = 0
        #: The connection that it listens to.
        self.stream = 0

    @property
    def entry(self) -> Entry:
        return self.known.entry

    # -- the stream --------------------------------------------------------------------------------------------------

    def greet(self, stream: int) -> Following:
        """A primary connects: whatever an earlier connection still carries is past. Returns how far this copy has come."""
        self.stream = stream
        return self.following

    def judge(self, sent: Sent[Any]) -> Verdict:
        """What becomes of a message, once the topology that it names is installed, where that is newer."""
        if sent.stream != self.stream or sent.known.entry.epoch < self.entry.epoch or sent.sender != self.entry.primary:
            return Verdict.REJECT
        if self.following.marked:
            return Verdict.REJECT  # it may be the primary by now, for all that anybody knows
        body, following = sent.body, self.following
        if isinstance(body, Beat):
            return Verdict.ACKNOWLEDGE
        if isinstance(body, Window):
            return Verdict.APPLY if following.learning else Verdict.REJECT
        if isinstance(body, End):
            return Verdict.END if following.learning else Verdict.REJECT
        return self._judge_group(body)

    def _judge_group(self, group: Group[Any]) -> Verdict:
        following = self.following
        if following.learning:
            return Verdict.APPLY
        if group.label.number == following.label.number + 1:
            return Verdict.TAKE
        return Verdict.ACKNOWLEDGE if group.label == following.label else Verdict.REJECT

    def wrote(self, following: Following) -> None:
        """This is durable."""
        self.following = following

    def acknowledging(self, now_s: float) -> None:
        """Something is acknowledged, which lets the primary answer reads for a while."""
        self.heard_s = now_s

    # -- taking over -------------------------------------------------------------------------------------------------

    def asked_to_take_over(self, epoch: int) -> None:
        """The primary has started again, under the entry of this b, and can't know what it may serve."""
        if epoch == self.entry.epoch:
            self.asked = epoch

    def may_promote(self, now_s: float) -> bool:
        """Looked at together with writing the mark, right before the acceptors are asked to accept: what is acknowledged
        after that would be a lease beside another primary."""
        if self.following.learning or not self.entry.in_sync or self.entry.standby != self.identity:
            return False
        return now_s - self.heard_s >= SILENCE_S or self.asked == self.entry.epoch

    def promoting(self) -> tuple[Following, Entry]:
        """What has to be durable before the acceptors are asked, and what they are asked to accept. From then on nothing is
        acknowledged, restarts included, until the instance is decided."""
        epoch = self.known.epoch + 1
        return self.following._replace(marked=epoch), self.entry.promote(epoch)

    def install(self, known: Known) -> Following:
        """Go by a newer topology. Returns what has to be durable with it: its instance is over, and so is the mark."""
        if known.entry != self.known.entry:
            self.asked = 0
            self.stream = 0
        self.known = known
        self.following = self.following._replace(marked=0)
        return self.following
