"""HAProxy as the store starts it: what a client sees of it, and that Serve's configuration was amended whole."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from harness.running_store import RunningStore
from serve_app.ingress.configuration import amend
from tests.support.exposure import argument
from tests.support.raw_http import RawConnection

pytestmark = pytest.mark.ray

_TIMES = 20


def test_a_client_that_closes_its_sending_side_gets_its_answer(store: RunningStore) -> None:
    """After a whole PUT; HAProxy by Serve's own configuration answers 400, and the value is stored nevertheless."""
    for number in range(_TIMES):
        with RawConnection(store.port) as connection:
            head = f"PUT /put?key=half-closed-{number} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n\r\n"
            connection.send(head.encode() + b"value")
            connection.socket.shutdown(socket.SHUT_WR)
            answer = connection.answer()
        assert answer is not None
        assert answer.status == 200, answer
        assert b'"action":"created"' in answer.body
        with store.client() as client:
            assert client.delete(f"/delete/half-closed-{number}").json()["value"] == "value"


def test_the_running_configuration_is_amended_whole(store: RunningStore) -> None:
    """Against the template of the Ray that is installed: each amendment found what it changes."""
    path = Path(argument(store, "/haproxy", "-f"))
    text = path.read_text()
    assert amend(text)[0] == text
    for left in ("mode 666", "abortonclose", "prometheus", "listen stats", "option httplog", "local0 info"):
        assert left not in text
    said = "".join(log.read_text() for log in path.parent.glob("*.stderr.log"))
    assert "not found in Serve's configuration" not in said
    assert "not amended" not in said
