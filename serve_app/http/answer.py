"""An HTTP answer whose body is whole."""

from __future__ import annotations

from typing import NamedTuple

from serve_app.http.problems import Headers


class HttpAnswer(NamedTuple):
    """status, body and headers, ready to be sent."""

    status: int
    body: bytes
    #: Empty where there is no body to have one.
    content_type: bytes = b"application/json"
    headers: Headers = []  # noqa: RUF012 - a constant
    #: Whether a refusal may be sent instead of it: nothing was changed for it.
    repeatable: bool = False
    #: Content-Length, where that is not the body's: a HEAD is answered with the length of what a GET would send.
    length: int | None = None
