"""What comes at once from several clients travels together, and each is answered as if it had come alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from serve_app import placement
from serve_app.directory.gathering import Gathering
from serve_app.directory.routed import Routed
from serve_app.errors import OutcomeUnknown, StoreError, Unavailable
from serve_app.operations import Delete, Get, Operation, Put, Splice
from tests.support.asking import put
from tests.support.local_store import local_store, run_async, until

Operations = Sequence[Operation[Any]]


class Fake:
    """A directory that does nothing but say what it was asked, and answers when it is told to. messages: what was asked
    together; the bucket's id is -1 where none was named."""

    def __init__(self, count: int = 2, *, moving: bool = False) -> None:
        topology = SimpleNamespace(moving=moving, bucket_count=count)
        self.view: Any = SimpleNamespace(topology=topology)
        self.messages: list[tuple[int, list[Operation[Any]]]] = []
        self.answered: list[asyncio.Future[Any]] = []

    async def carry_out(self, operation: Operation[Any], deadline_s: float = 0.0) -> Routed[Any]:
        (outcome,) = await self._asked(-1, [operation])
        if isinstance(outcome, StoreError):
            raise outcome
        return Routed(outcome, 0, "")

    async def answers_to_all(self, operations: Operations, home: int = -1) -> list[Any]:
        return await self._asked(home, list(operations))

    async def _asked(self, home: int, operations: list[Operation[Any]]) -> list[Any]:
        self.messages.append((home, operations))
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.answered.append(future)
        error = await future
        return [error or operation.key for operation in operations]

    def answer(self, number: int, error: BaseException | None = None) -> None:
        if error is None or isinstance(error, StoreError):
            self.answered[number].set_result(error)
        else:
            self.answered[number].set_exception(error)


def keys_of(home: int, count: int = 2, wanted: int = 8) -> list[bytes]:
    names = (b"%d" % number for number in range(1000))
    return [key for key in names if placement.bucket_of(key, count) == home][:wanted]


class Clients:
    """Each sends a burst; came: what it was answered, by who it is."""

    def __init__(self, fake: Fake) -> None:
        self.gathering = Gathering(fake)
        self.came: dict[str, list[Any]] = {}

    def send(self, who: str, *operations: Operation[Any]) -> None:
        self.gathering.add(operations, lambda outcomes: self.came.__setitem__(who, outcomes))


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@run_async
async def test_reads_and_writes_travel_in_one_message_each_to_each_bucket() -> None:
    fake, here, there = Fake(), keys_of(0), keys_of(1)
    clients = Clients(fake)
    for number in range(3):
        clients.send(f"reader {number}", Get(here[number]), Get(there[number]))
        clients.send(f"writer {number}", Put(here[number], b"v", ""))
    assert not fake.messages, "not before this turn of the loop is over"
    await turns()
    asked = {(home, tuple(each.name for each in operations)) for home, operations in fake.messages}
    assert asked == {(0, ("get",) * 3), (1, ("get",) * 3), (0, ("put",) * 3)}
    for number, (home, operations) in enumerate(fake.messages):
        if home == 0 and not operations[0].writes:
            fake.answer(number)
    await turns()
    assert not clients.came, "the readers wait for the other bucket's answer, the writers for theirs"
    for number, future in enumerate(fake.answered):
        if not future.done():
            fake.answer(number)
    await turns()
    assert clients.came == {
        **{f"reader {number}": [here[number], there[number]] for number in range(3)},
        **{f"writer {number}": [here[number]] for number in range(3)},
    }


@run_async
async def test_a_read_behind_a_write_of_the_same_burst_travels_with_it() -> None:
    fake, keys = Fake(), keys_of(0)
    clients = Clients(fake)
    clients.send("one", Put(keys[0], b"v", ""), Get(keys[0]), Get(keys[1]))
    clients.send("other", Get(keys[2]))
    await turns()
    assert sorted([each.name for each in operations] for _, operations in fake.messages) == [
        ["get"],
        ["put", "get", "get"],
    ]


@run_async
async def test_what_comes_while_a_message_is_under_way_gathers_but_not_for_long() -> None:
    fake, keys = Fake(), keys_of(0)
    clients = Clients(fake)
    clients.send("first", Get(keys[0]))
    await turns()
    for number in range(1, 4):
        clients.send(f"later {number}", Get(keys[number]))
        await turns()
    assert len(fake.messages) == 1
    fake.answer(0)
    await turns()
    assert [len(operations) for _, operations in fake.messages] == [1, 3]
    clients.send("last", Get(keys[4]))
    await until(lambda: len(fake.messages) == 3)  # though the one before is not answered
    fake.answer(1)
    fake.answer(2)
    await turns()
    assert len(clients.came) == 5


