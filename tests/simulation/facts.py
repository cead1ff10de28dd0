"""What each disk knows beside its records: the index of what is due and the count of outcomes after each batch that changes
them, and at the end of a run the feed, too."""

from __future__ import annotations

import msgspec

from serve_app import outcomes, placement, records
from serve_app.changes import Change
from serve_app.storage import due, feed
from serve_app.storage.engine import Changes
from serve_app.storage.facts import CURSOR, MARKERS, read_bucket_facts
from tests.simulation.nodes import BucketNode
from tests.simulation.world import World

#: The facts with which the index or the count may become wrong: what is due itself, and steps of moves.
_CHANGED_WITH = (due.PREFIX, outcomes.PREFIX, CURSOR, MARKERS)


def check_batch(node: BucketNode, facts: Changes) -> None:
    """A batch with these facts is on the disk."""
    world = node.world
    if any(name.startswith(_CHANGED_WITH) for name, _ in facts) and not world.failures:
        _check_due(world, node)
        _count_outcomes(world, node)


def check_facts(world: World) -> None:
    """Each bucket's, at the end. Nothing moves any more."""
    for node in world.buckets.values():
        _check_due(world, node)
        _count_outcomes(world, node)
        _check_homes(world, node)
        _check_feed(world, node)


def _facts(node: BucketNode, prefix: bytes) -> dict[bytes, bytes]:
    return dict(node.disk.scan_facts(prefix, prefix + b"\xff"))


def _check_due(world: World, node: BucketNode) -> None:
    """The index names exactly what there is that is to be deleted."""
    wanted = {
        due.due_name(expires_ms, due.RECORD, key)
        for key, raw in node.disk.held_records()
        if (expires_ms := records.expires_ms(raw))
    }
    for name, raw in _facts(node, outcomes.PREFIX).items():
        wanted.add(due.due_name(outcomes.decode(raw).due_ms, due.OUTCOME, name))
    found = _facts(node, due.PREFIX).keys()
    if found != wanted:
        lacking, beyond = sorted(wanted - found)[:3], sorted(found - wanted)[:3]
        world.fail("due", f"the index of {node.name} lacks {lacking}, and names {beyond}, which is not there")


def _count_outcomes(world: World, node: BucketNode) -> None:
    held, counted = len(_facts(node, outcomes.PREFIX)), read_bucket_facts(node.disk.get_fact, node.name).totals.outcomes
    if counted != held:
        world.fail("outcomes", f"{node.name} counts {counted} outcomes and holds {held}")


def _check_homes(world: World, node: BucketNode) -> None:
    """Outcomes are where their keys are at home."""
    for name in _facts(node, outcomes.PREFIX):
        home = placement.bucket_of(outcomes.key_in(name), world.configured_count)
        if home != node.bucket_id:
            world.fail("outcomes", f"{name!r} is in {node.name}, and its key's home is bucket-{home}")


def _check_feed(world: World, node: BucketNode) -> None:
    """Revisions rise in it, each entry is named for its last, and there is nothing that is said to be forgotten."""
    facts = read_bucket_facts(node.disk.get_fact, node.name)
    before = facts.feed.since
    for name, raw in sorted(_facts(node, feed.PREFIX).items()):
        changes = msgspec.msgpack.decode(raw, type=list[Change])
        for change in changes:
            if change.revision <= before:
                world.fail("feed", f"the feed of {node.name} tells of {change} behind revision {before}")
            before = change.revision
        if not changes or name != feed.name_of(before):
            world.fail("feed", f"the feed of {node.name} has {changes} as {name!r}")
    if before > facts.totals.revision:
        world.fail("feed", f"the feed of {node.name} has come to {before}, and the bucket to {facts.totals.revision}")
    milestones = (facts.feed.since, *facts.feed.milestones)
    if list(milestones) != sorted(set(milestones)):
        world.fail("feed", f"the feed of {node.name} has the milestones {milestones}")
