"""Acknowledged means synced, shown by the process's own system calls (a kill -9 can't show it: the page cache survives).

strace records every write to the log, every fdatasync and every reply. For each acknowledged put: its record was written to
the log, then an fdatasync of that log began and ended well, and only then did the reply leave.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from serve_app import records
from serve_app.operations import Get, Put, Value, Written
from serve_app.storage.folder import open_folder
from serve_app.wire import versions
from serve_app.wire.endpoint import Endpoint
from serve_app.wire.frames import FrameReader
from serve_app.wire.messages import Reply, Welcome
from tests.support.bucket_process import STORAGE_FAILED
from tests.support.traced_bucket import bucket_process, connected, put_many

pytestmark = [
    pytest.mark.strace,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
]

KEYS = [b"synced-%04d-end" % number for number in range(300)]
SYNC_DELAY_S = 1.0
TRACED = "trace=write,writev,pwrite64,sendto,sendmsg,fdatasync,fsync,sync_file_range"


@dataclass
class Call:
    """One system call: line numbers at which it began and ended, what it was on, the bytes it carried, its result."""

    name: str
    began: int
    ended: int
    target: str
    data: bytes
    result: int


def read_trace(path: Path) -> list[Call]:
    """The calls of `strace -f -yy -xx` in the order of their beginnings."""
    begun: dict[str, tuple[int, str]] = {}
    calls = []
    for number, line in enumerate(path.read_text(errors="replace").splitlines()):
        pid, _, rest = line.partition(" ")
        rest = rest.strip()
        began = number
        if rest.endswith("<unfinished ...>"):
            begun[pid] = (number, rest.removesuffix("<unfinished ...>").rstrip())
            continue
        resumed = re.match(r"<\.\.\. \w+ resumed>(.*)", rest)
        if resumed:
            began, head = begun.pop(pid)
            rest = head + resumed.group(1)
        matched = re.match(r"(\w+)\((\d+)<(.*?)>[,)](.*)= (-?\d+)", rest)
        if matched:
            name, _, target, arguments, result = matched.groups()
            data = b"".join(
                bytes.fromhex(text.replace("\\x", "")) for text in re.findall(r'"((?:\\x[0-9a-f]{2})*)"', arguments)
            )
            calls.append(Call(name, began, number, _unhex(target), data, int(result)))
    return calls


def _unhex(text: str) -> str:
    return re.sub(r"(?:\\x[0-9a-f]{2})+", lambda m: bytes.fromhex(m.group().replace("\\x", "")).decode(), text)


def unsynced(calls: list[Call], acknowledged: dict[bytes, int]) -> list[bytes]:
    """The acknowledged keys whose reply did not follow a sync that covers them."""
    log_writes = [
        call for call in calls if call.target.endswith(".log") and call.name in ("write", "pwrite64", "writev")
    ]
    syncs = [call for call in calls if call.name in ("fdatasync", "fsync") and call.target.endswith(".log")]
    replied: dict[int, int] = {}
    reader: FrameReader[Welcome | Reply] = FrameReader(versions.decode_welcome, 1 << 26)
    for call in calls:
        if call.target.startswith("TCP:") and call.result > 0:
            reader.feed(call.data[: call.result])
            while (message := reader.next()) is not None:
                if isinstance(message, Welcome):
                    reader.decode = versions.CODECS[message.version].decode_reply
                elif isinstance(message.answer, Written):
                    replied[message.call] = call.began
    late = []
    for key, call_id in acknowledged.items():
        written = [call.ended for call in log_writes if key in call.data]
        assert written, f"{key!r} was never written to a log"
        covered = [sync.ended for sync in syncs if sync.result == 0 and sync.began > written[0]]
        if not covered or covered[0] > replied[call_id]:
            late.append(key)
    return late


def trace_puts(tmp_path: Path, *options: str) -> tuple[list[Call], dict[bytes, int]]:
    trace = tmp_path / "trace"
    strace = ["strace", "-f", "-yy", "-xx", "-s", "1000000", "-o", str(trace), "-e", TRACED]
    with bucket_process(tmp_path / "b", *options, strace=strace) as (_, endpoint):
        acknowledged = asyncio.run(put_many(endpoint, KEYS))
    assert len(acknowledged) == len(KEYS)
    return read_trace(trace), acknowledged


def test_every_acknowledgement_follows_a_sync_that_covers_it(tmp_path: Path) -> None:
    calls, acknowledged = trace_puts(tmp_path)
    assert unsynced(calls, acknowledged) == []
    syncs = sum(call.name == "fdatasync" and call.target.endswith(".log") for call in calls)
    assert syncs < len(KEYS), "groups were committed, or the test saw lone writes only"


def test_the_check_notices_when_the_sync_is_taken_out(tmp_path: Path) -> None:
    calls, acknowledged = trace_puts(tmp_path, "--without-sync")
    assert len(unsynced(calls, acknowledged)) > len(KEYS) // 2


def test_a_failed_sync_acknowledges_nothing_and_ends_the_process(tmp_path: Path) -> None:
    """From the writer's 12th fdatasync on the disk fails; what was acknowledged before is there after a restart."""
    with bucket_process(tmp_path / "b"):
        pass  # made without strace: making a database syncs often, and strace counts by thread
    strace = ["strace", "-f", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=12+"]
    with bucket_process(tmp_path / "b", strace=strace) as (process, endpoint):
        acknowledged = asyncio.run(put_many(endpoint, KEYS))
        assert process.wait(30) == STORAGE_FAILED
        assert process.stderr is not None
        assert "Input/output error" in process.stderr.read()
    assert 0 < len(acknowledged) < len(KEYS)
    storage = open_folder(tmp_path / "b", 0, cache_bytes=1 << 20, write_buffer_bytes=1 << 22)
    stored = {key: records.decode(raw).value for key, raw in storage.engine.scan()}
    storage.close()
    assert set(acknowledged) <= set(stored)
    assert storage.facts.totals.keys == len(stored)


def test_a_read_never_shows_a_write_that_is_not_yet_synced(tmp_path: Path) -> None:
    """Every fdatasync begins a second late: the write is in the log, the client waits, and readers see the old value.

    A reader may see the new one a moment before the writer's answer arrives, but not before that second is over.
    """
    with bucket_process(tmp_path / "b") as (_, endpoint):
        asyncio.run(put_many(endpoint, [b"key"]))  # 100 times b"v"
    strace = [
        "strace",
        "-f",
        "-o",
        "/dev/null",
        "-e",
        "trace=fdatasync",
        "-e",
        f"inject=fdatasync:delay_enter={SYNC_DELAY_S * 1e6:.0f}",
    ]
    with bucket_process(tmp_path / "b", strace=strace) as (_, endpoint):
        before, during, after = asyncio.run(read_while_writing(endpoint))
    assert before == b"v" * 100
    assert after == b"new"
    waiting = [value for value, seconds in during if seconds < SYNC_DELAY_S]
    assert waiting, "readers are answered while the write waits for the disk"
    assert set(waiting) == {b"v" * 100}


async def read_while_writing(endpoint: Endpoint) -> tuple[bytes, list[tuple[bytes, float]], bytes]:
    """(the value before, values read while a put was not acknowledged with the seconds since it was sent, the one after)."""
    connection = await connected(endpoint)
    loop = asyncio.get_running_loop()

    async def get() -> bytes:
        answer = await connection.call(Get(b"key"), loop.time() + 60)
        assert isinstance(answer, Value)
        return answer.value

    before = await get()
    sent_s = loop.time()
    put = connection.call(Put(b"key", b"new", ""), loop.time() + 60)
    during = []
    while not put.done():
        value = await get()
        during.append((value, loop.time() - sent_s))
    assert isinstance(put.result(), Written)
    after = await get()
    connection.close()
    return before, during, after
