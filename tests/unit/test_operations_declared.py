"""What the operations declare, which the rest of the store goes by: a new one is checked here without a test of its own."""

from __future__ import annotations

from collections import Counter
from typing import Any, get_args, get_type_hints

import msgspec
import pytest

from serve_app.bucket.calls import _WRITES
from serve_app.operations import (
    ANSWERS,
    OPERATIONS,
    Answer,
    Body,
    Delete,
    Get,
    Operation,
    Put,
    ReadOperation,
    Value,
    WriteOperation,
)
from serve_app.operations.body import answer_types
from serve_app.record_bounds import MAX_CONTENT_TYPE_BYTES, MAX_KEY_BYTES
from serve_app.wire.messages import INTERNAL, Envelope, Moved, Refused, Reply
from tests.support.wire_messages import BODIES, EVERY_ANSWER

EVERY_BODY = pytest.mark.parametrize("body", BODIES)
EVERY_OPERATION = pytest.mark.parametrize("operation", OPERATIONS)


def tag_of(kind: type[msgspec.Struct]) -> int:
    tag = kind.__struct_config__.tag
    assert isinstance(tag, int), f"{kind.__name__} has no number of its own"
    return tag


def asked_for(operation: type[Operation[Any]], key: bytes) -> Operation[Any]:
    """The operation on a key, its other fields empty."""
    empty = [field.type() for field in msgspec.structs.fields(operation) if field.name != "key" and field.required]
    return operation(key, *empty)


def test_what_may_be_sent_is_what_is_declared() -> None:
    assert get_args(get_type_hints(Envelope)["body"]) == BODIES == (*OPERATIONS, *INTERNAL)
    sent = get_args(get_type_hints(Reply)["answer"])
    assert Counter(sent) == Counter(EVERY_ANSWER)
    assert {*ANSWERS, Moved, Refused} <= {*sent}


def test_tags_and_names_are_one_bodys_alone() -> None:
    assert len({tag_of(body) for body in BODIES}) == len(BODIES)
    assert len({body.name for body in BODIES}) == len(BODIES)
    assert len({tag_of(answer) for answer in EVERY_ANSWER}) == len(EVERY_ANSWER)


def test_tags_are_what_earlier_releases_know_them_by() -> None:
    """Never given to another class, and never changed: they are on the wire between releases. Add to this list."""
    bodies = {tag_of(body): body.__name__ for body in BODIES}
    assert bodies == {
        1: "Get",
        2: "Put",
        3: "Delete",
        4: "Inspect",
        5: "Install",
        6: "Establish",
        7: "Window",
        8: "AcceptLoss",
        9: "Survey",
        10: "Head",
        11: "Touch",
        12: "Increment",
        13: "Batch",
        14: "List",
        15: "Changes",
        20: "Swap",
        21: "Splice",
        22: "IncrementDecimal",
        23: "Expire",
        30: "Prepare",
        31: "Accept",
    }
    answers = {tag_of(answer): answer.__name__ for answer in EVERY_ANSWER}
    assert answers == {
        1: "Value",
        2: "Missing",
        3: "Written",
        4: "Deleted",
        5: "Moved",
        6: "Refused",
        7: "Status",
        8: "WindowWritten",
        9: "Surveyed",
        10: "Described",
        11: "NotMet",
        12: "Touched",
        13: "Counted",
        14: "BatchAnswered",
        15: "Listed",
        16: "Changed",
        20: "Swapped",
        21: "Sized",
        22: "CountedDecimal",
        30: "Promised",
        31: "Accepted",
        32: "Outvoted",
    }


@EVERY_BODY
def test_a_body_has_a_name_and_names_its_answers(body: type[Body[Any]]) -> None:
    assert body.name
    assert body.name == body.name.lower()
    assert not set(body.name) & set(" \n_"), "one word, in metrics too"
    kinds = answer_types(body)
    assert kinds
    assert len(set(kinds)) == len(kinds)
    assert all(issubclass(kind, Answer) for kind in kinds)
    assert not {Moved, Refused} & {*kinds}, "those are answers to anything"


@pytest.mark.parametrize("kind", [*BODIES, *EVERY_ANSWER])
def test_no_default_is_shared_and_fields_without_come_first(kind: type[msgspec.Struct]) -> None:
    assert kind.__struct_config__.array_like
    fields = msgspec.structs.fields(kind)
    for field in fields:
        if field.default_factory is not msgspec.NODEFAULT:
            assert field.default_factory is list, "each gets one of its own"
        elif not field.required:
            hash(field.default)  # what has a hash does not change
    assert [field.required for field in fields] == sorted((field.required for field in fields), reverse=True)


