"""The topology: how many buckets the store has, and which storage each of them is.

It is small, versioned by `epoch`, and lives with the buckets: bucket 0 holds the authority, every bucket persists the one
it was last given. An epoch never goes back, which is what lets anybody deliver a topology at any time.
"""

from __future__ import annotations

import uuid

import msgspec

MAX_BUCKET_COUNT = 64


class Topology(msgspec.Struct, frozen=True, array_like=True):
    """One version of the store's shape.

    epoch: grows by one with every change; 1 is the first.
    bucket_count: M, the number of buckets that own keys.
    target_count: N, where a move is going; equal to bucket_count when the store is stable.
    store_id: made once with the store; tells its volumes from another store's.
    identities: one per bucket, the random id made with that bucket's database.
    """

    epoch: int
    bucket_count: int
    target_count: int
    store_id: str
    identities: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.epoch < 1:
            raise ValueError(f"epoch must be at least 1, not {self.epoch}")
        for name, count in (("bucket_count", self.bucket_count), ("target_count", self.target_count)):
            if not 1 <= count <= MAX_BUCKET_COUNT:
                raise ValueError(f"{name} must be 1 to {MAX_BUCKET_COUNT}, not {count}")
        if len(self.identities) != max(self.bucket_count, self.target_count):
            raise ValueError(
                f"{len(self.identities)} identities for {max(self.bucket_count, self.target_count)} buckets"
            )

    @property
    def phase(self) -> str:
        """`stable`, or `moving` while keys move from bucket_count to target_count buckets."""
        return "stable" if self.bucket_count == self.target_count else "moving"

    def lists(self, bucket_id: int, identity: str) -> bool:
        """Whether this topology names exactly this storage as the bucket's."""
        return bucket_id < len(self.identities) and self.identities[bucket_id] == identity


def first_topology(identities: tuple[str, ...]) -> Topology:
    """`STABLE(1, M)` of a new store made of the buckets with these identities, in order of their ids."""
    count = len(identities)
    return Topology(1, count, count, uuid.uuid4().hex, identities)


def newest(*candidates: Topology | None) -> Topology | None:
    """The topology with the highest epoch among those known, or None."""
    known = [topology for topology in candidates if topology is not None]
    return max(known, key=lambda topology: topology.epoch, default=None)
