"""What a record may be at most, whatever is configured: the bounds of keys, values and content types, and the check of a key.

They are part of the API and of what is on the disk, so no setting widens them.
"""

from __future__ import annotations

from serve_app.errors import InvalidRequest

MAX_KEY_BYTES = 1024
MAX_CONTENT_TYPE_BYTES = 255
MAX_IDEMPOTENCY_KEY_BYTES = 64
#: The longest value there is; `limits.max_value_bytes` may be lower.
MAX_VALUE_BYTES = 25 * 1024 * 1024


def check_key(key: str) -> bytes:
    """A key as its UTF-8 bytes.

    Raises:
        InvalidRequest: it is empty, longer than 1,024 bytes, or holds a lone surrogate (which UTF-8 has no bytes for).
    """
    try:
        encoded = key.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidRequest("the key is not valid Unicode text: it holds half of a surrogate pair") from None
    return check_key_bytes(encoded)


def check_key_bytes(encoded: bytes) -> bytes:
    """A key that is known to be UTF-8, checked for its length.

    Raises:
        InvalidRequest: it is empty or longer than 1,024 bytes.
    """
    if not encoded:
        raise InvalidRequest("the key is empty; a key has 1 to 1,024 bytes")
    if len(encoded) > MAX_KEY_BYTES:
        raise InvalidRequest(f"the key is {len(encoded):,} bytes long; a key has 1 to {MAX_KEY_BYTES:,} bytes")
    return encoded


def content_type_problem(content_type: str) -> str:
    """What is wrong with a content type, as a sentence, or empty."""
    if len(content_type) <= MAX_CONTENT_TYPE_BYTES and content_type.isascii():
        return ""
    # A long one is not encoded to be told so.
    if len(content_type) > MAX_CONTENT_TYPE_BYTES or len(content_type.encode()) > MAX_CONTENT_TYPE_BYTES:
        return f"a content type has at most {MAX_CONTENT_TYPE_BYTES} bytes"
    return ""
