"""An increment that a name is given to happens once, however often it is sent: while connections are cut, buckets and a
directory are killed, and keys move.

What was cut, was refused or is of unknown fate is sent again under its name until it is answered. Then each counter is the
number of its increments, and each one was answered with a number of its own.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from harness.reconfigure import settled, wait_for_topology
from harness.running_store import RunningStore
from tests.support.moves import configure, put_all, total, wait_for_move, with_buckets
from tests.support.raw_http import RawConnection, head

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

CLIENTS = 12
COUNTERS = 8
#: What makes a move take some seconds: two thirds of it go from 2 buckets to 3.
FILLER = {f"filler-once-{number}": f"{number:04d}" * 250 for number in range(400)}
_PATIENCE_S = 60.0


class Client:
    """Counts by one request after the other, each until it is answered."""

    def __init__(self, counting: Counting, number: int) -> None:
        self._counting, self._number = counting, number
        self._rng = random.Random(number)
        self._connection: RawConnection | None = None

    def work(self) -> None:
        sent = 0
        while not self._counting.stopped.is_set():
            sent += 1
            key = f"once-{self._rng.randrange(COUNTERS)}"
            self._count(key, f"{self._number}.{sent}")
        self._leave()

    def _count(self, key: str, name: str) -> None:
        """Until it was answered, and now and then once more."""
        deadline_s = time.monotonic() + _PATIENCE_S
        again = self._rng.random() < 0.2
        while True:
            assert time.monotonic() < deadline_s, f"{name} was never answered"
            status, body = self._ask(key, name)
            self._counting.outcomes[str(status or "cut")] += 1
            if status == 200:
                answer = json.loads(body)
                self._counting.answered[key, name].append((answer["value"], answer["revision"]))
                if not again:
                    return
                again = False
            elif status and status < 500:
                self._counting.surprises.append(f"{status} {body[:200]!r}")
                return
            elif status:
                time.sleep(0.05)

    def _ask(self, key: str, name: str) -> tuple[int, bytes]:
        """The status and the answer; 0 where there is none."""
        request = head(
            "POST", b"/v1/increment?key=" + key.encode(), (b"idempotency-key", name.encode()), (b"content-length", b"0")
        )
        cut = self._rng.choices(("", "before", "within", "after", "soon"), (16, 1, 1, 2, 2))[0]
        try:
            if self._connection is None:
                self._connection = RawConnection(self._counting.store.port)
            if cut != "before":
                self._connection.send(request[: len(request) // 2] if cut == "within" else request)
            if cut == "soon":
                time.sleep(self._rng.random() * 0.02)
            if cut:
                self._leave()
                return 0, b""
            answer = self._connection.answer()
        except OSError:
            answer = None
        if answer is None or answer.headers.get("connection") == "close" or answer.status >= 500:
            self._leave()
        return (0, b"") if answer is None else (answer.status, answer.body)

    def _leave(self) -> None:
        if self._connection is not None:
            with suppress(OSError):
                self._connection.close()
            self._connection = None


class Counting:
    """All clients, and what they were answered."""

    def __init__(self, store: RunningStore) -> None:
        self.store = store
        self.stopped = threading.Event()
        self.outcomes: Counter[str] = Counter()
        self.surprises: list[str] = []
        #: By key and name of the request.
        self.answered: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        self._failed: list[BaseException] = []
        self._threads = [threading.Thread(target=self._work, args=(number,)) for number in range(CLIENTS)]

    def start(self) -> Counting:
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        """Each ends its last request first."""
        self.stopped.set()
        for thread in self._threads:
            thread.join()
        assert not self._failed, self._failed

    def wait_for(self, more: int) -> None:
        wanted = self.outcomes["200"] + more
        deadline_s = time.monotonic() + _PATIENCE_S
        while self.outcomes["200"] < wanted:
            assert not self._failed, self._failed
            assert time.monotonic() < deadline_s, f"no progress: {self.outcomes}"
            time.sleep(0.02)

    def _work(self, number: int) -> None:
        try:
            Client(self, number).work()
        except BaseException as error:
            self._failed.append(error)
            raise


def test_each_increment_happens_once_and_is_answered_the_same_each_time(
    crash_store: RunningStore, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    store, rng = crash_store, random.Random(1)
    with_buckets(store, tmp_path, 2)
    put_all(store, FILLER)
    with store.client() as client:
        for number in range(COUNTERS):
            client.delete(f"/v1/kv/once-{number}")
    counting = Counting(store).start()
    try:
        counting.wait_for(100)
        for before, after in ((2, 3), (3, 2)):
            configure(store, tmp_path, after)
            for victim in (0, before - 1 if before > after else 1):
                wait_for_move(store, after, lambda body: total(body, "moved") > 0)
                store.kill_bucket(victim)
                counting.wait_for(50)
            if before < after:
                store.kill_directory(rng.choice)
            wait_for_topology(store, settled(after))
        counting.wait_for(100)
    finally:
        counting.stop()
    assert not counting.surprises, counting.surprises[:5]
    requests = Counter(key for key, _ in counting.answered)
    repeated = sum(len(answers) > 1 for answers in counting.answered.values())
    tell(f"{sum(requests.values()):,} increments, {repeated:,} answered more than once, {dict(counting.outcomes)}")
    assert counting.outcomes["cut"] > 100, "too few were cut for it to mean much"
    assert repeated > 50, "too few were answered more than once for it to mean much"
    differing = {name: answers for name, answers in counting.answered.items() if len(set(answers)) > 1}
    with store.client() as client:
        held = {key: int(client.get(f"/v1/kv/{key}").content) for key in requests}
    counts = {key: (held[key], requests[key]) for key in requests}
    assert not differing, f"held, asked for: {counts}"
    assert held == dict(requests)
    for key in requests:
        numbers = [answers[0][0] for (of, _), answers in counting.answered.items() if of == key]
        assert sorted(numbers) == list(range(1, held[key] + 1)), key
