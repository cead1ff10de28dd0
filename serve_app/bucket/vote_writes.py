"""What the writer decides as an acceptor of the store's authority: promises, and what it accepts.

Both are durable before they are told, and are forgotten when a newer topology is installed: that instance is over. See
`serve_app/ballots.py`.
"""

from __future__ import annotations

from serve_app.ballots import Ballot, Vote
from serve_app.bucket.queued import CalledWrite
from serve_app.errors import InvalidRequest
from serve_app.storage.group import Group
from serve_app.topology import Topology
from serve_app.wire.messages import Moved
from serve_app.wire.voting import Accept, Accepted, Outvoted, Prepare, Promised


class VoteWrite(CalledWrite):
    """What both have in common."""

    __slots__ = ()

    def decide(self, group: Group) -> None:
        body: Prepare | Accept = self.envelope.body
        state, before = self.state, body.topology
        state.install(group, before)  # it may vote on what follows a topology only once it has that
        state.check_standing()
        known = state.topology
        if known is None or known.epoch > before.epoch:
            self.answer = Moved(known)
            return
        if known != before:
            raise InvalidRequest(f"epoch {before.epoch} is another topology at bucket-{state.bucket_id}")
        # A storage that came in an acceptor's place has promised nothing, whatever the one before it has.
        if not before.decided_by(state.identity):
            raise InvalidRequest(f"the storage of bucket-{state.bucket_id} has no vote after epoch {before.epoch}")
        vote = state.vote
        assert vote is None or vote.epoch == before.epoch, "an instance that is over is forgotten"
        if vote is not None and vote.promised > body.ballot:
            self.answer = Outvoted(vote.promised)
            return
        self.vote(group, vote, body.ballot, before)

    def vote(self, group: Group, vote: Vote | None, ballot: Ballot, before: Topology) -> None:
        """The ballot is none lower than what was promised."""
        raise NotImplementedError


class PrepareWrite(VoteWrite):
    """Promise to accept nothing of a lower ballot, and tell what has been accepted."""

    __slots__ = ()

    def vote(self, group: Group, vote: Vote | None, ballot: Ballot, before: Topology) -> None:
        accepted, value = (None, None) if vote is None else (vote.accepted, vote.value)
        if vote is None or vote.promised != ballot:
            self.state.cast(group, Vote(before.epoch, ballot, accepted, value))
        self.answer = Promised(accepted, value)


class AcceptWrite(VoteWrite):
    """Accept what is to follow. Where this storage decides alone, it is decided with that."""

    __slots__ = ()

    def vote(self, group: Group, vote: Vote | None, ballot: Ballot, before: Topology) -> None:
        body: Accept = self.envelope.body
        if before.majority == 1:
            self.state.install(group, body.value)
        else:
            self.state.cast(group, Vote(before.epoch, ballot, ballot, body.value))
        self.answer = Accepted()
