"""Many keys at once, by `/v1`: batches, lists and watches, each beside the load that it could hurt.

Batches are sent by wrk, so that little of the machine goes to who asks. Watchers are connections of one process that reads
and throws away.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit

import msgspec

from benchmarks import wrk
from benchmarks.bars import Bar
from benchmarks.failure import BenchmarkFailed
from benchmarks.filling import fill_store, settle
from benchmarks.keys import key_name, value_of
from benchmarks.stage import Stage
from benchmarks.systems import STORE, V1

BATCH = 500
WATCHERS = 100
CONNECTIONS = 32
_BATCH_CONNECTIONS = 8
_BODIES = 40
_VALUE_BYTES = 100
_ROUNDS = 3
_PUTS_PER_S, _GETS_PER_S = 50_000, 100_000
_LIST_S = 15.0
_LISTING_P99 = 2.0
_WATCHED_SHARE = 0.9
_START_TIMEOUT_S = 30.0


class Many(NamedTuple):
    """puts_per_s, gets_per_s: in batches. list_s: all keys in pages of 1,000, and p99 of the 90/10 load without and with a
    list at the same time (ms). watched_share: synced puts with watchers, of those without, by round."""

    keys: int
    puts_per_s: list[float]
    gets_per_s: list[float]
    list_s: float
    p99_before_ms: float
    p99_listing_ms: float
    watched_share: list[float]


class _Page(msgspec.Struct):
    keys: list[msgspec.Raw]
    next: str | None


_page = msgspec.json.Decoder(_Page).decode


def measure(folder: Path, *, keys: int, seconds: int, say: Callable[[str], None]) -> Many:
    """Run it, with a store of its own.

    Raises:
        BenchmarkFailed: something did not succeed.
    """
    with Stage(folder, [STORE, V1], bucket_count=2) as stage:
        fill_store(stage, 0, keys, _VALUE_BYTES)
        settle(stage)
        puts, gets = [], []
        for number in range(_ROUNDS):
            puts.append(_batches(stage, "put", keys, seconds, number))
            gets.append(_batches(stage, "get", keys, seconds, number))
            say(f"batches of {BATCH}: {puts[-1]:,.0f} synced puts and {gets[-1]:,.0f} gets a second")
        list_s = _list_all(stage, keys)
        load = wrk.Load("mix", CONNECTIONS, keys, _VALUE_BYTES)
        before = wrk.run(stage.target(V1), load, seconds=seconds, seed=1, folder=stage.folder)
        with _listing(stage, keys):
            during = wrk.run(stage.target(V1), load, seconds=seconds, seed=2, folder=stage.folder)
        say(f"{keys:,} keys listed in {list_s:.1f} s; p99 {before.p99_ms:.1f} → {during.p99_ms:.1f} ms")
        shares = [_watched_share(stage, keys, seconds, number) for number in range(_ROUNDS)]
        say(f"synced puts with {WATCHERS} watchers: {', '.join(f'{share:.2f}' for share in shares)} x")
        return Many(keys, puts, gets, list_s, before.p99_ms, during.p99_ms, shares)


def bars(many: Many) -> Iterator[Bar]:
    """What was promised."""
    for what, found, wanted in (
        ("synced puts", many.puts_per_s, _PUTS_PER_S),
        ("gets", many.gets_per_s, _GETS_PER_S),
    ):
        best = sorted(found)[len(found) // 2]
        yield Bar(f"{what} in batches of {BATCH}", f"at least {wanted:,} a second", f"{best:,.0f}", best >= wanted)
    if many.keys >= 1_000_000:
        figure = f"listing {many.keys:,} keys in pages of 1,000"
        yield Bar(figure, f"at most {_LIST_S:g} s", f"{many.list_s:.1f} s", many.list_s <= _LIST_S)
    times = many.p99_listing_ms / many.p99_before_ms
    yield Bar(
        "p99 of the 90/10 load while keys are listed",
        f"at most {_LISTING_P99:g} x",
        f"{times:.1f} x",
        times <= _LISTING_P99,
    )
    share = sorted(many.watched_share)[len(many.watched_share) // 2]
    figure = f"synced PUT with {WATCHERS} watchers of what is put, against none"
    yield Bar(figure, f"at least {_WATCHED_SHARE:g} x", f"{share:.2f} x", share >= _WATCHED_SHARE)


def _batches(stage: Stage, op: str, keys: int, seconds: int, seed: int) -> float:
    """Operations a second."""
    script = stage.folder / "bodies.lua"
    step = max(1, keys // (_BODIES * BATCH))
    bodies = []
    for number in range(_BODIES):
        names = [(seed + number * BATCH + at) * step % keys for at in range(BATCH)]
        items = [
            {"op": op, "key": key_name(n)} | ({"value": value_of(n, _VALUE_BYTES).decode()} if op == "put" else {})
            for n in names
        ]
        bodies.append(msgspec.json.encode({"operations": items}).decode())
    script.write_text("return {\n" + ",\n".join(f"[==[{body}]==]" for body in bodies) + "\n}\n")
    text = f"""
