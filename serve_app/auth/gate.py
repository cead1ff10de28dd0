"""From a request's headers to what it may do: the one place where tokens are looked at."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

from serve_app.auth.access import Access
from serve_app.auth.tokens import Tokens
from serve_app.errors import StoreError, Unauthorized, Unavailable
from serve_app.seldom import Seldom

#: For those whose Authorization header never gets here: Kubernetes' API server takes it out of what it passes on.
OTHER_HEADER = b"x-cloud-storage-token"
_HEADERS = (b"authorization", OTHER_HEADER)
#: RFC 6750, 2.1; the scheme in any case (RFC 9110, 11.1). No token is as long as this.
_BEARER = re.compile(rb"bearer +([A-Za-z0-9._~+/-]{1,512}=*)", re.IGNORECASE)
_TOKEN = re.compile(rb"[A-Za-z0-9._~+/-]{1,512}=*")


def _nobody() -> StoreError:
    return Unauthorized("this store wants a token: send `Authorization: Bearer <token>`")


def _malformed() -> StoreError:
    return Unauthorized(
        "the request's token can't be understood: send one header, `Authorization: Bearer <token>`", invalid_token=True
    )


def _unknown() -> StoreError:
    return Unauthorized("the request's token is not one of this store's", invalid_token=True)


def _not_known_yet() -> StoreError:
    return Unavailable("this store's tokens can't be read, so nobody is let in; its log says why", retry_after_s=5)


def _nothing(refusal: Callable[[], StoreError]) -> Access:
    return Access("", frozenset(), refusal=refusal)


_NOBODY, _MALFORMED, _UNKNOWN, _NOT_KNOWN_YET = map(_nothing, (_nobody, _malformed, _unknown, _not_known_yet))


class Gate:
    """The check of one directory. It refuses nothing itself: a request without a good token may still ask for what is open
    to all. Everything runs on one event loop."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self._log = Seldom(lambda delay_s, then: asyncio.get_running_loop().call_later(delay_s, then))

    @property
    def problem(self) -> str:
        """What is wrong with the tokens file; empty where it is as it should be."""
        return self.tokens.problem

    def access(self, scope: dict[str, Any]) -> Access:
        """What the request with this ASGI scope may do."""
        given = None
        for header in scope["headers"]:
            if header[0] in _HEADERS:
                if given is not None:  # two ends might each believe another one of them
                    return self._refuse(_MALFORMED, "more than one token")
                given = header
        if given is None:
            return _NOBODY if self.tokens.known else _NOT_KNOWN_YET
        name, value = given
        match = _TOKEN.fullmatch(value) if name == OTHER_HEADER else _BEARER.fullmatch(value)
        if match is None:
            return self._refuse(_MALFORMED, "no bearer token")
        if not self.tokens.known:
            return _NOT_KNOWN_YET
        found = self.tokens.find(match[match.lastindex or 0])
        return found if found is not None else self._refuse(_UNKNOWN, "unknown token")

    async def follow(self) -> None:
        """Keep the tokens as their file says, for ever."""
        try:
            await self.tokens.follow()
        finally:
            self._log.flush()

    def _refuse(self, access: Access, reason: str) -> Access:
        """Never what was shown: a token with a typing error is nearly a token."""
        self._log.warning("token refused", reason=reason)
        return access
