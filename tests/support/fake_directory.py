"""A directory that keeps its records in a dict, for the HTTP face without Ray, buckets or disks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

from serve_app import placement
from serve_app.auth.gate import Gate
from serve_app.directory.directory import Directory
from serve_app.directory.routed import Routed
from serve_app.errors import StoreError
from serve_app.http.app import build_http
from serve_app.http.front import Front
from serve_app.http.hosts import Hosts
from serve_app.operations import Operation, ReadOperation, WriteOperation
from serve_app.records import Record, decode, encode
from serve_app.settings import Limits

BUCKET_COUNT = 3


class FakeDirectory:
    """Set `failure` to have every operation fail with it; clear `go` to have them wait."""

    def __init__(self) -> None:
        self.records: dict[bytes, tuple[bytes, str]] = {}
        #: Revision, and times of creation, modification and expiry, where they are to be anything.
        self.metadata: dict[bytes, tuple[int, ...]] = {}
        self.revision = 1
        self.now_ms = 1_750_000_000_000
        self.failure: Exception | None = None
        self.go: asyncio.Event | None = None
        self.view = SimpleNamespace(topology=None)

    def what_is_missing(self) -> str:
        return "bucket-0 is away"

    async def start(self) -> None:
        """Nothing to start."""

    async def stop(self) -> None:
        """Nothing to stop."""

    async def carry_out(self, operation: Operation[Any]) -> Routed[Any]:
        await self._begin()
        return Routed(self._answer(operation), *placement.place(operation.key, BUCKET_COUNT))

    async def carry_out_all(self, operations: Sequence[Operation[Any]]) -> list[Routed[Any] | StoreError]:
        outcomes: list[Routed[Any] | StoreError] = []
        for operation in operations:
            try:
                outcomes.append(await self.carry_out(operation))
            except StoreError as error:
                outcomes.append(error)
        return outcomes

    def _answer(self, operation: Operation[Any]) -> object:
        if isinstance(operation, ReadOperation):
            return operation.answer(self.get(operation.key))
        assert isinstance(operation, WriteOperation), f"no test asks for {operation.name} here"
        return operation.decide(self)

    # -- `operations.operation.Records` ------------------------------------------------------------------------------

    def get(self, key: bytes) -> bytes | None:
        if key not in self.records:
            return None
        value, content_type = self.records[key]
        return encode(Record(value, content_type, *self.metadata.get(key, (1, 0, 0, 0))))

    def put(self, key: bytes, raw: bytes, revision: int) -> None:
        value, content_type, *metadata = decode(raw)
        self.records[key] = (value, content_type)
        self.metadata[key] = tuple(metadata)

    def delete(self, key: bytes, revision: int) -> None:
        del self.records[key]
        self.metadata.pop(key, None)

    def next_revision(self) -> int:
        self.revision += 1
        return self.revision

    async def _begin(self) -> None:
        if self.go is not None:
            await self.go.wait()
        if self.failure is not None:
            raise self.failure


def http_on(
    directory: FakeDirectory, limits: Limits | None = None, hosts: Hosts | None = None, gate: Gate | None = None
) -> Front:
    """The real HTTP application on a fake directory."""
    return build_http(cast(Directory, directory), limits or Limits(), hosts, gate)
