"""A store whose API is on loopback, as `make run` starts it: who is let in, by HAProxy and past it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import psutil
import pytest

from harness.ray_client import gcs_address
from harness.running_store import ROOT, RunningStore
from tests.support.problem import check_problem
from tests.support.raw_http import raw_request

pytestmark = pytest.mark.ray


#: Prints where each bucket tells directories that it listens.
ADDRESSES = """
import asyncio, json, os
from serve_app.cli.operator import _running_store
with _running_store(os.environ["RAY_ADDRESS"]) as buckets:
    print(json.dumps([asyncio.run(buckets.resolve(bucket_id)).address for bucket_id in range(3)]))
"""


def test_buckets_listen_for_directories_on_loopback_alone(store: RunningStore) -> None:
    environment = {**os.environ, "RAY_ADDRESS": gcs_address(store.processes()), "RAY_AUTH_MODE": "token"}
    told = subprocess.run(
        [sys.executable, "-c", ADDRESSES], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert told.returncode == 0, told.stderr
    addresses = [(host, port) for host, port in json.loads(told.stdout)]
    assert [host for host, _ in addresses] == ["127.0.0.1"] * 3
    listening = {
        (connection.laddr.ip, connection.laddr.port)
        for pid in store.bucket_processes()
        for connection in psutil.Process(pid).net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    ports = {port for _, port in addresses}
    assert {(host, port) for host, port in listening if port in ports} == set(addresses)


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:{port}", "localhost.:{port}", "127.0.0.1:{port}", "[::1]:{port}", "x.localhost"]
)
def test_this_machines_names_are_taken(store: RunningStore, host: str) -> None:
    answer = raw_request(
        store.port, b"GET /health HTTP/1.1\r\nhost: %b\r\n\r\n" % host.format(port=store.port).encode()
    )
    assert answer is not None
    assert answer.status == 200


@pytest.mark.parametrize(
    "head",
    [
        b"GET /get/a HTTP/1.1\r\nhost: evil.example\r\n\r\n",
        b"GET /docs HTTP/1.1\r\nhost: evil.example:{port}\r\n\r\n",
        b"PUT /put?key=doors&value=v HTTP/1.1\r\nhost: evil.example\r\n\r\n",
        b"PUT /put?key=doors HTTP/1.1\r\nhost: evil.example\r\ncontent-length: 1\r\n\r\nv",
        b"GET /get/a HTTP/1.0\r\n\r\n",
        b"GET http://evil.example/get/a HTTP/1.1\r\nhost: evil.example\r\n\r\n",
    ],
)
def test_other_names_are_not(store: RunningStore, head: bytes) -> None:
    answer = raw_request(store.port, head.replace(b"{port}", b"%d" % store.port))
    assert answer is not None
    check_problem(answer, 421)
    with store.client() as client:
        assert client.get("/get/doors").status_code == 404


@pytest.mark.parametrize(
    "head",
    [
        b"PUT http://evil.example/put?key=doors&value=v HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"PUT /put?key=doors&value=v HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n\r\n",
        b"PUT /put?key=doors&value=v HTTP/1.1\r\nhost: evil.example\r\nhost: localhost\r\n\r\n",
        b"PUT /put?key=doors&value=v HTTP/1.1\r\n\r\n",
    ],
)
def test_what_names_two_hosts_or_none_stores_nothing(store: RunningStore, head: bytes) -> None:
    """HAProxy answers some of these itself."""
    answer = raw_request(store.port, head)
    assert answer is not None
    assert 400 <= answer.status < 500
    with store.client() as client:
        assert client.get("/get/doors").status_code == 404


def test_serves_own_questions_are_answered_whatever_they_name(store: RunningStore) -> None:
    """A load balancer's check asks with an address of its own."""
    for path in (b"/-/healthz", b"/-/routes"):
        answer = raw_request(store.port, b"GET %b HTTP/1.1\r\nhost: 10.0.0.1:8000\r\n\r\n" % path)
        assert answer is not None
        assert answer.status == 200


def test_answers_say_that_they_are_not_to_be_kept_nor_guessed_at(store: RunningStore) -> None:
    with store.client() as client:
        for path in ("/get/none", "/health", "/topology", "/docs", "/openapi.json", "/none"):
            headers = client.get(path).headers
            assert headers["x-content-type-options"] == "nosniff", path
            assert headers["cache-control"] == "no-store", path
