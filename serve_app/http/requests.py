"""What a request asks for: its key, and for a PUT its value, read from the raw bytes of the URL.

The server's decoded path and query have already replaced bytes that are not UTF-8, by which two keys would become one; so
everything here starts from `raw_path` and `query_string`. Percent-encoding is RFC 3986's; in a query `+` is a space, as
HTML forms and every HTTP client's `params` write it (the WHATWG URL Standard's application/x-www-form-urlencoded).
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote_to_bytes

from serve_app.errors import InvalidRequest, UnsupportedEncoding
from serve_app.record_bounds import MAX_CONTENT_TYPE_BYTES, MAX_KEY_BYTES, check_key_bytes

Scope = dict[str, Any]

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def key_from_path(scope: Scope, prefix: bytes) -> bytes:
    """The key in the path behind `prefix` (such as `/get/`), slashes and all.

    Raises:
        InvalidRequest: it is empty, too long or not UTF-8, or the query names parameters as well.
    """
    if scope["query_string"]:
        raise InvalidRequest("the key is in the path, so no query parameter is taken")
    path = local_path(scope)
    if not path.startswith(prefix):
        raise InvalidRequest(f"only the key may be percent-encoded; the path starts with {prefix.decode()}")
    return check_key_bytes(decode(path[len(prefix) :], "the key"))


def local_path(scope: Scope) -> bytes:
    """The path as the client wrote it, still percent-encoded, below the prefix that the application is mounted at."""
    raw_path: bytes = scope["raw_path"]
    root_path: str = scope.get("root_path", "")
    return raw_path.removeprefix(root_path.encode()) if root_path else raw_path


def parameters(scope: Scope, allowed: tuple[str, ...]) -> dict[str, bytes]:
    """The query's parameters, percent-decoded and known to be UTF-8.

    Raises:
        InvalidRequest: one is unknown, repeated, or not UTF-8.
    """
    found: dict[str, bytes] = {}
    query: bytes = scope["query_string"]
    if not query:
        return found
    for part in query.split(b"&"):
        if not part:
            continue
        raw_name, _, raw_value = part.partition(b"=")
        name = decode(raw_name.replace(b"+", b" "), "a parameter's name").decode()
        if name not in allowed:
            raise InvalidRequest(f"unknown parameter {name[:64]!r}; this takes {' and '.join(allowed) or 'none'}")
        if name in found:
            raise InvalidRequest(f"the parameter {name!r} is given more than once")
        found[name] = decode(raw_value.replace(b"+", b" "), f"the parameter {name!r}")
    return found


def required_key(found: dict[str, bytes]) -> bytes:
    """The parameter `key`, checked.

    Raises:
        InvalidRequest: it is missing, empty or too long.
    """
    key = found.get("key")
    if key is None:
        raise InvalidRequest("the parameter 'key' is missing")
    return check_key_bytes(key)


def check_prefix(prefix: bytes) -> bytes:
    """What keys are to begin with. Raises InvalidRequest where it is longer than any key."""
    if len(prefix) > MAX_KEY_BYTES:
        raise InvalidRequest(f"a prefix has at most {MAX_KEY_BYTES:,} bytes")
    return prefix


def header(scope: Scope, name: bytes) -> bytes | None:
    """The last value of a header (lower-case name), or None."""
    found = None
    for candidate, value in scope["headers"]:
        if candidate == name:
            found = value
    return found


def has_body(scope: Scope) -> bool:
    """Whether the request announces a body; it may turn out to be empty."""
    for name, value in scope["headers"]:
        if (name == b"content-length" and value != b"0") or name == b"transfer-encoding":
            return True
    return False


def content_type(scope: Scope) -> str:
    """The body's content type as the client names it, or empty.

    Raises:
        InvalidRequest: it is not ASCII or longer than 255 characters.
    """
    raw = header(scope, b"content-type") or b""
    if len(raw) > MAX_CONTENT_TYPE_BYTES or not raw.isascii():
        raise InvalidRequest(f"the Content-Type header is not ASCII of at most {MAX_CONTENT_TYPE_BYTES} characters")
    return raw.decode("ascii")


def check_media_type(scope: Scope, taken: tuple[bytes, ...]) -> bytes:
    """Which of these media types the body has.

    It has to be said: a page of another site can have a browser send a body without asking first only if its type is one that
    forms have (Fetch Standard, 2.2.2).

    Raises:
        UnsupportedEncoding: it has another one, or none; or it is compressed.
    """
    found = b""
    for name, value in scope["headers"]:
        if name == b"content-encoding" and value.strip().lower() != b"identity":
            raise UnsupportedEncoding("the body is to come without Content-Encoding")
        if name == b"content-type":
            given = value.partition(b";")[0].strip().lower()
            if given not in taken or (found and given != found):
                raise _not_taken(taken)
            found = given
    if not found:
        raise _not_taken(taken)
    return found


def _not_taken(taken: tuple[bytes, ...]) -> UnsupportedEncoding:
    return UnsupportedEncoding(f"the body's Content-Type is to be {' or '.join(name.decode() for name in taken)}")


def decode(raw: bytes, what: str) -> bytes:
    """Percent-decoded bytes that are known to be UTF-8. what: names them in errors. Raises InvalidRequest."""
    if b"%" in raw:
        if _BAD_ESCAPE.search(raw):
            raise InvalidRequest(
                f"{what} has a '%' that is not followed by two hex digits; a '%' itself is written %25"
            )
        raw = unquote_to_bytes(raw)
    if not raw.isascii():
        check_utf8(raw, what)
    return raw


def check_utf8(raw: bytes, what: str) -> None:
    """Refuse bytes that are not UTF-8.

    Raises:
        InvalidRequest: they are not; it says where.
    """
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            f"{what} is not UTF-8: byte {error.start} ({raw[error.start]:#04x}) does not fit"
        ) from None
