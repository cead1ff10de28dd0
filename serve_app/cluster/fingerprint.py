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
    #: Whether Serve's HTTP API can be reached from its own machine alone.
    api_on_loopback: bool = False

    @property
    def fingerprint(self) -> str:
        """Equal for two builds exactly when their buckets would run the same code with the same settings."""
        made_from = f"{self.code_hash}\n{self.settings_json}\n{self.api_on_loopback}"
        return hashlib.sha256(made_from.encode()).hexdigest()[:16]

    @property
    def settings(self) -> Settings:
        return Settings.model_validate_json(self.settings_json)


def build_of(settings: Settings, *, api_on_loopback: bool = False) -> Build:
    """A build made now."""
    return Build(settings.model_dump_json(), _code_hash(), time.time_ns(), api_on_loopback)


@cache
def _code_hash() -> str:
    package = Path(__file__).parent.parent
    hashed = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        hashed.update(str(path.relative_to(package)).encode() + b"\0" + path.read_bytes() + b"\0")
    return hashed.hexdigest()
