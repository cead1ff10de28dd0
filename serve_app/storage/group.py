"""A group: writes that are decided one after the other and made durable together, with one sync."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from serve_app import outcomes
from serve_app.changes import TAKEN, Change
from serve_app.errors import StorageFault, StoreError
from serve_app.outcomes import Outcome
from serve_app.records import expires_ms
from serve_app.storage import due
from serve_app.storage.commit import Commit
from serve_app.storage.engine import Engine
from serve_app.storage.facts import OF_BUCKET, OF_STORAGE, Totals, totals_fact
from serve_app.storage.feed import FeedLog

# What a group reads ahead is bounded: this many records in one call, and records larger than `_KEPT_RECORD_BYTES` are not
# kept but read again when their turn comes.
_READ_AHEAD_KEYS = 64
_READ_AHEAD_BYTES = 8 * 1024 * 1024
_KEPT_RECORD_BYTES = 64 * 1024


class Write(Protocol):
    """Something that the writer decides and that is answered after the group's sync. It may change nothing."""

    #: The records it will look at, so that a group's records are read in one call.
    keys: Sequence[bytes]
    #: What it adds to the queue and to a group.
    size_bytes: int
    #: When its client stops waiting, on the clock given to the committer (seconds).
    deadline_s: float
    #: Whether it needs new space (a put does, a delete does not).
    needs_space: bool

    def decide(self, group: Group) -> None:
        """Read and change the group's state and remember the answer. A `StoreError` raised here refuses this write alone."""

    def refuse(self, error: StoreError) -> None:
        """It changed nothing, for this reason."""

    def leave_unknown(self, error: StorageFault) -> None:
        """Its group met damage while it was written: it may or may not have happened."""

    def expire(self) -> None:
        """Its deadline passed before it was decided: it changed nothing, and nobody waits for the answer."""


