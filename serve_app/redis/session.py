"""What a connection has said of itself: its protocol, who it is, and what it may do."""

from __future__ import annotations

from serve_app.auth.access import OPEN, Access
from serve_app.errors import Unauthorized
from serve_app.redis.shared import Shared

_NOBODY = Access("", frozenset(), refusal=lambda: Unauthorized("Authentication required."))


class Session:
    """One connection's. number: which no other of its directory has."""

    __slots__ = (
        "_access",
        "_token",
        "address",
        "closing",
        "face",
        "library",
        "library_version",
        "name",
        "number",
        "resp3",
    )

    def __init__(self, face: Shared, number: int, address: str) -> None:
        self.face, self.number, self.address = face, number, address
        self.resp3 = False
        self.name = b""
        self.library = self.library_version = b""
        #: Whether the connection ends behind the answers that are under way.
        self.closing = False
        self._token: bytes | None = None
        self._access = OPEN if face.tokens is None else _NOBODY

    def reset(self) -> None:
        """As it was when it connected (`RESET`)."""
        self.resp3 = False
        self.name = b""
        self._token = None
        self._access = OPEN if self.face.tokens is None else _NOBODY

    @property
    def known(self) -> bool:
        """Whether it may do anything."""
        tokens = self.face.tokens
        return tokens is None or (self._token is not None and tokens.find(self._token) is not None)

    @property
    def access(self) -> Access:
        """What it may do now: a token that is revoked is worth nothing from then on."""
        if self._token is None:
            return self._access
        assert self.face.tokens is not None, "then nobody shows one"
        return self.face.tokens.find(self._token) or _NOBODY

    def authenticate(self, token: bytes) -> bool:
        """Whether it is one of the store's."""
        tokens = self.face.tokens
        if tokens is None or tokens.find(token) is None:
            return False
        self._token = token
        return True
