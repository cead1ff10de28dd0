"""Where buckets listen: on loopback where that will do, and on their node's address as soon as it does not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from serve_app import operations
from serve_app.cluster.build import Build, build_of
from serve_app.cluster.endpoint_answer import EndpointAnswer
from serve_app.cluster.reaching import first_address, must_be_opened
from serve_app.settings import Settings
from serve_app.wire import messages
from serve_app.wire.endpoint import Endpoint
from tests.support.local_store import run_async
from tests.support.raw_client import connect, greeted, hello, serving

NODE = "10.0.0.7"


def build(*, on_loopback: bool, **settings: Any) -> Build:
    return build_of(Settings(data_dir=Path("data"), **settings), "127.0.0.1" if on_loopback else "")


@pytest.mark.parametrize(
    ("on_loopback", "settings", "address"),
    [
        (True, {}, "127.0.0.1"),
        (False, {}, NODE),
        (True, {"pin_buckets": True}, NODE),
        (True, {"data_plane_host": "node"}, NODE),
        (False, {"data_plane_host": "loopback"}, "127.0.0.1"),
        (False, {"data_plane_host": "loopback", "pin_buckets": True}, "127.0.0.1"),
    ],
)
def test_where_a_bucket_listens_first(on_loopback: bool, settings: dict[str, Any], address: str) -> None:
    assert first_address(build(on_loopback=on_loopback, **settings), NODE) == address


def test_an_api_that_moves_off_loopback_takes_the_buckets_along() -> None:
    assert build(on_loopback=True).fingerprint != build(on_loopback=False).fingerprint


def test_who_has_a_bucket_opened() -> None:
    def answer(address: str, node_id: str) -> EndpointAnswer:
        return EndpointAnswer(Endpoint((address, 1000), "token", "incarnation"), "", False, "fingerprint", 1, node_id)

    assert must_be_opened(answer("127.0.0.1", "there"), "here")
    assert not must_be_opened(answer("127.0.0.1", "here"), "here")
    assert not must_be_opened(answer(NODE, "there"), "here")
    assert not must_be_opened(answer("127.0.0.1", ""), "here"), "made by an earlier release, which can't be opened"
    assert not must_be_opened(EndpointAnswer(None, "a fault", False, "fingerprint", 1, "there"), "here")


@run_async
async def test_a_bucket_that_listens_on_a_further_address_keeps_who_is_connected() -> None:
    async with serving() as bucket:
        early = await greeted(bucket)
        server = bucket.server
        assert server is not None
        further = await server.listen("127.0.0.2")
        assert further.address[0] == "127.0.0.2"
        bucket.wire.target = further.address
        late = await connect(bucket)
        late.send(hello(bucket))
        assert isinstance(await late.receive(), messages.Welcome)
        for number, client in enumerate((early, late)):
            client.send(messages.Envelope(number, 10_000, 0, operations.Put(b"k%d" % number, b"v", "")))
            assert isinstance(await client.receive(), operations.Written)


@run_async
async def test_a_bucket_that_has_stopped_listens_nowhere() -> None:
    async with serving() as bucket:
        server = bucket.server
        assert server is not None
        addresses = [bucket.wire.target, (await server.listen("127.0.0.2")).address]
        await bucket.stop_server()
        for address in addresses:
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(*address)
