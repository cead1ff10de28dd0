"""A watch inside the cluster: the events of a directory's own watch, as the client tells them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from cloud_storage import errors as told
from cloud_storage.events import LASTING_S, of_existing
from cloud_storage.records import Event, Listed
from serve_app.changes import NAMES, PUT
from serve_app.directory import merged_feed, places
from serve_app.directory.watches import Some
from serve_app.errors import HistoryLost, InvalidRequest, StoreError
from serve_app.inside.patient import Patient
from serve_app.inside.refusals import told_as
from serve_app.operations import Get, Value

#: A directory that has nothing to tell says so as often.
_HEARTBEAT_S = 10.0
#: Values that are read together.
_AT_ONCE = 100


async def watch(
    patient: Patient, prefix: bytes, values: bool, since: str, there: Callable[[], AsyncIterator[Listed]] | None
) -> AsyncIterator[Event]:
    """As `Store.watch`. there: lists the records that there are, where they are to be told."""
    loop = asyncio.get_running_loop()
    last_id = since
    attempts = patient.attempts("the watch")
    while True:
        patient.check_open()
        begun_s = loop.time()
        try:
            followed = await patient.directory.watches.watch(prefix, last_id, _HEARTBEAT_S)
            try:
                async for some in followed:
                    patient.check_open()
                    if loop.time() - begun_s > LASTING_S:
                        attempts = patient.attempts("the watch")
                    here = places.shown(patient.directory.watches.store_id(), some.place)
                    async for event in _told(patient, some, values, here):
                        yield event
                    last_id = here
                    if there is not None:  # it has begun: what changes from here on comes
                        listing, there = there(), None
                        async for listed in listing:
                            yield of_existing(listed)
            finally:
                await followed.aclose()  # type: ignore[attr-defined] # it is a generator
        except (HistoryLost, InvalidRequest) as error:
            raise told_as(error) from None
        except (
            StoreError,
            told.Unavailable,
        ) as error:  # it did not keep up, or a bucket is away, or a value can't be read
            pause_s = attempts.not_sent(str(error), loop.time())
        await asyncio.sleep(pause_s)


async def _told(patient: Patient, some: Some, values: bool, here: str) -> AsyncIterator[Event]:
    """The last of them has the id."""
    events = some.events
    if not values:
        for number, change in enumerate(events, 1):
            yield _event(change, here if number == len(events) else "")
        return
    before: Event | None = None
    last = merged_feed.last_puts(events)
    for start in range(0, len(events), _AT_ONCE):
        async for told_event in _with_values(patient, events, range(start, min(start + _AT_ONCE, len(events))), last):
            if before is not None:
                yield before
            before = told_event
    if before is not None:
        yield replace(before, id=here)


async def _with_values(
    patient: Patient, events: list[merged_feed.Event], some: range, last: dict[bytes, int]
) -> AsyncIterator[Event]:
    """Those at some places. last: as `last_puts`. Where a record has another revision already, what is to be told of it
    comes."""
    wanted = [events[number].change.key for number in some if last.get(events[number].change.key) == number]
    found = dict(zip(wanted, await _values_of(patient, wanted), strict=True))
    for number in some:
        kind, key, revision, *_ = events[number].change
        if kind != PUT:
            yield _event(events[number], "")
            continue
        value = found.pop(key) if last[key] == number else None
        if value is not None and value.revision >= revision:
            yield Event(NAMES[PUT], key.decode(), value.revision, value.value, value.content_type)


async def _values_of(patient: Patient, keys: list[bytes]) -> list[Value | None]:
    answers = await patient.carry_out_all([Get(key) for key in keys])
    found: list[Value | None] = []
    for answer in answers:
        if isinstance(answer, told.StoreError):
            raise answer
        found.append(answer if isinstance(answer, Value) else None)
    return found


def _event(event: merged_feed.Event, event_id: str) -> Event:
    kind, key, revision, *_ = event.change
    return Event(NAMES[kind], key.decode(), revision, id=event_id)
