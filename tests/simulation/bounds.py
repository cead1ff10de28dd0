"""Bounds in bytes and numbers, small enough for a run of few and short records to reach them.

The product's own are megabytes: a group that is cut short, a queue that is full or a page that ends early would never be seen
with values of some hundred bytes. Each run draws some of them small, and leaves the others as they are.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from unittest.mock import patch

from serve_app.bucket import cold_reads, expiry, feed_tail, held, listing, mover_access, survey
from serve_app.directory import merged_feed, watches
from serve_app.settings import MIB, Limits
from serve_app.storage import group


@dataclass(frozen=True)
class Bounds:
    """Of the product's bounds, those that are no settings."""

    #: Operations that wait for a window.
    held: int
    held_bytes: int
    #: What a reading thread answers before it hands over, and what it scans at once.
    read_batch_bytes: int
    scanned_bytes: int
    #: A page of `verify`.
    surveyed: int
    surveyed_bytes: int
    #: What a group's reading ahead keeps.
    read_ahead: int
    kept_bytes: int
    #: Of lists, what is looked at for a page; of expiry, what is deleted at once.
    listed: int
    listed_bytes: int
    expired: int
    #: Of watches, what a directory keeps and reads ahead, and tells at once; and of feeds what is in memory and in a message.
    events: int
    events_ahead: int
    told: int
    fed: int
    changes: int


def draw_bounds(rng: random.Random) -> Bounds:
    """Of one run: each is small in one of three."""

    def or_small(usual: int, small: int) -> int:
        return rng.choice((usual, usual, small))

    return Bounds(
        held=or_small(held.MAX_HELD, 2),
        held_bytes=or_small(held.MAX_HELD_BYTES, 800),
        read_batch_bytes=or_small(MIB, 100),
        scanned_bytes=or_small(64 * MIB, 500),
        surveyed=or_small(20_000, 3),
        surveyed_bytes=or_small(64 * MIB, 500),
        read_ahead=or_small(64, 1),
        kept_bytes=or_small(64 * 1024, 100),
        listed=or_small(20_000, 2),
        listed_bytes=or_small(4 * MIB, 100),
        expired=or_small(128, 1),
        events=or_small(65_536, 3),
        events_ahead=or_small(4000, 2),
        told=or_small(1000, 2),
        fed=or_small(4096, 2),
        changes=or_small(2000, 2),
    )


def draw_limits(rng: random.Random, bytes_per_s: int) -> Limits:
    """The settings of one run. The longest value is of 900 bytes (clients.py)."""
    return Limits(
        move_bytes_per_s=bytes_per_s,
        request_timeout_s=rng.choice((0.2, 1.0, 3.0, 3.0)),
        disk_reserve_bytes=1000,
        max_queued_writes=rng.choice((4096, 4096, 4096, 3)),
        max_group_writes=rng.choice((512, 2)),
        max_calls_per_bucket=rng.choice((1024, 1024, 1024, 4)),
        max_waiting_per_bucket=rng.choice((64, 64, 64, 2)),
        max_group_bytes=rng.choice((32 * MIB, 500, 1500)),
        max_queued_write_bytes=rng.choice((128 * MIB, 128 * MIB, 2500)),
        max_call_bytes_per_bucket=rng.choice((128 * MIB, 128 * MIB, 128 * MIB, 4000)),
        max_held_bytes=rng.choice((256 * MIB, 256 * MIB, 256 * MIB, 4000)),
        max_queued_reads=rng.choice((4096, 4096, 4096, 3)),
        max_outcomes=rng.choice((4_000_000, 4_000_000, 4_000_000, 8)),
        watch_history=rng.choice((100_000, 100_000, 100_000, 20)),
        max_waiting_for_topology=rng.choice((256, 256, 256, 2)),
    )


@contextmanager
def bounded(bounds: Bounds) -> Iterator[None]:
    """Let the product have these bounds."""
    with ExitStack() as patched:
        for module, name, value in (
            (held, "MAX_HELD", bounds.held),
            (held, "MAX_HELD_BYTES", bounds.held_bytes),
            (cold_reads, "_BATCH_BYTES", bounds.read_batch_bytes),
            (mover_access, "_MAX_SCANNED_BYTES", bounds.scanned_bytes),
            (survey, "_RECORDS_AT_ONCE", bounds.surveyed),
            (survey, "_BYTES_AT_ONCE", bounds.surveyed_bytes),
            (group, "_READ_AHEAD_KEYS", bounds.read_ahead),
            (group, "_KEPT_RECORD_BYTES", bounds.kept_bytes),
            (listing, "_MAX_SCANNED", bounds.listed),
            (listing, "_MAX_PAGE_BYTES", bounds.listed_bytes),
            (expiry, "_AT_ONCE", bounds.expired),
            (merged_feed, "_MAX_EVENTS", bounds.events),
            (merged_feed, "_MAX_AHEAD", bounds.events_ahead),
            (watches, "_AT_ONCE", bounds.told),
            (feed_tail, "_IN_MEMORY", bounds.fed),
            (feed_tail, "MAX_CHANGES", bounds.changes),
        ):
            patched.enter_context(patch.object(module, name, value))
        yield
