"""Records and names as commands print them: for people, and as JSON for programs."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime
from typing import Any

from cloud_storage.records import Event, Listed, Record

#: What Python calls printable, and is shown as nothing: default-ignorable code points (UAX #44), and the empty Braille cell.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def as_json(thing: dict[str, Any]) -> str:
    """On one line."""
    return _encode(thing)


def record(found: Record) -> dict[str, Any]:
    """Named as `/v1` names it."""
    about = {
        "content_type": found.content_type,
        "revision": found.revision,
        "modified": moment(found.modified),
        "expires": moment(found.expires),
    }
    return {"key": found.key, **value(found.value), **about}


def listed(found: Listed) -> dict[str, Any]:
    """A key, or a `prefix` of several."""
    if found.is_prefix:
        return {"prefix": found.name}
    return {
        "key": found.name,
        "revision": found.revision,
        "size": found.size,
        "content_type": found.content_type,
        "modified": moment(found.modified),
        "expires": moment(found.expires),
    }


def event(told: Event) -> dict[str, Any]:
    """Without what it does not have."""
    shown: dict[str, Any] = {"event": told.kind, "key": told.key, "revision": told.revision}
    if told.value is not None:
        shown |= {**value(told.value), "content_type": told.content_type}
    return shown | ({"id": told.id} if told.id else {})


def value(stored: bytes) -> dict[str, str]:
    """As text where it is UTF-8, else in base64 under another name."""
    try:
        return {"value": stored.decode()}
    except UnicodeDecodeError:
        return {"value_base64": base64.b64encode(stored).decode()}


def moment(at: datetime | None) -> str | None:
    """As RFC 3339 writes it, to the millisecond."""
    return None if at is None else f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"


def name(text: str) -> str:
    """For a terminal: a name that could do something there, or be taken for another, is quoted as JSON quotes.

    >>> print(name("reports/2026"), name("two lines"), name(chr(27) + "[2J"))
    reports/2026 two lines "\\u001b[2J"
    """
    if not _odd(text) and not text.startswith('"') and text == text.strip():
        return text
    return quoted(text)


def quoted(text: str) -> str:
    """With what is not printable escaped."""
    escaped = (json.dumps(each)[1:-1] if _odd(each) or each in '"\\' else each for each in text)
    return f'"{"".join(escaped)}"'


def _odd(text: str) -> bool:
    """Whether some of it is not seen, or does something."""
    return not text.isprintable() or _INVISIBLE.search(text) is not None
