"""Exports and imports of any length cost a directory the same memory."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest

from harness.memory import PeakMemory
from harness.running_store import RunningStore

pytestmark = pytest.mark.ray

FEW, MANY = 20_000, 200_000
#: What a hundred thousand lines more may cost, whatever else the process does: as bytes alone they have 20 MiB.
_BOUND_MIB = 24
_LINES_AT_ONCE = 1000


@pytest.fixture(scope="module")
def lone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStore]:
    with RunningStore(tmp_path_factory.mktemp("lone"), bucket_count=1, directories=1) as running:
        yield running


def lines(count: int) -> Iterator[bytes]:
    for start in range(0, count, _LINES_AT_ONCE):
        numbers = range(start, min(start + _LINES_AT_ONCE, count))
        yield "".join(json.dumps({"key": f"{number:07d}", "value": "v" * 80}) + "\n" for number in numbers).encode()


def imported(client: httpx.Client, count: int) -> None:
    headers = {"Content-Type": "application/x-ndjson"}
    answer = client.post("/v1/import", content=lines(count), headers=headers, timeout=120)
    assert (answer.status_code, answer.json()) == (200, {"imported": count, "expired": 0})


def exported(client: httpx.Client, count: int) -> None:
    found, last = 0, ""
    with client.stream("GET", "/v1/export") as answer:
        for line in answer.iter_lines():
            found, last = found + 1, line
    assert (found, json.loads(last)) == (count + 1, {"exported": count})


def test_a_long_export_and_a_long_import_need_no_more_memory_than_short_ones(lone: RunningStore) -> None:
    growth: dict[int, list[float]] = {}
    with lone.client() as client:
        imported(client, FEW)  # what is allocated once is there
        exported(client, FEW)
        for count in (FEW, MANY):
            for work in (imported, exported):
                memory = PeakMemory(lone.directory_pids())
                work(client, count)
                growth.setdefault(count, []).append(memory.growth_mib())
    for few, many in zip(growth[FEW], growth[MANY], strict=True):
        assert many < few + _BOUND_MIB, growth
