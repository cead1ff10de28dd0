"""Carries connections from this machine to the store's pods, through the API server: Kubernetes' port-forward.

The official client has one (`kubernetes.stream.portforward`), which drops what has not been handed over when the pod closes,
closes both directions when one ends, buffers without bound, and swaps a method of the shared client while it connects. So
this speaks the protocol itself, with aiohttp, which comes with the client: a WebSocket per connection, whose binary
messages start with the number of a channel, 0 for data and 1 for an error; the first on each is the port
(https://kubernetes.io/docs/reference/using-api/websockets, `v4.channel.k8s.io`).
"""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import Callable
from typing import Any

import aiohttp
from kubernetes.client import ApiClient
from kubernetes.client.rest import should_bypass_proxies

from serve_app.command_output.failure import Failure

MAX_CONNECTIONS = 256
_PROTOCOL = "v4.channel.k8s.io"
_DATA, _ERROR = 0, 1
_CHUNK_BYTES = 32 * 1024
_CONNECT_TIMEOUT_S = 5.0
#: How long a new connection waits for a pod that takes it.
PATIENCE_S = 15.0
_PODS_ARE_FRESH_S = 1.0
_PAUSE_S = 0.25
#: How long a pod may be silent after the client has said all it had to say.
_LINGER_S = 10.0


class Forwarder:
    """Takes connections on a local port. Each goes to a pod of its own choice: the next one that is ready.

    ready_pods: asks the cluster for the names of the pods that may be connected to; runs in a thread.
    say: shows a line about trouble.
    """

    def __init__(
        self,
        client: ApiClient,
        namespace: str,
        pod_port: int,
        ready_pods: Callable[[], list[str]],
        say: Callable[[str], None],
    ) -> None:
        self._configuration = client.configuration
        self._namespace = namespace
        self._pod_port = pod_port
        self._ready_pods = ready_pods
        self._say = say
        self._said = ""
        #: How many there are just now.
        self.open_connections = 0
        self._turn = itertools.count()
        self._pods: list[str] = []
        self._pods_until_s = 0.0
        self._http: aiohttp.ClientSession | None = None

    async def run(self, host: str, port: int, listening: Callable[[int], None]) -> None:
        """Forward until cancelled; `listening` is called with the port once connections are taken.

        Raises:
            Failure: the local port can't be had.
        """
        connector = aiohttp.TCPConnector(limit=MAX_CONNECTIONS, ssl=_ssl_context(self._configuration))
        async with aiohttp.ClientSession(connector=connector) as self._http:
            try:
                server = await asyncio.start_server(self._accept, host, port)
            except OSError as error:
                raise Failure(f"{host}:{port} can't be used: {error.strerror}; name another --port") from None
            async with server:
                listening(server.sockets[0].getsockname()[1])
                await server.serve_forever()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.open_connections >= MAX_CONNECTIONS:
            self._tell(f"more than {MAX_CONNECTIONS} connections at once; the latest is turned away")
            writer.close()
            return
        self.open_connections += 1
        try:
            websocket = await self._connect()
            if websocket is not None:
                try:
                    await self._carry(reader, writer, websocket)
                finally:
                    await websocket.close()
        except (OSError, aiohttp.ClientError):
            pass  # one side is gone; so is the connection, and only that
        finally:
            self.open_connections -= 1
            writer.close()

    async def _connect(self) -> aiohttp.ClientWebSocketResponse | None:
        """A connection to some ready pod, or None where there is none for too long."""
        deadline_s = asyncio.get_running_loop().time() + PATIENCE_S
        while True:
            pods = await self._fresh_pods()
            start = next(self._turn)
            for offset in range(len(pods)):
                pod = pods[(start + offset) % len(pods)]
                try:
                    return await asyncio.wait_for(self._dial(pod), _CONNECT_TIMEOUT_S)
                except (TimeoutError, OSError, aiohttp.ClientError) as error:
                    self._pods_until_s = 0.0  # look again: it may be gone
                    self._tell(f"the pod {pod} can't be reached: {str(error) or 'it did not answer in time'}")
            if not pods:
                self._tell("no directory is ready; waiting for one")
            if asyncio.get_running_loop().time() >= deadline_s:
                return None
            await asyncio.sleep(_PAUSE_S)

    async def _fresh_pods(self) -> list[str]:
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._pods_until_s:
            try:
                self._pods = await asyncio.to_thread(self._ready_pods)
                self._pods_until_s = now_s + _PODS_ARE_FRESH_S
            except Failure as failure:  # the API server is away; the pods we know may well be there
                self._tell(str(failure))
        return self._pods

    async def _dial(self, pod: str) -> aiohttp.ClientWebSocketResponse:
        assert self._http is not None
        url = f"{self._configuration.host}/api/v1/namespaces/{self._namespace}/pods/{pod}/portforward?ports={self._pod_port}"
        return await self._http.ws_connect(
            url,
            protocols=(_PROTOCOL,),
            headers=_authorization(self._configuration),
            server_hostname=self._configuration.tls_server_name or None,
            proxy=_proxy(self._configuration),
            max_msg_size=0,
        )

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, websocket: aiohttp.ClientWebSocketResponse
    ) -> None:
        """Move bytes both ways until the pod has closed, or the client has and the pod falls silent."""
        up = asyncio.create_task(_send(reader, websocket))
        down = _Receiver(websocket, writer)
        receiving = asyncio.create_task(down.run())
        try:
            await asyncio.wait({up, receiving}, return_when=asyncio.FIRST_COMPLETED)
            while not receiving.done():  # the client has ended its half; the answer may still be on its way
                received_bytes = down.received_bytes
                await asyncio.wait({receiving}, timeout=_LINGER_S)
                if down.received_bytes == received_bytes:
                    break
        finally:
            for task in (up, receiving):
                task.cancel()
            await asyncio.gather(up, receiving, return_exceptions=True)
        if down.error:
            self._tell(f"a pod ended a connection: {down.error}")

    def _tell(self, text: str) -> None:
        if text != self._said:
            self._said = text
            self._say(text)