local bodies = dofile("{script}")
local at = 0
function request()
  at = at % #bodies + 1
  return wrk.format("POST", "/v1/batch", {{ ["Content-Type"] = "application/json" }}, bodies[at])
end
{wrk.REPORT}"""
    url = stage.target(V1).url
    where = f"batches of {op}"
    found = wrk.run_script(url, text, _BATCH_CONNECTIONS, seconds=seconds, folder=stage.folder, where=where)
    return found.requests_per_s * BATCH


def _list_all(stage: Stage, keys: int) -> float:
    """Seconds that it takes."""
    started_s = time.monotonic()
    listed = sum(_pages(stage))
    if listed != keys:
        raise BenchmarkFailed(f"{listed:,} keys were listed of {keys:,}")
    return time.monotonic() - started_s


def _pages(stage: Stage) -> Iterator[int]:
    """How many keys each page has."""
    address = urlsplit(stage.target(V1).url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    start: str | None = ""
    while start is not None:
        connection.request("GET", f"/v1/keys?limit=1000&start_after={quote(start, safe='')}")
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise BenchmarkFailed(f"a list was answered {answer.status} {body[:200]!r}")
        page = _page(body)
        start = page.next
        yield len(page.keys)


@contextlib.contextmanager
def _listing(stage: Stage, keys: int) -> Iterator[None]:
    """A list is being made, again and again."""
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            for _ in _pages(stage):
                if stop.is_set():
                    return

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _watched_share(stage: Stage, keys: int, seconds: int, seed: int) -> float:
    """Puts a second with watchers, of those without."""
    load = wrk.Load("PUT", CONNECTIONS, keys, _VALUE_BYTES)
    alone = wrk.run(stage.target(V1), load, seconds=seconds, seed=seed, folder=stage.folder)
    address = urlsplit(stage.target(V1).url)
    there = multiprocessing.get_context("spawn").Event()
    watchers = multiprocessing.get_context("spawn").Process(
        target=watch, args=(address.hostname, address.port, there), daemon=True
    )
    watchers.start()
    try:
        if not there.wait(_START_TIMEOUT_S):
            raise BenchmarkFailed("the watchers did not come up")
        watched = wrk.run(stage.target(V1), load, seconds=seconds, seed=seed, folder=stage.folder)
        if not watchers.is_alive():
            raise BenchmarkFailed("the watchers ended")
    finally:
        watchers.kill()
        watchers.join()
    return watched.requests_per_s / alone.requests_per_s


def watch(host: str, port: int, there: threading.Event) -> None:
    """In a process of its own: follow, and say when all do."""
    asyncio.run(_watch(host, port, there))


async def _watch(host: str, port: int, there: threading.Event) -> None:
    readers = []
    for _ in range(WATCHERS):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(f"GET /v1/watch?prefix=key HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        await reader.readuntil(b": watching")
        readers.append((reader, writer))
    there.set()
    await asyncio.gather(*(_drain(reader) for reader, _ in readers))


async def _drain(reader: asyncio.StreamReader) -> None:
    while await reader.read(1 << 20):
        pass
