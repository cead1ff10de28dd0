"""The file that names the tokens: read strictly, and edited so that everything else in it stays.

A line for each token, which says what it allows; the token itself is not in it, only its hash:

    # name scope[,scope] [prefix=…] sha256:<64 hex digits>
    backup read sha256:5d41402abc4b2a76b9719d911017c5925d41402abc4b2a76b9719d911017c592
    team-a read,write prefix=team%20a/ sha256:…

Blank lines, and those that begin with `#`, say nothing. A prefix is percent-encoded UTF-8 (RFC 3986).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote_from_bytes, unquote_to_bytes

from serve_app.auth.access import SCOPES
from serve_app.record_bounds import MAX_KEY_BYTES

MAX_FILE_BYTES = 1024 * 1024  # as much as a Kubernetes secret holds
MAX_LINE_BYTES = 4096
MAX_TOKENS = 4096
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HASH = re.compile(r"sha256:([0-9a-f]{64})")
_ESCAPED = re.compile(r"(?:[!-$&-~]|%[0-9A-Fa-f]{2})+")
_PREFIX = "prefix="
_SHOWN_CHARACTERS = 80


class BadTokens(Exception):
    """The text is no tokens file, or can't be changed as asked. A sentence that names the line, if there is one."""


@dataclass(frozen=True)
class TokenLine:
    """One token.

    scopes: of SCOPES, each once. prefix: what the keys begin with that it is for; empty for all. digest: 32 bytes.
    """

    name: str
    scopes: tuple[str, ...]
    prefix: bytes
    digest: bytes

    def __str__(self) -> str:
        return " ".join(filter(None, [self.name, ",".join(self.scopes), self._prefix(), f"sha256:{self.digest.hex()}"]))

    def _prefix(self) -> str:
        return _PREFIX + shown_prefix(self.prefix) if self.prefix else ""


def shown_prefix(prefix: bytes) -> str:
    """As it is written in the file."""
    return quote_from_bytes(prefix, safe="/:")


def parse(text: bytes) -> tuple[TokenLine, ...]:
    """The tokens that the file names, in its order.

    Raises:
        BadTokens: it is wrong somewhere; then nothing of it is to be believed.
    """
    return tuple(token for token in _lines(text) if token is not None)


def with_token(text: bytes, token: TokenLine) -> bytes:
    """The file with one token more, at its end.

    Raises:
        BadTokens: it is wrong as it is, or has one of that name, or has no room.
    """
    if any(token.name == other.name for other in parse(text)):
        raise BadTokens(f"there is a token named {token.name!r} already; revoke it, or choose another name")
    between = b"" if not text or text.endswith(b"\n") else b"\n"
    changed = text + between + str(token).encode() + b"\n"
    parse(changed)
    return changed


def without_token(text: bytes, name: str) -> bytes:
    """The file without the line of that token.

    Raises:
        BadTokens: it is wrong as it is, or has none of that name.
    """
    lines = text.split(b"\n")
    kept = [line for line, token in zip(lines, _lines(text), strict=True) if token is None or token.name != name]
    if len(kept) == len(lines):
        raise BadTokens(f"there is no token named {name!r:.{_SHOWN_CHARACTERS}}")
    return b"\n".join(kept)


def token_line(name: str, scopes: str, prefix: bytes, digest: bytes) -> TokenLine:
    """A token as somebody asks for one; scopes as they are written in the file.

    Raises:
        BadTokens: a part is wrong.
    """
    check_name(name)
    _check_prefix(prefix)
    return TokenLine(name, _scopes(scopes), prefix, digest)


def check_name(name: str) -> None:
    """Raises BadTokens where no token can have that name."""
    if not _NAME.fullmatch(name):
        raise BadTokens(
            f"{name!r:.{_SHOWN_CHARACTERS}} is no name of a token: 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-'"
        )


def _lines(text: bytes) -> list[TokenLine | None]:
    """The token of each line; None where it says nothing."""
    if len(text) > MAX_FILE_BYTES:
        raise BadTokens(f"it has {len(text):,} bytes; at most {MAX_FILE_BYTES:,} are taken")
    found: list[TokenLine | None] = []
    names: dict[str, int] = {}
    digests: dict[bytes, int] = {}
    for number, line in enumerate(text.split(b"\n"), 1):
        try:
            token = _line(line)
            if token is not None:
                if (other := names.setdefault(token.name, number)) != number:
                    raise BadTokens(f"the name {token.name!r} is that of line {other}")
                if (other := digests.setdefault(token.digest, number)) != number:
                    raise BadTokens(f"the token is that of line {other}")
                if len(names) > MAX_TOKENS:
                    raise BadTokens(f"there are more than {MAX_TOKENS:,} tokens")
        except BadTokens as error:
            raise BadTokens(f"line {number}: {error}") from None
        found.append(token)
    return found


def _line(raw: bytes) -> TokenLine | None:
    if len(raw) > MAX_LINE_BYTES:
        raise BadTokens(f"it has {len(raw):,} bytes; at most {MAX_LINE_BYTES:,} are taken")
    if not raw.strip() or raw.lstrip().startswith(b"#"):
        return None
    try:
        parts = [part.decode("ascii") for part in raw.split()]
    except UnicodeDecodeError:
        raise BadTokens("it is not ASCII; a prefix is percent-encoded") from None
    name, scopes, *middle, hashed = parts if len(parts) in (3, 4) else ("", "", "", "")
    prefix = middle[0] if middle else ""
    if not name or (middle and not prefix.startswith(_PREFIX)):
        raise BadTokens("it is not `name scope[,scope] [prefix=…] sha256:<64 hex digits>`")
    digest = _HASH.fullmatch(hashed)
    if digest is None:
        raise BadTokens("it does not end in sha256: and 64 hex digits in lower case")
    return token_line(name, scopes, _decoded(prefix), bytes.fromhex(digest[1]))


def _scopes(written: str) -> tuple[str, ...]:
    scopes = tuple(written.split(","))
    for scope in scopes:
        if scope not in SCOPES:
            raise BadTokens(f"{scope!r:.{_SHOWN_CHARACTERS}} is no scope: it is one of {', '.join(SCOPES)}")
    if len(set(scopes)) != len(scopes):
        raise BadTokens("a scope is there twice")
    return scopes


def _decoded(written: str) -> bytes:
    """The prefix of `prefix=…`; empty where that is."""
    if not written:
        return b""
    escaped = written.removeprefix(_PREFIX)
    if not escaped:
        raise BadTokens("the prefix is empty; leave it out for all keys")
    if not _ESCAPED.fullmatch(escaped):
        raise BadTokens("the prefix has a '%' that is not followed by two hex digits; a '%' itself is written %25")
    return unquote_to_bytes(escaped)


def _check_prefix(prefix: bytes) -> None:
    if len(prefix) > MAX_KEY_BYTES:
        raise BadTokens(f"the prefix has {len(prefix):,} bytes, and no key more than {MAX_KEY_BYTES:,}")
    try:
        prefix.decode()
    except UnicodeDecodeError:
        raise BadTokens("the prefix is not UTF-8, which all keys are") from None
