"""From a kubeconfig and a context to a client of the API server."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import yaml
from kubernetes import config as untyped_config
from kubernetes.client import ApiClient, Configuration
from urllib3 import Retry

from serve_app.command_output.failure import Failure

config: Any = untyped_config
#: Connections that break are tried again by the client, where that can do no harm.
_RETRIES = Retry(total=2, backoff_factor=0.1, status=0)


def connect(context: str | None) -> ApiClient:
    """A client for the context, else for the kubeconfig's current one, else (in a pod) for the pod's service account.

    Raises:
        Failure: there is no cluster to talk to; it says what is missing.
    """
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # its retries are nobody's business
    logging.getLogger("kubernetes").setLevel(logging.CRITICAL)  # what it logs, it raises as well
    configuration = Configuration()
    configuration.retries = _RETRIES
    files = os.environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())
    if any(Path(file).is_file() for file in files.split(os.pathsep) if file):
        _load_kubeconfig(files, context, configuration)
    elif context is None and os.environ.get("KUBERNETES_SERVICE_HOST"):
        _load_service_account(configuration)
    else:
        raise Failure(f"there is no kubeconfig: {files} is missing; set KUBECONFIG, or make one for your cluster")
    return ApiClient(configuration)


def _load_kubeconfig(files: str, context: str | None, configuration: Configuration) -> None:
    try:
        config.load_kube_config(config_file=files, context=context, client_configuration=configuration)
    except config.ConfigException as error:
        raise Failure(f"the kubeconfig {files} can't be used: {_first_line(error)}{_contexts(files)}") from None
    except OSError as error:
        raise Failure(f"the kubeconfig {files} can't be read: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Failure(f"the kubeconfig {files} is not a valid one: {_first_line(error)}") from None


def _load_service_account(configuration: Configuration) -> None:
    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException as error:
        raise Failure(f"there is no kubeconfig, and the pod's service account can't be used: {error}") from None


def _contexts(files: str) -> str:
    """The contexts that there are, for whoever mistyped one."""
    try:
        names = [context["name"] for context in config.list_kube_config_contexts(config_file=files)[0]]
    except (config.ConfigException, OSError, ValueError, KeyError, TypeError):
        return ""
    return f"; it has the contexts {', '.join(names)}" if names else ""


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
