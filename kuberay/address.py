"""Where the store answers: which address that is depends on the type of its service."""

from __future__ import annotations

from kuberay.api.rayservice import Document
from kuberay.manifests import Options
from kuberay.session import Session
from kuberay.store import SERVICE


def addresses(session: Session) -> list[str]:
    """Lines that say it: inside the cluster, and outside where the service's type opens it."""
    service = session.cluster.get("Service", SERVICE)
    if service is None:
        return [f"the service {SERVICE} is not there yet"]
    port = service["spec"]["ports"][0]
    lines = [f"inside the cluster   http://{SERVICE}.{session.namespace}.svc:{port['port']}"]
    if service["spec"].get("type") == "NodePort":
        lines.append(f"on every node        http://NODE:{port.get('nodePort', '?')}")
    elif service["spec"].get("type") == "LoadBalancer":
        lines.append(f"load balancer        {_load_balancer(session, service, port['port'])}")
    return lines


def open_command(session: Session) -> str:
    """The command that brings the store to this machine."""
    named = "" if session.namespace == Options().namespace else f" --namespace {session.namespace}"
    return f"python -m kuberay open{named}"


def _load_balancer(session: Session, service: Document, port: int) -> str:
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    host = (ingress[0].get("ip") or ingress[0].get("hostname")) if ingress else None
    if host:
        return f"http://{host}:{port}"
    return f"has no address yet (kubectl get service {SERVICE} -n {session.namespace})"
