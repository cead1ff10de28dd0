"""`Store` inside the cluster: the methods of `InsideAsyncStore`, on a loop in a thread of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from datetime import datetime
from typing import IO, Any, TypeVar

from cloud_storage import Store, transfer
from cloud_storage.batches import AT_ONCE, ITEMS
from cloud_storage.calls import Ttl, Value
from cloud_storage.errors import SomeFailed, StoreError
from cloud_storage.records import Event, Imported, Listed, Record, Written
from cloud_storage.transfer import OnProgress
from serve_app.inside.async_store import InsideAsyncStore
from serve_app.inside.loop_thread import LoopThread

T = TypeVar("T")
_END: Any = object()
#: Of many values, those that are held at once.
_ITEMS, _BYTES = ITEMS * AT_ONCE * 2, 64 * 1024 * 1024
Pairs = list[tuple[str, Value]]


class InsideStore(Store):
    """See the module. Made by `serve_app.connect`; safe to use from several threads."""

    def __init__(self, store: InsideAsyncStore, thread: LoopThread, close: Callable[[], None]) -> None:
        """store: on the thread's loop. close: lets go of both."""
        self._store, self._thread, self._let_go = store, thread, close
        self._closed = False

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._let_go()

    # One key.

    def get(self, key: str) -> Record | None:
        return self._on_loop(self._store.get(key))

    def put(
        self,
        key: str,
        value: Value,
        *,
        content_type: str | None = None,
        ttl: Ttl | None = None,
        expires_at: datetime | None = None,
    ) -> Written:
        return self._on_loop(self._store.put(key, value, content_type=content_type, ttl=ttl, expires_at=expires_at))

    def create(
        self,
        key: str,
        value: Value,
        *,
        content_type: str | None = None,
        ttl: Ttl | None = None,
        expires_at: datetime | None = None,
    ) -> Written:
        return self._on_loop(self._store.create(key, value, content_type=content_type, ttl=ttl, expires_at=expires_at))

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
        asked = self._store.replace(key, value, revision, content_type=content_type, ttl=ttl, expires_at=expires_at)
        return self._on_loop(asked)

    def delete(self, key: str, *, revision: int | None = None) -> bool:
        return self._on_loop(self._store.delete(key, revision=revision))

    def exists(self, key: str) -> bool:
        return self._on_loop(self._store.exists(key))

    def touch(self, key: str, *, ttl: Ttl | None = None, expires_at: datetime | None = None) -> bool:
        return self._on_loop(self._store.touch(key, ttl=ttl, expires_at=expires_at))

    def increment(self, key: str, by: int = 1, *, ttl: Ttl | None = None) -> int:
        return self._on_loop(self._store.increment(key, by, ttl=ttl))

    # Many keys.

    def list(
        self, prefix: str = "", *, delimiter: str = "", start_after: str = "", values: bool = False
    ) -> Iterator[Listed]:
        return self._each(self._store.list(prefix, delimiter=delimiter, start_after=start_after, values=values))

    def get_many(self, keys: Iterable[str]) -> dict[str, Record]:
        # What the caller gives may block, or use this very store: it is not to be asked for on the loop.
        return self._on_loop(self._store.get_many(list(keys)))

    def put_many(
        self,
        values: Mapping[str, Value] | Iterable[tuple[str, Value]],
        *,
        content_type: str | None = None,
        ttl: Ttl | None = None,
    ) -> int:
        done = 0
        failed: dict[str, StoreError] = {}
        for some in _in_turn(values.items() if isinstance(values, Mapping) else iter(values)):
            try:
                done += self._on_loop(self._store.put_many(some, content_type=content_type, ttl=ttl))
            except SomeFailed as error:
                failed |= error.errors
        if failed:
            raise SomeFailed(failed)
        return done

    def delete_many(self, keys: Iterable[str]) -> int:
        return self._on_loop(self._store.delete_many(list(keys)))

    # What goes on.

    def watch(
        self, prefix: str = "", *, values: bool = False, since: str = "", existing: bool = False
    ) -> Iterator[Event]:
        return self._each(self._store.watch(prefix, values=values, since=since, existing=existing))

    def export(
        self, file: IO[bytes], prefix: str = "", *, start_after: str = "", on_progress: OnProgress | None = None
    ) -> int:
        lines = transfer.Lines(start_after)
        for whole in self._each(self._store.export_lines(prefix, lines)):
            file.write(whole)
            transfer.tell(on_progress, lines)
        return lines.records

    def import_(self, file: Iterable[bytes], *, on_progress: OnProgress | None = None) -> Imported:
        taken = transfer.Taken(on_progress)
        for part in transfer.parts(file):
            taken.add(part, self._on_loop(self._store.import_part(part, taken.lines)))
        return taken.imported

    # How.

    def _on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        if self._closed:
            work.close()
            raise RuntimeError("the store is closed")
        return self._thread.run(work)

    def _each(self, steps: AsyncIterator[T]) -> Iterator[T]:
        """What comes of them, step by step."""

        async def step() -> T:
            return await anext(steps, _END)

        async def end() -> None:
            await steps.aclose()  # type: ignore[attr-defined] # they are generators

        try:
            while (each := self._on_loop(step())) is not _END:
                yield each
        finally:
            self._thread.clean_up(end())


def _in_turn(pairs: Iterable[tuple[str, Value]]) -> Iterator[Pairs]:
    """As many as are held at once."""
    some: Pairs = []
    size = 0
    for key, value in pairs:
        some.append((key, value))
        size += len(value)
        if len(some) >= _ITEMS or size >= _BYTES:
            yield some
            some, size = [], 0
    if some:
        yield some
