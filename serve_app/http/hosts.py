"""Which hosts a request may name, so that no web page can talk to a store that only this machine should reach.

A page's own name can be bound to 127.0.0.1 once it is loaded (DNS rebinding). The browser then takes the store for the page's
own site and lets it read, write and delete; only the Host header still says whose page it is. Where the API listens on
loopback, loopback names and addresses are taken, which no page from elsewhere can have, and what is configured.
"""

from __future__ import annotations

import re

from serve_app.http.requests import Scope
from serve_app.loopback import canonical_host, is_loopback
from serve_app.settings import ANY_HOST

#: Header values that were found good, kept as they came: few in practice, and no more than this.
_REMEMBERED = 64
_NAME = re.compile(r"[a-z0-9_.:-]+")


class Hosts:
    """The check of one directory."""

    def __init__(self, allowed: tuple[str, ...], loopback_host: str = "") -> None:
        """allowed: as `Settings.allowed_hosts`. loopback_host: what the API listens on, where that is loopback: it may be a
        name of this machine's own, which is taken as well."""
        own = host_name(loopback_host.encode())
        self._names = frozenset({*allowed, own} if own else allowed)
        #: Whether every host is taken, so that nothing need be looked at.
        self.all = ANY_HOST in allowed or not (allowed or loopback_host)
        self._good: set[bytes] = set()

    def admit(self, scope: Scope) -> bool:
        """Whether a request is taken: it names one host, and a good one."""
        host = None
        for name, value in scope["headers"]:
            if name == b"host":
                if host is not None:
                    return False  # two ends might each believe another one of them
                host = value
        if host in self._good:
            return True
        if host is None or not self._judge(host):
            return False
        if len(self._good) < _REMEMBERED:
            self._good.add(host)
        return True

    def _judge(self, host: bytes) -> bool:
        name = host_name(host)
        return bool(name) and (name in self._names or is_loopback(name))


def from_another_site(scope: Scope) -> bool:
    """Whether a browser says that a page of another site sends the request (RFC 6454, 7.3).

    It may send a POST without asking first, and then only this header tells (Fetch Standard, 3.1); of the other methods that
    change something it asks.
    """
    host = origin = b""
    for name, value in scope["headers"]:
        if name == b"origin":
            origin = value
        elif name == b"host":
            host = value
    return bool(origin) and origin.partition(b"://")[2] != host


def host_name(host: bytes) -> str:
    """The name in a Host header (RFC 9110, 7.2) as settings write it: lower case, without port, brackets and the last dot.
    Empty where it is none."""
    if not host.isascii():
        return ""
    text = host.decode("ascii").lower()
    if text.startswith("["):
        name, closed, port = text[1:].partition("]")
        if not closed or (port and not port.startswith(":")):
            return ""
        port = port[1:]
    else:
        name, _, port = text.partition(":")
        name = name.removesuffix(".")
    return canonical_host(name) if _NAME.fullmatch(name) and (not port or port.isdigit()) else ""
