"""Several acceptors decide what topology follows: any bucket proposes, most of them suffice, and what they said counts."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from serve_app.authority.proposer import Proposer
from serve_app.authority.proposing_bucket import Overtaken
from serve_app.ballots import Ballot, Vote
from serve_app.errors import OutcomeUnknown, StorageDamaged, StorageForeign, Unavailable
from serve_app.operations.body import Body
from serve_app.storage.facts import IDENTITY, OWNER, VOTE, read_storage_facts, vote_fact
from serve_app.topology import Topology, first_topology
from serve_app.wire.connection import connect_tcp, open_connection
from serve_app.wire.messages import AcceptLoss, Moved, Refused, Status
from serve_app.wire.voting import Accept, Accepted, Outvoted, Prepare, Promised
from tests.support.local_store import LocalStore, local_store, run_async, until
from tests.support.lost_buckets import KEYS, accepted, check_keys, check_whole, filled_store, known, lose
from tests.support.memory_engine import new_bucket_engine
from tests.support.quick_moves import move_quickly

LOW, MIDDLE, HIGH = Ballot(1, "one"), Ballot(2, "two"), Ballot(2, "zzz")


@pytest.fixture(autouse=True)
def agree_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    move_quickly(monkeypatch)


def proposer(store: LocalStore, bucket_id: int) -> Proposer:
    server = store.buckets[bucket_id].server
    assert server is not None
    assert server.proposer is not None
    return server.proposer


def of(store: LocalStore, bucket_id: int) -> Topology:
    topology = known(store, bucket_id)
    assert topology is not None
    return topology


async def name_acceptors(store: LocalStore, *bucket_ids: int) -> Topology:
    """Have these decide from here on, and everybody know that."""
    new = of(store, 0).name_acceptors(bucket_ids)
    await proposer(store, 0).decide(of(store, 0), new)
    await until(lambda: all(known(store, bucket_id) == new for bucket_id in range(len(new.identities))))
    return new


async def ask(store: LocalStore, bucket_id: int, body: Body[Any]) -> Any:
    endpoint = store.buckets[bucket_id].endpoint
    assert endpoint is not None
    connection, _ = await open_connection(endpoint, bucket_id, "", store.limits, connect_tcp)
    try:
        return await connection.call(body, asyncio.get_running_loop().time() + 5)
    finally:
        connection.close()


def stored_vote(store: LocalStore, bucket_id: int) -> Vote | None:
    return read_storage_facts(store.buckets[bucket_id].engine.get_fact, bucket_id, "the disk").vote


# -- what is decided -------------------------------------------------------------------------------------------------


@run_async
async def test_bucket_0_alone_leaves_no_votes_behind() -> None:
    """One acceptor costs and stores what it did before there could be several."""
    async with filled_store(3, configured=2) as (store, directory):
        directory.configuration.follow(3)
        await until(lambda: of(store, 0).bucket_count == 3, 20)
        assert of(store, 0).acceptors == ()
        assert of(store, 0).epoch == 3
        assert [bucket.engine.get_fact(VOTE) for bucket in store.buckets] == [None] * 3


@run_async
async def test_keys_move_and_come_back_with_several_acceptors() -> None:
    async with filled_store(4, configured=3) as (store, directory):
        named = await name_acceptors(store, 0, 1, 2)
        directory.configuration.follow(4)
        await until(lambda: of(store, 3).bucket_count == 4 if known(store, 3) else False, 20)
        assert of(store, 0).acceptors == named.acceptors
        directory.configuration.follow(2)
        await until(lambda: of(store, 0).bucket_count == 2, 20)
        assert of(store, 0).electorate == (0,), "who has left does not decide any more"
        await check_keys(directory, set())
        await check_whole(store)


@run_async
async def test_any_bucket_proposes_and_one_that_is_away_does_not_matter() -> None:
    async with filled_store(3) as (store, _):
        before = await name_acceptors(store, 0, 1, 2)
        await store.buckets[0].crash()
        new = before.name_acceptors((0, 2, 1))
        await proposer(store, 2).decide(before, new)
        assert of(store, 2) == new
        await store.buckets[0].start()
        await until(lambda: all(known(store, bucket_id) == new for bucket_id in range(3)))
        assert [stored_vote(store, bucket_id) for bucket_id in range(3)] == [None] * 3, "that instance is over"


@run_async
async def test_a_minority_decides_nothing() -> None:
    async with filled_store(3) as (store, _):
        before = await name_acceptors(store, 0, 1, 2)
        await store.buckets[0].crash()
        await store.buckets[1].crash()
        with pytest.raises(Unavailable, match=r"2 of 3 acceptors have to agree: .*bucket-[01]"):
            await proposer(store, 2).decide(before, before.name_acceptors(()))
        assert of(store, 2) == before


@run_async
async def test_what_may_have_been_decided_is_completed_first() -> None:
    """A proposer had two acceptors accept its value, and died before anybody heard of that."""
    async with filled_store(3) as (store, _):
        before = await name_acceptors(store, 0, 1, 2)
        decided, mine = before.name_acceptors((0, 2, 1)), before.name_acceptors(())
        for bucket_id in (0, 1):
            assert await ask(store, bucket_id, Prepare(before, MIDDLE)) == Promised(None, None)
            assert await ask(store, bucket_id, Accept(before, MIDDLE, decided)) == Accepted()
            assert of(store, bucket_id) == before
        await store.buckets[1].crash()
        with pytest.raises(Overtaken):
            await proposer(store, 2).decide(before, mine)
        assert of(store, 2) == decided
        await store.buckets[1].start()
        await until(lambda: all(known(store, bucket_id) == decided for bucket_id in range(3)))


@run_async
async def test_of_what_was_accepted_the_highest_ballot_counts() -> None:
    async with filled_store(3) as (store, _):
        before = await name_acceptors(store, 0, 1, 2)
        first, second = before.name_acceptors((0, 2, 1)), before.name_acceptors((1, 0, 2))
        assert await ask(store, 0, Accept(before, LOW, first)) == Accepted()
        assert await ask(store, 1, Accept(before, HIGH, second)) == Accepted()
        await store.buckets[2].crash()
        with pytest.raises(Overtaken):
            await proposer(store, 0).decide(before, before.name_acceptors(()))
        assert of(store, 0) == second


@run_async
async def test_proposals_at_once_make_one_chain() -> None:
    async with filled_store(3) as (store, _):
        before = await name_acceptors(store, 0, 1, 2)
        orders = ((0, 1, 2), (1, 2, 0), (2, 0, 1))
        proposals = [before.name_acceptors(order) for order in orders]
        outcomes = await asyncio.gather(
            *(proposer(store, bucket_id).decide(before, new) for bucket_id, new in enumerate(proposals)),
            return_exceptions=True,
        )
        assert all(outcome is None or isinstance(outcome, Overtaken | OutcomeUnknown) for outcome in outcomes), outcomes
        succeeded = [new for new, outcome in zip(proposals, outcomes, strict=True) if outcome is None]
        assert len(set(succeeded)) <= 1
        await until(lambda: len({known(store, bucket_id) for bucket_id in range(3)}) == 1)
        assert of(store, 0) in proposals
        assert [of(store, 0)] == succeeded or not succeeded


# -- losses ----------------------------------------------------------------------------------------------------------


@run_async
async def test_the_loss_of_bucket_0_is_decided_by_the_others() -> None:
    """No epochs are left out: nothing that was decided can be forgotten with one acceptor."""
    async with filled_store(3) as (store, directory):
        before = await name_acceptors(store, 0, 1, 2)
        lost = {key for key in KEYS if directory.view.home_of(key, before)[0] == 0}
        await lose(store, 0)
        topology = await accepted(store, 0)
        assert topology.epoch == before.epoch + 1
        new_identity = (store.buckets[0].engine.get_fact(IDENTITY) or b"").decode()
        assert topology.acceptors == (new_identity, *before.acceptors[1:])
        await until(lambda: directory.view.topology == topology)
        await check_keys(directory, lost)
        await check_whole(store)


@run_async
async def test_a_loss_that_is_accepted_twice_is_one() -> None:
    async with filled_store(3) as (store, _):
        await name_acceptors(store, 0, 1, 2)
        await lose(store, 1)
        topology = await accepted(store, 1)
        again = await ask(store, 2, AcceptLoss(1, topology.identities[1]))
        assert isinstance(again, Status)
        assert again.topology == topology
        assert await ask(store, 2, AcceptLoss(7, "any")) == Refused(
            "invalid", "the store has no bucket-7 that could have lost its data"
        )


@run_async
async def test_a_mistake_while_a_loss_is_decided_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    async with filled_store(3) as (store, _):
        await name_acceptors(store, 0, 1, 2)

        async def mistaken(*_: object) -> None:
            raise RuntimeError("ours")

        monkeypatch.setattr(Proposer, "decide", mistaken)
        answer = await ask(store, 2, AcceptLoss(1, "another"))
        assert answer == Refused("unknown", "the bucket made a mistake; the log says more")


# -- what an acceptor says -------------------------------------------------------------------------------------------


@run_async
async def test_an_acceptor_keeps_its_word_over_restarts() -> None:
    async with filled_store(3) as (store, _):
        before = await name_acceptors(store, 0, 1, 2)
        value = before.name_acceptors(())
        assert await ask(store, 1, Prepare(before, MIDDLE)) == Promised(None, None)
        assert stored_vote(store, 1) == Vote(before.epoch, MIDDLE)
        await store.buckets[1].crash()
        await store.buckets[1].start()
        assert await ask(store, 1, Prepare(before, LOW)) == Outvoted(MIDDLE)
        assert await ask(store, 1, Accept(before, LOW, value)) == Outvoted(MIDDLE)
        assert await ask(store, 1, Accept(before, MIDDLE, value)) == Accepted()
        await store.buckets[1].crash()
        await store.buckets[1].start()
        assert stored_vote(store, 1) == Vote(before.epoch, MIDDLE, MIDDLE, value)
        assert await ask(store, 1, Prepare(before, HIGH)) == Promised(MIDDLE, value)
        assert await ask(store, 1, Accept(before, MIDDLE, value)) == Outvoted(HIGH)


@run_async
async def test_what_it_accepts_it_has_promised_too_and_tells_of_with_every_promise() -> None:
    """An Accept may come to who was not asked for a promise: most others were."""
    async with filled_store(3) as (store, _):
        before = await name_acceptors(store, 0, 1, 2)
        value = before.name_acceptors(())
        assert await ask(store, 1, Prepare(before, LOW)) == Promised(None, None)
        assert await ask(store, 1, Accept(before, HIGH, value)) == Accepted()
        assert await ask(store, 1, Prepare(before, MIDDLE)) == Outvoted(HIGH)
        assert await ask(store, 1, Accept(before, MIDDLE, before.name_acceptors((2, 1, 0)))) == Outvoted(HIGH)
        for ballot in (Ballot(3, "a"), Ballot(4, "a")):
            assert await ask(store, 1, Prepare(before, ballot)) == Promised(HIGH, value)


@run_async
async def test_a_proposer_goes_above_what_others_have_promised() -> None:
    async with filled_store(3) as (store, _):
        before = await name_acceptors(store, 0, 1, 2)
        for bucket_id in (0, 1):
            assert await ask(store, bucket_id, Prepare(before, Ballot(1000, "another"))) == Promised(None, None)
        new = before.name_acceptors(())
        await proposer(store, 2).decide(before, new)
        assert of(store, 2) == new


@run_async
async def test_it_installs_what_it_votes_after_and_forgets_what_is_over() -> None:
    async with filled_store(3) as (store, directory):
        await directory.stop()  # nobody tells bucket 1
        before = await name_acceptors_quietly(store, 0, 1, 2)
        assert of(store, 1).epoch == before.epoch - 1
        assert await ask(store, 1, Prepare(before, HIGH)) == Promised(None, None)
        assert of(store, 1) == before
        later = before.name_acceptors((2, 1, 0))
        assert await ask(store, 1, Prepare(later, LOW)) == Promised(None, None), "a lower ballot, of another instance"
        assert await ask(store, 1, Prepare(before, HIGH)) == Moved(later)


async def name_acceptors_quietly(store: LocalStore, *bucket_ids: int) -> Topology:
    new = of(store, 0).name_acceptors(bucket_ids)
    await proposer(store, 0).decide(of(store, 0), new)
    return new


@run_async
async def test_who_is_not_named_has_no_vote() -> None:
    async with filled_store(4) as (store, _):
        before = await name_acceptors(store, 0, 1, 2)
        answer = await ask(store, 3, Prepare(before, LOW))
        assert answer == Refused("invalid", f"the storage of bucket-3 has no vote after epoch {before.epoch}")


@run_async
async def test_an_emptied_storage_does_not_vote_in_the_place_of_the_one_that_promised() -> None:
    async with filled_store(3) as (store, _):
        before = await name_acceptors(store, 0, 1, 2)
        await lose(store, 1)
        answer = await ask(store, 1, Prepare(before, LOW))
        assert isinstance(answer, Refused)
        assert answer.reason == "fault"
        assert stored_vote(store, 1) is None


@run_async
async def test_a_value_that_does_not_follow_is_refused() -> None:
    async with filled_store(3) as (store, _):
        before = await name_acceptors(store, 0, 1, 2)
        later = before.name_acceptors(()).name_acceptors(())
        elsewhere = first_topology(before.identities, "another")
        for value in (before, later, elsewhere):
            answer = await ask(store, 1, Accept(before, LOW, value))
            assert isinstance(answer, Refused)
            assert "does not follow" in answer.detail
        wrong = Topology(before.epoch, 3, 3, before.store_id, before.identities)
        assert isinstance(await ask(store, 1, Prepare(wrong, LOW)), Refused), "an epoch has one topology"


@run_async
async def test_only_the_storage_that_decides_alone_does() -> None:
    async with local_store(3) as store:
        await store.directory()
        await until(lambda: all(known(store, bucket_id) for bucket_id in range(3)))
        before = of(store, 0)
        server = store.buckets[1].server
        assert server is not None
        with pytest.raises(StorageForeign, match="bucket-1 does not decide alone"):
            await server.mover_access.decide_alone(before, before.name_acceptors((0, 1, 2)))
        await proposer(store, 1).decide(before, before.name_acceptors((0, 1, 2)))  # it asks bucket 0
        assert of(store, 0) == of(store, 1) == before.name_acceptors((0, 1, 2))


# -- topologies, ballots, and what is on the disk --------------------------------------------------------------------


@pytest.mark.parametrize("acceptors", [("a", "b"), ("a", "b", "x"), ("a", "a", "b"), ("x",), tuple("abcdefg")])
def test_an_odd_number_of_listed_storages_decides(acceptors: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="an odd number of the listed storages decides"):
        Topology(1, 7, 7, "s", tuple("abcdefg"), acceptors=acceptors)


@pytest.mark.parametrize(("round_", "name"), [(0, "p"), (2**31 + 1, "p"), (1, ""), (1, "p" * 65)])
def test_a_ballot_that_can_not_be_is_refused(round_: int, name: str) -> None:
    with pytest.raises(ValueError, match="a ballot has a round"):
        Ballot(round_, name)


def test_ballots_are_in_order_of_rounds_and_then_of_names() -> None:
    assert LOW < MIDDLE < HIGH < Ballot(3, "a")


def test_a_vote_that_can_not_be_read_keeps_a_storage_from_opening() -> None:
    engine = new_bucket_engine(0)
    topology = first_topology(("a", "b", "c")).name_acceptors((0, 1, 2))
    vote = Vote(2, HIGH, LOW, topology)
    engine.write([], [vote_fact(vote)])
    assert read_storage_facts(engine.get_fact, 0, "it").vote == vote
    assert engine.get_fact(OWNER) == b"0"
    engine.write([], [(VOTE, b"\x93")])
    with pytest.raises(StorageDamaged, match=r"the stored storage\.vote can't be read"):
        read_storage_facts(engine.get_fact, 0, "it")
