"""What the bucket's writer has decided, perhaps not yet durable. The writer's thread owns it: nobody else looks at it.

It is what writes are judged by, in order with them. When a group is durable, its `standing` is handed to the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from serve_app.ballots import Vote
from serve_app.bucket import judgement
from serve_app.bucket.judgement import Hold
from serve_app.bucket.platform import Platform
from serve_app.bucket.standing import Standing
from serve_app.cursor import Cursor, Marker, cursor_for, markers_for
from serve_app.errors import StorageFault, StorageForeign
from serve_app.storage import facts
from serve_app.storage.group import Group
from serve_app.topology import Topology
from serve_app.wire.messages import Moved, Refused


class WriterState:
    """See the module."""

    def __init__(
        self,
        bucket_id: int,
        identity: str,
        standing: Standing,
        platform: Platform,
        note_error: Callable[[StorageFault], None],
        max_outcomes: int,
        vote: Vote | None = None,
    ) -> None:
        """note_error: gets what a write ran into, for people; in the writer's thread. max_outcomes: as in the limits. vote:
        as the storage holds it."""
        self.bucket_id = bucket_id
        self.identity = identity
        self.standing = standing
        self.note_error = note_error
        self.max_outcomes = max_outcomes
        self.now_ms = platform.now_ms
        self.new_id = platform.new_id
        #: What it has said of what is to follow its topology.
        self.vote = vote
        #: The topology that lists another storage under this id: only a later one can list this one again.
        self._given_up_by: Topology | None = None
        #: The mover reads records from this key on; `_written` is set by a write to one of them.
        self._noted_from: bytes | None = None
        self._written = False

    @property
    def topology(self) -> Topology | None:
        return self.standing.topology

    def check_standing(self) -> None:
        """Before a decision of the authority's own. Raises StorageForeign where it is the authority no more."""
        if self.standing.fault:
            raise StorageForeign(self.standing.fault)

    def judge(self, key: bytes, epoch: int) -> Moved | Refused | Hold | None:
        """Why this bucket doesn't carry out a write to the key, `HOLD`, or None if it does. epoch: of the call's claim."""
        standing = self.standing
        if standing.fault:
            return Refused("fault", standing.fault)
        return judgement.judge(self.bucket_id, key, epoch, standing.topology, standing.cursor)

    def judge_all(self, keys: Sequence[bytes], epoch: int) -> Sequence[Moved | Refused | Hold | None]:
        """`judge` for each of many keys."""
        standing = self.standing
        if standing.fault:
            return [Refused("fault", standing.fault)] * len(keys)
        return judgement.judge_all(self.bucket_id, keys, epoch, standing.topology, standing.cursor)

    # -- what the mover has read ahead -------------------------------------------------------------------------------

    def note_writes_from(self, start: bytes) -> None:
        """From here on, note writes to keys from `start` on: the mover is about to read them."""
        self._noted_from, self._written = start, False

    def note_write(self, key: bytes) -> None:
        """A record is about to be changed."""
        if self._noted_from is not None and key >= self._noted_from:
            self._written = True

    def end_noting(self) -> bool:
        """Whether something was written since `note_writes_from`, which ends with this."""
        self._noted_from = None
        return self._written

    # -- decisions, each durable with its group ----------------------------------------------------------------------

    def move_cursor(self, group: Group, cursor: Cursor) -> None:
        """This bucket's part in the move has come this far."""
        self.standing = self.standing._replace(cursor=cursor)
        group.set_fact(*facts.cursor_fact(cursor))

    def mark(self, group: Group, markers: Mapping[int, Marker]) -> None:
        """These windows of other buckets are here."""
        self.standing = self.standing._replace(markers=markers)
        group.set_fact(*facts.markers_fact(dict(markers)))

    def cast(self, group: Group, vote: Vote) -> None:
        """Say this of what is to follow the topology."""
        self.vote = vote
        group.set_storage_fact(*facts.vote_fact(vote))

    def install(self, group: Group, new: Topology) -> None:
        """Go by a topology from here on, if it is newer than ours.

        Raises:
            StorageForeign: it is another store's, which changes nothing here; or it lists another storage under this id.
                That is decided then: its volume came back empty, or was given up. Nothing is served until a later topology
                lists this storage.
            StorageDamaged: what the bucket told of changes before can't be read; nothing is installed.
        """
        if not self._is_newer(new):
            return
        if self._is_given_up_by(new):
            fault = (
                f"the storage of bucket-{self.bucket_id} has identity {self.identity}, but the store knows it as "
                f"{new.identities[self.bucket_id]}: its volume came back empty or is another one"
            )
            self.standing = self.standing._replace(fault=fault)
            self._given_up_by = new
            raise StorageForeign(fault)
        old = self.standing
        # In one batch with the topology: a move's epoch never meets another move's cursor or markers.
        cursor = cursor_for(new, self.bucket_id, old.topology, old.cursor, group.keys, group.bytes)
        markers = markers_for(new, old.topology, old.markers)
        group.revision = max(group.revision, new.revision_base)
        self._begin_feed(group, old.topology, new)  # first, for it may raise, and then nothing is to be installed
        group.set_fact(*facts.topology_fact(new))
        group.set_fact(*facts.cursor_fact(cursor))
        group.set_fact(*facts.markers_fact(markers))
        # It lists this storage, so whatever an earlier one said is past.
        self.standing, self._given_up_by = Standing(new, cursor, markers), None
        if self.vote is not None:  # what followed the topology before has been decided
            self.vote = None
            group.set_storage_fact(facts.VOTE, None)

    def _begin_feed(self, group: Group, old: Topology | None, new: Topology) -> None:
        """Tell of nothing that was before this topology, where the bucket begins its part in the store with it."""
        goes_on = old is not None and old.lists(self.bucket_id, self.identity)
        if self.bucket_id >= len(new.identities):
            return  # it has left, and is still asked for what it told last
        if self.bucket_id >= new.bucket_count:
            # Its bucket joins with this very move: of the end of an earlier one it may not have heard.
            if not (goes_on and old is not None and old.same_move(new)):
                group.begin_feed(joining=self.bucket_id not in new.replaced)
        elif not goes_on and new.revision_base:
            group.begin_feed(joining=False)  # in place of a storage that is lost, and not with the store

    def _is_newer(self, new: Topology) -> bool:
        own, refused_by = self.topology, self._given_up_by
        if own is not None and own.store_id != new.store_id:
            raise StorageForeign(
                f"the storage of bucket-{self.bucket_id} belongs to store {own.store_id}, not {new.store_id}"
            )
        if refused_by is not None and refused_by.store_id == new.store_id and refused_by.epoch > new.epoch:
            return False
        return own is None or new.epoch > own.epoch  # else it is late, or repeated

    def _is_given_up_by(self, new: Topology) -> bool:
        return new.lists_another(self.bucket_id, self.identity)
