"""Optional TLS on the data plane, with the certificates that Ray's own TLS settings name.

Ray encrypts its gRPC with `RAY_USE_TLS=1` and `RAY_TLS_SERVER_CERT`, `RAY_TLS_SERVER_KEY`, `RAY_TLS_CA_CERT` (Ray docs,
"TLS authentication"). Who set those expects nothing of the cluster to travel in the clear, so the data plane follows them:
both ends show a certificate and both check it against the authority. As in Ray, a certificate is not tied to a host name.
"""

from __future__ import annotations

import os
import ssl


def server_context() -> ssl.SSLContext | None:
    """What a bucket listens with, or None where Ray's TLS is off."""
    return _context(ssl.Purpose.CLIENT_AUTH)


def client_context() -> ssl.SSLContext | None:
    """What the caller's end connects with, or None where Ray's TLS is off."""
    return _context(ssl.Purpose.SERVER_AUTH)


def _context(purpose: ssl.Purpose) -> ssl.SSLContext | None:
    if os.environ.get("RAY_USE_TLS", "0").lower() not in ("1", "true"):
        return None
    context = ssl.create_default_context(purpose, cafile=os.environ["RAY_TLS_CA_CERT"])
    context.load_cert_chain(os.environ["RAY_TLS_SERVER_CERT"], os.environ["RAY_TLS_SERVER_KEY"])
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
