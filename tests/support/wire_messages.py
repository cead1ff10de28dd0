"""Messages of the data plane at random, for hypothesis: of every class that there is, found by what the classes declare."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from serve_app.ballots import Ballot
from serve_app.changes import Change
from serve_app.operations import ANSWERS, OPERATIONS
from serve_app.operations.body import Answer, Body, answer_types
from serve_app.operations.condition import Condition
from serve_app.topology import Topology
from serve_app.wire.messages import (
    INTERNAL,
    Batch,
    BatchAnswered,
    Entry,
    Envelope,
    Hello,
    Moved,
    Refused,
    Reply,
    Welcome,
)

BODIES: tuple[type[Body[Any]], ...] = (*OPERATIONS, *INTERNAL)
#: In the order in which they are first named; each once. Moved and Refused are answers to anything.
EVERY_ANSWER: tuple[type[Answer], ...] = tuple(
    dict.fromkeys((*ANSWERS, *(kind for body in INTERNAL for kind in answer_types(body)), Moved, Refused))
)

_OF_AN_OPERATION: tuple[type[Answer], ...] = (*ANSWERS, Moved, Refused)

numbers = st.integers(0, 2**63 - 1)
texts = st.text(max_size=30)
blobs = st.binary(max_size=300)


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    before, after = draw(st.integers(1, 8)), draw(st.integers(1, 8))
    identities = tuple(draw(texts) for _ in range(max(before, after)))
    replaced = tuple(draw(st.lists(st.integers(0, 8), max_size=3)))
    several = draw(st.sampled_from([count for count in (0, 1, 3, 5) if count <= len(set(identities))]))
    acceptors = tuple(sorted(set(identities))[:several])
    epoch, store_id, move_epoch = draw(st.integers(1, 2**52)), draw(texts), draw(numbers)
    return Topology(epoch, before, after, store_id, identities, replaced, move_epoch, acceptors=acceptors)


_ballots = st.builds(Ballot, st.integers(1, 2**31), st.text(min_size=1, max_size=64))
_BY_TYPE: dict[Any, SearchStrategy[Any]] = {
    int: numbers,
    str: texts,
    bytes: blobs,
    bool: st.booleans(),
    float: st.floats(allow_nan=False),
    tuple[int, ...]: st.lists(numbers, max_size=5).map(tuple),
    tuple[str, ...]: st.lists(texts, max_size=5).map(tuple),
    list[bytes]: st.lists(blobs, max_size=5),
    list[tuple[bytes, bytes]]: st.lists(st.tuples(blobs, blobs), max_size=5),
    list[Change]: st.lists(
        st.builds(Change, st.integers(0, 3), blobs, numbers, st.integers(-1, 63), numbers), max_size=5
    ),
    Topology: topologies(),
    Topology | None: st.none() | topologies(),
    Ballot: _ballots,
    Ballot | None: st.none() | _ballots,
    Condition | None: st.none()
    | st.builds(Condition, *[st.none() | st.lists(numbers, max_size=3).map(tuple)] * 2, *[st.none() | numbers] * 2),
}


def _item_type(kind: type[msgspec.Struct], name: str) -> Any:
    return next(field.type for field in msgspec.structs.fields(kind) if field.name == name)


def instances(kind: type[msgspec.Struct]) -> SearchStrategy[Any]:
    """Instances of one class, every field at random."""
    fields = msgspec.structs.fields(kind)
    return st.builds(kind, **{field.name: _BY_TYPE[field.type] for field in fields})


_BY_TYPE[list[Entry]] = st.lists(instances(Entry), max_size=4)
# What is in a batch is what may be sent alone.
_BY_TYPE[_item_type(Batch, "operations")] = st.lists(st.one_of(*map(instances, OPERATIONS)), max_size=4)
_BY_TYPE[_item_type(BatchAnswered, "answers")] = st.lists(st.one_of(*map(instances, _OF_AN_OPERATION)), max_size=4)

hellos: SearchStrategy[Hello] = instances(Hello)
welcomes: SearchStrategy[Welcome] = instances(Welcome)
bodies: SearchStrategy[Body[Any]] = st.one_of(*map(instances, BODIES))
answers: SearchStrategy[Answer] = st.one_of(*map(instances, EVERY_ANSWER))
envelopes = st.builds(Envelope, numbers, numbers, numbers, bodies)
replies = st.builds(Reply, numbers, answers)
