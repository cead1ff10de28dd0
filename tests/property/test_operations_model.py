"""All operations against a dict: hypothesis drives groups and batches of them on a clock that goes to and fro, repeats
requests, has the bucket delete what is due, and restarts it.

The model says what each answer is to the last number. A record whose time has come is there until somebody looks at it: a
clock that is set back before that shows it again, and after that nothing does.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from typing import Any, NamedTuple, cast

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from serve_app import outcomes, records
from serve_app.bucket.batches import BatchWrite
from serve_app.bucket.expire_write import ExpireWrite
from serve_app.bucket.platform import Platform
from serve_app.bucket.reader import EXPIRED, Reader
from serve_app.bucket.standing import Served
from serve_app.changes import DELETE, EXPIRE, PUT, Change
from serve_app.operations import (
    Counted,
    CountedDecimal,
    Delete,
    Deleted,
    Described,
    Expire,
    Get,
    Head,
    Increment,
    IncrementDecimal,
    Missing,
    NotMet,
    Operation,
    Put,
    Sized,
    Splice,
    Swap,
    Swapped,
    Touch,
    Touched,
    Value,
    Written,
)
from serve_app.operations.condition import ANY, Condition
from serve_app.operations.expire import (
    ANY_EXPIRY,
    WHERE_EARLIER,
    WHERE_EXPIRING,
    WHERE_EXPIRING_LATER,
    WHERE_LATER,
    WHERE_NEVER,
)
from serve_app.operations.increment import CONTENT_TYPE, HIGHEST, LOWEST
from serve_app.operations.splice import END
from serve_app.operations.swap import ALWAYS, WHERE_THERE
from serve_app.outcomes import OUTCOMES_KEPT_MS
from serve_app.storage import due
from serve_app.storage.due import Due
from serve_app.storage.facts import Totals, read_bucket_facts
from serve_app.storage.feed import read_changes
from serve_app.wire.messages import Batch, Envelope, Refused
from tests.support.clock import Clock
from tests.support.commits import Commits, NoCaller
from tests.support.memory_engine import new_bucket_engine

KEYS = st.sampled_from([b"a", b"b", b"\0", "ключ".encode()])
VALUES = st.sampled_from([b"", b"7", b"-3", b"%d" % HIGHEST, b"text", b"\xff\x00", b"007"])
#: To a record's times, and beyond how long outcomes are kept.
STEPS = st.sampled_from([1, 5, 10, 100, -1, -5, -10, -100, OUTCOMES_KEPT_MS, -OUTCOMES_KEPT_MS])
#: What a condition asks of the revision: as it is (0), or of another one.
CONDITIONS = st.sampled_from(["", "", "", "create", "any", "same", "other"])
TTLS = st.sampled_from([0, 0, 1, 5, 10, 100])
NAMES = st.sampled_from([b"", b"", b"", b"x", b"y"])


_INTEGER = re.compile(rb"0|-?[1-9][0-9]*")


class Known(NamedTuple):
    """A record, as the model has it."""

    value: bytes
    content_type: str
    revision: int
    created_ms: int
    modified_ms: int
    expires_ms: int


class Asked(NamedTuple):
    """What is drawn of an operation: what it is in the end depends on what there is."""

    kind: str
    key: bytes
    value: bytes
    condition: str
    ttl_ms: int
    at: bool
    by: int
    name: bytes
    #: Of those for the Redis protocol: where to write, the sum, which records are meant, and whether the value is told.
    place: int
    decimal: bytes
    only: int
    tells: bool


OPERATIONS = st.builds(
    Asked,
    st.sampled_from(
        [
            "get",
            "head",
            "put",
            "put",
            "increment",
            "increment",
            "touch",
            "delete",
            "splice",
            "swap",
            "expire",
            "decimal",
        ]
    ),
    KEYS,
    VALUES,
    CONDITIONS,
    TTLS,
    st.booleans(),
    st.sampled_from([1, -1, 40, HIGHEST, LOWEST]),
    NAMES,
    st.sampled_from([END, END, 0, 2, 9, 14]),
    st.sampled_from([b"1", b"-0.5", b"1e1", b"+.125", b"-3"]),
    st.integers(0, 5),
    st.booleans(),
)
#: What a value may be long after a splice.
MOST_BYTES = 24


class Refusal(NamedTuple):
    """A `Refused`, whatever it says to people."""

    reason: str


class Model:
    """A dict, and the rules."""

    def __init__(self) -> None:
        self.records: dict[bytes, Known] = {}
        #: By name: until when, what was asked, and the answer.
        self.outcomes: dict[bytes, tuple[int, Operation[Any], Any]] = {}
        self.changes: list[Change] = []
        self.revision = 0
        self.now_ms = 0

    def look(self, key: bytes) -> Known | None:
        """What somebody finds who looks."""
        known = self.records.get(key)
        if known is not None and 0 < known.expires_ms <= self.now_ms:
            del self.records[key]
            self._tell(EXPIRE, key)
            return None
        return known

    def expire_due(self) -> None:
        for key in sorted(self.records, key=lambda key: (self.records[key].expires_ms, key)):
            self.look(key)
        self.outcomes = {name: each for name, each in self.outcomes.items() if each[0] > self.now_ms}

    def carry_out(self, operation: Any) -> Any:
        if not operation.writes or not operation.idempotency_key:
            return self._decide(operation)
        name = outcomes.name_of(operation.key, operation.idempotency_key)
        if name in self.outcomes:
            _, asked, answer = self.outcomes[name]
            return answer if asked == operation else Refusal("key-reused")
        answer = self._decide(operation)
        self.outcomes[name] = (self.now_ms + OUTCOMES_KEPT_MS, operation, answer)
        return answer

    def _decide(self, operation: Any) -> Any:
        known = self.look(operation.key)
        if known is None and not (operation.writes and operation.creates):
            return Missing()
        failed = _not_met(operation, known)
        if failed is not None:
            return failed
        match operation:
            case Get():
                assert known is not None
                return Value(known.value, known.content_type, known.revision, known.modified_ms, known.expires_ms)
            case Head():
                assert known is not None
                size, times = len(known.value), (known.modified_ms, known.expires_ms)
                return Described(0, known.content_type, known.revision, size, *times)
            case Delete():
                assert known is not None
                del self.records[operation.key]
                value = known.value if operation.with_value else b""
                return Deleted(value, known.content_type, self._tell(DELETE, operation.key))
            case Splice() | IncrementDecimal():
                return self._changed_in_part(operation, known)
            case Expire():
                assert known is not None
                return self._expire(operation, known)
            case Swap():
                return self._swapped(operation, known)
        if 0 < operation.expires_ms <= self.now_ms and (known is None or not isinstance(operation, Increment)):
            return Refusal("invalid")
        at_ms = self.now_ms + operation.ttl_ms if operation.ttl_ms else operation.expires_ms
        match operation:
            case Touch():
                assert known is not None
                revision = self._store(operation.key, known._replace(expires_ms=at_ms))
                return Touched(at_ms, revision)
            case Put():
                born_ms = self.now_ms if known is None else known.created_ms
                new = Known(operation.value, operation.content_type, 0, born_ms, self.now_ms, at_ms)
                return Written(known is None, self._store(operation.key, new))
            case Increment():
                if known is None:
                    known = Known(b"0", CONTENT_TYPE, 0, self.now_ms, 0, at_ms)
                if not _INTEGER.fullmatch(known.value) or not LOWEST <= int(known.value) <= HIGHEST:
                    return Refusal("not-a-number")
                number = int(known.value) + operation.by
                if not LOWEST <= number <= HIGHEST:
                    return Refusal("overflow")
                new = known._replace(value=str(number).encode(), modified_ms=self.now_ms)
                return Counted(number, self._store(operation.key, new))
        raise AssertionError(operation)

    def _changed_in_part(self, operation: Splice | IncrementDecimal, known: Known | None) -> Any:
        """The rest of the record stays."""
        if isinstance(operation, Splice):
            old = known or Known(b"", operation.content_type, 0, self.now_ms, 0, 0)
            if operation.at >= 0 and not operation.value:
                return Sized(len(old.value), old.revision)
            at = operation.at if operation.at >= 0 else len(old.value)
            value = bytearray(max(len(old.value), at + len(operation.value)))
            value[: len(old.value)] = old.value
            value[at : at + len(operation.value)] = operation.value
            if len(value) > operation.max_bytes:
                return Refusal("too-large")
            new = old._replace(value=bytes(value), modified_ms=self.now_ms)
            return Sized(len(value), self._store(operation.key, new))
        old = known or Known(b"0", CONTENT_TYPE, 0, self.now_ms, 0, 0)
        try:
            total = Fraction(old.value.decode()) + Fraction(operation.by.decode())
        except ValueError:  # also of bytes that are no text
            return Refusal("not-a-decimal")
        new = old._replace(value=_decimal(total).encode(), modified_ms=self.now_ms)
        return CountedDecimal(new.value, self._store(operation.key, new))

    def _expire(self, operation: Expire, known: Known) -> Any:
        passed = 0 < operation.expires_ms <= self.now_ms
        at_ms = operation.expires_ms if passed or not operation.ttl_ms else self.now_ms + operation.ttl_ms
        before, after = known.expires_ms or math.inf, at_ms or math.inf
        meant = {
            ANY_EXPIRY: True,
            WHERE_NEVER: not known.expires_ms,
            WHERE_EXPIRING: known.expires_ms > 0,
            WHERE_EARLIER: before < after,
            WHERE_LATER: before > after,
            WHERE_EXPIRING_LATER: math.inf > before > after,
        }[operation.only]
        if not meant:
            return NotMet(known.revision, known.modified_ms, known.expires_ms)
        value = known.value if operation.with_value else b""
        if passed:
            del self.records[operation.key]
            return Deleted(value, known.content_type, self._tell(DELETE, operation.key))
        revision = self._store(operation.key, known._replace(expires_ms=at_ms))
        if operation.with_value:
            return Value(value, known.content_type, revision, known.modified_ms, at_ms)
        return Touched(at_ms, revision)

    def _swapped(self, operation: Swap, known: Known | None) -> Any:
        value = known.value if known is not None and operation.with_value else b""
        there = known is not None
        if operation.when != ALWAYS and (operation.when == WHERE_THERE) != there:
            return Swapped(False, there, value, known.revision if known is not None else 0)
        if 0 < operation.expires_ms <= self.now_ms:
            return Refusal("invalid")
        at_ms = self.now_ms + operation.ttl_ms if operation.ttl_ms else operation.expires_ms
        if known is not None and operation.keep_expiry:
            at_ms = known.expires_ms
        born_ms = self.now_ms if known is None else known.created_ms
        new = Known(operation.value, operation.content_type, 0, born_ms, self.now_ms, at_ms)
        return Swapped(True, there, value, self._store(operation.key, new))

    def _store(self, key: bytes, known: Known) -> int:
        revision = self._tell(PUT, key)
        self.records[key] = known._replace(revision=revision)
        return revision

    def _tell(self, kind: int, key: bytes) -> int:
        self.revision += 1
        self.changes.append(Change(kind, key, self.revision))
        return self.revision


def _decimal(number: Fraction) -> str:
    """As text, with 17 digits behind the point at most."""
    digits = round(number * 10**17)
    whole, rest = divmod(abs(digits), 10**17)
    return f"{'-' if digits < 0 else ''}{whole}.{rest:017}".rstrip("0").rstrip(".")


def _not_met(operation: Any, known: Known | None) -> NotMet | None:
    condition = operation.condition
    if condition is None:
        return None
    if known is None:
        return NotMet(0) if condition.if_match is not None else None
    same = known.revision in (tags := condition.if_match or condition.if_none_match) or ANY in tags
    if same == (condition.if_match is not None):
        return None
    unchanged = condition.if_match is None and not operation.writes
    return NotMet(known.revision, known.modified_ms, known.expires_ms, unchanged)


class OperationsMachine(RuleBasedStateMachine):
    """A bucket's writer and reader, without its threads and its sockets. It is a `ReadBucket`."""

    bucket_id = 0

    @initialize()
    def begin(self) -> None:
        self.model = Model()
        self.day = Clock()
        self.engine = new_bucket_engine(0)
        self.begun = True
        #: Written requests that were named, to be sent again.
        self.named: list[Operation[Any]] = []
        self._open(Totals(0, 0, 0))

    def _open(self, totals: Totals) -> None:
        self.commits = Commits(self.engine, totals, platform=Platform(now_ms=self.day), keep=100_000)
        self.reader = Reader(cast(Any, self))

    # -- `ReadBucket` --------------------------------------------------------------------------------------------------

    @property
    def served(self) -> Served:
        return Served(self.commits.state.standing)

    def clock(self) -> float:
        return 0.0

    def now_ms(self) -> int:
        return self.day.now_ms

    def note_error(self, error: Exception) -> None:
        raise error

    # -- rules ---------------------------------------------------------------------------------------------------------

    @rule(group=st.lists(OPERATIONS, min_size=1, max_size=8))
    def one_after_the_other_in_one_group(self, group: list[Asked]) -> None:
        """Reads come by the reading threads, between groups."""
        operations = [self._made(each) for each in group]
        writes = [operation for operation in operations if operation.writes]
        expected = self._expected(writes)
        answers = self.commits.run(*(self.commits.write(cast(Any, each)) for each in writes)) if writes else []
        assert [_plain(answer) for answer in answers] == expected
        for operation in operations:
            if not operation.writes:
                self._read(operation)

    @rule(batch=st.lists(OPERATIONS, min_size=1, max_size=8))
    def in_one_batch(self, batch: list[Asked]) -> None:
        operations = [self._made(each) for each in batch]
        expected = self._expected(operations)
        envelope = Envelope(1, 1000, 0, Batch(operations))
        (answered,) = self.commits.run(BatchWrite(self.commits.state, envelope, NoCaller(), math.inf, 0.0))
        assert [_plain(answer) for answer in answered.answers] == expected

    @precondition(lambda self: self.named)
    @rule(data=st.data())
    def a_request_comes_again(self, data: st.DataObject) -> None:
        operation = data.draw(st.sampled_from(self.named))
        expected = self._expected([operation])
        assert [_plain(answer) for answer in self.commits.run(self.commits.write(cast(Any, operation)))] == expected

    @rule(by_ms=STEPS)
    def the_clock_is_set(self, by_ms: int) -> None:
        self.day.advance(by_ms)

    @rule()
    def what_is_due_is_deleted(self) -> None:
        self.model.now_ms = self.day.now_ms
        self.model.expire_due()
        names = self.engine.scan_facts(*due.bounds(0, self.day.now_ms))
        self._expire([due.parse(name) for name, _ in names])

    @rule()
    def it_restarts(self) -> None:
        self.engine = self.engine.crash()
        self._open(read_bucket_facts(self.engine.get_fact, "here").totals)

    # -- what holds ----------------------------------------------------------------------------------------------------

    @invariant()
    def the_disk_holds_the_model(self) -> None:
        if not hasattr(self, "begun"):
            return
        model, engine = self.model, self.engine
        stored = {key: Known(*records.decode(raw)) for key, raw in engine.scan()}
        assert stored == model.records
        sizes = sum(len(key) + len(raw) for key, raw in engine.scan())
        totals = read_bucket_facts(engine.get_fact, "here").totals
        sequence = self.commits.committer.totals.sequence
        assert totals == Totals(len(stored), sizes, model.revision, sequence, len(model.outcomes))
        assert totals == self.commits.committer.totals
        index = [due.parse(name) for name, _ in engine.scan_facts(*due.bounds(0, 1 << 62))]
        assert index == sorted(
            [
                *(Due(known.expires_ms, due.RECORD, key) for key, known in stored.items() if known.expires_ms),
                *(Due(at_ms, due.OUTCOME, name) for name, (at_ms, _, _) in model.outcomes.items()),
            ]
        )
        kept = {name: outcomes.decode(raw).due_ms for name, raw in engine.scan_facts(*outcomes.bounds(b"", None))}
        assert kept == {name: at_ms for name, (at_ms, _, _) in model.outcomes.items()}
        told = [change for changes in read_changes(engine, 0) for change in changes]
        assert told == model.changes
        assert [change.revision for change in told] == sorted({change.revision for change in told}), "they rise"
        assert self.commits.errors == []

    # -- steps ---------------------------------------------------------------------------------------------------------

    def _made(self, asked: Asked) -> Operation[Any]:
        known = self.model.records.get(asked.key)
        revision = 1 if known is None else known.revision
        condition = {
            "": None,
            "create": Condition(if_none_match=(ANY,)),
            "any": Condition(if_match=(ANY,)),
            "same": Condition(if_match=(revision,)),
            "other": Condition(if_match=(revision + 1, revision + 2)),
        }[asked.condition]
        if asked.kind == "get":
            return Get(asked.key, condition=condition)
        if asked.kind == "head":
            return Head(asked.key, as_json=False, condition=condition)
        more: dict[str, Any] = {"condition": condition, "idempotency_key": asked.name}
        if asked.kind != "delete" and asked.ttl_ms:
            # A time that is over is asked for too.
            more |= {"expires_ms": self.day.now_ms + asked.ttl_ms - 5} if asked.at else {"ttl_ms": asked.ttl_ms}
        made: Operation[Any]
        match asked.kind:
            case "put":
                made = Put(asked.key, asked.value, "a/b", **more)
            case "increment":
                made = Increment(asked.key, by=asked.by, **more)
            case "touch":
                made = Touch(asked.key, **more)
            case "splice":
                plain = {name: more[name] for name in ("condition", "idempotency_key")}
                made = Splice(asked.key, asked.value, "a/b", asked.place, MOST_BYTES, **plain)
            case "decimal":
                plain = {name: more[name] for name in ("condition", "idempotency_key")}
                made = IncrementDecimal(asked.key, asked.decimal, **plain)
            case "expire":
                made = Expire(asked.key, only=asked.only, with_value=asked.tells, **more)
            case "swap":
                keeps = not asked.ttl_ms and asked.at
                more |= {"keep_expiry": keeps, "when": asked.only % 3, "with_value": asked.tells}
                made = Swap(asked.key, asked.value, "a/b", **more)
            case _:
                made = Delete(asked.key, with_value=bool(asked.value), **more)
        assert made.problem() == ""
        if asked.name:
            self.named.append(made)
        return made

    def _expected(self, operations: list[Operation[Any]]) -> list[Any]:
        self.model.now_ms = self.day.now_ms
        return [self.model.carry_out(operation) for operation in operations]

    def _read(self, operation: Operation[Any]) -> None:
        envelope = Envelope(1, 1000, 0, operation)
        (expected,) = self._expected([operation])
        together = Envelope(1, 1000, 0, Batch([operation, operation]))
        if EXPIRED in (self.reader.in_memory(envelope), self.reader.on_disk(envelope, 0.0)):
            assert self.reader.batch_in_memory(together, 0.0) is None
            self._expire([Due(0, due.RECORD, operation.key)])
        assert self.reader.in_memory(envelope) == expected
        assert self.reader.on_disk(envelope, 0.0) == expected
        assert self.reader.batch_in_memory(together, 0.0) == self.reader.batch(together, 0.0) == [expected] * 2

    def _expire(self, dues: list[Due]) -> None:
        self.commits.commit(ExpireWrite(self.commits.state, cast(Any, None), dues))


def _plain(answer: Any) -> Any:
    return Refusal(answer.reason) if isinstance(answer, Refused) else answer


def test_a_bucket_answers_all_operations_as_a_dict_would() -> None:
    # To explain a failure takes minutes and a gigabyte.
    phases = [phase for phase in Phase if phase is not Phase.explain]
    rules = settings(max_examples=300, stateful_step_count=30, deadline=None, phases=phases, report_multiple_bugs=False)
    run_state_machine_as_test(OperationsMachine, settings=rules)
