"""What proposers ask of acceptors: the two phases of one instance of Paxos, each of which names the topology that it follows.

Both may come late, or again. An acceptor that knows a newer topology answers `Moved` with it: what was asked for is past.
"""

from __future__ import annotations

from typing import ClassVar

from serve_app.ballots import Ballot
from serve_app.operations.body import Answer, Body
from serve_app.topology import Topology

#: The version of the data plane that came with acceptors.
ACCEPTORS_SINCE = 7


class Promised(Answer, tag=30):
    """Nothing of a lower ballot is accepted any more. accepted, value: what has been accepted, of the highest ballot."""

    accepted: Ballot | None
    value: Topology | None


class Accepted(Answer, tag=31):
    """The value is accepted, and on the acceptor's disk."""


class Outvoted(Answer, tag=32):
    """Nothing was accepted or promised: this higher ballot has been."""

    promised: Ballot


class Prepare(Body[Promised | Outvoted], tag=30):
    """Ask for a promise, in the instance that follows a topology. Who does not have that yet installs it."""

    name: ClassVar[str] = "prepare"
    since: ClassVar[int] = ACCEPTORS_SINCE
    topology: Topology
    ballot: Ballot


class Accept(Body[Accepted | Outvoted], tag=31):
    """Ask to accept what is to follow a topology."""

    name: ClassVar[str] = "accept"
    since: ClassVar[int] = ACCEPTORS_SINCE
    topology: Topology
    ballot: Ballot
    value: Topology

    def problem(self) -> str:
        before, value = self.topology, self.value
        follows = value.store_id == before.store_id and value.epoch == before.epoch + 1
        return "" if follows else f"epoch {value.epoch} does not follow epoch {before.epoch} of the store"
