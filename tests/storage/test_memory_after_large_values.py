"""A bucket's memory after a flood of large values: they are gone, and so is what they took."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.memory import MIB, resident_bytes
from harness.running_store import ROOT
from serve_app.operations import Get, Put, Value, Written
from serve_app.wire.endpoint import Endpoint
from tests.support.local_store import run_async, until
from tests.support.traced_bucket import bucket_process, connected

SIZES = (20 * MIB, MIB, 3 * MIB)
AT_ONCE_BYTES = 24 * MIB


async def flood(endpoint: Endpoint) -> None:
    """Put and get values of several sizes, many at once, twice over."""
    connection = await connected(endpoint)
    loop = asyncio.get_running_loop()

    async def put(key: bytes, value: bytes) -> None:
        assert isinstance(await connection.call(Put(key, value, ""), loop.time() + 60), Written)

    async def get(key: bytes) -> None:
        assert isinstance(await connection.call(Get(key), loop.time() + 60), Value)

    for _ in range(2):
        for size in SIZES:
            value = os.urandom(size)
            keys = [b"%d-%d" % (size, number) for number in range(AT_ONCE_BYTES // size)]
            await asyncio.gather(*(put(key, value) for key in keys))
            await asyncio.gather(*map(get, keys))
    connection.close()


def test_what_large_values_took_is_given_back(tmp_path: Path) -> None:
    """Half of what the same process keeps where the allocator is left alone is the most that it may keep."""

    @run_async
    async def kept() -> None:
        with bucket_process(tmp_path / "alone", "--keep-freed-memory") as (process, endpoint):
            before = resident_bytes(process.pid)
            await flood(endpoint)
            kept_bytes = resident_bytes(process.pid) - before
        with bucket_process(tmp_path / "ours") as (process, endpoint):
            before = resident_bytes(process.pid)
            await flood(endpoint)
            await until(lambda: resident_bytes(process.pid) - before < kept_bytes / 2, 60)

    kept()


_ASK = "from tests.support.memory import maps_large_blocks_alone; print(maps_large_blocks_alone())"
_DIRECTORY = """
from pathlib import Path
from serve_app.cluster import deployment
from serve_app.cluster.build import build_of
from serve_app.settings import Settings
deployment.export_directory = lambda directory: None  # it asks Ray
deployment.DirectoryReplica(build_of(Settings(data_dir=Path("data"))))
"""


@pytest.mark.parametrize(("begin", "maps"), [("", "False"), (_DIRECTORY, "True")])
def test_a_directory_gives_large_blocks_back(begin: str, maps: str) -> None:
    asked = subprocess.run([sys.executable, "-c", begin + _ASK], cwd=ROOT, capture_output=True, text=True)
    assert asked.stdout.split()[-1:] == [maps], asked.stderr
