"""Bugs in lists, in feeds and in who follows them, and in revisions after an accepted loss."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import msgspec

from serve_app.bucket import calls
from serve_app.bucket.listing import Page, page
from serve_app.bucket.reader import ReadBucket
from serve_app.changes import EXPIRE
from serve_app.directory import places
from serve_app.directory.listing import Listing, Question
from serve_app.directory.merged_feed import MergedFeed
from serve_app.directory.places import Position, parse
from serve_app.storage import feed
from serve_app.storage.engine import Changes
from serve_app.storage.group import Group
from serve_app.topology import Topology
from serve_app.wire.messages import List, Listed
from tests.simulation.disk import SimulatedDisk
from tests.simulation.mutations import FEED, HISTORY, LISTS, REVISIONS, WATCHES, Mutation


@contextmanager
def a_list_asks_for_what_was_taken_first() -> Iterator[None]:
    """What moves between the two answers is then seen in neither."""

    async def asking(
        self: Listing, topology: Topology, asked: Question, start: bytes, enough: int, deadline_s: float
    ) -> list[Listed]:
        answers: list[Listed] = []
        for taken in (True, False) if topology.moving else (False,):
            body = List(start, asked.prefix, asked.delimiter, enough, asked.values, taken)
            count = len(topology.identities) if taken else topology.bucket_count
            for outcome in await asyncio.gather(
                *(self._ask(bucket_id, body, topology, deadline_s) for bucket_id in range(count)),
                return_exceptions=True,
            ):
                if isinstance(outcome, BaseException):
                    raise outcome
                answers.append(outcome)
        return answers

    with patch.object(Listing, "_ask_all", asking):
        yield


@contextmanager
def a_page_is_made_of_several_epochs() -> Iterator[None]:
    """A bucket answers by its own topology, whatever the others were asked by."""

    def answering(bucket: ReadBucket, asked: List, epoch: int) -> Page:
        topology = bucket.served.standing.topology
        return page(bucket, asked, epoch if topology is None else topology.epoch)

    with patch.object(calls, "page", answering):
        yield


@contextmanager
def a_list_has_only_what_is_at_home() -> Iterator[None]:
    """While keys move nobody is asked for what has come from others."""
    ask = Listing._ask

    async def asking(self: Listing, bucket_id: int, body: List, topology: Topology, deadline_s: float) -> Listed:
        if body.taken:
            return Listed([], [], b"")
        return await ask(self, bucket_id, body, topology, deadline_s)

    with patch.object(Listing, "_ask", asking):
        yield


@contextmanager
def a_window_that_is_taken_is_not_told_of() -> Iterator[None]:
    """A feed does not say where a key's changes before are."""
    with patch.object(Group, "tell_taken", lambda self, source, tag, reached: None):
        yield


@contextmanager
def the_source_of_a_window_is_not_waited_for() -> Iterator[None]:
    """What its new home tells of a key comes before what its old home has told."""

    async def waiting(self: MergedFeed, taken: Any) -> None:
        return None

    with patch.object(MergedFeed, "_wait_for", waiting):
        yield


@contextmanager
def changes_are_in_a_batch_of_their_own() -> Iterator[None]:
    """A feed is written after the records: a crash in between, and nobody is told."""
    write = SimulatedDisk.write

    def splitting(self: SimulatedDisk, records: Changes, facts: Changes) -> None:
        told = [fact for fact in facts if fact[0].startswith(feed.PREFIX) and fact[1] is not None]
        write(self, records, [fact for fact in facts if fact not in told])
        if told:
            write(self, [], told)

    with patch.object(SimulatedDisk, "write", splitting):
        yield


@contextmanager
def a_watch_resumes_one_too_late() -> Iterator[None]:
    """The change after the last one heard is taken for heard."""

    def parsing(text: str) -> tuple[str, dict[int, Position]]:
        store, place = parse(text)
        return store, {bucket_id: at._replace(revision=at.revision + 1) for bucket_id, at in place.items()}

    with patch.object(places, "parse", parsing):
        yield


@contextmanager
def an_expiry_is_not_told_of() -> Iterator[None]:
    """A record that vanishes by itself vanishes from watches unheard."""
    tell = Group.tell

    def telling(self: Group, kind: int, key: bytes, revision: int) -> None:
        if kind != EXPIRE:
            tell(self, kind, key, revision)

    with patch.object(Group, "tell", telling):
        yield


@contextmanager
def revisions_have_no_base() -> Iterator[None]:
    """What goes on in place of a lost storage counts from the beginning."""
    accept_loss = Topology.accept_loss

    def accepting(self: Topology, *given: Any, **named: Any) -> Topology:
        return msgspec.structs.replace(accept_loss(self, *given, **named), revision_base=0)

    with patch.object(Topology, "accept_loss", accepting):
        yield


MUTATIONS = [
    Mutation("a list asks for what was taken first", 200, LISTS, a_list_asks_for_what_was_taken_first),
    Mutation("a page is made of several epochs", 60, LISTS, a_page_is_made_of_several_epochs),
    Mutation("a list has only what is at home", 10, LISTS, a_list_has_only_what_is_at_home),
    Mutation("a window that is taken is not told of", 60, WATCHES, a_window_that_is_taken_is_not_told_of),
    Mutation("the source of a window is not waited for", 60, WATCHES, the_source_of_a_window_is_not_waited_for),
    Mutation("changes are in a batch of their own", 10, FEED | WATCHES, changes_are_in_a_batch_of_their_own),
    Mutation("a watch resumes one too late", 10, WATCHES, a_watch_resumes_one_too_late),
    Mutation("an expiry is not told of", 15, FEED, an_expiry_is_not_told_of),
    Mutation("revisions have no base", 150, REVISIONS | HISTORY, revisions_have_no_base),
]
