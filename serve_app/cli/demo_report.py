"""What the demo shows: a progress bar with a rate, how it went, how the keys spread over the buckets, and what is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from serve_app.cli.dataset import DataSet
from serve_app.command_output.sizes import size_text
from serve_app.http.models import TopologyAnswer
from serve_app.placement import bucket_of

_SHOWN_LOSSES = 10
_SHOWN_REASONS = 3
_BAR_WIDTH = 40


class _Rate(ProgressColumn):
    """Records a second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s", style="progress.data.speed")


def progress(console: Console) -> Progress:
    """A progress bar that goes when it is done. Each task has a field `note`."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        TextColumn("[yellow]{task.fields[note]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


def headline(data_set: DataSet) -> str:
    """What there is to load."""
    text = f"{data_set.name}: {len(data_set.records):,} records, {size_text(data_set.size_bytes)}"
    if data_set.replaced:
        text += f"; {data_set.replaced:,} more had a key that came again, of which the last is kept"
    return escape(text)


def summary(done: str, count: int, took_s: float, retries: Counter[str]) -> str:
    """How a step went, with what had to be tried again and why."""
    text = f"{done} {count:,} records in {took_s:.1f} s, {count / max(took_s, 0.001):,.0f} a second"
    if retries:
        reasons = ", ".join(f"{reason} ({times:,})" for reason, times in retries.most_common(_SHOWN_REASONS))
        others = len(retries) - _SHOWN_REASONS
        more = f", and for {others:,} other reasons" if others > 0 else ""
        text += f"; {retries.total():,} requests were sent again: {reasons}{more}"
    return escape(text)


def spread(keys: Iterable[str], known: TopologyAnswer) -> Table:
    """How many of the records are each bucket's, by the hash that says so, beside all that it holds by its own count. While
    keys move: whose they will be."""
    moving = known.phase == "moving"
    count = known.target_count if moving else known.bucket_count
    of_these = Counter(bucket_of(key.encode(), count) for key in keys)
    title = f"Where they will be, when all have moved to {count} buckets" if moving else "Where they are"
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    table.add_column("bucket")
    table.add_column("of these", justify="right")
    table.add_column("")
    table.add_column("holds in all", justify="right")
    holds = {bucket.bucket_id: bucket.keys for bucket in known.buckets}
    most = max(of_these.values(), default=0)
    for bucket_id in sorted(holds.keys() | of_these.keys()):
        bar = "█" * round(_BAR_WIDTH * of_these[bucket_id] / most) if most else ""
        held = holds.get(bucket_id)
        shown = "away" if held is None else f"{held:,}"
        table.add_row(f"bucket-{bucket_id}", f"{of_these[bucket_id]:,}", f"[cyan]{bar}", shown)
    return table


def difference(expected: bytes, got: bytes) -> str:
    """How a value that came back differs from the one that was stored."""
    differing = (at for at, (ours, theirs) in enumerate(zip(expected, got, strict=False)) if ours != theirs)
    at = next(differing, min(len(expected), len(got)))
    return f"{len(got):,} bytes instead of {len(expected):,}, different from byte {at:,} on"


def verdict(lost: list[str], count: int) -> str:
    """The last words: nothing lost, or what is."""
    if not lost:
        return f"[bold green]nothing lost[/]: all {count:,} records are there, byte for byte"
    shown = [f"  {escape(line)}" for line in sorted(lost)[:_SHOWN_LOSSES]]
    more = [f"  … and {len(lost) - _SHOWN_LOSSES:,} more"] if len(lost) > _SHOWN_LOSSES else []
    return "\n".join(
        [f"[bold red]{len(lost):,} of {count:,} records are lost[/] or are not what was loaded:", *shown, *more]
    )
