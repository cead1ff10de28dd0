"""From a command's words to what becomes of it, or to what is wrong with it."""

from __future__ import annotations

from serve_app import events
from serve_app.errors import StoreError
from serve_app.operations import Get
from serve_app.redis import replies
from serve_app.redis.command import Asked, Handled, Wrong
from serve_app.redis.session import Session
from serve_app.redis.table import EVERY, OPEN

#: Words of one command, and keys of one that reads their values.
MAX_WORDS, MAX_READ = 32_768, 5_000
_TOO_MANY_WORDS = replies.error(f"ERR a command has at most {MAX_WORDS:,} words")
_TOO_MANY_READ = replies.error(f"ERR the values of at most {MAX_READ:,} keys are read at once")
_NOT_BEGUN = b"-ERR the store made a mistake, and has done nothing; its log says more\r\n"
#: With what lines of a request of HTTP begin: neither is a command.
OF_HTTP = frozenset({b"POST", b"HOST:"})
_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")


def handle(session: Session, name: bytes, words: list[bytes], *, known: bool) -> Handled:
    """What becomes of a command. name: in upper case. known: whether whoever sends it has shown a token, where one is asked
    for."""
    command = EVERY.get(name)
    if not known and name not in OPEN:
        return replies.NO_AUTH
    if command is None:
        return _unknown(words)
    if not command.takes(len(words)):
        return command.wrong_number
    if len(words) > MAX_WORDS:
        return _TOO_MANY_WORDS
    try:
        handled = command.handler(session, words)
    except Wrong as wrong:
        return wrong.reply
    except StoreError as error:
        return replies.of_error(error)
    except Exception as error:
        events.error("redis command failed", exc_info=error, command=command.name)
        return _NOT_BEGUN
    if isinstance(handled, Asked) and len(handled.operations) > MAX_READ and isinstance(handled.operations[0], Get):
        return _TOO_MANY_READ
    return handled


def _unknown(words: list[bytes]) -> bytes:
    """As Redis says it."""
    arguments = b""
    for word in words[1:]:
        if len(arguments) > 128:
            break
        arguments += b"'%b' " % word[: 128 - len(arguments)]
    said = b"-ERR unknown command '%b', with args beginning with: %b" % (words[0][:128], arguments)
    return said.translate(_ONE_LINE) + b"\r\n"
