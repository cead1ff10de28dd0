"""`AsyncStore` inside the cluster: each method an operation of a directory in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import IO, Any, TypeVar

from cloud_storage import AsyncStore, listing, transfer
from cloud_storage.async_batches import outcomes
from cloud_storage.attempts import LONGEST_ON_ITS_WAY_S, Budget
from cloud_storage.batches import Batches
from cloud_storage.calls import REVISION, Ttl, Value, whole
from cloud_storage.errors import StoreError
from cloud_storage.records import Event, Imported, Listed, Record, Written
from cloud_storage.steps import Exchange, Pause, carried_out
from cloud_storage.transfer import OnProgress
from serve_app.directory.directory import Directory
from serve_app.directory.listing import Question
from serve_app.inside import requests, watching
from serve_app.inside.patient import Patient
from serve_app.inside.refusals import condition_failed
from serve_app.inside.transfer import Transfers
from serve_app.operations import Deleted, Missing, NotMet, Operation, Put, Touched
from serve_app.operations import Value as Found
from serve_app.operations import Written as Stored
from serve_app.settings import Limits

N = TypeVar("N")


class InsideAsyncStore(AsyncStore):
    """See the module. Made by `serve_app.connect_async`; on the loop that made it."""

    def __init__(
        self, directory: Directory, limits: Limits, timeout_s: float, close: Callable[[], Awaitable[None]]
    ) -> None:
        """directory: started. close: lets go of it."""
        self._patient = Patient(directory, timeout_s)
        self._requests = requests.Requests(timeout_s + LONGEST_ON_ITS_WAY_S)
        self._transfers = Transfers(self._patient, limits)
        self._budget = Budget()
        self._close: Callable[[], Awaitable[None]] | None = close

    async def close(self) -> None:
        self._patient.close()
        close, self._close = self._close, None
        if close is not None:
            await close()

    # One key.

    async def get(self, key: str) -> Record | None:
        found = await self._patient.carry_out(self._requests.get(key))
        return requests.record(key, found) if isinstance(found, Found) else None

    async def put(
        self,
        key: str,
        value: Value,
        *,
        content_type: str | None = None,
        ttl: Ttl | None = None,
        expires_at: datetime | None = None,
    ) -> Written:
        asked = self._requests.put(key, value, content_type, ttl, expires_at)
        return _written(key, await self._patient.carry_out(asked))

    async def create(
        self,
        key: str,
        value: Value,
        *,
        content_type: str | None = None,
        ttl: Ttl | None = None,
        expires_at: datetime | None = None,
    ) -> Written:
        asked = self._requests.put(key, value, content_type, ttl, expires_at, create=True)
        return _written(key, await self._patient.carry_out(asked))

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
        asked = self._requests.put(key, value, content_type, ttl, expires_at, revision=whole(revision, REVISION))
        return _written(key, await self._patient.carry_out(asked))

    async def delete(self, key: str, *, revision: int | None = None) -> bool:
        answer = await self._patient.carry_out(self._requests.delete(key, revision))
        if isinstance(answer, NotMet):
            raise condition_failed(key, answer.revision)
        return isinstance(answer, Deleted)

    async def exists(self, key: str) -> bool:
        return not isinstance(await self._patient.carry_out(self._requests.head(key)), Missing)

    async def touch(self, key: str, *, ttl: Ttl | None = None, expires_at: datetime | None = None) -> bool:
        return isinstance(await self._patient.carry_out(self._requests.touch(key, ttl, expires_at)), Touched)

    async def increment(self, key: str, by: int = 1, *, ttl: Ttl | None = None) -> int:
        answer = await self._patient.carry_out(self._requests.increment(key, by, ttl))
        assert not isinstance(answer, NotMet), "there is no condition"
        return answer.value

    # Many keys.

    async def list(
        self, prefix: str = "", *, delimiter: str = "", start_after: str = "", values: bool = False
    ) -> AsyncIterator[Listed]:
        limit = listing.PAGE_WITH_VALUES if values else listing.PAGE
        asked = requests.question(prefix, delimiter, start_after, limit, values)
        while True:
            names, start = await self._page(asked)
            for name in names:
                yield name
            if start is None:
                return
            asked = Question(asked.prefix, start, asked.delimiter, asked.limit, values)

    async def _page(self, asked: Question) -> tuple[Iterable[Listed], bytes | None]:
        """Some names, in order, and what the next begin after; None at the end."""
        page = await self._patient.ask("the list", lambda: self._patient.directory.listing.page(asked))
        names = [requests.listed(entry, asked.values) for entry in page.entries]
        names += [Listed(name.decode(), is_prefix=True) for name in page.prefixes]
        return listing.in_order(names), page.next

    async def get_many(self, keys: Iterable[str]) -> dict[str, Record]:
        found: dict[str, Record] = {}
        async for operation, answer in self._outcomes(dict.fromkeys(keys), str, self._requests.get):
            if isinstance(answer, Found):
                key = operation.key.decode()
                found[key] = requests.record(key, answer)
        return found

    async def put_many(
        self,
        values: Mapping[str, Value] | Iterable[tuple[str, Value]],
        *,
        content_type: str | None = None,
        ttl: Ttl | None = None,
    ) -> int:
        pairs = values.items() if isinstance(values, Mapping) else values

        def put(pair: tuple[str, Value]) -> Put:
            return self._requests.put(*pair, content_type, ttl, None)

        done = 0
        async for _ in self._outcomes(pairs, lambda pair: pair[0], put):
            done += 1
        return done

    async def delete_many(self, keys: Iterable[str]) -> int:
        done = 0
        async for _, answer in self._outcomes(dict.fromkeys(keys), str, self._requests.delete):
            done += isinstance(answer, Deleted)
        return done

    def _outcomes(
        self, names: Iterable[N], key: Callable[[N], str], make: Callable[[N], Operation[Any]]
    ) -> AsyncIterator[tuple[Operation[Any], Any]]:
        """An operation of each name with its answer, where it has one. What is refused at once keeps nothing else back.
        Raises SomeFailed at the end."""
        failed: dict[str, StoreError] = {}

        def made() -> Iterator[Operation[Any]]:
            for name in names:
                try:
                    yield make(name)
                except StoreError as error:
                    failed[key(name)] = error

        batches = Batches(made(), lambda operation: operation.key, lambda operation: operation.payload_bytes)
        return outcomes(batches, self._patient.carry_out_all, failed)

    # What goes on.

    async def watch(
        self, prefix: str = "", *, values: bool = False, since: str = "", existing: bool = False
    ) -> AsyncIterator[Event]:
        def there() -> AsyncIterator[Listed]:
            return self.list(prefix, values=values)

        asked = watching.watch(self._patient, requests.prefix_of(prefix), values, since, there if existing else None)
        async for event in asked:
            yield event

    async def export(
        self, file: IO[bytes], prefix: str = "", *, start_after: str = "", on_progress: OnProgress | None = None
    ) -> int:
        lines = transfer.Lines(start_after)
        async for some in self.export_lines(prefix, lines):
            file.write(some)
            transfer.tell(on_progress, lines)
        return lines.records

    async def import_(self, file: Iterable[bytes], *, on_progress: OnProgress | None = None) -> Imported:
        taken = transfer.Taken(on_progress)
        for part in transfer.parts(file):
            taken.add(part, await self.import_part(part, taken.lines))
        return taken.imported

    # For `InsideStore`, whose files are its callers' threads' to read and write.

    def export_lines(self, prefix: str, lines: transfer.Lines) -> AsyncIterator[bytes]:
        """What `export` writes."""
        return self._transfers.lines(prefix, lines)

    async def import_part(self, part: bytes, lines_before: int) -> Imported:
        """`import_` of some whole lines, behind so many."""
        self._patient.check_open()
        call = transfer.import_call(part, lines_before)
        return await self._run(carried_out(call, self._patient.deadline_s(), self._budget, self._now_s))

    async def _take(self, step: Exchange | Pause) -> Any:
        """Of those the import's alone are left."""
        return await (super()._take(step) if isinstance(step, Pause) else self._transfers.import_(step.request))


def _written(key: str, answer: Stored | NotMet) -> Written:
    if isinstance(answer, NotMet):
        raise condition_failed(key, answer.revision)
    return Written(answer.revision, answer.created)
