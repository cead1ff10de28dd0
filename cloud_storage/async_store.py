"""The async client: the methods of `Store`, on asyncio, with aiohttp."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from datetime import datetime
from types import TracebackType
from typing import IO, Any, NoReturn, Self, TypeVar

import aiohttp
from yarl import URL

from cloud_storage import answers, calls, events, listing, many, transfer
from cloud_storage.address import DEFAULT_TIMEOUT_S, address_of
from cloud_storage.async_batches import outcomes
from cloud_storage.attempts import Attempts, Budget
from cloud_storage.calls import Ttl, Value
from cloud_storage.errors import Interrupted, StoreError
from cloud_storage.exchange import Call, Request, Response
from cloud_storage.records import Event, Imported, Listed, Record, Written
from cloud_storage.steps import Broken, Exchange, NotSent, Pause, Steps, carried_out, refusal
from cloud_storage.transfer import OnProgress

T = TypeVar("T")
#: Of what comes instead of a stream: more says nothing more.
_REFUSAL_BYTES = 64 * 1024


class AsyncStore:
    """A store, over HTTP, for one event loop; an async context manager. Its methods are those of `Store`."""

    def __init__(
        self,
        url: str | None = None,
        *,
        token: str | None = None,
        timeout: float = DEFAULT_TIMEOUT_S,
        ssl_context: ssl.SSLContext | None = None,
        on_retry: Callable[[str], None] | None = None,
        connections: int = 64,
    ) -> None:
        """As Store. connections: at most so many at once; others wait for one."""
        self._address = address_of(url, token, timeout)
        self._ssl = ssl_context
        self._connections = connections
        self._budget = Budget(on_retry=on_retry)
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a store can't be sent to another process: make one there")

    async def close(self) -> None:
        """Close the connections. The store can't be used any more."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    # One key.

    async def get(self, key: str) -> Record | None:
        """See Store.get."""
        return await self._do(calls.get(key))

    async def get_text(self, key: str) -> str | None:
        """See Store.get_text."""
        record = await self.get(key)
        return None if record is None else record.text

    async def put(
        self,
        key: str,
        value: Value,
        *,
        content_type: str | None = None,
        ttl: Ttl | None = None,
        expires_at: datetime | None = None,
    ) -> Written:
        """See Store.put."""
        return await self._do(calls.put(key, value, content_type=content_type, ttl=ttl, expires_at=expires_at))

    async def create(
        self,
        key: str,
        value: Value,
        *,
        content_type: str | None = None,
        ttl: Ttl | None = None,
        expires_at: datetime | None = None,
    ) -> Written:
        """See Store.create."""
        return await self._do(
            calls.put(key, value, content_type=content_type, ttl=ttl, expires_at=expires_at, create=True)
        )

    async def replace(
        self,
        key: str,
        value: Value,
        revision: int,
        *,
        content_type: str | None = None,
        ttl: Ttl | None = None,
        expires_at: datetime | None = None,
    ) -> Written:
        """See Store.replace."""
        return await self._do(
            calls.put(
                key,
                value,
                content_type=content_type,
                ttl=ttl,
                expires_at=expires_at,
                revision=calls.whole(revision, calls.REVISION),
            )
        )

    async def delete(self, key: str, *, revision: int | None = None) -> bool:
        """See Store.delete."""
        return await self._do(calls.delete(key, revision=revision))

    async def exists(self, key: str) -> bool:
        """See Store.exists."""
        return await self._do(calls.exists(key))

    async def touch(self, key: str, *, ttl: Ttl | None = None, expires_at: datetime | None = None) -> bool:
        """See Store.touch."""
        return await self._do(calls.touch(key, ttl=ttl, expires_at=expires_at))

    async def increment(self, key: str, by: int = 1, *, ttl: Ttl | None = None) -> int:
        """See Store.increment."""
        return await self._do(calls.increment(key, by, ttl=ttl))

    # Many keys.

    async def list(
        self, prefix: str = "", *, delimiter: str = "", start_after: str = "", values: bool = False
    ) -> AsyncIterator[Listed]:
        """See Store.list."""
        while True:
            page = await self._do(listing.page(prefix, start_after, delimiter, values))
            for listed in page.names:
                yield listed
            if page.next is None:
                return
            start_after = page.next

    async def get_many(self, keys: Iterable[str]) -> dict[str, Record]:
        """See Store.get_many."""
        found: dict[str, Record] = {}
        async for item, result in self._many(many.gets(keys)):
            record = many.record_of(item["key"], result)
            if record is not None:
                found[item["key"]] = record
        return found

    async def put_many(
        self,
        values: Mapping[str, Value] | Iterable[tuple[str, Value]],
        *,
        content_type: str | None = None,
        ttl: Ttl | None = None,
    ) -> int:
        """See Store.put_many."""
        items = many.puts(values, content_type, None if ttl is None else calls.seconds(ttl), self._address.timeout_s)
        return sum([1 async for _ in self._many(items)])

    async def delete_many(self, keys: Iterable[str]) -> int:
        """See Store.delete_many."""
        return sum(
            [many.deleted(result) async for _, result in self._many(many.deletes(keys, self._address.timeout_s))]
        )

    # What goes on.

    async def watch(
        self, prefix: str = "", *, values: bool = False, since: str = "", existing: bool = False
    ) -> AsyncIterator[Event]:
        """See Store.watch."""
        parser = events.Parser(since)
        attempts = self._attempts(events.request(prefix, values, ""))
        untold = existing
        while True:
            request = events.request(prefix, values, parser.last_id)
            begun_s = self._now_s()
            try:
                async for some in self._bits(request, attempts, events.SILENCE_S):
                    if self._now_s() - begun_s > events.LASTING_S:
                        attempts = self._attempts(request)
                    for event in parser.feed(some):
                        yield event
                    if untold and parser.last_id:
                        untold = False
                        async for listed in self.list(prefix, values=values):
                            yield events.of_existing(listed)
                pause_s = attempts.not_sent("the watch ended", self._now_s())
            except (Interrupted, NotSent, Broken) as error:
                pause_s = attempts.not_sent(str(error), self._now_s())
            parser = events.Parser(parser.last_id)
            await asyncio.sleep(pause_s)

    async def export(
        self, file: IO[bytes], prefix: str = "", *, start_after: str = "", on_progress: OnProgress | None = None
    ) -> int:
        """See Store.export."""
        lines = transfer.Lines(start_after)
        request = lines.request(prefix)
        attempts = self._attempts(request)
        while True:
            try:
                async for some in self._bits(request, attempts, self._address.timeout_s):
                    whole = lines.feed(some)
                    if whole:
                        attempts = self._attempts(request)
                        file.write(whole)
                        transfer.tell(on_progress, lines)
                file.write(lines.ending())
                return lines.records
            except (NotSent, Broken) as error:
                with lines.interrupted():
                    pause_s = attempts.not_sent(str(error), self._now_s())
                request = lines.request(prefix)
            await asyncio.sleep(pause_s)

    async def import_(self, file: Iterable[bytes], *, on_progress: OnProgress | None = None) -> Imported:
        """See Store.import_."""
        taken = transfer.Taken(on_progress)
        for part in transfer.parts(file):
            taken.add(part, await self._do(transfer.import_call(part, taken.lines)))
        return taken.imported

    # How.

    @staticmethod
    def _now_s() -> float:
        return asyncio.get_running_loop().time()

    def _attempts(self, request: Request) -> Attempts:
        return Attempts(request, self._now_s() + self._address.timeout_s, self._budget)

    async def _do(self, call: Call[T]) -> T:
        return await self._run(carried_out(call, self._now_s() + self._address.timeout_s, self._budget, self._now_s))

    async def _run(self, steps: Steps[T]) -> T:
        outcome = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as done:
                value: T = done.value
                return value
            outcome = await self._take(step)

    async def _take(self, step: Exchange | Pause) -> Any:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        try:
            async with asyncio.timeout(step.timeout_s), self._opened(step.request) as response:
                return Response(response.status, headers_of(response), await response.read())
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return NotSent(_said(error))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return Broken(_said(error))

    def _opened(self, request: Request) -> Any:
        if self._closed:
            raise RuntimeError("the store is closed")
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=self._connections, ssl=self._ssl or True)
            self._session = aiohttp.ClientSession(
                connector=connector,
                headers=self._address.headers,
                timeout=aiohttp.ClientTimeout(total=None),
                auto_decompress=False,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
            # It would send by itself again what a kept connection lost, after the deadline too: `attempts.py` decides that.
            self._session._retry_connection = False
        url = URL(self._address.url + self._address.prefix + request.target, encoded=True)
        return self._session.request(
            request.method, url, data=request.body, headers=request.headers, allow_redirects=False
        )

    def _many(self, items: Iterator[many.Item]) -> AsyncIterator[tuple[many.Item, many.Result]]:
        """Each item with what came of it, where that is no error; several batches at once. Raises SomeFailed at the end."""
        return outcomes(many.in_batches(items), self._batch, {})

    async def _batch(self, batch: many.Batch) -> many.Results:
        deadline_s = self._now_s() + self._address.timeout_s
        try:
            return await self._run(many.results(batch, deadline_s, self._budget, self._now_s))
        except StoreError as error:
            return [error] * len(batch)

    async def _bits(self, request: Request, attempts: Attempts, silence_s: float) -> AsyncIterator[bytes]:
        """The body of a good answer as it comes. Raises StoreError, NotSent, Broken."""
        attempts.left_s(self._now_s())
        try:
            async with self._opened(request) as response:
                if not answers.is_own(Response(response.status, headers_of(response), b"")):
                    async with asyncio.timeout(silence_s):
                        said = await response.content.read(_REFUSAL_BYTES)
                    raise refusal(Response(response.status, headers_of(response), said))
                while True:
                    async with asyncio.timeout(silence_s):
                        some = await response.content.readany()
                    if not some:
                        return
                    yield some
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NotSent(_said(error)) from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Broken(_said(error)) from error


def headers_of(response: aiohttp.ClientResponse) -> dict[str, str]:
    """By lower-case name."""
    return {name.lower(): value for name, value in response.headers.items()}


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__