#: The fields of each body and answer, in order, as releases that are out there know them. Only ever added to, at the end.
FIELDS = {
    "Get": "key condition",
    "Head": "key as_json condition",
    "Put": "key value content_type ttl_ms expires_ms created_ms modified_ms condition idempotency_key remember_ms",
    "Delete": "key with_value text_only condition idempotency_key remember_ms",
    "Touch": "key ttl_ms expires_ms condition idempotency_key remember_ms",
    "Increment": "key by ttl_ms expires_ms condition idempotency_key remember_ms",
    "IncrementDecimal": "key by condition idempotency_key remember_ms",
    "Splice": "key value content_type at max_bytes condition idempotency_key remember_ms",
    "Swap": "key value content_type ttl_ms expires_ms keep_expiry when with_value condition idempotency_key remember_ms",
    "Expire": "key ttl_ms expires_ms only with_value condition idempotency_key remember_ms",
    "Window": "source end revision records outcomes",
    "Batch": "operations",
    "List": "start_after prefix delimiter limit values taken",
    "Changes": "after wait_ms",
    "Value": "value content_type revision modified_ms expires_ms",
    "Written": "created revision",
    "Deleted": "value content_type revision",
    "Described": "json_bytes content_type revision size modified_ms expires_ms",
    "NotMet": "revision modified_ms expires_ms unchanged",
    "Touched": "expires_ms revision",
    "Counted": "value revision",
    "CountedDecimal": "value revision",
    "Sized": "size revision",
    "Swapped": "stored existed value revision",
    "BatchAnswered": "answers",
    "Listed": "entries prefixes upto",
    "Changed": "changes since upto identity began",
}


@pytest.mark.parametrize("kind", [kind for kind in (*BODIES, *EVERY_ANSWER) if kind.__name__ in FIELDS])
def test_fields_are_where_earlier_releases_look_for_them(kind: type[msgspec.Struct]) -> None:
    """What all writes have (`kw_only`) stands behind what each has: a field that is added to one would come before them."""
    fields = [field.name for field in msgspec.structs.fields(kind)]
    known = FIELDS[kind.__name__].split()
    assert fields[: len(known)] == known


def test_a_class_that_names_no_answer_is_told_so() -> None:
    class Silent(Body):  # type: ignore[type-arg]
        pass

    with pytest.raises(TypeError, match="Silent names no answer"):
        answer_types(Silent)


@EVERY_OPERATION
def test_an_operation_reads_or_writes(operation: type[Operation[Any]]) -> None:
    assert issubclass(operation, ReadOperation) != issubclass(operation, WriteOperation)
    assert operation.writes == issubclass(operation, WriteOperation)
    assert (operation in _WRITES) == operation.writes
    assert operation.writes or not operation.needs_space
    assert {*answer_types(operation)} <= {*ANSWERS}
    assert msgspec.structs.fields(operation)[0].name == "key"


def test_what_a_full_disk_refuses() -> None:
    writes = {"put", "touch", "increment", "increment-decimal", "splice", "swap", "expire"}
    assert {body.name for body in BODIES if body.needs_space} == writes, (
        "a window's and a batch's depend on what is in it"
    )


@EVERY_OPERATION
def test_a_key_has_to_have_a_length_that_the_store_takes(operation: type[Operation[Any]]) -> None:
    for key in (b"k", b"k" * MAX_KEY_BYTES, b"\0", b"\xff"):
        assert asked_for(operation, key).problem() == ""
    for key in (b"", b"k" * (MAX_KEY_BYTES + 1)):
        assert asked_for(operation, key).problem() == "a key has 1 to 1024 bytes"


def test_a_content_type_is_counted_in_bytes() -> None:
    assert Put(b"k", b"v", "x" * MAX_CONTENT_TYPE_BYTES).problem() == ""
    for long in ("x" * (MAX_CONTENT_TYPE_BYTES + 1), "é" * (MAX_CONTENT_TYPE_BYTES // 2 + 1)):
        assert "content type" in Put(b"k", b"v", long).problem()
    assert "a key has" in Put(b"", b"v", "").problem()


def test_payloads_are_the_values() -> None:
    assert (Put(b"key", b"value", "text/plain").payload_bytes, Get(b"key").payload_bytes) == (5, 0)
    assert (Delete(b"key").payload_bytes, Value(b"value", "text/plain", 1).payload_bytes) == (0, 5)
