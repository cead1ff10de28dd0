"""YCSB's core workloads: in which shares they read, update, insert, and modify what they have read."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import Enum

from cloud_storage.commands.bench.distributions import Acknowledged, Latest, ScrambledZipfian


class Operation(Enum):
    """Named as YCSB prints them."""

    READ = "READ"
    UPDATE = "UPDATE"
    INSERT = "INSERT"
    MODIFY = "READ-MODIFY-WRITE"


@dataclass(frozen=True)
class Workload:
    """shares: of each operation, together 1. latest: whether new records are the frequent ones."""

    letter: str
    what: str
    shares: dict[Operation, float]
    latest: bool = False


WORKLOADS = {
    workload.letter: workload
    for workload in (
        Workload("a", "update heavy", {Operation.READ: 0.5, Operation.UPDATE: 0.5}),
        Workload("b", "read mostly", {Operation.READ: 0.95, Operation.UPDATE: 0.05}),
        Workload("c", "read only", {Operation.READ: 1.0}),
        Workload("d", "read latest", {Operation.READ: 0.95, Operation.INSERT: 0.05}, latest=True),
        Workload("f", "read-modify-write", {Operation.READ: 0.5, Operation.MODIFY: 0.5}),
    )
}
#: What is not here, and why.
REFUSED = {
    "e": "workload e scans ranges of records with their values, which this store does by pages of a list: use `ls`"
}


class Draws:
    """What comes next: an operation, and the number of the record that it is on."""

    def __init__(self, workload: Workload, records: int, source: random.Random) -> None:
        self._source = source
        self._operations, self._weights = list(workload.shares), list(workload.shares.values())
        self.inserted = Acknowledged(records)
        self._latest = Latest(records) if workload.latest else None
        self._zipfian = ScrambledZipfian(records)

    def draw(self) -> tuple[Operation, int]:
        """An insert's number is to be acknowledged when it has ended."""
        (operation,) = self._source.choices(self._operations, self._weights)
        if operation is Operation.INSERT:
            return operation, self.inserted.take()
        if self._latest is not None:
            return operation, self._latest.draw(self._source, self.inserted.count)
        return operation, self._zipfian.draw(self._source)
