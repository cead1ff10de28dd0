"""The tokens that there are, as a table."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table

from serve_app.auth.tokens_file import TokenLine, shown_prefix


def token_table(tokens: Iterable[TokenLine]) -> Table:
    """What each is called and allows, sorted by name; the prefix as it is written in the file."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("name", "scopes", "prefix"):
        table.add_column(column, overflow="fold")
    for token in sorted(tokens, key=lambda token: token.name):
        table.add_row(token.name, ",".join(token.scopes), shown_prefix(token.prefix))
    return table
