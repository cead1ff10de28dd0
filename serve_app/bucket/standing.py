"""What a bucket goes by: its topology, its part in a move, and why it must not serve, if so.

It is one immutable value. The writer's state (`writer_state.py`) replaces it as a whole with each decision that changes it;
once that is durable, the loop serves by it (`Bucket.serve_by`). Whoever looked at two values would see one of them from
before a change and one from after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from serve_app.cursor import Cursor, Marker
from serve_app.storage.facts import BucketFacts, StorageFacts
from serve_app.topology import Topology


class Standing(NamedTuple):
    """topology, cursor, markers: as in the bucket's facts; None and empty before there is a store. fault: why the bucket
    serves nothing, as a sentence, or empty; it is no fact, for it is decided anew from the topology when a storage opens.
    """

    topology: Topology | None
    cursor: Cursor | None
    markers: Mapping[int, Marker]
    fault: str = ""


class Served(NamedTuple):
    """What reads are judged by: a standing that is durable, and whether reads of the window that is being moved are held as
    well."""

    standing: Standing
    holds_reads: bool = False


def standing_at_start(storage: StorageFacts, facts: BucketFacts) -> Standing:
    """What a storage that was just opened is to be served by."""
    return Standing(facts.topology, facts.cursor, dict(facts.markers), _left_out_fault(storage, facts.topology))


def _left_out_fault(storage: StorageFacts, topology: Topology | None) -> str:
    bucket_id = storage.bucket_id
    # One that leaves this bucket out altogether is no fault: the store has gone on without it, and may want it again.
    if topology is None or not topology.lists_another(bucket_id, storage.identity):
        return ""
    return f"the stored topology does not list this storage as bucket-{bucket_id}"
