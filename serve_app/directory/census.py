"""Which buckets there are: a question to the control plane, which a directory asks before it founds a store."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection

from serve_app.errors import Unavailable

#: It is asked of the cluster's head, and by every directory: at most this often.
_ASK_EVERY_S = 1.0

FindBuckets = Callable[[], Awaitable[Collection[int]]]


class Census:
    """What the control plane said last, or why it did not."""

    def __init__(self, find_buckets: FindBuckets) -> None:
        self._find_buckets = find_buckets
        self._asked_s = -math.inf
        self._trouble: Unavailable | None = None
        #: As said last; empty where it was not said.
        self.latest: Collection[int] = ()

    async def ids(self, *, anew: bool = False) -> Collection[int]:
        """The ids of the buckets there are, as said within the last second, or said now.

        Raises:
            Unavailable: that was not said.
        """
        now_s = asyncio.get_running_loop().time()
        if anew or now_s >= self._asked_s + _ASK_EVERY_S:
            self._asked_s, self._trouble, self.latest = now_s, None, ()
            try:
                self.latest = await self._find_buckets()
            except Unavailable as error:
                self._trouble = error
        if self._trouble is not None:
            raise self._trouble
        return self.latest
