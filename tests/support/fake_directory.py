"""A directory that keeps its records in a dict, for the HTTP face without Ray, buckets or disks."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from serve_app import placement
from serve_app.auth.gate import Gate
from serve_app.directory.directory import Directory
from serve_app.directory.routed import Routed
from serve_app.http.app import build_http
from serve_app.http.front import Front
from serve_app.http.hosts import Hosts
from serve_app.operations import Delete, Deleted, Get, Head, Missing, Operation, Put, Value, Written
from serve_app.records import Record, encode
from serve_app.settings import Limits

BUCKET_COUNT = 3


class FakeDirectory:
    """Set `failure` to have every operation fail with it; clear `go` to have them wait."""

    def __init__(self) -> None:
        self.records: dict[bytes, tuple[bytes, str]] = {}
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

    def _answer(self, operation: Operation[Any]) -> object:
        found = self.records.get(operation.key)
        match operation:
            case Get():
                return Missing() if found is None else Value(*found, 1)
            case Head():
                return Missing() if found is None else operation.answer(encode(Record(*found, 1, 0, 0)))
            case Put():
                self.records[operation.key] = (operation.value, operation.content_type)
                return Written(found is None, 1)
            case Delete():
                return Missing() if found is None else Deleted(*self.records.pop(operation.key), 1)
        raise AssertionError(f"no test asks for {operation.name} here")

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
