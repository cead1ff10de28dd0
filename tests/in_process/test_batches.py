"""Many operations in one message: each is answered as if it had come alone, in order."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from serve_app.bucket import batch_room
from serve_app.operations import Counted, Delete, Deleted, Get, Head, Increment, Missing, NotMet, Put, Touch, Written
from serve_app.operations.condition import ANY, Condition
from serve_app.placement import bucket_of
from serve_app.records import decode
from serve_app.settings import Limits
from serve_app.storage.engine import Changes as EngineChanges
from serve_app.topology import Topology
from serve_app.wire.messages import MAX_BATCH, Batch, BatchAnswered, Envelope, Install, Moved, Refused
from tests.support.clock import Clock
from tests.support.local_store import run_async, until
from tests.support.raw_client import RawClient, greeted, serving

STAYS, LEAVES = (
    next(key for key in (b"k%d" % number for number in range(100)) if bucket_of(key, 2) == home) for home in (0, 1)
)


async def ask(client: RawClient, *operations: Any, epoch: int = 0) -> list[Any]:
    """The answers to a batch of these."""
    (answered,) = await client.ask(Batch(list(operations)), epoch=epoch)
    assert isinstance(answered, BatchAnswered), answered
    assert len(answered.answers) == len(operations)
    return answered.answers


def values(answers: list[Any]) -> list[bytes | None]:
    return [getattr(answer, "value", None) for answer in answers]


@run_async
async def test_what_stands_later_sees_what_stands_earlier() -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        writes = bucket.engine.writes
        answers = await ask(
            client,
            Get(b"k"),
            Put(b"k", b"1", ""),
            Get(b"k"),
            Increment(b"k"),
            Head(b"k"),
            Put(b"k", b"9", "", condition=Condition(if_match=(1,))),
            Delete(b"k", with_value=False),
            Get(b"k"),
            Touch(b"k"),
            Put(b"k", b"last", "", condition=Condition(if_none_match=(ANY,))),
        )
        assert values(answers[:3]) == [None, None, b"1"]
        assert answers[3] == Counted(2, 2)
        assert answers[4].revision == 2
        assert answers[5] == NotMet(2, answers[4].modified_ms)
        assert answers[6:] == [Deleted(b"", "", 3), Missing(), Missing(), Written(True, 4)]
        assert bucket.engine.writes == writes + 1, "one sync for all"
        assert decode(bucket.records[b"k"]).value == b"last"


@pytest.mark.parametrize("cold", [False, True], ids=["in memory", "on disk"])
@run_async
async def test_reads_alone_wait_for_no_writer(cold: bool) -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        keys = [b"k%03d" % number for number in range(MAX_BATCH)]
        await ask(client, *(Put(key, b"v" + key, "") for key in keys[::2]))
        bucket.engine.cold = set(keys) if cold else set()
        let_go, write = threading.Event(), bucket.engine.write

        def held(records: EngineChanges, facts: EngineChanges) -> None:
            assert let_go.wait(10)
            write(records, facts)

        bucket.engine.write = held  # type: ignore[method-assign]
        writer = await greeted(bucket)
        writer.send(Envelope(1, 20_000, 0, Put(keys[0], b"later", "")))
        answers = await ask(client, *map(Get, keys))
        assert values(answers) == [None if number % 2 else b"v" + key for number, key in enumerate(keys)]
        let_go.set()
        assert await writer.receive() == Written(False, 501)


@run_async
async def test_one_that_is_refused_keeps_none_of_the_others() -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        await ask(client, Put(b"text", b"v", ""), Put(b"bad", b"v", ""))
        bucket.engine.damaged = {b"bad"}
        answers = await ask(
            client, Put(b"a", b"v", ""), Increment(b"text"), Get(b"bad"), Put(b"bad", b"w", ""), Put(b"b", b"v", "")
        )
        assert [getattr(answer, "reason", None) for answer in answers] == [None, "not-a-number", "fault", "fault", None]
        assert (answers[0], answers[4]) == (Written(True, 3), Written(True, 4))
        answers = await ask(client, Get(b"a"), Get(b"bad"), Get(b"none"), Get(b"text"))
        assert values(answers) == [b"v", None, None, b"v"]
        assert (answers[1].reason, answers[2]) == ("fault", Missing())
        assert "bad" in bucket.server.bucket.last_error  # type: ignore[union-attr]


@run_async
async def test_a_full_disk_refuses_those_that_need_space() -> None:
    async with serving(Limits(disk_reserve_bytes=10)) as bucket:
        client = await greeted(bucket)
        await ask(client, Put(b"k", b"v", ""), Put(b"other", b"v", ""))
        bucket.engine.free = 9
        answers = await ask(
            client, Put(b"new", b"v", ""), Delete(b"k", with_value=False), Get(b"other"), Increment(b"n")
        )
        assert [getattr(answer, "reason", None) for answer in answers] == ["disk-full", None, None, "disk-full"]
        assert answers[1] == Deleted(b"", "", 3)
        assert answers[2].value == b"v"
        assert bucket.records.keys() == {b"other"}


@pytest.mark.parametrize(
    "operations",
    [
        [],
        [Get(b"k")] * (MAX_BATCH + 1),
        [Put(b"k", b"v", ""), Get(b"")],
        [Put(b"k", b"v", ""), Put(b"j", b"v", "x" * 300)],
        [Put(b"k", b"v", ""), Delete(b"k", idempotency_key=b"not visible")],
        [Put(b"k", b"v", ""), Delete(b"k")],
    ],
    ids=[
        "none",
        "too many",
        "without a key",
        "with what is no type",
        "with what names no request",
        "with a large answer",
    ],
)
@run_async
async def test_one_that_no_directory_would_send_is_refused_whole(operations: list[Any]) -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        (refused,) = await client.ask(Batch(operations))
        assert isinstance(refused, Refused)
        assert refused.reason == "invalid"
        assert bucket.records == {}


@pytest.mark.parametrize("writes", [False, True], ids=["reads alone", "with a write"])
@run_async
async def test_an_answer_has_as_many_bytes_as_a_message_may_have(writes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit is refused alone; what is smaller and comes later may fit again."""
    monkeypatch.setattr(batch_room, "MAX_ANSWER_BYTES", 100)
    async with serving() as bucket:
        client = await greeted(bucket)
        sizes = {b"a": 60, b"b": 50, b"c": 40, b"d": 1}
        await ask(client, *(Put(key, b"x" * size, "") for key, size in sizes.items()))
        answers = await ask(client, *map(Get, sizes), *([Put(b"new", b"v", "")] if writes else []))
        assert [getattr(answer, "reason", None) for answer in answers[:4]] == [None, "too-large", None, "too-large"]
        assert [len(value or b"") for value in values(answers[:4])] == [60, 0, 40, 0]
        assert (b"new" in bucket.records) == writes


