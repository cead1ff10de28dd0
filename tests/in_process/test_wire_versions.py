"""A process of this release beside one of the release before, which speaks version 4 of the data plane at most.

What the release before said is kept byte by byte (`tests/support/version_4.py`). Fields have come since, behind those that it
knows: so what is said today is read as that release reads it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from serve_app import outcomes
from serve_app.ballots import Ballot
from serve_app.cursor import Marker
from serve_app.directory.directory import Directory
from serve_app.errors import Unavailable
from serve_app.operations import (
    Answer,
    Counted,
    Delete,
    Deleted,
    Described,
    Expire,
    Get,
    Head,
    Increment,
    IncrementDecimal,
    Put,
    Splice,
    Swap,
    Touch,
    Value,
    Written,
)
from serve_app.operations.body import Body
from serve_app.operations.condition import Condition
from serve_app.outcomes import Outcome
from serve_app.records import Record, encode
from serve_app.settings import Limits
from serve_app.storage.facts import IDENTITY
from serve_app.wire import versions
from serve_app.wire.connection import ClientConnection, connect_tcp, open_connection
from serve_app.wire.endpoint import Endpoint
from serve_app.wire.frames import encode_frame
from serve_app.wire.messages import (
    AcceptLoss,
    Batch,
    Changes,
    Envelope,
    Establish,
    Hello,
    Inspect,
    Install,
    List,
    Moved,
    Reply,
    Status,
    Survey,
    Welcome,
    Window,
)
from serve_app.wire.voting import Accept, Prepare
from tests.support.asking import delete, get, put
from tests.support.local_store import TEST_LIMITS, LocalBucket, run_async, until
from tests.support.old_release import (
    ACCEPTED,
    ANSWERED_TODAY,
    EVERYTHING_SAID,
    INCARNATION,
    RAW,
    SAID,
    STORE,
    TIMEOUT_MS,
    TOKEN,
    OldBucket,
    OldHello,
    OldWelcome,
    old_bucket,
    payload,
    read_call,
    read_frame,
    read_reply,
)
from tests.support.version_4 import EXCHANGES

OLD = versions.CODECS[4]

# -- the bytes themselves --------------------------------------------------------------------------------------------


def test_what_is_kept_is_what_is_known_of() -> None:
    assert list(EXCHANGES) == ["hello", *SAID]
    bodies = {type(said.body) for said in SAID.values()}
    assert bodies == {Get, Head, Put, Delete, Inspect, Install, Establish, Window, AcceptLoss, Survey}, (
        "all that version 4 has"
    )
    assert {said.body.version_needed() for said in SAID.values()} == {4}


@pytest.mark.parametrize(("call", "name", "body", "answer", "epoch"), EVERYTHING_SAID)
def test_version_4_is_read_and_written_as_the_release_before_did(
    call: int, name: str, body: Body[Any], answer: Answer, epoch: int
) -> None:
    kept = EXCHANGES[name]
    envelope, reply = Envelope(call, TIMEOUT_MS, epoch, body), Reply(call, answer)
    assert OLD.decode_call(payload(kept.call)) == envelope
    assert OLD.decode_reply(payload(kept.reply)) == reply
    assert read_call(OLD.encode_call(envelope)) == read_call(kept.call)
    assert read_reply(OLD.encode_reply(reply)) == read_reply(kept.reply)


def begins_with(today: object, before: object) -> bool:
    """As arrays of arrays; what is no array is the same."""
    if not isinstance(today, list) or not isinstance(before, list):
        return today == before
    return len(today) >= len(before) and all(map(begins_with, today, before))


@pytest.mark.parametrize(("call", "name", "body", "answer", "epoch"), EVERYTHING_SAID)
def test_what_came_since_stands_behind_what_the_release_before_sent(
    call: int, name: str, body: Body[Any], answer: Answer, epoch: int
) -> None:
    """Array by array, field by field: where it looks for a field, there is that field."""
    kept = EXCHANGES[name]
    for today, before in (
        (OLD.encode_call(Envelope(call, TIMEOUT_MS, epoch, body)), kept.call),
        (OLD.encode_reply(Reply(call, answer)), kept.reply),
    ):
        *envelope, said = msgspec.msgpack.decode(payload(today))
        *its_envelope, its_own = msgspec.msgpack.decode(payload(before))
        assert envelope == its_envelope
        assert begins_with(said, its_own)


def test_both_ends_of_a_handshake_are_read_by_the_release_before() -> None:
    said = msgspec.msgpack.decode(
        payload(encode_frame(Hello(versions.OLDEST, TOKEN, 0, "zero", versions.NEWEST))), type=OldHello
    )
    assert said == OldHello(4, TOKEN, 0, "zero", versions.NEWEST)
    assert payload(encode_frame(Welcome(0, "zero", INCARNATION, 4))) == payload(EXCHANGES["hello"].reply)
    welcomed = msgspec.msgpack.decode(payload(EXCHANGES["hello"].reply), type=OldWelcome)
    assert welcomed == OldWelcome(0, "zero", INCARNATION, 4)
    assert versions.decode_hello(payload(EXCHANGES["hello"].call)) == Hello(3, TOKEN, 0, "zero", 4)
    assert versions.decode_welcome(payload(EXCHANGES["hello"].reply)) == Welcome(0, "zero", INCARNATION, 4)


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
        bucket.server.bucket.state.now_ms = lambda: 0
        reader, writer = await asyncio.open_connection(*bucket.wire.target)
        writer.write(EXCHANGES["hello"].call)
        assert await read_frame(reader) == EXCHANGES["hello"].reply
        for call, name, _, said, _ in EVERYTHING_SAID:
            writer.write(EXCHANGES[name].call)
            answered = await asyncio.wait_for(read_frame(reader), 10)
            if name in ANSWERED_TODAY:
                expected = read_reply(OLD.encode_reply(Reply(call, ANSWERED_TODAY[name])))
            else:
                expected = read_reply(EXCHANGES[name].reply)
            assert read_reply(answered) == expected, name
            if not isinstance(said, Value | Described | Status | Moved) and name not in ANSWERED_TODAY:
                assert answered == EXCHANGES[name].reply, "nothing has come since"
            if name == "window":
                assert bucket.records[b"k4"] == RAW
                assert bucket.server.bucket.standing.markers == {1: Marker(9, b"k4\0")}
            if name == "window_before_its_epoch":
                assert b"k4" not in bucket.records
        assert heard == [Inspect("a directory", 1)]
        assert bucket.server.bucket.heard_epoch == 12
        writer.close()


@run_async
async def test_calls_that_arrive_together_are_answered_in_version_4_too() -> None:
    async with new_bucket(0, "zero") as bucket:
        reader, writer = await asyncio.open_connection(*bucket.wire.target)
        names = ["hello", "install", "put", "get_missing", "put_again"]
        writer.write(b"".join(EXCHANGES[name].call for name in names))
        await read_frame(reader)
        answered = {await asyncio.wait_for(read_frame(reader), 10) for _ in names[1:]}
        assert {EXCHANGES[name].reply for name in ("put", "put_again")} <= answered
        assert sorted(read_reply(frame).call for frame in answered) == [2, 3, 4, 7]
        writer.close()


@run_async
async def test_what_came_in_an_old_window_never_expires() -> None:
    """A record of the release before says that it never expires, and is taken as it is."""
    async with new_bucket(0, "zero") as bucket:
        reader, writer = await asyncio.open_connection(*bucket.wire.target)
        for name in ("hello", "install", "install_move", "window", "get_moved"):
            writer.write(EXCHANGES[name].call)
            answered = await asyncio.wait_for(read_frame(reader), 10)
        assert read_reply(answered) == read_reply(EXCHANGES["get_moved"].reply)
        assert bucket.records == {b"k4": RAW}
        assert not [name for name, _ in bucket.engine.scan_facts(b"bucket.due/", b"bucket.due0")]
        writer.close()


# -- a new connection, or directory, and an old bucket ---------------------------------------------------------------


async def connected_to(endpoint: Endpoint, identity: str = "") -> tuple[ClientConnection, Welcome]:
    return await open_connection(endpoint, 0, identity, Limits(), connect_tcp)


@run_async
async def test_a_new_connection_asks_an_old_bucket_as_an_old_one_did() -> None:
    """Also as the source of a move whose target is an old bucket."""
    names = iter(SAID)
    async with old_bucket(lambda _: next(names)) as bucket:
        connection, welcome = await connected_to(bucket.endpoint, "zero")
        assert welcome == Welcome(0, "zero", INCARNATION, 4)
        assert bucket.greetings == [OldHello(4, TOKEN, 0, "zero", versions.NEWEST)]
        loop = asyncio.get_running_loop()
        for name, said in SAID.items():
            answer = await connection.call(said.body, loop.time() + TIMEOUT_MS / 1000, said.epoch)
            assert answer == said.answer, name
            sent = bucket.calls[-1]
            assert 0 < sent.timeout_ms <= TIMEOUT_MS
            sent.timeout_ms = TIMEOUT_MS
            assert sent == read_call(EXCHANGES[name].call)
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


NAMED = outcomes.name_of(b"k4", b"once")
OUTCOME = outcomes.encode(Outcome(1, b"digest", b"answer"))
EXPIRING = encode(Record(b"v", "", 5, 1, 2, 3))
#: What the release before would misread, or not know at all.
CAME_LATER: dict[str, Body[Any]] = {
    "a get with a condition": Get(b"k0", condition=Condition(if_none_match=(1,))),
    "a head with a condition": Head(b"k0", condition=Condition()),
    "a head of the bytes": Head(b"k0", as_json=False),
    "a put with a condition": Put(b"k0", b"v", "", condition=Condition(if_match=(1,))),
    "a put that expires in a while": Put(b"k0", b"v", "", ttl_ms=1),
    "a put that expires at a time": Put(b"k0", b"v", "", expires_ms=1),
    "a put of what was made before": Put(b"k0", b"v", "", created_ms=1),
    "a put of what was changed before": Put(b"k0", b"v", "", modified_ms=1),
    "a put that may come again": Put(b"k0", b"v", "", idempotency_key=b"once"),
    "a deletion with a condition": Delete(b"k0", condition=Condition(if_match=(1,))),
    "a deletion without the value": Delete(b"k0", with_value=False),
    "a deletion that may come again": Delete(b"k0", idempotency_key=b"once"),
    "a touch": Touch(b"k0"),
    "an increment": Increment(b"k0"),
    "a window with outcomes": Window(1, b"k4\0", 7, [(b"k4", RAW)], [(NAMED, OUTCOME)]),
    "a window with outcomes alone": Window(1, b"k4\0", 7, [], [(NAMED, OUTCOME)]),
    "a window with a record that expires": Window(1, b"k5\0", 7, [(b"k4", RAW), (b"k5", EXPIRING)]),
    "a batch": Batch([Get(b"k0")]),
    "a list": List(b"", b"", b"", 10, False, False),
    "changes": Changes(0, 0),
}
#: With version 6.
CAME_WITH_6: dict[str, Body[Any]] = {
    "a swap": Swap(b"k0", b"v", ""),
    "a splice": Splice(b"k0", b"v", ""),
    "an expiry of some": Expire(b"k0", 1000),
    "a decimal increment": IncrementDecimal(b"k0"),
    "a splice with a condition": Splice(b"k0", b"v", "", condition=Condition(if_match=(1,))),
    "a batch with such": Batch([Get(b"k0"), Splice(b"k0", b"v", "")]),
}
#: And with version 7.
CAME_LAST: dict[str, Body[Any]] = {
    "a request for a promise": Prepare(ACCEPTED, Ballot(1, "p")),
    "a request for a vote": Accept(ACCEPTED, Ballot(1, "p"), ACCEPTED.name_acceptors((0,))),
}
VERSIONS = {5: CAME_LATER, 6: CAME_WITH_6, 7: CAME_LAST}
CAME_SINCE = [
    pytest.param(body, version, id=name) for version, bodies in VERSIONS.items() for name, body in bodies.items()
]


@pytest.mark.parametrize("body", CAME_LAST.values(), ids=CAME_LAST)
def test_what_came_last_needs_the_newest_version(body: Body[Any]) -> None:
    assert body.version_needed() == versions.NEWEST == 7


@pytest.mark.parametrize(("body", "version"), CAME_SINCE)
@run_async
async def test_what_came_later_is_not_sent_to_an_old_bucket(body: Body[Any], version: int) -> None:
    """It would do something else, or hang up, and with it all that is under way."""
    assert body.version_needed() == version
    async with old_bucket(lambda _: "get") as bucket:
        connection, _ = await connected_to(bucket.endpoint)
        loop = asyncio.get_running_loop()
        with pytest.raises(Unavailable, match=f"the bucket is of an earlier release, which knows no such {body.name}"):
            connection.call(body, loop.time() + 5)
        assert connection.open
        assert connection.calls_open == 0
        assert await connection.call(Get(b"k0"), loop.time() + 5) == SAID["get"].answer
        assert len(bucket.frames) == 1
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
    by_kind = {
        "OldGet": "get",
        "OldPut": "put",
        "OldDelete": "delete",
        "OldInspect": "install",
        "OldInstall": "install",
    }
    async with old_bucket(lambda call: by_kind[type(call.body).__name__]) as old, new_bucket(1, "one") as new:
        directory = Directory(HalfReplaced(old, new), TEST_LIMITS)
        directory.configuration.follow(2)
        await directory.start()
        try:
            await until(lambda: directory.view.topology == STORE)
            await until(lambda: all(link.connected for link in directory.view.links.values()))
            assert (await directory.carry_out(Put(b"k0", b"value", "text/plain")))[:2] == (Written(True, 1), 0)
            assert (await directory.carry_out(Get(b"k0")))[:2] == (Value(b"other", "text/html", 2), 0)
            assert (await directory.carry_out(Delete(b"k0")))[:2] == (Deleted(b"other", "text/html", 3), 0)
            asked = [(call.epoch, call.body) for call in old.calls if type(call.body).__name__ != "OldInspect"]
            assert [each for each in asked if type(each[1]).__name__ != "OldInstall"] == [
                (0, read_call(EXCHANGES[name].call).body) for name in ("put", "get", "delete")
            ]
            assert await put(directory, b"k4", b"v", "text/plain")
            assert await get(directory, b"k4") == b"v"
            assert await delete(directory, b"k4") == b"v"
            await directory.polling.refresh()
            assert directory.view.statuses[0] == SAID["install"].answer
            assert directory.view.statuses[1].topology == STORE, "which the directory has told it"
        finally:
            await directory.stop()


@run_async
async def test_what_came_later_is_carried_out_where_the_store_is_replaced_already() -> None:
    """At once, and refused at once elsewhere: a client that is told so knows that nothing was changed."""
    async with old_bucket(lambda _: "install") as old, new_bucket(1, "one") as new:
        directory = Directory(HalfReplaced(old, new), TEST_LIMITS)
        directory.configuration.follow(2)
        await directory.start()
        try:
            await until(lambda: directory.view.topology == STORE)
            await until(lambda: all(link.connected for link in directory.view.links.values()))
            for later in (Increment, Touch):
                with pytest.raises(Unavailable, match=f"earlier release, which knows no such {later.name}"):
                    await directory.carry_out(later(b"k0"))
            assert (await directory.carry_out(Increment(b"k4", by=3))).answer == Counted(3, 1)
            expiring = Put(b"k4", b"v", "", ttl_ms=60_000, condition=Condition(if_none_match=(-1,)))
            assert (await directory.carry_out(expiring)).answer.revision == 1, "it is there, so nothing was changed"
            assert old.calls
            assert {type(call.body).__name__ for call in old.calls} <= {"OldInspect", "OldInstall"}
        finally:
            await directory.stop()
