"""What one move leaves behind must not stand in the way of the next, nor be taken for it."""

from __future__ import annotations

import pytest

from serve_app import operations
from serve_app.bucket.bucket import Bucket
from serve_app.bucket.standing import Standing
from serve_app.cursor import END, Cursor
from serve_app.directory.directory import Directory
from serve_app.records import Record, encode
from serve_app.settings import Limits
from serve_app.topology import Topology, first_topology
from serve_app.wire import messages
from tests.support.asking import get, put
from tests.support.commits import nobody_is_told
from tests.support.local_store import MemoryStorage, local_store, run_async, until
from tests.support.memory_engine import MemoryEngine, new_bucket_engine
from tests.support.quick_moves import move_quickly, settled


@pytest.fixture(autouse=True)
def agree_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    move_quickly(monkeypatch)


async def moved(directory: Directory, count: int) -> None:
    directory.configuration.follow(count)
    await until(lambda: settled(directory, count), 20)


@run_async
async def test_a_bucket_that_has_ended_joins_again() -> None:
    async with local_store(3) as store:
        directory = await store.directory(3)
        for n in range(50):
            await put(directory, b"key-%d" % n, b"v", "")
        await moved(directory, 1)
        for bucket in store.buckets[1:]:
            await until(lambda bucket=bucket: bucket.retired)  # type: ignore[misc]
            bucket.retired = False
            await bucket.crash()
            await bucket.start()
            assert bucket.server is not None
            assert not bucket.server.bucket.standing.fault
        await moved(directory, 3)
        assert [bool(bucket.records) for bucket in store.buckets] == [True, True, True]
        for n in range(50):
            assert await get(directory, b"key-%d" % n) == b"v"


class _SlowRead(MemoryEngine):
    """While the first read from the disk is under way, `meanwhile` happens."""

    def get(self, key: bytes) -> bytes | None:
        found = super().get(key)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        return found

    meanwhile = None


def test_a_read_that_a_key_went_and_came_back_under_is_read_again() -> None:
    """It found nothing, for the key was away; when it is judged, the bucket is its home as it was at the beginning."""
    engine = _SlowRead()
    engine.write([], [(name, value) for name, value in new_bucket_engine(0)._facts.items()])
    bucket = Bucket(
        MemoryStorage(engine, 0),
        Limits(),
        incarnation="",
        on_group_done=nobody_is_told,
        failed=lambda error: None,
    )
    first = first_topology((bucket.identity,))
    later = Topology(first.epoch + 4, 1, 1, first.store_id, first.identities)
    bucket.serve_by(Standing(first, Cursor(first.epoch, END), {}))

    def two_moves() -> None:
        engine.write([(b"k", encode(Record(b"v", "", 1, 0, 0)))], [])
        bucket.serve_by(Standing(later, Cursor(later.epoch, END), {}))

    engine.meanwhile = two_moves  # type: ignore[assignment]
    answer = bucket.reader.on_disk(messages.Envelope(1, 1000, 0, operations.Get(b"k")), bucket.clock())
    assert isinstance(answer, operations.Value)
    assert answer.value == b"v"
