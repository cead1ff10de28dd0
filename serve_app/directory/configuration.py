"""How many buckets a directory is configured with, and why the store has another number of them."""

from __future__ import annotations

from serve_app import events
from serve_app.directory.view import StoreView


class Configuration:
    """The configured bucket_count founds a new store; a stored topology has the last word, until a move has ended."""

    def __init__(self) -> None:
        #: M as configured; None where nothing is yet.
        self.bucket_count: int | None = None
        #: Why the last configuration was not followed; empty where it was.
        self.refused = ""
        self._count_problem = ""

    def follow(self, bucket_count: int) -> None:
        """A new count is configured."""
        self.bucket_count = bucket_count
        self.refused = ""

    def refuse(self, problem: str) -> None:
        """Remember why a configuration is not followed; the one before stays."""
        self.refused = problem

    @property
    def problem(self) -> str:
        """Why the configuration is not followed, as a sentence; empty where it is."""
        return self.refused or self._count_problem

    def compare(self, view: StoreView) -> None:
        """Say why the store has another number of buckets than is configured: it moves, or what it waits for."""
        topology, wanted = view.topology, self.bucket_count
        assert topology is not None, "there is something to compare with"
        zero, link = view.statuses.get(0), view.link(0)
        waiting_for = "" if zero is None else zero.waiting_for
        problem = ""
        if topology.moving:
            if wanted not in (None, topology.target_count):
                problem = f"bucket_count {wanted} is taken up when the move to {topology.target_count} has ended"
        elif wanted is not None and wanted != topology.bucket_count:
            problem = f"the store has {topology.bucket_count} buckets, and is about to move to {wanted}"
        if link.faulted and (problem or topology.moving):
            waiting_for = f"bucket-0, which begins and ends moves, can't serve: {link.trouble}"
        if waiting_for:
            problem = f"{problem}; waiting: {waiting_for}" if problem else f"waiting: {waiting_for}"
        if problem and problem != self._count_problem:
            events.info("topology to change", configured=wanted, stored=topology.bucket_count, problem=problem)
        self._count_problem = problem
