"""The simulation's own parts: a disk that keeps the engine's contract, a network that keeps TCP's, and a loop that jumps."""

from __future__ import annotations

import asyncio
import random

import pytest

from serve_app.errors import StorageDamaged
from serve_app.storage.engine import NOT_IN_MEMORY, Engine, EngineFailed
from tests.simulation.clocks import WallClock
from tests.simulation.disk import SimulatedDisk
from tests.simulation.loop import current_process, new_loop
from tests.simulation.machine import Machine, SimulatedReaders, Speed
from tests.simulation.network import Network, Weather
from tests.simulation.observer import SeenRevision, fallen
from tests.storage.contract import EngineContract


class TestSimulatedDisk(EngineContract):
    @pytest.fixture
    def engine(self) -> Engine:
        return SimulatedDisk()


class TestColdSimulatedDisk(EngineContract):
    @pytest.fixture
    def engine(self) -> Engine:
        disk = SimulatedDisk()
        disk.cold_share = 0.5
        return disk


def test_a_failing_write_is_there_whole_or_not_at_all() -> None:
    outcomes = set()
    for seed in range(20):
        disk = SimulatedDisk(random.Random(seed))
        disk.fails_in = 0
        with pytest.raises(EngineFailed):
            disk.write([(b"a", b"1"), (b"b", b"1")], [(b"fact", b"1")])
        outcomes.add((disk.get(b"a"), disk.get(b"b"), disk.get_fact(b"fact")))
    assert outcomes == {(None, None, None), (b"1", b"1", b"1")}


def test_a_record_that_can_not_be_read_ends_a_scan_until_it_is_written_anew() -> None:
    disk = SimulatedDisk()
    disk.write([(b"a", b"1"), (b"b", b"1"), (b"c", b"1")], [])
    disk.unreadable.add(b"b")
    scan = disk.scan()
    assert next(scan) == (b"a", b"1")
    with pytest.raises(StorageDamaged):
        next(scan)
    with pytest.raises(StorageDamaged):
        disk.get(b"b")
    assert disk.get_in_memory(b"b") is NOT_IN_MEMORY
    disk.write([(b"b", b"2")], [])
    assert disk.get(b"b") == b"2"


def test_a_thread_stands_still_before_it_reads_and_before_it_goes_on() -> None:
    """What it reads is as of the instant between; what it hands over comes late, and in the name of its process."""
    loop, disk = new_loop(), SimulatedDisk()
    machine = Machine(loop, random.Random(1), disk, Speed(read_s=1.0, wake_s=0.1), WallClock(loop.time, 0))
    seen: list[object] = []

    def read() -> None:
        seen.append(("begins", disk.get_fact(b"f")))
        value = disk.get(b"a")
        seen.append((value, disk.get_fact(b"f")))
        loop.call_soon_threadsafe(lambda: seen.append((current_process(), loop.time() > ended_s[0])))
        ended_s.append(loop.time())

    def submit() -> None:
        SimulatedReaders(machine).submit(read)

    async def main() -> None:
        process = loop.process("bucket")
        disk.write([(b"a", b"0")], [(b"f", b"0")])
        loop.call_soon(submit, context=process.context)
        while len(seen) < 3:
            disk.write([(b"a", b"%d" % disk.writes)], [(b"f", b"%d" % disk.writes)])
            await asyncio.sleep(0.01)
        assert seen[2] == (process, True)

    ended_s: list[float] = []
    loop.run(main())
    (_, before), (value, after), _ = seen  # type: ignore[misc]
    assert int(before) < int(value) < int(after)  # type: ignore[has-type]


def test_a_thread_that_still_stands_when_all_is_over_does_nothing_more() -> None:
    loop, disk = new_loop(), SimulatedDisk()
    machine = Machine(loop, random.Random(1), disk, Speed(read_s=1e9), WallClock(loop.time, 0))
    ran: list[str] = []

    def read() -> None:
        try:
            disk.get(b"a")
        except Exception:
            ran.append("an error of the product's")
        ran.append("to its end")

    async def main() -> None:
        SimulatedReaders(machine).submit(read)
        await asyncio.sleep(10)

    loop.run(main())
    assert ran == []


class _Peer(asyncio.Protocol):
    """Keeps what it hears; answers nothing."""

    def __init__(self) -> None:
        self.heard = b""
        self.pauses = self.resumes = 0
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert data
        self.heard += data

    def pause_writing(self) -> None:
        self.pauses += 1

    def resume_writing(self) -> None:
        self.resumes += 1

    def connection_lost(self, exc: Exception | None) -> None:
        assert not self.lost
        self.lost = True


