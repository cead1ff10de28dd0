"""Commands on the connection itself: who it is, which protocol it speaks, and its end."""

from __future__ import annotations

from serve_app.redis import replies
from serve_app.redis.command import Arguments, Command, Handled, Wrong, integer_in, unknown_subcommand, wrong_number
from serve_app.redis.session import Session

#: What clients go by that look for a version of Redis: the one whose commands and answers these are.
LIKE_VERSION = "7.2.4"
_WRONG_PASSWORD = replies.error("WRONGPASS invalid username-password pair or user is disabled.")
_NO_PASSWORD = replies.error(
    "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is "
    "correct?"
)
_SUBCOMMANDS = ("SETNAME", "GETNAME", "ID", "INFO", "SETINFO", "NO-EVICT", "NO-TOUCH", "HELP")
_NAME = frozenset(range(0x21, 0x7F))


def ping(session: Session, words: Arguments) -> Handled:
    if len(words) > 2:
        raise Wrong(replies.error("ERR wrong number of arguments for 'ping' command"))
    return replies.PONG if len(words) == 1 else replies.bulk(words[1])


def echo(session: Session, words: Arguments) -> Handled:
    return replies.bulk(words[1])


def auth(session: Session, words: Arguments) -> Handled:
    if len(words) > 3:
        raise Wrong(replies.SYNTAX)
    user = words[1] if len(words) == 3 else b"default"
    if session.face.tokens is None:
        if len(words) == 2:
            return _NO_PASSWORD
        return replies.OK if user == b"default" else _WRONG_PASSWORD
    _authenticate(session, user, words[-1])
    return replies.OK


def _authenticate(session: Session, user: bytes, token: bytes) -> None:
    if user != b"default" or not session.authenticate(token):
        raise Wrong(_WRONG_PASSWORD)


def hello(session: Session, words: Arguments) -> Handled:
    resp3 = session.resp3
    at = 1
    if len(words) > 1:
        if words[1] not in (b"2", b"3"):
            try:
                integer_in(words[1])
            except Wrong:
                raise Wrong(replies.error("ERR Protocol version is not an integer or out of range")) from None
            raise Wrong(replies.error("NOPROTO unsupported protocol version"))
        resp3, at = words[1] == b"3", 2
    name: bytes | None = None
    while at < len(words):
        option = words[at].upper()
        if option == b"AUTH" and at + 2 < len(words):
            if session.face.tokens is not None:
                _authenticate(session, words[at + 1], words[at + 2])
            elif words[at + 1] != b"default":
                raise Wrong(_WRONG_PASSWORD)
            at += 3
        elif option == b"SETNAME" and at + 1 < len(words):
            name = _name(words[at + 1])
            at += 2
        else:
            raise Wrong(
                replies.error(f"ERR Syntax error in HELLO option '{words[at][:128].decode('utf-8', 'replace')}'")
            )
    if not session.known:
        raise Wrong(
            replies.error(
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> "
                "<pass> option can be used to authenticate the client and select the RESP protocol version at the same time"
            )
        )
    session.resp3 = resp3
    if name is not None:
        session.name = name
    return replies.pairs(
        [
            (replies.bulk(b"server"), replies.bulk(b"redis")),
            (replies.bulk(b"version"), replies.bulk(LIKE_VERSION.encode())),
            (replies.bulk(b"proto"), replies.integer(3 if resp3 else 2)),
            (replies.bulk(b"id"), replies.integer(session.number)),
            (replies.bulk(b"mode"), replies.bulk(b"standalone")),
            (replies.bulk(b"role"), replies.bulk(b"master")),
            (replies.bulk(b"modules"), replies.array([])),
        ],
        resp3,
    )


def select(session: Session, words: Arguments) -> Handled:
    number = integer_in(words[1])
    if not -(2**31) <= number < 2**31:
        raise Wrong(replies.error("ERR value is out of range, value must between -2147483648 and 2147483647"))
    if number:
        raise Wrong(replies.error("ERR DB index is out of range: a store has one database, 0; use prefixes"))
    return replies.OK


def quit_(session: Session, words: Arguments) -> Handled:
    session.closing = True
    return replies.OK


def reset(session: Session, words: Arguments) -> Handled:
    session.reset()
    return b"+RESET\r\n"


def client(session: Session, words: Arguments) -> Handled:
    match words[1].upper(), len(words):
        case b"SETNAME", 3:
            session.name = _name(words[2])
            return replies.OK
        case b"GETNAME", 2:
            return replies.bulk(session.name) if session.name else replies.nil(session.resp3)
        case b"ID", 2:
            return replies.integer(session.number)
        case b"INFO", 2:
            return replies.bulk(_about(session))
        case b"SETINFO", 4:
            return _set_info(session, words[2].upper(), words[3])
        case b"NO-EVICT" | b"NO-TOUCH", 3:
            if words[2].upper() not in (b"ON", b"OFF"):
                raise Wrong(replies.SYNTAX)
            return replies.OK  # nothing is ever evicted, and nothing is noted of what is looked at
        case b"HELP", 2:
            return replies.array([replies.simple(f"CLIENT {name}") for name in _SUBCOMMANDS])
    if words[1].upper().decode("utf-8", "replace") in _SUBCOMMANDS:
        raise Wrong(wrong_number(f"client|{words[1].decode().lower()}"))
    raise Wrong(unknown_subcommand("CLIENT", words[1]))


def _name(raw: bytes) -> bytes:
    if not _NAME.issuperset(raw) or len(raw) > 512:
        raise Wrong(
            replies.error("ERR Client names cannot contain spaces, newlines or special characters, nor 513 of others.")
        )
    return raw


def _set_info(session: Session, what: bytes, raw: bytes) -> bytes:
    if what not in (b"LIB-NAME", b"LIB-VER"):
        raise Wrong(replies.error(f"ERR Unrecognized option '{what.decode('utf-8', 'replace')[:128]}'"))
    if not _NAME.issuperset(raw) or len(raw) > 512:
        name = what.decode().lower()
        raise Wrong(replies.error(f"ERR {name} cannot contain spaces, newlines or special characters."))
    if what == b"LIB-NAME":
        session.library = raw
    else:
        session.library_version = raw
    return replies.OK


def _about(session: Session) -> bytes:
    said = {
        "id": session.number,
        "addr": session.address,
        "name": session.name.decode(),
        "db": 0,
        "resp": 3 if session.resp3 else 2,
        "lib-name": session.library.decode(),
        "lib-ver": session.library_version.decode(),
        "user": "default",
    }
    return " ".join(f"{name}={value}" for name, value in said.items()).encode() + b"\n"


_F = ("fast", "noscript", "loading", "stale")
COMMANDS = (
    Command("ping", -1, ping, ("fast",)),
    Command("echo", 2, echo, ("fast",)),
    Command("auth", -2, auth, (*_F, "no_auth")),
    Command("hello", -1, hello, (*_F, "no_auth")),
    Command("select", 2, select, ("fast",)),
    Command("quit", -1, quit_, (*_F, "no_auth")),
    Command("reset", 1, reset, (*_F, "no_auth")),
    Command("client", -2, client, ("noscript",)),
)
