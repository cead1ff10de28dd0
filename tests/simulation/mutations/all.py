"""All bugs there are to put in."""

from __future__ import annotations

from tests.simulation.mutations import losing, moving, reading, routing, writing

MUTATIONS = [*writing.MUTATIONS, *routing.MUTATIONS, *moving.MUTATIONS, *reading.MUTATIONS, *losing.MUTATIONS]
