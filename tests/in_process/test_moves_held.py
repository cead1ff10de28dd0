"""What waits for a window: it costs the keys beside it nothing, and never waits longer than the window takes."""

from __future__ import annotations

import asyncio

import pytest

from serve_app import operations, placement
from serve_app.bucket import held
from serve_app.bucket.calls import Calls
from serve_app.bucket.cold_reads import ColdRead
from serve_app.bucket.held import Held, HeldOperations
from serve_app.bucket.judgement import HOLD
from serve_app.bucket.move_writes import NoteWritesWrite
from serve_app.bucket.operation_write import OperationWrite
from serve_app.cursor import Cursor
from serve_app.directory.directory import Directory
from serve_app.errors import OutcomeUnknown, StorageDamaged, Unavailable
from serve_app.records import Record, encode
from serve_app.settings import Limits
from serve_app.storage.facts import CURSOR, IDENTITY, cursor_fact, topology_fact
from serve_app.topology import Topology
from serve_app.wire import link as link_module
from serve_app.wire import messages
from tests.in_process.test_reading_threads import KEY as LEAVING_NOW
from tests.in_process.test_reading_threads import moving_bucket
from tests.in_process.test_topology_in_doubt import damage_next_facts
from tests.support.asking import get, put
from tests.support.commits import NoCaller
from tests.support.local_store import TEST_LIMITS, LocalBucket, LocalStore, local_store, run_async, until
from tests.support.outlet import Outlet
from tests.support.quick_moves import filled, move_quickly
from tests.support.raw_client import greeted

SLOW = Limits(disk_reserve_bytes=0, move_bytes_per_s=20_000)
KEYS = [b"key-%03d" % n for n in range(200)]
LEAVING = [key for key in KEYS if placement.bucket_of(key, 2) == 1]


@pytest.fixture(autouse=True)
def agree_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    move_quickly(monkeypatch)


async def stuck(store: LocalStore, directory: Directory) -> tuple[list[bytes], list[bytes]]:
    """Make the move to two buckets stand still with a window open: its keys, and those beyond it."""
    directory.configuration.follow(2)
    await until(lambda: len(store.buckets[1].records) > 5, 20)
    await store.buckets[1].crash()
    server = store.buckets[0].server
    assert server is not None
    await until(lambda: "bucket-1" in server.bucket.waiting.get("mover", ""), 20)
    cursor = server.bucket.standing.cursor
    assert cursor is not None
    return [key for key in LEAVING if cursor.in_window(key)], [key for key in KEYS if key >= cursor.intent_end]


@run_async
async def test_a_stuck_window_leaves_the_buckets_other_keys_alone() -> None:
    async with local_store(2, SLOW) as store:
        directory = await filled(store, 1, KEYS)
        window, beyond = await stuck(store, directory)
        as_many_as_fit = SLOW.max_calls_per_bucket
        puts = [asyncio.create_task(put(directory, window[n % len(window)], b"new", "")) for n in range(as_many_as_fit)]
        server = store.buckets[0].server
        assert server is not None
        # Some wait, for a while; when the window turns out to be stuck, few.
        await until(lambda: sum(each.done() for each in puts) >= as_many_as_fit - SLOW.max_waiting_per_bucket)
        assert len(server.held) == SLOW.max_waiting_per_bucket
        refused = [each for each in puts if each.done()]
        for each in refused:
            with pytest.raises(Unavailable, match="just being moved"):
                each.result()
        for key in beyond:
            await put(directory, key, b"new", "")
            assert await get(directory, key) == b"new"
        with pytest.raises(Unavailable, match="its new bucket does not take it"):
            await put(directory, window[0], b"new", "")
        await store.buckets[1].start()
        await asyncio.wait(puts)
        assert not any(each.exception() for each in puts if each not in refused), "those that waited are carried out"


@run_async
async def test_one_connection_can_not_use_up_what_others_may_have_held() -> None:
    limits = Limits(max_calls_per_bucket=8, max_call_bytes_per_bucket=4000)
    loop = asyncio.get_running_loop()
    waiting = HeldOperations(loop, loop.time, limits)
    refused: list[str] = []
    again: list[str] = []

    def add(owner: str, size_bytes: int) -> None:
        deadline_s = loop.time() + 60
        waiting.add(Held(owner, deadline_s, size_bytes, lambda: again.append(owner), lambda *_: refused.append(owner)))

    for _ in range(5):
        add("one", 1)
    assert (len(waiting), refused) == (2, ["one"] * 3), "a quarter of its calls"
    add("other", 900)
    add("other", 200)
    assert refused[3:] == ["other"], "a quarter of their bytes"
    add("third", 5000)
    assert len(waiting) == 4, "a single one is held whatever its size"
    waiting.release()
    assert (again, len(waiting)) == (["one", "one", "other", "third"], 0)
    add("one", 1)
    assert len(waiting) == 1, "what has gone counts no more"
    waiting.stop()


