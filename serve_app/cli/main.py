"""The command line's commands; each has a module of its own, which is imported when it is typed: the client's commands start
faster, and work where nothing of the server is installed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from cloud_storage.address import DEFAULT_URL, URL_VARIABLE
from cloud_storage.commands.app import client_app
from serve_app.command_output.failure import Failure

Address = Annotated[
    str, typer.Option(envvar="RAY_ADDRESS", help="Ray's address, where several run on the machine: host:port.")
]

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="A durable key-value store that lives inside a Ray cluster.",
)
app.add_typer(client_app)
Url = Annotated[str, typer.Option(envvar=URL_VARIABLE, help="Where the store answers.")]


@app.callback()
def main() -> None:
    """A durable key-value store that lives inside a Ray cluster: start it, use it, and look after it."""


@app.command()
def run(
    config: Annotated[Path, typer.Option(help="The Serve configuration to run.")] = Path("serve_config.yaml"),
    env_file: Annotated[Path, typer.Option(help="Settings of Ray Serve, loaded first.")] = Path("serve.env"),
) -> None:
    """Start Ray and the store on this machine; Ctrl-C stops both. What is in the environment wins over --env-file."""

    def command() -> int:
        from serve_app.cli import run

        return run.run(config, env_file)

    raise typer.Exit(_without_traceback("run", command))


@app.command("environment")
def environment_command(
    env_file: Annotated[Path, typer.Option(help="Settings of Ray Serve.")] = Path("serve.env"),
) -> None:
    """Print the environment that `serve run` typed by hand needs: eval "$(python -m serve_app environment)"."""

    def command() -> int:
        from serve_app.cli import environment

        environment.tighten_ray_token()
        typer.echo(environment.shell_commands(env_file))
        return 0

    raise typer.Exit(_without_traceback("environment", command))


@app.command()
def demo(
    url: Url = DEFAULT_URL,
    data: Annotated[
        Path | None, typer.Option(help='A JSON Lines file of {"key": …, "value": …}; else Debian\'s package list.')
    ] = None,
    connections: Annotated[int, typer.Option(min=1, max=256, help="Batches under way at once.")] = 8,
    check_only: Annotated[
        bool, typer.Option("--check-only", help="Load nothing; check what an earlier demo loaded.")
    ] = False,
) -> None:
    """Load a real data set through HTTP, then read every byte back and compare."""

    def command() -> int:
        from serve_app.cli import demo

        return demo.demo(url, data, connections, check_only)

    raise typer.Exit(_without_traceback("demo", command))


@app.command()
def status(
    url: Url = DEFAULT_URL,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="While keys move, show how far they are until all have moved.")
    ] = False,
) -> None:
    """Show the store on one screen: its buckets, and how far a move is. The exit status is 1 where one does not serve."""

    def command() -> int:
        from serve_app.cli import status

        return status.status(url, follow)

    raise typer.Exit(_without_traceback("status", command))


@app.command()
def verify(address: Address = "auto") -> None:
    """Read every bucket of a running store: is each key at home, and do the counts match?

    Clients are not stopped. The exit status is 0 where the store is whole, and 1 where something is wrong, or could not be
    read.

    On the machine of the store; on Kubernetes in the pod of a directory (the variant `small`: in that of the head):

    kubectl exec -it -n cloud-storage $(kubectl get pod -n cloud-storage -l ray.io/group=directory -o name | head -n 1) --
    python -m serve_app verify
    """

    def command() -> int:
        from serve_app.cli import operator

        return operator.verify(address)

    raise typer.Exit(_without_traceback("verify", command))


@app.command("accept-loss")
def accept_loss(
    bucket: Annotated[str, typer.Argument(metavar="BUCKET", help="The bucket whose volume is lost: 1, or bucket-1.")],
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    address: Address = "auto",
) -> None:
    """Go on without the data of a bucket whose volume is lost for good.

    A bucket that came back with an empty volume is not served, until this is typed: from then on its keys answer 404, and
    it takes writes. Nothing is changed where the bucket is not lost, can't be reached, or holds records. Bring the volume
    back instead wherever that is possible.

    On the machine of the store; on Kubernetes in the pod of a directory (the variant `small`: in that of the head):

    kubectl exec -it -n cloud-storage $(kubectl get pod -n cloud-storage -l ray.io/group=directory -o name | head -n 1) --
    python -m serve_app accept-loss BUCKET
    """

    def ask(question: str) -> str:
        return str(typer.prompt(question, default="", show_default=False))

    def command() -> int:
        from serve_app.cli import operator

        return operator.accept_loss(address, bucket, None if yes else ask)

    raise typer.Exit(_without_traceback("accept-loss", command))


tokens_app = typer.Typer(no_args_is_help=True, help="Who may use the API: make, list and revoke tokens.")
app.add_typer(tokens_app, name="token")
TokensFile = Annotated[Path | None, typer.Option(help="The tokens file; else the one that --config names.")]
Config = Annotated[Path, typer.Option(help="The Serve configuration, whose args.auth.tokens_file is meant.")]
_CONFIG = Path("serve_config.yaml")


@tokens_app.command("create")
def create_token(
    name: Annotated[str, typer.Argument(help="What logs call it: 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-'.")],
    scope: Annotated[str, typer.Option(help="What it allows: read, write and admin, separated by commas.")],
    prefix: Annotated[str, typer.Option(help="Only for keys that begin with this.")] = "",
    file: TokensFile = None,
    config: Config = _CONFIG,
) -> None:
    """Make a token and print it, once; the file gets its hash."""

    def command() -> int:
        from serve_app.cli import tokens

        return tokens.create(name, scope, prefix, file, config)

    raise typer.Exit(_without_traceback("token create", command))


@tokens_app.command("list")
def list_tokens(file: TokensFile = None, config: Config = _CONFIG) -> None:
    """Show the tokens' names, and what each allows."""

    def command() -> int:
        from serve_app.cli import tokens

        return tokens.show(file, config)

    raise typer.Exit(_without_traceback("token list", command))


@tokens_app.command("revoke")
def revoke_token(
    name: Annotated[str, typer.Argument(help="Which one.")], file: TokensFile = None, config: Config = _CONFIG
) -> None:
    """Take a token out of the file: nobody gets in with it any more."""

    def command() -> int:
        from serve_app.cli import tokens

        return tokens.revoke(name, file, config)

    raise typer.Exit(_without_traceback("token revoke", command))


def _without_traceback(name: str, command: Callable[[], int]) -> int:
    """A command's exit status; what it can't do is one sentence on standard error."""
    try:
        return command()
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "serve_app", "cloud_storage"):
            raise  # a mistake here
        typer.echo(
            f"error: `{name}` needs the server: pip install 'cloud-storage[server]' (no {package} here)", err=True
        )
        return 1
    except Failure as failure:
        typer.echo(f"error: {failure}", err=True)
        if failure.must_end:
            sys.stdout.flush()
            os._exit(1)
        return 1
