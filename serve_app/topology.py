"""The topology: how many buckets the store has, which storage each of them is, and who decides what follows.

It is small, versioned by `epoch`, and lives with the buckets: the acceptors that it names decide the next one (bucket 0's
storage alone, unless others are named), every bucket persists the one it was last given. An epoch never goes back, which is
what lets anybody deliver a topology at any time.
"""

from __future__ import annotations

import uuid

import msgspec

MAX_BUCKET_COUNT = 64
#: Two of them may be lost at once; more would make each decision dearer and protect from little.
MAX_ACCEPTORS = 5
#: Beyond any epoch that there will be: who tells of a higher one is not believed. (JSON's readers know numbers to 2^53.)
MAX_EPOCH = 2**52
#: Beyond any revision that there will be, and far enough below what a bucket's counts can hold.
MAX_REVISION = 2**62
#: More writes than a storage takes in its life, and than a bucket takes in a second.
_REVISIONS_OF_A_STORAGE = 2**40
_REVISIONS_PER_S = 2**22
_YEAR_2025_MS = 1_735_689_600_000
#: No topology has a higher one. Above any that is believed there is room for losses to be accepted.
_HIGHEST_EPOCH = 2 * MAX_EPOCH


class Topology(msgspec.Struct, frozen=True, array_like=True):
    """One version of the store's shape.

    epoch: grows with every change, by one but where the loss of bucket 0 is accepted; 1 is the first. No two topologies of a
        store share one.
    bucket_count: M, the number of buckets that own keys.
    target_count: N, where a move is going; equal to bucket_count when the store is stable.
    store_id: made once with the store; tells its volumes from another store's.
    identities: one per bucket, the random id made with that bucket's database.
    replaced: buckets that in the move under way go on without the data they had (`accept-loss`).
    move_epoch: the epoch with which the move under way began; 0 when the store is stable. An accepted loss makes another
        epoch of the same move.
    revision_base: whoever installs it gives no revision that is not higher. Raised with each accepted loss, above all that
        the lost storage may have given.
    acceptors: the identities of the storages that decide what follows this topology, most of them together; an odd number
        of those that are listed. Empty for bucket 0's alone.
    """

    epoch: int
    bucket_count: int
    target_count: int
    store_id: str
    identities: tuple[str, ...]
    replaced: tuple[int, ...] = ()
    move_epoch: int = 0
    revision_base: int = 0
    acceptors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.epoch <= _HIGHEST_EPOCH:
            raise ValueError(f"epoch must be 1 to {_HIGHEST_EPOCH}, not {self.epoch}")
        for name, count in (("bucket_count", self.bucket_count), ("target_count", self.target_count)):
            if not 1 <= count <= MAX_BUCKET_COUNT:
                raise ValueError(f"{name} must be 1 to {MAX_BUCKET_COUNT}, not {count}")
        if not 0 <= self.revision_base <= MAX_REVISION:
            raise ValueError(f"revision_base must be 0 to {MAX_REVISION}, not {self.revision_base}")
        if len(self.identities) != max(self.bucket_count, self.target_count):
            raise ValueError(
                f"{len(self.identities)} identities for {max(self.bucket_count, self.target_count)} buckets"
            )
        if self.acceptors and not _may_decide(self.acceptors, self.identities):
            raise ValueError(
                f"an odd number of the listed storages decides, up to {MAX_ACCEPTORS}: not {self.acceptors}"
            )

    @property
    def moving(self) -> bool:
        """Whether keys move from bucket_count to target_count buckets."""
        return self.bucket_count != self.target_count

    @property
    def phase(self) -> str:
        """`stable` or `moving`, as the API shows it."""
        return "moving" if self.moving else "stable"

    def begin_move(self, target_count: int, joining: tuple[str, ...]) -> Topology:
        """`MOVING(e+1, M → N)`; joining are the identities of buckets M to N - 1."""
        assert not self.moving, "one move after the other"
        epoch, identities = self.epoch + 1, self.identities + joining
        return msgspec.structs.replace(
            self, epoch=epoch, target_count=target_count, identities=identities, move_epoch=epoch
        )

    def end_move(self) -> Topology:
        """`STABLE(e+1, N)`, once every key is at its new home."""
        assert self.moving, "only a move can end"
        count = self.target_count
        listed = self.identities[:count]
        # Where one of them leaves, bucket 0's storage decides alone, which always stays.
        acceptors = self.acceptors if set(self.acceptors) <= set(listed) else ()
        return Topology(
            self.epoch + 1,
            count,
            count,
            self.store_id,
            listed,
            revision_base=self.revision_base,
            acceptors=acceptors,
        )

    def accept_loss(self, bucket_id: int, identity: str, *, now_ms: int = 0, least_epoch: int = 0) -> Topology:
        """The same shape with another storage for one bucket, which goes on without the data it had.

        now_ms: milliseconds since the Unix epoch. least_epoch: where the authority is lost, an epoch above all that it may
        have given away already.
        """
        lost = self.identities[bucket_id]
        identities = (*self.identities[:bucket_id], identity, *self.identities[bucket_id + 1 :])
        acceptors = tuple(identity if acceptor == lost else acceptor for acceptor in self.acceptors)
        replaced = tuple(sorted({*self.replaced, bucket_id})) if self.moving else ()
        epoch = max(self.epoch + 1, least_epoch)
        base = max(self.revision_base + _REVISIONS_OF_A_STORAGE, _revision_base_at(now_ms))
        return msgspec.structs.replace(
            self,
            epoch=epoch,
            identities=identities,
            replaced=replaced,
            revision_base=min(base, MAX_REVISION),
            acceptors=acceptors,
        )

    def name_acceptors(self, bucket_ids: tuple[int, ...]) -> Topology:
        """The same shape, with these buckets' storages to decide what follows it; none for bucket 0's alone."""
        acceptors = tuple(self.identities[bucket_id] for bucket_id in bucket_ids)
        return msgspec.structs.replace(self, epoch=self.epoch + 1, acceptors=acceptors)

    @property
    def electorate(self) -> tuple[int, ...]:
        """The buckets whose storages decide what follows."""
        return tuple(map(self.identities.index, self.acceptors)) or (0,)

    @property
    def majority(self) -> int:
        """How many of the electorate have to agree."""
        return len(self.electorate) // 2 + 1

    def decided_by(self, identity: str) -> bool:
        """Whether this storage is one of those that decide what follows."""
        return identity in (self.acceptors or self.identities[:1])

    def decided_alone_by(self, identity: str) -> bool:
        """Whether this storage is the only one that decides what follows."""
        return self.majority == 1 and self.decided_by(identity)

    def same_move(self, later: Topology) -> bool:
        """Whether a later topology is of the very move of this one, so that what has moved has moved. Another move from as
        many buckets to as many is not: a storage that missed what was in between may come back."""
        return self.moving and later.moving and self.move_epoch == later.move_epoch

    def lists(self, bucket_id: int, identity: str) -> bool:
        """Whether this topology names exactly this storage as the bucket's."""
        return bucket_id < len(self.identities) and self.identities[bucket_id] == identity

    def lists_another(self, bucket_id: int, identity: str) -> bool:
        """Whether this topology names another storage as the bucket's: not so where it leaves the bucket out altogether."""
        return bucket_id < len(self.identities) and not self.lists(bucket_id, identity)


