"""The data plane under Ray's TLS settings: both ends show a certificate of the same authority, or there is no connection."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from serve_app.bucket import server as server_module
from serve_app.settings import Limits
from serve_app.wire import tls
from serve_app.wire.connection import HandshakeRefused, connect_tcp, open_connection
from tests.support.asking import get, put
from tests.support.certificates import make_certificates
from tests.support.local_store import local_store, run_async


def use(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("RAY_USE_TLS", "1")
    monkeypatch.setenv("RAY_TLS_CA_CERT", str(folder / "ca.crt"))
    monkeypatch.setenv("RAY_TLS_SERVER_CERT", str(folder / "node.crt"))
    monkeypatch.setenv("RAY_TLS_SERVER_KEY", str(folder / "node.key"))


def test_operations_travel_encrypted_and_strangers_get_no_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_certificates(tmp_path / "ours")
    make_certificates(tmp_path / "theirs")
    use(monkeypatch, tmp_path / "ours")

    @run_async
    async def check() -> None:
        async with local_store(1) as store:
            directory = await store.directory()
            await put(directory, b"key", b"a secret that must not be seen", "")
            assert await get(directory, b"key") == b"a secret that must not be seen"
            endpoint = store.buckets[0].endpoint
            assert endpoint is not None

            reader, writer = await asyncio.open_connection(*endpoint.address)  # in the clear
            writer.write(b"\0\0\0\1\x90")
            assert (await reader.read())[:1] in (b"", b"\x15"), "nothing, or a TLS alert (RFC 8446, 6)"
            writer.close()
            monkeypatch.setenv("RAY_USE_TLS", "0")
            with pytest.raises((HandshakeRefused, OSError)):
                await open_connection(endpoint, 0, "", Limits(), connect_tcp)
            use(monkeypatch, tmp_path / "theirs")
            with pytest.raises(OSError, match="certificate"):
                await open_connection(endpoint, 0, "", Limits(), connect_tcp)
            use(monkeypatch, tmp_path / "ours")
            connection, welcome = await open_connection(endpoint, 0, "", Limits(), connect_tcp)
            assert welcome.bucket_id == 0
            connection.close()

    check()


def test_who_does_not_finish_the_handshake_is_hung_up_on_and_keeps_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_certificates(tmp_path / "ours")
    use(monkeypatch, tmp_path / "ours")
    monkeypatch.setattr(server_module, "HANDSHAKE_TIMEOUT_S", 0.5)

    @run_async
    async def check() -> None:
        async with local_store(1) as store:
            endpoint = store.buckets[0].endpoint
            assert endpoint is not None
            strangers = [await asyncio.open_connection(*endpoint.address) for _ in range(300)]
            directory = await store.directory()
            await put(directory, b"key", b"v", "")
            async with asyncio.timeout(20):  # asyncio's own patience is 60 s
                for reader, _ in strangers:
                    assert await reader.read() == b"", "nothing was said, and then it was closed"

    check()


def test_nothing_is_encrypted_where_ray_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_USE_TLS", raising=False)
    assert tls.server_context() is None
    assert tls.client_context() is None
