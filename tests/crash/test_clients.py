"""Clients over HTTP and inside the cluster, while buckets are killed and keys move: every call is answered, and each
increment happens once.

No call may say that its outcome is unknown: there is time enough until the deadline.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cloud_storage import AsyncStore, Store
from harness import ray_client
from harness.reconfigure import settled, wait_for_topology
from harness.running_store import ROOT, RunningStore
from serve_app.wire.versions import NEWEST, OLDEST
from tests.support.inside_driver import COUNTERS, PAUSE_S
from tests.support.moves import configure, put_all, total, wait_for_move, with_buckets
from tests.support.waiting import until

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

TASKS, THREADS = 8, 4
FILLER = {f"filler-clients-{number}": f"{number:04d}" * 250 for number in range(400)}


class OverHttp:
    """Threads with a `Store` and a loop with an `AsyncStore`, which count and put until they are stopped."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stopped = threading.Event()
        self._failed: list[BaseException] = []
        self.numbers: dict[str, list[int]] = {}
        self.values: dict[str, str] = {}
        works = [
            *(lambda number=number: self._sync(number) for number in range(THREADS)),
            lambda: asyncio.run(self._all()),
        ]
        self._threads = [threading.Thread(target=self._work, args=(work,)) for work in works]

    def start(self) -> OverHttp:
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        if self._failed:
            raise self._failed[0]

    def _work(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self._failed.append(error)

    def _sync(self, number: int) -> None:
        with Store(self._url, timeout=60) as store:
            rounds = 0
            while not self._stopped.is_set():
                rounds += 1
                counter, key = f"outside/n{rounds % COUNTERS}", f"outside/{number}/{rounds % 20}"
                self.numbers.setdefault(counter, []).append(store.increment(counter))
                store.put_many({key: str(rounds), key + "b": str(rounds)})
                assert store.get_text(key) == str(rounds)
                self.values |= {key: str(rounds), key + "b": str(rounds)}
                time.sleep(PAUSE_S)

    async def _all(self) -> None:
        async with AsyncStore(self._url, timeout=60) as store:
            await asyncio.gather(*(self._async(store, number) for number in range(8)))

    async def _async(self, store: AsyncStore, number: int) -> None:
        rounds = 0
        while not self._stopped.is_set():
            rounds += 1
            counter, key = f"outside/n{rounds % COUNTERS}", f"outside/async/{number}"
            self.numbers.setdefault(counter, []).append(await store.increment(counter))
            await store.put(key, str(rounds))
            assert await store.get_text(key) == str(rounds)
            self.values[key] = str(rounds)
            await asyncio.sleep(PAUSE_S)


def test_every_call_is_answered_and_counts_once(
    crash_store: RunningStore, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    store = crash_store
    with_buckets(store, tmp_path, 2)
    put_all(store, FILLER)
    with Store(store.url) as client:
        client.delete_many([f"{where}/n{number}" for where in ("inside", "outside") for number in range(COUNTERS)])
    stop = tmp_path / "stop"
    over_http = OverHttp(store.url).start()
    with program(store, tmp_path, str(stop), str(TASKS)) as driver:
        try:
            driver.wait_for("working")
            store.kill_bucket(1)
            for before, after in ((2, 3), (3, 2)):
                configure(store, tmp_path, after)
                for victim in (0, before - 1 if before > after else 1):
                    wait_for_move(store, after, lambda body: total(body, "moved") > 0)
                    store.kill_bucket(victim)
                wait_for_topology(store, settled(after))
        finally:
            stop.touch()
            over_http.stop()
        inside: list[dict[str, Any]] = json.loads(driver.wait_for("["))
    told = [*inside, {"numbers": over_http.numbers, "values": over_http.values}]
    with Store(store.url) as client:
        for where in ("inside", "outside"):
            for number in range(COUNTERS):
                counter = f"{where}/n{number}"
                numbers = sorted(one for each in told for one in each["numbers"].get(counter, []))
                assert numbers == list(range(1, len(numbers) + 1)), counter
                assert client.get_text(counter) == str(len(numbers)), counter
        values = {key: value for each in told for key, value in each["values"].items()}
        assert {key: each.text for key, each in client.get_many(values).items()} == values
    counts = Counter({str(who): sum(map(len, each["numbers"].values())) for who, each in enumerate(told)})
    tell(f"increments of 8 tasks, an actor and HTTP's clients: {[counts[str(who)] for who in range(len(told))]}")
    assert all(counts[str(who)] > 20 for who in range(len(told))), counts


def test_it_says_clearly_what_is_missing(crash_store: RunningStore) -> None:
    program = (
        "import ray, serve_app\n"
        "from serve_app.cluster import connecting, existing_buckets\n"
        "from cloud_storage import StoreError\n"
        "def tried():\n"
        "    try:\n"
        "        serve_app.connect(timeout=5)\n"
        "    except StoreError as error:\n"
        "        print(type(error).__name__, error, flush=True)\n"
        "tried()\n"
        "ray.init(address={address!r}, log_to_driver=False, logging_level='ERROR')\n"
        "existing_buckets.versions.OLDEST = existing_buckets.versions.NEWEST = 99\n"
        "tried()\n"
        "import serve_app.cluster.ray_calls as calls\n"
        "calls.NAMESPACE = 'nobody'\n"
        "tried()\n"
    )
    done = run(crash_store, program)
    no_ray, other_release, no_store = done.stdout.splitlines()
    assert no_ray.startswith("Unavailable this process is in no Ray cluster"), done.stderr
    assert other_release.startswith(
        f"Incompatible bucket-0 is of release 0.1.0, whose data plane has the versions {OLDEST} to {NEWEST}; this"
    )
    assert no_store.startswith("Unavailable there is no store in this Ray cluster")


def test_processes_that_leave_free_their_slots(crash_store: RunningStore) -> None:
    """A store that is closed, or that nobody has any more, keeps its connections for a while, and not for ever."""
    program = (
        "import ray, serve_app, gc, threading\n"
        "from serve_app.cluster import connecting\n"
        "connecting.LINGER_S = 0.2\n"
        "ray.init(address={address!r}, log_to_driver=False, logging_level='ERROR')\n"
        "one = serve_app.connect()\n"
        "one.put('slots', b'1')\n"
        "with serve_app.connect() as other:\n"
        "    assert other.get_text('slots') == '1'\n"
        "try:\n"
        "    other.get('slots')\n"
        "except RuntimeError as error:\n"
        "    print(error)\n"
        "del other\n"
        "gc.collect()\n"
        "assert connecting._Shared._now.users == 1\n"
        "assert one.get_text('slots') == '1'\n"
        "named = lambda: [each for each in threading.enumerate() if each.name == 'cloud-storage']\n"
        "assert len(named()) == 1\n"
        "del one\n"
        "gc.collect()\n"
        "while named():\n"
        "    pass\n"
        "assert serve_app.connect().get_text('slots') == '1'\n"
        "print('ended')\n"
    )
    done = run(crash_store, program)
    assert done.stdout.splitlines() == ["the store is closed", "ended"], done.stderr
    assert done.returncode == 0, done.stderr


def run(store: RunningStore, program: str) -> subprocess.CompletedProcess[str]:
    """A program to its end, in which `{address!r}` stands for the store's Ray."""
    address = repr(ray_client.gcs_address(store.processes()))
    return subprocess.run(
        [sys.executable, "-c", program.replace("{address!r}", address)],
        env=ray_client.environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )


class Program:
    """`tests.support.inside_driver`, running."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path, errors: Path) -> None:
        self._process, self._output, self._errors = process, output, errors

    def wait_for(self, beginning: str) -> str:
        """The line that begins so."""
        found = ""

        def there() -> bool:
            nonlocal found
            lines = self._output.read_text().splitlines(keepends=True)
            found = next((line for line in lines if line.startswith(beginning) and line.endswith("\n")), "")
            assert found or self._process.poll() is None, self._errors.read_text()[-5000:]
            return bool(found)

        until(there, 90)
        return found


@contextmanager
def program(store: RunningStore, folder: Path, *arguments: str) -> Iterator[Program]:
    """On the store's Ray; killed at the end."""
    output, errors = folder / "program.out", folder / "program.err"
    address = ray_client.gcs_address(store.processes())
    with output.open("wb") as out, errors.open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.inside_driver", address, *arguments],
            env=ray_client.environment(),
            cwd=ROOT,
            stdout=out,
            stderr=err,
        )
    try:
        yield Program(process, output, errors)
    finally:
        process.kill()
        process.wait()
