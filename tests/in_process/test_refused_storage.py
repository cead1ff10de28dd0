"""A storage that the store has given up: what its writer decides then, and that it serves again once it is listed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from serve_app import operations
from serve_app.bucket.bucket import Bucket
from serve_app.bucket.move_writes import WindowWrite
from serve_app.bucket.topology_writes import InstallWrite
from serve_app.errors import StorageForeign
from serve_app.operations import Answer
from serve_app.placement import bucket_of
from serve_app.storage.facts import TOPOLOGY, topology_fact
from serve_app.topology import Topology
from serve_app.wire import messages
from tests.in_process.test_topology_in_doubt import damage_next_facts
from tests.support.commits import NoCaller, nobody_is_told
from tests.support.local_store import TEST_LIMITS, LocalBucket, MemoryStorage, run_async
from tests.support.memory_engine import new_bucket_engine
from tests.support.raw_client import RawClient, greeted, serving

NEVER_S = 1e18


def topology(epoch: int, identity: str) -> Topology:
    return Topology(epoch, 1, 1, "store", (identity,))


async def answer(client: RawClient, envelope: messages.Envelope) -> messages.Welcome | Answer | None:
    client.send(envelope)
    return await client.receive()


@run_async
async def test_it_takes_reads_and_writes_again_once_it_is_listed_again() -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        assert bucket.server is not None
        ours = bucket.server.bucket.identity
        put = messages.Envelope(1, 10_000, 0, operations.Put(b"k", b"v", ""))
        get = messages.Envelope(2, 10_000, 0, operations.Get(b"k"))
        giving_up = messages.Envelope(3, 10_000, 0, messages.Install(topology(2, "another")))
        assert isinstance(await answer(client, giving_up), messages.Refused)
        for request in (put, get):
            refused = await answer(client, request)
            assert isinstance(refused, messages.Refused)
            assert "came back empty" in refused.detail
        status = await answer(client, messages.Envelope(4, 10_000, 0, messages.Install(topology(3, ours))))
        assert isinstance(status, messages.Status)
        assert not status.fault
        assert isinstance(await answer(client, put), operations.Written)
        assert isinstance(await answer(client, get), operations.Value)


@run_async
async def test_it_stays_refused_where_the_topology_that_lists_it_again_met_damage() -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        assert bucket.server is not None
        ours = bucket.server.bucket.identity
        await answer(client, messages.Envelope(1, 10_000, 0, messages.Install(topology(2, "another"))))
        damage_next_facts(bucket, TOPOLOGY)
        unknown = await answer(client, messages.Envelope(2, 10_000, 0, messages.Install(topology(3, ours))))
        assert isinstance(unknown, messages.Refused)
        assert unknown.reason == "unknown"
        refused = await answer(client, messages.Envelope(3, 10_000, 0, operations.Get(b"k")))
        assert isinstance(refused, messages.Refused)
        assert "came back empty" in refused.detail


@run_async
async def test_it_is_refused_after_a_restart_too() -> None:
    bucket = LocalBucket(0, TEST_LIMITS)
    bucket.engine.write([], [topology_fact(topology(2, "another"))])
    await bucket.start()
    try:
        client = await greeted(bucket)
        for request in (
            messages.Envelope(1, 10_000, 0, operations.Put(b"k", b"v", "")),
            messages.Envelope(2, 10_000, 0, operations.Get(b"k")),
        ):
            refused = await answer(client, request)
            assert isinstance(refused, messages.Refused)
            assert "does not list this storage" in refused.detail
    finally:
        await bucket.stop_server()
        await bucket.wire.stop()


def test_a_window_behind_the_refusal_in_its_group_is_not_taken() -> None:
    """Its source would delete the records, on the word of a storage that nobody is served from."""
    engine = new_bucket_engine(1)
    storage = MemoryStorage(engine, 1)
    moving = Topology(2, 1, 2, "store", ("zero", storage.own.identity), move_epoch=2)
    storage.facts = replace(storage.facts, topology=moving)
    bucket = Bucket(
        storage,
        TEST_LIMITS,
        incarnation="1",
        on_group_done=nobody_is_told,
        failed=lambda error: None,
    )
    key = next(key for key in (b"k%d" % number for number in range(100)) if bucket_of(key, 2) == 1)
    given_up = moving.accept_loss(1, "another")
    install = messages.Envelope(1, 1000, 0, messages.Install(given_up))
    refusal = InstallWrite(bucket.state, install, NoCaller(), NEVER_S, 0.0)
    move = messages.Envelope(2, 1000, 2, messages.Window(0, key + b"\0", 1, [(key, b"raw")]))
    window = WindowWrite(bucket.state, move, NoCaller(), NEVER_S, 0.0)
    bucket._committer.write(bucket._committer.decide([refusal, window]))
    assert isinstance(refusal.answer, messages.Refused)
    assert isinstance(window.answer, messages.Refused)
    assert dict(engine.scan()) == {}


def test_a_window_that_can_not_be_written_whole_leaves_nothing() -> None:
    """What one of its records would replace can't be read: it is refused, which says that nothing was changed."""
    engine = new_bucket_engine(1)
    storage = MemoryStorage(engine, 1)
    moving = Topology(2, 1, 2, "store", ("zero", storage.own.identity), move_epoch=2)
    storage.facts = replace(storage.facts, topology=moving)
    bucket = Bucket(storage, TEST_LIMITS, incarnation="1", on_group_done=nobody_is_told, failed=lambda error: None)
    first, second = sorted(key for key in (b"k%d" % number for number in range(100)) if bucket_of(key, 2) == 1)[:2]
    engine.damaged.add(second)
    move = messages.Envelope(2, 1000, 2, messages.Window(0, second + b"\0", 9, [(first, b"raw"), (second, b"raw")]))
    window = WindowWrite(bucket.state, move, NoCaller(), NEVER_S, 0.0)
    commit = bucket._committer.write(bucket._committer.decide([window]))
    assert isinstance(window.answer, messages.Refused)
    assert commit is None
    assert bucket.totals == storage.facts.totals
    assert bucket.state.standing.markers == {}


