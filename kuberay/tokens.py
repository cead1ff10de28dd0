"""The store's tokens on Kubernetes: the secret that holds their file, and whether a store asks for them.

A store asks for tokens where its RayService says so (`args.auth` of its Serve configuration). `deploy` writes that where
there is the secret, where the store asks for them already, or where it is told to; only --no-tokens takes it out.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from kuberay import groups
from kuberay.api.cluster import Cluster
from kuberay.api.errors import Refused
from kuberay.api.rayservice import Document
from kuberay.manifests import NAME, Options
from kuberay.store import SERVICE
from serve_app.auth.tokens_file import BadTokens
from serve_app.command_output.failure import Failure

SECRET = f"{NAME}-tokens"
KEY = "tokens"
_LABELS = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/component": "tokens"}
_OUTSIDE = ("NodePort", "LoadBalancer")
#: How often an edit is made again because somebody else edited the secret in between.
_ATTEMPTS = 5


def read(cluster: Cluster) -> bytes | None:
    """The text of the tokens file, or None where there is no secret. Raises Failure where it can't be read."""
    found = cluster.get("Secret", SECRET)
    return None if found is None else _text(found)


def edit(cluster: Cluster, change: Callable[[bytes], bytes]) -> None:
    """Change the tokens file, and make its secret where there is none. Made again where somebody else was at it.

    Raises:
        Failure: it can't be changed; it is as it was.
    """
    for attempt in range(_ATTEMPTS):
        found = cluster.get("Secret", SECRET)
        try:
            text = change(b"" if found is None else _text(found))
        except BadTokens as error:
            raise Failure(f"the secret {SECRET}: {error}") from None
        data = {KEY: base64.b64encode(text).decode()}
        try:
            if found is None:
                cluster.create(_secret(cluster.namespace, data))
            else:
                version = found["metadata"]["resourceVersion"]
                cluster.patch("Secret", SECRET, {"metadata": {"resourceVersion": version}, "data": data})
            return
        except Refused as refused:
            if refused.status != HTTPStatus.CONFLICT or attempt == _ATTEMPTS - 1:
                raise


def wanted(cluster: Cluster, service: Document | None, asked: bool | None) -> bool:
    """Whether the store is to ask for tokens. asked: what was typed, if anything.

    A secret without tokens in it counts: who revoked the last one did not mean to let everybody in.

    Raises:
        Failure: that can't be known; it says what to type.
    """
    if asked is not None:
        return asked
    if service is not None and groups.tokens_file(service):
        return True
    try:
        return cluster.get("Secret", SECRET) is not None
    except Refused as refused:
        raise Failure(f"{refused}; so whether there are tokens is not known: type --tokens or --no-tokens") from None


def check_who_gets_in(chosen: Options, asked: bool | None, ingresses: tuple[str, ...] = ()) -> None:
    """Refuse a store that others than its cluster could reach, and that asks for no tokens, unless just that was typed.

    asked: as `wanted`. ingresses: as `ingresses_of`. Raises Failure.
    """
    way_in = _way_in(chosen.service_type, ingresses)
    if way_in and not chosen.tokens and asked is not False:
        raise Failure(
            f"by {way_in} others than the cluster reach the store, and it has no tokens: whoever does could read and write "
            f"everything. Make one first (`{command(chosen.namespace, 'token create NAME --scope read,write')}`), or type "
            "--no-tokens"
        )


def warning(service: Document, ingresses: tuple[str, ...]) -> str:
    """What there is to say of a running store that everybody may use; empty for nothing."""
    service_type = service["spec"].get("serveService", {}).get("spec", {}).get("type", "")
    way_in = "" if groups.tokens_file(service) else _way_in(service_type, ingresses)
    return f"by {way_in} others than the cluster reach the store, and it asks for no tokens" if way_in else ""


def ingresses_of(cluster: Cluster) -> tuple[str, ...]:
    """The names of the Ingresses that lead to the store; none where they may not be listed."""
    try:
        found = cluster.list_all("Ingress")
    except Refused:
        return ()
    return tuple(each["metadata"]["name"] for each in found if _leads_to_the_store(each.get("spec") or {}))


def command(namespace: str, rest: str) -> str:
    """A command of ours, for that namespace."""
    named = "" if namespace == Options().namespace else f" --namespace {namespace}"
    return f"python -m kuberay {rest}{named}"


def is_tokens(secret: Document) -> bool:
    """Whether a secret is the one with the tokens."""
    return bool(secret["metadata"]["name"] == SECRET)


def _way_in(service_type: str, ingresses: tuple[str, ...]) -> str:
    if service_type in _OUTSIDE:
        return f"a service of the type {service_type}"
    return f"the ingress {ingresses[0]}" if ingresses else ""


def _leads_to_the_store(spec: Document) -> bool:
    backends = [spec.get("defaultBackend") or {}]
    for rule in spec.get("rules") or ():
        backends += [path["backend"] for path in (rule.get("http") or {}).get("paths") or ()]
    return any((backend.get("service") or {}).get("name") == SERVICE for backend in backends)


def _text(secret: Document) -> bytes:
    encoded = (secret.get("data") or {}).get(KEY, "")
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error:
        raise Failure(f"the secret {SECRET} is not one of ours: its key {KEY} is not base64") from None


def _secret(namespace: str, data: dict[str, str]) -> dict[str, Any]:
    metadata = {"name": SECRET, "namespace": namespace, "labels": _LABELS}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
