"""Bugs in how several acceptors decide what topology follows, and in who decides."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from serve_app.authority.proposer import Proposer
from serve_app.ballots import Ballot, Vote
from serve_app.bucket.topology_writes import CommitTopologyWrite
from serve_app.bucket.vote_writes import AcceptWrite, PrepareWrite, VoteWrite
from serve_app.bucket.writer_state import WriterState
from serve_app.resharding.peers import Peers
from serve_app.storage import facts
from serve_app.storage.group import Group
from serve_app.topology import Topology
from serve_app.wire.messages import Moved
from serve_app.wire.voting import Accepted, Prepare, Promised
from tests.simulation.mutations import EPOCHS, VOTES, Mutation


@contextmanager
def an_acceptor_forgets_at_a_restart() -> Iterator[None]:
    """What it said is on its disk, and it does not look."""
    init = WriterState.__init__

    def beginning(self: WriterState, *rest: Any) -> None:
        init(self, *rest[:-1])

    with patch.object(WriterState, "__init__", beginning):
        yield


@contextmanager
def promises_are_kept_in_memory() -> Iterator[None]:
    """Only what is accepted becomes durable."""
    cast = WriterState.cast

    def casting(self: WriterState, group: Group, vote: Vote) -> None:
        before, decided = self.vote, dict(group._storage_facts)
        cast(self, group, vote)
        if vote.accepted == (before and before.accepted):
            group._storage_facts = decided

    with patch.object(WriterState, "cast", casting):
        yield


@contextmanager
def what_is_accepted_is_kept_in_memory() -> Iterator[None]:
    """Only promises become durable."""
    cast = WriterState.cast

    def casting(self: WriterState, group: Group, vote: Vote) -> None:
        cast(self, group, vote)
        group.set_storage_fact(*facts.vote_fact(Vote(vote.epoch, vote.promised)))

    with patch.object(WriterState, "cast", casting):
        yield


@contextmanager
def what_was_accepted_is_not_completed() -> Iterator[None]:
    """A proposer proposes its own, whatever acceptors say that they have accepted."""
    prepare = Proposer._prepare

    async def preparing(self: Proposer, before: Topology, ballot: Ballot) -> None:
        await prepare(self, before, ballot)

    with patch.object(Proposer, "_prepare", preparing):
        yield


@contextmanager
def what_was_accepted_first_is_completed() -> Iterator[None]:
    """Of what acceptors have accepted, that of the lowest ballot."""

    async def preparing(self: Proposer, before: Topology, ballot: Ballot) -> Topology | None:
        promises = await self._poll(before, Prepare(before, ballot), Promised)
        found = [promise for promise in promises if promise.accepted is not None]
        return min(found, key=lambda promise: promise.accepted or ballot).value if found else None

    with patch.object(Proposer, "_prepare", preparing):
        yield


@contextmanager
def a_ballot_is_used_again() -> Iterator[None]:
    """A proposer begins with the first round again with each proposal, and is called by its storage's name."""
    init, propose = Proposer.__init__, Proposer._propose

    def beginning(self: Proposer, of: Any, acceptors: Any, incarnation: str, jitter: Any) -> None:
        init(self, of, acceptors, of.identity, jitter)

    async def proposing(self: Proposer, before: Topology, new: Topology) -> Topology:
        self._round = 0
        return await propose(self, before, new)

    with patch.object(Proposer, "__init__", beginning), patch.object(Proposer, "_propose", proposing):
        yield


@contextmanager
def one_acceptor_suffices() -> Iterator[None]:
    """Whoever is asked, the first to agree decides."""
    poll = Proposer._poll

    async def polling(self: Proposer, before: Topology, *rest: Any) -> Any:
        return await poll(self, _Asked(before, before.electorate, 1), *rest)  # type: ignore[arg-type]

    with patch.object(Proposer, "_poll", polling):
        yield


@contextmanager
def a_lower_ballot_is_accepted() -> Iterator[None]:
    """An acceptor looks at its promise only when it is asked for another."""

    def deciding(self: AcceptWrite, group: Group) -> None:
        state, vote = self.state, self.state.vote
        held, state.vote = vote, None
        try:
            VoteWrite.decide(self, group)
        finally:
            if state.vote is None and state.topology == self.envelope.body.topology:
                state.vote = held

    with patch.object(AcceptWrite, "decide", deciding):
        yield


@contextmanager
def a_storage_votes_in_anothers_place() -> Iterator[None]:
    """What came in a lost acceptor's place votes as if it had been asked all the time."""
    with ExitStack() as both:
        both.enter_context(patch.object(Topology, "decided_by", lambda self, identity: True))
        both.enter_context(patch.object(Topology, "lists_another", lambda self, bucket_id, identity: False))
        both.enter_context(patch.object(Peers, "_expected_identity", lambda self, bucket_id: ""))
        yield


