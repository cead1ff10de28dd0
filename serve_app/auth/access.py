"""What a request may do: the value that handlers ask before they touch a key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from serve_app.errors import Forbidden, StoreError

ScopeName = Literal["read", "write", "admin"]
#: read: values, and whether keys are there. write: puts and deletes. admin: the store itself, not its keys.
SCOPES: tuple[ScopeName, ...] = ("read", "write", "admin")
_KEY = "cloud_storage.access"
_SHOWN_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class Access:
    """One request's.

    name: the token's, fit for logs. scopes: what it allows. prefix: what the keys begin with that it is for; empty for all.
    refusal: makes the error that every requirement ends in, where nothing is allowed.
    """

    name: str
    scopes: frozenset[str]
    prefix: bytes = b""
    refusal: Callable[[], StoreError] | None = None

    def require(self, scope_name: ScopeName, key: bytes | None = None) -> None:
        """Return where that may be done, to the key if one is given.

        Raises:
            Unauthorized: no token that the store takes was shown.
            Forbidden: the token lacks the scope, or is for other keys.
            Unavailable: the store's tokens are not known.
        """
        if self.refusal is not None:
            raise self.refusal()
        if scope_name not in self.scopes:
            raise Forbidden(f"the token {self.name!r} lacks the scope {scope_name!r}")
        if key is not None and not key.startswith(self.prefix):
            raise self._other_keys()

    def require_any(self, *scope_names: ScopeName) -> None:
        """Return where one of these may be done: each part of the request asks for its own. Raises as `require`."""
        if not self.scopes.intersection(scope_names):
            self.require(scope_names[0])
        elif self.refusal is not None:
            raise self.refusal()

    def require_prefix(self, scope_name: ScopeName, prefix: bytes) -> None:
        """Return where that may be done to every key that begins with `prefix`. Raises as `require`."""
        self.require(scope_name, prefix)

    def _other_keys(self) -> Forbidden:
        prefix = self.prefix.decode()
        shown = prefix if len(prefix) <= _SHOWN_CHARACTERS else prefix[:_SHOWN_CHARACTERS] + "…"
        return Forbidden(f"the token {self.name!r} is for keys that begin with {shown!r} alone")


#: Everything, for everybody: a store without tokens.
OPEN = Access("", frozenset(SCOPES))


def grant(scope: dict[str, Any], access: Access) -> None:
    """Note what a request may do, in its ASGI scope."""
    scope[_KEY] = access


def access_of(scope: Mapping[str, Any]) -> Access:
    """What the request with this ASGI scope may do. Every request that came through `http/front.py` has been judged; where
    none was, this is a KeyError, so a way past the front opens nothing."""
    access: Access = scope[_KEY]
    return access
