"""Bugs in how a directory routes, and in whom it and a bucket take each other for."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from unittest.mock import patch

from serve_app.bucket.bucket import Bucket
from serve_app.bucket.standing import Standing
from serve_app.bucket.topology_writes import EstablishWrite
from serve_app.directory import directory
from serve_app.directory.founding import Founding
from serve_app.errors import Unavailable
from serve_app.storage.group import Group
from serve_app.topology import Topology, first_topology
from serve_app.wire.connection import ConnectionBroken
from serve_app.wire.link import BucketLink
from tests.simulation.mutations import HISTORY, SERVED, WHOLE, Mutation


@contextmanager
def an_empty_volume_is_served() -> Iterator[None]:
    """Nobody looks at the identity of a bucket's storage: a volume that came back empty answers "no such key"."""
    with (
        patch.object(Topology, "lists", lambda self, bucket_id, identity: bucket_id < len(self.identities)),
        patch.object(BucketLink, "check_identity", lambda self: None),
    ):
        yield


@contextmanager
def a_write_that_was_sent_is_sent_again() -> Iterator[None]:
    """A broken connection makes a directory try again, whether the write had left or not."""
    with patch.object(directory, "NotSent", ConnectionBroken):
        yield


@contextmanager
def unknown_is_called_refused() -> Iterator[None]:
    """A write that was sent and not answered is reported as one that changed nothing."""
    with patch.object(directory, "OutcomeUnknown", Unavailable):
        yield


@contextmanager
def a_store_is_founded_twice() -> Iterator[None]:
    """Bucket 0 founds a store whenever it is asked to."""

    def deciding(self: EstablishWrite, group: Group) -> None:
        new = first_topology(self.envelope.body.identities, self.state.new_id(16))
        self.state.standing = Standing(None, None, {})
        self.state.install(group, new)

    with patch.object(EstablishWrite, "decide", deciding):
        yield


@contextmanager
def a_topology_in_doubt_is_served() -> Iterator[None]:
    """A topology whose batch met damage is served by, and told to others, though it may be gone after a restart."""
    serve_by = Bucket.serve_by

    def serving(self: Bucket, standing: Standing, *, whole: bool = True) -> bool:
        return serve_by(self, standing)

    with patch.object(Bucket, "serve_by", serving):
        yield


@contextmanager
def a_store_is_founded_beside_another() -> Iterator[None]:
    """Only as many buckets as are configured are waited for before a store is founded."""
    are_new = Founding._are_new

    def not_waiting(self: Founding, bucket_ids: Collection[int]) -> bool:
        return are_new(self, range(self._configuration.bucket_count or 0))

    with patch.object(Founding, "_are_new", not_waiting):
        yield


MUTATIONS = [
    Mutation("an empty volume is served", 80, HISTORY, an_empty_volume_is_served),
    Mutation("a write that was sent is sent again", 40, HISTORY, a_write_that_was_sent_is_sent_again),
    Mutation("unknown is called refused", 10, HISTORY, unknown_is_called_refused),
    Mutation("a store is founded twice", 10, HISTORY | WHOLE, a_store_is_founded_twice),
    Mutation("a topology in doubt is served", 120, SERVED, a_topology_in_doubt_is_served),
    Mutation("a store is founded beside another", 700, HISTORY | WHOLE, a_store_is_founded_beside_another),
]
