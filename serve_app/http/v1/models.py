"""The JSON answers of `/v1` as pydantic models: what the OpenAPI document and the docs page show."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

_MOMENT = "2026-01-01T00:00:00.000Z"


class IncrementAnswer(BaseModel):
    """The number after it was added to."""

    value: int = Field(examples=[1])
    revision: int = Field(examples=[8])


class ListedKey(BaseModel):
    """A record of a list."""

    key: str = Field(examples=["hello"])
    revision: int = Field(examples=[7])
    size: int = Field(description="The value's bytes.", examples=[5])
    content_type: str = Field(examples=["text/plain; charset=utf-8"])
    modified: str = Field(examples=[_MOMENT])
    expires: str | None = Field(description="null for never.", examples=[None])
    value: str | None = Field(None, description="With `values=true`, where it is UTF-8 text.", examples=["world"])
    value_base64: str | None = Field(None, description="With `values=true`, where it is not.", examples=["//4="])


class KeysAnswer(BaseModel):
    """A page of the keys, in the order of their bytes."""

    keys: list[ListedKey]
    common_prefixes: list[str] = Field(
        description="With a `delimiter`: what keys that hold it behind the prefix have in common, up to it.",
        examples=[[]],
    )
    next: str | None = Field(
        description="What to give as `start_after` for what follows; null at the end.", examples=[None]
    )


class BatchAnswer(BaseModel):
    """What each operation would be answered with alone, in order."""

    results: list[dict[str, Any]] = Field(examples=[[{"status": 201, "revision": 7}]])


class ImportAnswer(BaseModel):
    """What was done."""

    imported: int = Field(description="Records that were stored.", examples=[1])
    expired: int = Field(description="Records that were left out, for their time has come.", examples=[0])


class TouchAnswer(BaseModel):
    """When the record expires now."""

    expires: str | None = Field(description="As RFC 3339 writes it; null for never.", examples=[_MOMENT])
    revision: int = Field(examples=[9])
