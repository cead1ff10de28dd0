"""Reading threads beside the bucket's loop: a thread may stand still between any two things that it looks at."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from serve_app import operations
from serve_app.bucket import cold_reads, judgement
from serve_app.bucket import status as status_module
from serve_app.bucket.bucket import Bucket
from serve_app.bucket.cold_reads import ColdReads, Outcome
from serve_app.bucket.judgement import HOLD, Hold
from serve_app.bucket.status import gauges_of
from serve_app.bucket.topology_writes import CommitTopologyWrite
from serve_app.cursor import Cursor, Marker
from serve_app.errors import StorageForeign
from serve_app.placement import bucket_of
from serve_app.storage.facts import BucketFacts, StorageFacts, Totals
from serve_app.topology import Topology
from serve_app.wire import messages
from tests.support.commits import nobody_is_told
from tests.support.local_store import TEST_LIMITS, LocalBucket, run_async
from tests.support.memory_engine import MemoryEngine

TOPOLOGY = Topology(2, 1, 2, "store", ("zero", "one"), move_epoch=2)
KEY = next(key for key in (b"k%d" % number for number in range(100)) if bucket_of(key, 2) == 1)
BEFORE = Cursor(2, b"", KEY + b"\x00")
AFTER = Cursor(2, KEY + b"\x00")


@dataclass
class Opened:
    engine: MemoryEngine
    own: StorageFacts
    facts: BucketFacts


def moving_bucket() -> Bucket:
    """Bucket 0, with a window open in which `KEY` leaves it."""
    storage = Opened(MemoryEngine(), StorageFacts(0, "zero"), BucketFacts(Totals(0, 0, 0), TOPOLOGY, BEFORE))
    return Bucket(
        storage,
        TEST_LIMITS,
        incarnation="1",
        on_group_done=nobody_is_told,
        failed=lambda error: None,
    )


@run_async
async def test_a_read_of_a_window_that_is_over_by_the_time_it_is_judged_is_not_answered_as_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The record is deleted; the thread finds out that the read has to wait, and stands still; the cursor advances."""
    bucket = moving_bucket()
    bucket.hold_reads(True)
    judge = judgement.judge

    def preempted(*state: object) -> messages.Moved | Hold | None:
        verdict = judge(*state)  # type: ignore[arg-type]
        bucket.serve_by(bucket.standing._replace(cursor=AFTER))
        bucket.hold_reads(False)
        return verdict

    monkeypatch.setattr(judgement, "judge", preempted)
    answer = bucket.reader.on_disk(messages.Envelope(1, 1000, 0, operations.Get(KEY)), bucket.clock())
    assert isinstance(answer, (Hold, messages.Moved)), answer


def test_reads_stay_held_while_other_decisions_become_durable() -> None:
    """A window of another bucket may come just when the records of ours are being deleted."""
    bucket = moving_bucket()
    bucket.hold_reads(True)
    bucket.serve_by(bucket.standing._replace(markers={1: Marker(2, b"k")}))
    read = messages.Envelope(1, 1000, 0, operations.Get(KEY))
    assert bucket.reader.on_disk(read, bucket.clock()) is HOLD
    assert bucket.reader.in_memory(read) is HOLD
    bucket.hold_reads(False)
    assert bucket.reader.in_memory(read) == operations.Missing()


@run_async
async def test_a_refusal_that_was_decided_last_is_not_undone_by_a_topology_that_was_decided_before() -> None:
    """The writer is ahead of the loop: it has refused the storage when the loop begins to serve by the topology before."""
    local = LocalBucket(0, TEST_LIMITS)
    await local.start()
    assert local.server is not None
    bucket, loop = local.server.bucket, asyncio.get_running_loop()
    ours = Topology(2, 1, 1, "store", (bucket.identity,))
    given_up = Topology(3, 1, 1, "store", ("another",))
    steps = [CommitTopologyWrite(bucket.state, loop.create_future(), None, ours)]
    steps.append(CommitTopologyWrite(bucket.state, loop.create_future(), ours, given_up))
    durable = []
    for step in steps:
        durable.append((bucket._committer.write(bucket._committer.decide([step])), bucket.state.standing))
        bucket.writer.reserve_own(step)
    for step, (commit, standing) in zip(steps, durable, strict=True):
        local.server._finish_group([step], commit, standing, True)
    assert "came back empty" in bucket.standing.fault
    get = messages.Envelope(1, 1000, 0, operations.Get(KEY))
    assert isinstance(bucket.reader.on_disk(get, bucket.clock()), messages.Refused)
    with pytest.raises(StorageForeign):
        await steps[1].done
    await local.stop_server()


@run_async
async def test_metrics_leave_alone_what_belongs_to_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read in a thread of their own; how fast a move goes is remembered by the loop, in steps."""
    bucket = moving_bucket()
    monkeypatch.setattr(status_module, "progress", None)
    assert gauges_of(bucket).keys() == {"keys", "bytes", "free_bytes", "queued_writes"}


@run_async
async def test_a_read_whose_deadline_has_passed_by_its_turn_is_not_made() -> None:
    bucket = moving_bucket()
    answer = bucket.reader.on_disk(messages.Envelope(1, 1000, 0, operations.Get(KEY)), bucket.clock() - 2)
    assert isinstance(answer, messages.Refused)
    assert answer.reason == "expired"


class Peer:
    """A `cold_reads.Client` whose reading threads go on when a test has them do so."""

    def __init__(self) -> None:
        self.paused = False
        #: Whether it stops reading as soon as it is sent anything.
        self.pauses_when_answered = False
        self.answered: list[int] = []
        self.threads: list[tuple[Callable[[], list[Outcome]], Callable[[list[Outcome]], None]]] = []

    def reads_done(self, outcomes: list[Outcome]) -> None:
        self.answered += [read.envelope.call for read, _ in outcomes]
        self.paused = self.paused or self.pauses_when_answered

    def in_thread(self, work: Callable[[], list[Outcome]], done: Callable[[list[Outcome]], None]) -> None:
        self.threads.append((work, done))

    def go_on(self) -> None:
        """Let one batch be read, and the loop hear of it."""
        work, done = self.threads.pop(0)
        done(work())


def asked_for(peer: Peer, count: int) -> ColdReads:
    """Reads of this peer, numbered from 0, of a key that is there no more."""
    bucket = moving_bucket()
    reads = ColdReads(bucket.reader, peer, count)
    for call in range(count):
        assert reads.add(messages.Envelope(call, 10_000, 0, operations.Get(KEY)), bucket.clock())
    return reads


def test_what_a_batch_leaves_over_is_read_though_the_peer_reads_nothing_just_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cold_reads, "_BATCH_BYTES", -1)  # one read is a batch's worth
    peer = Peer()
    reads = asked_for(peer, 3)
    reads.start()
    peer.paused = True
    peer.go_on()
    assert (peer.answered, peer.threads) == ([0], [])
    peer.paused = False
    reads.start()
    while peer.threads:
        peer.go_on()
    assert peer.answered == [0, 1, 2], "each once, in the order in which they were asked for"


def test_no_batch_is_begun_for_a_peer_that_turns_out_not_to_read_the_last() -> None:
    peer = Peer()
    reads = asked_for(peer, 200)
    reads.start()
    begun = len(peer.threads)
    peer.pauses_when_answered = True
    peer.go_on()
    assert len(peer.threads) == begun - 1
