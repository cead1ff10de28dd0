"""The calls of one connection: from an envelope to whoever carries its body out, and back to a reply.

Who that is goes by the body's class: operations that read are answered from memory or by reading threads, what writes waits
for the bucket's writer, and a few questions are answered at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

from serve_app.bucket.batches import BatchWrite, only_reads
from serve_app.bucket.bucket import Bucket
from serve_app.bucket.cold_reads import ColdReads, Outcome
from serve_app.bucket.expiry import Expiry
from serve_app.bucket.feed_tail import FeedTail
from serve_app.bucket.held import Held, HeldOperations
from serve_app.bucket.judgement import Hold
from serve_app.bucket.listing import Page, page, still_expired
from serve_app.bucket.move_writes import WindowWrite
from serve_app.bucket.operation_write import OperationWrite
from serve_app.bucket.queued import CalledWrite
from serve_app.bucket.reader import Expired
from serve_app.bucket.status import status_of
from serve_app.bucket.survey import survey
from serve_app.bucket.topology_writes import AcceptLossWrite, EstablishWrite, InstallWrite
from serve_app.bucket.vote_writes import AcceptWrite, PrepareWrite
from serve_app.errors import StorageFault, StoreError, Unavailable
from serve_app.operations import OPERATIONS
from serve_app.operations.body import Answer, Body
from serve_app.storage.group import Write
from serve_app.topology import MAX_EPOCH
from serve_app.wire.messages import (
    AcceptLoss,
    Batch,
    BatchAnswered,
    Changes,
    Envelope,
    Establish,
    Inspect,
    Install,
    List,
    Refused,
    Reply,
    Survey,
    Window,
)
from serve_app.wire.refusals import refused
from serve_app.wire.voting import Accept, Prepare

T = TypeVar("T")
#: What the writer decides, by the body that asks for it.
_WRITES: dict[type[Body[Any]], type[CalledWrite]] = {
    **{operation: OperationWrite for operation in OPERATIONS if operation.writes},
    Batch: BatchWrite,
    Install: InstallWrite,
    Establish: EstablishWrite,
    AcceptLoss: AcceptLossWrite,
    Window: WindowWrite,
    Prepare: PrepareWrite,
    Accept: AcceptWrite,
}


class Outlet(Protocol):
    """The connection that replies leave by."""

    @property
    def paused(self) -> bool:
        """Whether the peer does not read, so that no more should be made for it."""

    @property
    def closing(self) -> bool:
        """Whether nothing will leave any more."""

    def send(self, reply: Reply) -> None:
        """Gather a reply. To a peer that is gone it is dropped."""

    def flush(self) -> None:
        """Hand what was gathered to the network."""


class CallsHost(Protocol):
    """What of the bucket's server is needed here."""

    bucket: Bucket
    held: HeldOperations
    expiry: Expiry
    feed: FeedTail
    max_queued_reads: int
    heard: Callable[[Inspect], None]

    def in_thread(self, work: Callable[[], T], done: Callable[[T], None]) -> None:
        """Have `work` done in a reading thread; `done` gets what it returns, on the loop."""

    def propose_loss(self, body: AcceptLoss, done: Callable[[Answer], None]) -> None:
        """Have a loss decided by others too."""


