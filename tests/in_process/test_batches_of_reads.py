"""Batches of reads beside moves and damage: the simulation has found what single reads did right and batches did not."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any, ClassVar

from serve_app.bucket.bucket import Bucket
from serve_app.bucket.calls import Calls
from serve_app.cursor import Cursor
from serve_app.directory.batches import Batches, UnderWay, _Share
from serve_app.directory.routed import Routed
from serve_app.directory.stats import DirectoryStats
from serve_app.errors import OutcomeUnknown, Unavailable
from serve_app.operations import Delete, Get, Missing, Put, Written
from serve_app.placement import bucket_of
from serve_app.storage.facts import BucketFacts, StorageFacts, Totals
from serve_app.topology import Topology
from serve_app.wire.messages import Batch, BatchAnswered, Envelope, Moved
from tests.support.commits import nobody_is_told
from tests.support.local_store import TEST_LIMITS, run_async
from tests.support.memory_engine import MemoryEngine
from tests.support.outlet import Outlet

_KEY = b"k"


@run_async
async def test_a_batch_of_reads_whose_window_is_over_by_the_time_it_is_heard_of_is_not_held() -> None:
    """Seeds 16 and 26: the thread found that it has to wait; the window ended before the loop heard of that, and nothing was
    to end the waiting."""
    topology = Topology(2, 1, 2, "store", ("zero", "one"), move_epoch=2)
    storage: Any = SimpleNamespace(
        engine=MemoryEngine(),
        own=StorageFacts(0, "zero"),
        facts=BucketFacts(Totals(0, 0, 0), topology, Cursor(2, b"", b"\xff")),
    )
    bucket = Bucket(storage, TEST_LIMITS, incarnation="1", on_group_done=nobody_is_told, failed=lambda error: None)
    bucket.hold_reads(True)
    key = next(key for key in map(b"k%d".__mod__, range(100)) if bucket_of(key, 2) == 1)
    outlet = Outlet()
    held: list[object] = []

    def in_thread(work: Any, done: Any) -> None:
        outcome = work()
        bucket.serve_by(bucket.standing._replace(cursor=Cursor(2, b"\xff")))
        bucket.hold_reads(False)
        done(outcome)

    host: Any = SimpleNamespace(
        bucket=bucket, held=SimpleNamespace(add=held.append), max_queued_reads=1, in_thread=in_thread
    )
    envelope = Envelope(1, 1000, 0, Batch([Get(key), Get(key)]))
    Calls(host, outlet).handle(envelope, bucket.clock())
    assert held == []
    answered: Any = outlet.sent[0].answer
    assert isinstance(answered.answers[0], Moved)


def test_a_read_beside_a_write_that_met_damage_is_refused_and_not_of_unknown_outcome() -> None:
    """Seed 4: a batch whose group met damage was told as unknown as a whole."""
    operations = [Get(_KEY), Delete(_KEY)]
    batch, share = UnderWay(operations), _Share(0, 0)
    for number, operation in enumerate(operations):
        share.numbers.append(number)
        share.operations.append(operation)
    batch.refuse(share.numbers, OutcomeUnknown("bucket-0: a block of the log is damaged"))
    read, write = batch.outcomes()
    assert isinstance(read, Unavailable)
    assert isinstance(write, OutcomeUnknown)


@run_async
async def test_where_the_way_of_some_is_not_found_the_others_keep_their_answers() -> None:
    """Places within a bucket's share are none of the batch."""
    topology = Topology(2, 2, 2, "store", ("zero", "one"))
    keys = [next(key for key in map(b"k%d".__mod__, range(100)) if bucket_of(key, 2) == home) for home in (0, 1)]

    class Connection:
        def __init__(self, home: int) -> None:
            self.home = home

        async def call(self, body: Batch, deadline_s: float, epoch: int) -> BatchAnswered:
            moved = Moved(topology) if self.home else Written(True, 7)
            return BatchAnswered([moved] * len(body.operations))

    class Delivery:
        async def reconcile(self, *asked: object) -> None:
            raise Unavailable("nobody can be told")

    view: Any = SimpleNamespace(
        topology=topology,
        homes_of=lambda keys, topology: [(bucket_of(key, 2), 0) for key in keys],
        links={home: SimpleNamespace(connection=partial(Connection, home)) for home in (0, 1)},
        learn=lambda home, moved: False,
    )
    delivery: Any = Delivery()
    homes = [0, 0, 1, 0, 1]
    operations = [Put(keys[home], b"v", "") for home in homes]
    found = await Batches(view, delivery, DirectoryStats()).carry_out(operations, 1e9)
    assert [isinstance(outcome, Unavailable) for outcome in found.answers()] == [home == 1 for home in homes]


@run_async
async def test_a_bucket_that_leaves_as_it_is_to_be_asked_is_asked_no_more() -> None:
    """Seed 474: the request ended with a KeyError, and its client heard nothing."""
    topologies = [Topology(2, 2, 2, "store", ("zero", "one")), Topology(3, 1, 1, "store", ("zero",))]

    class Connection:
        async def call(self, body: Batch, deadline_s: float, epoch: int) -> BatchAnswered:
            return BatchAnswered([Missing()] * len(body.operations))

    class View:
        topology = topologies[0]
        links: ClassVar[dict[int, Any]] = {0: SimpleNamespace(connection=Connection), 1: None}

        def homes_of(self, keys: Sequence[bytes], topology: Topology) -> list[tuple[int, int]]:
            homes = [(bucket_of(key, topology.bucket_count), 0) for key in keys]
            # It changes between this and the sending, which is a task of its own.
            self.topology = topologies[1]
            self.links.pop(1, None)
            return homes

    view: Any = View()
    unused: Any = None
    keys = [b"k%d" % number for number in range(10)]
    found = await Batches(view, unused, DirectoryStats()).carry_out([Get(key) for key in keys], 1e9)
    assert [outcome.bucket_id for outcome in found.outcomes() if isinstance(outcome, Routed)] == [0] * 10
