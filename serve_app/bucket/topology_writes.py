"""What the writer decides of topologies: installing a newer one, founding the store, going on without lost data.

The authority, bucket 0, makes the next topology; every bucket installs what it is told. Answered with the bucket's status.
"""

from __future__ import annotations

import asyncio

from serve_app import events
from serve_app.authority.losses import after_loss
from serve_app.authority.proposing_bucket import Overtaken
from serve_app.bucket.queued import CalledWrite, OwnWrite
from serve_app.bucket.writer_state import WriterState
from serve_app.errors import InvalidRequest, StorageForeign
from serve_app.storage.group import Group
from serve_app.topology import Topology, first_topology
from serve_app.wire.messages import AcceptLoss, Establish, Install


class InstallWrite(CalledWrite):
    """Install a newer topology, if it lists this very storage."""

    __slots__ = ()

    def decide(self, group: Group) -> None:
        body: Install = self.envelope.body
        self.state.install(group, body.topology)


class EstablishWrite(CalledWrite):
    """Found the store: bucket 0 commits `STABLE(1, M)`. The first to ask wins, whatever the others ask for."""

    __slots__ = ()

    def decide(self, group: Group) -> None:
        body: Establish = self.envelope.body
        state = self.state
        state.check_standing()
        if state.topology is not None:
            return
        if state.bucket_id != 0:
            raise InvalidRequest("only bucket 0 founds the store")
        if group.keys:
            raise InvalidRequest("bucket 0 holds records but knows of no store")
        try:
            new = first_topology(body.identities, state.new_id(16))
        except ValueError as error:
            raise InvalidRequest(str(error)) from None
        if not new.lists(0, state.identity):
            raise InvalidRequest("bucket 0 is entered with another identity than it has")  # asked for before a restart
        state.install(group, new)


class AcceptLossWrite(CalledWrite):
    """Go on with another storage for a bucket whose data is lost; only an operator asks for it."""

    __slots__ = ()

    def decide(self, group: Group) -> None:
        body: AcceptLoss = self.envelope.body
        self.state.check_standing()
        topology = self.state.topology
        if self.state.bucket_id != 0 or topology is None:
            raise InvalidRequest("only bucket 0 of a store that was founded accepts a loss")
        if body.bucket_id == 0:
            raise InvalidRequest("the store has no bucket-0 that could have lost its data")
        if not topology.decided_alone_by(self.state.identity):
            raise Overtaken("others decide with it by now")
        new = after_loss(topology, body, self.state.now_ms())
        if new is None:
            return
        events.warning("accepting loss", bucket=body.bucket_id, identity=body.identity)
        self.state.install(group, new)


class CommitTopologyWrite(OwnWrite):
    """A topology that has been decided, in place of the topology `before`."""

    __slots__ = ("before", "new")

    def __init__(self, state: WriterState, done: asyncio.Future[None], before: Topology | None, new: Topology) -> None:
        super().__init__(state, done)
        self.before, self.new = before, new

    def decide(self, group: Group) -> None:
        self.state.check_standing()
        if self.state.topology != self.before:
            raise Overtaken("the topology is another one by now")
        self.state.install(group, self.new)


class DecideWrite(CommitTopologyWrite):
    """What this storage decides by itself to follow the topology `before`: it is the only acceptor."""

    __slots__ = ()

    def decide(self, group: Group) -> None:
        if self.before is None or not self.before.decided_alone_by(self.state.identity):
            raise StorageForeign(f"bucket-{self.state.bucket_id} does not decide alone")
        super().decide(group)
