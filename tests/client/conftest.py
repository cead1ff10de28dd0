"""One store behind real HTTP for the tests of the clients. Use keys of your own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.client.served import Served, served


@pytest.fixture(scope="package")
def http_store() -> Iterator[Served]:
    with served() as store:
        yield store
