"""What a store's methods do, the same by each of the four clients: over HTTP and inside the cluster, sync and for asyncio."""

from __future__ import annotations

import inspect
import io
import itertools
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from cloud_storage import (
    TEXT,
    AsyncStore,
    ConditionFailed,
    Event,
    HistoryLost,
    InvalidRequest,
    NotANumber,
    SomeFailed,
    Store,
    ValueTooLarge,
)
from serve_app.inside.async_store import InsideAsyncStore
from serve_app.inside.store import InsideStore
from tests.client.faces import NAMES, face
from tests.client.served import Served

_numbers = itertools.count()


@pytest.fixture(scope="package", params=NAMES)
def store(request: pytest.FixtureRequest, http_store: Served) -> Iterator[Store]:
    with face(request.param, http_store) as store:
        yield store


@pytest.fixture
def prefix() -> str:
    """Keys that no other test has."""
    return f"all/{next(_numbers)}/"


def test_a_value_comes_back_with_what_is_known_of_it(store: Store, prefix: str) -> None:
    key = prefix + "a/../b?c=#d%2F é"
    written = store.put(key, b"\x00\xff", content_type="image/x-own")
    record = store.get(key)
    assert record is not None
    assert written.created
    assert (record.key, record.value, record.content_type) == (key, b"\x00\xff", "image/x-own")
    assert record.revision == written.revision
    assert record.expires is None
    assert record.modified is not None
    assert abs(record.modified - datetime.now(UTC)) < timedelta(minutes=5)
    again = store.put(key, "text")
    assert not again.created
    assert again.revision > written.revision
    assert store.get_text(key) == "text"
    found = store.get(key)
    assert found is not None
    assert found.content_type == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    "odd", ["+", "a+b c", "%2B", "&x=1", "..", "/", "#", "?", "é", "\U0001f600", "\x00", '"', "\\"]
)
def test_odd_keys_are_themselves_in_every_operation(store: Store, prefix: str, odd: str) -> None:
    key = prefix + odd
    store.put(key, b"1")
    assert [listed.name for listed in store.list(prefix)] == [key]
    assert list(store.get_many([key])) == [key], "a batch, which has it in its body"
    assert store.increment(key) == 2
    assert store.touch(key, ttl=60)
    (listed,) = store.list(key)
    assert listed.expires is not None
    assert [each.name for each in store.list(prefix, start_after=key)] == []
    file = io.BytesIO()
    assert store.export(file, key) == 1
    assert json.loads(file.getvalue().splitlines()[0])["key"] == key
    assert store.delete(key)
    assert list(store.list(prefix)) == []


def test_what_is_not_there(store: Store, prefix: str) -> None:
    key = prefix + "none"
    assert store.get(key) is None
    assert store.get_text(key) is None
    assert not store.exists(key)
    assert not store.delete(key)
    assert not store.delete(key, revision=1)
    assert not store.touch(key, ttl=5)
    with pytest.raises(ConditionFailed) as failed:
        store.replace(key, b"x", 7)
    assert failed.value.revision == 0


@pytest.mark.parametrize("value", [b"", b"x", "", "é", bytearray(b"ab"), memoryview(b"cd"), b"z" * 1_000_000])
def test_values_of_all_kinds(store: Store, prefix: str, value: bytes) -> None:
    store.put(prefix, value)
    found = store.get(prefix)
    assert found is not None
    assert found.value == (value.encode() if isinstance(value, str) else bytes(value))
    assert store.exists(prefix)
    assert store.delete(prefix)
    assert not store.exists(prefix)


def test_conditions_are_decided_by_the_store(store: Store, prefix: str) -> None:
    first = store.create(prefix, b"1")
    with pytest.raises(ConditionFailed) as failed:
        store.create(prefix, b"2")
    assert failed.value.revision == first.revision
    second = store.replace(prefix, b"3", first.revision)
    with pytest.raises(ConditionFailed):
        store.replace(prefix, b"4", first.revision)
    with pytest.raises(ConditionFailed) as failed:
        store.delete(prefix, revision=first.revision)
    assert failed.value.revision == second.revision
    found = store.get(prefix)
    assert found is not None
    assert found.value == b"3"
    for none in (0, -1, 2**64):  # that of a ConditionFailed of a key that is not there, for one
        with pytest.raises((ConditionFailed, InvalidRequest)):
            store.replace(prefix, b"6", none)
        with pytest.raises((ConditionFailed, InvalidRequest)):
            store.delete(prefix, revision=none)
    assert store.delete(prefix, revision=second.revision)
    assert store.create(prefix, b"5").created


