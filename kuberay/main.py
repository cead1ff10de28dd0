"""The commands of `python -m kuberay`; each has a module of its own in commands/."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from kuberay.commands import delete as delete_command
from kuberay.commands import deploy as deploy_command
from kuberay.commands import logs as logs_command
from kuberay.commands import open as open_command
from kuberay.commands import scale as scale_command
from kuberay.commands import status as status_command
from kuberay.commands import token as token_command
from kuberay.commands import upgrade as upgrade_command
from kuberay.manifests import SERVICE_TYPES, VARIANTS, Options
from kuberay.session import open_session
from serve_app.command_output.failure import Failure
from serve_app.command_output.terminal import Terminal

#: What a shell shows for a command ended by Ctrl-C.
_INTERRUPTED = 130

_DEFAULTS = Options()

Namespace = Annotated[str, typer.Option("--namespace", "-n", help="The store's namespace.")]
Context = Annotated[str | None, typer.Option(help="The kubeconfig's context; else its current one.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Change nothing; print the objects as YAML.")]
Timeout = Annotated[float, typer.Option(help="Seconds to wait for each step.")]

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="The store on Kubernetes, as one KubeRay RayService.",
)


@app.callback()
def main() -> None:
    """Deploy the store on Kubernetes, look at it, change it, and take it off again.

    Every command works on one store: that of the namespace. It needs a cluster with KubeRay 1.7 or later, and the
    kubeconfig that kubectl uses.
    """


@app.command()
def deploy(
    namespace: Namespace = _DEFAULTS.namespace,
    context: Context = None,
    image: Annotated[str | None, typer.Option(help=f"The store's image.  [default: {_DEFAULTS.image}]")] = None,
    buckets: Annotated[int | None, typer.Option(help=f"How many buckets.  [default: {_DEFAULTS.buckets}]")] = None,
    directories: Annotated[int | None, typer.Option(help="How many directories take requests.")] = None,
    storage: Annotated[str | None, typer.Option(help="The size of each bucket's claim, like 20Gi.")] = None,
    storage_class: Annotated[
        str | None, typer.Option(help="The claims' storage class; else the cluster's default.")
    ] = None,
    access_mode: Annotated[
        str | None, typer.Option(help="ReadWriteOncePod, or ReadWriteOnce where volumes have no CSI driver.")
    ] = None,
    service_type: Annotated[str | None, typer.Option(help=f"{', '.join(SERVICE_TYPES)}.")] = None,
    node_port: Annotated[int | None, typer.Option(help="The port on every node, with --service-type NodePort.")] = None,
    redis_image: Annotated[str | None, typer.Option(help="Redis, which keeps what Ray's head knows.")] = None,
    variant: Annotated[
        str | None, typer.Option(help=f"{', '.join(VARIANTS)}: small for a laptop, recommended for production.")
    ] = None,
    tokens: Annotated[
        bool | None, typer.Option("--tokens/--no-tokens", help="Ask for tokens.  [default: where there are any]")
    ] = None,
    redis: Annotated[
        bool | None, typer.Option("--redis/--no-redis", help="Speak the Redis protocol too, to who shows a token.")
    ] = None,
    wait: Annotated[bool, typer.Option(help="Wait until every bucket serves.")] = True,
    timeout: Timeout = 600.0,
    dry_run: DryRun = False,
) -> None:
    """Deploy the store, and wait until it answers.

    Says what it waits for, and what is in the way. Deploying again changes what is asked for and leaves the rest as it is;
    what KubeRay would ignore is refused. --dry-run prints what a new store would be, and asks no cluster.
    """
    asked = {
        "image": image,
        "buckets": buckets,
        "directories": directories,
        "storage": storage,
        "storage_class": storage_class,
        "access_mode": access_mode,
        "service_type": service_type,
        "node_port": node_port,
        "redis_image": redis_image,
        "variant": variant,
        "tokens": tokens,
        "redis": redis,
    }

    def command() -> int:
        if dry_run:
            return deploy_command.dry_run(Terminal(), namespace, asked)
        return deploy_command.deploy(open_session(namespace, context), asked, until_ready=wait, timeout_s=timeout)

    _run(command, "Stopped waiting. What was applied stays; deploying again goes on.")


@app.command()
def status(namespace: Namespace = _DEFAULTS.namespace, context: Context = None) -> None:
    """Show the store on one screen: its pods, and each bucket's claim, volume, keys and bytes, and what is wrong."""
    _run(lambda: status_command.status(open_session(namespace, context)))


@app.command("open")
def open_(
    namespace: Namespace = _DEFAULTS.namespace,
    context: Context = None,
    port: Annotated[int, typer.Option(help="The port on this machine.")] = 8888,
    browser: Annotated[bool, typer.Option("--browser", help="Show the docs page in the browser.")] = False,
) -> None:
    """Bring the store to http://localhost:8888/docs until Ctrl-C, with no address of its own.

    Each connection goes to a directory that is ready; one that goes away takes only its own connections with it.
    """
    _run(lambda: open_command.open_store(open_session(namespace, context), port, browser=browser))


