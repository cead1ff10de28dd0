"""Bugs in `verify`, which must find no fault with a store that is whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from serve_app.bucket import survey
from serve_app.bucket.judgement import judge
from tests.simulation.mutations import VERIFY, Mutation


@contextmanager
def what_has_come_is_called_misplaced() -> Iterator[None]:
    """While keys move, a record is held against its old home alone."""

    def judging(bucket_id: int, key: bytes, epoch: int, *rest: Any) -> Any:
        return judge(bucket_id, key, 0, *rest)

    with patch.object(survey, "judge", judging):
        yield


MUTATIONS = [
    Mutation("what has come is called misplaced", 30, VERIFY, what_has_come_is_called_misplaced),
]
