"""Messages of the data plane at random, for hypothesis: of every class that there is, found by what the classes declare."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from serve_app.operations import ANSWERS, OPERATIONS
from serve_app.operations.body import Answer, Body, answer_types
from serve_app.topology import Topology
from serve_app.wire.messages import INTERNAL, Envelope, Hello, Moved, Refused, Reply, Welcome

BODIES: tuple[type[Body[Any]], ...] = (*OPERATIONS, *INTERNAL)
#: In the order in which they are first named; each once. Moved and Refused are answers to anything.
EVERY_ANSWER: tuple[type[Answer], ...] = tuple(
    dict.fromkeys((*ANSWERS, *(kind for body in INTERNAL for kind in answer_types(body)), Moved, Refused))
)

numbers = st.integers(0, 2**63 - 1)
texts = st.text(max_size=30)
blobs = st.binary(max_size=300)


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    before, after = draw(st.integers(1, 8)), draw(st.integers(1, 8))
    identities = tuple(draw(texts) for _ in range(max(before, after)))
    replaced = tuple(draw(st.lists(st.integers(0, 8), max_size=3)))
    return Topology(draw(st.integers(1, 2**52)), before, after, draw(texts), identities, replaced, draw(numbers))


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
    Topology: topologies(),
    Topology | None: st.none() | topologies(),
}


def instances(kind: type[msgspec.Struct]) -> SearchStrategy[Any]:
    """Instances of one class, every field at random."""
    return st.builds(kind, *(_BY_TYPE[field.type] for field in msgspec.structs.fields(kind)))


hellos: SearchStrategy[Hello] = instances(Hello)
welcomes: SearchStrategy[Welcome] = instances(Welcome)
bodies: SearchStrategy[Body[Any]] = st.one_of(*map(instances, BODIES))
answers: SearchStrategy[Answer] = st.one_of(*map(instances, EVERY_ANSWER))
envelopes = st.builds(Envelope, numbers, numbers, numbers, bodies)
replies = st.builds(Reply, numbers, answers)