@run_async
async def test_a_topology_of_before_does_not_end_the_refusal_by_a_later_one() -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        assert bucket.server is not None
        ours = bucket.server.bucket.identity

        async def install(call: int, new: Topology) -> Answer | messages.Welcome | None:
            return await answer(client, messages.Envelope(call, 10_000, 0, messages.Install(new)))

        put = messages.Envelope(1, 10_000, 0, operations.Put(b"k", b"v", ""))
        assert isinstance(await install(2, topology(2, ours)), messages.Status)
        assert isinstance(await install(3, topology(9, "another")), messages.Refused)
        late = await install(4, topology(5, ours))
        assert isinstance(late, messages.Status)
        assert late.fault
        assert isinstance(await answer(client, put), messages.Refused)
        assert isinstance(await install(5, topology(10, ours)), messages.Status)
        assert isinstance(await answer(client, put), operations.Written)


@run_async
async def test_who_is_the_authority_no_more_decides_no_topology() -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        assert bucket.server is not None
        first = topology(2, bucket.server.bucket.identity)
        await answer(client, messages.Envelope(2, 10_000, 0, messages.Install(first)))
        await answer(client, messages.Envelope(3, 10_000, 0, messages.Install(topology(9, "another"))))
        with pytest.raises(StorageForeign, match="came back empty"):
            await bucket.server.mover_access.decide_alone(first, first.begin_move(2, ("one",)))
        for body in (messages.AcceptLoss(0, "x"), messages.Establish(("x",))):
            assert isinstance(await answer(client, messages.Envelope(4, 10_000, 0, body)), messages.Refused)
        assert bucket.server.bucket.standing.fault
