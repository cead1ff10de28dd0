"""The answers of the API as pydantic models: what the OpenAPI document and the docs page show."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

_DIGEST = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


class PutAnswer(BaseModel):
    """What was stored, and where."""

    key: str = Field(examples=["hello"])
    value: str = Field(examples=["world"])
    action: Literal["created", "updated"]
    bucket_id: int = Field(description="The bucket that holds it: SHA256(key) % bucket_count.", examples=[0])
    digest: str = Field(description="SHA256 of the key, in hex.", examples=[_DIGEST], pattern="^[0-9a-f]{64}$")


class GetAnswer(BaseModel):
    """A key's value."""

    value: str = Field(examples=["world"])
    bucket_id: int = Field(examples=[0])
    digest: str = Field(examples=[_DIGEST], pattern="^[0-9a-f]{64}$")


class DeleteAnswer(BaseModel):
    """What was deleted."""

    key: str = Field(examples=["hello"])
    value: str = Field(description="The value that it had.", examples=["world"])
    bucket_id: int = Field(examples=[0])
    digest: str = Field(examples=[_DIGEST], pattern="^[0-9a-f]{64}$")


class HealthAnswer(BaseModel):
    """M, the number of buckets that own keys."""

    bucket_count: int = Field(examples=[2])


class BucketStatus(BaseModel):
    """One bucket, as it reported itself just now."""

    bucket_id: int = Field(examples=[0])
    reachable: bool = Field(description="It answered and serves.", examples=[True])
    keys: int | None = Field(description="Exact number of records; null while it can't be asked.", examples=[1204])
    bytes: int | None = Field(
        description="Exact size of all keys and records; null while it can't be asked.", examples=[183415]
    )
    moved: int | None = Field(
        description="Keys that have left for another bucket in the move under way; this and the next five are null while "
        "it can't be asked, or has not been told of the move.",
        examples=[0],
    )
    moved_bytes: int | None = Field(description="Their bytes.", examples=[0])
    remaining: int | None = Field(description="Keys that have yet to leave: estimated, exact at the end.", examples=[0])
    remaining_bytes: int | None = Field(description="Their bytes, likewise.", examples=[0])
    keys_per_s: float | None = Field(description="Keys that left in a second, over the last few.", examples=[0.0])
    bytes_per_s: float | None = Field(description="Bytes, likewise.", examples=[0.0])
    revision: int | None = Field(
        None,
        description="The last one that it gave. Each write takes one, so two of them tell how many there were in between; "
        "in a move it may jump.",
        examples=[1310],
    )
    queued_writes: int | None = Field(None, description="Writes that wait for its disk.", examples=[0])
    free_bytes: int | None = Field(description="Space left on its disk.", examples=[52613349376])
    disk_full: bool = Field(description="Puts are refused with 507; reads and deletes go on.", examples=[False])
    waiting_for: str = Field(description="What its part of a move waits for; empty for nothing.", examples=[""])
    last_error: str = Field(
        description="Why it can't be reached or serve, or the last damage it met; empty for nothing.", examples=[""]
    )


class TopologyAnswer(BaseModel):
    """The shape of the store and the state of its buckets."""

    epoch: int = Field(description="Grows with every change of the shape.", examples=[1])
    bucket_count: int = Field(examples=[2])
    target_count: int = Field(description="Where a move is going; bucket_count when there is none.", examples=[2])
    phase: Literal["stable", "moving"]
    configured_count: int | None = Field(description="bucket_count of this directory's configuration.", examples=[2])
    expected_end_s: float | None = Field(
        description="Seconds until all keys have moved, if it goes on as in the last few; null while that can't be told, "
        "and where none move.",
        examples=[None],
    )
    problem: str = Field(description="Why the configuration is not followed; empty where it is.", examples=[""])
    buckets: list[BucketStatus]
