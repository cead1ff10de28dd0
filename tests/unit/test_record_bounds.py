"""What a key may be."""

from __future__ import annotations

import pytest

from serve_app.errors import InvalidRequest
from serve_app.record_bounds import check_key


def test_keys_are_1_to_1024_bytes() -> None:
    assert check_key("ä" * 512) == ("ä" * 512).encode()
    for bad in ("", "ä" * 513, "x" * 1025, "\ud800"):
        with pytest.raises(InvalidRequest):
            check_key(bad)
