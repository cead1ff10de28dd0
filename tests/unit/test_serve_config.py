"""The names that `run` takes in a configuration are those that the installed Ray Serve takes."""

from __future__ import annotations

import pytest
from pydantic import BaseModel
from ray.serve import schema

from serve_app.cli import serve_config


@pytest.mark.parametrize(
    ("ours", "serves"),
    [
        (serve_config.ServeConfig, schema.ServeDeploySchema),
        (serve_config.HttpOptions, schema.HTTPOptionsSchema),
        (serve_config.Application, schema.ServeApplicationSchema),
        (serve_config.Deployment, schema.DeploymentSchema),
        (serve_config.Logging, schema.LoggingConfig),
    ],
)
def test_the_names_are_serves(ours: type[BaseModel], serves: type[BaseModel]) -> None:
    assert set(ours.model_fields) == set(serves.model_fields)


def test_where_the_api_listens_when_nothing_is_said_is_where_serve_listens() -> None:
    ours, serves = serve_config.HttpOptions(), schema.HTTPOptionsSchema()
    assert (ours.host, ours.port) == (serves.host, serves.port)
