"""A simulated TCP: what the real protocols of both ends talk over.

It keeps TCP's promises and no others. Bytes of a connection arrive in order, late, and cut up as it pleases; a connection may
break at any moment, each end learning of it in its own time, with any last part of what was under way lost. Nothing holds
between two connections. A host may be unreachable for a while, and one that vanished says nothing at all.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

from tests.simulation.loop import Process, SimulatedLoop, current_process

_NEVER_S = 1e9


@dataclass
class Weather:
    """How the network behaves; a run draws its own."""

    #: The usual delay of a segment, and how often and how much longer one may take.
    delay_s: float = 0.001
    straggler_share: float = 0.02
    straggler_s: float = 0.3
    #: How often a write arrives in pieces, and pieces arrive together.
    split_share: float = 0.1
    join_share: float = 0.1
    #: Bytes that the kernels hold before a transport's own buffer fills.
    window_bytes: int = 1 << 20
    #: A buffer limit below what the protocol asks for: pauses come sooner.
    high_water_bytes: int = 1 << 30


@dataclass
class Network:
    """All connections, listeners and troubles between processes."""

    loop: SimulatedLoop
    rng: random.Random
    trace: Callable[[str], None]
    weather: Weather = field(default_factory=Weather)
    counts: Counter[str] = field(default_factory=Counter)
    #: A process's delays are multiplied by this while it is slow.
    slowness: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._listeners: dict[tuple[str, int], Listener] = {}
        #: Until when a process, or a pair of them, can't be reached.
        self._cut_until: dict[frozenset[str], float] = {}
        self.transports: list[Transport] = []
        self._number = 0
        self.on_connect: Callable[[Process | None, tuple[str, int], asyncio.Protocol], None] | None = None

    # -- connections -------------------------------------------------------------------------------------------------

    def listen(self, factory: Callable[[], asyncio.Protocol], host: str) -> Listener:
        """Accept connections for the running process. Few ports, so that a later process may get an earlier one's."""
        process = current_process()
        assert process is not None, "only a process listens"
        port = self.rng.randrange(1000, 1004)
        while (held := self._listeners.get((host, port))) is not None and held.process.alive:
            port += 1
        listener = self._listeners[host, port] = Listener(self, process, factory, (host, port))
        return listener

    def forget(self, listener: Listener) -> None:
        if self._listeners.get(listener.address) is listener:
            del self._listeners[listener.address]

    async def connect(
        self, factory: Callable[[], asyncio.Protocol], address: tuple[str, int]
    ) -> tuple[Transport, asyncio.Protocol]:
        """A connection from the running process.

        Raises:
            ConnectionRefusedError: nobody listens there.
        """
        process = current_process()
        assert process is not None, "only a process connects"
        while True:
            await asyncio.sleep(self.delay_s(process.name, address[0]))
            cut_until_s = self.cut_until_s(process.name, address[0])
            if cut_until_s <= self.loop.time():
                break
            await asyncio.sleep(cut_until_s - self.loop.time())
        listener = self._listeners.get(address)
        if listener is None or not listener.process.alive:
            raise ConnectionRefusedError(f"nobody listens at {address[0]}:{address[1]}")
        protocol = factory()
        self._number += 1
        ours = Transport(self, self._number, process, protocol)
        theirs = Transport(self, -self._number, listener.process, None)
        ours.peer, theirs.peer = theirs, ours
        self.transports = [transport for transport in self.transports if not transport.lost or transport._segments]
        self.transports += (ours, theirs)
        self.trace(f"connect {process.name} {listener.process.name}")
        self.loop.call_soon(theirs.accept, listener.factory, context=listener.process.context)
        if self.on_connect is not None:
            self.on_connect(process, address, protocol)
        protocol.connection_made(ours)
        return ours, protocol

    # -- troubles ----------------------------------------------------------------------------------------------------

    def delay_s(self, one: str, other: str) -> float:
        """How long a segment takes."""
        weather, rng = self.weather, self.rng
        slowness = self.slowness.get(one, 1.0) * self.slowness.get(other, 1.0)
        if rng.random() < weather.straggler_share:
            return rng.random() * weather.straggler_s * slowness
        return rng.random() * 2 * weather.delay_s * slowness

    def cut(self, names: frozenset[str], until_s: float) -> None:
        """Let nothing through between two processes, or from and to one, until then; TCP delivers it later."""
        self._cut_until[names] = max(until_s, self._cut_until.get(names, 0.0))

    def cut_until_s(self, one: str, other: str) -> float:
        if not self._cut_until:
            return 0.0
        pairs = (frozenset((one,)), frozenset((other,)), frozenset((one, other)))
        return max(self._cut_until.get(names, 0.0) for names in pairs)

    def heal(self) -> None:
        """Everything gets through again, what is under way at once."""
        self._cut_until.clear()
        self.slowness.clear()
        self.weather = replace(self.weather, straggler_share=0.0)
        for transport in self.transports:
            transport.hurry()

    def open_connections(self) -> list[Transport]:
        """The clients' ends of the connections that work."""
        return [each for each in self.transports if each.number > 0 and not each.broken and not each.lost]

    def bury(self, process: Process, *, silently: bool) -> None:
        """Its connections end with the process: the peers are told, or, where the whole machine vanished, never."""
        for transport in list(self.transports):
            if transport.process is process and not transport.lost:
                transport.lost = True
                transport.lose_some()
                if not silently:
                    transport.peer.end_later(ConnectionResetError("the peer's process ended"))
                transport.peer.lose_some()


