"""A token itself: how it is made, and what is kept of it."""

from __future__ import annotations

import hashlib
import secrets

#: So that whoever finds one in a log or a repository, scanners of secrets too, sees what it is.
MARK = "cs_"
_RANDOM_BYTES = 32


def new_token() -> str:
    """A token that nobody else has: 256 random bits."""
    return MARK + secrets.token_urlsafe(_RANDOM_BYTES)


def digest_of(token: bytes) -> bytes:
    """The 32 bytes that are kept in its place. A token has no less than 256 random bits, so one round of a fast hash does:
    there is nothing to guess."""
    return hashlib.sha256(token).digest()
