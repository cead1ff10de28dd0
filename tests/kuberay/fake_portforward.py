"""The API server's side of a port-forward, as the kubelet does it: a WebSocket per connection, which it carries on to a
local TCP server that stands for the pod."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import WSMsgType, web

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class FakePortForward:
    """`pods`: by name, what answers there. A pod that is not in it is refused with 404."""

    def __init__(self) -> None:
        self.pods: dict[str, Handler] = {}
        self.dialed: Counter[str] = Counter()
        self.headers: list[dict[str, str]] = []
        self.hangs: set[str] = set()
        self._open: dict[str, set[web.WebSocketResponse]] = {}
        self._ports: dict[str, int] = {}

    @asynccontextmanager
    async def served(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
        """Where it answers."""
        application = web.Application()
        application.router.add_get("/api/v1/namespaces/n/pods/{pod}/portforward", self._forward)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        servers = []
        for pod, handler in self.pods.items():
            servers.append(await asyncio.start_server(handler, "127.0.0.1", 0))
            self._ports[pod] = servers[-1].sockets[0].getsockname()[1]
        try:
            yield f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            for server in servers:
                server.close()
            await runner.cleanup()

    async def kill(self, pod: str) -> None:
        """The pod goes, with its connections."""
        self._ports.pop(pod)
        for websocket in list(self._open.get(pod, ())):
            await websocket.close()

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        pod = request.match_info["pod"]
        self.dialed[pod] += 1
        self.headers.append(dict(request.headers))
        if pod in self.hangs:
            await asyncio.sleep(3600)
        if pod not in self._ports:
            raise web.HTTPNotFound
        assert request.query["ports"] == "8000"
        websocket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",), max_msg_size=0)
        await websocket.prepare(request)
        assert websocket.ws_protocol == "v4.channel.k8s.io"
        for channel in (b"\x00", b"\x01"):
            await websocket.send_bytes(channel + (8000).to_bytes(2, "little"))
        self._open.setdefault(pod, set()).add(websocket)
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._ports[pod])
        except OSError:
            await websocket.send_bytes(b"\x01connection refused")
            await websocket.close()
            return websocket

        async def down() -> None:
            while data := await reader.read(32 * 1024):
                await websocket.send_bytes(b"\x00" + data)
            await websocket.close()

        task = asyncio.create_task(down())
        async for message in websocket:
            if message.type is WSMsgType.BINARY and message.data[0] == 0:
                writer.write(message.data[1:])
                await writer.drain()
        task.cancel()
        writer.close()
        return websocket
