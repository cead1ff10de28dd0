"""Clients that work on few keys at once and write down what they saw, for the linearizability checker.

Many clients on few keys: most operations overlap, or the check would prove little. Keys change every few seconds, so that no
key's history grows long; at the end each key ever used is read once more, which finds a lost write wherever it was.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections import Counter
from typing import Any

import httpx

from tests.support.linearizability import Event, Kind

KEYS_AT_ONCE = 4
KEYS_LAST_S = 2.0


class Load:
    """Runs clients in threads until `stop`; `events` is what they saw."""

    kinds: tuple[Kind, ...] = ("get", "get", "put", "put", "put", "delete")

    def __init__(self, url: str, clients: int = 12, seed: int = 0) -> None:
        self.url = url
        self.events: list[Event] = []
        #: How the operations ended: ok, refused, unknown.
        self.outcomes: Counter[str] = Counter()
        self.surprises: list[str] = []
        #: The longest that any client waited for an answer, whichever it was.
        self.longest_wait_s = 0.0
        self._counting = threading.Lock()
        self._stop = threading.Event()
        self._started_s = time.monotonic()
        self._threads = [threading.Thread(target=self._work, args=(seed * 1000 + number,)) for number in range(clients)]

    def start(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> None:
        """End the clients; their last operations are in the history."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, more: int, timeout_s: float = 60.0) -> None:
        """Wait until this many more operations have succeeded."""
        wanted = self.outcomes["ok"] + more
        deadline_s = time.monotonic() + timeout_s
        while self.outcomes["ok"] < wanted:
            assert time.monotonic() < deadline_s, f"no progress: {self.outcomes}"
            time.sleep(0.02)

    def read_all(self) -> int:
        """Read every key once more, each until the store answers; how many are there."""
        present = 0
        with httpx.Client(base_url=self.url, timeout=30) as client:
            for key in sorted({event.key for event in self.events}):
                deadline_s = time.monotonic() + 60
                while True:
                    called_s = time.monotonic()
                    try:
                        answer = client.get("/get", params={"key": key})
                    except httpx.HTTPError:
                        answer = None
                    if answer is not None and answer.status_code in (200, 404):
                        found = answer.json()["value"] if answer.status_code == 200 else None
                        self.events.append(Event(key, "get", None, found, called_s, time.monotonic()))
                        present += found is not None
                        break
                    assert time.monotonic() < deadline_s, f"{key} can't be read: {answer and answer.text}"
                    time.sleep(0.1)
        return present

    def overlapping(self) -> float:
        """The share of operations that ran beside another one on their key."""
        overlap = total = 0
        ends: dict[str, float] = {}
        for event in sorted(self.events, key=lambda event: event.called_s):
            total += 1
            overlap += event.called_s < ends.get(event.key, -math.inf)
            if not event.unknown:
                ends[event.key] = max(ends.get(event.key, -math.inf), event.ended_s)
        return overlap / total

    def _work(self, seed: int) -> None:
        rng = random.Random(seed)
        client = self._client()
        number = 0
        while not self._stop.is_set():
            number += 1
            epoch = int((time.monotonic() - self._started_s) / KEYS_LAST_S)
            key = f"load-{seed // 1000}-{epoch}-{rng.randrange(KEYS_AT_ONCE)}"
            kind = rng.choice(self.kinds)
            if self._operate(client, key, kind, f"{seed}.{number}") != "ok":
                client.close()
                client = self._client()
                self._stop.wait(0.2)
        client.close()

    def _client(self) -> Any:
        return httpx.Client(base_url=self.url, timeout=30)

    def _operate(self, client: Any, key: str, kind: Kind, value: str) -> str:
        called_s = time.monotonic()
        outcome, found = self._ask(client, key, kind, value)
        ended_s = time.monotonic()
        if outcome != "refused":
            put = value if kind in ("put", "swap", "append") else None
            self.events.append(Event(key, kind, put, found, called_s, math.inf if outcome == "unknown" else ended_s))
        with self._counting:
            self.outcomes[outcome] += 1
            self.longest_wait_s = max(self.longest_wait_s, ended_s - called_s)
        return outcome

    def _ask(self, client: Any, key: str, kind: Kind, value: str) -> tuple[str, str | int | None]:
        """(ok, refused or unknown; what was found). What is not the store's own JSON is of unknown fate."""
        try:
            if kind == "put":
                answer = client.put("/put", params={"key": key, "value": value})
            elif kind == "get":
                answer = client.get(f"/get/{key}")
            else:
                answer = client.delete(f"/delete/{key}")
            body = answer.json()
        except httpx.ConnectError:
            return "refused", None  # nothing was sent
        except (httpx.HTTPError, ValueError):
            return "unknown", None
        if answer.status_code == 200:
            return "ok", body["action"] == "updated" if kind == "put" else body["value"]
        if answer.status_code == 404 and body.get("type") == "urn:cloud-storage:key-not-found":
            return "ok", None
        if answer.status_code in (503, 507) and body.get("type", "").startswith("urn:cloud-storage:"):
            return "refused", None
        if answer.status_code == 504:
            return "unknown", None
        self.surprises.append(f"{answer.status_code} {answer.text[:200]}")
        return "unknown", None
