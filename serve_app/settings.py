"""What can be configured: the application's args, the deployment's user_config, and every limit.

`Settings` needs a restart to change and is checked when the application is built; `UserConfig` is taken by running
replicas. Unknown names are refused, so a typing error can't pass for a setting.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from serve_app.loopback import canonical_host, is_loopback
from serve_app.record_bounds import MAX_VALUE_BYTES
from serve_app.topology import MAX_BUCKET_COUNT

NAMESPACE = "cloud-storage"
MIB = 1024 * 1024
#: In `allowed_hosts`: requests may name any host.
ANY_HOST = "*"
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*|[0-9a-f]*:[0-9a-f:.]*")

#: Numbers are taken as they are written (`true` is none), and have bounds that no machine needs to go beyond: what is
#: larger overflows in RocksDB, or is a typing error.
Positive = Annotated[int, Field(gt=0, le=10**6, strict=True)]
Bytes = Annotated[int, Field(gt=0, le=1 << 40, strict=True)]
Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]


class Limits(BaseModel):
    """Bounds on everything that can grow. The defaults suit a small machine; docs/operations.md says what each costs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_value_bytes: Annotated[int, Field(gt=0, le=MAX_VALUE_BYTES, strict=True)] = MAX_VALUE_BYTES
    #: How long a request may take in the directory before it is answered 503 (refused) or 504 (unknown).
    request_timeout_s: Seconds = 10.0
    #: A request body that brings nothing for this long is answered 408.
    upload_stall_s: Seconds = 10.0
    #: Unfinished request bodies held at once by a directory, in number and in bytes; the most stalled give way.
    max_uploads: Positive = 256
    max_upload_bytes: Bytes = 256 * MIB
    #: Large answers held at once by a directory for clients that are still reading them.
    max_response_bytes: Bytes = 256 * MIB
    #: Values of puts that a directory holds until they are answered.
    max_held_bytes: Bytes = 256 * MIB
    #: Operations waiting in a directory until the topology is known.
    max_waiting_for_topology: Positive = 256
    #: Operations sent to one bucket and not yet answered, by a directory.
    max_calls_per_bucket: Positive = 1024
    max_call_bytes_per_bucket: Bytes = 128 * MIB
    #: Operations waiting in a directory for a bucket that is away.
    max_waiting_per_bucket: Positive = 64
    #: Writes waiting in a bucket for the group being synced.
    max_queued_writes: Positive = 4096
    max_queued_write_bytes: Bytes = 128 * MIB
    #: Reads of one connection that wait in a bucket for the disk.
    max_queued_reads: Positive = 4096
    #: One group commit: operations and bytes written with one sync.
    max_group_writes: Positive = 512
    max_group_bytes: Bytes = 32 * MIB
    #: Connections a bucket takes (each directory has one, and so have others that move keys), and beside those the ones of
    #: clients' processes inside the cluster (`serve_app.connect`), each of which has one.
    max_connections: Positive = 256
    max_client_connections: Positive = 1024
    #: RocksDB's block cache and write buffer (of which up to three live at once), per bucket.
    cache_bytes: Annotated[int, Field(ge=MIB, le=1 << 40, strict=True)] = 96 * MIB
    write_buffer_bytes: Annotated[int, Field(ge=MIB, le=1 << 34, strict=True)] = 32 * MIB
    #: Outcomes of requests with idempotency keys that a bucket remembers; further ones are refused. Some 200 bytes each.
    max_outcomes: Annotated[int, Field(gt=0, le=10**8, strict=True)] = 4_000_000
    #: Changes that a bucket keeps for watches that come back. Some 50 bytes each, and their keys.
    watch_history: Annotated[int, Field(gt=0, le=10**7, strict=True)] = 100_000
    #: How fast a bucket's keys are moved when the number of buckets changes, at most: bytes of records a second.
    move_bytes_per_s: Bytes = 64 * MIB
    #: Below this much free space on a bucket's disk, puts are answered 507.
    disk_reserve_bytes: Annotated[int, Field(ge=0, le=1 << 50, strict=True)] = 128 * MIB