class Group:
    """The state as one group sees it: the engine's, with the group's own changes on top.

    What belongs to a record or an outcome, in the counts and in the index of what is due, is changed with it here.
    """

    def __init__(self, engine: Engine, totals: Totals, feed: FeedLog) -> None:
        """totals: as of the group before, which is durable."""
        self._engine = engine
        self._before = totals
        self._feed = feed
        #: The writes that were taken and decided.
        self.writes: list[Write] = []
        self._records: dict[bytes, bytes | None] = {}
        self._changed: dict[bytes, bytes | None] = {}
        self._facts: dict[bytes, bytes | None] = {}
        self._storage_facts: dict[bytes, bytes | None] = {}
        self._changes: list[Change] = []
        self.keys, self.bytes, self.revision, self.sequence, self.outcomes = totals
        #: Whether the disk has less than its reserve left.
        self.lacks_space = False
        #: Bytes held by the answers so far: a delete answers with what it deleted.
        self.answer_bytes = 0

    # -- records -----------------------------------------------------------------------------------------------------

    def read_ahead(self, keys: Sequence[bytes]) -> None:
        """Load what the writes will look at, with as few calls to the engine as the bounds allow.

        Raises:
            StorageDamaged: one of the records can't be read; the rest may not be loaded then.
        """
        average = self.bytes // self.keys if self.keys else 0
        at_once = max(1, min(_READ_AHEAD_KEYS, _READ_AHEAD_BYTES // (average + 1)))
        for start in range(0, len(keys), at_once):
            some = keys[start : start + at_once]
            for key, raw in zip(some, self._engine.get_many(some), strict=True):
                if raw is None or len(raw) <= _KEPT_RECORD_BYTES:
                    self._records[key] = raw

    def get(self, key: bytes) -> bytes | None:
        """A stored record's bytes with the group's changes, or None. Raises StorageDamaged."""
        return self._records[key] if key in self._records else self._engine.get(key)

    def put(self, key: bytes, raw: bytes) -> None:
        """Store a record. Raises StorageDamaged where the one that it replaces can't be read; nothing is changed then."""
        self._replace(key, raw, self.get(key))

    def put_all(self, records: Mapping[bytes, bytes]) -> None:
        """Store all of these or, where one that they replace can't be read, none.

        Raises:
            StorageDamaged: nothing was changed.
        """
        self.read_ahead(list(records))
        replaced = [self.get(key) for key in records]
        for (key, raw), old in zip(records.items(), replaced, strict=True):
            self._replace(key, raw, old)

    def _replace(self, key: bytes, raw: bytes, old: bytes | None) -> None:
        if old is None:
            self.keys += 1
            self.bytes += len(key) + len(raw)
        else:
            self.bytes += len(raw) - len(old)
            self._expire_no_more(key, old)
        at_ms = expires_ms(raw)
        if at_ms:
            self._facts[due.due_name(at_ms, due.RECORD, key)] = b""
        self._change(key, raw)

    def delete(self, key: bytes) -> None:
        """Remove a record that `get` found. Raises as `put`."""
        old = self.get(key)
        assert old is not None, "only a record that is there is deleted"
        self._remove(key, old)

    def drop(self, key: bytes, raw: bytes) -> None:
        """Remove a record that is known to be there as it is: nothing is read, so nothing fails."""
        assert key not in self._changed, "nobody else changes it in this group"
        self._remove(key, raw)

    def _remove(self, key: bytes, old: bytes) -> None:
        self.keys -= 1
        self.bytes -= len(key) + len(old)
        self._expire_no_more(key, old)
        self._change(key, None)

    def _expire_no_more(self, key: bytes, old: bytes) -> None:
        at_ms = expires_ms(old)
        if at_ms:
            self._facts[due.due_name(at_ms, due.RECORD, key)] = None

    def _change(self, key: bytes, raw: bytes | None) -> None:
        self._changed.pop(key, None)  # so that they are in the order of their last changes, and revisions rise
        self._records[key] = self._changed[key] = raw

    def next_revision(self) -> int:
        """A revision that this bucket has never given before."""
        self.revision += 1
        return self.revision

    def tell(self, kind: int, key: bytes, revision: int) -> None:
        """Have watches told of a change. What a move changes in the records is none."""
        self._changes.append(Change(kind, key, revision))

    def tell_taken(self, source: int, tag: str, reached: int) -> None:
        """Have watches told that a window of another bucket's keys is here from now on (`changes.Change`)."""
        self._changes.append(Change(TAKEN, tag.encode(), self.next_revision(), source, reached))

    def begin_feed(self, *, joining: bool) -> None:
        """What was before is told no more: the bucket joins the store, and had no keys; or else it goes on for a storage that
        is lost, whose changes nobody knows. Raises StorageDamaged."""
        # Its part begins with a revision of its own, which tells it from all that it had before (`Change.reached`).
        before = self.revision
        self._facts.update(self._feed.begin_after(before, self.next_revision() if joining else 0))

    # -- facts -------------------------------------------------------------------------------------------------------

    def set_fact(self, name: bytes, value: bytes) -> None:
        """Change one of the bucket's facts in the same batch."""
        assert name.startswith(OF_BUCKET), "facts of the storage are no part of what the bucket does"
        self._facts[name] = value

    def set_storage_fact(self, name: bytes, value: bytes | None) -> None:
        """Change one of the storage's own facts in the same batch. It is no part of the commit: it says nothing of the
        bucket."""
        assert name.startswith(OF_STORAGE), "facts of the bucket are part of its commit"
        self._storage_facts[name] = value

    def _fact(self, name: bytes) -> bytes | None:
        return self._facts[name] if name in self._facts else self._engine.get_fact(name)

    def outcome(self, name: bytes) -> Outcome | None:
        """What is remembered under the name of an outcome. Raises StorageDamaged."""
        raw = self._fact(name)
        return None if raw is None else outcomes.decode(raw)

    def keep_outcome(self, name: bytes, outcome: Outcome) -> None:
        """Remember an outcome that is not there yet."""
        self.outcomes += 1
        self._facts[name] = outcomes.encode(outcome)
        self._facts[due.due_name(outcome.due_ms, due.OUTCOME, name)] = b""

    def drop_outcome(self, name: bytes, outcome: Outcome) -> None:
        """Forget an outcome that is known to be there as it is: nothing is read, so nothing fails."""
        self.outcomes -= 1
        self._facts[name] = None
        self._facts[due.due_name(outcome.due_ms, due.OUTCOME, name)] = None

    @property
    def totals(self) -> Totals:
        """As of the writes decided so far."""
        return Totals(self.keys, self.bytes, self.revision, self.sequence, self.outcomes)

    def write(self) -> Commit | None:
        """Make the group's changes durable: what they are, or None where nothing of the bucket has changed.

        Raises:
            EngineFailed, StorageDamaged: see `Engine.write`.
        """
        commit = self._commit()
        own = tuple(self._storage_facts.items())
        if commit is not None:
            self._engine.write(commit.records, commit.facts + own)
        elif own:
            self._engine.write((), own)
        return commit

    def _commit(self) -> Commit | None:
        if not self._changed and not self._facts and self.totals == self._before:
            return None
        self.sequence = self._before.sequence + 1
        self.set_fact(*totals_fact(self.totals))
        if self._changes:
            self._facts.update(self._feed.append(self._changes))
        return Commit(
            self.sequence, tuple(self._changed.items()), tuple(self._facts.items()), tuple(self._changes), self.revision
        )
