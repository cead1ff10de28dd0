"""All commands of the client, as one Typer app."""

from __future__ import annotations

import typer

from cloud_storage.commands import ls as ls_module
from cloud_storage.commands import one_key
from cloud_storage.commands import watch as watch_module
from cloud_storage.commands.statuses import ending

client_app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="A client of the store. CLOUD_STORAGE_URL and CLOUD_STORAGE_TOKEN say which, and who asks.",
    epilog="Exit statuses: 0 done, 1 no such key, 2 wrong usage, 3 the condition failed, 4 refused, 5 the store can't be "
    "reached (nothing was changed), 6 a write may have happened, 130 Ctrl-C, 141 nobody reads the output.",
)
#: A number may be negative: `increment visits -3`.
_NEGATIVE = {"ignore_unknown_options": True}

for _command in (one_key.get, one_key.put, one_key.create, one_key.delete, one_key.touch, ls_module.ls):
    client_app.command()(ending(_command))
client_app.command(context_settings=_NEGATIVE)(ending(one_key.increment))
client_app.command()(ending(watch_module.watch))