@run_async
async def test_one_that_is_late_is_refused_before_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    waiting = HeldOperations(loop, loop.time, TEST_LIMITS)
    refused = loop.create_future()
    deadline_s = loop.time() + held._ANSWER_S + 0.1
    waiting.add(Held("one", deadline_s, 1, lambda: None, lambda *why: refused.set_result((loop.time(), why))))
    at_s, (reason, _) = await refused
    assert reason == "busy"
    assert at_s < deadline_s
    assert len(waiting) == 0


@run_async
async def test_a_read_that_was_to_wait_is_judged_again_when_its_batch_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its window may have been released while others of its batch were read from the disk: nothing releases it again."""
    async with local_store(1, TEST_LIMITS) as store:
        directory = await filled(store, 1, KEYS)
        server = store.buckets[0].server
        assert server is not None
        (connection,) = server._connections
        assert connection._calls is not None
        envelope = messages.Envelope(10**6, 5_000, 0, operations.Get(KEYS[0]))
        sent: list[messages.Reply] = []
        monkeypatch.setattr(connection, "send", sent.append)
        connection._calls.reads_done([(ColdRead(envelope, server.bucket.clock()), HOLD)])
        assert len(server.held) == 0
        await until(lambda: any(isinstance(reply.answer, operations.Value) and reply.call == 10**6 for reply in sent))
        monkeypatch.undo()
        assert await get(directory, KEYS[1])


@run_async
async def test_damage_met_where_a_window_ends_takes_no_key_away() -> None:
    async with local_store(2, TEST_LIMITS) as store:
        directory = await filled(store, 1, KEYS)
        engine = store.buckets[0].engine
        read, reads = engine.get, 0

        def failing(key: bytes) -> bytes | None:
            nonlocal reads
            server = store.buckets[0].server
            cursor = None if server is None else server.bucket.state.standing.cursor
            if cursor is not None and cursor.in_window(key) and key == LEAVING[-1]:
                reads += 1
                raise StorageDamaged("a bad block")
            return read(key)

        engine.get = failing  # type: ignore[method-assign]
        directory.configuration.follow(2)
        await until(lambda: directory.view.topology.bucket_count == 2, 20)  # type: ignore[union-attr]
        assert reads == 0, "the batch that ends a window reads nothing that could fail"
        for key in KEYS:
            assert await get(directory, key) == b"v" * 100


@run_async
async def test_what_is_under_way_at_a_bucket_that_leaves_is_answered() -> None:
    """A write that the leaving bucket is about to answer with Moved has not happened: it goes to the new home."""
    async with local_store(2, TEST_LIMITS) as store:
        directory = await store.directory(2)
        topology = directory.view.topology
        assert topology is not None
        store.buckets[1].wire.hold()
        written = asyncio.create_task(directory.carry_out(operations.Put(LEAVING[0], b"v", "")))
        link = directory.view.link(1)
        await until(lambda: link.calls_open > 0)
        one = topology.begin_move(1, ()).end_move()
        for bucket_id in (0, 1):
            server = store.buckets[bucket_id].server
            assert server is not None
            await server.mover_access.install(one)
        directory.view.adopt(one)
        store.buckets[1].wire.release()
        assert (await written).bucket_id == 0


@run_async
async def test_a_bucket_that_leaves_is_not_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection may break while the last calls are under way. To look for it is to make it anew."""
    monkeypatch.setattr(link_module, "_STABLE_S", 0.0)
    async with local_store(2, TEST_LIMITS) as store:
        directory = await store.directory(2)
        topology = directory.view.topology
        assert topology is not None
        store.buckets[1].wire.hold()
        written = asyncio.create_task(directory.carry_out(operations.Put(LEAVING[0], b"v", "")))
        link = directory.view.link(1)
        await until(lambda: link.calls_open > 0)
        store.resolved.clear()
        directory.view.adopt(topology.begin_move(1, ()).end_move())
        store.buckets[1].wire.cut()
        with pytest.raises(OutcomeUnknown):
            await written
        await until(lambda: not directory.view._links._draining)
        assert 1 not in store.resolved


@run_async
async def test_what_waits_for_a_bucket_that_leaves_goes_to_the_new_home() -> None:
    async with local_store(2, TEST_LIMITS) as store:
        directory = await store.directory(2)
        topology = directory.view.topology
        assert topology is not None
        await store.buckets[1].crash()
        link = directory.view.link(1)
        await until(lambda: not link.connected)
        written = asyncio.create_task(directory.carry_out(operations.Put(LEAVING[0], b"v", "")))
        await until(lambda: link.calls_waiting > 0)
        one = topology.begin_move(1, ()).end_move()
        server = store.buckets[0].server
        assert server is not None
        await server.mover_access.install(one)
        directory.view.adopt(one)
        assert (await written).bucket_id == 0


