"""The link to one bucket: keeps a connection to it as long as whoever needs it lives, and sends calls over it.

A bucket comes and goes (restarts, moves to another node) under the same id. The link resolves it again through the control
plane, reconnects, and lets a bounded number of calls wait meanwhile; where the bucket reports a fault that will not pass by
itself in a moment, they are refused at once instead.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Protocol

from serve_app import events
from serve_app.errors import Unavailable
from serve_app.operations.body import Body
from serve_app.settings import Limits
from serve_app.wire.connection import ClientConnection, Connector, HandshakeRefused, answered, open_connection
from serve_app.wire.endpoint import Endpoint
from serve_app.wire.messages import Status, Welcome

_SWEEP_S = 0.05
#: A connection that broke sooner was never a good one: the next is tried less quickly.
_STABLE_S = 0.5
_BACKOFF_S = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class BucketFault(Exception):
    """The bucket's actor is there and says why it does not serve."""


class Retired(Unavailable):
    """The store goes on without the bucket."""


class ControlPlane(Protocol):
    """How buckets are found. `cluster/` implements it on Ray actors, for directories and for an operator's commands."""

    async def resolve(self, bucket_id: int) -> Endpoint:
        """Find the bucket, created if need be, and ask where it listens.

        Raises:
            BucketFault: it says what keeps it from serving.
            Exception: it can't be found or asked now; trying again is right.
        """

    async def ids(self) -> list[int]:
        """The ids of the buckets that there are, or that have a place, in order. None is made for this.

        Raises:
            Unavailable: that can't be told.
        """


