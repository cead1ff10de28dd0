"""A watch as its client has it: server-sent events (WHATWG HTML Standard, 9.2) over a connection of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import httpx


class Told(NamedTuple):
    """One event."""

    kind: str
    data: dict[str, Any]

    @property
    def key(self) -> str:
        return str(self.data["key"])

    @property
    def revision(self) -> int:
        return int(self.data["revision"])


class EventStream:
    """One connection to `/v1/watch`. Use as a context manager; `last_id` is what to come back with."""

    def __init__(
        self, url: str, prefix: str = "", *, values: bool = False, last_id: str = "", timeout_s: float = 30.0
    ) -> None:
        """timeout_s: when nothing is heard for so long, not even a heartbeat, it fails."""
        self.last_id = last_id
        self._leaving = ExitStack()
        client = self._leaving.enter_context(httpx.Client(base_url=url, timeout=timeout_s))
        parameters = {"prefix": prefix} | ({"values": "true"} if values else {})
        headers = {"Last-Event-ID": last_id} if last_id else {}
        try:
            stream = client.stream("GET", "/v1/watch", params=parameters, headers=headers)
            self.answer = self._leaving.enter_context(stream)
            self._events = self._parse()
        except BaseException:
            self._leaving.close()
            raise

    def __enter__(self) -> EventStream:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave."""
        self._leaving.close()

    def __iter__(self) -> Iterator[Told]:
        """Until the connection ends."""
        return self._events

    def until(self, last: Callable[[Told], bool]) -> list[Told]:
        """The events up to and with the first that is so."""
        heard: list[Told] = []
        for event in self._events:
            heard.append(event)
            if last(event):
                return heard
        raise AssertionError(f"the watch ended before it: {heard}")

    def take(self, count: int) -> list[Told]:
        """The next events, this many."""
        return [next(self._events) for _ in range(count)]

    def _parse(self) -> Iterator[Told]:
        kind, data, named = "", "", self.last_id
        for line in self.answer.iter_lines():
            if not line:
                self.last_id = named
                if data:
                    yield Told(kind, json.loads(data))
                kind = data = ""
                continue
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "event":
                kind = value
            elif name == "data":
                data = f"{data}\n{value}" if data else value
            elif name == "id":
                named = value
