"""Who subscribes to a bucket's commits is given each, in order, once it is durable, and can harm nobody."""

from __future__ import annotations

import asyncio
import logging
import struct
import threading

import pytest

from serve_app import operations
from serve_app.bucket.calls import Calls
from serve_app.bucket.queued import CalledWrite
from serve_app.bucket.topology_writes import CommitTopologyWrite
from serve_app.changes import DELETE, PUT, Change
from serve_app.errors import StorageDamaged
from serve_app.records import decode
from serve_app.storage.commit import Commit
from serve_app.storage.engine import Changes
from serve_app.storage.facts import CURSOR, MARKERS, TOPOLOGY, TOTALS, topology_fact
from serve_app.topology import Topology
from serve_app.wire import messages
from tests.support.local_store import LocalBucket, run_async, until
from tests.support.raw_client import greeted, serving


def stored_sequence(bucket: LocalBucket) -> int:
    sequence: int = struct.unpack(">QQQQQ", bucket.engine.get_fact(TOTALS) or b"")[3]
    return sequence


def subscribed(bucket: LocalBucket) -> list[Commit]:
    """The commits from now on. One that comes before it is on disk is left out, and missed by whoever looks at them."""
    assert bucket.server is not None
    seen: list[Commit] = []

    def take(commit: Commit) -> None:
        if stored_sequence(bucket) >= commit.sequence:
            seen.append(commit)

    bucket.server.subscribe(take)
    return seen


@run_async
async def test_each_commit_comes_in_order_with_what_it_changed() -> None:
    async with serving() as bucket:
        seen = subscribed(bucket)
        client = await greeted(bucket)
        for call in range(20):
            client.send(
                messages.Envelope(call, 1000, 0, operations.Put(b"k%d" % (call % 3), b"v%d" % call, "text/plain"))
            )
            await client.receive()
        client.send(
            messages.Envelope(20, 1000, 0, operations.Delete(b"k0")),
            messages.Envelope(21, 1000, 0, operations.Delete(b"missing")),
        )
        await client.receive()
        await client.receive()
        assert [commit.sequence for commit in seen] == list(range(1, len(seen) + 1))
        assert [change for commit in seen for change in commit.changes] == [
            *(Change(PUT, b"k%d" % (call % 3), call + 1) for call in range(20)),
            Change(DELETE, b"k0", 21),
        ]
        assert [commit.revision for commit in seen] == [commit.changes[-1].revision for commit in seen]
        changes = [change for commit in seen for change in commit.records]
        assert [key for key, _ in changes] == [b"k%d" % (call % 3) for call in range(20)] + [b"k0"]
        assert [decode(raw).value for _, raw in changes[:-1] if raw] == [b"v%d" % call for call in range(20)]
        assert changes[-1][1] is None
        assert dict(seen[-1].facts)[TOTALS] == bucket.engine.get_fact(TOTALS)
        assert {key: raw for key, raw in dict(changes).items() if raw is not None} == bucket.records


@run_async
async def test_a_topology_is_served_by_when_its_commit_comes() -> None:
    async with serving() as bucket:
        assert bucket.server is not None
        served, own = bucket.server.bucket, bucket.server.bucket.standing.topology
        assert own is not None
        new = Topology(own.epoch + 1, 1, 1, own.store_id, own.identities)
        seen: list[tuple[Commit, Topology | None]] = []
        bucket.server.subscribe(lambda commit: seen.append((commit, served.standing.topology)))
        done = asyncio.get_running_loop().create_future()
        step = CommitTopologyWrite(served.state, done, own, new)
        served.writer.reserve_own(step)
        served.writer.submit([step])
        await done
        ((commit, topology),) = seen
        assert topology == new
        assert commit.records == ()
        assert dict(commit.facts).keys() == {TOPOLOGY, CURSOR, MARKERS, TOTALS}
        assert topology_fact(new) in commit.facts


@run_async
async def test_a_commit_comes_after_the_sync_and_before_the_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as bucket:
        happened: list[str] = []
        begun, let_go = threading.Event(), threading.Event()
        write, finish = bucket.engine.write, Calls.answer

        def slow(records: Changes, facts: Changes) -> None:
            begun.set()
            assert let_go.wait(10)
            write(records, facts)
            happened.append("durable")

        def finishing(self: Calls, write: CalledWrite) -> None:
            happened.append("answered")
            finish(self, write)

        bucket.engine.write = slow  # type: ignore[method-assign]
        monkeypatch.setattr(Calls, "answer", finishing)
        assert bucket.server is not None
        bucket.server.subscribe(lambda commit: happened.append("handed on"))
        client = await greeted(bucket)
        client.send(messages.Envelope(1, 10_000, 0, operations.Put(b"k", b"v", "")))
        await until(begun.is_set)
        assert happened == []
        let_go.set()
        await client.receive()
        assert happened == ["durable", "handed on", "answered"]


@run_async
async def test_what_changes_nothing_or_meets_damage_is_not_handed_on() -> None:
    async with serving() as bucket:
        seen = subscribed(bucket)
        client = await greeted(bucket)
        client.send(messages.Envelope(1, 1000, 0, operations.Delete(b"missing")))
        assert isinstance(await client.receive(), operations.Missing)

        def damaged(records: Changes, facts: Changes) -> None:
            raise StorageDamaged("a block of the log")

        bucket.engine.write = damaged  # type: ignore[method-assign]
        client.send(messages.Envelope(2, 1000, 0, operations.Put(b"k", b"v", "")))
        assert isinstance(await client.receive(), messages.Refused)
        assert seen == []


@run_async
async def test_a_subscriber_that_raises_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as bucket:
        assert bucket.server is not None
        asked: list[int] = []

        def failing(commit: Commit) -> None:
            asked.append(commit.sequence)
            raise ZeroDivisionError

        bucket.server.subscribe(failing)
        seen = subscribed(bucket)
        client = await greeted(bucket)
        with caplog.at_level(logging.ERROR, logger="serve_app"):
            for call in range(3):
                client.send(messages.Envelope(call, 1000, 0, operations.Put(b"k", b"v", "")))
                assert isinstance(await client.receive(), operations.Written)
        assert asked == [commit.sequence for commit in seen] == [1, 2, 3]
        assert [record.getMessage() for record in caplog.records] == ["commit subscriber failed"] * 3
        assert bucket.failures == []


@run_async
async def test_after_a_crash_the_next_subscriber_goes_on_where_the_disk_was() -> None:
    async with serving() as bucket:
        for turn in range(3):
            seen = subscribed(bucket)
            client = await greeted(bucket)
            for call in range(2):
                client.send(messages.Envelope(call, 1000, 0, operations.Put(b"k", b"%d" % turn, "")))
                await client.receive()
            assert [commit.sequence for commit in seen] == [2 * turn + 1, 2 * turn + 2]
            await bucket.crash()
            await bucket.start()
