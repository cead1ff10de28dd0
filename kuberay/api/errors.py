"""What goes wrong between here and the API server, as one sentence each: no traceback and no JSON reaches the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError, MaxRetryError

from serve_app.command_output.failure import Failure

_SHOWN_CHARACTERS = 600


class Refused(Failure):
    """The API server answered, and not with what was asked for."""

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.status = status


class Unreachable(Failure):
    """The API server did not answer. It may later: whoever waits for something else goes on waiting."""


@contextmanager
def sentences(doing: str) -> Iterator[None]:
    """Let the client's errors out as sentences; `doing` completes "no permission to …".

    Raises:
        Refused: the API server answered with an error.
        Unreachable: it did not answer.
    """
    try:
        yield
    except ApiException as error:
        status = error.status or 0
        if not status:  # the client's way to say that there was no TLS connection
            raise Unreachable(f"can't {doing}: the API server does not answer: {_last_line(error.reason)}") from None
        raise Refused(_refusal(doing, status, message(error)), status) from None
    except HTTPError as error:
        raise Unreachable(f"can't {doing}: the API server does not answer: {_reason(error)}") from None


def document(response: Any, doing: str) -> dict[str, Any]:
    """The JSON document of an answer.

    Raises:
        Refused: it is none, as from a proxy that wants a login.
    """
    try:
        found = json.loads(response.data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Refused(
            f"can't {doing}: the answer is not from a Kubernetes API server; look at --context", response.status
        )
    return found


def message(error: ApiException) -> str:
    """What the API server said: the message of its Status document, or whatever came instead."""
    try:
        said = " ".join(str(json.loads(error.body or "")["message"]).split())
        return said if len(said) <= _SHOWN_CHARACTERS else f"{said[:_SHOWN_CHARACTERS]}…"
    except (ValueError, KeyError, TypeError):
        return _last_line(error.body) or _last_line(error.reason) or "it did not say why"


def _refusal(doing: str, status: int, said: str) -> str:
    if status == HTTPStatus.UNAUTHORIZED:
        return "the API server does not know who you are (401): log in again, or name another --context"
    if status == HTTPStatus.FORBIDDEN:
        return f"no permission to {doing}: {said}"
    return f"can't {doing}: {said} ({status})"


def _reason(error: HTTPError) -> str:
    if isinstance(error, MaxRetryError) and error.reason is not None:
        return _reason(error.reason) if isinstance(error.reason, HTTPError) else str(error.reason)
    return _last_line(str(error)).rsplit(": ", 1)[-1]


def _last_line(text: object) -> str:
    lines = [line.strip() for line in str(text or "").splitlines() if line.strip()]
    return lines[-1] if lines else ""