@contextmanager
def who_is_named_next_decides_already() -> Iterator[None]:
    """A proposer asks the acceptors that its own proposal names."""
    propose = Proposer._propose

    async def proposing(self: Proposer, before: Topology, new: Topology) -> Topology:
        electorate, majority = new.electorate, new.majority
        poll = Proposer._poll

        async def polling(self: Proposer, asked: Topology, *rest: Any) -> Any:
            return await poll(self, _Asked(asked, electorate, majority), *rest)  # type: ignore[arg-type]

        self._poll = polling.__get__(self)  # type: ignore[method-assign]
        return await propose(self, before, new)

    def deciding(self: VoteWrite, group: Group) -> None:
        with patch.object(Topology, "decided_by", lambda self, identity: True):
            decide(self, group)

    decide = VoteWrite.decide
    with patch.object(Proposer, "_propose", proposing), patch.object(VoteWrite, "decide", deciding):
        yield


class _Asked:
    """A topology as if others were named in it."""

    def __init__(self, topology: Topology, electorate: tuple[int, ...], majority: int) -> None:
        self._topology, self.electorate, self.majority = topology, electorate, majority

    def __getattr__(self, name: str) -> Any:
        return getattr(self._topology, name)


@contextmanager
def bucket_0_decides_alone_as_before() -> Iterator[None]:
    """Whoever else is named."""
    decide = Proposer.decide

    async def deciding(self: Proposer, before: Topology, new: Topology) -> None:
        access: Any = self._bucket
        if access.bucket_id:
            await decide(self, before, new)
        else:
            await access._commit(lambda state, done: CommitTopologyWrite(state, done, before, new))

    with patch.object(Proposer, "decide", deciding):
        yield


@contextmanager
def an_instance_that_is_over_is_voted_on() -> Iterator[None]:
    """An acceptor that knows a newer topology votes on what was to follow the one before."""

    def deciding(self: VoteWrite, group: Group) -> None:
        body, state = self.envelope.body, self.state
        decide(self, group)
        known = state.topology
        if isinstance(self.answer, Moved) and known is not None and known.epoch == body.topology.epoch + 1:
            self.answer = Promised(None, None) if isinstance(self, PrepareWrite) else Accepted()

    decide = VoteWrite.decide
    with patch.object(VoteWrite, "decide", deciding):
        yield


@contextmanager
def a_vote_is_told_before_it_is_durable() -> Iterator[None]:
    """Acceptors answer when they have decided, some time before the sync."""

    def telling(self: VoteWrite, group: Group) -> None:
        decide(self, group)
        caller: Any = self.caller
        if self.answer is not None and hasattr(caller, "_outlet"):
            caller._reply(self.envelope, self.answer, self.arrived_s)
            caller.flush()

    decide = VoteWrite.decide
    with patch.object(VoteWrite, "decide", telling):
        yield


CAUGHT = EPOCHS | VOTES
MUTATIONS = [
    replace(mutation, several=True)
    for mutation in (
        Mutation("an acceptor forgets at a restart", 50, CAUGHT, an_acceptor_forgets_at_a_restart),
        Mutation("promises are kept in memory", 50, CAUGHT, promises_are_kept_in_memory),
        Mutation("what is accepted is kept in memory", 600, CAUGHT, what_is_accepted_is_kept_in_memory),
        Mutation("what was accepted is not completed", 50, CAUGHT, what_was_accepted_is_not_completed),
        Mutation("what was accepted first is completed", 400, CAUGHT, what_was_accepted_first_is_completed),
        Mutation("a ballot is used again", 50, CAUGHT, a_ballot_is_used_again),
        Mutation("one acceptor suffices", 50, CAUGHT, one_acceptor_suffices),
        Mutation("a lower ballot is accepted", 50, CAUGHT, a_lower_ballot_is_accepted),
        Mutation("a storage votes in another's place", 400, CAUGHT, a_storage_votes_in_anothers_place),
        Mutation("who is named next decides already", 50, CAUGHT, who_is_named_next_decides_already),
        Mutation("bucket 0 decides alone as before", 50, CAUGHT, bucket_0_decides_alone_as_before),
        Mutation("an instance that is over is voted on", 50, CAUGHT, an_instance_that_is_over_is_voted_on),
        Mutation("a vote is told before it is durable", 50, CAUGHT, a_vote_is_told_before_it_is_durable),
    )
]
