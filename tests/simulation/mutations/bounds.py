"""Bugs in what happens where a bound is reached."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from serve_app.bucket.connection import BucketConnection, ColdRead, ReadReply
from serve_app.storage.group_commit import Group, Operation, Writer
from tests.simulation.mutations import ANSWERS, AVAILABLE, WHOLE, Mutation


@contextmanager
def the_rest_of_a_group_cut_short_is_dropped() -> Iterator[None]:
    """A group whose answers grew too large is taken off the queue whole, with what was not decided."""

    def deciding(self: Writer) -> Group:
        operations = self._first_of_backlog()
        group = self._committer.decide(operations)
        del self._backlog[: len(operations)]
        return group

    with patch.object(Writer, "_decide_next", deciding):
        yield


@contextmanager
def the_rest_of_a_batch_of_reads_is_dropped() -> Iterator[None]:
    """What a reading thread left, since its answers grew large, is forgotten."""
    done = BucketConnection._reads_done

    def forgetting(self: BucketConnection, replies: list[ReadReply], left: list[ColdRead]) -> None:
        done(self, replies, [])

    with patch.object(BucketConnection, "_reads_done", forgetting):
        yield


@contextmanager
def bytes_stay_counted_in_the_queue() -> Iterator[None]:
    """A finished group is counted out in number only: in the end the queue is full for ever."""

    def releasing(self: Writer, operations: list[Operation]) -> None:
        self.queued -= len(operations)

    with patch.object(Writer, "release", releasing):
        yield


MUTATIONS = [
    Mutation(
        "the rest of a group cut short is dropped", 50, WHOLE | AVAILABLE, the_rest_of_a_group_cut_short_is_dropped
    ),
    Mutation(
        "the rest of a batch of reads is dropped", 50, AVAILABLE | ANSWERS, the_rest_of_a_batch_of_reads_is_dropped
    ),
    Mutation("bytes stay counted in the queue", 50, WHOLE | AVAILABLE, bytes_stay_counted_in_the_queue),
]
