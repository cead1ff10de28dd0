"""`accept-loss`: go on without the data of a bucket whose volume is lost.

A store never takes an empty volume for a bucket that had data; an operator may. What is done is the smallest change that
there is: the next topology lists the new storage's identity. Where bucket 0's storage decides alone it is bucket 0's to make;
where bucket 0 itself is the lost one then, its new storage is given the newest topology that any other bucket knows. Where
several acceptors decide, any bucket of the store has them do so.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from serve_app.cli.buckets import Buckets, Seen, look
from serve_app.command_output.failure import Failure
from serve_app.topology import Topology
from serve_app.wire.connection import NO_ANSWER
from serve_app.wire.messages import AcceptLoss, Install

_TIMEOUT_S = 10.0
#: How many epochs are left out, at least, where the authority is lost. It may have committed some that only a directory was
#: told of (a move begun, losses accepted): those numbers must not come again with another meaning, for who has one would keep
#: to it. A move ends only when all its sources have its epoch, so it can't have been many; leaving out more costs nothing.
_EPOCHS_GIVEN_AWAY = 1_000


def unix_us() -> int:
    """Microseconds since the Unix epoch, by this machine's clock."""
    return time.time_ns() // 1_000


@dataclass(frozen=True)
class Loss:
    """A bucket that may go on without its data.

    topology: the store's, as far as buckets know it. identity: of the empty storage that is there now. decided_at: the bucket
    that is to make it so. heard_epoch: the highest epoch that directories have told that storage's process of.
    """

    bucket_id: int
    topology: Topology
    identity: str
    decided_at: int
    heard_epoch: int = 0

    @property
    def known_identity(self) -> str:
        """The storage that the store knows under this id."""
        return self.topology.identities[self.bucket_id]


async def find_loss(buckets: Buckets, bucket_id: int) -> Loss:
    """Look whether a bucket is lost, and may be replaced by the storage that it has now.

    Raises:
        Failure: it is not, or can't be told; it says why. Nothing was changed.
        Unavailable: the buckets can't be found.
    """
    seen = await look(buckets, except_for=bucket_id)
    topology = seen.topology
    name = f"bucket-{bucket_id}"
    if topology is None:
        raise Failure(f"no other bucket knows of a store that {name} could belong to: there is nothing to go on with")
    if bucket_id >= len(topology.identities):
        raise Failure(f"the store has {len(topology.identities)} buckets: there is no {name}")
    if bucket_id in seen.away:
        raise Failure(f"{name} can't be reached: {seen.away[bucket_id]}. Its new, empty volume has to be there first")
    status = seen.statuses[bucket_id]
    known = status.topology if status.topology is not None and not status.fault else None
    if known is not None and known.store_id == topology.store_id and known.epoch > topology.epoch:
        topology = known
    if topology.lists(bucket_id, status.identity):
        raise Failure(f"{name} is not lost: its storage {status.identity} is the one that the store knows")
    if status.keys:
        raise Failure(
            f"the storage of {name} holds {status.keys:,} records: only an empty one takes a lost one's place"
        )
    told = status.topology
    # One of this store that leaves the bucket out says nothing of its storage: it was told, late, of what was before.
    if told is not None and (told.store_id != topology.store_id or bucket_id < len(told.identities)):
        whose = "this" if told.store_id == topology.store_id else "another"
        raise Failure(f"the storage of {name} belongs to {whose} store ({told.store_id}): it is not a new one")
    decided_at = _authority(seen, bucket_id, topology)
    return Loss(bucket_id, topology, status.identity, decided_at, status.heard_epoch)


