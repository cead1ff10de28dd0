"""Where a bucket can be reached: what its actor's `endpoint()` answers over Ray's authenticated control plane."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Endpoint:
    """address is `(host, port)`; token is fresh with each incarnation of the process and never logged."""

    address: tuple[str, int]
    token: str
    incarnation: str

    def __repr__(self) -> str:
        return f"Endpoint({self.address[0]}:{self.address[1]}, incarnation={self.incarnation})"
