"""What `bench` draws: the distributions are YCSB's, the mixes are those of its core workloads."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_storage.commands.bench.distributions import (
    THETA,
    Acknowledged,
    Latest,
    ScrambledZipfian,
    Zipfian,
    fnv64,
    zeta,
)
from cloud_storage.commands.bench.values import LEAST_BYTES, Values, name
from cloud_storage.commands.bench.workloads import REFUSED, WORKLOADS, Draws, Operation

DRAWS = 100_000


def probabilities(items: int) -> list[float]:
    """Of each item, by the algorithm of Gray et al.: the first two exactly, then what its inverse leaves to each."""
    total = zeta(items)
    eta = (1 - (2 / items) ** (1 - THETA)) / (1 - zeta(2) / total)
    edges = [((item / items) ** (1 - THETA) - 1 + eta) / eta for item in range(2, items + 1)]
    return [1 / total, 0.5**THETA / total, *(end - start for start, end in itertools.pairwise(edges))]


def chi_square(counts: Counter[int], expected: list[float]) -> float:
    draws = counts.total()
    assert set(counts) <= set(range(len(expected)))
    return sum((counts[item] - draws * share) ** 2 / (draws * share) for item, share in enumerate(expected))


def critical(freedom: int) -> float:
    """What a chi-square exceeds in one case of a thousand (Wilson and Hilferty, 1931)."""
    return float(freedom * (1 - 2 / (9 * freedom) + 3.0902 * math.sqrt(2 / (9 * freedom))) ** 3)


@pytest.mark.parametrize("items", [3, 10, 100, 1000])
def test_a_zipfian_is_drawn_with_the_probabilities_of_its_algorithm(items: int) -> None:
    source, zipfian = random.Random(1), Zipfian(items)
    counts = Counter(zipfian.draw(source) for _ in range(DRAWS))
    assert chi_square(counts, probabilities(items)) < critical(items - 1)


@pytest.mark.parametrize("items", [10, 100, 1000, 10_000])
def test_these_are_near_the_exact_ones(items: int) -> None:
    total = zeta(items)
    exact = [1 / number**THETA / total for number in range(1, items + 1)]
    distance = sum(abs(one - other) for one, other in zip(probabilities(items), exact, strict=True)) / 2
    assert sum(probabilities(items)) == pytest.approx(1)
    assert distance < 0.04


def test_a_uniform_source_would_be_noticed() -> None:
    source = random.Random(1)
    counts = Counter(source.randrange(100) for _ in range(DRAWS))
    assert chi_square(counts, probabilities(100)) > 100 * critical(99)


@given(st.integers(1, 50), st.integers(0, 50), st.integers())
def test_a_zipfian_that_grows_is_as_one_of_that_size(items: int, more: int, seed: int) -> None:
    grown, new = Zipfian(items), Zipfian(items + more)
    grown.grow(items + more)
    sources = random.Random(seed), random.Random(seed)
    for _ in range(20):
        drawn = grown.draw(sources[0])
        assert drawn == new.draw(sources[1])
        assert 0 <= drawn < items + more


def test_hashes_are_those_of_ycsb() -> None:
    """Its first keys, as they are seen in any store that it has loaded."""
    assert [name(number) for number in range(3)] == [
        "user6284781860667377211",
        "user8517097267634966620",
        "user1820151046732198393",
    ]
    assert all(0 <= fnv64(number) < 2**63 for number in range(1000))


def test_a_scrambled_zipfian_has_its_frequent_records_anywhere() -> None:
    source, scrambled = random.Random(1), ScrambledZipfian(1000)
    counts = Counter(scrambled.draw(source) for _ in range(DRAWS))
    assert set(counts) <= set(range(1000))
    shares = [number / DRAWS for _, number in counts.most_common(2)]
    assert [record for record, _ in counts.most_common(2)] == [fnv64(0) % 1000, fnv64(1) % 1000]
    # What is folded onto the same record by chance adds a thousandth or so.
    assert shares[0] == pytest.approx(1 / 26.469, rel=0.1)
    assert shares[1] == pytest.approx(0.5**THETA / 26.469, rel=0.1)


def test_of_the_latest_the_newest_is_the_most_frequent() -> None:
    source, latest = random.Random(1), Latest(50)
    counts = Counter(99 - latest.draw(source, 100) for _ in range(DRAWS))
    assert chi_square(counts, probabilities(100)) < critical(99)


@given(st.permutations(range(10, 30)))
def test_records_count_when_all_before_them_are_stored(order: list[int]) -> None:
    inserted = Acknowledged(10)
    assert sorted(inserted.take() for _ in order) == list(range(10, 30))
    done: set[int] = set()
    for number in order:
        inserted.acknowledge(number)
        done.add(number)
        assert inserted.count == next(each for each in range(10, 31) if each not in done)


@pytest.mark.parametrize("letter", WORKLOADS)
def test_operations_come_in_the_shares_of_the_workload(letter: str) -> None:
    workload = WORKLOADS[letter]
    draws = Draws(workload, 1000, random.Random(1))
    counts: Counter[Operation] = Counter()
    for _ in range(20_000):
        operation, number = draws.draw()
        counts[operation] += 1
        if operation is Operation.INSERT:
            draws.inserted.acknowledge(number)
        else:
            assert 0 <= number < draws.inserted.count
    assert set(counts) == set(workload.shares)
    for operation, share in workload.shares.items():
        deviation = math.sqrt(20_000 * share * (1 - share))
        assert abs(counts[operation] - 20_000 * share) <= 4 * deviation


def test_the_shares_are_those_of_the_paper() -> None:
    shares = {
        letter: [f"{each.value} {share:g}" for each, share in one.shares.items()] for letter, one in WORKLOADS.items()
    }
    assert shares == {
        "a": ["READ 0.5", "UPDATE 0.5"],
        "b": ["READ 0.95", "UPDATE 0.05"],
        "c": ["READ 1"],
        "d": ["READ 0.95", "INSERT 0.05"],
        "f": ["READ 0.5", "READ-MODIFY-WRITE 0.5"],
    }
    assert [letter for letter, one in WORKLOADS.items() if one.latest] == ["d"]
    assert set(REFUSED) == {"e"}


@given(st.integers(0, 2**40), st.integers(0, 10**9), st.integers(LEAST_BYTES, 2000))
def test_a_value_says_whose_it_is_and_how_often_it_was_modified(number: int, count: int, size: int) -> None:
    values = Values(size, random.Random(1))
    value = values.make(number, count)
    assert len(value) == size
    assert values.count(number, value) == count
    for wrong in (value[:-1], b"x" + value[1:], value + b"x"):
        with pytest.raises(ValueError, match="was never stored there"):
            values.count(number, wrong)
    with pytest.raises(ValueError, match="was never stored there"):
        values.count(number + 1, value)
