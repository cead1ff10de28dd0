"""`python -m serve_app status`: the store on one screen, and a move followed to its end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime

import httpx
from pydantic import ValidationError
from rich.table import Table

from serve_app.command_output.failure import Failure
from serve_app.command_output.move_progress import MoveProgress, drawn, moving, reasons, waits_for, warnings
from serve_app.command_output.sizes import size_text
from serve_app.command_output.terminal import Terminal
from serve_app.command_output.token import bearer, how_to_go_on, wants_another
from serve_app.http.models import BucketStatus, TopologyAnswer

_TIMEOUT_S = 10.0
_POLL_S = 0.5
#: While a move is followed the store may not answer for a while: it is started anew, or its directory is.
_PATIENCE_S = 60.0
#: After its end a directory that has just heard of a bucket connects to it.
_CONNECTED_WITHIN_S = 5.0


class NoAnswer(Exception):
    """The store did not answer; the text says what came instead."""


class Store:
    """The store's /topology."""

    def __init__(self, url: str, transport: httpx.BaseTransport | None = None) -> None:
        """Raises Failure where `url` is none, or the environment's token can't be one."""
        self._url = url.rstrip("/")
        try:
            self._client = httpx.Client(base_url=self._url, timeout=_TIMEOUT_S, transport=transport, headers=bearer())
        except httpx.InvalidURL as error:
            raise Failure(f"{url!r} is no address: {error}") from error

    def topology(self) -> TopologyAnswer:
        """What it says of itself. Raises NoAnswer, and Failure where the store wants another token."""
        try:
            answer = self._client.get("/topology")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NoAnswer(f"nothing answers at {self._url}: {str(error) or type(error).__name__}") from error
        try:
            if answer.status_code == httpx.codes.OK:
                return TopologyAnswer.model_validate_json(answer.content)
            detail = answer.json()["detail"]
        except (ValueError, KeyError, TypeError, ValidationError):
            raise NoAnswer(f"something answers {answer.status_code} at {self._url}, and it is not the store") from None
        if wants_another(answer.status_code):
            raise Failure(how_to_go_on(str(detail), "admin"))
        raise NoAnswer(str(detail))

    def close(self) -> None:
        self._client.close()


def status(
    url: str,
    follow: bool,
    *,
    terminal: Terminal | None = None,
    transport: httpx.BaseTransport | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Show the store at `url`; with `follow`, show a move until it has ended. 0 where every bucket serves, else 1.

    Raises:
        Failure: it can't be shown.
    """
    terminal = terminal or Terminal()
    store = Store(url, transport)
    try:
        try:
            known = store.topology()
            if follow:
                known = _follow(store, known, terminal, sleep)
        except NoAnswer as error:
            raise Failure(str(error)) from error
    finally:
        store.close()
    _show(terminal, known)
    return 0 if _all_serve(known) else 1


def _follow(store: Store, known: TopologyAnswer, terminal: Terminal, sleep: Callable[[float], None]) -> TopologyAnswer:
    """Show the move, until it has ended and none is about to begin. Raises NoAnswer."""
    progress, silent_s, ended_s = MoveProgress(), 0.0, math.inf
    with terminal.waiting():
        while _goes_on(known) or (ended_s < _CONNECTED_WITHIN_S and not _all_serve(known)):
            ended_s = 0.0 if _goes_on(known) else ended_s + _POLL_S
            if not silent_s and not ended_s:
                _say(terminal, known, progress)
            sleep(_POLL_S)
            try:
                known, silent_s = store.topology(), 0.0
            except NoAnswer as error:
                silent_s += _POLL_S
                if silent_s > _PATIENCE_S:
                    raise
                terminal.progress(str(error))
    return known


def _goes_on(known: TopologyAnswer) -> bool:
    """Whether keys move, or are about to."""
    return known.phase == "moving" or known.configured_count not in (None, known.bucket_count)


def _all_serve(known: TopologyAnswer) -> bool:
    return all(bucket.reachable for bucket in known.buckets)


def _say(terminal: Terminal, known: TopologyAnswer, progress: MoveProgress) -> None:
    if known.phase == "moving":
        terminal.progress(moving(known) + reasons(known), progress.share(known, datetime.now(UTC)))
    else:
        terminal.progress(
            "; ".join(waits_for(known))
            or f"about to move from {known.bucket_count} to {known.configured_count} buckets"
        )


def _show(terminal: Terminal, known: TopologyAnswer) -> None:
    phase = "stable" if known.phase == "stable" else f"moving to {known.target_count}"
    terminal.say(f"{known.bucket_count} buckets, epoch {known.epoch}, {phase}")
    terminal.say("")
    terminal.draw(_table(known.buckets))
    if known.phase == "moving":
        terminal.say("")
        terminal.draw(drawn(moving(known), MoveProgress().share(known, datetime.now(UTC))))
    for warning in warnings(known):
        terminal.warn(warning)


def _table(buckets: list[BucketStatus]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("bucket", "serves", "keys", "size", "free"):
        table.add_column(column, justify="left" if column in ("bucket", "serves") else "right")
    for bucket in buckets:
        table.add_row(
            f"bucket-{bucket.bucket_id}",
            "yes" if bucket.reachable else "[bold red]no[/]",
            "?" if bucket.keys is None else f"{bucket.keys:,}",
            "?" if bucket.bytes is None else size_text(bucket.bytes),
            "?" if bucket.free_bytes is None else size_text(bucket.free_bytes),
        )
    return table