def test_times(store: Store, prefix: str) -> None:
    store.put(prefix, b"x", ttl=timedelta(hours=1))
    at = datetime(2040, 1, 2, 3, 4, 5, tzinfo=UTC)
    first = store.get(prefix)
    assert first is not None
    assert first.expires is not None
    assert timedelta(minutes=50) < first.expires - datetime.now(UTC) < timedelta(minutes=70)
    assert store.touch(prefix, expires_at=at)
    second = store.get(prefix)
    assert second is not None
    assert second.expires == at
    assert second.revision > first.revision
    assert store.touch(prefix)
    third = store.get(prefix)
    assert third is not None
    assert third.expires is None
    store.create(prefix + "b", "x", expires_at=at)
    (listed,) = store.list(prefix + "b")
    assert listed.expires == at


def test_counters(store: Store, prefix: str) -> None:
    assert store.increment(prefix) == 1
    assert store.increment(prefix, 41, ttl=60) == 42
    assert store.increment(prefix, -50) == -8
    assert store.get_text(prefix) == "-8"
    found = store.get(prefix)
    assert found is not None
    assert found.expires is None, "a time to live is for a record that is made by this"
    store.put(prefix, "x")
    with pytest.raises(NotANumber):
        store.increment(prefix)
    store.put(prefix, str(2**63 - 1))
    with pytest.raises(NotANumber):
        store.increment(prefix)
    assert store.increment(prefix + "new", 5, ttl=1000) == 5
    made = store.get(prefix + "new")
    assert made is not None
    assert made.expires is not None


@pytest.mark.parametrize(
    "wrong",
    [
        lambda store: store.get(""),
        lambda store: store.get("k" * 1025),
        lambda store: store.put("k", b"", content_type="a\nb"),
        lambda store: store.put("k", b"", content_type="é"),
        lambda store: store.put("k", b"", content_type="t" * 256),
        lambda store: store.put("k", b"", ttl=0),
        lambda store: store.put("k", b"", ttl=-1),
        lambda store: store.put("k", b"", ttl=1e12),
        lambda store: store.put("k", b"", expires_at=datetime(2001, 1, 1, tzinfo=UTC)),
        lambda store: store.put("k", b"", expires_at=datetime(1900, 1, 1, tzinfo=UTC)),
        lambda store: store.increment("k", 2**63),
        lambda store: store.replace("k", b"", -1),
        lambda store: store.replace("k", b"", 2**64),
        lambda store: list(store.list("p" * 1025)),
        lambda store: next(iter(store.watch("p" * 1025))),
        lambda store: next(iter(store.watch(since="nonsense"))),
    ],
)
def test_what_is_wrong_is_refused_and_says_so(store: Store, wrong: Callable[[Store], object]) -> None:
    with pytest.raises((InvalidRequest, ConditionFailed)) as refused:
        wrong(store)
    assert str(refused.value)


