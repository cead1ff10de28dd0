"""The versions of the data plane, and which one two peers speak.

A version is raised by any change that an older peer would misread. Each release speaks its own and the one before, so that
the processes of a store can be replaced one by one: the caller's Hello names both, the bucket's Welcome the highest that both
know. Peers that have none in common hang up.

| version | what came with it |
| --- | --- |
| 4 | envelopes with bodies in them; Hello and Welcome negotiate |
| 5 | conditions, expiry, idempotency keys, batches, lists, feeds; framed as 4, so a body says which version it needs |
| 6 | writes into a part of a value, or that tell what there was; touches of some records; decimal numbers. Framed as 5 |
| 7 | several acceptors decide what topology follows (`voting.py`). Framed as 5 |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec

from serve_app.wire.frames import Decode, encode_frame
from serve_app.wire.messages import Envelope, Hello, Reply, Welcome

OLDEST, NEWEST = 4, 7


class Codec(NamedTuple):
    """How one version puts calls and replies into frames. The `decode` functions raise what `FrameReader` expects."""

    encode_call: Callable[[Envelope], bytearray]
    decode_call: Decode[Envelope]
    encode_reply: Callable[[Reply], bytearray]
    decode_reply: Decode[Reply]


_CODEC = Codec(
    encode_frame,
    msgspec.msgpack.Decoder(Envelope).decode,
    encode_frame,
    msgspec.msgpack.Decoder(Reply).decode,
)
#: All put messages into the same frames. What an earlier release has no words for is not sent (`Body.version_needed`), and
#: fields that it does not know stand at the end, where it reads past them.
CODECS = {4: _CODEC, 5: _CODEC, 6: _CODEC, 7: _CODEC}

decode_hello: Decode[Hello] = msgspec.msgpack.Decoder(Hello).decode
decode_welcome: Decode[Welcome] = msgspec.msgpack.Decoder(Welcome).decode


def agreed_version(hello: Hello) -> int | None:
    """The highest version that the caller and we speak, or None."""
    version = min(hello.newest or hello.oldest, NEWEST)
    return version if version >= max(hello.oldest, OLDEST) else None


def welcomed_version(hello: Hello, welcome: Welcome) -> int | None:
    """The version in which the bucket speaks that answered our Hello, or None where it names one that we don't know."""
    version = welcome.version or hello.oldest
    return version if version in CODECS else None