class _Receiver:
    """Hands what comes from the pod to the client, as fast as the client takes it."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse, writer: asyncio.StreamWriter) -> None:
        self._websocket = websocket
        self._writer = writer
        self.open_connectionsed: set[int] = set()
        self.received_bytes = 0
        self.error = ""

    async def run(self) -> None:
        async for message in self._websocket:
            if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
                continue
            channel, content = message.data[0], message.data[1:]
            if channel not in self.open_connectionsed:
                self.open_connectionsed.add(channel)  # the port's number, which we know
            elif channel == _DATA:
                self.received_bytes += len(content)
                self._writer.write(content)
                await self._writer.drain()
            elif channel == _ERROR:
                self.error += content.decode(errors="replace")


async def _send(reader: asyncio.StreamReader, websocket: aiohttp.ClientWebSocketResponse) -> None:
    while data := await reader.read(_CHUNK_BYTES):
        await websocket.send_bytes(bytes([_DATA]) + data)


def _proxy(configuration: Any) -> str | None:
    if not configuration.proxy or should_bypass_proxies(configuration.host, configuration.no_proxy or ""):
        return None
    return str(configuration.proxy)


def _authorization(configuration: Any) -> dict[str, str]:
    setting = configuration.auth_settings().get("BearerToken")
    return {"Authorization": setting["value"]} if setting and setting.get("value") else {}


def _ssl_context(configuration: Any) -> ssl.SSLContext:
    """The kubeconfig's certificates, as the client uses them."""
    context = ssl.create_default_context(
        cafile=configuration.ssl_ca_cert, cadata=getattr(configuration, "ca_cert_data", None)
    )
    if configuration.assert_hostname is False:
        context.check_hostname = False
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    return context
