"""Bugs in how keys move: each step of the protocol left out, or taken too early."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import msgspec

from serve_app.authority.proposing_bucket import Overtaken
from serve_app.bucket import judgement, writer_state
from serve_app.bucket.calls import Calls
from serve_app.bucket.move_writes import AdvanceWrite, IntentWrite, WindowWrite
from serve_app.bucket.mover_access import MoverAccess
from serve_app.bucket.operation_write import OperationWrite
from serve_app.bucket.queued import CalledWrite
from serve_app.bucket.writer_state import WriterState
from serve_app.cursor import Cursor, Marker, cursor_for
from serve_app.directory.view import StoreView
from serve_app.placement import bucket_of
from serve_app.resharding.coordinator import Coordinator
from serve_app.resharding.mover import Mover
from serve_app.resharding.parts import Part
from serve_app.storage.group import Group
from serve_app.topology import Topology
from serve_app.wire.messages import Moved, Refused
from tests.simulation.mutations import HELD, HISTORY, REVISIONS, Mutation

# -- the seven of the design -----------------------------------------------------------------------------------------


def _drop_what_is_there(self: Group, key: bytes, size_bytes: int) -> None:
    """In place of Group.drop, which would trip over a record that was changed meanwhile, and end the process."""
    if self.get(key) is not None:
        self.delete(key)


@contextmanager
def advancing_before_the_acknowledgement() -> Iterator[None]:
    """The source sends a window and goes on at once, though it sends it again until it is acknowledged."""
    give = Mover._give

    async def giving(self: Mover, topology: Topology, home: int, parts: list[Part], revision: int) -> None:
        async def go_on_giving() -> None:
            while True:
                try:
                    return await give(self, topology, home, parts, revision)
                except Overtaken:
                    return None
                except Exception:
                    await asyncio.sleep(0.1)

        asyncio.get_running_loop().create_task(go_on_giving())

    with patch.object(Mover, "_give", giving):
        yield


@contextmanager
def writes_are_not_held() -> Iterator[None]:
    """A write to a key of the window is carried out at the source."""

    def deciding(self: OperationWrite, group: Group) -> None:
        verdict = self.state.judge(self.operation.key, self.envelope.epoch)
        if isinstance(verdict, (Moved, Refused)):
            self.answer = verdict
        else:
            self.decide_at_home(group)

    with patch.object(OperationWrite, "decide", deciding), patch.object(Group, "drop", _drop_what_is_there):
        yield


@contextmanager
def reads_are_not_held() -> Iterator[None]:
    """Reads of the window go on while its records are deleted."""
    with patch.object(MoverAccess, "hold_reads", lambda self: None):
        yield


@contextmanager
def the_cursor_moves_before_it_is_durable() -> Iterator[None]:
    """The source serves by its new cursor from the moment that it is decided."""
    decide = AdvanceWrite.decide

    def deciding(self: AdvanceWrite, group: Group) -> None:
        decide(self, group)
        bucket: Any = self.state.note_error.__self__  # type: ignore[attr-defined]
        bucket.serve_by(self.state.standing)

    with patch.object(AdvanceWrite, "decide", deciding):
        yield


@contextmanager
def the_intent_is_kept_in_memory_only() -> Iterator[None]:
    """A source that crashes within a window has forgotten which."""

    def deciding(self: IntentWrite, group: Group) -> None:
        self._expect_before()
        self.result = self.state.end_noting()
        self.state.standing = self.state.standing._replace(cursor=self.cursor)

    with patch.object(IntentWrite, "decide", deciding):
        yield


@contextmanager
def there_is_no_marker() -> Iterator[None]:
    """A target writes a window as often as it comes."""
    decide = WindowWrite.decide

    def deciding(self: WindowWrite, group: Group) -> None:
        self.state.standing = self.state.standing._replace(markers={})
        decide(self, group)

    with patch.object(WindowWrite, "decide", deciding):
        yield


@contextmanager
def the_last_window_is_taken_again() -> Iterator[None]:
    """A marker covers what is below it, and not the very window that it was left by: the one that is most likely to come
    again."""
    decide = WindowWrite.decide

    def deciding(self: WindowWrite, group: Group) -> None:
        standing, window = self.state.standing, self.envelope.body
        if Marker(self.envelope.epoch, window.end) == standing.markers.get(window.source):
            others = {source: marker for source, marker in standing.markers.items() if source != window.source}
            self.state.standing = standing._replace(markers=others)
        decide(self, group)

    with patch.object(WindowWrite, "decide", deciding):
        yield


@contextmanager
def the_counter_is_read_before_the_intent() -> Iterator[None]:
    """Writes to the window may be decided between the two, and what they deleted has a revision above the counter sent."""
    intend, revision = MoverAccess.intend, MoverAccess.revision
    read: dict[MoverAccess, int] = {}

    async def intending(self: MoverAccess, before: Cursor, end: bytes) -> tuple[Cursor, bool]:
        early = self.revision
        intended = await intend(self, before, end)
        read[self] = early
        return intended

    def reading(self: MoverAccess) -> int:
        early = read.pop(self, None)
        return revision.fget(self) if early is None else early  # type: ignore[attr-defined]

    with patch.object(MoverAccess, "intend", intending), patch.object(MoverAccess, "revision", property(reading)):
        yield


@contextmanager
def a_claim_of_another_epoch_is_believed() -> Iterator[None]:
    """A new home takes an operation on what a directory learned in another move."""
    with _judging(lambda epoch: epoch != 0):
        yield


@contextmanager
def no_claim_is_asked_for() -> Iterator[None]:
    """A new home takes every operation on its keys-to-be."""
    with _judging(lambda epoch: True):
        yield


@contextmanager
def _judging(believes: Callable[[int], bool]) -> Iterator[None]:
    judge = judgement.judge

    def judging(bucket_id: int, key: bytes, epoch: int, topology: Topology | None, cursor: Cursor | None) -> Any:
        verdict = judge(bucket_id, key, epoch, topology, cursor)
        if topology is None or not topology.moving or not believes(epoch):
            return verdict
        joins = bucket_of(key, topology.target_count) == bucket_id != bucket_of(key, topology.bucket_count)
        return None if joins else verdict

    with patch.object(judgement, "judge", judging):
        yield


# -- others ------------------------------------------------------------------------------------------------------------


@contextmanager
def an_epoch_goes_back() -> Iterator[None]:
    """A bucket takes on whatever topology of its store comes, also an earlier one."""
    is_newer = WriterState._is_newer

    def judging(self: WriterState, new: Topology) -> bool:
        own = self.topology
        if own is not None and own.store_id == new.store_id and own.epoch > new.epoch:
            return new.lists(self.bucket_id, self.identity)
        return is_newer(self, new)

    with patch.object(WriterState, "_is_newer", judging):
        yield


@contextmanager
def empty_windows_are_not_sent() -> Iterator[None]:
    """Where nothing moves, nobody is told: neither the marker nor the counter."""
    give = Mover._give

    async def giving(self: Mover, topology: Topology, home: int, parts: list[Part], revision: int) -> None:
        if any(part.records or part.outcomes for part in parts):
            await give(self, topology, home, parts, revision)

    with patch.object(Mover, "_give", giving):
        yield


@contextmanager
def the_counter_is_not_raised() -> Iterator[None]:
    """A target goes on counting revisions from where it was."""
    decide = WindowWrite.decide

    def deciding(self: WindowWrite, group: Group) -> None:
        revision = group.revision
        decide(self, group)
        group.revision = revision

    with patch.object(WindowWrite, "decide", deciding):
        yield


@contextmanager
def markers_are_kept_over_epochs() -> Iterator[None]:
    """What came in an earlier move counts as having come in this one."""

    def keeping(new: Topology, old: Topology | None, markers: dict[int, Marker]) -> dict[int, Marker]:
        return {source: Marker(new.epoch, marker.end) for source, marker in markers.items()}

    with patch.object(writer_state, "markers_for", keeping):
        yield


@contextmanager
def cursors_are_kept_over_epochs() -> Iterator[None]:
    """A source begins a move where it ended its last one."""

    def keeping(
        new: Topology, bucket_id: int, old: Topology | None, cursor: Cursor | None, keys: int, size_bytes: int
    ) -> Cursor:
        fresh = cursor_for(new, bucket_id, old, cursor, keys, size_bytes)
        if cursor is None:
            return fresh
        return msgspec.structs.replace(fresh, position=max(fresh.position, cursor.position))

    with patch.object(writer_state, "cursor_for", keeping):
        yield


@contextmanager
def a_move_ends_too_early() -> Iterator[None]:
    """The coordinator does not wait for the other sources."""

    async def done(self: Coordinator, topology: Topology, bucket_id: int) -> bool:
        return True

    with patch.object(Coordinator, "_is_done", done):
        yield


@contextmanager
def a_move_ends_on_an_earlier_ones_word() -> Iterator[None]:
    """That a source is done counts, whatever move it speaks of."""

    async def done(self: Coordinator, topology: Topology, bucket_id: int) -> bool:
        return (await self._peers.status(bucket_id, 2.0)).move_done

    with patch.object(Coordinator, "_is_done", done):
        yield


@contextmanager
def a_window_of_another_epoch_is_taken() -> Iterator[None]:
    """A target writes whatever window comes, if only it moves itself."""
    decide = WindowWrite.decide

    def deciding(self: WindowWrite, group: Group) -> None:
        topology = self.state.topology
        if topology is not None and topology.moving:
            self.envelope = msgspec.structs.replace(self.envelope, epoch=topology.epoch)
        decide(self, group)

    with patch.object(WindowWrite, "decide", deciding):
        yield


@contextmanager
def what_was_written_before_the_intent_is_left_behind() -> Iterator[None]:
    """The mover sends what it read first, whatever was written until the intent was durable."""
    intend = MoverAccess.intend

    async def intending(self: MoverAccess, before: Cursor, end: bytes) -> tuple[Cursor, bool]:
        return (await intend(self, before, end))[0], False

    with patch.object(MoverAccess, "intend", intending), patch.object(Group, "drop", _drop_what_is_there):
        yield


@contextmanager
def held_writes_are_carried_out_at_the_source() -> Iterator[None]:
    """What was held is not judged again when the window has moved."""
    hold, decide = Calls.hold, OperationWrite.decide
    held: list[CalledWrite] = []

    def holding(self: Calls, write: CalledWrite) -> None:
        held.append(write)
        hold(self, write)

    def deciding(self: OperationWrite, group: Group) -> None:
        if any(write is self for write in held):
            self.decide_at_home(group)
        else:
            decide(self, group)

    with patch.object(Calls, "hold", holding), patch.object(OperationWrite, "decide", deciding):
        yield


@contextmanager
def a_directory_keeps_what_it_learned_over_epochs() -> Iterator[None]:
    """A directory takes the cursors of one move for those of the next."""
    adopt = StoreView.adopt

    def adopting(self: StoreView, *candidates: Topology | None) -> None:
        cursors = self.cursors
        adopt(self, *candidates)
        self.cursors = cursors

    with patch.object(StoreView, "adopt", adopting):
        yield


MUTATIONS = [
    Mutation("advancing before the acknowledgement", 10, HISTORY, advancing_before_the_acknowledgement),
    Mutation("writes are not held", 10, HISTORY, writes_are_not_held),
    Mutation("reads are not held", 50, HISTORY, reads_are_not_held),
    Mutation("the cursor moves before it is durable", 45, HISTORY | HELD, the_cursor_moves_before_it_is_durable),
    Mutation("the intent is kept in memory only", 180, HISTORY, the_intent_is_kept_in_memory_only),
    Mutation("there is no marker", 10, HISTORY, there_is_no_marker),
    Mutation("the last window is taken again", 20, HISTORY, the_last_window_is_taken_again),
    Mutation("a claim of another epoch is believed", 600, HISTORY, a_claim_of_another_epoch_is_believed),
    Mutation("no claim is asked for", 20, HISTORY, no_claim_is_asked_for),
    Mutation("an epoch goes back", 15, HISTORY, an_epoch_goes_back),
    Mutation("empty windows are not sent", 150, REVISIONS | HISTORY, empty_windows_are_not_sent),
    Mutation("the counter is not raised", 10, REVISIONS, the_counter_is_not_raised),
    Mutation("the counter is read before the intent", 120, REVISIONS, the_counter_is_read_before_the_intent),
    Mutation("markers are kept over epochs", 10, HISTORY, markers_are_kept_over_epochs),
    Mutation("cursors are kept over epochs", 10, HISTORY, cursors_are_kept_over_epochs),
    Mutation("a move ends too early", 10, HISTORY, a_move_ends_too_early),
    Mutation("a move ends on an earlier one's word", 80, HISTORY, a_move_ends_on_an_earlier_ones_word),
    Mutation("a window of another epoch is taken", 40, HISTORY, a_window_of_another_epoch_is_taken),
    Mutation(
        "what was written before the intent is left behind",
        30,
        HISTORY,
        what_was_written_before_the_intent_is_left_behind,
    ),
    Mutation("held writes are carried out at the source", 10, HISTORY, held_writes_are_carried_out_at_the_source),
    Mutation(
        "a directory keeps what it learned over epochs", 15, HISTORY, a_directory_keeps_what_it_learned_over_epochs
    ),
]
