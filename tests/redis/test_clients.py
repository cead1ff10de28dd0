"""Clients that others have made: redis-py on asyncio, with its own retries; redis-cli and redis-benchmark."""

from __future__ import annotations

import asyncio
import shutil
import subprocess

import pytest
import redis
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from tests.redis.faced import Faced, connected
from tests.support.local_store import run_async


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"there is no {program} on the PATH")


@pytest.mark.parametrize("protocol", [2, 3])
@run_async
async def test_redis_py_on_asyncio(faced: Faced, protocol: int) -> None:
    async with AsyncRedis(port=faced.port, protocol=protocol) as client:
        await client.flushall()
        values = await asyncio.gather(*(client.incr("together") for _ in range(80)))
        assert sorted(values) == list(range(1, 81))
        async with client.pipeline(transaction=False) as pipeline:
            for number in range(1000):
                pipeline.set(f"p{number}", number)
                pipeline.get(f"p{number}")
            found = await pipeline.execute()
        assert found == [each for number in range(1000) for each in (True, b"%d" % number)]
        assert sorted([key async for key in client.scan_iter("p*", count=100)]) == sorted(
            b"p%d" % number for number in range(1000)
        )


@run_async
async def test_its_retries_go_on_where_the_connection_was_ended(faced: Faced) -> None:
    """As where a directory ends and another one answers."""
    policy = AsyncRetry(ExponentialBackoff(cap=0.1, base=0.01), 10)
    async with AsyncRedis(port=faced.port, retry=policy) as client:
        for number in range(20):
            assert await client.set("retried", number) is True
            end_connections(faced)
            assert await client.get("retried") == b"%d" % number


def test_the_same_without_asyncio(faced: Faced) -> None:
    with redis.Redis(port=faced.port, retry=Retry(ExponentialBackoff(cap=0.1, base=0.01), 10)) as client:
        for number in range(20):
            assert client.set("retried", number) is True
            end_connections(faced)
            assert client.get("retried") == b"%d" % number


def end_connections(faced: Faced) -> None:
    """As a directory does that ends: those of which nothing is under way, at once."""

    def end() -> None:
        for connection in list(faced.face._connections):
            connection.end()

    faced.do(end)


@needs("redis-cli")
def test_redis_cli(faced: Faced) -> None:
    def typed(*words: str, stdin: str | None = None) -> str:
        command = ["redis-cli", "-p", str(faced.port), *words]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60)
        return done.stdout + done.stderr

    assert typed("flushall") == "OK\n"
    assert typed("set", "visits", "41", "ex", "1000") == "OK\n"
    assert typed("--no-raw", "incr", "visits") == "(integer) 42\n"
    assert typed("-3", "--no-raw", "get", "nothing") == "(nil)\n"
    assert typed(stdin="set a 1\nappend a 23\nstrlen a\n") == "OK\n3\n3\n"
    assert typed("--scan", "--pattern", "*s*") == "visits\n"
    assert "is not supported" in typed("lpush", "list", "1")
    assert "Last reply received from server." in typed("--pipe", stdin="set b 2\r\nset c 3\r\n")
    with connected(port=faced.port) as client:
        assert client.mget("a", "b", "c") == [b"123", b"2", b"3"]


@needs("redis-benchmark")
def test_redis_benchmark(faced: Faced) -> None:
    command = [
        "redis-benchmark",
        "-p",
        str(faced.port),
        "-t",
        "ping,set,get,incr,mset",
        "-n",
        "2000",
        "-P",
        "8",
        "-r",
        "50",
    ]
    done = subprocess.run([*command, "--csv"], capture_output=True, text=True, timeout=120)
    said = done.stdout + done.stderr
    assert "rror" not in said
    assert [line.split('"')[1] for line in done.stdout.splitlines()[1:]] == [
        "PING_INLINE",
        "PING_MBULK",
        "SET",
        "GET",
        "INCR",
        "MSET (10 keys)",
    ]
