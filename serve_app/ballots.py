"""Ballots and votes: what an acceptor of the store's authority remembers.

The store's authority is a chain of topologies. What follows the topology of one epoch is one instance of Paxos among the
acceptors which that topology names (Lamport, "Paxos Made Simple", 2001; reconfigured as in "Reconfiguring a State Machine",
2010, with the next instance begun only when this one is decided). `authority/` proposes, `bucket/vote_writes.py` votes.
"""

from __future__ import annotations

import msgspec

from serve_app.topology import Topology

#: More rounds than there will be in one instance: who tells of a higher one is not believed.
MAX_ROUND = 2**31
_MAX_PROPOSER_CHARS = 64


class Ballot(msgspec.Struct, frozen=True, array_like=True, order=True):
    """Names one attempt to have something decided; the higher one wins.

    proposer: the incarnation of the process that makes the attempt, drawn at random when it starts. So a ballot is never used
    again after a restart, though nothing of it is kept on a disk.
    """

    round: int
    proposer: str

    def __post_init__(self) -> None:
        if not 0 < self.round <= MAX_ROUND or not 0 < len(self.proposer) <= _MAX_PROPOSER_CHARS:
            raise ValueError(f"a ballot has a round of 1 to {MAX_ROUND} and a short name, not {self.round}")


class Vote(msgspec.Struct, frozen=True, array_like=True):
    """What an acceptor has said in the instance that follows the topology of `epoch`. It is durable before it is told.

    promised: nothing of a lower ballot is accepted any more. accepted, value: of the highest ballot that something was
    accepted of, and what.
    """

    epoch: int
    promised: Ballot
    accepted: Ballot | None = None
    value: Topology | None = None
