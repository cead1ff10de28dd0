"""The demo where no store answers."""

from __future__ import annotations

import pytest

from serve_app.cli.demo import demo
from serve_app.command_output.failure import Failure


def test_where_nothing_listens_the_demo_says_so() -> None:
    with pytest.raises(Failure, match=r"no store answers at http://127\.0\.0\.1:1 "):
        demo("http://127.0.0.1:1", None, 1, check_only=False)
