"""All commands of the client, as one Typer app."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

from cloud_storage.commands import one_key
from cloud_storage.commands.bench.command import bench
from cloud_storage.commands.export import export
from cloud_storage.commands.import_ import import_
from cloud_storage.commands.ls import ls
from cloud_storage.commands.statuses import ending
from cloud_storage.commands.watch import watch

#: docs/commands.md says more.
STATUSES = (
    "Exit statuses: 0 done, 1 no such key, 2 wrong usage, 3 the condition failed, 4 refused, 5 the store can't be reached "
    "(nothing was changed), 6 a write may have happened, 130 Ctrl-C, 141 nobody reads the output, 143 SIGTERM."
)
client_app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="A client of the store. CLOUD_STORAGE_URL and CLOUD_STORAGE_TOKEN say which, and who asks.",
)
_KEYS, _MANY = "Keys and values", "Many keys"


def _add(command: Callable[..., int | None], panel: str, name: str | None = None, **settings: Any) -> None:
    client_app.command(name, rich_help_panel=panel, epilog=STATUSES, context_settings=settings)(ending(command))


_add(one_key.get, _KEYS)
_add(one_key.put, _KEYS)
_add(one_key.create, _KEYS)
_add(one_key.delete, _KEYS)
_add(one_key.touch, _KEYS)
_add(one_key.increment, _KEYS, ignore_unknown_options=True)  # `increment visits -3`
_add(ls, _MANY)
_add(watch, _MANY)
_add(export, _MANY)
_add(import_, _MANY, "import")
_add(bench, _MANY)
