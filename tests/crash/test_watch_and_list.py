"""Watching and listing while buckets and directories are killed and keys move.

Every acknowledged change is told to a watcher that comes back with its last id; within one connection no key goes backwards.
A key that is there throughout is in each whole list exactly once.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.reconfigure import settled, wait_for_topology
from harness.running_store import RunningStore
from tests.support.event_stream import EventStream
from tests.support.moves import configure, put_all, total, wait_for_move, with_buckets

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

#: There throughout; two thirds move between 2 buckets and 3.
STAYING = {f"watched/stay-{number:04d}": f"{number:04d}" * 250 for number in range(600)}
WRITERS = 4
KEYS = 10
_PATIENCE_S = 60.0


class Background:
    """Threads that work until `stop`, which tells what went wrong in them."""

    def __init__(self, *works: Callable[[], None]) -> None:
        self._failed: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run, args=(work,)) for work in works]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()
        self.check()

    def check(self) -> None:
        assert not self._failed, self._failed

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self._failed.append(error)
            raise


class Writer:
    """Puts and deletes a few keys of its own, one request after the other."""

    def __init__(self, url: str, number: int, stopped: threading.Event) -> None:
        self._url, self._number, self._stopped = url, number, stopped
        #: Acknowledged: key, revision, kind.
        self.changes: list[tuple[str, int, str]] = []

    def work(self) -> None:
        rng = random.Random(self._number)
        client = httpx.Client(base_url=self._url, timeout=30)
        while not self._stopped.is_set():
            key = f"watched/{self._number}-{rng.randrange(KEYS)}"
            kind = rng.choice(("put", "put", "delete"))
            try:
                ask = client.put if kind == "put" else client.delete
                answer = ask(f"/v1/kv/{key}")
            except httpx.HTTPError:
                client.close()
                client = httpx.Client(base_url=self._url, timeout=30)
                continue
            if answer.is_success:
                self.changes.append((key, int(answer.headers["etag"].strip('"')), kind))
            else:
                assert answer.status_code >= 500 or (answer.status_code, kind) == (404, "delete"), answer.text
        client.close()


class Watcher:
    """Comes back as often as its connection ends."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.told: set[tuple[str, int, str]] = set()
        self.connections = 0
        self.endings: Counter[str] = Counter()
        self.backwards: list[str] = []
        self.listening = threading.Event()
        self.last_id = ""

    def work(self, last_key: str) -> None:
        """Until it is told of that key."""
        deadline_s = time.monotonic() + 200
        while not self._follow(last_key):
            assert time.monotonic() < deadline_s, "it was not told of the end"
            time.sleep(0.05)

    def _follow(self, last_key: str) -> bool:
        try:
            with EventStream(self._url, "watched/", last_id=self.last_id, timeout_s=25) as stream:
                if stream.answer.status_code != 200:
                    self.endings[str(stream.answer.status_code)] += 1
                    assert stream.answer.status_code >= 500, stream.answer.read()
                    return False
                self.connections += 1
                newest: dict[str, int] = {}
                try:
                    for event in stream:
                        if event.kind not in ("put", "delete"):
                            self.endings[event.kind] += 1
                            assert event.kind == "dropped", event
                            return False
                        self.listening.set()
                        if event.revision < newest.get(event.key, 0):
                            self.backwards.append(f"{event} after {newest[event.key]}")
                        newest[event.key] = event.revision
                        self.told.add((event.key, event.revision, event.kind))
                        if event.key == last_key:
                            return True
                finally:
                    self.last_id = stream.last_id
        except httpx.HTTPError as error:
            self.endings[type(error).__name__] += 1
        return False


class Lister:
    """Lists all of it, again and again."""

    def __init__(self, url: str, stopped: threading.Event, limit: int) -> None:
        self._url, self._stopped, self._limit = url, stopped, limit
        self.whole = 0
        self.wrong: list[str] = []

    def work(self) -> None:
        while not self._stopped.is_set():
            names: list[str] = []
            after: str | None = ""
            while after is not None and not self._stopped.is_set():
                page = self._page(after)
                names += [entry["key"] for entry in page["keys"]]
                after = page["next"]
            if after is not None:
                return
            self.whole += 1
            found = Counter(names)
            self.wrong += [f"{key}: {found[key]} times" for key in STAYING if found[key] != 1]
            if names != sorted(set(names)):
                self.wrong.append("not in order")

    def _page(self, after: str) -> dict[str, Any]:
        """Asked for until it comes."""
        deadline_s = time.monotonic() + _PATIENCE_S
        while True:
            asked = {"prefix": "watched/", "start_after": after, "limit": str(self._limit)}
            try:
                answer = httpx.get(f"{self._url}/v1/keys", params=asked, timeout=30)
            except httpx.HTTPError:
                answer = None
            if answer is not None and answer.status_code == 200:
                page: dict[str, Any] = answer.json()
                return page
            assert time.monotonic() < deadline_s, answer and answer.text
            assert answer is None or answer.status_code >= 500, answer.text
            time.sleep(0.05)


def test_no_change_is_missed_and_each_key_is_listed_once(
    crash_store: RunningStore, tmp_path: Path, tell: Callable[[str], None]
) -> None:
    store = crash_store
    with_buckets(store, tmp_path, 2)
    put_all(store, STAYING)
    stopped = threading.Event()
    watcher = Watcher(store.url)
    watching = Background(lambda: watcher.work("watched/the-end"))
    with store.client() as client:
        deadline_s = time.monotonic() + _PATIENCE_S
        while not watcher.listening.is_set():
            assert time.monotonic() < deadline_s
            client.put("/v1/kv/watched/the-beginning")
            watcher.listening.wait(0.2)
    writers = [Writer(store.url, number, stopped) for number in range(WRITERS)]
    listers = [Lister(store.url, stopped, limit) for limit in (1000, 60)]
    working = Background(*(writer.work for writer in writers), *(lister.work for lister in listers))
    try:
        for before, after in ((2, 3), (3, 2)):
            configure(store, tmp_path, after)
            for victim in (0, before - 1 if before > after else 1):
                wait_for_move(store, after, lambda body: total(body, "moved") > 0)
                store.kill_bucket(victim)
                store.wait_reachable()
            store.kill_directory(min)  # the older one: so both that the watch may have gone through
            wait_for_topology(store, settled(after))
    finally:
        stopped.set()
        working.join()
        _put(store, "watched/the-end")
        watching.join()
    changes = {change for writer in writers for change in writer.changes}
    tell(
        f"{len(changes):,} changes, {watcher.connections} connections of the watch ({dict(watcher.endings)}), "
        f"{[lister.whole for lister in listers]} lists"
    )
    assert len(changes) > 500, "too few for it to mean much"
    assert watcher.connections > 1, "no connection ended, so none went on from an id"
    assert min(lister.whole for lister in listers) >= 3
    missed = sorted(changes - watcher.told)
    assert not missed, f"{len(missed)} of {len(changes)}: {missed[:5]}"
    assert not watcher.backwards
    assert [lister.wrong[:5] for lister in listers] == [[], []]


def _put(store: RunningStore, key: str) -> None:
    """Until it is acknowledged."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            answer = httpx.put(f"{store.url}/v1/kv/{key}", timeout=30)
        except httpx.HTTPError:
            continue
        if answer.is_success:
            return
        assert time.monotonic() < deadline_s, answer.text
        time.sleep(0.1)
