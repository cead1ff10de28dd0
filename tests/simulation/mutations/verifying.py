"""Bugs in `verify`, which must find no fault with a store that is whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from serve_app.bucket import survey
from serve_app.bucket.judgement import judge
from serve_app.cli import reading
from serve_app.cli.reading import Count
from serve_app.wire import messages
from tests.simulation.mutations import VERIFY, Mutation


@contextmanager
def what_has_come_is_called_misplaced() -> Iterator[None]:
    """While keys move, a record is held against its old home alone."""

    def judging(bucket_id: int, call: int, key: bytes, epoch: int, *rest: Any) -> Any:
        return judge(bucket_id, call, key, 0, *rest)

    with patch.object(survey, "judge", judging):
        yield


@contextmanager
def writes_meanwhile_make_a_count_wrong() -> Iterator[None]:
    """The count must be what was read, whatever clients do in between."""

    def comparing(before: messages.Status, after: messages.Status, read: int) -> Count:
        return Count.EXACT if read == after.keys else Count.WRONG

    with patch.object(reading, "_compare", comparing):
        yield


MUTATIONS = [
    Mutation("what has come is called misplaced", 30, VERIFY, what_has_come_is_called_misplaced),
    Mutation("writes meanwhile make a count wrong", 30, VERIFY, writes_meanwhile_make_a_count_wrong),
]
