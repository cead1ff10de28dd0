"""Which store the buckets belong to, where nobody knows yet: the one that most of them say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from serve_app.errors import Unavailable
from serve_app.topology import Topology, newest
from serve_app.wire.messages import Status


def topology_of(statuses: Iterable[Status]) -> Topology | None:
    """The newest topology of the store that most of the buckets belong to; None where none belongs to any. One with a fault
    has no say.

    Raises:
        Unavailable: as many belong to one store as to another.
    """
    reporting = [status for status in statuses if status.topology is not None and not status.fault]
    votes = Counter(status.topology.store_id for status in reporting if status.topology is not None)
    if not votes:
        return None
    (store_id, most), *others = votes.most_common()
    if others and others[0][1] == most:
        belonging = ", ".join(
            f"bucket-{status.bucket_id} to {status.topology.store_id}" for status in reporting if status.topology
        )
        raise Unavailable(f"the buckets' volumes are of different stores ({belonging})")
    return newest(
        *(status.topology for status in reporting if status.topology and status.topology.store_id == store_id)
    )
