"""What `run` takes as a Serve configuration: Serve's own names, and of their values what a start can be seen to fail on.

Serve ignores names that it does not know, and starts much that can never answer: a misspelt setting, another application or
another prefix would say nothing for a minute. Serve's own schema is no help: it forbids no name, and importing it takes Ray
and seconds. That the names here are the installed Serve's is what tests/unit/test_serve_config.py looks at.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

APPLICATION = "cloud-storage"
DEPLOYMENT = "Directory"
IMPORT_PATH = "serve_app.app:build"

Anything = Any
T = TypeVar("T")
Name = Annotated[str, Field(min_length=1)]
Positive = Annotated[int, Field(gt=0)]


class _Known(BaseModel):
    """A mapping with these names alone. Values are taken as they are written: `true` is no number."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Logging(_Known):
    encoding: Anything = None
    log_level: Anything = None
    logs_dir: Anything = None
    enable_access_log: bool = True
    additional_log_standard_attrs: Anything = None


class HttpOptions(_Known):
    host: Name = "0.0.0.0"  # noqa: S104 - Serve's default
    port: Annotated[int, Field(gt=0, lt=65536)] = 8000
    root_path: str = ""
    request_timeout_s: float | int | None = None
    keep_alive_timeout_s: int = 1
    ssl_keyfile: None = None
    ssl_certfile: None = None
    ssl_keyfile_password: None = None
    ssl_ca_certs: None = None

    @field_validator("ssl_keyfile", "ssl_certfile", "ssl_keyfile_password", "ssl_ca_certs", mode="before")
    @classmethod
    def _no_tls(cls, value: object) -> object:
        if value is not None:
            raise ValueError("`run` asks the API over plain HTTP whether it is up: put TLS in front of it")
        return value


class Deployment(_Known):
    name: Name
    num_replicas: Positive | Literal["auto"] | None = None
    max_ongoing_requests: Positive = 1
    max_queued_requests: Annotated[int, Field(ge=-1)] = -1
    backpressure_config: Anything = None
    user_config: Anything = None
    autoscaling_config: Anything = None
    graceful_shutdown_wait_loop_s: Anything = None
    graceful_shutdown_timeout_s: Anything = None
    health_check_period_s: Anything = None
    health_check_timeout_s: Anything = None
    ray_actor_options: Anything = None
    placement_group_bundles: Anything = None
    placement_group_strategy: Anything = None
    placement_group_bundle_label_selector: Anything = None
    max_replicas_per_node: Anything = None
    logging_config: Logging | None = None
    request_router_config: Anything = None
    gang_scheduling_config: Anything = None
    deployment_actors: Anything = None
    rolling_update_percentage: Anything = None
    max_surge_percent: Anything = None


class Application(_Known):
    name: str = "default"
    route_prefix: str | None = "/"
    import_path: str
    runtime_env: Anything = None
    host: Anything = None
    port: Anything = None
    deployments: list[Deployment] = Field(default_factory=list)
    autoscaling_policy: Anything = None
    args: Anything = None
    logging_config: Logging | None = None
    external_scaler_enabled: Anything = None

    @field_validator("host", "port", mode="before")
    @classmethod
    def _not_here(cls, value: object) -> object:
        if value is not None:
            raise ValueError("belongs below http_options")
        return value

    @field_validator("deployments")
    @classmethod
    def _names_differ(cls, value: list[Deployment]) -> list[Deployment]:
        return _different(value, "deployments", (deployment.name for deployment in value))

    @model_validator(mode="after")
    def _ours_is_as_built(self) -> Application:
        if self.name != APPLICATION:
            return self
        if self.import_path != IMPORT_PATH:
            raise ValueError(f"import_path is {self.import_path!r:.80}; the store's is {IMPORT_PATH!r}")
        if self.route_prefix != "/":
            raise ValueError(f"route_prefix is {self.route_prefix!r:.80}; the store answers below '/' alone")
        for deployment in self.deployments:
            if deployment.name != DEPLOYMENT:
                raise ValueError(f"has a deployment {deployment.name!r:.80}; the store's is {DEPLOYMENT!r}")
        return self


class ServeConfig(_Known):
    """The whole file."""

    proxy_location: Literal["EveryNode", "HeadOnly"] = "EveryNode"
    http_options: HttpOptions = HttpOptions()
    grpc_options: Anything = None
    controller_options: Anything = None
    logging_config: Logging | None = None
    tracing_config: Anything = None
    applications: list[Application]
    target_capacity: Annotated[float | int, Field(gt=0, le=100)] | None = None

    @field_validator("applications")
    @classmethod
    def _applications_differ(cls, value: list[Application]) -> list[Application]:
        _different(value, "applications", (application.name for application in value))
        prefixes = [application.route_prefix for application in value if application.route_prefix is not None]
        return _different(value, "applications", prefixes)

    @property
    def store(self) -> Application | None:
        """The store's application, if there is one."""
        return next((application for application in self.applications if application.name == APPLICATION), None)


def _different(items: list[T], what: str, names: Iterable[str]) -> list[T]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"two {what} have {name!r:.80}")
        seen.add(name)
    return items
