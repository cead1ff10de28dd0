"""What serve_config.yaml imports: `serve_app.app:build`."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from ray import serve

from serve_app.cluster.api_address import loopback_host
from serve_app.cluster.build import build_of
from serve_app.cluster.deployment import deployment
from serve_app.settings import Settings, explain


def build(args: dict[str, Any]) -> serve.Application:
    """The Serve application for these `args` (see `settings.Settings`).

    Raises:
        ValueError: an arg is unknown or wrong; it says which.
    """
    try:
        settings = Settings.model_validate(args)
    except ValidationError as error:
        raise ValueError(explain(error, "args")) from None
    return deployment(build_of(settings, loopback_host()))
