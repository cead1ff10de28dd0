"""Commands that tell of the server and of the commands: `INFO`, `CONFIG GET`, `COMMAND`, `TIME`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from serve_app import __version__
from serve_app.errors import StoreError
from serve_app.redis import replies
from serve_app.redis.command import Arguments, Command, Handled, Later, Wrong, unknown_subcommand, wrong_number
from serve_app.redis.connecting import LIKE_VERSION
from serve_app.redis.patterns import matcher
from serve_app.redis.session import Session

#: Of `CONFIG GET`: what it has is short.
_MOST_PATTERNS, _MOST_PATTERN_BYTES = 64, 128


def time(session: Session, words: Arguments) -> Handled:
    now_us = session.face.now_us()
    return replies.array([replies.bulk(b"%d" % (now_us // 10**6)), replies.bulk(b"%d" % (now_us % 10**6))])


def info(session: Session, words: Arguments) -> Handled:
    async def told() -> bytes:
        await session.face.directory.polling.refresh()
        return replies.bulk(_info(session, {word.decode("utf-8", "replace").lower() for word in words[1:]}))

    return Later(told)


def _info(session: Session, wanted: set[str]) -> bytes:
    face = session.face
    statuses = list(face.directory.view.statuses.values())
    topology = face.directory.view.topology
    sections: dict[str, dict[str, object]] = {
        "server": {
            "redis_version": LIKE_VERSION,
            "redis_mode": "standalone",
            "cloud_storage_version": __version__,
            "tcp_port": face.port,
            "uptime_in_seconds": int(face.uptime_s()),
        },
        "clients": {"connected_clients": face.connected, "maxclients": face.max_connections},
        "stats": {
            "total_connections_received": face.connections_in_all,
            "total_commands_processed": face.commands_in_all,
        },
        "replication": {"role": "master", "connected_slaves": 0},
        "persistence": {"loading": int(topology is None), "aof_enabled": 1, "appendfsync": "always"},
        "buckets": {
            "bucket_count": 0 if topology is None else topology.bucket_count,
            "serving": sum(not status.fault for status in statuses),
            "moving": int(topology is not None and topology.moving),
        },
        "keyspace": {"db0": f"keys={count}"} if (count := sum(status.keys for status in statuses)) else {},
    }
    if not _sees_all(session):
        del sections["buckets"], sections["keyspace"]
    everything = not wanted or wanted & {"all", "default", "everything"}
    lines: list[str] = []
    for name, facts in sections.items():
        if everything or name in wanted:
            lines += [f"# {name.capitalize()}", *(f"{fact}:{value}" for fact, value in facts.items()), ""]
    return "\r\n".join(lines).encode()


def _sees_all(session: Session) -> bool:
    """Whether it may be told what there is of all keys, as `DBSIZE` asks."""
    try:
        session.access.require("read", b"")
    except StoreError:
        return False
    return True


def config(session: Session, words: Arguments) -> Handled:
    what = words[1].upper()
    if what == b"GET":
        if len(words) == 2:
            raise Wrong(wrong_number("config|get"))
        known = {
            b"maxmemory": b"0",
            b"maxmemory-policy": b"noeviction",
            b"save": b"",
            b"appendonly": b"yes",
            b"appendfsync": b"always",
            b"databases": b"1",
            b"maxclients": b"%d" % session.face.max_connections,
            b"proto-max-bulk-len": b"%d" % session.face.max_value_bytes,
            b"timeout": b"0",
        }
        if len(words) > _MOST_PATTERNS or max(map(len, words)) > _MOST_PATTERN_BYTES:
            raise Wrong(replies.error("ERR too many patterns, or too long ones"))
        matches = [matcher(word.lower()) for word in words[2:]]
        found = [(name, value) for name, value in known.items() if any(match(name) for match in matches)]
        return replies.pairs([(replies.bulk(name), replies.bulk(value)) for name, value in found], session.resp3)
    if what in (b"SET", b"REWRITE", b"RESETSTAT"):
        raise Wrong(replies.error("ERR the store is configured by serve_config.yaml (docs/operations.md)"))
    raise Wrong(unknown_subcommand("CONFIG", words[1]))


def command(session: Session, words: Arguments) -> Handled:
    table = session.face.commands
    if len(words) == 1:
        return replies.array([_described(each, session.resp3) for each in table.values()])
    match words[1].upper():
        case (b"COUNT" | b"LIST") as name if len(words) > 2:
            raise Wrong(wrong_number(f"command|{name.decode().lower()}"))
        case b"GETKEYS" if len(words) == 2:
            raise Wrong(wrong_number("command|getkeys"))
        case b"COUNT":
            return replies.integer(len(table))
        case b"INFO":
            return _some(session, table, words[2:])
        case b"DOCS":
            wanted = [name.lower() for name in words[2:]] or [name.lower() for name in table]
            found = [table[name.upper()] for name in wanted if name.upper() in table]
            return replies.pairs(
                [(replies.bulk(each.name.encode()), _docs(each, session.resp3)) for each in found], session.resp3
            )
        case b"LIST":
            return replies.array([replies.bulk(each.name.encode()) for each in table.values()])
        case b"GETKEYS":
            return _keys_in(table, words[2:])
    raise Wrong(unknown_subcommand("COMMAND", words[1]))


def _some(session: Session, table: dict[bytes, Command], names: Sequence[bytes]) -> bytes:
    found = [table.get(name.upper()) for name in names] if names else list(table.values())
    missing = replies.nil(True) if session.resp3 else b"*-1\r\n"
    return replies.array([missing if each is None else _described(each, session.resp3) for each in found])


def _keys_in(table: dict[bytes, Command], words: Sequence[bytes]) -> bytes:
    meant = table.get(words[0].upper())
    if meant is None:
        raise Wrong(replies.error("ERR Invalid command specified"))
    if not meant.first:
        raise Wrong(replies.error("ERR The command has no key arguments"))
    if not meant.takes(len(words)):
        raise Wrong(replies.error("ERR Invalid number of arguments specified for command"))
    last = meant.last if meant.last > 0 else len(words) + meant.last
    return replies.array([replies.bulk(words[at]) for at in range(meant.first, last + 1, meant.step)])


@cache
def _described(each: Command, resp3: bool) -> bytes:
    numbers = [replies.integer(number) for number in (each.first, each.last, each.step)]
    flags = replies.array([replies.simple(flag) for flag in each.flags])
    if resp3:
        flags = b"~" + flags[1:]  # a set
    empty = replies.array([])
    return replies.array(
        [replies.bulk(each.name.encode()), replies.integer(each.arity), flags, *numbers, empty, empty, empty, empty]
    )


@cache
def _docs(each: Command, resp3: bool) -> bytes:
    summary = (each.handler.__doc__ or f"{each.name.upper()}, as Redis {LIKE_VERSION} has it").split("\n")[0]
    group = "string" if each.first else "connection"
    return replies.pairs(
        [
            (replies.bulk(b"summary"), replies.bulk(summary.encode())),
            (replies.bulk(b"group"), replies.bulk(group.encode())),
        ],
        resp3,
    )


COMMANDS = (
    Command("time", 1, time, ("fast",)),
    Command("info", -1, info, ("loading",)),
    Command("config", -2, config, ("admin",)),
    Command("command", -1, command, ("loading",)),
)
