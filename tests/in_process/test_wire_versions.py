"""Releases beside each other: which version of the data plane two peers speak, and each with a peer that speaks 3 alone.

What the release before said is kept byte by byte (`tests/support/version_3.py`).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from serve_app.cursor import Marker
from serve_app.directory.directory import Directory
from serve_app.errors import Unavailable
from serve_app.operations import Answer, Delete, Deleted, Get, Head, Put, Value, Written
from serve_app.operations.body import Body
from serve_app.settings import Limits
from serve_app.storage.facts import IDENTITY
from serve_app.wire import versions
from serve_app.wire.connection import ClientConnection, HandshakeRefused, connect_tcp, open_connection
from serve_app.wire.endpoint import Endpoint
from serve_app.wire.frames import encode_frame
from serve_app.wire.messages import (
    AcceptLoss,
    Envelope,
    Establish,
    Hello,
    Inspect,
    Install,
    Reply,
    Status,
    Survey,
    Welcome,
    Window,
)
from tests.support.asking import delete, get, put
from tests.support.local_store import TEST_LIMITS, LocalBucket, local_store, run_async, until
from tests.support.old_release import (
    EVERYTHING_SAID,
    INCARNATION,
    RAW,
    SAID,
    STORE,
    TIMEOUT_MS,
    TOKEN,
    OldBucket,
    OldHello,
    OldStatus,
    OldWelcome,
    old_bucket,
    payload,
    read_frame,
)
from tests.support.quick_moves import filled, move_quickly, settled
from tests.support.raw_client import connect, hello, serving
from tests.support.version_3 import EXCHANGES

# -- the bytes themselves --------------------------------------------------------------------------------------------


def test_what_is_kept_is_what_is_known_of() -> None:
    assert list(EXCHANGES) == ["hello", *SAID]
    bodies = {type(said.body) for said in SAID.values()}
    assert bodies == {Get, Put, Delete, Inspect, Install, Establish, Window, AcceptLoss, Survey}, (
        "all that version 3 has"
    )


@pytest.mark.parametrize(("call", "name", "body", "answer", "epoch"), EVERYTHING_SAID)
def test_version_3_is_read_and_written_as_the_release_before_did(
    call: int, name: str, body: Body[Any], answer: Answer, epoch: int
) -> None:
    kept, codec = EXCHANGES[name], versions.CODECS[3]
    envelope, reply = Envelope(call, TIMEOUT_MS, epoch, body), Reply(call, answer)
    assert codec.decode_call(payload(kept.call)) == envelope
    assert codec.encode_call(envelope) == kept.call
    assert codec.decode_reply(payload(kept.reply)) == reply
    assert codec.encode_reply(reply) == kept.reply


def test_a_call_whose_epoch_was_left_out_has_none() -> None:
    """Fields at the end have defaults: one that the release before did not know either."""
    for frame in ([1, 7, 1000, b"k"], [2, 7, 1000, b"k", b"v", ""], [3, 7, 1000, b"k"], [4, 7, 1000]):
        envelope = versions.CODECS[3].decode_call(payload(encode_frame(frame)))
        assert (envelope.call, envelope.timeout_ms, envelope.epoch) == (7, 1000, 0)


def test_of_fields_that_nobody_reads_nothing_is_made() -> None:
    """A map whose key is a map can't even be: the release before read past it as well, and so does version 4."""
    unreadable = msgspec.Raw(b"\x81\x80\x00")
    decode_call, decode_reply = versions.CODECS[3].decode_call, versions.CODECS[3].decode_reply
    call = decode_call(payload(encode_frame([1, 7, 1000, b"k", 9, unreadable])))
    assert call == Envelope(7, 1000, 9, Get(b"k"))
    assert decode_reply(payload(encode_frame([3, 7, True, 1, unreadable]))) == Reply(7, Written(True, 1))
    with pytest.raises(msgspec.ValidationError):
        decode_call(payload(encode_frame([1, 7, 1000, b"k", 0] + [0] * 100)))


@pytest.mark.parametrize(
    "frame", [[1, 7, 1000, "aGVsbG8=", 0], [1, 7, 1000, b"k", "0"], [1, 7, 1000], [True, 7, 1000, b"k"]]
)
def test_what_the_release_before_would_not_have_read_is_no_call(frame: list[object]) -> None:
    """Among it text in place of a key, which must not be taken for one in base64."""
    with pytest.raises((msgspec.ValidationError, ValueError)):
        versions.CODECS[3].decode_call(payload(encode_frame(frame)))


