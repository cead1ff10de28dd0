"""Cursors of `SCAN`: they have 64 bits, and a place among the keys is a key.

So a directory remembers which key a cursor stands for, for as long as there is room; a cursor that it does not know is
refused, and the scan is to begin again.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict

#: Of one directory; 1 KB each at most.
MAX_CURSORS = 65536


class Cursors:
    """Of one directory."""

    def __init__(self) -> None:
        self._places: OrderedDict[int, bytes] = OrderedDict()

    def keep(self, place: bytes) -> int:
        """A new cursor for what comes behind a key."""
        cursor = secrets.randbits(62) + 1
        self._places[cursor] = place
        if len(self._places) > MAX_CURSORS:
            self._places.popitem(last=False)
        return cursor

    def place(self, cursor: int) -> bytes:
        """Where it was. It may be asked for again: the answer may have been lost. Raises KeyError."""
        if not cursor:
            return b""
        self._places.move_to_end(cursor)
        return self._places[cursor]
