"""The command line's commands; each has a module of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from serve_app.cli import demo as demo_command
from serve_app.cli import run as run_command
from serve_app.cli.failure import Failure

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="A durable key-value store that lives inside a Ray cluster.",
)


@app.callback()
def main() -> None:
    """Start the store on this machine, and try it out."""


@app.command()
def run(
    config: Annotated[Path, typer.Option(help="The Serve configuration to run.")] = Path("serve_config.yaml"),
    env_file: Annotated[Path, typer.Option(help="Settings of Ray Serve, loaded first.")] = Path("serve.env"),
) -> None:
    """Start Ray and the store on this machine; Ctrl-C stops both. What is in the environment wins over --env-file."""
    raise typer.Exit(_without_traceback(lambda: run_command.run(config, env_file)))


@app.command()
def demo(
    url: Annotated[str, typer.Option(help="Where the store answers.")] = "http://127.0.0.1:8000",
    data: Annotated[
        Path | None, typer.Option(help='A JSON Lines file of {"key": …, "value": …}; else Debian\'s package list.')
    ] = None,
    connections: Annotated[int, typer.Option(min=1, max=256, help="Requests under way at once.")] = 32,
    check_only: Annotated[bool, typer.Option(help="Load nothing; check what an earlier demo loaded.")] = False,
) -> None:
    """Load a real data set through HTTP, then read every byte back and compare."""
    raise typer.Exit(_without_traceback(lambda: demo_command.demo(url, data, connections, check_only)))


def _without_traceback(command: run_command.Command) -> int:
    """A command's exit status; what it can't do is one sentence on standard error."""
    try:
        return command()
    except Failure as failure:
        typer.echo(f"error: {failure}", err=True)
        return 1