@pytest.mark.parametrize("frame", [[1, 7, "aGVsbG8=", "", 1], [1, 7], [1], [10, 7], {}, 7])
def test_what_the_release_before_would_not_have_read_is_no_reply(frame: object) -> None:
    with pytest.raises((msgspec.ValidationError, ValueError)):
        versions.CODECS[3].decode_reply(payload(encode_frame(frame)))


def test_both_ends_of_a_handshake_are_read_by_the_release_before() -> None:
    said = msgspec.msgpack.decode(
        payload(encode_frame(Hello(versions.OLDEST, TOKEN, 0, "zero", versions.NEWEST))), type=OldHello
    )
    assert said == OldHello(3, TOKEN, 0, "zero")
    welcomed = msgspec.msgpack.decode(payload(encode_frame(Welcome(0, "zero", INCARNATION, 3))), type=OldWelcome)
    assert welcomed == OldWelcome(0, "zero", INCARNATION)
    assert versions.decode_hello(payload(EXCHANGES["hello"].call)) == Hello(3, TOKEN, 0, "zero")
    assert versions.decode_welcome(payload(EXCHANGES["hello"].reply)) == Welcome(0, "zero", INCARNATION)


# -- an old directory, or source of a move, and a new bucket ---------------------------------------------------------


@asynccontextmanager
async def new_bucket(bucket_id: int, identity: str) -> AsyncIterator[LocalBucket]:
    """One that has no topology yet, and the token and incarnation of the kept exchanges."""
    bucket = LocalBucket(bucket_id, TEST_LIMITS)
    bucket.engine.write([], [(IDENTITY, identity.encode())])
    await bucket.start()
    try:
        assert bucket.server is not None
        bucket.server.token, bucket.server.bucket.incarnation = TOKEN, INCARNATION
        yield bucket
    finally:
        await bucket.stop_server()
        await bucket.wire.stop()


@run_async
async def test_a_new_bucket_answers_an_old_directory_as_an_old_bucket_did() -> None:
    """Also as the target of an old source: of its windows, which are taken in their very epoch."""
    async with new_bucket(0, "zero") as bucket:
        assert bucket.server is not None
        heard: list[Inspect] = []
        bucket.server.heard = heard.append
        reader, writer = await asyncio.open_connection(*bucket.wire.target)
        writer.write(EXCHANGES["hello"].call)
        welcome = payload(await read_frame(reader))
        assert msgspec.msgpack.decode(welcome, type=OldWelcome) == OldWelcome(0, "zero", INCARNATION)
        for name, said in SAID.items():
            writer.write(EXCHANGES[name].call)
            answered = await asyncio.wait_for(read_frame(reader), 10)
            assert answered == EXCHANGES[name].reply, name
            if isinstance(said.answer, Status):
                read = msgspec.msgpack.decode(payload(answered), type=OldStatus)
                assert msgspec.structs.astuple(read)[1:] == msgspec.structs.astuple(said.answer)
            if name == "window":
                assert bucket.records[b"k4"] == RAW
                assert bucket.server.bucket.standing.markers == {1: Marker(9, b"k4\0")}
            if name == "window_before_its_epoch":
                assert b"k4" not in bucket.records
        assert heard == [Inspect("a directory", 1)]
        assert bucket.server.bucket.heard_epoch == 12
        writer.close()


@run_async
async def test_calls_that_arrive_together_are_answered_in_version_3_too() -> None:
    async with new_bucket(0, "zero") as bucket:
        reader, writer = await asyncio.open_connection(*bucket.wire.target)
        names = ["hello", "install", "put", "get_missing", "put_again"]
        writer.write(b"".join(EXCHANGES[name].call for name in names))
        await read_frame(reader)
        answered = {await asyncio.wait_for(read_frame(reader), 10) for _ in names[1:]}
        assert {EXCHANGES[name].reply for name in ("put", "put_again")} <= answered
        codec = versions.CODECS[3]
        assert sorted(codec.decode_reply(payload(frame)).call for frame in answered) == [2, 3, 4, 6]
        writer.close()


# -- a new connection, or directory, and an old bucket ---------------------------------------------------------------


