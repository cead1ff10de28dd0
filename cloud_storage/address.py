"""Where a store is and what it is shown: a URL and a token, checked once."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from cloud_storage.attempts import check_timeout

URL_VARIABLE, TOKEN_VARIABLE = "CLOUD_STORAGE_URL", "CLOUD_STORAGE_TOKEN"
DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_TIMEOUT_S = 30.0
#: What may stand before each path: it goes into requests as it is.
_PATH = re.compile(r"[!-~]*")
_CREDENTIALS = re.compile(r"^(.*//)?.*@", re.DOTALL)
_HOST = re.compile(r"[^\s/\\@]+")


@dataclass(frozen=True, slots=True)
class Address:
    """host, port, whether it is spoken to by TLS, and what stands before each path. headers: with each request."""

    host: str
    port: int
    tls: bool
    prefix: str
    timeout_s: float
    headers: dict[str, str] = field(default_factory=dict, repr=False)  # the token shows in no traceback

    @property
    def url(self) -> str:
        """Without a path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.tls else ''}://{host}:{self.port}"


def address_of(url: str | None, token: str | None, timeout: float) -> Address:
    """What the arguments and the environment say; arguments first.

    Raises:
        ValueError: the URL, the token or the timeout (`check_timeout`) is none.
    """
    url = url or os.environ.get(URL_VARIABLE) or DEFAULT_URL
    token = (token if token is not None else os.environ.get(TOKEN_VARIABLE, "")).strip()
    try:
        parts, host, port = _parts(url)
    except ValueError:  # UnicodeError, of a host that can't be one, is a ValueError
        shown = _CREDENTIALS.sub(r"\1…@", url)  # there may be a password in it
        raise ValueError(f"{shown!r} is not the URL of a store, such as {DEFAULT_URL}") from None
    check_timeout(timeout)
    if not token.isascii() or any(character <= " " for character in token):
        raise ValueError("a token has visible ASCII characters alone")
    tls = parts.scheme == "https"
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return Address(host, port or (443 if tls else 80), tls, parts.path.rstrip("/"), timeout, headers)


def _parts(url: str) -> tuple[SplitResult, str, int | None]:
    """Its parts, host and port. Raises ValueError: it is not the URL of a store."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host.encode("idna")  # as whoever looks the name up does
    odd = (
        parts.query or parts.fragment or parts.username or not _PATH.fullmatch(parts.path) or not _HOST.fullmatch(host)
    )
    if parts.scheme not in ("http", "https") or odd or not url.isprintable():  # urlsplit takes line ends out
        raise ValueError
    return parts, host, parts.port
