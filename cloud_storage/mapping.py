"""A dictionary that is kept in the store: `collections.abc.MutableMapping` over the keys with one prefix.

Each operation is one request, so nothing is remembered here, and what others do shows at once.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, Mapping, MutableMapping, ValuesView
from typing import Any, Protocol, TypeVar, overload

from cloud_storage.codecs import Codec
from cloud_storage.errors import ConditionFailed
from cloud_storage.records import Listed, Record, Written

V = TypeVar("V")
D = TypeVar("D")
_MISSING: Any = object()


class KeyValueStore(Protocol):
    """What of `Store` is needed here."""

    def get(self, key: str) -> Record | None: ...

    def put(self, key: str, value: bytes, *, content_type: str | None = None) -> Written: ...

    def create(self, key: str, value: bytes, *, content_type: str | None = None) -> Written: ...

    def delete(self, key: str, *, revision: int | None = None) -> bool: ...

    def exists(self, key: str) -> bool: ...

    def list(self, prefix: str = "", *, values: bool = False) -> Iterator[Listed]: ...

    def put_many(self, values: Iterable[tuple[str, bytes]], *, content_type: str | None = None) -> int: ...

    def delete_many(self, keys: Iterable[str]) -> int: ...


class StoreMapping(MutableMapping[str, V]):
    """See the module. Names are keys without the prefix, in the order of their bytes."""

    def __init__(self, store: KeyValueStore, prefix: str, codec: Codec[V]) -> None:
        self._store, self._prefix, self._codec = store, prefix, codec

    def __getitem__(self, name: str) -> V:
        record = self._store.get(self._key(name))
        if record is None:
            raise KeyError(name)
        return self._codec.decode(record.value)

    def __setitem__(self, name: str, value: V) -> None:
        self._store.put(self._key(name), self._codec.encode(value), content_type=self._codec.content_type)

    def __delitem__(self, name: str) -> None:
        if not self._store.delete(self._key(name)):
            raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        for listed in self._store.list(self._prefix):
            yield listed.name[len(self._prefix) :]

    def items(self) -> ItemsView[str, V]:
        """What there is, in pages: one that is deleted meanwhile is left out."""
        return _Items(self)

    def values(self) -> ValuesView[V]:
        """As `items`."""
        return _Values(self)

    def listed(self) -> Iterator[tuple[str, V]]:
        """Names and values, in the order of names."""
        for found in self._store.list(self._prefix, values=True):
            assert found.value is not None, "values were asked for"
            yield found.name[len(self._prefix) :], self._codec.decode(found.value)

    def __len__(self) -> int:
        """By listing all of them."""
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(name or self._prefix) and self._store.exists(self._key(name))

    @overload
    def pop(self, name: str) -> V: ...
    @overload
    def pop(self, name: str, default: V | D) -> V | D: ...
    def pop(self, name: str, default: Any = _MISSING) -> Any:
        """Of several who pop one name at one time, one gets the value."""
        while True:
            record = self._store.get(self._key(name))
            if record is None:
                if default is _MISSING:
                    raise KeyError(name)
                return default
            try:
                if self._store.delete(self._key(name), revision=record.revision):
                    return self._codec.decode(record.value)
            except ConditionFailed:
                continue  # another value has come in between

    def popitem(self) -> tuple[str, V]:
        for name in self:
            value = self.pop(name, _MISSING)
            if value is not _MISSING:
                return name, value
        raise KeyError("popitem(): the mapping is empty")

    def setdefault(self, name: str, default: V = None) -> V:  # type: ignore[assignment]
        """Of several who set one name at one time, all get the value of the first."""
        while True:
            try:
                self._store.create(self._key(name), self._codec.encode(default), content_type=self._codec.content_type)
                return default
            except ConditionFailed:
                record = self._store.get(self._key(name))
                if record is not None:
                    return self._codec.decode(record.value)

    def clear(self) -> None:
        self._store.delete_many(self._key(name) for name in self)

    def update(self, other: Any = (), /, **more: V) -> None:
        """Many at once."""
        if isinstance(other, Mapping):
            pairs: Iterable[tuple[str, V]] = other.items()
        elif hasattr(other, "keys"):
            pairs = ((name, other[name]) for name in other.keys())  # noqa: SIM118 - no more is known of it
        else:
            pairs = other
        both = [*pairs, *more.items()]
        self._store.put_many(
            ((self._key(name), self._codec.encode(value)) for name, value in both),
            content_type=self._codec.content_type,
        )

    def __repr__(self) -> str:
        return f"<StoreMapping of {self._prefix!r}>"

    def _key(self, name: str) -> str:
        return self._prefix + name


class _Items(ItemsView[str, V]):
    _mapping: StoreMapping[V]

    def __iter__(self) -> Iterator[tuple[str, V]]:
        return self._mapping.listed()


class _Values(ValuesView[V]):
    _mapping: StoreMapping[V]

    def __iter__(self) -> Iterator[V]:
        return (value for _, value in self._mapping.listed())
