"""`python -m serve_app token create`, `list` and `revoke`: the tokens file, edited while the store runs.

The store reads the file again by itself, so none of these needs it, nor Ray.
"""

from __future__ import annotations

import os
from pathlib import Path

import typer
from pydantic import ValidationError
from rich.console import Console

from serve_app.auth.secret import digest_of, new_token
from serve_app.auth.tokens_file import BadTokens, token_line, with_token, without_token
from serve_app.cli import preflight, tokens_on_disk
from serve_app.cli.serve_config import ServeConfig
from serve_app.command_output.failure import Failure
from serve_app.command_output.token_table import token_table
from serve_app.settings import Settings, explain


def create(name: str, scopes: str, prefix: str, file: Path | None, config: Path) -> int:
    """Make a token: print it, and write down what is to be known of it. It is shown this once.

    Raises:
        Failure: it can't be made; the file is as it was.
    """
    path, is_configured = _tokens_file(file, config)
    token = new_token()
    try:
        line = token_line(name, scopes, os.fsencode(prefix), digest_of(token.encode()))
    except BadTokens as error:
        raise Failure(str(error)) from None
    tokens_on_disk.edit(path, lambda text: with_token(text, line))
    typer.echo(token)
    typer.echo(
        f"This is shown once: {path} holds its hash alone. A store that runs takes it within a second.", err=True
    )
    if not is_configured:
        typer.echo(
            f"{config} does not name that file: args.auth.tokens_file turns tokens on at the next start.", err=True
        )
    return 0


def show(file: Path | None, config: Path) -> int:
    """Print the tokens that there are, without themselves. Raises Failure where they can't be read."""
    path, _ = _tokens_file(file, config)
    Console(highlight=False).print(token_table(tokens_on_disk.read(path)))
    return 0


def revoke(name: str, file: Path | None, config: Path) -> int:
    """Take a token out of the file. Raises Failure where there is none of that name."""
    path, _ = _tokens_file(file, config)
    tokens_on_disk.edit(path, lambda text: without_token(text, name), must_exist=True)
    typer.echo(f"Revoked {name}. A store that runs refuses it within a second.")
    return 0


def _tokens_file(file: Path | None, config: Path) -> tuple[Path, bool]:
    """Which file is meant, and whether the configuration names it."""
    configured = _configured(config)
    if file is None and configured is None:
        raise Failure(f"{config} names no tokens file (args.auth.tokens_file); say which with --file")
    path = (file or configured or Path()).absolute()
    return path, configured is not None and path.resolve() == configured.resolve()


def _configured(config: Path) -> Path | None:
    if not config.exists():
        return None
    try:
        application = ServeConfig.model_validate(preflight.load(config)).store
        return None if application is None else Settings.model_validate(application.args or {}).auth.tokens_file
    except ValidationError as error:
        raise Failure(f"{config}: {explain(error, '')}") from None
