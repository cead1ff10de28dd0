"""A request's condition, read from its raw headers: RFC 9110, 13.1 (the fields), 8.8.3 (entity tags), 5.6.1 (lists).

A condition keeps writes from undoing one another, so what can't be understood is refused, and never left out. Dates are the
exception, because the RFC has them ignored where they are not valid.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from serve_app.errors import InvalidRequest
from serve_app.http.dates import http_date, parse_http_date
from serve_app.operations.condition import ANY, MAX_REVISION, MAX_TAGS, NO_CONDITION, Condition

__all__ = ["condition_of", "etag", "http_date"]

_IF_MATCH = b"if-match"
_IF_NONE_MATCH = b"if-none-match"
_MODIFIED_SINCE = b"if-modified-since"
_UNMODIFIED_SINCE = b"if-unmodified-since"
_FIELDS = frozenset((_IF_MATCH, _IF_NONE_MATCH, _MODIFIED_SINCE, _UNMODIFIED_SINCE))

#: Optional whitespace (5.6.3).
OWS = b" \t"
#: One element of a list, which may be empty (5.6.1.2), and the comma after it. Nothing in it is tried twice (`*+`, `?+`).
_ELEMENT = re.compile(rb'[ \t]*+((W/)?+"([\x21\x23-\x7e\x80-\xff]*+)")?+[ \t]*+(?:,|\Z)')
#: As `etag` writes a revision: no sign, no zero ahead. 2**64 has 20 digits.
_REVISION = re.compile(rb"0|[1-9][0-9]{0,19}")


def etag(revision: int) -> bytes:
    """The entity tag of a revision: strong, for a revision is never given to another value."""
    return b'"%d"' % revision


def condition_of(headers: Iterable[tuple[bytes, bytes]]) -> Condition:
    """The condition that a request's headers make (raw, names in lower case); NO_CONDITION itself where they make none.

    Raises:
        InvalidRequest: a list of entity tags is malformed, or has more than MAX_TAGS.
    """
    found: dict[bytes, list[bytes]] | None = None
    for name, value in headers:
        if name in _FIELDS:
            if found is None:
                found = {}
            found.setdefault(name, []).append(value)
    if found is None:
        return NO_CONDITION
    condition = Condition(
        _tags(found.get(_IF_MATCH), "If-Match", weak_match=False),
        _tags(found.get(_IF_NONE_MATCH), "If-None-Match", weak_match=True),
        _date(found.get(_MODIFIED_SINCE)),
        _date(found.get(_UNMODIFIED_SINCE)),
    )
    return NO_CONDITION if condition == NO_CONDITION else condition


def _tags(lines: list[bytes] | None, field: str, *, weak_match: bool) -> tuple[int, ...] | None:
    """The revisions that a list of entity tags names; those that no record can have are left out.

    weak_match: whether tags are compared by the weak function, by which `W/"5"` is as good as `"5"` (8.8.3.2).
    """
    if lines is None:
        return None
    # 5.3: several lines are one list. The space keeps a tag from beginning in one line and ending in the next.
    value = b", ".join(lines).strip(OWS)
    if value == b"*":
        return (ANY,)
    revisions: list[int] = []
    count = 0
    position = 0
    while position < len(value):
        element = _ELEMENT.match(value, position)
        if element is None:
            raise InvalidRequest(_malformed(field, value, position))
        position = element.end()
        if element[1] is None:
            continue
        count += 1
        if count > MAX_TAGS:
            raise InvalidRequest(f"the {field} header has more than {MAX_TAGS} entity tags")
        if (weak_match or element[2] is None) and _REVISION.fullmatch(element[3]):
            revision = int(element[3])
            if revision <= MAX_REVISION:
                revisions.append(revision)
    if not count:
        raise InvalidRequest(f"the {field} header is empty; it takes '*' or entity tags such as \"5\"")
    return tuple(revisions)


def _malformed(field: str, value: bytes, position: int) -> str:
    rest = value[position:].lstrip(OWS)
    if rest.startswith(b"*") or value.startswith(b"*"):
        return f"the {field} header has '*' beside something else; '*' stands alone"
    shown = rest[:40].decode("ascii", "backslashreplace")
    return f"the {field} header takes '*' or entity tags such as \"5\", with commas between; this is none: {shown!r}"


def _date(lines: list[bytes] | None) -> int | None:
    """A date, or None where it MUST be ignored: not a valid HTTP-date, or more than one (13.1.3, 13.1.4)."""
    if lines is None or len(lines) != 1:
        return None
    return parse_http_date(lines[0].strip(OWS))
