"""Messages that come again, or late: what anybody may deliver at any time, and what a mover sends until it is answered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from serve_app.wire.connection import HandshakeRefused, connect_tcp, open_connection
from tests.simulation.observer import Sent

if TYPE_CHECKING:
    from tests.simulation.world import World


def repeat(world: World, sender: str, bucket: str, message: Sent) -> None:
    """Over the connection that the sender has now, or, where that is gone, as what was under way all the time."""
    found = world.observer.connection(sender, bucket)
    if found is None:
        _deliver_late(world, sender, bucket, message)
        return
    process, connection = found
    world.met("repeat")
    world.note(f"{sender} repeats {type(message.body).__name__} to {bucket}")
    world.loop.call_soon(world.observer.repeat, connection, message, 2.0, context=process.context)


def _deliver_late(world: World, sender: str, bucket: str, message: Sent) -> None:
    """Its sender's connection, or its sender, is gone: this was under way all the time."""
    node = next((node for node in world.buckets.values() if node.name == bucket), None)
    if node is None or node.endpoint is None:
        return
    endpoint, bucket_id = node.endpoint, node.bucket_id

    async def deliver() -> None:
        try:
            connection, _ = await open_connection(endpoint, bucket_id, "", world.plan.limits, connect_tcp)
        except (OSError, TimeoutError, HandshakeRefused):
            return
        world.met("repeat")
        world.note(f"{type(message.body).__name__} of {sender} comes late to {bucket}")
        world.observer.repeat(connection, message, 2.0)
        await asyncio.sleep(2.0)
        connection.close()

    process = world.loop.process(f"late from {sender}")
    world.loop.create_task(deliver(), context=process.context)
