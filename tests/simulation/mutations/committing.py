"""Bugs in how commits are numbered, and in when and as what they are handed on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from serve_app.storage import group as groups
from serve_app.storage.commit import Commit
from serve_app.storage.committer import Committer
from serve_app.storage.facts import Totals, totals_fact
from serve_app.storage.group import Group
from serve_app.storage.writer import Writer
from tests.simulation.mutations import COMMITS, Mutation


@contextmanager
def numbers_are_one_behind_on_the_disk() -> Iterator[None]:
    """A batch has the number of the commit before: the last is given again after a restart."""

    def behind(totals: Totals) -> tuple[bytes, bytes]:
        return totals_fact(totals._replace(sequence=max(0, totals.sequence - 1)))

    with patch.object(groups, "totals_fact", behind):
        yield


@contextmanager
def a_commit_is_handed_on_before_its_sync() -> Iterator[None]:
    """Subscribers hear of it when it is decided; the sync comes some time later, unless a crash comes first."""
    decide_next, write = Writer._decide_next, Committer.write

    def deciding(self: Writer) -> Group:
        bucket: Any = self._group_done.__self__  # type: ignore[attr-defined]
        standing = bucket.state.standing
        group = decide_next(self)
        bucket._on_group_done([], group._commit(), standing, whole=True)
        return group

    def writing(self: Committer, group: Group) -> None:
        write(self, group)

    with patch.object(Writer, "_decide_next", deciding), patch.object(Committer, "write", writing):
        yield


@contextmanager
def what_met_damage_is_handed_on() -> Iterator[None]:
    """Of a group whose batch may or may not be on the disk, subscribers hear as of any other."""
    write = Committer.write

    def writing(self: Committer, group: Group) -> Commit | None:
        write(self, group)
        return group._commit()

    with patch.object(Committer, "write", writing):
        yield


@contextmanager
def facts_alone_take_no_number() -> Iterator[None]:
    """A commit without records has the number of the one before."""
    commit = Group._commit

    def committing(self: Group) -> Commit | None:
        made = commit(self)
        if made is None or made.records:
            return made
        self.sequence = self._before.sequence
        self.set_fact(*totals_fact(self.totals))
        return Commit(self.sequence, (), tuple(self._facts.items()))

    with patch.object(Group, "_commit", committing):
        yield


MUTATIONS = [
    Mutation("numbers are one behind on the disk", 10, COMMITS, numbers_are_one_behind_on_the_disk),
    Mutation("a commit is handed on before its sync", 10, COMMITS, a_commit_is_handed_on_before_its_sync),
    Mutation("what met damage is handed on", 50, COMMITS, what_met_damage_is_handed_on),
    Mutation("facts alone take no number", 10, COMMITS, facts_alone_take_no_number),
]
