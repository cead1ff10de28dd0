"""From bytes to commands, as Redis reads them (redis.io, "Redis serialization protocol specification"; the error texts are
those of its `networking.c`).

`hiredis` for Python parses replies: its reader takes an array's length on trust and makes room for that many items, knows no
inline commands, and can't say where a command ends. So this is written here. Commands that are whole, short and without a
line's end in them, as most are, are cut at the ends of lines all at once; whatever is not like that is read byte by byte.
"""

from __future__ import annotations

import re

#: As Redis has it: an inline command, or a line that says how long something is.
MAX_LINE_BYTES = 64 * 1024
MAX_ARGUMENTS = 1024 * 1024
#: Of who has not shown a token yet.
MAX_UNKNOWN_ARGUMENTS, MAX_UNKNOWN_BYTES, MAX_UNKNOWN_LINE_BYTES = 10, 16384, 1024
#: What an argument takes in memory, beside its bytes.
ARGUMENT_BYTES = 64
#: What is cut at once: of so many bytes, commands of so many words, arguments of so many bytes.
_CUT_BYTES, _CUT_WORDS, _CUT_ARGUMENT_BYTES = 64 * 1024, 16, 1024
_COUNTS = {b"*%d" % count: count for count in range(1, _CUT_WORDS + 1)}
#: The line before an argument, by its length.
_line_before = {size: b"$%d" % size for size in range(_CUT_ARGUMENT_BYTES + 1)}.get


class ProtocolError(Exception):
    """What comes is no command: after this nothing can be made of it. `str(error)` is what Redis says."""


class Parser:
    """Of one connection. Holds what has come of a command that is not whole; `held_bytes` says how much that is."""

    def __init__(self, max_argument_bytes: int, max_command_bytes: int) -> None:
        self._max_argument_bytes, self._max_command_bytes = max_argument_bytes, max_command_bytes
        self._most_cut_bytes = _CUT_BYTES if max_argument_bytes >= _CUT_ARGUMENT_BYTES else -1
        #: Whether whoever sends it may do anything at all.
        self.known = True
        self._arguments: list[bytes] = []
        self._missing = 0
        self._argument_bytes = 0
        #: What has come behind the last whole argument, and how much there has to be before it is looked at again.
        self._rest: list[bytes] = []
        self._rest_bytes = 0
        self._needed = 0

    @property
    def has_more(self) -> bool:
        """Whether there may be another command behind the last one: `feed` goes on with nothing."""
        return self._rest_bytes > 0 and not self._needed

    @property
    def held_bytes(self) -> int:
        return self._rest_bytes + self._argument_bytes

    def feed(self, data: bytes, commands: list[list[bytes]]) -> None:
        """Add the commands that are whole now. Raises ProtocolError: what came before that is added too."""
        if self._rest:
            self._rest.append(data)
            self._rest_bytes += len(data)
            if self._rest_bytes < self._needed:
                return
            data = b"".join(self._rest)
            self._rest = []
        self._needed = 0
        at = self._cut(data, commands) if not self._missing and self.known and len(data) <= self._most_cut_bytes else 0
        if at < len(data):
            at = self._parse(data, at, commands)
        self._rest_bytes = len(data) - at
        self._rest = [data[at:] if at else data] if self._rest_bytes else []

    def _cut(self, data: bytes, commands: list[list[bytes]]) -> int:
        """How far it was taken by its lines: up to the first command that is not whole, or may not be what it looks like."""
        lines = data.split(b"\r\n")
        at, last = 0, len(lines) - 1
        while at < last:
            count = _COUNTS.get(lines[at])
            if count is None or (end := at + 1 + 2 * count) > last:
                break
            words = lines[at + 2 : end : 2]
            if [*map(_line_before, map(len, words))] != lines[at + 1 : end : 2]:
                break
            commands.append(words)
            at = end
        return len(data) if at == last and not lines[at] else sum(map(len, lines[:at])) + 2 * at

    def _parse(self, data: bytes, at: int, commands: list[list[bytes]]) -> int:
        """How far it was parsed."""
        end = len(data)
        while True:
            if not self._missing:
                if at >= end or (commands and not self.known):
                    return at  # the rest may come from who is known by then
                if data[at] != 0x2A:  # *
                    line_end = self._line_end(data, at, b"\n", "too big inline request")
                    if line_end < 0:
                        return at
                    if line_end - at > MAX_UNKNOWN_LINE_BYTES and not self.known:
                        raise ProtocolError("unauthenticated inline request too long")
                    words = split_words(data[at:line_end].removesuffix(b"\r"))
                    at = line_end + 1
                    if words:
                        commands.append(words)
                    continue
                line_end = self._line_end(data, at, b"\r", "too big mbulk count string")
                if line_end < 0 or line_end + 1 >= end:
                    return at
                self._missing = self._count(data[at + 1 : line_end])
                at = line_end + 2
                continue
            line_end = self._line_end(data, at, b"\r", "too big bulk count string")
            if at < end and data[at] != 0x24:  # $
                raise ProtocolError(f"expected '$', got '{chr(data[at])}'")
            if line_end < 0 or line_end + 1 >= end:
                return at
            start = line_end + 2
            stop = start + self._size(data[at + 1 : line_end])
            if stop + 2 > end:
                self._needed = stop + 2 - at
                return at
            self._arguments.append(data[start:stop])
            at = stop + 2
            self._missing -= 1
            if self._missing:
                self._argument_bytes += stop - start + ARGUMENT_BYTES
            else:
                commands.append(self._arguments)
                self._arguments, self._argument_bytes = [], 0

    @staticmethod
    def _line_end(data: bytes, at: int, what: bytes, too_long: str) -> int:
        found = data.find(what, at, at + MAX_LINE_BYTES)
        if found < 0 and len(data) - at >= MAX_LINE_BYTES:
            raise ProtocolError(too_long)
        return found

    def _count(self, raw: bytes) -> int:
        if not raw.isdigit():
            if raw[:1] == b"-" and raw[1:].isdigit():
                return 0  # as Redis: nothing was asked
            raise ProtocolError("invalid multibulk length")
        count = int(raw) if len(raw) < 12 else MAX_ARGUMENTS + 1
        if count > MAX_ARGUMENTS:
            raise ProtocolError("invalid multibulk length")
        if count > MAX_UNKNOWN_ARGUMENTS and not self.known:
            raise ProtocolError("unauthenticated multibulk length")
        return count

    def _size(self, raw: bytes) -> int:
        size = int(raw) if raw.isdigit() and len(raw) < 12 else -1
        if not 0 <= size <= self._max_argument_bytes:
            raise ProtocolError("invalid bulk length")
        if size > MAX_UNKNOWN_BYTES and not self.known:
            raise ProtocolError("unauthenticated bulk length")
        if self._argument_bytes + size + ARGUMENT_BYTES > self._max_command_bytes:
            raise ProtocolError(f"invalid bulk length: a command has at most {self._max_command_bytes:,} bytes")
        return size


_ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}
_BLANK = b" \n\r\t\0"
_SPACES = bytes.maketrans(_BLANK, b" " * len(_BLANK))
_IN_DOUBLE, _IN_SINGLE = re.compile(rb'((?:[^"\\]|\\.)*+)"', re.DOTALL), re.compile(rb"((?:\\'|[^'])*+)'", re.DOTALL)
_ESCAPED = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|(.))", re.DOTALL)


def split_words(line: bytes) -> list[bytes]:
    """The words of an inline command: blanks between them, quotes as in C and as in a shell (`sdssplitargs`).

    Raises:
        ProtocolError: a quote has no end.
    """
    if b'"' not in line and b"'" not in line:
        return [word for word in line.translate(_SPACES).split(b" ") if word]
    words: list[bytes] = []
    at, end = 0, len(line)
    while True:
        while at < end and line[at] in _BLANK:
            at += 1
        if at >= end:
            return words
        word = bytearray()
        while at < end and line[at] not in _BLANK:
            quote = line[at : at + 1]
            if quote not in (b'"', b"'"):
                word += quote
                at += 1
                continue
            at = _quoted(line, at + 1, quote, word)
            if at < end and line[at] not in _BLANK:
                raise ProtocolError("unbalanced quotes in request")
        words.append(bytes(word))


def _quoted(line: bytes, at: int, quote: bytes, word: bytearray) -> int:
    """Add what is in quotes; where that ends, behind the quote."""
    found = (_IN_DOUBLE if quote == b'"' else _IN_SINGLE).match(line, at)
    if found is None:
        raise ProtocolError("unbalanced quotes in request")
    inside = found[1]
    if b"\\" in inside:
        inside = _ESCAPED.sub(_unescaped, inside) if quote == b'"' else inside.replace(b"\\'", b"'")
    word += inside
    return found.end()


def _unescaped(found: re.Match[bytes]) -> bytes:
    return bytes([int(found[1], 16)]) if found[1] else _ESCAPES.get(found[2], found[2])