class Listener:
    """What `create_server` gives: also stands for its only socket."""

    def __init__(
        self, network: Network, process: Process, factory: Callable[[], asyncio.Protocol], address: tuple[str, int]
    ) -> None:
        self.network, self.process, self.factory, self.address = network, process, factory, address
        self.sockets = [self]

    def getsockname(self) -> tuple[str, int]:
        return self.address

    def close(self) -> None:
        self.network.forget(self)


class Transport(asyncio.Transport):
    """One end of a connection. What it has written and its peer has not got yet is `_segments`."""

    peer: Transport

    def __init__(self, network: Network, number: int, process: Process, protocol: asyncio.Protocol | None) -> None:
        super().__init__()
        self.network = network
        self.number = number
        self.process = process
        self._protocol = protocol
        self._segments: deque[tuple[float, bytes]] = deque()
        self._under_way_bytes = 0
        self._last_arrival_s = 0.0
        self.set_write_buffer_limits()
        self._protocol_paused = False
        self._reading = True
        self._closing = False
        #: The connection is broken: what is written from now on goes nowhere.
        self.broken = False
        #: connection_lost has been called, or will never be.
        self.lost = False
        self._ending = False

    def accept(self, factory: Callable[[], asyncio.Protocol]) -> None:
        if not self.lost:
            self._protocol = factory()
            self._protocol.connection_made(self)

    # -- what protocols call -------------------------------------------------------------------------------------------

    def write(self, data: Any) -> None:
        network = self.network
        if self._closing or self.lost or not data:
            return
        whole = bytes(data)
        if self.broken:
            self._under_way_bytes += len(whole)  # kept by the kernel for a peer that is gone
        elif len(whole) > 1 and network.rng.random() < network.weather.split_share:
            middle = network.rng.randrange(1, len(whole))
            self._send(whole[:middle])
            self._send(whole[middle:])
        else:
            self._send(whole)
        if self.get_write_buffer_size() > self._high and not self._protocol_paused:
            self._protocol_paused = True
            network.counts["pauses"] += 1
            assert self._protocol is not None
            self._protocol.pause_writing()

    def get_write_buffer_size(self) -> int:
        return max(0, self._under_way_bytes - self.network.weather.window_bytes)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = min(64 * 1024 if high is None else high, self.network.weather.high_water_bytes)
        self._low = self._high // 4 if low is None else min(low, self._high)

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        self.peer.push()

    def is_reading(self) -> bool:
        return self._reading

    def is_closing(self) -> bool:
        return self._closing or self.lost

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def get_protocol(self) -> asyncio.BaseProtocol:
        return cast(asyncio.Protocol, self._protocol)

    def abort(self) -> None:
        if self._closing or self.lost:
            return
        self._closing = True
        self.broken = self.peer.broken = True
        self.lose_some()
        self.peer._drop_all()
        self._ending = True
        self.network.loop.call_soon(self._end, None)
        self.peer.end_later(ConnectionResetError("reset by the peer"))

    close = abort  # the product breaks connections, or lets them be

    # -- under way -----------------------------------------------------------------------------------------------------

    def _send(self, data: bytes) -> None:
        network = self.network
        arrival_s = network.loop.time() + network.delay_s(self.process.name, self.peer.process.name)
        self._last_arrival_s = arrival_s = max(arrival_s, self._last_arrival_s)
        self._segments.append((arrival_s, data))
        self._under_way_bytes += len(data)
        network.loop.call_at(arrival_s, self._arrive, context=self.peer.process.context)

    def push(self) -> None:
        """See again what may arrive: the peer reads again, or the network is whole again."""
        if self._segments:
            self.network.loop.call_soon(self._arrive, context=self.peer.process.context)

    def hurry(self) -> None:
        """Let all that is under way arrive now."""
        now_s = self.network.loop.time()
        self._segments = deque((min(arrival_s, now_s), data) for arrival_s, data in self._segments)
        self._last_arrival_s = min(self._last_arrival_s, now_s)
        self.push()

    def _arrive(self) -> None:
        """Hand the peer what has arrived. Runs as the peer."""
        network, peer = self.network, self.peer
        segments = self._segments
        now_s = network.loop.time()
        while segments and segments[0][0] <= now_s and peer._reading and not peer.lost:
            cut_until_s = network.cut_until_s(self.process.name, peer.process.name)
            if cut_until_s > now_s:
                network.loop.call_at(cut_until_s + network.weather.delay_s, self._arrive, context=peer.process.context)
                return
            if peer._protocol is None:  # not accepted yet
                self.push()
                return
            data = segments.popleft()[1]
            while segments and network.rng.random() < network.weather.join_share:
                data += segments.popleft()[1]
            self._under_way_bytes -= len(data)
            network.trace(f"{self.number} {len(data)}")
            peer._protocol.data_received(data)
        if self._protocol_paused and self.get_write_buffer_size() <= self._low:
            network.loop.call_soon(self._resume, context=self.process.context)

    def _resume(self) -> None:
        if self._protocol_paused and self.get_write_buffer_size() <= self._low and not self.lost:
            self._protocol_paused = False
            assert self._protocol is not None
            self._protocol.resume_writing()

    # -- the end -------------------------------------------------------------------------------------------------------

    def break_off(self) -> None:
        """The connection breaks, for no fault of either end."""
        self.network.trace(f"break {self.number}")
        for transport in (self, self.peer):
            transport.broken = True
            transport.lose_some()
            transport.end_later(ConnectionResetError("broken by the network"))

    def lose_some(self) -> None:
        """Of what is under way some last part is lost; the break may fall anywhere."""
        self.broken = True
        rng, segments = self.network.rng, self._segments
        keep = rng.randint(0, len(segments))
        while len(segments) > keep:
            arrival_s, last = segments.pop()
            if len(segments) == keep and (part := rng.randrange(len(last))):
                segments.append((arrival_s, last[:part]))
                break

    def _drop_all(self) -> None:
        self._segments.clear()

    def end_later(self, error: Exception) -> None:
        """This end learns of it some time after the last that arrives."""
        if self._ending or self.lost:
            return
        self._ending = True
        network = self.network
        at_s = network.loop.time() + network.delay_s(self.process.name, self.peer.process.name)
        if self.peer._segments:
            at_s = max(at_s, self.peer._last_arrival_s)
        network.loop.call_at(at_s, self._end, error, context=self.process.context)

    def _end(self, error: Exception | None) -> None:
        """Runs as this end's process."""
        if self.lost:
            return
        self.lost = self.broken = self._closing = True
        self._drop_all()
        if self._protocol is not None:
            self.network.trace(f"end {self.number}")
            self._protocol.connection_lost(error)
