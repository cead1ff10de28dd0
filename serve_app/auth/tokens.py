"""The tokens of one directory, as its tokens file last said and says again when it changes.

A file that is wrong or gone changes nothing: the tokens stay as they were read last. Where none were read yet, nothing is
allowed to anybody.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import stat
from pathlib import Path

from serve_app import events
from serve_app.auth.access import Access
from serve_app.auth.secret import digest_of
from serve_app.auth.tokens_file import MAX_FILE_BYTES, BadTokens, TokenLine, parse

#: A token that is revoked is refused this much later at the latest, and what reading the file takes.
LOOK_AGAIN_S = 1.0
_NO_DIGEST = bytes(32)

_Seen = tuple[int, ...]


class Tokens:
    """What the file `path` names. Read once when this is made; `follow` keeps it up to date."""

    def __init__(self, path: Path) -> None:
        self._path = path
        #: What each digest allows; replaced as a whole. None until the file was read once.
        self._known: dict[bytes, tuple[bytes, Access]] | None = None
        #: The file that was read last, however it was.
        self._seen: _Seen | None = None
        #: What is wrong with the file; empty where it is as it should be.
        self.problem = ""
        self.look_again()

    @property
    def known(self) -> bool:
        """Whether the file was ever read."""
        return self._known is not None

    def find(self, token: bytes) -> Access | None:
        """What a token allows; None where there is no such token.

        Compared are hashes: how long that takes says nothing of any token, nor of how much of one is right.
        """
        digest = digest_of(token)
        entry = self._known.get(digest) if self._known is not None else None
        kept = _NO_DIGEST if entry is None else entry[0]
        return entry[1] if hmac.compare_digest(kept, digest) and entry is not None else None

    async def follow(self) -> None:
        """Look at the file once a second, for ever. In a thread: its disk may be slow."""
        while True:
            await asyncio.sleep(LOOK_AGAIN_S)
            try:
                await asyncio.to_thread(self.look_again)
            except Exception as error:
                events.error("tokens not looked at", exc_info=error)

    def look_again(self) -> None:
        """Read the file where it has changed since the last look. What is wrong with it is logged once."""
        try:
            seen, text = read_if_changed(self._path, self._seen)
            if text is None:
                return
            self._seen = seen
            found = parse(text)
        except BadTokens as error:
            self._refuse(f"{self._path}: {error}")
            return
        except OSError as error:
            self._seen = None
            self._refuse(f"{self._path} can't be read: {error.strerror}")
            return
        self._known = {token.digest: (token.digest, _access(token)) for token in found}
        self.problem = ""
        events.info("tokens read", file=str(self._path), tokens=len(found))

    def _refuse(self, problem: str) -> None:
        kept = "the tokens that were read before stay" if self.known else "nobody is let in until it is right"
        said = f"the tokens file {problem}; {kept}"
        if said != self.problem:
            self.problem = said
            events.error("tokens refused", problem=said)


def read_if_changed(path: Path, seen: _Seen | None) -> tuple[_Seen, bytes | None]:
    """(what the file looks like, its text), or no text where it still looks as it did. A link is followed, so that one that
    was exchanged (Kubernetes does that to mounted secrets) is another file. The text is at most one byte longer than a
    tokens file may be.

    Raises:
        OSError: there is no such file, or it can't be read.
        BadTokens: it is no ordinary file.
    """
    # Nothing but a file: to open a pipe would wait for a writer.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise BadTokens("it is no file")
        looks = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        return looks, None if looks == seen else file.read(MAX_FILE_BYTES + 1)


def _access(token: TokenLine) -> Access:
    return Access(token.name, frozenset(token.scopes), token.prefix)
