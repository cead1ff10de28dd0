"""What listens where: the table in docs/operations.md against a running store, in both directions."""

from __future__ import annotations

import time
from collections import Counter

import psutil
import pytest

from harness.running_store import ROOT, RunningStore
from tests.support.exposure import Listener, listening

pytestmark = pytest.mark.ray

_WHERE_FREE = ", where it is free"


def documented(taken: set[int]) -> Counter[Listener]:
    """How many sockets each process listens with, by address, after the table.

    taken: ports that something else on this machine has; what is documented to listen there "where it is free" does not.
    """
    text = (ROOT / "docs" / "operations.md").read_text()
    table = text.partition("## What listens where")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")
    ]
    found: Counter[Listener] = Counter()
    for process, address, port, *_ in rows[2:]:
        if not (port.endswith(_WHERE_FREE) and int(port.removesuffix(_WHERE_FREE)) in taken):
            found[process, address] += 1
    return found


def taken_by_others(store: RunningStore) -> set[int]:
    """The ports that other processes than the store's listen on."""
    ours = {process.pid for process in store.processes()}
    return {
        each.laddr.port
        for each in psutil.net_connections("inet")
        if each.status == psutil.CONN_LISTEN and each.laddr and each.pid not in ours
    }


def test_what_listens_is_what_the_documentation_says(store: RunningStore) -> None:
    assert documented(set()), "the table is gone"
    deadline_s = time.monotonic() + 30
    while True:
        # A reload of HAProxy, or a process that is just ending, is over in a moment.
        try:
            found, wanted = listening(store), documented(taken_by_others(store))
            assert found - wanted == Counter(), "listens and is not written down"
            assert wanted - found == Counter(), "is written down and does not listen"
            return
        except AssertionError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.2)


def test_nothing_but_one_of_serves_own_is_reached_from_elsewhere(store: RunningStore) -> None:
    """The API listens on 127.0.0.1 here. Serve's replicas have a gRPC server that can't be told where to listen."""
    outside = {listener for listener in listening(store) if not listener[1].startswith("127.")}
    assert outside == {("directory", "::")}
