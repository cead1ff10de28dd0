"""Parts of the store inside the cluster, each at the moment that is hard to meet from outside."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from concurrent.futures import CancelledError
from typing import Any, cast

import pytest

from cloud_storage import Unavailable
from serve_app import errors
from serve_app.directory.directory import Directory
from serve_app.directory.routed import Routed
from serve_app.http.v1 import transfer as transfer_module
from serve_app.inside import patient as patient_module
from serve_app.inside import watching
from serve_app.inside.loop_thread import LoopThread
from serve_app.inside.patient import Patient
from serve_app.inside.requests import Requests
from serve_app.operations import Get, Missing
from tests.client.test_inside_faults import inside
from tests.support.local_store import local_store, run_async, until


class Held:
    """A directory whose operations end when they are let."""

    def __init__(self) -> None:
        self.under_way: list[asyncio.Future[Any]] = []

    async def carry_out(self, operation: Any, deadline_s: float) -> Any:
        future = asyncio.get_running_loop().create_future()
        self.under_way.append(future)
        await future
        return Routed(Missing(), 0, "")


@run_async
async def test_the_turn_of_one_who_gave_up_is_the_next_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patient_module, "UNDER_WAY", 1)
    held = Held()
    patient = Patient(cast(Directory, held), 10.0)
    first, second, third = (asyncio.create_task(patient.carry_out(Get(b"k"))) for _ in range(3))
    await until(lambda: len(held.under_way) == 1 and len(patient._waiting) == 2)
    admit = patient._admit

    def admit_and_cancel() -> None:
        admit()
        second.cancel()  # when it was told that it may go, and has not gone yet
        patient._admit = admit  # type: ignore[method-assign]

    patient._admit = admit_and_cancel  # type: ignore[method-assign]
    held.under_way[0].set_result(None)
    await asyncio.gather(first, second, return_exceptions=True)
    assert second.cancelled()
    await until(lambda: len(held.under_way) == 2)
    held.under_way[1].set_result(None)
    assert await third == Missing()
    assert patient._under_way == 0


@run_async
async def test_a_value_that_can_not_be_read_for_a_moment_is_told_later(monkeypatch: pytest.MonkeyPatch) -> None:
    async with local_store(2) as store:
        await store.directory()
        async with inside(store) as client:
            failing = [True]
            real = watching._values_of

            async def values_of(*args: Any) -> Any:
                if failing and failing.pop():
                    raise Unavailable("its bucket is away")
                return await real(*args)

            monkeypatch.setattr(watching, "_values_of", values_of)
            told: list[tuple[str, bytes | None]] = []

            async def follow() -> None:
                async for event in client.watch("w", values=True):
                    told.append((event.key, event.value))

            following = asyncio.create_task(follow())
            await until(lambda: client._patient.directory.watches.count == 1)
            await client.put("w1", b"1")
            await client.put("w2", b"2")
            await until(lambda: ("w2", b"2") in told)
            assert ("w1", b"1") in told
            assert not failing
            following.cancel()


def test_no_two_clients_give_a_write_the_same_name() -> None:
    one, other = Requests(60.0), Requests(60.0)
    names = [each.increment("k", 1, None).idempotency_key for each in (one, other, one, other)]
    assert len(set(names)) == 4
    assert len({name.partition(b"-")[0] for name in names}) == 2, "drawn by each"
    assert all(len(name) <= 64 for name in names)


@pytest.mark.parametrize("begun", [True, False])
def test_who_waits_for_a_loop_that_ends_hears_of_it(begun: bool) -> None:
    thread = LoopThread("test")
    ended: list[BaseException] = []
    working = threading.Event()

    async def work() -> None:
        working.set()
        await asyncio.Event().wait()

    def wait() -> None:
        try:
            thread.run(work())
        except BaseException as error:
            ended.append(error)

    waiter = threading.Thread(target=wait, daemon=True)
    waiter.start()
    if begun:
        assert working.wait(10)
    thread.stop()
    waiter.join(10)
    assert not waiter.is_alive()
    assert isinstance(ended[0], (CancelledError, asyncio.CancelledError, RuntimeError))
    with pytest.raises(RuntimeError, match="closed"):
        thread.run(work())


def test_a_loop_is_not_waited_for_by_itself() -> None:
    thread = LoopThread("test")

    async def work() -> None:
        with pytest.raises(RuntimeError, match="its own loop"):
            thread.run(asyncio.sleep(0))

    thread.run(work())
    thread.stop()


@run_async
async def test_an_export_that_a_bucket_interrupts_goes_on_behind_what_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer_module, "_PATIENCE_S", 0.0)
    async with local_store(2) as store:
        await store.directory()
        async with inside(store) as client:
            names = [f"e{number:05}" for number in range(3500)]
            await client.put_many((name, name) for name in names)
            listing = client._patient.directory.listing
            pages, real = [0], listing.page

            async def page(asked: Any) -> Any:
                pages[0] += 1
                if pages[0] in (2, 4):
                    raise errors.Unavailable("a bucket is away")
                return await real(asked)

            monkeypatch.setattr(listing, "page", page)
            file = io.BytesIO()
            assert await client.export(file, "e") == len(names)
            assert pages[0] > 4
            *lines, last = file.getvalue().splitlines()
            assert [json.loads(line)["key"] for line in lines] == names
            assert json.loads(last) == {"exported": len(names)}
