"""All bugs there are to put in."""

from __future__ import annotations

from tests.simulation.mutations import (
    Mutation,
    availability,
    bounds,
    committing,
    deciding,
    following,
    losing,
    moving,
    reading,
    requests,
    restarting,
    routing,
    verifying,
    writing,
)

_MODULES = (
    writing,
    routing,
    moving,
    reading,
    losing,
    verifying,
    bounds,
    availability,
    restarting,
    committing,
    requests,
    following,
    deciding,
)

MUTATIONS: list[Mutation] = [mutation for module in _MODULES for mutation in module.MUTATIONS]