class BucketLink:
    """See the module. All methods run on the loop of whoever has it."""

    def __init__(
        self,
        bucket_id: int,
        control_plane: ControlPlane,
        connector: Connector,
        limits: Limits,
        expected_identity: Callable[[int], str],
        jitter: Callable[[], float] = random.random,
        *,
        guest: bool = False,
    ) -> None:
        """jitter: 0 to 1, anew for each pause before the next try. guest: as in `messages.Hello`."""
        self.bucket_id = bucket_id
        self._control_plane = control_plane
        self._connector = connector
        self._limits = limits
        self._expected_identity = expected_identity
        self._jitter = jitter
        self._guest = guest
        self._connection: ClientConnection | None = None
        self._ready = asyncio.Event()
        self._waiting = 0
        self._tasks: list[asyncio.Task[None]] = []
        #: Why there is no connection, as a sentence; empty while there is one.
        self.trouble = "not connected yet"
        #: Set while the bucket itself reports a fault, or is not the one the store knows: nothing waits for it then.
        self.faulted = False
        self._identity = ""
        self._wrong_storage = False
        self.retired = False

    def start(self) -> None:
        """Connect, and stay connected, in the background."""
        self._tasks = [asyncio.create_task(self._stay_connected()), asyncio.create_task(self._sweep())]

    def retire(self) -> None:
        """The store goes on without this bucket: whoever waits for it looks again for its key's home."""
        self.retired = True
        self._ready.set()

    async def drain(self, timeout_s: float) -> None:
        """`stop`, once the calls under way have been answered, or after the timeout."""
        self._tasks[0].cancel()  # a bucket that ends meanwhile is not brought back
        if self._connection is not None:
            await self._connection.drain(timeout_s)
        await self.stop()

    async def stop(self) -> None:
        """Close the connection; calls still open fail."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._connection is not None:
            self._connection.close()

    @property
    def connected(self) -> bool:
        return self._connection is not None and self._connection.open

    @property
    def calls_open(self) -> int:
        """Calls sent and not yet answered."""
        return 0 if self._connection is None else self._connection.calls_open

    @property
    def calls_waiting(self) -> int:
        """Calls waiting for a connection."""
        return self._waiting

    @property
    def wrong_storage(self) -> bool:
        """Whether the storage behind the connection is not the one the store knows under this id."""
        return self._wrong_storage

    def connection(self) -> ClientConnection | None:
        """The open connection for operations, or None. A stranger gets none; it can only be asked for its status."""
        connection = self._connection
        return connection if connection is not None and connection.open and not self._wrong_storage else None

    def check_identity(self) -> None:
        """Compare the storage behind the connection with the one the store knows. Called when either may be new."""
        expected, was_wrong = self._expected_identity(self.bucket_id), self._wrong_storage
        self._wrong_storage = bool(self._connection and expected and expected != self._identity)
        if self._wrong_storage:
            self._note_trouble(
                f"its storage has identity {self._identity}, but the store knows it as {expected}: "
                "the volume came back empty or is another one",
                faulted=True,
            )
        elif was_wrong and self.connected:  # the store has gone on with it
            self.trouble, self.faulted = "", False
            self._ready.set()

    def reconnect(self) -> None:
        """Break the connection, so that the bucket is looked for again."""
        if self._connection is not None:
            self._connection.close()

    async def wait_for_connection(self, deadline_s: float) -> ClientConnection:
        """The open connection, waited for until the deadline (on the loop's clock).

        Raises:
            Unavailable: none came, too many wait already, or the bucket reports a fault. Nothing was sent.
            Retired: the store goes on without the bucket; whoever waits looks again for its key's home.
        """
        if self._waiting >= self._limits.max_waiting_per_bucket:
            raise Unavailable(
                f"bucket-{self.bucket_id} is away ({self.trouble}) and many operations wait for it already"
            )
        self._waiting += 1
        try:
            async with asyncio.timeout_at(deadline_s):
                while (connection := self.connection()) is None:
                    if self.retired:
                        raise Retired(f"bucket-{self.bucket_id} is no part of the store any more")
                    if self.faulted:
                        raise Unavailable(f"bucket-{self.bucket_id} can't serve: {self.trouble}")
                    self._ready.clear()
                    await self._ready.wait()
                return connection
        except TimeoutError:
            raise Unavailable(f"bucket-{self.bucket_id} is away: {self.trouble}") from None
        finally:
            self._waiting -= 1

    async def ask(self, body: Body[Status], timeout_s: float, epoch: int = 0) -> Status:
        """The bucket's status, as the answer to `body`; also of a stranger's storage.

        Raises:
            Unavailable: it is away, or refused.
            ConnectionBroken, CallExpired: there is no answer; it may have been carried out.
        """
        connection = self._connection
        if connection is None or not connection.open:
            raise Unavailable(f"bucket-{self.bucket_id} is away: {self.trouble}")
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        answer = answered(self.bucket_id, await connection.call(body, deadline_s, epoch))
        if not isinstance(answer, Status):
            raise Unavailable(f"bucket-{self.bucket_id} answered without its status")
        return answer

    async def _stay_connected(self) -> None:
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            try:
                connection = await self._connect()
            except BucketFault as error:
                self._note_trouble(str(error), faulted=True)
            except HandshakeRefused as error:
                self._note_trouble(str(error), faulted=False)
            except (OSError, TimeoutError) as error:
                self._note_trouble(f"no connection: {str(error) or type(error).__name__}", faulted=False)
            except Exception as error:  # whatever the control plane met: it is tried again for as long as we live
                self._note_trouble(f"not found: {str(error) or type(error).__name__}", faulted=False)
            else:
                up_s = loop.time()
                await connection.closed
                self._connection, self._wrong_storage = None, False
                self._note_trouble("the connection broke", faulted=False)
                if loop.time() - up_s > _STABLE_S:
                    attempt = 0
                    continue
            pause_s = _BACKOFF_S[min(attempt, len(_BACKOFF_S) - 1)]
            attempt += 1
            await asyncio.sleep(pause_s * (0.5 + self._jitter() / 2))

    async def _connect(self) -> ClientConnection:
        endpoint = await self._control_plane.resolve(self.bucket_id)
        expected = self._expected_identity(self.bucket_id)
        try:
            connection, welcome = await self._open(endpoint, expected)
        except HandshakeRefused:
            if not expected:
                raise
            connection, welcome = await self._open(endpoint, "")  # to learn who it is
        self._connection, self._identity = connection, welcome.identity
        self.trouble, self.faulted = "", False
        self.check_identity()
        events.info("bucket connected", bucket=self.bucket_id, incarnation=welcome.incarnation)
        self._ready.set()
        return connection

    async def _open(self, endpoint: Endpoint, identity: str) -> tuple[ClientConnection, Welcome]:
        return await open_connection(
            endpoint, self.bucket_id, identity, self._limits, self._connector, guest=self._guest
        )

    def _note_trouble(self, trouble: str, *, faulted: bool) -> None:
        if (trouble, faulted) != (self.trouble, self.faulted):
            events.warning("bucket away", bucket=self.bucket_id, reason=trouble)
        self.trouble, self.faulted = trouble, faulted
        if faulted:
            self._ready.set()  # those who wait learn that there is nothing to wait for

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            if self._connection is not None:
                self._connection.expire()


#: Makes a link from a bucket's id and what tells the identity of the storage that is expected there.
MakeLink = Callable[[int, Callable[[int], str]], BucketLink]
