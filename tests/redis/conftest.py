"""A store of this process behind the real face, on a port of its own, for clients that block."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.redis.faced import Faced, connected


@pytest.fixture(scope="package")
def faced() -> Iterator[Faced]:
    served = Faced()
    served.start()
    yield served
    served.stop()


@pytest.fixture(params=[2, 3])
def client(faced: Faced, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Of redis-py, by either protocol, on an empty store."""
    with connected(port=faced.port, protocol=request.param) as client:
        client.flushall()
        yield client
