"""A steady load of reads and writes over kept-alive connections, and an account of every request.

Runs inside the cluster, in a pod of the store's image: `python load.py URL BUCKETS REQUESTS_PER_S`. Each worker owns its
keys, all of one bucket, so it knows what each must hold, and which bucket failed. BUCKETS is 0 where their number changes
meanwhile: then the keys are of any bucket, and none is named, for which had a key when it failed is not known here. It ends
when the file /tmp/stop appears; then every key is read back. The last line of its output is the account, as JSON.

Nothing is sent again here: whatever is not the right answer counts as failed. aiohttp (which Ray brings), for the pod shares
its processors with the store: httpx takes twenty times as much for a request.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

STOP = Path("/tmp/stop")
WORKERS_PER_BUCKET = 16
#: As many as for two buckets.
WORKERS_WHERE_IT_CHANGES = 32
KEYS_PER_WORKER = 20
TIMEOUT_S = 20.0
READ_BACK_S = 60.0


def bucket_of(key: str, bucket_count: int) -> int:
    return int(hashlib.sha256(key.encode()).hexdigest(), 16) % bucket_count


class Answer(NamedTuple):
    status: int
    body: bytes


def stop_asked() -> bool:
    return STOP.exists()


class Worker:
    def __init__(self, number: int, bucket_count: int, run: str) -> None:
        self.bucket = number % bucket_count if bucket_count else None
        candidates = (f"{run}-{number}-{n}" for n in range(100_000))
        own = (key for key in candidates if self.bucket is None or bucket_of(key, bucket_count) == self.bucket)
        self.keys = [next(own) for _ in range(KEYS_PER_WORKER)]
        self.acknowledged: dict[str, str] = {}
        #: Values that may be there instead: of writes whose fate is not known, since the last acknowledged one.
        self.possible: dict[str, set[str | None]] = {key: {None} for key in self.keys}
        self.requests: list[tuple[float, float, str, str]] = []
        self.failures: list[dict[str, Any]] = []
        self.wrong: list[dict[str, Any]] = []

    async def run(self, client: aiohttp.ClientSession, period_s: float, number: int) -> None:
        sequence = 0
        due_s = time.monotonic() + period_s * (number % 17) / 17
        while not stop_asked():
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            due_s = max(due_s + period_s, time.monotonic())  # what was missed is not made up for in a burst
            key = self.keys[(sequence // 2) % KEYS_PER_WORKER]
            if sequence % 2 == 0:
                await self.put(client, key, f"{key}={sequence}")
            else:
                await self.get(client, key)
            sequence += 1

    async def put(self, client: aiohttp.ClientSession, key: str, value: str) -> None:
        answer = await self.request(client, "PUT", "/put", {"key": key, "value": value})
        if answer is not None and answer.status == 200:
            self.acknowledged[key] = value
            self.possible[key] = {value}
        elif answer is None or answer.status not in (503, 507):
            self.possible[key].add(value)  # 504, a plain 500, a broken connection: it may have happened

    async def get(self, client: aiohttp.ClientSession, key: str) -> bool:
        answer = await self.request(client, "GET", "/get", {"key": key})
        if answer is None or answer.status not in (200, 404):
            return False
        value = json.loads(answer.body)["value"] if answer.status == 200 else None
        if value not in self.possible[key]:
            self.wrong.append({"key": key, "value": value, "possible": sorted(map(str, self.possible[key]))})
        return True

    async def request(
        self, client: aiohttp.ClientSession, method: str, path: str, query: dict[str, str]
    ) -> Answer | None:
        """The answer; None where there is none."""
        sent_s = time.time()
        try:
            async with client.request(method, path, params=query) as response:
                answer: Answer | None = Answer(response.status, await response.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            answer, status, good, detail = None, type(error).__name__, False, repr(error)[:200]
        else:
            assert answer is not None
            status = str(answer.status)
            good = answer.status == 200 or (method == "GET" and answer.status == 404)
            detail = "" if good else answer.body[:200].decode(errors="replace")
        ended_s = time.time()
        self.requests.append((sent_s, ended_s, method, status))
        if not good:
            failure = {"sent": sent_s, "ended": ended_s, "method": method, "bucket": self.bucket}
            self.failures.append({**failure, "status": status, "detail": detail})
        return answer

    async def read_back(self, client: aiohttp.ClientSession) -> int:
        """How many acknowledged writes could not be read at all; wrong values are noted in `wrong`."""
        deadline_s = time.monotonic() + READ_BACK_S
        unread = 0
        for key in self.acknowledged:
            while not await self.get(client, key):
                if time.monotonic() > deadline_s:
                    unread += 1
                    break
                await asyncio.sleep(0.2)
        return unread


async def main(url: str, bucket_count: int, rate: float) -> None:
    run = f"load-{time.time_ns():x}"
    count = WORKERS_PER_BUCKET * bucket_count or WORKERS_WHERE_IT_CHANGES
    workers = [Worker(n, bucket_count, run) for n in range(count)]
    connector = aiohttp.TCPConnector(limit=len(workers), keepalive_timeout=60)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(url, connector=connector, timeout=timeout) as client:
        client._retry_connection = False  # else it sends again by itself what a kept-alive connection lost
        print("started", flush=True)
        started_s = time.time()
        period_s = len(workers) / rate
        await asyncio.gather(*(worker.run(client, period_s, n) for n, worker in enumerate(workers)))
        ended_s = time.time()
        requests = [request for worker in workers for request in worker.requests]
        failures = sorted((f for worker in workers for f in worker.failures), key=lambda f: float(f["ended"]))
        unread = sum(await asyncio.gather(*(worker.read_back(client) for worker in workers)))
    latencies = sorted(end - start for start, end, _, _ in requests)
    account = {
        "started": started_s,
        "seconds": ended_s - started_s,
        "requests": len(requests),
        "per_second": len(requests) / (ended_s - started_s),
        "by_second": sorted(Counter(int(end - started_s) for _, end, _, _ in requests).items()),
        "statuses": Counter(status for _, _, _, status in requests),
        "longest_s": latencies[-1] if latencies else 0.0,
        "failures": failures,
        "keys": count * KEYS_PER_WORKER,
        "acknowledged": sum(len(worker.acknowledged) for worker in workers),
        "unread": unread,
        "wrong": [wrong for worker in workers for wrong in worker.wrong],
    }
    print(json.dumps(account))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
