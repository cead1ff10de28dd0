"""Windows that no bucket would send: all of one becomes durable, so what could not be read again is not taken in."""

from __future__ import annotations

import pytest

from serve_app import operations, outcomes
from serve_app.outcomes import Outcome
from serve_app.records import Record, encode
from serve_app.storage.facts import read_bucket_facts
from serve_app.topology import Topology
from serve_app.wire import messages
from serve_app.wire.messages import Envelope, Window
from tests.support.local_store import run_async
from tests.support.raw_client import greeted, serving

RAW = encode(Record(b"v", "text/plain", 1, 1, 1))


def outcome(due_ms: int) -> tuple[bytes, bytes]:
    return outcomes.name_of(b"k4", b"once"), outcomes.encode(Outcome(due_ms, b"digest", b"answer"))


NO_WINDOWS = {
    "of no bucket": Window(-1, b"z", 1, []),
    "of a bucket beyond all": Window(64, b"z", 1, []),
    "with a revision below 0": Window(1, b"z", -1, []),
    "with a revision that counts can't hold": Window(1, b"z", 2**64 - 1, []),
    "with a revision after which they could not hold the next": Window(1, b"z", 2**63 - 1, []),
    "that ends nowhere": Window(1, b"z" * 1026, 1, []),
    "without a key": Window(1, b"z", 1, [(b"k4", RAW), (b"", RAW)]),
    "with a key that is too long": Window(1, b"z", 1, [(b"k" * 1025, RAW)]),
    "with what is no record": Window(1, b"z", 1, [(b"k4", b"v")]),
    "with what names no outcome": Window(1, b"z", 1, [], [(b"bucket.totals", outcome(1)[1])]),
    "with what is no outcome": Window(1, b"z", 1, [], [(outcomes.name_of(b"k4", b"once"), b"")]),
    "with an outcome of before all time": Window(1, b"z", 1, [], [outcome(-1)]),
    "with an outcome of after all time": Window(1, b"z", 1, [], [outcome(2**64 - 1)]),
}


@pytest.mark.parametrize("window", NO_WINDOWS.values(), ids=NO_WINDOWS)
@run_async
async def test_a_window_that_would_keep_the_bucket_from_opening_again_is_refused(window: Window) -> None:
    async with serving() as bucket:
        client = await greeted(bucket)
        identity = bucket.server.bucket.identity  # type: ignore[union-attr]
        moving = Topology(2, 2, 1, "store", (identity, "other"), move_epoch=2)
        client.send(Envelope(1, 10_000, 0, messages.Install(moving)), Envelope(2, 10_000, 2, window))
        refused = (await client.receive_reply()).answer  # before what has to wait for a sync
        assert isinstance(refused, messages.Refused)
        assert refused.reason == "invalid"
        assert isinstance(await client.receive(), messages.Status)
        client.send(Envelope(3, 10_000, 2, operations.Put(b"k4", b"v", "")))
        assert await client.receive() == operations.Written(True, 1), "nothing of the window is there"
        assert list(bucket.records) == [b"k4"]
        read_bucket_facts(bucket.engine.get_fact, "memory")
        assert bucket.failures == []
