"""The port-forward over TLS, with the kubeconfig's certificates: as API servers are in earnest."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client import ApiClient, Configuration

from kuberay import forwarder as forwarder_module
from kuberay.forwarder import Forwarder
from tests.kuberay.fake_portforward import FakePortForward
from tests.support.certificates import make_certificates


async def ask(configuration: Any, pods: FakePortForward, folder: Path, text: bytes) -> tuple[bytes, list[str]]:
    """What comes back for the text, and what was said."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "node.crt", folder / "node.key")
    context.load_verify_locations(folder / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED  # clients show a certificate, as kubeconfigs often have one
    said: list[str] = []
    async with pods.served(context) as host:
        configuration.host = host
        forwarder = Forwarder(ApiClient(configuration), "n", 8000, lambda: ["a"], said.append)
        listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(forwarder.run("127.0.0.1", 0, listening.set_result))
        reader, writer = await asyncio.open_connection("127.0.0.1", await listening)
        writer.write(text)
        answer = await reader.readline()
        writer.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return answer, said


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.readline())
    await writer.drain()


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    folder = tmp_path / "certificates"
    make_certificates(folder)
    return folder


@pytest.fixture
def pods() -> FakePortForward:
    fake = FakePortForward()
    fake.pods["a"] = echo
    return fake


def configured(folder: Path, **settings: Any) -> Any:
    configuration: Any = Configuration()
    configuration.ssl_ca_cert = str(folder / "ca.crt")
    configuration.cert_file = str(folder / "node.crt")
    configuration.key_file = str(folder / "node.key")
    for name, value in settings.items():
        setattr(configuration, name, value)
    return configuration


SAYS_OTHER_NAME: dict[str, Any] = {"assert_hostname": False}


@pytest.mark.parametrize("settings", [SAYS_OTHER_NAME, {"verify_ssl": False, "ssl_ca_cert": None}])
def test_bytes_go_both_ways(certificates: Path, pods: FakePortForward, settings: dict[str, Any]) -> None:
    text = b"x" * 50_000 + b"\n"
    answer, said = asyncio.run(ask(configured(certificates, **settings), pods, certificates, text))
    assert answer == text
    assert said == []


def test_a_server_of_somebody_else_is_not_talked_to(
    certificates: Path, pods: FakePortForward, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarder_module, "PATIENCE_S", 0.05)
    configuration = configured(certificates, ssl_ca_cert=None, **SAYS_OTHER_NAME)
    answer, said = asyncio.run(ask(configuration, pods, certificates, b"x\n"))
    assert answer == b""
    assert "the pod a can't be reached: " in said[0]
    assert "CERTIFICATE_VERIFY_FAILED" in said[0]