_SENT = b"".join(b"%d," % number for number in range(200))


def _converse(seed: int, *, break_after: int | None = None) -> tuple[_Peer, _Peer]:
    """A client sends numbers to a server, some at a time."""
    loop = new_loop()
    rng = random.Random(seed)
    weather = Weather(straggler_share=0.3, split_share=0.5, join_share=0.5, window_bytes=50, high_water_bytes=100)
    network = loop.network = Network(loop, rng, lambda text: None, weather)
    client, server = _Peer(), _Peer()
    server_process, client_process = loop.process("server"), loop.process("client")

    async def serve() -> None:
        await loop.create_server(lambda: server, "server")

    async def call() -> None:
        await asyncio.sleep(1)
        transport, _ = await loop.create_connection(lambda: client, "server", 1000)
        for position in range(0, len(_SENT), 20):
            if break_after is not None and position >= break_after and not client.lost:
                network.open_connections()[0].break_off()
                break_at.append(position)
                return
            transport.write(_SENT[position : position + 20])
            await asyncio.sleep(rng.random() * 0.01)

    break_at: list[int] = []

    async def main() -> None:
        network.rng = _FixedPort(seed)
        loop.create_task(serve(), context=server_process.context)
        loop.create_task(call(), context=client_process.context)
        await asyncio.sleep(60)

    loop.run(main())
    assert loop.failures == []
    return client, server


class _FixedPort(random.Random):
    def randrange(self, start: int, stop: int | None = None, step: int = 1) -> int:
        return 1000 if start == 1000 else super().randrange(start, stop, step)


def test_bytes_arrive_in_order_however_they_are_cut() -> None:
    pauses = 0
    for seed in range(20):
        client, server = _converse(seed)
        assert server.heard == _SENT
        assert client.pauses == client.resumes
        pauses += client.pauses
    assert pauses


def test_a_broken_connection_keeps_a_first_part() -> None:
    lengths = set()
    for seed in range(20):
        client, server = _converse(seed, break_after=400)
        assert client.lost
        assert server.lost
        assert _SENT.startswith(server.heard)
        lengths.add(len(server.heard))
    assert len(lengths) > 3


def test_the_clock_jumps_and_nothing_of_a_dead_process_runs() -> None:
    loop = new_loop()
    ran: list[str] = []

    async def tick(name: str) -> None:
        try:
            while True:
                await asyncio.sleep(10)
                ran.append(f"{name} {loop.time():.0f}")
        finally:
            ran.append(f"{name} cleaned up")

    async def main() -> None:
        killed, sleeper = loop.process("killed"), loop.process("sleeper")
        tasks = [loop.create_task(tick(process.name), context=process.context) for process in (killed, sleeper)]
        await asyncio.sleep(15)
        loop.kill(killed)
        loop.sleep(sleeper)
        await asyncio.sleep(20)
        loop.wake(sleeper)
        await asyncio.sleep(5)
        assert not any(task.done() for task in tasks)
        assert ran == ["killed 10", "sleeper 10", "sleeper 35"]

    loop.run(main())
    assert loop.time() == 40


def test_a_revision_that_falls_is_seen_and_one_that_overlaps_is_not_blamed() -> None:
    first = SeenRevision(b"k", 5, True, 0.0, 1.0)
    assert fallen([first, SeenRevision(b"k", 4, False, 1.5, 2.0)])
    assert fallen([first, SeenRevision(b"k", 5, True, 1.5, 2.0)]), "two writes never share one"
    assert not fallen([first, SeenRevision(b"k", 5, False, 1.5, 2.0)])
    assert not fallen([first, SeenRevision(b"k", 4, True, 0.5, 2.0)])
    assert not fallen([first, SeenRevision(b"other", 1, True, 1.5, 2.0)])


def test_what_a_clock_has_shown_at_least_since_an_instant() -> None:
    now_s = 10.0
    clock = WallClock(lambda: now_s, 500)
    at_first_ms = clock.now_ms()
    now_s = 12.0
    assert clock.now_ms() == at_first_ms + 2000
    clock.step(-5000)
    now_s = 13.0
    assert clock.lowest_since_ms(10.0) == clock.lowest_since_ms(12.0) == at_first_ms - 3000
    assert clock.lowest_since_ms(12.5) == at_first_ms - 2500
    clock.step(60_000)
    assert clock.now_ms() == at_first_ms + 58_000
    now_s = 14.0
    assert clock.lowest_since_ms(13.5) == at_first_ms + 58_500
