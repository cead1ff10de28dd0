"""A watch: server-sent events (WHATWG HTML Standard, 9.2) as they come, and what they say."""

from __future__ import annotations

import json
from collections.abc import Iterator

from cloud_storage import calls
from cloud_storage.errors import HistoryLost, Interrupted
from cloud_storage.exchange import Request
from cloud_storage.listing import value_in
from cloud_storage.records import Event, Listed

#: A store that has nothing to tell says so every 10 s.
SILENCE_S = 30.0
#: A watch that ended sooner was never a good one: the next comes after a longer pause.
LASTING_S = 1.0


def request(prefix: str, values: bool, last_id: str) -> Request:
    query = {name: text for name, text in (("prefix", prefix), ("values", "true" if values else "")) if text}
    return Request("GET", calls.target("/v1/watch", query), {"Last-Event-ID": last_id} if last_id else {})


def of_existing(listed: Listed) -> Event:
    """A record that there is, as if it were put now."""
    return Event("put", listed.name, listed.revision, listed.value, "" if listed.value is None else listed.content_type)


class Parser:
    """From the bytes of the stream to events. last_id: where a watch goes on that breaks off here."""

    def __init__(self, last_id: str = "") -> None:
        self.last_id = last_id
        #: Of a line that has not ended; a large value's comes in many pieces.
        self._rest: list[bytes] = []
        self._kind, self._has_id = "", False
        self._data: list[str] = []

    def feed(self, some: bytes) -> Iterator[Event]:
        """The events that end in these bytes.

        Raises:
            HistoryLost: the store does not know what comes next.
            Interrupted: it has dropped the watch, which may go on from `last_id`.
        """
        *lines, rest = some.split(b"\n")
        if not lines:
            self._rest.append(rest)
            return
        lines[0] = b"".join([*self._rest, lines[0]])
        self._rest = [rest]
        for line in lines:
            event = self._line(line.removesuffix(b"\r").decode())
            if event is not None:
                yield event

    def _line(self, line: str) -> Event | None:
        if not line:
            return self._end()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._kind = value
        elif name == "data":
            self._data.append(value)
        elif name == "id":
            self.last_id = value
            self._has_id = True
        return None

    def _end(self) -> Event | None:
        kind, data, has_id = self._kind, "\n".join(self._data), self._has_id
        self._kind, self._data, self._has_id = "", [], False
        if not data:
            return None
        told = json.loads(data)
        if kind == "history-lost":
            raise HistoryLost(told["detail"])
        if kind == "dropped":
            raise Interrupted(told["detail"])
        return Event(
            kind,
            told["key"],
            told["revision"],
            value_in(told),
            told.get("content_type", ""),
            self.last_id if has_id else "",
        )
