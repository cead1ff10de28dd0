"""How an operator's commands find the buckets: as the directories do, but making none."""

from __future__ import annotations

from serve_app.wire.endpoint import Endpoint
from tests.simulation.world import World


class Finder:
    """Implements ControlPlane."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def ids(self) -> list[int]:
        return await self._world.ids()

    async def resolve(self, bucket_id: int) -> Endpoint:
        return await self._world.resolve(bucket_id, make=False)