@pytest.mark.parametrize(
    "mistake",
    [
        lambda store: store.put("k", b"", ttl=1, expires_at=datetime(2100, 1, 1, tzinfo=UTC)),
        lambda store: store.put("k", b"", expires_at=datetime(2100, 1, 1)),
        lambda store: store.get("\ud800"),
        lambda store: store.put("k", b"", ttl=float("nan")),
        lambda store: store.increment("k", ttl=float("inf")),
        lambda store: store.put("k", 5),
        lambda store: store.put("k", [1]),
        lambda store: store.put_many({"k": True}),
        lambda store: store.replace("k", b"", None),
        lambda store: store.replace("k", b"", True),
        lambda store: store.replace("k", b"", 1.0),
        lambda store: store.delete("k", revision="1"),
        lambda store: store.increment("k", 1.5),
        lambda store: store.increment("k", True),
    ],
)
def test_a_mistake_of_the_program_says_so(store: Store, prefix: str, mistake: Callable[[Store], object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        mistake(store)
    assert not store.exists("k")


def test_a_value_that_is_too_large(store: Store, prefix: str) -> None:
    with pytest.raises(ValueTooLarge):
        store.put(prefix, b"x" * (25 * 1024 * 1024 + 1))
    assert not store.exists(prefix)


def test_lists(store: Store, prefix: str) -> None:
    names = sorted([*(f"{prefix}{number:04}" for number in range(1200)), prefix + "z/1", prefix + "z/2", prefix + "é"])
    assert store.put_many((name, name) for name in names) == len(names)
    listed = list(store.list(prefix))
    assert [each.name for each in listed] == names
    assert {each.value for each in listed} == {None}
    assert listed[0].size == len(names[0])
    assert listed[0].content_type == "text/plain; charset=utf-8"
    assert listed[0].modified is not None
    with_values = list(store.list(prefix, values=True, start_after=names[1190]))
    assert [each.value for each in with_values] == [name.encode() for name in names[1191:]]
    folders = list(store.list(prefix, delimiter="/", start_after=names[1199]))
    assert [(each.name, each.is_prefix) for each in folders] == [(prefix + "z/", True), (prefix + "é", False)]
    assert list(store.list(prefix + "nothing")) == []


def test_many(store: Store, prefix: str) -> None:
    values = {f"{prefix}{number}": f"{number}" for number in range(1700)}
    assert store.put_many(values, content_type="text/x-own", ttl=3600) == 1700
    found = store.get_many([*values, prefix + "none", prefix + "0"])
    assert {key: record.text for key, record in found.items()} == values
    assert found[prefix + "7"].content_type == "text/x-own"
    assert found[prefix + "7"].expires is not None
    assert store.delete_many([prefix + "none", *values, prefix + "1"]) == 1700
    assert store.get_many(values) == {}


def test_of_a_key_that_comes_twice_the_last_value_stays(store: Store, prefix: str) -> None:
    for rounds in range(3):
        pairs = [(f"{prefix}{number % 40}", f"{rounds} {number}") for number in range(1200)]
        assert store.put_many(pairs) == 1200
        found = store.get_many(key for key, _ in pairs)
        assert {key: record.text for key, record in found.items()} == dict(pairs)


def test_of_many_some_fail(store: Store, prefix: str) -> None:
    with pytest.raises(SomeFailed) as failed:
        store.put_many([(prefix + "good", b"1"), (prefix + "k" * 1024, b"2"), (prefix + "too", b"3")])
    assert set(failed.value.errors) == {prefix + "k" * 1024}
    assert isinstance(failed.value.errors[prefix + "k" * 1024], InvalidRequest)
    assert set(store.get_many([prefix + "good", prefix + "too"])) == {prefix + "good", prefix + "too"}


def test_values_that_are_larger_than_a_batch(store: Store, prefix: str) -> None:
    values = {f"{prefix}{number}": bytes([number]) * 7_000_000 for number in range(4)} | {
        prefix + "l": b"l" * 20_000_000
    }
    assert store.put_many(values) == 5
    found = store.get_many(values)
    assert {key: record.value for key, record in found.items()} == values
    assert store.delete_many(values) == 5


@pytest.mark.parametrize("name", ["http", "inside"])
def test_a_mapping_tells_its_items_though_some_go_meanwhile(name: str, http_store: Served, prefix: str) -> None:
    with face(name, http_store) as store:
        mapping = store.mapping(prefix, TEXT)
        mapping.update({f"{number:03}": str(number) for number in range(300)})
        items = iter(mapping.items())
        assert next(items) == ("000", "0")
        store.delete_many(f"{prefix}{number:03}" for number in range(250, 300))
        assert [name for name, _ in items] == [f"{number:03}" for number in range(1, 250)]
        assert sum(map(int, mapping.values())) == sum(range(250))


def test_all_failures_of_many_are_told(store: Store, prefix: str) -> None:
    names = [f"{prefix}{number:05}" for number in range(9000)]
    wrong = {names[0] + "k" * 1024, names[-1] + "k" * 1024}
    pairs = [(min(wrong), b""), *((name, b"") for name in names), (max(wrong), b"")]
    with pytest.raises(SomeFailed) as failed:
        store.put_many(pairs)
    assert set(failed.value.errors) == wrong
    assert store.delete_many(names) == len(names)


def test_a_watch_tells_what_changes_and_goes_on_where_it_was(store: Store, prefix: str) -> None:
    told: list[Event] = []
    there = threading.Event()

    def follow() -> None:
        for event in store.watch(prefix, values=True):
            told.append(event)
            there.set()
            if event.key == prefix + "end":
                return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    while not there.wait(0.05):  # it has begun some time
        store.put(prefix + "first", b"x")
    store.put(prefix + "a", b"1", content_type="text/x-own")
    store.delete(prefix + "a")
    store.put("elsewhere" + prefix, b"x")
    store.put(prefix + "end", b"2")
    thread.join(20)
    assert not thread.is_alive()
    rest = [event for event in told if event.key != prefix + "first"]
    # A put whose record has gone again is told as deleted alone, where they are told together.
    assert [(event.kind, event.key) for event in rest if event.kind == "delete"] == [("delete", prefix + "a")]
    assert (rest[-1].kind, rest[-1].key, rest[-1].value) == ("put", prefix + "end", b"2")
    store.put(prefix + "later", "3")
    since = next(event.id for event in told if event.id)
    again: list[Event] = []
    for event in store.watch(prefix, since=since):
        again.append(event)
        if event.key == prefix + "later":
            break
    assert again[-1].value is None
    assert {event.key for event in again} >= {prefix + "end", prefix + "later"}


def test_a_watch_tells_first_what_there_is_and_misses_nothing(store: Store, prefix: str) -> None:
    names = [f"{prefix}{number:03}" for number in range(250)]
    store.put_many((name, name) for name in names)
    watch = store.watch(prefix, values=True, existing=True)
    told = [next(watch) for _ in range(100)]
    store.put(names[200], "changed", content_type="text/x-own")
    store.delete(names[201])
    known = {}
    for event in itertools.chain(told, watch):
        assert event.kind in ("put", "delete")
        known[event.key] = event
        if known.get(names[201]) is not None and known[names[201]].kind == "delete":
            break
    assert set(known) == set(names)
    assert known[names[0]].value == names[0].encode()
    assert (known[names[200]].value, known[names[200]].content_type) == (b"changed", "text/x-own")
    without = store.watch(prefix, existing=True)
    assert [next(without).value for _ in range(249)] == [None] * 249


def test_a_watch_of_another_store_is_lost(store: Store, prefix: str) -> None:
    with pytest.raises(HistoryLost):
        next(iter(store.watch(prefix, since="00000000-0.00000000.1")))


def test_an_export_is_what_an_import_takes(store: Store, prefix: str) -> None:
    at = datetime(2040, 1, 1, tzinfo=UTC)
    store.put(prefix + "bytes", b"\xff\x00", content_type="image/x-own", expires_at=at)
    store.put_many({f"{prefix}{number}": str(number) * 100 for number in range(300)})
    store.put(prefix + "large", b"\xfe" * 700_000)
    file = io.BytesIO()
    assert store.export(file, prefix) == 302
    lines = [json.loads(line) for line in file.getvalue().splitlines()]
    assert lines[-1] == {"exported": 302}
    before = store.get_many(line["key"] for line in lines[:-1])
    assert store.delete_many(before) == 302
    file.seek(0)
    imported = store.import_(file)
    assert (imported.imported, imported.expired) == (302, 0)
    after = store.get_many(before)
    assert {key: (each.value, each.content_type, each.modified, each.expires) for key, each in after.items()} == {
        key: (each.value, each.content_type, each.modified, each.expires) for key, each in before.items()
    }
    with pytest.raises(InvalidRequest) as refused:
        store.import_(io.BytesIO(b'{"key": "a"}\n'))
    assert "line 1" in str(refused.value)


@pytest.mark.parametrize("name", NAMES)
def test_a_store_that_is_closed_says_so(name: str, http_store: Served) -> None:
    calls: list[Callable[[Store], object]] = [
        lambda store: store.get("k"),
        lambda store: store.put("k", b""),
        lambda store: store.put_many({"k": b""}),
        lambda store: list(store.list()),
        lambda store: next(iter(store.watch())),
        lambda store: store.export(io.BytesIO()),
        lambda store: store.import_(io.BytesIO(b'{"key": "k", "value": ""}\n')),
    ]
    for used in (False, True):
        with face(name, http_store) as store:
            if used:
                store.get("k")
            store.close()
            store.close()
            for call in calls:
                with pytest.raises(RuntimeError, match="closed"):
                    call(store)


def test_inside_no_method_is_that_of_http() -> None:
    own = {"mapping", "get_text"}  # made of the others
    for inside, over_http in ((InsideStore, Store), (InsideAsyncStore, AsyncStore)):
        for name in (name for name in dir(over_http) if not name.startswith("_")):
            overridden = getattr(inside, name) is not getattr(over_http, name)
            assert overridden == (name not in own), name
            if overridden:
                one, other = (inspect.signature(getattr(kind, name)) for kind in (inside, over_http))
                assert one == other, name