@run_async
async def test_one_that_tells_a_value_and_all_while_keys_move_travel_alone() -> None:
    keys = keys_of(0)
    for fake in (Fake(), Fake(moving=True)):
        clients = Clients(fake)
        clients.send("a", Delete(keys[0]))
        clients.send("b", Put(keys[1], b"v", ""))
        clients.send("c", Put(keys[2], b"v", ""), Put(keys[3], b"v", ""))
        await turns()
        moving = fake.view.topology.moving
        assert sorted(len(operations) for _, operations in fake.messages) == ([1, 1, 2] if moving else [1, 3])
        assert not moving or {home for home, _ in fake.messages} == {-1}


@run_async
async def test_what_an_earlier_release_does_not_know_is_refused_to_who_asked_for_it_alone() -> None:
    fake, keys = Fake(), keys_of(0)
    clients = Clients(fake)
    clients.send("new", Splice(keys[0], b"v", ""))
    clients.send("old", Put(keys[1], b"v", ""))
    await turns()
    assert sorted(operations[0].name for _, operations in fake.messages) == ["put", "splice"]


@run_async
async def test_large_values_travel_in_several_messages() -> None:
    fake, keys = Fake(), keys_of(0)
    clients = Clients(fake)
    for key in keys[:5]:
        clients.send(key.decode(), Put(key, b"v" * 2_000_000, ""))
    for number in range(3):
        await until(lambda number=number: len(fake.messages) > number)  # type: ignore[misc]
        fake.answer(number)
    await turns()
    assert [len(operations) for _, operations in fake.messages] == [2, 2, 1]
    assert len(clients.came) == 5


@pytest.mark.parametrize(
    ("error", "of_a_read", "of_a_write"),
    [(Unavailable("away"), Unavailable, Unavailable), (RuntimeError("oh"), Unavailable, OutcomeUnknown)],
)
@run_async
async def test_each_is_told_what_went_wrong(
    error: Exception, of_a_read: type[StoreError], of_a_write: type[StoreError]
) -> None:
    fake, keys = Fake(), keys_of(0)
    clients = Clients(fake)
    for number in range(2):
        clients.send(f"reader {number}", Get(keys[number]))
        clients.send(f"writer {number}", Put(keys[number], b"v", ""))
    await turns()
    fake.answer(0, error)
    fake.answer(1, error)
    await turns()
    for number in range(2):
        assert [type(each) for each in clients.came[f"reader {number}"]] == [of_a_read]
        assert [type(each) for each in clients.came[f"writer {number}"]] == [of_a_write]


@run_async
async def test_who_can_not_take_an_answer_keeps_nobody_from_theirs() -> None:
    fake, keys = Fake(), keys_of(0)
    clients = Clients(fake)

    def broken(outcomes: list[Any]) -> None:
        raise RuntimeError

    clients.gathering.add([Get(keys[0])], broken)
    clients.send("other", Get(keys[1]))
    await turns()
    fake.answer(0)
    await turns()
    clients.send("next", Get(keys[2]))
    await turns()
    fake.answer(1)
    await turns()
    assert set(clients.came) == {"other", "next"}


@run_async
async def test_with_real_buckets_also_while_one_is_away_and_after_the_keys_have_moved() -> None:
    async with local_store(2) as store:
        directory = await store.directory(2)
        gathering = Gathering(directory)
        keys = [b"key-%d" % number for number in range(40)]
        for key in keys:
            await put(directory, key, b"v" + key, "")

        async def all_of(some: list[bytes]) -> list[Any]:
            futures = [asyncio.get_running_loop().create_future() for _ in some]
            for key, future in zip(some, futures, strict=True):
                gathering.add([Get(key)], lambda outcomes, future=future: future.set_result(outcomes[0]))  # type: ignore[misc]
            return await asyncio.gather(*futures)

        assert [answer.value for answer in await all_of(keys)] == [b"v" + key for key in keys]
        await store.buckets[1].crash()
        here = [key for key in keys if placement.bucket_of(key, 2) == 0]
        away = asyncio.ensure_future(all_of([key for key in keys if key not in here]))
        assert [answer.value for answer in await all_of(here)] == [b"v" + key for key in here]
        assert not away.done()
        await store.buckets[1].start()
        assert all(hasattr(answer, "value") for answer in await away)