def _may_decide(acceptors: tuple[str, ...], identities: tuple[str, ...]) -> bool:
    several = len(acceptors)
    return several % 2 == 1 and several <= MAX_ACCEPTORS and len(set(acceptors) & set(identities)) == several


def _revision_base_at(now_ms: int) -> int:
    """Above every revision that a storage can have given by then: nobody writes four million times a second. It counts for
    what the topology at hand may not know of, an earlier loss that was accepted and forgotten with bucket 0. It stays below
    2^53, which JSON's readers know numbers to, for another 60 years."""
    return max(0, now_ms - _YEAR_2025_MS) // 1000 * _REVISIONS_PER_S


def expected_identity(topology: Topology | None, bucket_id: int) -> str:
    """The storage that the store knows under this id; empty where there is none, or no topology is known."""
    return "" if topology is None or bucket_id >= len(topology.identities) else topology.identities[bucket_id]


def first_topology(identities: tuple[str, ...], store_id: str = "") -> Topology:
    """`STABLE(1, M)` of a new store made of the buckets with these identities, in order of their ids. store_id is made up
    at random where none is given."""
    count = len(identities)
    return Topology(1, count, count, store_id or uuid.uuid4().hex, identities)


def newest(*candidates: Topology | None) -> Topology | None:
    """The topology with the highest epoch among those known, or None."""
    known = [topology for topology in candidates if topology is not None]
    return max(known, key=lambda topology: topology.epoch, default=None)
