"""The port-forward of `open`, against a fake of the API server's side of it."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from kubernetes.client import ApiClient, Configuration

from kuberay import forwarder as forwarder_module
from kuberay.commands.open import open_store
from kuberay.forwarder import Forwarder
from serve_app.command_output.failure import Failure
from tests.kuberay.fake_kubernetes import FakeKubernetes
from tests.kuberay.fake_portforward import FakePortForward
from tests.kuberay.stage import stage

Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class Bench:
    """A forwarder in front of pods."""

    def __init__(
        self, pods: FakePortForward, port: int, said: list[str], ready: list[str | Failure], forwarder: Forwarder
    ) -> None:
        self.pods = pods
        self.forwarder = forwarder
        self.said = said
        self.ready = ready
        self._port = port

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self._port)

    async def ask(self, text: bytes = b"hello\n") -> bytes:
        """One line there, one back, on a connection of its own."""
        reader, writer = await self.connect()
        writer.write(text)
        answer = await reader.readline()
        writer.close()
        return answer


@asynccontextmanager
async def bench(pods: FakePortForward, *, token: str = "") -> AsyncIterator[Bench]:
    said: list[str] = []
    ready: list[str | Failure] = [*sorted(pods.pods)]

    def ready_pods() -> list[str]:
        names = []
        for entry in ready:
            if isinstance(entry, Failure):
                raise entry
            names.append(entry)
        return names

    async with pods.served() as host:
        configuration: Any = Configuration()
        configuration.host = host
        if token:
            configuration.api_key["authorization"] = f"Bearer {token}"
        forwarder = Forwarder(ApiClient(configuration), "n", 8000, ready_pods, said.append)
        listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(forwarder.run("127.0.0.1", 0, listening.set_result))
        try:
            yield Bench(pods, await listening, said, ready, forwarder)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.01)


def echo(name: str) -> Any:
    """A pod that answers each line with its name and the line."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(name.encode() + b" " + line)
        writer.close()

    return handle


def pods_of(**handlers: Any) -> FakePortForward:
    pods = FakePortForward()
    pods.pods = handlers
    return pods


def test_bytes_go_both_ways_with_the_token() -> None:
    async def scene() -> None:
        async with bench(pods_of(a=echo("a")), token="secret") as on:
            assert await on.ask() == b"a hello\n"
            assert on.pods.headers[0]["Authorization"] == "Bearer secret"

    asyncio.run(scene())


def test_connections_take_turns() -> None:
    async def scene() -> None:
        async with bench(pods_of(a=echo("a"), b=echo("b"))) as on:
            answers = [await on.ask() for _ in range(6)]
            assert answers.count(b"a hello\n") == answers.count(b"b hello\n") == 3

    asyncio.run(scene())


def test_many_kept_alive_connections_at_once() -> None:
    async def client(on: Bench, number: int) -> None:
        reader, writer = await on.connect()
        for request in range(300):
            writer.write(f"{number} {request}\n".encode())
            assert (await reader.readline()).endswith(f" {number} {request}\n".encode())
        writer.close()

    async def scene() -> None:
        async with bench(pods_of(a=echo("a"), b=echo("b"))) as on:
            await asyncio.gather(*(client(on, number) for number in range(32)))
            assert on.pods.dialed == {"a": 16, "b": 16}
            assert on.said == []

    asyncio.run(scene())


def test_a_pod_that_goes_takes_only_its_own_connections() -> None:
    async def scene() -> None:
        async with bench(pods_of(a=echo("a"), b=echo("b"))) as on:
            connections = [await on.connect() for _ in range(2)]
            names = []
            for reader, writer in connections:
                writer.write(b"x\n")
                names.append((await reader.readline())[:1])
            assert sorted(names) == [b"a", b"b"]
            await on.pods.kill("a")
            for name, (reader, writer) in zip(names, connections, strict=True):
                writer.write(b"y\n")
                assert await reader.readline() == (b"" if name == b"a" else b"b y\n")
            assert {await on.ask() for _ in range(4)} == {b"b hello\n"}
            assert any(line.startswith("the pod a can't be reached: ") for line in on.said)

    asyncio.run(scene())