async def connected_to(endpoint: Endpoint, identity: str = "") -> tuple[ClientConnection, Welcome]:
    return await open_connection(endpoint, 0, identity, Limits(), connect_tcp)


@run_async
async def test_a_new_connection_asks_an_old_bucket_as_an_old_one_did() -> None:
    names = iter(SAID)
    async with old_bucket(lambda _: next(names)) as bucket:
        connection, welcome = await connected_to(bucket.endpoint, "zero")
        assert welcome == Welcome(0, "zero", INCARNATION)
        loop = asyncio.get_running_loop()
        for name, said in SAID.items():
            answer = await connection.call(said.body, loop.time() + TIMEOUT_MS / 1000, said.epoch)
            assert answer == said.answer, name
            sent = bucket.calls[-1]
            assert 0 < sent[2] <= TIMEOUT_MS
            assert encode_frame([*sent[:2], TIMEOUT_MS, *sent[3:]]) == EXCHANGES[name].call
        connection.close()


class HalfReplaced:
    """A control plane's answer of a store in which bucket 0 is of the release before, and bucket 1 of this one."""

    def __init__(self, old: OldBucket, new: LocalBucket) -> None:
        self._old, self._new = old, new

    async def ids(self) -> list[int]:
        return [0, 1]

    async def resolve(self, bucket_id: int) -> Endpoint:
        if bucket_id == 0:
            return self._old.endpoint
        return Endpoint(self._new.wire.target, TOKEN, INCARNATION)


@run_async
async def test_what_came_later_is_not_sent_to_an_old_bucket() -> None:
    """It would hang up, and with it all that is under way."""
    async with old_bucket(lambda _: "get") as bucket:
        connection, _ = await connected_to(bucket.endpoint)
        with pytest.raises(Unavailable, match="an earlier release, which knows no head"):
            connection.call(Head(b"k"), asyncio.get_running_loop().time() + 5)
        assert connection.open
        assert bucket.calls == []
        connection.close()


@pytest.mark.parametrize("wrong", ["get_elsewhere", "get"])
@run_async
async def test_a_bucket_that_answers_something_else_keeps_no_other_from_being_asked(wrong: str) -> None:
    async with old_bucket(lambda _: wrong) as old, new_bucket(1, "one") as new:
        directory = Directory(HalfReplaced(old, new), TEST_LIMITS)
        directory.configuration.follow(2)
        await directory.start()
        try:
            directory.view.ensure_links(range(2))
            await until(lambda: all(link.connected for link in directory.view.links.values()))
            await directory.polling.refresh()
            assert [status.bucket_id for status in directory.view.statuses.values()] == [1]
            with pytest.raises(Unavailable, match="bucket-0 answered"):
                await directory.view.links[0].ask(Inspect("a directory", 1), 5)
        finally:
            await directory.stop()


@run_async
async def test_a_new_directory_serves_a_store_that_is_half_replaced() -> None:
    by_tag = {1: "get", 2: "put", 3: "delete", 4: "install", 5: "install"}
    async with old_bucket(lambda call: by_tag[call[0]]) as old, new_bucket(1, "one") as new:
        directory = Directory(HalfReplaced(old, new), TEST_LIMITS)
        directory.configuration.follow(2)
        await directory.start()
        try:
            await until(lambda: directory.view.topology == STORE)
            await until(lambda: all(link.connected for link in directory.view.links.values()))
            assert (await directory.carry_out(Put(b"k0", b"value", "text/plain")))[:2] == (Written(True, 1), 0)
            assert (await directory.carry_out(Get(b"k0")))[:2] == (Value(b"other", "text/html", 2), 0)
            assert (await directory.carry_out(Delete(b"k0")))[:2] == (Deleted(b"other", "text/html", 3), 0)
            assert [call[3:] for call in old.calls if call[0] < 4] == [
                [b"k0", b"value", "text/plain", 0],
                [b"k0", 0],
                [b"k0", 0],
            ]
            assert await put(directory, b"k4", b"v", "text/plain")
            assert await get(directory, b"k4") == b"v"
            assert await delete(directory, b"k4") == b"v"
            await directory.polling.refresh()
            assert directory.view.statuses[0] == SAID["install"].answer
            assert directory.view.statuses[1].topology == STORE, "which the directory has told it"
        finally:
            await directory.stop()


# -- which version -----------------------------------------------------------------------------------------------------

