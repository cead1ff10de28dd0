"""A directory that keeps its records in a dict, for the HTTP face without Ray, buckets or disks."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

from serve_app import placement
from serve_app.directory.directory import Deleted, Directory, Got, Put
from serve_app.http.app import build_http
from serve_app.http.front import Front
from serve_app.http.hosts import Hosts
from serve_app.settings import Limits

BUCKET_COUNT = 3


class FakeDirectory:
    """Set `failure` to have every operation fail with it; clear `go` to have them wait."""

    def __init__(self) -> None:
        self.records: dict[bytes, tuple[bytes, str]] = {}
        self.failure: Exception | None = None
        self.go: asyncio.Event | None = None
        self.watch = SimpleNamespace(topology=None, what_is_missing=lambda: "bucket-0 is away")

    async def start(self) -> None:
        """Nothing to start."""

    async def stop(self) -> None:
        """Nothing to stop."""

    async def get(self, key: bytes) -> Got:
        await self._begin()
        home, digest = placement.place(key, BUCKET_COUNT)
        value, content_type = self.records.get(key, (None, ""))
        return Got(value, content_type, home, digest)

    async def put(self, key: bytes, value: bytes, content_type: str) -> Put:
        await self._begin()
        home, digest = placement.place(key, BUCKET_COUNT)
        created = key not in self.records
        self.records[key] = (value, content_type)
        return Put(created, home, digest)

    async def delete(self, key: bytes) -> Deleted:
        await self._begin()
        home, digest = placement.place(key, BUCKET_COUNT)
        return Deleted(self.records.pop(key, (None, ""))[0], home, digest)

    async def _begin(self) -> None:
        if self.go is not None:
            await self.go.wait()
        if self.failure is not None:
            raise self.failure


def http_on(directory: FakeDirectory, limits: Limits | None = None, hosts: Hosts | None = None) -> Front:
    """The real HTTP application on a fake directory."""
    return build_http(cast(Directory, directory), limits or Limits(), hosts)