@app.command()
def scale(
    count: Annotated[int, typer.Argument(metavar="N", help="How many buckets there are to be.")],
    namespace: Namespace = _DEFAULTS.namespace,
    context: Context = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for each step; moving keys takes its time.")] = 3600.0,
    dry_run: DryRun = False,
) -> None:
    """Change the number of buckets, and follow the move until it has ended.

    Growing makes pods and claims and then moves keys; shrinking moves keys, then ends pods. Claims are always kept.
    """
    _run(
        lambda: scale_command.scale(open_session(namespace, context), count, dry_run=dry_run, timeout_s=timeout),
        f"Stopped following. What was asked for stays; `scale {count}` again goes on.",
    )


@app.command()
def upgrade(
    image: Annotated[str, typer.Option(help="The image to run.")],
    namespace: Namespace = _DEFAULTS.namespace,
    context: Context = None,
    replace: Annotated[bool, typer.Option("--replace", help="Give up another upgrade that is under way.")] = False,
    timeout: Timeout = 600.0,
    dry_run: DryRun = False,
) -> None:
    """Run the store on another image. It does not answer meanwhile; for how long is said at the end.

    The store is suspended, changed and resumed. Interrupted at any point, the same command goes on.
    """
    _run(
        lambda: upgrade_command.upgrade(
            open_session(namespace, context), image, replace=replace, dry_run=dry_run, timeout_s=timeout
        ),
        f"Stopped half-way. Go on with `python -m kuberay upgrade --image {image}`.",
    )


@app.command()
def logs(
    what: Annotated[str, typer.Argument(help="all, directory, bucket-0 and so on, head or redis.")] = "all",
    namespace: Namespace = _DEFAULTS.namespace,
    context: Context = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written from now on.")] = False,
    since: Annotated[str | None, typer.Option(help="Only what is newer, like 30s, 10m, 2h or 1d.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every line as it is, also Ray's and Redis'.")] = False,
) -> None:
    """Show what the store's pods have to say: its own events, or everything with --all."""
    _run(
        lambda: logs_command.logs(
            open_session(namespace, context), what, follow=follow, since=since, everything=everything
        ),
        "",
    )


@app.command()
def delete(
    namespace: Namespace = _DEFAULTS.namespace,
    context: Context = None,
    delete_data: Annotated[
        bool, typer.Option("--delete-data", help="Delete the claims too, with all records.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask before records are deleted.")] = False,
    timeout: Timeout = 300.0,
    dry_run: DryRun = False,
) -> None:
    """Take the store off the cluster. Its claims are kept, with all records, unless --delete-data is given."""

    def ask(question: str) -> str:
        return str(typer.prompt(question, default="", show_default=False))

    _run(
        lambda: delete_command.delete(
            open_session(namespace, context),
            delete_data=delete_data,
            confirm=None if yes else ask,
            dry_run=dry_run,
            timeout_s=timeout,
        ),
        "Stopped half-way. Deleting again goes on.",
    )


token_app = typer.Typer(no_args_is_help=True, help="Who may use the API: make, list and revoke tokens.")
app.add_typer(token_app, name="token")


@token_app.command("create")
def create_token(
    name: Annotated[str, typer.Argument(help="What logs call it: 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-'.")],
    scope: Annotated[str, typer.Option(help="What it allows: read, write and admin, separated by commas.")],
    prefix: Annotated[str, typer.Option(help="Only for keys that begin with this.")] = "",
    namespace: Namespace = _DEFAULTS.namespace,
    context: Context = None,
) -> None:
    """Make a token and print it, once; the cluster gets its hash."""
    _run(lambda: token_command.create(open_session(namespace, context), name, scope, prefix))


@token_app.command("list")
def list_tokens(namespace: Namespace = _DEFAULTS.namespace, context: Context = None) -> None:
    """Show the tokens' names, and what each allows."""
    _run(lambda: token_command.show(open_session(namespace, context)))


@token_app.command("revoke")
def revoke_token(
    name: Annotated[str, typer.Argument(help="Which one.")],
    namespace: Namespace = _DEFAULTS.namespace,
    context: Context = None,
) -> None:
    """Take a token away: nobody gets in with it any more."""
    _run(lambda: token_command.revoke(open_session(namespace, context), name))


def _run(command: Callable[[], int], interrupted: str = "Stopped.") -> None:
    """End with the command's exit status; what it can't do is one sentence on standard error."""
    try:
        status = command()
    except Failure as failure:
        typer.echo(f"error: {failure}", err=True)
        status = 1
    except KeyboardInterrupt:
        typer.echo(interrupted, err=True)
        status = _INTERRUPTED
    raise typer.Exit(status)
