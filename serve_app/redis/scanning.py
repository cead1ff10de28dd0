"""Finding out which keys there are: `SCAN`, `KEYS`, `RANDOMKEY`, `DBSIZE`; and `FLUSHDB`, which deletes them."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from functools import partial

from serve_app.directory.listing import Question
from serve_app.errors import Unavailable
from serve_app.operations import Delete
from serve_app.record_bounds import MAX_KEY_BYTES
from serve_app.redis import replies
from serve_app.redis.command import Arguments, Command, Handled, Later, Wrong, integer_in, summed_up
from serve_app.redis.patterns import MAX_PATTERN_BYTES, literal_prefix, matcher
from serve_app.redis.session import Session
from serve_app.wire.messages import MAX_LISTED, Entry

#: As many as `KEYS` answers with at most.
MAX_KEYS = 100_000
_COUNT = 10
#: For so long keys are matched before others come to their turn.
_SLICE_S = 0.005


def scan(session: Session, words: Arguments) -> Handled:
    raw = words[1]
    digits = raw.lstrip(b"0") or b"0"
    if not raw.isdigit() or len(digits) > 20 or (cursor := int(digits)) >= 2**64:
        raise Wrong(replies.error("ERR invalid cursor"))
    pattern, count, of_type = b"*", _COUNT, b"string"
    if len(words) % 2:
        raise Wrong(replies.SYNTAX)
    for option, value in zip(words[2::2], words[3::2], strict=True):
        match option.upper():
            case b"MATCH":
                pattern = value
            case b"COUNT":
                count = integer_in(value)
                if count < 1:
                    raise Wrong(replies.SYNTAX)
            case b"TYPE":
                of_type = value.lower()
            case _:
                raise Wrong(replies.SYNTAX)
    prefix = _prefix(session, pattern)
    return Later(partial(_scan, session, cursor, prefix, pattern, min(count, MAX_LISTED), of_type == b"string"))


async def _scan(session: Session, cursor: int, prefix: bytes, pattern: bytes, count: int, wanted: bool) -> bytes:
    cursors = session.face.cursors
    try:
        place = cursors.place(cursor)
    except KeyError:
        return replies.error("ERR this directory does not know the cursor (any more): begin again with 0")
    page = await session.face.directory.listing.page(Question(prefix, place, limit=count))
    found = await _matching(page.entries, matcher(pattern)) if wanted else []
    following = 0 if page.next is None else cursors.keep(page.next)
    return replies.array([replies.bulk(b"%d" % following), replies.array(found)])


def keys(session: Session, words: Arguments) -> Handled:
    return Later(partial(_keys, session, _prefix(session, words[1]), words[1]))


async def _keys(session: Session, prefix: bytes, pattern: bytes) -> bytes:
    matches, found, place = matcher(pattern), list[bytes](), b""
    while True:
        page = await session.face.directory.listing.page(Question(prefix, place))
        found += await _matching(page.entries, matches)
        if len(found) > MAX_KEYS:
            return replies.error(f"ERR more than {MAX_KEYS:,} keys match: use SCAN")
        if page.next is None:
            return replies.array(found)
        place = page.next


async def _matching(entries: Sequence[Entry], matches: Callable[[bytes], bool]) -> list[bytes]:
    """The keys that match, as answers. A pattern may take milliseconds for each: others come between."""
    found: list[bytes] = []
    began_s = time.monotonic()
    for entry in entries:
        if matches(entry.key):
            found.append(replies.bulk(entry.key))
        if time.monotonic() - began_s > _SLICE_S:
            await asyncio.sleep(0)
            began_s = time.monotonic()
    return found


def randomkey(session: Session, words: Arguments) -> Handled:
    return Later(partial(_randomkey, session, _prefix(session, b"*")))


async def _randomkey(session: Session, prefix: bytes) -> bytes:
    """Evenly among a thousand; of more, one near a place drawn at random between the first and the last of some."""
    listing = session.face.directory.listing
    page = await listing.page(Question(prefix))
    if not page.entries:
        return replies.nil(session.resp3)
    if page.next is not None:
        drawn = prefix + secrets.token_bytes(8).hex().encode()[: secrets.randbelow(16)]
        further = await listing.page(Question(prefix, drawn))
        page = further if further.entries else page
    return replies.bulk(secrets.choice(page.entries).key)


def dbsize(session: Session, words: Arguments) -> Handled:
    session.access.require("read", b"")  # of all keys
    return Later(partial(_dbsize, session))


async def _dbsize(session: Session) -> bytes:
    """Every bucket is asked; a key that is just moving may count twice, or not."""
    directory = session.face.directory
    await directory.polling.refresh()
    topology, statuses = directory.view.topology, directory.view.statuses
    if topology is None:
        raise Unavailable(f"the store is not up yet: {directory.what_is_missing()}")
    away = [bucket_id for bucket_id in range(len(topology.identities)) if bucket_id not in statuses]
    if away:
        raise Unavailable(f"bucket-{away[0]} is away: its keys can't be counted")
    return replies.integer(sum(statuses[bucket_id].keys for bucket_id in range(len(topology.identities))))


def flush(session: Session, words: Arguments) -> Handled:
    if len(words) > 1 and (len(words) > 2 or words[1].upper() not in (b"SYNC", b"ASYNC")):
        raise Wrong(replies.SYNTAX)
    session.access.require("write", b"")
    session.access.require("admin")
    return Later(partial(_flush, session))


async def _flush(session: Session) -> bytes:
    """Key by key: what is put meanwhile may be left."""
    directory, place = session.face.directory, b""
    while True:
        page = await directory.listing.page(Question(b"", place))
        outcomes = await directory.carry_out_all([Delete(entry.key, with_value=False) for entry in page.entries])
        wrong = summed_up(outcomes)
        if wrong is not None or page.next is None:
            return wrong or replies.OK
        place = page.next


def _prefix(session: Session, pattern: bytes) -> bytes:
    """What the keys begin with that match and that the connection may see. Raises as `Access.require`."""
    if len(pattern) > MAX_PATTERN_BYTES:
        raise Wrong(replies.error(f"ERR a pattern has at most {MAX_PATTERN_BYTES:,} bytes"))
    prefix, own = literal_prefix(pattern), session.access.prefix
    if own.startswith(prefix):
        prefix = own
    session.access.require("read", prefix)
    try:
        prefix.decode()
    except UnicodeDecodeError as error:  # it may end within a character
        prefix = prefix[: error.start]
    if len(prefix) > MAX_KEY_BYTES:  # no key begins so, as the pattern will say of each
        return prefix[:MAX_KEY_BYTES].decode(errors="ignore").encode()
    return prefix


COMMANDS = (
    Command("scan", -2, scan, ("readonly",)),
    Command("keys", 2, keys, ("readonly",)),
    Command("randomkey", 1, randomkey, ("readonly",)),
    Command("dbsize", 1, dbsize, ("readonly", "fast")),
    Command("flushdb", -1, flush, ("write",)),
    Command("flushall", -1, flush, ("write",)),
)
