"""Where a store is and what it is shown: a URL and a token, checked once."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from cloud_storage.attempts import LONGEST_TIMEOUT_S

URL_VARIABLE, TOKEN_VARIABLE = "CLOUD_STORAGE_URL", "CLOUD_STORAGE_TOKEN"
DEFAULT_URL = "http://127.0.0.1:8000"
DEFAULT_TIMEOUT_S = 30.0


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
        ValueError: the URL is none, or the timeout is not between 0 and 540 s, for as long as a store remembers requests.
    """
    url = url or os.environ.get(URL_VARIABLE) or DEFAULT_URL
    token = token if token is not None else os.environ.get(TOKEN_VARIABLE, "")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError(f"{url!r} is not the URL of a store, such as {DEFAULT_URL}")
    if not 0 < timeout <= LONGEST_TIMEOUT_S:
        raise ValueError(f"a timeout is more than 0 and at most {LONGEST_TIMEOUT_S:g} s, not {timeout!r}")
    if not token.isascii() or any(character <= " " for character in token):
        raise ValueError("a token has visible ASCII characters alone")
    tls = parts.scheme == "https"
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return Address(parts.hostname, parts.port or (443 if tls else 80), tls, parts.path.rstrip("/"), timeout, headers)
