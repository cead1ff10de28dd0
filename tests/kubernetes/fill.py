"""Many records, so that moving them takes a while; and whether all of them are still there.

Runs inside the cluster, in a pod of the store's image: `python fill.py URL put|check RECORDS VALUE_BYTES`. The last line of
its output is JSON: how many are good, and the first that are not.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import time

import httpx

WORKERS = 32
PATIENCE_S = 60.0


def value_of(key: str, size: int) -> str:
    """Another one for each key."""
    digest = hashlib.sha256(key.encode()).hexdigest()
    return (digest * (size // len(digest) + 1))[:size]


async def answered(client: httpx.AsyncClient, method: str, path: str, key: str, body: str | None) -> httpx.Response:
    """Tried until it is 200 or 404: this is no load, and a record that is put twice is the same."""
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            answer = await client.request(method, path, params={"key": key}, content=body)
            if answer.status_code in (200, 404) or time.monotonic() > deadline_s:
                return answer
        except httpx.HTTPError:
            if time.monotonic() > deadline_s:
                raise
        await asyncio.sleep(0.1)


async def main(url: str, doing: str, records: int, size: int) -> None:
    keys = iter([f"fill-{n}" for n in range(records)])
    good, bad = 0, []

    async def worker(client: httpx.AsyncClient) -> None:
        nonlocal good
        for key in keys:
            if doing == "put":
                answer = await answered(client, "PUT", "/put", key, value_of(key, size))
                right = answer.status_code == 200
            else:
                answer = await answered(client, "GET", "/get", key, None)
                right = answer.status_code == 200 and answer.json()["value"] == value_of(key, size)
            good += right
            if not right:
                bad.append({"key": key, "status": answer.status_code, "text": answer.text[:100]})

    limits = httpx.Limits(max_connections=WORKERS, max_keepalive_connections=WORKERS)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=20.0) as client:
        await asyncio.gather(*(worker(client) for _ in range(WORKERS)))
    print(json.dumps({"good": good, "bad": bad[:10]}))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