def test_a_pod_that_does_not_answer_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarder_module, "_CONNECT_TIMEOUT_S", 0.05)

    async def scene() -> None:
        pods = pods_of(a=echo("a"), b=echo("b"))
        pods.hangs.add("a")
        async with bench(pods) as on:
            assert {await on.ask() for _ in range(3)} == {b"b hello\n"}
            assert on.said == ["the pod a can't be reached: it did not answer in time"]

    asyncio.run(scene())


def test_a_connection_waits_for_a_pod_that_is_ready() -> None:
    async def scene() -> None:
        async with bench(pods_of(a=echo("a"))) as on:
            on.ready.clear()
            waiting = asyncio.create_task(on.ask())
            await until(lambda: bool(on.said))
            assert on.said == ["no directory is ready; waiting for one"]
            on.ready.append("a")
            assert await waiting == b"a hello\n"

    asyncio.run(scene())


def test_without_a_pod_a_connection_is_closed_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarder_module, "PATIENCE_S", 0.05)

    async def scene() -> None:
        async with bench(pods_of(a=echo("a"))) as on:
            on.ready.clear()
            assert await on.ask() == b""

    asyncio.run(scene())


def test_what_a_pod_says_last_arrives_before_the_end() -> None:
    """A megabyte, then the pod closes."""
    content = bytes(range(256)) * 4096

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(content)
        await writer.drain()
        writer.close()

    async def scene() -> None:
        async with bench(pods_of(a=handle)) as on:
            reader, writer = await on.connect()
            writer.write(b"go\n")
            assert hashlib.sha256(await reader.read(-1)).digest() == hashlib.sha256(content).digest()

    asyncio.run(scene())


def test_an_answer_still_arrives_after_the_client_has_ended_its_half() -> None:
    async def scene() -> None:
        ended = asyncio.Event()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            line = await reader.readline()
            await ended.wait()
            writer.write(b"late " + line)
            writer.close()

        async with bench(pods_of(a=handle)) as on:
            reader, writer = await on.connect()
            writer.write(b"x\n")
            writer.write_eof()
            ended.set()
            assert await reader.read(-1) == b"late x\n"

    asyncio.run(scene())


def test_a_client_that_is_gone_frees_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarder_module, "_LINGER_S", 0.02)
    monkeypatch.setattr(forwarder_module, "MAX_CONNECTIONS", 2)

    async def scene() -> None:
        async with bench(pods_of(a=echo("a"))) as on:
            for _ in range(5):
                reader, writer = await on.connect()
                writer.write(b"x\n")
                assert await reader.readline() == b"a x\n"
                writer.close()
                await until(lambda: not on.forwarder.open_connections)

    asyncio.run(scene())


def test_more_connections_than_there_may_be_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarder_module, "MAX_CONNECTIONS", 2)

    async def scene() -> None:
        async with bench(pods_of(a=echo("a"))) as on:
            for _ in range(2):
                reader, writer = await on.connect()
                writer.write(b"x\n")
                assert await reader.readline() == b"a x\n"
            reader, writer = await on.connect()
            assert await reader.read(-1) == b""
            assert on.said == ["more than 2 connections at once; the latest is turned away"]

    asyncio.run(scene())


