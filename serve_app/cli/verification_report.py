"""What `verify` shows: a line for each bucket, the first misplaced keys with where they belong, and the verdict."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from serve_app.cli.reading import Count, Reading
from serve_app.cli.verification import Verification, where

_SHOWN_KEY_CHARACTERS = 80


def headline(found: Verification) -> str:
    """Which store it is, and whether its keys are on the move."""
    topology = found.topology
    text = f"Store {topology.store_id}, epoch {topology.epoch}: {topology.bucket_count} buckets"
    if topology.moving:
        text += f"; keys move to {topology.target_count}, so each is judged by how far the move has come"
    return escape(text)


def table(found: Verification) -> Table:
    """The buckets."""
    shown = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in ("bucket", "keys", "misplaced", "count"):
        shown.add_column(column, justify="right" if column in ("keys", "misplaced") else "left")
    for bucket_id in sorted(found.readings.keys() | found.unread.keys()):
        reading = found.readings.get(bucket_id)
        if reading is None:
            shown.add_row(f"bucket-{bucket_id}", "?", "?", "[bold red]not read[/]")
            continue
        misplaced = f"{'at least ' if reading.at_least else ''}{reading.misplaced:,}"
        shown.add_row(
            f"bucket-{bucket_id}",
            f"{reading.read:,}",
            f"[bold red]{misplaced}[/]" if reading.misplaced else misplaced,
            _count(reading),
        )
    return shown


def _count(reading: Reading) -> str:
    if reading.count is Count.EXACT:
        return "exact"
    if reading.count is Count.EXPLAINED:
        return f"within the {reading.writes:,} writes that came meanwhile"
    if reading.count is Count.MOVING:
        return "[yellow]not compared: keys came or left meanwhile[/]"
    return f"[bold red]wrong[/]: it counts {reading.keys:,}"


def misplaced(found: Verification) -> list[str]:
    """The first misplaced keys of each bucket, a line each."""
    lines = []
    for bucket_id, reading in sorted(found.readings.items()):
        lines += [
            escape(f"  bucket-{bucket_id} holds {shown_key(key)}, which belongs to {where(key, found.topology)}")
            for key in reading.named
        ]
        if reading.misplaced > len(reading.named):
            lines.append(f"  … and {reading.misplaced - len(reading.named):,} more in bucket-{bucket_id}")
    return lines


def shown_key(key: bytes) -> str:
    """A key for a terminal: quoted, with what is not printable escaped, and not too long."""
    text = repr(key.decode(errors="backslashreplace"))
    return text if len(text) <= _SHOWN_KEY_CHARACTERS else f"{text[:_SHOWN_KEY_CHARACTERS]}… ({len(key):,} bytes)"


def verdict(found: Verification) -> str:
    """The last words."""
    problems = found.problems
    if problems:
        return "\n".join(["[bold red]not whole[/]:", *(f"  {escape(problem)}" for problem in problems)])
    if found.topology.moving:  # a record that is just moving is in two buckets
        return (
            f"[bold green]nothing wrong so far[/]: all {found.records:,} records are where they should be by now. "
            "Verify again when the move has ended"
        )
    records = f"all {found.records:,} keys are at home"
    if found.counts_exact:
        return f"[bold green]whole[/]: {records}, and every count is exact"
    return f"[bold green]whole[/]: {records}, and the counts match, but for what was written meanwhile"
