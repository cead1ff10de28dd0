"""The token that commands show the store: CLOUD_STORAGE_TOKEN, and what to say where it does not do."""

from __future__ import annotations

import os
import re

from serve_app.command_output.failure import Failure

VARIABLE = "CLOUD_STORAGE_TOKEN"
#: What the store takes as a token (RFC 6750, 2.1).
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{1,512}=*")
_REFUSED = (401, 403)


def own_token() -> str:
    """The token of the environment; empty where none is set.

    Raises:
        Failure: it can't be one. What it is stays unsaid.
    """
    token = os.environ.get(VARIABLE, "").strip()
    if token and not _TOKEN.fullmatch(token):
        raise Failure(f"{VARIABLE} is no token: it holds characters that no token has")
    return token


def bearer() -> dict[str, str]:
    """The header that shows the token. Raises as `own_token`."""
    token = own_token()
    return {"Authorization": f"Bearer {token}"} if token else {}


def wants_another(status: int) -> bool:
    """Whether an answer with that status says that the store wants a token, or another one."""
    return status in _REFUSED


def how_to_go_on(detail: str, scopes: str, command: str = "python -m serve_app") -> str:
    """A sentence for where the store refused the token: what it said, and what to do.

    scopes: what the token needs, as `token create` takes them. command: whose `token create` makes one.
    """
    made = f"`{command} token create NAME --scope {scopes}` makes one"
    if not own_token():
        return f"the store wants a token with the scope {scopes}, and {VARIABLE} is not set ({made})"
    return f"the store refuses the token of {VARIABLE}: {detail} (it takes the scope {scopes}; {made})"
