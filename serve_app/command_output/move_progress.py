"""How far a move is, as /topology tells it, in numbers and as bars."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from serve_app.command_output.sizes import size_text
from serve_app.http.models import BucketStatus, TopologyAnswer

_BAR_WIDTH = 40


@dataclass(frozen=True)
class Part:
    """What one bucket has to give away: `done` of `total` keys, and their bytes. per_s is None while it is away."""

    bucket_id: int
    done: int
    total: int
    done_bytes: int
    total_bytes: int
    per_s: float | None = None

    def __str__(self) -> str:
        return _amount(self.done, self.total, self.done_bytes, self.total_bytes, self.per_s)


@dataclass(frozen=True)
class Share:
    """All parts together. end is None while it is not known."""

    parts: tuple[Part, ...]
    end: datetime | None = None

    @property
    def done(self) -> int:
        return sum(part.done for part in self.parts)

    @property
    def total(self) -> int:
        return sum(part.total for part in self.parts)

    @property
    def per_s(self) -> float:
        return sum(part.per_s or 0.0 for part in self.parts)

    @property
    def tenths(self) -> int:
        return 10 * self.done // self.total if self.total else 0

    def __str__(self) -> str:
        done_bytes, total_bytes = sum(part.done_bytes for part in self.parts), sum(p.total_bytes for p in self.parts)
        text = _amount(self.done, self.total, done_bytes, total_bytes, self.per_s)
        return text if self.end is None else f"{text}, until about {self.end.astimezone():%H:%M:%S}"


def _amount(done: int, total: int, done_bytes: int, total_bytes: int, per_s: float | None) -> str:
    rate = f", {per_s:,.0f}/s" if per_s else ""
    return f"{done:,} of {total:,} keys, {size_text(done_bytes)} of {size_text(total_bytes)}{rate}"


class MoveProgress:
    """Follows the answers during a move. What a bucket said last is kept while it is away."""

    def __init__(self) -> None:
        self._from_to = (0, 0)
        self._parts: dict[int, Part] = {}

    def share(self, known: TopologyAnswer, now: datetime) -> Share:
        """How it stands. now: the time of day."""
        if self._from_to != (known.bucket_count, known.target_count):
            self._from_to, self._parts = (known.bucket_count, known.target_count), {}
        for bucket in known.buckets[: known.bucket_count]:
            self._note(bucket)
        left_s = known.expected_end_s
        parts = tuple(part for _, part in sorted(self._parts.items()))
        return Share(parts, None if left_s is None else now + timedelta(seconds=left_s))

    def _note(self, bucket: BucketStatus) -> None:
        if bucket.moved is None or bucket.remaining is None:
            if bucket.bucket_id in self._parts:
                self._parts[bucket.bucket_id] = replace(self._parts[bucket.bucket_id], per_s=None)
            return
        moved_bytes, remaining_bytes = bucket.moved_bytes or 0, bucket.remaining_bytes or 0
        self._parts[bucket.bucket_id] = Part(
            bucket.bucket_id,
            bucket.moved,
            bucket.moved + bucket.remaining,
            moved_bytes,
            moved_bytes + remaining_bytes,
            bucket.keys_per_s,
        )


def waits_for(known: TopologyAnswer) -> list[str]:
    """What is in the way, a sentence each."""
    found = [known.problem] if known.problem else []
    for bucket in known.buckets:
        said = dict.fromkeys(text for text in (bucket.waiting_for, bucket.last_error) if text)
        found += [f"bucket-{bucket.bucket_id}: {text}" for text in said if text not in known.problem]
    return found


def moving(known: TopologyAnswer) -> str:
    """That keys move, as the beginning of a line."""
    return f"moving keys from {known.bucket_count} to {known.target_count} buckets"


def reasons(known: TopologyAnswer) -> str:
    """What is in the way, as the end of a line; empty for nothing."""
    found = waits_for(known)
    return f" ({'; '.join(found)})" if found else ""


def warnings(known: TopologyAnswer) -> list[str]:
    """What an operator should look into, a sentence each."""
    return waits_for(known) + [
        f"bucket-{bucket.bucket_id}: its disk is full: puts are refused" for bucket in known.buckets if bucket.disk_full
    ]


def drawn(text: str, share: Share) -> RenderableType:
    """A line, and below it a bar for all and one for each bucket."""
    below = Table.grid(padding=(0, 1))
    below.add_row("", _bar(share.done, share.total), escape(str(share)))
    if len(share.parts) > 1:
        for part in share.parts:
            below.add_row(f"bucket-{part.bucket_id}", _bar(part.done, part.total), escape(str(part)))
    return Group(escape(text), below)


def _bar(done: int, total: int) -> ProgressBar:
    return ProgressBar(total=max(1, total), completed=done if total else 1, width=_BAR_WIDTH)
