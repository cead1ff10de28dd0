"""The data plane under Ray's TLS settings: both ends show a certificate of the same authority, or there is no connection."""

from __future__ import annotations

import asyncio
import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from serve_app.settings import Limits
from serve_app.wire import tls
from serve_app.wire.client import HandshakeRefused, connect_tcp, open_connection
from tests.support.local_store import local_store, run_async

DAY = datetime.timedelta(days=1)


def make_certificates(folder: Path) -> None:
    """An authority (ca.crt) and a certificate by it (node.crt, node.key), as Ray's documentation has people make them."""
    folder.mkdir()
    now = datetime.datetime.now(datetime.UTC)
    authority_key, node_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])

    def certificate(subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, is_authority: bool) -> x509.Certificate:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - DAY)
            .not_valid_after(now + DAY)
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .sign(authority_key, hashes.SHA256())
        )

    node = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "node")])
    pem = serialization.Encoding.PEM
    ca_bytes = certificate(authority, authority_key, is_authority=True).public_bytes(pem)
    (folder / "ca.crt").write_bytes(ca_bytes)
    (folder / "node.crt").write_bytes(certificate(node, node_key, is_authority=False).public_bytes(pem))
    (folder / "node.key").write_bytes(
        node_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


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
            await directory.put(b"key", b"a secret that must not be seen", "")
            assert (await directory.get(b"key")).value == b"a secret that must not be seen"
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


def test_nothing_is_encrypted_where_ray_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_USE_TLS", raising=False)
    assert tls.server_context() is None
    assert tls.client_context() is None
