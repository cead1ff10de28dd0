"""What a proposer needs of the bucket it runs in. `bucket/mover_access.py` implements it on a real one."""

from __future__ import annotations

from typing import Protocol

from serve_app.errors import StoreError
from serve_app.operations.body import Answer
from serve_app.topology import Topology
from serve_app.wire.voting import Accept, Prepare


class Overtaken(StoreError):
    """The topology or the cursor is not what this step was made for: whoever made it looks again."""


class ProposingBucket(Protocol):
    """A bucket that proposes, and may be an acceptor itself."""

    bucket_id: int
    #: Of its storage.
    identity: str

    @property
    def topology(self) -> Topology | None:
        """The durable topology."""

    async def vote(self, body: Prepare | Accept) -> Answer:
        """What this bucket's own storage says, once that is durable."""

    async def decide_alone(self, before: Topology, new: Topology) -> None:
        """Make what follows the topology `before` durable, as its only acceptor. Raises Overtaken where that is not the
        topology any more."""

    async def install(self, new: Topology) -> None:
        """Install a topology that has been decided. Raises Overtaken where another one was installed meanwhile."""
