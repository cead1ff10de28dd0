"""A bucket whose reading threads may stand still between any two looks at what they share with its loop and its writer.

Every attribute of the bucket that a reading thread asks for is such a look, whatever it is called: code that will be written
later is covered too. The loop and the writer are not held up by this; their order is the simulated machine's business.
"""

from __future__ import annotations

from typing import Any

from serve_app.bucket.bucket import Bucket

_look = object.__getattribute__


class PreemptedBucket(Bucket):
    """A bucket on a simulated disk."""

    def __getattribute__(self, name: str) -> Any:
        own = _look(self, "__dict__")
        if name in own:
            stand_still = own["_engine"].stand_still
            if stand_still is not None:
                stand_still("look")
                return _look(self, "__dict__")[name]
        return _look(self, name)


def preempt(bucket: Bucket) -> None:
    """From now on."""
    bucket.__class__ = PreemptedBucket
