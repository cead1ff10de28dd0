"""Redis' glob-style patterns: `*`, `?`, `[abc]`, `[^a]`, `[a-z]`, and a backslash before what is meant as it is."""

from __future__ import annotations

import re
from collections.abc import Callable

_SPECIAL = b"*?[\\"
#: Longer ones are not looked at: to prepare one takes time, and keys have 1,024 bytes.
MAX_PATTERN_BYTES = 4096


def literal_prefix(pattern: bytes) -> bytes:
    """What all that match begin with.

    >>> literal_prefix(b"user:*"), literal_prefix(b"a\\\\*b?")
    (b'user:', b'a*b')
    """
    found = bytearray()
    at = 0
    while at < len(pattern) and (pattern[at] not in _SPECIAL or (pattern[at] == 0x5C and at + 1 < len(pattern))):
        at += pattern[at] == 0x5C
        found.append(pattern[at])
        at += 1
    return bytes(found)


def matcher(pattern: bytes) -> Callable[[bytes], bool]:
    """Whether a key matches. In time that is linear in the key but for each `*`: several that follow each other are one."""
    if pattern == b"*":
        return lambda key: True
    parts: list[bytes] = []
    at, end = 0, len(pattern)
    while at < end:
        byte = pattern[at : at + 1]
        at += 1
        if byte == b"*":
            if not parts or parts[-1] != b".*":
                parts.append(b".*")
        elif byte == b"?":
            parts.append(b".")
        elif byte == b"[":
            some, at = _set(pattern, at)
            parts.append(some)
        else:
            if byte == b"\\" and at < end:
                byte = pattern[at : at + 1]
                at += 1
            parts.append(re.escape(byte))
    return _of_pieces(parts)


def _of_pieces(parts: list[bytes]) -> Callable[[bytes], bool]:
    """Piece by piece between the `*`, each at the first place where it fits: backtracking would take time that grows with
    each further `*`."""
    pieces: list[re.Pattern[bytes]] = []
    current: list[bytes] = []
    stars = parts.count(b".*")
    for part in parts:
        if part == b".*":
            pieces.append(re.compile(b"".join(current), re.DOTALL))
            current = []
        else:
            current.append(part)
    last = re.compile(b"".join(current), re.DOTALL)
    last_bytes = len(current)  # each part is one byte of the key
    if not stars:
        return lambda key: last.fullmatch(key) is not None

    def matches(key: bytes) -> bool:
        first = pieces[0].match(key)
        if first is None:
            return False
        at = first.end()
        for piece in pieces[1:]:
            found = piece.search(key, at)
            if found is None:
                return False
            at = found.end()
        return len(key) - last_bytes >= at and last.fullmatch(key, len(key) - last_bytes) is not None

    return matches


def _set(pattern: bytes, at: int) -> tuple[bytes, int]:
    """A set of bytes, as a regular expression's, and where it ends. One that does not is taken to the pattern's end."""
    negated = pattern[at : at + 1] == b"^"
    at += negated
    found: set[int] = set()
    while at < len(pattern) and pattern[at] != 0x5D:  # ]
        if pattern[at] == 0x5C and at + 1 < len(pattern):
            at += 1
            found.add(pattern[at])
        elif pattern[at + 1 : at + 2] == b"-" and at + 2 < len(pattern):
            low, high = sorted((pattern[at], pattern[at + 2]))
            found.update(range(low, high + 1))
            at += 2
        else:
            found.add(pattern[at])
        at += 1
    if not found:  # nothing is in it, or everything
        return (b"." if negated else b"(?!)."), at + 1
    return b"[%b%b]" % (b"^" if negated else b"", b"".join(re.escape(bytes([each])) for each in sorted(found))), at + 1