def _authority(seen: Seen, bucket_id: int, topology: Topology) -> int:
    """The bucket that can have the next topology decided, with the newest one known for sure.

    Raises:
        Failure: there is none; it says whom to wait for.
    """
    if topology.majority > 1:
        for other, status in sorted(seen.statuses.items()):
            known = status.topology
            if other != bucket_id and known is not None and not status.fault and known.store_id == topology.store_id:
                return other  # it finds out whether enough acceptors are there
        raise Failure("no bucket of the store is there that could have this decided")
    if bucket_id != 0:
        if 0 in seen.away:
            raise Failure(f"bucket-0, which has to commit this, can't be reached: {seen.away[0]}")
        zero = seen.statuses[0]
        if zero.topology is None or zero.fault or zero.topology.store_id != topology.store_id:
            raise Failure("bucket-0, which has to commit this, is lost itself: `accept-loss 0` comes first")
        return 0
    # Without the authority the newest topology is known only if nobody is missing who may know a newer one. Going on from
    # an older one would undo what has been done under the newer. (Beyond the store's buckets there may be some that were
    # left out, and are no more.)
    away = "; ".join(
        f"bucket-{other}: {seen.away[other]}" for other in range(1, len(topology.identities)) if other in seen.away
    )
    if away:
        raise Failure(f"every other bucket has to be there, for it may know a newer topology: {away}")
    return 0


async def accept(buckets: Buckets, loss: Loss, now_us: Callable[[], int] = unix_us) -> tuple[Topology, dict[int, str]]:
    """Go on without the bucket's data: the topology from now on, and the buckets that could not be told yet, and why.

    now_us: microseconds since the Unix epoch.

    Raises:
        Failure: it was not done, or that is not known; it says so.
        Unavailable: the buckets can't be found. Nothing was changed.
    """
    again = await find_loss(buckets, loss.bucket_id)  # while the operator thought about it, much may have happened
    if again.identity != loss.identity:
        raise Failure(f"bucket-{loss.bucket_id} has yet another storage by now: look again")
    topology = await _commit(buckets, again, now_us)
    others = [other for other in range(len(topology.identities)) if other != again.decided_at]
    outcomes = await asyncio.gather(
        *(_install(buckets, bucket_id, topology) for bucket_id in others), return_exceptions=True
    )
    untold: dict[int, str] = {}
    for bucket_id, outcome in zip(others, outcomes, strict=True):
        if isinstance(outcome, (Failure, *NO_ANSWER)):
            untold[bucket_id] = str(outcome)
        elif isinstance(outcome, BaseException):
            raise outcome
    return topology, untold


def _epoch_above(loss: Loss, now_us: int) -> int:
    """An epoch above all that a lost authority may have given away, and that no other acceptance of its loss has.

    What buckets and directories know is counted from. A directory that can't be heard may know of an earlier acceptance, with
    a storage that has been lost since, which nobody else was told of: so time is in it too, for that was earlier. In
    microseconds, of which far more go by between two acceptances than are left out here.
    """
    return max(max(loss.topology.epoch, loss.heard_epoch) + 1 + _EPOCHS_GIVEN_AWAY, now_us)


async def _commit(buckets: Buckets, loss: Loss, now_us: Callable[[], int]) -> Topology:
    """Have the next topology decided; from then on it is the store's."""
    name = f"bucket-{loss.decided_at}"
    try:
        if loss.bucket_id == loss.decided_at:  # bucket 0, the lost one, was to decide alone
            now = now_us()
            new = loss.topology.accept_loss(0, loss.identity, now_ms=now // 1000, least_epoch=_epoch_above(loss, now))
            return await _install(buckets, 0, new)
        body = AcceptLoss(loss.bucket_id, loss.identity)
        status = await buckets.changed_status(loss.decided_at, body, _TIMEOUT_S)
    except NO_ANSWER as error:
        raise Failure(f"{name} did not confirm it ({error}): look again with `verify`") from error
    known = status.topology
    if known is None or not known.lists(loss.bucket_id, loss.identity):
        raise Failure(f"{name} did not take it: its topology has changed meanwhile; try again")
    return known


async def _install(buckets: Buckets, bucket_id: int, topology: Topology) -> Topology:
    """Hand a bucket the topology: what it has then."""
    known = (await buckets.changed_status(bucket_id, Install(topology), _TIMEOUT_S)).topology
    if known is None or known.epoch < topology.epoch:
        raise Failure(f"bucket-{bucket_id} did not take the topology")
    return known
