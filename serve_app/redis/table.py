"""All commands, by their names in upper case."""

from __future__ import annotations

from serve_app.redis import connecting, keys, refusing, scanning, strings, telling
from serve_app.redis.command import Command

#: Those that are carried out.
TABLE: dict[bytes, Command] = {
    command.name.upper().encode(): command
    for module in (connecting, strings, keys, scanning, telling)
    for command in module.COMMANDS
}
#: And those that are refused with a reason.
EVERY: dict[bytes, Command] = {
    **{command.name.upper().encode(): command for command in refusing.COMMANDS},
    **TABLE,
}
#: What may be asked by who has not shown a token.
OPEN = frozenset({b"AUTH", b"HELLO", b"QUIT", b"RESET"})
