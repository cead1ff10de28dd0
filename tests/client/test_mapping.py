"""The mapping passes the standard library's own tests for mappings, where they apply: keys are text, and no mapping is in
another one."""

from __future__ import annotations

import unittest
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from test import mapping_tests  # type: ignore[import-not-found]

from cloud_storage import JSON, PICKLE, TEXT, Store, StoreMapping
from tests.client.served import Served


@pytest.fixture
def store(http_store: Served) -> Iterator[Store]:
    with Store(http_store.url) as store:
        yield store


class BasicTests(mapping_tests.BasicTestMappingProtocol):  # type: ignore[misc]
    """`_empty_mapping` gives a fresh one each time."""

    __test__ = False  # by pytest, itself
    store: ClassVar[Store]
    type2test: Any = None
    _number: ClassVar[int] = 0

    def _reference(self) -> dict[str, Any]:
        return {"1": "2", "key1": "value1", "key2": "value2"}

    def _empty_mapping(self) -> StoreMapping[Any]:
        BasicTests._number += 1
        return self.store.mapping(f"basic/{self._number}/", PICKLE)

    def test_constructor(self) -> None:
        """Two of one prefix are the same records, so the test of that does not apply."""
        assert len(self._empty_mapping()) == 0


@pytest.mark.parametrize("name", unittest.defaultTestLoader.getTestCaseNames(BasicTests))
def test_the_standard_librarys_tests(store: Store, name: str) -> None:
    BasicTests.store = store
    result = BasicTests(name).run()
    assert result is not None
    problems = [text for _, text in (*result.errors, *result.failures)]
    assert problems == []
    assert result.testsRun == 1


class Interrupted(Store):
    """Another puts between a get and the deletion that follows, once."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.between: list[tuple[str, bytes]] = []

    def delete(self, key: str, *, revision: int | None = None) -> bool:
        while self.between:
            self.put(*self.between.pop())
        return super().delete(key, revision=revision)


def test_a_pop_takes_the_value_that_it_answers_with(http_store: Served) -> None:
    with Interrupted(http_store.url) as store:
        mapping = store.mapping("pop/", TEXT)
        mapping["a"] = "first"
        store.between.append(("pop/a", b"second"))
        assert mapping.pop("a") == "second"
        assert "a" not in mapping
        mapping["a"] = "first"
        store.between.append(("pop/a", b"second"))
        assert mapping.popitem() == ("a", "second")
        assert len(mapping) == 0


def test_of_several_who_pop_or_set_one_name_one_wins(store: Store) -> None:
    one, other = (store.mapping("race/", JSON) for _ in range(2))
    assert one.setdefault("a", [1]) == [1]
    assert other.setdefault("a", [2]) == [1]
    assert other.pop("a") == [1]
    assert one.pop("a", None) is None
    with pytest.raises(KeyError):
        one.pop("a")


def test_names_are_in_order_and_another_prefix_is_another_mapping(store: Store) -> None:
    mapping, other = store.mapping("order/a/", TEXT), store.mapping("order/b/", TEXT)
    mapping.update({"b": "2", "ä": "3"}, a="1")
    other["c"] = "4"
    assert list(mapping.items()) == [("a", "1"), ("b", "2"), ("ä", "3")]
    mapping.clear()
    assert not mapping
    assert dict(other) == {"c": "4"}
