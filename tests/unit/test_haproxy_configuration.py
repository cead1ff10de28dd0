"""What is amended in the configuration that Serve writes for HAProxy."""

from __future__ import annotations

from serve_app.ingress.configuration import AMENDMENTS, amend

CONFIGURATION = """global
    log 127.0.0.1:514 local0 info
    stats socket /somewhere/adm mode 666 level admin expose-fd listeners
    nbthread 4
defaults
    mode http
    log global
    option httplog
    option abortonclose
    timeout client 60s
frontend prometheus
    bind :9101
    mode http
    http-request use-service prometheus-exporter if { path /metrics }
    no log
frontend http_frontend
    bind 127.0.0.1:8000
    default_backend default_backend
backend default_backend
    http-request return status 404
listen stats
  bind *:8404
  stats enable
  stats uri /stats
  stats refresh 1s
"""
AMENDED = """global
    log stderr format raw local0 notice
    stats socket /somewhere/adm mode 600 level admin expose-fd listeners
    nbthread 4
defaults
    mode http
    timeout client 60s
frontend http_frontend
    bind 127.0.0.1:8000
    http-request set-header x-request-disconnect-disabled ?1
    default_backend default_backend
backend default_backend
    http-request return status 404
"""


def test_each_amendment_is_made() -> None:
    assert amend(CONFIGURATION) == (AMENDED, [])


def test_each_place_that_there_is_is_amended() -> None:
    """HAProxy takes several admin sockets, and each is a way in."""
    socket = "    stats socket /somewhere/adm mode 666 level admin expose-fd listeners\n"
    text, _ = amend(CONFIGURATION.replace(socket, socket + socket.replace("adm", "other")))
    assert text.count("mode 600") == 2
    assert "mode 666" not in text


def test_a_last_line_may_lack_its_end() -> None:
    assert amend(CONFIGURATION.removesuffix("\n")) == (AMENDED, [])


def test_amending_again_changes_nothing() -> None:
    assert amend(AMENDED)[0] == AMENDED


def test_what_another_release_writes_is_left_and_said() -> None:
    text = "global\n    nbthread 4\n"
    assert amend(text) == (text, [each.why for each in AMENDMENTS])