@run_async
async def test_an_answer_of_a_bucket_that_has_left_meanwhile_does_no_harm() -> None:
    async with local_store(2, TEST_LIMITS) as store:
        directory = await store.directory(2)
        topology = directory.view.topology
        assert topology is not None
        one = topology.begin_move(1, ()).end_move()
        directory.view.adopt(one)
        deadline_s = asyncio.get_running_loop().time() + 5
        await directory._delivery.reconcile(1, topology, deadline_s)
        assert directory.view.topology == one


@run_async
async def test_what_was_held_is_decided_though_the_queue_of_writes_is_full() -> None:
    """It had its place when it came. What it takes now it gives back, so that the queue's bound holds."""
    async with local_store(1, Limits(disk_reserve_bytes=0, max_queued_writes=1)) as store:
        await store.directory(1)
        server = store.buckets[0].server
        assert server is not None
        bucket, writer = server.bucket, server.bucket.writer
        outlet = Outlet()
        calls = Calls(server, outlet)
        for call in range(3):
            envelope = messages.Envelope(call, 10_000, 0, operations.Put(KEYS[call], b"v", ""))
            now_s = bucket.clock()
            calls.hold(OperationWrite(bucket.state, envelope, calls, now_s + 10, now_s))
        server.held.release()
        assert writer.queued == 3
        await until(lambda: len(outlet.sent) == 3)
        assert [reply.call for reply in outlet.sent] == [0, 1, 2]
        assert all(isinstance(reply.answer, operations.Written) for reply in outlet.sent)
        assert (writer.queued, writer.queued_bytes) == (0, 0)


@run_async
async def test_a_step_that_nobody_awaits_any_more_does_the_others_of_its_group_no_harm() -> None:
    async with local_store(1, TEST_LIMITS) as store:
        await store.directory(1)
        server = store.buckets[0].server
        assert server is not None
        bucket, outlet = server.bucket, Outlet()
        step = NoteWritesWrite(bucket.state, asyncio.get_running_loop().create_future(), b"")
        step.done.cancel()
        put = messages.Envelope(1, 10_000, 0, operations.Put(KEYS[0], b"v", ""))
        write = OperationWrite(bucket.state, put, Calls(server, outlet), 1e18, bucket.clock())
        for queued in (step, write):
            bucket.writer.reserve_own(queued)
        bucket.writer.submit([step, write])
        await until(lambda: len(outlet.sent) == 1)


def test_what_would_have_waited_is_refused_where_its_group_met_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    """No window ends any more that it could wait for, and it has changed nothing."""
    bucket = moving_bucket()

    def damaged(*batch: object) -> None:
        raise StorageDamaged("a block of the log")

    monkeypatch.setattr(bucket.engine, "write", damaged)
    beside = next(key for key in KEYS if placement.bucket_of(key, 2) == 0)
    waits, written = (
        OperationWrite(
            bucket.state, messages.Envelope(call, 1000, 0, operations.Put(key, b"v", "")), NoCaller(), 1e18, 0.0
        )
        for call, key in enumerate((LEAVING_NOW, beside))
    )
    group = bucket._committer.decide([waits, written])
    assert waits.held
    bucket._committer.write(group)
    assert not waits.held
    assert isinstance(waits.answer, messages.Refused)
    assert isinstance(written.answer, messages.Refused)
    assert (waits.answer.reason, written.answer.reason) == ("fault", "unknown")


def test_a_write_to_the_first_key_that_the_mover_reads_is_noted() -> None:
    state = moving_bucket().state
    for key, noted in ((b"a", False), (b"b", True), (b"b\0", True)):
        state.note_writes_from(b"b")
        state.note_write(key)
        assert state.end_noting() is noted


@run_async
async def test_reads_that_waited_go_on_where_the_window_can_not_end() -> None:
    """Damage is met by the batch that would end it: what is there is served as before, and nothing ends the wait later."""
    bucket = LocalBucket(0, TEST_LIMITS)
    identity = bucket.engine.get_fact(IDENTITY)
    assert identity is not None
    topology = Topology(2, 1, 2, "store", (identity.decode(), "one"), move_epoch=2)
    cursor = Cursor(2, b"", LEAVING[0] + b"\0")
    bucket.engine.write(
        [(LEAVING[0], encode(Record(b"v", "", 1, 1, 1)))], [topology_fact(topology), cursor_fact(cursor)]
    )
    await bucket.start()
    try:
        client = await greeted(bucket)
        server = bucket.server
        assert server is not None
        damage_next_facts(bucket, CURSOR)
        server.mover_access.hold_reads()
        client.send(messages.Envelope(1, 60_000, 0, operations.Get(LEAVING[0])))
        await until(lambda: len(server.held) == 1)
        with pytest.raises(StorageDamaged):
            await server.mover_access.advance(cursor, [], [])
        assert len(server.held) == 0
        assert isinstance(await client.receive(), operations.Value)
    finally:
        await bucket.stop_server()
        await bucket.wire.stop()
