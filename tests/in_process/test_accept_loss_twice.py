"""Bucket 0 is lost, and lost again before the store has heard with which storage it went on: epochs must not collide."""

from __future__ import annotations

import time

import pytest

from serve_app import placement
from serve_app.cli import loss as loss_module
from serve_app.cli.buckets import Buckets
from serve_app.cli.loss import find_loss
from serve_app.topology import MAX_EPOCH, Topology
from serve_app.wire import messages
from tests.support.local_store import LocalStore, run_async, until
from tests.support.lost_buckets import KEYS, check_keys, check_whole, filled_store, known, lose
from tests.support.quick_moves import move_quickly


@pytest.fixture(autouse=True)
def agree_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    move_quickly(monkeypatch)


async def told_to_bucket_0_alone(store: LocalStore, now_us: int) -> Topology:
    """The loss of bucket 0 is accepted, and the command dies before it has told anybody else."""
    async with Buckets(store, find_timeout_s=0.5) as buckets:
        return await loss_module._commit(buckets, await find_loss(buckets, 0), lambda: now_us)


@run_async
async def test_a_directory_that_alone_heard_of_the_first_is_heard_before_the_second() -> None:
    async with filled_store(3) as (store, directory):
        before = known(store, 1)
        assert before is not None
        await lose(store, 0)
        # As if the directory had asked bucket 0 in between; what buckets know, and a clock that stands still, are the same.
        first = before.accept_loss(0, "of a storage that is lost too", least_epoch=before.epoch + 5_000)
        directory.view.adopt(first)
        await until(lambda: store.buckets[0].server.bucket.heard_epoch == first.epoch)  # type: ignore[union-attr]
        second = await told_to_bucket_0_alone(store, now_us=0)
        assert second.epoch > first.epoch
        await until(lambda: directory.view.topology == second)
        await check_keys(directory, {key for key in KEYS if placement.bucket_of(key, 3) == 0})
        await check_whole(store)


@run_async
async def test_what_bucket_0_alone_was_told_by_a_directory_is_counted_from() -> None:
    """The other buckets have not been told of it yet, nor does the clock help."""
    async with filled_store(2) as (store, directory):
        await directory.stop()
        await lose(store, 0)
        async with Buckets(store, find_timeout_s=0.5) as buckets:
            connection = await buckets._connection(0, 1e9)
            await connection.call(messages.Inspect("directory", 2), 1e9, epoch=5_000)
        assert (await told_to_bucket_0_alone(store, now_us=0)).epoch > 5_000


def test_the_clock_counts_in_microseconds() -> None:
    """More go by between two acceptances than epochs are left out."""
    before_us = time.time_ns() // 1_000
    assert before_us <= loss_module.unix_us() <= time.time_ns() // 1_000


@run_async
async def test_a_directory_that_can_not_be_heard_follows_the_later_one_all_the_same() -> None:
    async with filled_store(3) as (store, directory):
        before = known(store, 1)
        await lose(store, 0)
        async with Buckets(store, find_timeout_s=0.5) as buckets:
            loss = await find_loss(buckets, 0)
            assert loss.topology == before, "nobody who is asked knows more"
        first = loss_module._epoch_above(loss, now_us=1_000_000)
        second = loss_module._epoch_above(loss, now_us=1_000_001)
        assert before is not None
        assert second > first > before.epoch
        directory.view.adopt(before.accept_loss(0, "of a storage that is lost too", least_epoch=first))
        accepted = await told_to_bucket_0_alone(store, now_us=1_000_001)
        await until(lambda: directory.view.topology == accepted)
        await check_keys(directory, {key for key in KEYS if placement.bucket_of(key, 3) == 0})


@run_async
async def test_an_epoch_that_can_not_be_is_not_believed() -> None:
    async with filled_store(2) as (store, _):
        await until(lambda: store.buckets[0].server.bucket.heard_epoch == 1)  # type: ignore[union-attr]
        async with Buckets(store, find_timeout_s=0.5) as buckets:
            connection = await buckets._connection(0, 1e9)
            await connection.call(messages.Inspect("directory", 2), 1e9, epoch=MAX_EPOCH + 1)
        assert store.buckets[0].server.bucket.heard_epoch == 1  # type: ignore[union-attr]