#: The caller's oldest and newest (0: it does not say), and what comes of it.
NEGOTIATED = [
    ((3, 0), 3),
    ((3, 3), 3),
    ((3, 4), 4),
    ((3, 9), 4),
    ((4, 0), 4),
    ((4, 4), 4),
    ((4, 5), 4),
    ((2, 3), 3),
    ((1, 9), 4),
    ((5, 0), None),
    ((5, 6), None),
    ((2, 0), None),
    ((2, 2), None),
    ((0, 0), None),
    ((4, 3), None),
]


@pytest.mark.parametrize(("spoken", "agreed"), NEGOTIATED)
@run_async
async def test_a_bucket_speaks_the_highest_version_that_both_know_or_hangs_up(
    spoken: tuple[int, int], agreed: int | None
) -> None:
    async with serving() as bucket:
        assert bucket.server is not None
        good = hello(bucket)
        client = await connect(bucket)
        client.send(Hello(spoken[0], good.token, 0, good.identity, spoken[1]))
        welcome = await client.receive()
        if agreed is None:
            assert welcome is None
            return
        assert welcome == Welcome(0, good.identity, bucket.server.bucket.incarnation, agreed)
        codec = versions.CODECS[agreed]
        client.writer.write(codec.encode_call(Envelope(5, 1000, 0, Put(b"k", b"v", ""))))
        assert await client.receive_reply() == Reply(5, Written(True, 1))
        other = next(version for version in versions.CODECS if version != agreed)
        client.writer.write(versions.CODECS[other].encode_call(Envelope(6, 1000, 0, Put(b"k", b"v", ""))))
        assert await client.receive() is None, "from then on it speaks no other"
        assert bucket.server.bucket.totals.revision == 1


#: What a Welcome names (0: nothing), and the version of the calls that follow.
WELCOMED = [(0, 3), (3, 3), (4, 4), (1, None), (2, None), (5, None), (-1, None)]


@pytest.mark.parametrize(("named", "spoken"), WELCOMED)
@run_async
async def test_a_caller_speaks_the_version_that_it_is_welcomed_in_or_closes_the_connection(
    named: int, spoken: int | None
) -> None:
    frames: list[bytes] = []
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_frame(reader)
        writer.write(encode_frame(Welcome(0, "zero", INCARNATION, named)))
        try:
            frames.append(await read_frame(reader))
            await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        gone.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    endpoint = Endpoint((host, port), TOKEN, INCARNATION)
    if spoken is None:
        with pytest.raises(HandshakeRefused):
            await connected_to(endpoint)
    else:
        connection, _ = await connected_to(endpoint)
        connection.call(Get(b"k"), asyncio.get_running_loop().time() + 1, epoch=7)
        await until(lambda: bool(frames))
        envelope = versions.CODECS[spoken].decode_call(payload(frames[0]))
        assert (envelope.call, envelope.epoch, envelope.body) == (1, 7, Get(b"k"))
        connection.close()
    await asyncio.wait_for(gone.wait(), 5)
    assert len(frames) == (spoken is not None)
    server.close()


# -- whole stores ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spoken", [(3,), (3, 4)], ids=["3 alone", "3 and 4 in turns"])
@run_async
async def test_a_store_whose_processes_speak_version_3_moves_its_keys(
    spoken: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every connection speaks one or the other, as between processes of which some have been replaced."""
    move_quickly(monkeypatch)
    agreed: list[int] = []
    in_turns = itertools.cycle(spoken)

    def agree(greeting: Hello) -> int | None:
        agreed.append(next(in_turns))
        return agreed[-1]

    monkeypatch.setattr(versions, "agreed_version", agree)
    keys = [b"key-%03d" % number for number in range(100)]
    async with local_store(3) as store:
        directory = await filled(store, 1, keys)
        other = await store.directory(1)
        for count in (3, 2):
            for each in (directory, other):
                each.configuration.follow(count)
            await until(lambda count=count: settled(directory, count) and settled(other, count), 30)  # type: ignore[misc]
            for key in keys:
                assert await get(other, key) == b"v" * 100
                assert not await put(directory, key, b"v" * 100, "text/plain")
        assert sum(len(bucket.records) for bucket in store.buckets) == len(keys)
        assert store.buckets[0].records
        assert store.buckets[1].records
    assert set(agreed) == set(spoken)