class Auth(BaseModel):
    """Who may use the API.

    tokens_file: names the tokens that there are (docs/operations.md, "Tokens"); everybody may do everything where None. A
        relative path is taken as `Settings.data_dir` is.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens_file: Path | None = None

    @field_validator("tokens_file", mode="before")
    @classmethod
    def _names_a_file(cls, value: object) -> object:
        return _named(value, "a file")

    @field_validator("tokens_file")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else _absolute(value)


class Redis(BaseModel):
    """Where directories listen for the Redis protocol (docs/redis.md).

    port: all directories of a node share it. host: an address of this machine; without one loopback, or every address where
        tokens are in force.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    port: Annotated[int, Field(gt=0, lt=65536, strict=True)]
    host: str | None = None

    @field_validator("host")
    @classmethod
    def _is_a_host(cls, value: str | None) -> str | None:
        if value is not None and not _HOST.fullmatch(value.lower()):
            raise ValueError(f"{value!r:.80} is no host to listen on")
        return value


class Settings(BaseModel):
    """The `args` of the application in serve_config.yaml.

    data_dir: the folder that holds one folder per bucket; on Kubernetes, where the volumes are mounted. A relative
        path is taken from the folder in which the configuration's application is built.
    pin_buckets: whether bucket i asks for one unit of the Ray resource `bucket-i`, so that it runs only where a node
        offers it. Off on one machine.
    allowed_hosts: names and addresses that requests may come to (in their Host header, whatever the port), beside the
        loopback ones. `*` allows all, which is the default where the API listens on more than loopback.
    data_plane_host: where buckets listen. `node`: on the address of their node. `loopback`: on 127.0.0.1. `auto`: on
        127.0.0.1 where the API does, until a directory on another node asks for a bucket; else on the node's address.
    redis: where directories listen for the Redis protocol; nowhere without it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    data_dir: Path
    pin_buckets: bool = False
    allowed_hosts: tuple[str, ...] = ()
    data_plane_host: Literal["auto", "node", "loopback"] = "auto"
    auth: Auth = Auth()
    redis: Redis | None = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    limits: Limits = Limits()

    @field_validator("data_dir", mode="before")
    @classmethod
    def _names_a_folder(cls, value: object) -> object:
        return _named(value, "a folder")

    @field_validator("data_dir")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return _absolute(value)

    @model_validator(mode="after")
    def _lets_no_strangers_in(self) -> Self:
        """Whoever reaches the port may do everything, unless there are tokens."""
        host = self.redis.host if self.redis is not None else None
        if host is not None and self.auth.tokens_file is None and not is_loopback(host.lower()):
            raise ValueError(
                "redis.host is reached from other machines, who may then do everything: name auth.tokens_file, or 127.0.0.1"
            )
        return self

    @field_validator("allowed_hosts")
    @classmethod
    def _are_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        hosts = tuple(
            canonical_host(host.lower().removeprefix("[").removesuffix("]").removesuffix(".")) for host in value
        )
        for given, host in zip(value, hosts, strict=True):
            if host != ANY_HOST and not _HOST.fullmatch(host):
                raise ValueError(
                    f"{given!r:.80} is no host: give a name or address without scheme, port and path, or '*'"
                )
        return hosts


def _named(value: object, what: str) -> object:
    """The value, where it is no text that could not name a file or folder. Raises ValueError."""
    if isinstance(value, str):
        try:
            named = value.strip() and b"\0" not in os.fsencode(value)
        except UnicodeEncodeError:  # half of a surrogate pair
            named = False
        if not named:
            raise ValueError(f"must name {what}")
    return value


def _absolute(path: Path) -> Path:
    try:
        return path.expanduser().absolute()
    except RuntimeError:  # `~somebody` whom the system does not know, or `~` without a home
        raise ValueError("names the home folder of a user who has none here") from None


class UserConfig(BaseModel):
    """The `user_config` of the deployment `Directory`: what changes without a restart."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bucket_count: Annotated[int, Field(ge=1, le=MAX_BUCKET_COUNT, strict=True)]


def explain(error: ValidationError, where: str) -> str:
    """A validation error as one sentence that names each wrong setting, e.g. for a command line or a log.

    >>> explain(error, "args")
    'args.limits.cache_bytes: Input should be greater than or equal to 1048576 (got 5)'
    """
    parts = []
    for item in error.errors():
        path = ".".join(filter(None, [where, *(str(step) for step in item["loc"])]))
        told = item["type"] in ("missing", "extra_forbidden") or isinstance(item["input"], (dict, list))
        got = "" if told else f" (got {item['input']!r:.80})"
        message = "unknown setting" if item["type"] == "extra_forbidden" else item["msg"].removeprefix("Value error, ")
        parts.append(f"{path}: {message}{got}")
    return "; ".join(parts)
