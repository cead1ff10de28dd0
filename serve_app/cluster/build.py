"""What a bucket actor was made from: its settings and the code of this package.

A named actor outlives the deployment that made it, with the arguments and code of that time. A directory compares
fingerprints, and where they differ the later built application wins: `generation` says which that is, so that during a
rolling update an old directory never turns a new bucket back.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from serve_app.settings import Settings


@dataclass(frozen=True)
class Build:
    """One built application. settings_json is what its actors are made with."""

    settings_json: str
    code_hash: str
    #: When it was built, in nanoseconds since the Unix epoch.
    generation: int
    #: The host that Serve's HTTP API listens on, where only its own machine can reach it; else empty.
    loopback_host: str = ""

    @property
    def fingerprint(self) -> str:
        """Equal for two builds exactly when their buckets would run the same code with the same settings."""
        # Buckets know nothing of tokens, nor of the Redis protocol: to turn those on costs no bucket's restart.
        settings_json = self.settings.model_dump_json(exclude={"auth", "redis"})
        made_from = f"{self.code_hash}\n{settings_json}\n{bool(self.loopback_host)}"
        return hashlib.sha256(made_from.encode()).hexdigest()[:16]

    @property
    def settings(self) -> Settings:
        return Settings.model_validate_json(self.settings_json)


def build_of(settings: Settings, loopback_host: str = "") -> Build:
    """A build made now."""
    return Build(settings.model_dump_json(), _code_hash(), time.time_ns(), loopback_host)


@cache
def _code_hash() -> str:
    package = Path(__file__).parent.parent
    hashed = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        hashed.update(str(path.relative_to(package)).encode() + b"\0" + path.read_bytes() + b"\0")
    return hashed.hexdigest()
