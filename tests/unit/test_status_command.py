"""`python -m serve_app status`: the store on one screen, and a move followed to its end."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from rich.console import Console
from typer.testing import CliRunner

from serve_app.cli.main import app
from serve_app.cli.status import status
from serve_app.command_output.failure import Failure
from serve_app.command_output.move_progress import MoveProgress, drawn, waits_for
from serve_app.command_output.terminal import Terminal
from serve_app.http.models import TopologyAnswer

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)


def bucket(bucket_id: int, moved: int | None = 0, remaining: int | None = 0, **more: Any) -> dict[str, Any]:
    away = moved is None
    return {
        "bucket_id": bucket_id,
        "reachable": not away,
        "keys": None if away else 1000,
        "bytes": None if away else 2_000_000,
        "moved": moved,
        "moved_bytes": None if moved is None else 1000 * moved,
        "remaining": remaining,
        "remaining_bytes": None if remaining is None else 1000 * remaining,
        "keys_per_s": None if away else 50.0 if remaining else 0.0,
        "bytes_per_s": None if away else 50_000.0 if remaining else 0.0,
        "free_bytes": None if away else 5_000_000_000,
        "disk_full": False,
        "waiting_for": "",
        "last_error": "bucket-1 is not running" if away else "",
        **more,
    }


def topology(*buckets: dict[str, Any], before: int = 2, after: int = 2, **more: Any) -> dict[str, Any]:
    return {
        "epoch": 3,
        "bucket_count": before,
        "target_count": after,
        "phase": "stable" if before == after else "moving",
        "configured_count": after,
        "expected_end_s": None,
        "problem": "",
        "buckets": list(buckets) or [bucket(bucket_id) for bucket_id in range(max(before, after))],
        **more,
    }


Answer = Callable[[], httpx.Response] | dict[str, Any]


class Shown:
    """What the command showed for these answers, the last of which comes again and again."""

    def __init__(self, *answers: Answer, follow: bool = False) -> None:
        self.out, self.err = io.StringIO(), io.StringIO()
        left = list(answers)
        self.asked = 0

        def handle(request: httpx.Request) -> httpx.Response:
            assert request.url.path == "/topology"
            self.asked += 1
            now = left.pop(0) if len(left) > 1 else left[0]
            return now() if callable(now) else httpx.Response(200, json=now)

        terminal = Terminal(Console(file=self.out, width=200), Console(file=self.err, width=200))
        transport = httpx.MockTransport(handle)
        self.status = status("http://store", follow, terminal=terminal, transport=transport, sleep=lambda _: None)

    @property
    def lines(self) -> list[str]:
        return self.out.getvalue().splitlines()


def nothing() -> httpx.Response:
    raise httpx.ConnectError("refused")


def test_a_store_at_rest() -> None:
    shown = Shown(topology())
    assert shown.status == 0
    assert shown.lines[0] == "2 buckets, epoch 3, stable"
    assert ["bucket-1", "yes", "1,000", "2.0", "MB", "5,000.0", "MB"] in [line.split() for line in shown.lines]
    assert shown.err.getvalue() == ""


def test_a_bucket_that_is_away_and_a_full_disk() -> None:
    shown = Shown(topology(bucket(0, disk_full=True), bucket(1, None, None)))
    assert shown.status == 1
    assert ["bucket-1", "no", "?", "?", "?"] in [line.split() for line in shown.lines]
    assert "warning: bucket-1: bucket-1 is not running" in shown.err.getvalue()
    assert "warning: bucket-0: its disk is full: puts are refused" in shown.err.getvalue()


def test_a_move_is_drawn_by_bucket() -> None:
    moving = topology(bucket(0, 100, 300), bucket(1, 300, 100, waiting_for="bucket-2 is away"), bucket(2), after=3)
    shown = Shown(moving)
    text = shown.out.getvalue()
    assert "2 buckets, epoch 3, moving to 3" in text
    assert "400 of 800 keys, 0.4 MB of 0.8 MB, 100/s" in text
    lines = [line for line in shown.lines if "━" in line]
    assert [line.split()[0] for line in lines[1:]] == ["bucket-0", "bucket-1"], "those that have keys to give away"
    assert "100 of 400 keys, 0.1 MB of 0.4 MB, 50/s" in lines[1]
    assert "warning: bucket-1: bucket-2 is away" in shown.err.getvalue()


def test_a_move_is_followed_to_its_end() -> None:
    shown = Shown(
        topology(before=2, after=2, configured_count=3),
        topology(bucket(0, 100, 300), bucket(1, 300, 100), bucket(2), after=3),
        nothing,
        topology(bucket(0, 350, 50), bucket(1, 400, 0), bucket(2), after=3),
        topology(before=3, after=3),
        follow=True,
    )
    assert shown.status == 0
    assert shown.lines[:4] == [
        "about to move from 2 to 3 buckets",
        "moving keys from 2 to 3 buckets: 400 of 800 keys, 0.4 MB of 0.8 MB, 100/s",
        "nothing answers at http://store: refused",
        "moving keys from 2 to 3 buckets: 750 of 800 keys, 0.8 MB of 0.8 MB, 50/s",
    ]
    assert "3 buckets, epoch 3, stable" in shown.lines


def test_a_bucket_that_has_just_joined_is_given_a_moment_and_no_more() -> None:
    """The directory that answers may have heard of it only now."""
    moving, away = topology(after=3), topology(bucket(0), bucket(1), bucket(2, None), before=3, after=3)
    shown = Shown(moving, away, away, topology(before=3, after=3), follow=True)
    assert (shown.status, shown.asked, shown.err.getvalue()) == (0, 4, "")
    shown = Shown(moving, away, follow=True)
    assert shown.status == 1
    assert 4 < shown.asked < 20


def test_a_store_at_rest_is_not_followed() -> None:
    assert Shown(topology(), follow=True).asked == 1


def test_a_store_that_stays_away_is_not_followed_for_ever() -> None:
    with pytest.raises(Failure, match="nothing answers at http://store"):
        Shown(topology(after=3), nothing, follow=True)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (nothing, "nothing answers at http://store: refused"),
        (lambda: httpx.Response(503, json={"detail": "the store is not up yet"}), "the store is not up yet"),
        (lambda: httpx.Response(200, text="<html>"), "something answers 200 at http://store, and it is not the store"),
        (lambda: httpx.Response(200, json=[1]), "something answers 200 at http://store, and it is not the store"),
        (lambda: httpx.Response(404, json=[1]), "something answers 404 at http://store, and it is not the store"),
    ],
)
def test_what_is_no_answer_is_said(answer: Answer, says: str) -> None:
    with pytest.raises(Failure, match=says):
        Shown(answer)


@pytest.mark.parametrize("url", ["", "nonsense", "http://[", "ftp://store"])
def test_what_is_no_address_is_said(url: str) -> None:
    said = CliRunner().invoke(app, ["status", "--url", url])
    assert said.exit_code == 1
    assert said.output.startswith("error: ")
    assert "Traceback" not in said.output


# -- the numbers -----------------------------------------------------------------------------------------------------


def answered(document: dict[str, Any]) -> TopologyAnswer:
    return TopologyAnswer.model_validate(document)


def test_what_a_bucket_said_last_is_kept_while_it_is_away() -> None:
    progress = MoveProgress()
    progress.share(answered(topology(bucket(0, 100, 300), bucket(1, 10, 30), bucket(2), after=3)), NOW)
    share = progress.share(answered(topology(bucket(0, 200, 200), bucket(1, None, None), bucket(2), after=3)), NOW)
    assert (share.done, share.total, share.per_s) == (210, 440, 50.0)
    share = progress.share(answered(topology(bucket(0, 1, 2), bucket(1, None, None), before=2, after=1)), NOW)
    assert (share.done, share.total) == (1, 3), "another move"


def test_until_when() -> None:
    share = MoveProgress().share(answered(topology(bucket(0, 1, 2), bucket(1), after=3, expected_end_s=90.0)), NOW)
    assert str(share).endswith(f"until about {share.end.astimezone():%H:%M:%S}")  # type: ignore[union-attr]
    assert (share.end - NOW).total_seconds() == 90  # type: ignore[operator]


def test_a_move_of_nothing_is_no_division_by_zero() -> None:
    share = MoveProgress().share(answered(topology(after=3)), NOW)
    assert str(share) == "0 of 0 keys, 0 bytes of 0 bytes"
    assert share.tenths == 0
    Console(file=io.StringIO()).print(drawn("moving", share))


def test_what_is_in_the_way_is_said_once() -> None:
    full, away = bucket(0, waiting_for="x is full", last_error="x is full"), bucket(1, waiting_for="y is away")
    known = answered(topology(full, away, problem="waiting: y is away"))
    assert waits_for(known) == ["waiting: y is away", "bucket-0: x is full"]
