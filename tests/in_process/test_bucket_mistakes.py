"""What a bucket makes of its own mistakes, and of damage: one call pays, or the process, and never whoever else is there."""

from __future__ import annotations

import pytest

from serve_app import operations
from serve_app.bucket.calls import Calls
from serve_app.errors import StorageDamaged
from serve_app.storage.engine import Changes
from serve_app.wire import messages
from serve_app.wire.messages import Envelope
from tests.support.local_store import run_async, until
from tests.support.raw_client import greeted, serving


@run_async
async def test_a_mistake_in_the_writer_ends_the_bucket_instead_of_hanging_it() -> None:
    async with serving() as bucket:
        client = await greeted(bucket)

        def broken(records: Changes, facts: Changes) -> None:
            raise ZeroDivisionError

        bucket.engine.write = broken  # type: ignore[method-assign]
        client.send(Envelope(1, 1000, 0, operations.Put(b"k", b"v", "")))
        await until(lambda: len(bucket.failures) == 1)
        assert "ZeroDivisionError" in str(bucket.failures[0])


@run_async
async def test_a_mistake_in_a_reading_thread_is_an_answer() -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        client.send(Envelope(0, 1000, 0, operations.Put(b"k", b"v", "")))
        await client.receive()
        bucket.engine.cold.add(b"k")
        get = bucket.engine.get

        def mistaken(key: bytes) -> bytes | None:
            raise ZeroDivisionError

        bucket.engine.get = mistaken  # type: ignore[method-assign]
        client.send(*(Envelope(call, 60_000, 0, operations.Get(b"k")) for call in range(1, 200)))
        for _ in range(199):
            reply = await client.receive()
            assert isinstance(reply, messages.Refused)
            assert reply.reason == "fault"
        bucket.engine.get = get  # type: ignore[method-assign]
        client.send(Envelope(200, 1000, 0, operations.Get(b"k")))
        assert isinstance(await client.receive(), operations.Value)


@run_async
async def test_a_mistake_on_the_loop_is_an_answer_too(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as bucket:
        client = await greeted(bucket)

        def mistaken(self: operations.Get, raw: bytes | None) -> operations.Missing:
            raise ZeroDivisionError

        monkeypatch.setattr(operations.Get, "answer", mistaken)
        client.send(
            Envelope(1, 10_000, 0, operations.Put(b"k", b"v", "")),
            Envelope(2, 10_000, 0, operations.Get(b"k")),
            Envelope(3, 10_000, 0, operations.Put(b"k", b"w", "")),
        )
        answers = {reply.call: reply.answer for reply in [await client.receive_reply() for _ in range(3)]}
        assert isinstance(answers[2], messages.Refused)
        assert answers[2].reason == "fault"
        assert isinstance(answers[1], operations.Written)
        assert isinstance(answers[3], operations.Written)


@run_async
async def test_a_mistake_of_the_loop_itself_costs_none_of_the_calls_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as bucket:
        assert bucket.server is not None
        writer = bucket.server.bucket.writer
        client = await greeted(bucket)

        def mistaken(self: Calls, envelope: Envelope, arrived_s: float) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(Calls, "_survey", mistaken)
        other = await greeted(bucket)
        other.send(
            Envelope(1, 10_000, 0, operations.Put(b"k", b"v", "")),
            Envelope(2, 10_000, 0, messages.Survey(b"")),
            Envelope(3, 10_000, 0, operations.Put(b"none", b"v", "")),
        )
        assert await other.receive() is None, "who made it happen is hung up on"
        await until(lambda: writer.queued == writer.queued_bytes == 0)
        assert list(bucket.records) == [b"k"]
        client.send(Envelope(1, 10_000, 0, operations.Get(b"k")))
        assert isinstance(await client.receive(), operations.Value), "and nobody else"


@run_async
async def test_damage_met_by_a_write_is_named_and_reads_go_on() -> None:
    """RocksDB takes no more writes once it met damage; the one that met it is of unknown outcome, later ones are refused."""
    async with serving() as bucket:
        client = await greeted(bucket)
        client.send(Envelope(0, 1000, 0, operations.Put(b"k", b"v", "")))
        await client.receive()

        def damaged(records: Changes, facts: Changes) -> None:
            raise StorageDamaged("/data/bucket-0/db/000012.sst is damaged")

        bucket.engine.write = damaged  # type: ignore[method-assign]
        reasons: list[str] = []
        for call in (1, 2):
            client.send(Envelope(call, 1000, 0, operations.Put(b"k", b"w", "")))
            reply = await client.receive()
            assert isinstance(reply, messages.Refused)
            assert "000012.sst" in reply.detail
            reasons.append(reply.reason)
        assert reasons == ["unknown", "fault"]
        client.send(Envelope(3, 1000, 0, operations.Get(b"k")), Envelope(4, 1000, 0, messages.Inspect()))
        value, status = await client.receive(), await client.receive()
        assert isinstance(value, operations.Value)
        assert isinstance(status, messages.Status)
        assert "000012.sst" in status.last_error
        assert bucket.failures == []
