"""Names and addresses of hosts: in one spelling, and whether they mean this machine alone."""

from __future__ import annotations

import ipaddress
import socket


def canonical_host(name: str) -> str:
    """A lower-case name as it is; an IPv6 address in the one spelling that RFC 5952 recommends; empty where it has colons and
    is no address."""
    if ":" not in name:
        return name
    try:
        return str(ipaddress.IPv6Address(name))
    except ValueError:
        return ""


def is_loopback(name: str) -> bool:
    """Whether a lower-case host name or address is loopback by itself, whatever a name server says: `localhost` and names
    below it (RFC 6761, 6.3), 127.0.0.0/8 and ::1."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def listens_on_loopback(host: str) -> bool:
    """Whether what listens on this host can be reached from this machine alone. Not so a name that does not resolve."""
    if is_loopback(host.lower()):
        return True
    try:
        found = {
            str(entry[4][0])
            for entry in socket.getaddrinfo(host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        }
    except (OSError, UnicodeError):
        return False
    return bool(found) and all(is_loopback(address) for address in found)
