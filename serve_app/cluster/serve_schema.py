"""Serve's own judgement of a configuration, before anything is started: what it would say only when Ray is up."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from ray.serve.schema import ServeDeploySchema

from serve_app.settings import explain


def problem(document: dict[str, Any]) -> str:
    """What Serve finds wrong with a configuration's values, as a sentence; empty where it would take it."""
    try:
        ServeDeploySchema.model_validate(document)
    except ValidationError as error:
        return explain(error, "")
    return ""
