"""The sync client."""

from __future__ import annotations

import http.client
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from types import TracebackType
from typing import IO, Any, NoReturn, Self, TypeVar

from cloud_storage import answers, calls, events, listing, many, transfer
from cloud_storage.address import DEFAULT_TIMEOUT_S, address_of
from cloud_storage.attempts import Attempts, Budget
from cloud_storage.batches import AT_ONCE
from cloud_storage.calls import Ttl, Value
from cloud_storage.codecs import TEXT, Codec
from cloud_storage.errors import Interrupted, SomeFailed, StoreError
from cloud_storage.exchange import Call, Request, Response
from cloud_storage.mapping import StoreMapping
from cloud_storage.pool import Pool
from cloud_storage.records import Event, Imported, Listed, Record, Written
from cloud_storage.steps import Broken, Exchange, NotSent, Pause, Steps, carried_out, refusal
from cloud_storage.transfer import OnProgress

T = TypeVar("T")
V = TypeVar("V")
_BIT_BYTES = 64 * 1024
#: Of what comes instead of a stream: more says nothing more.
_REFUSAL_BYTES = 64 * 1024


class Store:
    """A store, over HTTP. Safe to use from several threads; a context manager.

    What a method raises is a StoreError (`errors.py`). Each call has one deadline, `timeout` seconds after it began, and
    until then is sent again where that can do no harm: a write carries an idempotency key, so it happens once.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        timeout: float = DEFAULT_TIMEOUT_S,
        ssl_context: ssl.SSLContext | None = None,
        on_retry: Callable[[str], None] | None = None,
    ) -> None:
        """url, token: where None, CLOUD_STORAGE_URL and CLOUD_STORAGE_TOKEN, or a store on this machine without tokens.
        timeout: of each call, in seconds, at most 540; of a watch or an export, how long it may be without the store.
        on_retry: is called with the reason before each request that is sent again, in the thread that sends it."""
        self._address = address_of(url, token, timeout)
        self._pool = Pool(self._address, ssl_context)
        self._budget = Budget(on_retry=on_retry)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a store can't be sent to another process: make one there")

    def close(self) -> None:
        """Close the connections. The store can't be used any more."""
        self._pool.close()

    # One key.

    def get(self, key: str) -> Record | None:
        """The record, or None where there is none."""
        return self._do(calls.get(key))

    def get_text(self, key: str) -> str | None:
        """The value as text. Raises UnicodeDecodeError where it is not UTF-8."""
        record = self.get(key)
        return None if record is None else record.text

    def put(
        self,
        key: str,
        value: Value,
        *,
        content_type: str | None = None,
        ttl: Ttl | None = None,
        expires_at: datetime | None = None,
    ) -> Written:
        """Store a value. When this returns it is on disk.

        content_type: kept with it; of text and of bytes where None. ttl: in seconds, or a timedelta.
        """
        return self._do(calls.put(key, value, content_type=content_type, ttl=ttl, expires_at=expires_at))

    def create(
        self,
        key: str,
        value: Value,
        *,
        content_type: str | None = None,
        ttl: Ttl | None = None,
        expires_at: datetime | None = None,
    ) -> Written:
        """Store a value where there is none. Raises ConditionFailed where there is."""
        return self._do(calls.put(key, value, content_type=content_type, ttl=ttl, expires_at=expires_at, create=True))

    def replace(
        self,
        key: str,
        value: Value,
        revision: int,
        *,
        content_type: str | None = None,
        ttl: Ttl | None = None,
        expires_at: datetime | None = None,
    ) -> Written:
        """Store a value over the record that has this revision. Raises ConditionFailed where it has another, or is gone."""
        return self._do(
            calls.put(
                key,
                value,
                content_type=content_type,
                ttl=ttl,
                expires_at=expires_at,
                revision=calls.whole(revision, calls.REVISION),
            )
        )

    def delete(self, key: str, *, revision: int | None = None) -> bool:
        """Delete a record; whether there was one. Raises ConditionFailed where it has not that revision."""
        return self._do(calls.delete(key, revision=revision))

    def exists(self, key: str) -> bool:
        """Whether there is a record."""
        return self._do(calls.exists(key))

    def touch(self, key: str, *, ttl: Ttl | None = None, expires_at: datetime | None = None) -> bool:
        """Have a record expire then, or, where neither is given, never; whether there is one."""
        return self._do(calls.touch(key, ttl=ttl, expires_at=expires_at))

    def increment(self, key: str, by: int = 1, *, ttl: Ttl | None = None) -> int:
        """Add to a number of 64 bits, which begins at 0; what it is then. ttl: where this makes the record.

        Raises:
            NotANumber: the value is no number, or would be too large.
        """
        return self._do(calls.increment(key, by, ttl=ttl))

    # Many keys.

    def list(
        self, prefix: str = "", *, delimiter: str = "", start_after: str = "", values: bool = False
    ) -> Iterator[Listed]:
        """All keys with the prefix, in the order of their bytes, page by page. delimiter: keys that hold it behind the prefix
        are told together, as one name that ends with it."""
        while True:
            page = self._do(listing.page(prefix, start_after, delimiter, values))
            yield from page.names
            if page.next is None:
                return
            start_after = page.next

    def get_many(self, keys: Iterable[str]) -> dict[str, Record]:
        """The records of those keys that there are. Raises SomeFailed."""
        found: dict[str, Record] = {}
        for item, result in self._many(many.gets(keys)):
            record = many.record_of(item["key"], result)
            if record is not None:
                found[item["key"]] = record
        return found

    def put_many(
        self,
        values: Mapping[str, Value] | Iterable[tuple[str, Value]],
        *,
        content_type: str | None = None,
        ttl: Ttl | None = None,
    ) -> int:
        """Store many values, of any number; how many. It is not atomic. Raises SomeFailed."""
        items = many.puts(values, content_type, None if ttl is None else calls.seconds(ttl), self._address.timeout_s)
        return sum(1 for _ in self._many(items))

    def delete_many(self, keys: Iterable[str]) -> int:
        """Delete many records; how many there were. Raises SomeFailed."""
        return sum(many.deleted(result) for _, result in self._many(many.deletes(keys, self._address.timeout_s)))

    def mapping(self, prefix: str = "", codec: Codec[V] = TEXT) -> StoreMapping[V]:  # type: ignore[assignment]
        """A dictionary of the keys with that prefix. codec: how values are written; text by default."""
        return StoreMapping(self, prefix, codec)

    # What goes on.

    def watch(
        self, prefix: str = "", *, values: bool = False, since: str = "", existing: bool = False
    ) -> Iterator[Event]:
        """Changes of keys with the prefix, from now on, or after the event with the id `since`, as they happen; it does not
        end by itself. It goes on by itself where it was when a connection breaks: some may come twice then. existing: a put
        of each record that there is comes first; nothing that changes meanwhile is missed.

        Raises:
            HistoryLost: too much has changed since. List, and watch from now on.
            Unavailable: there was no store for `timeout` seconds.
        """
        parser = events.Parser(since)
        attempts = self._attempts(events.request(prefix, values, ""))
        untold = existing
        while True:
            request = events.request(prefix, values, parser.last_id)
            begun_s = time.monotonic()
            try:
                for some in self._bits(request, attempts, events.SILENCE_S):
                    if time.monotonic() - begun_s > events.LASTING_S:
                        attempts = self._attempts(request)
                    yield from parser.feed(some)
                    if untold and parser.last_id:  # it has begun: what changes from here on comes
                        untold = False
                        yield from map(events.of_existing, self.list(prefix, values=values))
                pause_s = attempts.not_sent("the watch ended", time.monotonic())
            except (Interrupted, NotSent, Broken) as error:
                pause_s = attempts.not_sent(str(error), time.monotonic())
            parser = events.Parser(parser.last_id)
            time.sleep(pause_s)

    def export(
        self, file: IO[bytes], prefix: str = "", *, start_after: str = "", on_progress: OnProgress | None = None
    ) -> int:
        """Write all records with the prefix to a file in the order of their keys, one line of JSON each; how many. Where the
        store goes away it goes on behind the last record. start_after: begin behind this key. on_progress: is called with
        the records and the bytes that have been written.

        Raises:
            Interrupted: there was no store for `timeout` seconds in the middle. What was written is not whole; it may go on
                behind the key on its last line.
        """
        lines = transfer.Lines(start_after)
        request = lines.request(prefix)
        attempts = self._attempts(request)
        while True:
            try:
                for some in self._bits(request, attempts, self._address.timeout_s):
                    whole = lines.feed(some)
                    if whole:
                        attempts = self._attempts(request)
                        file.write(whole)
                        transfer.tell(on_progress, lines)
                file.write(lines.ending())
                return lines.records
            except (NotSent, Broken) as error:
                with lines.interrupted():
                    pause_s = attempts.not_sent(str(error), time.monotonic())
                request = lines.request(prefix)
            time.sleep(pause_s)

    def import_(self, file: Iterable[bytes], *, on_progress: OnProgress | None = None) -> Imported:
        """Store the records in a file that `export` wrote, or in any lines like those. They keep their types, times and
        expiry, and get new revisions.
        on_progress: is called with the records and the bytes of the file that are done.

        Each part of the file is sent again where it is not known what came of it: the same records once more.

        Raises:
            Refused: a record is refused; those before it are stored.
        """
        taken = transfer.Taken(on_progress)
        for part in transfer.parts(file):
            taken.add(part, self._do(transfer.import_call(part, taken.lines)))
        return taken.imported

    # How.

    def _attempts(self, request: Request) -> Attempts:
        return Attempts(request, time.monotonic() + self._address.timeout_s, self._budget)

    def _do(self, call: Call[T]) -> T:
        deadline_s = time.monotonic() + self._address.timeout_s
        return self._run(carried_out(call, deadline_s, self._budget, time.monotonic))

    def _run(self, steps: Steps[T]) -> T:
        outcome = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as done:
                value: T = done.value
                return value
            outcome = self._take(step)

    def _take(self, step: Exchange | Pause) -> Any:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        try:
            return self._pool.exchange(step.request, step.timeout_s)
        except (NotSent, Broken) as error:
            return error

    def _many(self, items: Iterator[many.Item]) -> Iterator[tuple[many.Item, many.Result]]:
        """Each item with what came of it, where that is no error; several batches at once. Raises SomeFailed at the end."""
        failed: dict[str, StoreError] = {}
        batches = many.in_batches(items)
        with ThreadPoolExecutor(AT_ONCE) as threads:
            under_way: deque[tuple[many.Batch, Future[many.Results]]] = deque()
            while True:
                for batch in batches.startable(AT_ONCE - len(under_way)):
                    under_way.append((batch, threads.submit(self._batch, batch)))
                if not under_way:
                    break
                batch, done = under_way.popleft()
                results = done.result()
                batches.ended(batch)
                yield from batches.sort(batch, results, failed)
        if failed:
            raise SomeFailed(failed)

    def _batch(self, batch: many.Batch) -> many.Results:
        deadline_s = time.monotonic() + self._address.timeout_s
        try:
            return self._run(many.results(batch, deadline_s, self._budget, time.monotonic))
        except StoreError as error:
            return [error] * len(batch)

    def _bits(self, request: Request, attempts: Attempts, silence_s: float) -> Iterator[bytes]:
        """The body of a good answer as it comes. Raises StoreError, NotSent, Broken."""
        attempts.left_s(time.monotonic())
        with self._pool.opened(request, silence_s) as response:
            try:
                if not answers.is_own(Response(response.status, response.fields, b"")):
                    raise refusal(Response(response.status, response.fields, response.read(_REFUSAL_BYTES)))
                while True:
                    some = response.read1(_BIT_BYTES)
                    if not some:
                        return
                    yield some
            except (OSError, http.client.HTTPException) as error:
                raise Broken(str(error) or type(error).__name__) from error
