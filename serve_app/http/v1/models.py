"""The JSON answers of `/v1` as pydantic models: what the OpenAPI document and the docs page show."""

from __future__ import annotations

from pydantic import BaseModel, Field

_MOMENT = "2026-01-01T00:00:00.000Z"


class IncrementAnswer(BaseModel):
    """The number after it was added to."""

    value: int = Field(examples=[1])
    revision: int = Field(examples=[8])


class TouchAnswer(BaseModel):
    """When the record expires now."""

    expires: str | None = Field(description="As RFC 3339 writes it; null for never.", examples=[_MOMENT])
    revision: int = Field(examples=[9])
