"""`bench` against a store behind real HTTP: what it prints, what it counts, and what it leaves behind."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_storage import AsyncStore, ConditionFailed, OutcomeUnknown, Store, Unavailable, Written
from cloud_storage.commands.bench import driver as driver_module
from cloud_storage.commands.bench.driver import Driver, Plan
from cloud_storage.commands.bench.measurements import PERCENTILES, Latencies
from cloud_storage.commands.bench.workloads import WORKLOADS
from tests.client.commands import run
from tests.client.served import Served

SMALL = ("--records", "50", "--operations", "200", "--clients", "8", "--value-bytes", "64")


def left(store: Served, prefix: str = "bench/") -> list[str]:
    with Store(store.url) as client:
        return [listed.name for listed in client.list(prefix)]


@pytest.mark.parametrize("letter", WORKLOADS)
def test_a_workload_runs_and_leaves_nothing_behind(http_store: Served, letter: str) -> None:
    done = run(http_store, "bench", "--workload", letter, *SMALL)
    assert (done.exit_code, done.stderr) == (0, "")
    lines = [line.split(", ") for line in done.stdout.splitlines()]
    assert all(len(line) == 3 and re.fullmatch(r"\[[A-Z-]+\]", line[0]) for line in lines)
    figures = {(name, what): figure for name, what, figure in lines}
    assert float(figures["[OVERALL]", "Throughput(ops/sec)"]) > 0
    assert sum(int(figure) for (_, what), figure in figures.items() if what == "Operations") == 200
    assert sum(int(figure) for (_, what), figure in figures.items() if what == "Return=OK") == 200
    assert {f"[{each.value}]" for each in WORKLOADS[letter].shares} <= {name for name, *_ in lines}
    assert ("[VERIFY]", "LostUpdates") in figures if letter == "f" else True
    assert left(http_store) == []


def test_the_same_figures_in_json(http_store: Served) -> None:
    done = run(http_store, "bench", "--workload", "f", "--json", "--rate", "5000", *SMALL)
    told = json.loads(done.stdout)
    assert told["workload"] == "f"
    assert told["VERIFY"] == {"LostUpdates": 0}
    assert told["READ"]["Operations"] + told["READ-MODIFY-WRITE"]["Operations"] == 200
    assert {f"{name}PercentileLatency(us)" for name in PERCENTILES} <= told["READ"].keys()


def test_records_stay_for_another_run_where_that_is_wanted(http_store: Served) -> None:
    assert run(http_store, "bench", "--keep", "--prefix", "kept/", *SMALL).exit_code == 0
    assert len(left(http_store, "kept/")) == 50
    assert run(http_store, "bench", "--workload", "f", "--no-load", "--prefix", "kept/", *SMALL).exit_code == 0
    assert len(left(http_store, "kept/")) == 50
    again = run(http_store, "bench", "--prefix", "kept/", *SMALL)
    assert (again.exit_code, again.stdout) == (2, "")
    assert "there are keys with the prefix 'kept/', which are not to be touched" in again.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--workload", "e"], "workload e scans ranges"),
        (["--workload", "z"], "there is no workload 'z'"),
        (["--operations", "1", "--seconds", "1"], "say --operations or --seconds"),
        (["--no-load"], "--no-load needs the --prefix"),
    ],
)
def test_what_can_not_be_meant_is_refused(http_store: Served, options: list[str], says: str) -> None:
    done = run(http_store, "bench", *options)
    assert (done.exit_code, done.stdout) == (2, "")
    assert says in done.stderr


def test_what_fails_and_what_is_wrong_is_counted_and_ends_with_status_1(http_store: Served) -> None:
    run(http_store, "bench", "--keep", "--prefix", "wrong/", *SMALL)
    with Store(http_store.url) as store:
        names = left(http_store, "wrong/")
        store.delete_many(names[:25])
        store.put_many((name, "of somebody else") for name in names[25:])
    assert len(names) == 50
    done = run(http_store, "bench", "--workload", "c", "--no-load", "--prefix", "wrong/", "--json", *SMALL)
    told = json.loads(done.stdout)["READ"]
    assert done.exit_code == 1
    assert told["Return=NOT_FOUND"] + told["Return=UNEXPECTED_STATE"] == 200
    assert "was never stored there" in done.stderr
    done = run(http_store, "bench", "--workload", "f", "--no-load", "--prefix", "wrong/", *SMALL)
    assert done.exit_code == 2
    assert re.search("is not there: load the records first|was never stored there", done.stderr)


def plan(**changes: Any) -> Plan:
    settings: dict[str, Any] = {
        "workload": WORKLOADS["f"], "records": 20, "operations": 200, "seconds": None, "clients": 8, "value_bytes": 64,
        "rate": None, "prefix": "bench driver/", "seed": 1,
    }  # fmt: skip
    return Plan(**{**settings, **changes})


class Forgetful(AsyncStore):
    """Acknowledges some replacements that it has not made, and leaves some unknown."""

    forgets = unknown = 0

    async def replace(self, key: str, value: Any, revision: int, **options: Any) -> Written:
        if self.forgets:
            self.forgets -= 1
            return Written(revision + 1, created=False)
        written = await super().replace(key, value, revision, **options)
        if self.unknown:
            self.unknown -= 1
            raise OutcomeUnknown("nobody knows")
        return written


@pytest.mark.parametrize(("forgets", "unknown"), [(0, 0), (3, 0), (0, 4), (2, 1)])
def test_updates_that_are_lost_are_found_and_unknown_ones_may_be_there(
    http_store: Served, forgets: int, unknown: int
) -> None:
    async def lost() -> tuple[int, int]:
        async with Forgetful(http_store.url) as store:
            driver = Driver(store, plan())
            await driver.load(lambda done: None)
            store.forgets, store.unknown = forgets, unknown
            await driver.run(lambda done: None)
            found = driver.lost_updates(0, await driver.modified_in_all())
            await store.delete_many([listed.name async for listed in store.list("bench driver/")])
            return found, driver.measured.failed

    found, failed = asyncio.run(lost())
    assert max(0, forgets - unknown) <= found <= forgets
    assert failed == unknown
    if not unknown:
        assert found == forgets


def test_with_a_rate_a_late_beginning_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """One client, a store that takes ten intervals for each operation: those that wait for it are late, and it shows."""

    class Clock:
        now = 100.0

        def monotonic(self) -> float:
            return self.now

        async def sleep(self, seconds: float) -> None:
            self.now += seconds

    class Slow:
        async def get(self, key: str) -> None:
            clock.now += 1.0

    clock = Clock()
    monkeypatch.setattr(driver_module, "time", clock)
    monkeypatch.setattr(asyncio, "sleep", clock.sleep)
    driver = Driver(Slow(), plan(workload=WORKLOADS["c"], operations=5, clients=1, rate=10.0))  # type: ignore[arg-type]
    asyncio.run(driver.run(lambda done: None))
    latencies = driver.measured.latencies["READ"]
    assert (latencies.count, latencies.least, latencies.greatest) == (5, 1_000_000, 4_600_000)


def test_errors_of_the_store_are_counted_by_their_names(http_store: Served) -> None:
    class Failing(AsyncStore):
        async def get(self, key: str) -> Any:
            raise Unavailable("away")

        async def put(self, key: str, value: Any, **options: Any) -> Any:
            raise ConditionFailed("odd")

    async def returned() -> dict[str, Any]:
        async with Failing(http_store.url) as store:
            driver = Driver(store, plan(workload=WORKLOADS["a"]))
            await driver.run(lambda done: None)
            assert driver.measured.failed == 200
            assert set(driver.measured.problems) == {"away", "odd"}
            return driver.measured.as_dict()

    told = asyncio.run(returned())
    assert told["READ"]["Return=Unavailable"] == told["READ"]["Operations"]
    assert told["UPDATE"]["Return=ConditionFailed"] == told["UPDATE"]["Operations"]


@given(st.lists(st.integers(0, 10_000_000), min_size=1, max_size=200))
def test_percentiles_are_right_to_half_a_percent(latencies: list[int]) -> None:
    found = Latencies()
    for latency in latencies:
        found.add(latency)
    ordered = sorted(latencies)
    assert (found.count, found.least, found.greatest) == (len(ordered), ordered[0], ordered[-1])
    assert found.average == pytest.approx(sum(ordered) / len(ordered))
    for percent in PERCENTILES.values():
        exact = ordered[max(0, -(-int(percent * 10) * len(ordered) // 1000) - 1)]
        assert found.percentile(percent) == pytest.approx(exact, rel=0.005)