class Calls:
    """See the module. A `queued.Caller` for the writes, a `cold_reads.Client` for the reads; all of it on the loop."""

    def __init__(self, host: CallsHost, outlet: Outlet) -> None:
        self._host = host
        self._bucket = host.bucket
        self._outlet = outlet
        self.in_thread = host.in_thread
        self._cold = ColdReads(self._bucket.reader, self, host.max_queued_reads)
        #: Gathered from what arrived together, so that the writer decides and syncs it together.
        self._writes: list[Write] = []
        handlers: dict[type[Body[Any]], Callable[[Envelope, float], None]] = {
            **dict.fromkeys(OPERATIONS, self._read),
            **dict.fromkeys(_WRITES, self._write),
            Inspect: self._inspect,
            Survey: self._survey,
            Batch: self._batch,
            List: self._list,
            Changes: self._changes,
            AcceptLoss: self._accept_loss,
        }
        self._handlers = handlers

    def handle(self, envelope: Envelope, arrived_s: float) -> None:
        """Begin what a call asks for; `begin_gathered` follows when all that arrived together has been handled."""
        problem = envelope.body.problem()
        if problem:
            self._reply(envelope, Refused("invalid", problem), arrived_s)
        else:
            self._handlers[type(envelope.body)](envelope, arrived_s)

    def begin_gathered(self) -> None:
        """Hand the writes to the writer, and start the reads."""
        if self._writes:
            self._bucket.writer.submit(self._writes)
            self._writes = []
        self._cold.start()

    def stop(self) -> None:
        """There is nobody to answer any more."""
        self._cold.stop()

    # -- by what is asked --------------------------------------------------------------------------------------------

    def _read(self, envelope: Envelope, arrived_s: float) -> None:
        answer = self._bucket.reader.in_memory(envelope)
        if isinstance(answer, Hold):
            self._hold_read(envelope, arrived_s)
        elif isinstance(answer, Expired):
            self._read_once_deleted(envelope, arrived_s)
        elif answer is not None:
            self._reply(envelope, answer, arrived_s)
        elif not self._cold.add(envelope, arrived_s):
            self._reply(envelope, Refused("busy", "the connection's queue of reads is full"), arrived_s)

    def _write(self, envelope: Envelope, arrived_s: float) -> None:
        deadline_s = envelope.deadline_s(arrived_s)
        write = _WRITES[type(envelope.body)](self._bucket.state, envelope, self, deadline_s, arrived_s)
        try:
            self._bucket.writer.reserve(write)
        except Unavailable as error:
            self._reply(envelope, refused(error), arrived_s)
            return
        self._writes.append(write)

    def _inspect(self, envelope: Envelope, arrived_s: float) -> None:
        bucket = self._bucket
        self._host.heard(envelope.body)
        if bucket.heard_epoch < envelope.epoch <= MAX_EPOCH:
            bucket.heard_epoch = envelope.epoch
        self._reply(envelope, status_of(bucket), arrived_s)

    def _batch(self, envelope: Envelope, arrived_s: float) -> None:
        if not only_reads(envelope.body):
            self._write(envelope, arrived_s)
            return
        at_once = self._bucket.reader.batch_in_memory(envelope, arrived_s)
        if at_once is not None:
            self._reply(envelope, BatchAnswered(at_once), arrived_s)
            return

        def done(answers: list[Answer | Hold | Expired]) -> None:
            if self._outlet.closing:
                return
            kinds = set(map(type, answers))
            expired = [
                each.key for each, answer in zip(envelope.body.operations, answers, strict=True)
                if isinstance(answer, Expired)
            ] if Expired in kinds else []  # fmt: skip
            if Hold in kinds:
                # Looked at anew: what it would wait for may have come while the thread read.
                if self._bucket.reader.in_window(envelope.body.operations):
                    self._hold(envelope, arrived_s, lambda: self._batch(envelope, arrived_s))
                else:
                    self._batch(envelope, arrived_s)
            elif expired:
                self._once_deleted_here(envelope, arrived_s, expired, lambda: self._batch(envelope, arrived_s))
            else:
                answered = BatchAnswered(cast("list[Answer]", answers))
                self._reply(envelope, answered, arrived_s)
                self.flush()

        self.in_thread(lambda: self._bucket.reader.batch(envelope, arrived_s), done)

    def _list(self, envelope: Envelope, arrived_s: float) -> None:
        bucket = self._bucket

        def done(found: Page) -> None:
            if not found.expired:
                answer(found)
                return
            self._once_deleted(
                envelope, arrived_s, found.expired, lambda: self.in_thread(lambda: check(found), checked)
            )

        def check(found: Page) -> tuple[Page, bool]:
            try:
                return found, still_expired(bucket, found)
            except StorageFault as error:
                bucket.note_error(error)
                return Page(refused(error), []), False

        def checked(outcome: tuple[Page, bool]) -> None:
            found, again = outcome
            # What is just being moved is not deleted here: its new home does that. Nothing is where the clock was set back.
            answer(Page(Refused("busy", "expired keys are just being moved"), []) if again else found)

        def answer(found: Page) -> None:
            self._reply(envelope, found.answer, arrived_s)
            self.flush()

        self.in_thread(lambda: page(bucket, envelope.body, envelope.epoch), done)

    def _changes(self, envelope: Envelope, arrived_s: float) -> None:
        tail, asked = self._host.feed, envelope.body
        if self._bucket.standing.fault:
            self._reply(envelope, Refused("fault", self._bucket.standing.fault), arrived_s)
            return

        def done(answer: Answer) -> None:
            self._reply(envelope, answer, arrived_s)
            self.flush()

        def again() -> None:
            if not self._outlet.closing:
                found = tail.recent(asked)
                if found is None:
                    self._reply(envelope, Refused("busy", "many changes came at once"), arrived_s)
                else:
                    self._reply(envelope, found, arrived_s)
                self.flush()

        found = tail.recent(asked)
        if found is None:
            upto = tail.upto
            self.in_thread(lambda: tail.read(asked, upto), done)
        elif found.changes or found.upto > asked.after or not asked.wait_ms:
            self._reply(envelope, found, arrived_s)
        elif not tail.wait(asked, again):
            self._reply(envelope, Refused("busy", "many wait for changes already"), arrived_s)

    def _accept_loss(self, envelope: Envelope, arrived_s: float) -> None:
        topology = self._bucket.standing.topology
        if topology is None or topology.majority == 1:
            self._write(envelope, arrived_s)
            return

        def done(answer: Answer) -> None:
            self._reply(envelope, answer, arrived_s)
            self.flush()

        self._host.propose_loss(envelope.body, done)

    def _survey(self, envelope: Envelope, arrived_s: float) -> None:
        def done(answer: Answer) -> None:
            self._reply(envelope, answer, arrived_s)
            self.flush()

        give_up_s = envelope.deadline_s(arrived_s)
        self.in_thread(lambda: survey(self._bucket, envelope.body.start, give_up_s), done)

    # -- what comes of it --------------------------------------------------------------------------------------------

    def _reply(self, envelope: Envelope, answer: Answer, arrived_s: float) -> None:
        """Gather the reply, and count it."""
        stats = self._bucket.stats
        latency = stats.latency_s.get(envelope.body.name)
        if latency is not None:
            latency.observe(self._bucket.clock() - arrived_s)
        if isinstance(answer, Refused):
            stats.count_refusal(answer.reason)
        self._outlet.send(Reply(envelope.call, answer))

    def answer(self, write: CalledWrite) -> None:
        """Answer a write whose group is synced."""
        assert write.answer is not None, "a decided write has its answer"
        self._reply(write.envelope, write.answer, write.arrived_s)

    def flush(self) -> None:
        """Hand the replies to the network."""
        self._outlet.flush()

    @property
    def paused(self) -> bool:
        return self._outlet.paused

    def reads_done(self, outcomes: list[Outcome]) -> None:
        """Answer the reads of a batch."""
        for (envelope, arrived_s), outcome in outcomes:
            if isinstance(outcome, Answer):
                self._reply(envelope, outcome, arrived_s)
            elif self._outlet.closing:
                pass
            elif isinstance(outcome, Expired):
                self._read_once_deleted(envelope, arrived_s)  # not read again before: memory may not know of it
            else:
                # Judged anew: what it would wait for may have come while others of its batch were read.
                self._read(envelope, arrived_s)
        self.flush()  # before more are read, for it may find that the peer does not read

    def _read_once_deleted(self, envelope: Envelope, arrived_s: float) -> None:
        """It found a record that has expired."""

        def again() -> None:
            self._read(envelope, arrived_s)
            self._cold.start()

        self._once_deleted_here(envelope, arrived_s, [envelope.body.key], again)

    def _once_deleted_here(
        self, envelope: Envelope, arrived_s: float, keys: list[bytes], again: Callable[[], None]
    ) -> None:
        """As `_once_deleted`, but while their window moves nothing is deleted from it: its new home does that."""
        cursor = self._bucket.standing.cursor
        if cursor is None or not any(map(cursor.in_window, keys)):
            self._once_deleted(envelope, arrived_s, keys, again)
            return

        def moved() -> None:
            again()
            self.flush()

        self._hold(envelope, arrived_s, moved)

    def _once_deleted(self, envelope: Envelope, arrived_s: float, keys: list[bytes], again: Callable[[], None]) -> None:
        """Have expired records deleted, and then go on."""

        def then(error: StoreError | None) -> None:
            if error is not None:
                self._reply(envelope, refused(error), arrived_s)
            elif self._bucket.clock() >= envelope.deadline_s(arrived_s):
                self._reply(
                    envelope, Refused("expired", "the deadline passed before the bucket could answer"), arrived_s
                )
            elif not self._outlet.closing:
                again()
            self.flush()

        self._host.expiry.delete_now(keys, then)

    # -- operations on keys that are just being moved ----------------------------------------------------------------

    def _hold_read(self, envelope: Envelope, arrived_s: float) -> None:
        def again() -> None:
            self._read(envelope, arrived_s)
            self._cold.start()
            self.flush()

        self._hold(envelope, arrived_s, again)

    def _hold(self, envelope: Envelope, arrived_s: float, again: Callable[[], None]) -> None:
        """Keep what only reads until it may be judged again."""

        def judge_again() -> None:
            if not self._outlet.closing:
                again()

        def refuse(reason: str, detail: str) -> None:
            self._reply(envelope, Refused(reason, detail), arrived_s)
            self.flush()

        size = envelope.body.payload_bytes if isinstance(envelope.body, Batch) else len(envelope.body.key)
        self._host.held.add(Held(self, envelope.deadline_s(arrived_s), size, judge_again, refuse))

    def hold(self, write: CalledWrite) -> None:
        """Keep a write that the writer would not decide now, until it may be decided again."""

        def again() -> None:
            write.held = False
            self._bucket.writer.reserve_own(write)
            self._bucket.writer.submit([write])

        def refuse(reason: str, detail: str) -> None:
            write.answer = Refused(reason, detail)
            self.answer(write)
            self.flush()

        self._host.held.add(Held(self, write.deadline_s, write.size_bytes, again, refuse))
