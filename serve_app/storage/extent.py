"""How far the feed of a bucket reaches back: the fact `bucket.feed`."""

from __future__ import annotations

import msgspec

from serve_app.errors import StorageDamaged

EXTENT = b"bucket.feed"


class Extent(msgspec.Struct, frozen=True, array_like=True):
    """since: all changes after this revision are here. milestones: revisions, one every so many changes. began: the revision
    with which the bucket's part in the store began, so that there is nothing to be told of before; less than `since` where
    there was more."""

    since: int = 0
    milestones: tuple[int, ...] = ()
    began: int = 0


_decoder = msgspec.msgpack.Decoder(Extent)


def extent_fact(extent: Extent) -> tuple[bytes, bytes]:
    """The change that makes an extent durable."""
    return EXTENT, msgspec.msgpack.encode(extent)


def read_extent(raw: bytes | None, where: str) -> Extent:
    """From the fact's bytes. Raises StorageDamaged."""
    try:
        return Extent() if raw is None else _decoder.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise StorageDamaged(f"{where}: the stored extent of the feed can't be read: {error}") from error