def test_a_large_upload_to_a_pod_that_answers_early_does_not_jam() -> None:
    """The pod answers before it has read everything, and the client reads before it has sent everything."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"early\n")
        total = 0
        while data := await reader.read(65536):
            total += len(data)
            if total == 8 * 1024 * 1024:
                writer.write(b"all\n")

    async def scene() -> None:
        async with bench(pods_of(a=handle)) as on:
            reader, writer = await on.connect()
            writer.write(b"x" * (8 * 1024 * 1024))
            assert await reader.readline() == b"early\n"
            await writer.drain()
            assert await reader.readline() == b"all\n"

    asyncio.run(scene())


def test_a_pod_that_takes_no_connections_is_quoted() -> None:
    async def scene() -> None:
        pods = pods_of(a=echo("a"))
        async with bench(pods) as on:
            with socket.socket() as unused:
                unused.bind(("127.0.0.1", 0))
                pods._ports["a"] = unused.getsockname()[1]
                assert await on.ask() == b""
            await until(lambda: bool(on.said))
            assert on.said == ["a pod ended a connection: connection refused"]

    asyncio.run(scene())


def test_while_the_api_server_can_not_be_asked_known_pods_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarder_module, "_PODS_ARE_FRESH_S", 0.0)

    async def scene() -> None:
        async with bench(pods_of(a=echo("a"))) as on:
            assert await on.ask() == b"a hello\n"
            on.ready[:] = [Failure("the API server does not answer")]
            assert await on.ask() == b"a hello\n"
            assert on.said == ["the API server does not answer"]

    asyncio.run(scene())


# -- the command -----------------------------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_said() -> None:
    with stage() as made, socket.socket() as taken:
        made.fake.put("rayservices", {"metadata": {"name": "cloud-storage"}, "spec": {"rayClusterConfig": {}}})
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Failure, match=rf"127\.0\.0\.1:{port} can't be used: .*in use.*; name another --port"):
            open_store(made.session, port, browser=False)


@pytest.mark.parametrize("port", [-1, 65536])
def test_what_is_no_port_is_said(port: int) -> None:
    with stage() as made, pytest.raises(Failure, match=f"a port is 1 to 65535, not {port}"):
        open_store(made.session, port, browser=False)


@pytest.mark.parametrize(("small", "component"), [(False, "directory"), (True, "head")])
def test_it_goes_to_the_pods_that_serve_and_ends_on_ctrl_c(
    monkeypatch: pytest.MonkeyPatch, small: bool, component: str
) -> None:
    shown: list[str] = []
    asked: list[list[str]] = []

    class Once:
        def __init__(
            self, client: Any, namespace: str, port: int, ready_pods: Callable[[], list[str]], say: Any
        ) -> None:
            self._ready_pods = ready_pods

        async def run(self, host: str, port: int, listening: Callable[[int], None]) -> None:
            listening(port)
            asked.append(self._ready_pods())
            raise KeyboardInterrupt

    monkeypatch.setattr("kuberay.commands.open.Forwarder", Once)
    monkeypatch.setattr("webbrowser.open", shown.append)
    with stage() as made:
        worker_groups = [] if small else [{"groupName": "directory", "replicas": 1}]
        spec = {"rayClusterConfig": {"workerGroupSpecs": worker_groups}}
        made.fake.put("rayservices", {"metadata": {"name": "cloud-storage"}, "spec": spec})
        for part in ("directory", "head", "bucket"):
            put_pod(made.fake, part)
        assert open_store(made.session, 8888, browser=True) == 0
        assert shown == ["http://localhost:8888/docs"]
        assert asked == [[f"{component}-1"]]
        assert "docs  http://localhost:8888/docs" in made.out.getvalue()
        assert made.out.getvalue().endswith("Closed.\n")


def put_pod(fake: FakeKubernetes, part: str) -> None:
    labels = {
        "app.kubernetes.io/name": "cloud-storage",
        "app.kubernetes.io/component": part,
        "ray.io/node-type": "head" if part == "head" else "worker",
    }
    for number, ready in ((1, "True"), (2, "False")):
        status = {"conditions": [{"type": "Ready", "status": ready}]}
        fake.put("pods", {"metadata": {"name": f"{part}-{number}", "labels": labels}, "spec": {}, "status": status})
