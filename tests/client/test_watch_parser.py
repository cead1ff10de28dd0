"""Server-sent events, from bytes that come in any pieces."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud_storage import Event, HistoryLost, Interrupted
from cloud_storage.events import Parser

STREAM = (
    b": watching\nretry: 1000\n\n"
    b'event: put\ndata: {"key":"a","revision":1,"value":"\xc3\xa9","content_type":"text/plain"}\n\n'
    b'event: put\ndata: {"key":"b","revision":2,"value_base64":"/w==","content_type":"x/y"}\nid: s-1\n\n'
    b": nothing of this\nid: s-2\n\n"
    b'event: delete\r\ndata: {"key":"a","revision":3}\r\nid: s-3\r\n\r\n'
)
EVENTS = [
    Event("put", "a", 1, "é".encode(), "text/plain"),
    Event("put", "b", 2, b"\xff", "x/y", "s-1"),
    Event("delete", "a", 3, None, "", "s-3"),
]


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_events_do_not_depend_on_how_the_bytes_come(cuts: list[int]) -> None:
    parser = Parser()
    events: list[Event] = []
    edges = [0, *sorted(cuts), len(STREAM)]
    for start, end in itertools.pairwise(edges):
        events += parser.feed(STREAM[start:end])
    assert events == EVENTS
    assert parser.last_id == "s-3"


def test_an_id_without_an_event_is_remembered() -> None:
    parser = Parser("s-0")
    assert list(parser.feed(b": nothing of this\nid: s-2\n\n")) == []
    assert parser.last_id == "s-2"


@pytest.mark.parametrize(("name", "error"), [("history-lost", HistoryLost), ("dropped", Interrupted)])
def test_how_a_watch_ends(name: str, error: type[Exception]) -> None:
    with pytest.raises(error, match="why"):
        list(Parser().feed(b'event: %b\ndata: {"detail":"why"}\n\n' % name.encode()))
