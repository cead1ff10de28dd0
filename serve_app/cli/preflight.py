"""What `run` looks at before it starts anything: configuration, ports and the data folder."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from serve_app.cli import tokens_on_disk
from serve_app.cli.environment import of_a_cluster_of_its_own
from serve_app.cli.serve_config import APPLICATION, ServeConfig
from serve_app.command_output.failure import Failure
from serve_app.settings import Settings, UserConfig, explain

_BUCKET = re.compile(r"bucket-(0|[1-9]\d*)")
#: How a Ray that is started here is told of resources that it does not find by itself.
_RESOURCES = "RAY_OVERRIDE_RESOURCES"


@dataclass(frozen=True)
class Plan:
    """A start that nothing is known to be in the way of."""

    data_dir: Path
    url: str
    environment: dict[str, str]


def check(config: Path, env_file: Path) -> Plan:
    """Look at everything that a start needs.

    Raises:
        Failure: something is wrong; it says what.
    """
    serve, settings = _read(config)
    options = serve.http_options
    family = _check_port(options.host, options.port)
    _check_data_dir(settings.data_dir)
    if settings.auth.tokens_file is not None:
        tokens_on_disk.read(settings.auth.tokens_file)
    environment = of_a_cluster_of_its_own(env_file)
    if settings.pin_buckets and _RESOURCES not in environment:
        raise Failure(f"{config}: args.pin_buckets: no node of a Ray that `run` starts offers the resource bucket-0")
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(options.host, options.host)  # noqa: S104 - compared, not bound
    shown = f"[{shown}]" if family is socket.AF_INET6 and ":" in shown else shown
    return Plan(settings.data_dir, f"http://{shown}:{options.port}", environment)


def _read(config: Path) -> tuple[ServeConfig, Settings]:
    document = load(config)
    try:
        serve = ServeConfig.model_validate(document)
    except ValidationError as error:
        raise Failure(f"{config}: {explain(error, '')}") from None
    application = serve.store
    if application is None:
        raise Failure(f"{config} has no application named {APPLICATION}")
    _check_with_serve(document, config)
    user_config = next((deployment.user_config for deployment in application.deployments), None)
    try:
        UserConfig.model_validate(user_config)
    except ValidationError as error:
        raise Failure(f"{config}: {explain(error, 'user_config')}") from None
    try:
        return serve, Settings.model_validate(application.args or {})
    except ValidationError as error:
        raise Failure(f"{config}: {explain(error, 'args')}") from None


def _check_with_serve(document: dict[str, Any], config: Path) -> None:
    # Here, since importing Ray takes seconds: what can be known without it is said first.
    from serve_app.cluster import serve_schema

    if problem := serve_schema.problem(document):
        raise Failure(f"{config}: {problem}")


class _Loader(yaml.SafeLoader):
    """Refuses a mapping that has a name twice, of which YAML's own would quietly drop the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [name.value for name, _ in node.value if isinstance(name, yaml.ScalarNode) and name.value != "<<"]
        for name, count in Counter(names).items():
            if count > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{name!r} is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


def load(config: Path) -> dict[str, Any]:
    """The file as YAML has it. Raises Failure where it is none."""
    try:
        document = yaml.load(config.read_text("utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise Failure(f"{config} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Failure(f"{config} is not YAML: it is not UTF-8 text") from None
    except RecursionError:
        raise Failure(f"{config} is not YAML that can be read: it is nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: what looks like a date and is none
        raise Failure(f"{config} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise Failure(f"{config} is not a Serve configuration")
    return document


def _check_port(host: str, port: int) -> socket.AddressFamily:
    """Whether the API's address can be listened on; the family that it is of."""
    if host == "*":  # resolves, and Serve fails on it when Ray is up
        raise Failure("http_options.host: '*' is no address; '0.0.0.0' means all of this machine")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that can't be one
        said = getattr(error, "strerror", None) or str(error)
        raise Failure(f"http_options.host: {host!r:.80} is no address of this machine: {said}") from None
    family, _, _, _, address = found[0]
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of an earlier run may linger
        try:
            probe.bind(address)
        except OSError as error:
            hint = "; is another store running there?" if error.errno == errno.EADDRINUSE else ""
            raise Failure(f"{host}:{port} can't be used: {error.strerror}{hint}") from None
    return family


def _check_data_dir(data_dir: Path) -> None:
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=data_dir):
            pass
        folders = sorted(entry for entry in data_dir.iterdir() if _BUCKET.fullmatch(entry.name))
    except OSError as error:
        raise Failure(f"the data folder {data_dir} can't be written: {error.strerror}") from None
    for folder in folders:
        try:
            handle = os.open(
                folder, os.O_RDONLY | os.O_DIRECTORY
            )  # nothing but a folder: a FIFO would wait for a writer
        except OSError as error:
            raise Failure(f"{folder} can't be opened: {error.strerror}") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # an open bucket holds this lock
        except BlockingIOError:
            raise Failure(f"the data folder {data_dir} is in use: another process has {folder.name} open") from None
        except OSError as error:
            raise Failure(f"{folder} can't be locked: {error.strerror}") from None
        finally:
            os.close(handle)
    if (data_dir / "serve.log").is_fifo():
        raise Failure(f"{data_dir / 'serve.log'} can't be written: it is a pipe")