@run_async
async def test_no_more_values_are_in_memory_than_are_answered_and_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand values of 25 MiB would end the process."""
    monkeypatch.setattr(batch_room, "MAX_ANSWER_BYTES", 3000)
    async with serving() as bucket:
        client = await greeted(bucket)
        keys = [b"k%d" % number for number in range(100)]
        await ask(client, *(Put(key, b"x" * 1000, "") for key in keys))
        at_once: list[int] = []
        get_many = bucket.engine.get_many

        def counted(keys: Sequence[bytes]) -> list[bytes | None]:
            at_once.append(len(keys))
            return get_many(keys)

        bucket.engine.get_many = counted  # type: ignore[method-assign]
        answers = await ask(client, *map(Get, keys))
        assert sum(at_once) == 100
        assert max(at_once) <= 16
        assert [getattr(answer, "reason", None) for answer in answers] == [None] * 3 + ["too-large"] * 97


@run_async
async def test_keys_that_live_elsewhere_are_answered_so() -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        identity = bucket.server.bucket.identity  # type: ignore[union-attr]
        topology = Topology(2, 2, 2, "store", (identity, "other"))
        await client.ask(Install(topology))
        for operations in ([Get(STAYS), Get(LEAVES)], [Put(STAYS, b"v", ""), Put(LEAVES, b"v", ""), Get(LEAVES)]):
            answers = await ask(client, *operations)
            assert not isinstance(answers[0], Moved)
            assert answers[1:] == [Moved(topology)] * len(answers[1:])
        assert bucket.records.keys() == {STAYS}


@pytest.mark.parametrize("writes", [False, True], ids=["reads alone", "with a write"])
@run_async
async def test_while_one_of_its_keys_is_being_moved_all_of_it_waits(writes: bool) -> None:
    """Nothing of it is done meanwhile; then each is judged anew."""
    clock = Clock()
    async with serving(platform=clock.platform()) as bucket:
        assert bucket.server is not None
        client = await greeted(bucket)
        inner = bucket.server.bucket
        await ask(client, Put(STAYS, b"v", ""), Put(LEAVES, b"v", ""))
        moving = Topology(2, 1, 2, "store", (inner.identity, "other"), move_epoch=2)
        await client.ask(Install(moving))
        access = bucket.server.mover_access
        before = access.cursor
        assert before is not None
        cursor, _ = await access.intend(before, LEAVES + b"\0")
        access.hold_reads()
        batch = Batch([Put(STAYS, b"new", "") if writes else Get(STAYS), Get(LEAVES)])
        client.send(Envelope(7, 20_000, 0, batch))
        reply = asyncio.create_task(client.receive_reply())
        await until(lambda: len(bucket.server.held) == 1)  # type: ignore[union-attr]
        assert not reply.done()
        assert decode(bucket.records[STAYS]).value == b"v"
        await access.advance(cursor, [(LEAVES, bucket.records[LEAVES])], [])
        answers = (await reply).answer.answers
        assert answers[0] == Written(False, 3) if writes else answers[0].value == b"v"
        assert answers[1] == Moved(moving, LEAVES + b"\0")
        assert bucket.records.keys() == {STAYS}


@run_async
async def test_one_whose_deadline_has_passed_is_not_begun() -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        client.send(Envelope(1, 0, 0, Batch([Put(b"k", b"v", "")])))
        refused = await client.receive()
        assert isinstance(refused, Refused)
        assert refused.reason == "expired"
        client.send(Envelope(2, 0, 0, Batch([Get(b"k")])))
        answered = await client.receive()
        assert isinstance(answered, BatchAnswered)
        assert [answer.reason for answer in answered.answers] == ["expired"]
        assert bucket.records == {}
