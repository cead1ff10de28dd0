"""What network policies allow, judged as Kubernetes documents it, whether or not a plug-in enforces them.

https://kubernetes.io/docs/concepts/services-networking/network-policies
"""

from __future__ import annotations

from typing import Any

Document = dict[str, Any]


def selects(selector: Document, labels: dict[str, str]) -> bool:
    """Whether a label selector takes in these labels."""
    exact = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    for each in selector.get("matchExpressions", []):
        assert each["operator"] == "In", "no other is used"
        exact = exact and labels.get(each["key"]) in each["values"]
    return exact


def allows(policies: list[Document], source: Document | None, target: Document, port: int) -> bool:
    """Whether `source` (a pod of any namespace; None: from outside the cluster) may connect to the pod's TCP port."""
    labels = target["metadata"]["labels"]
    relevant = [policy for policy in policies if selects(policy["spec"]["podSelector"], labels)]
    if not relevant:
        return True
    return any(
        _from(rule, source, target) and _to(rule, target, port)
        for policy in relevant
        for rule in policy["spec"].get("ingress", [])
    )


def _from(rule: Document, source: Document | None, target: Document) -> bool:
    if "from" not in rule:
        return True
    if source is None:
        return False
    same_namespace = source["metadata"].get("namespace") == target["metadata"].get("namespace")
    for peer in rule["from"]:
        assert "ipBlock" not in peer
        assert peer.get("namespaceSelector", {}) == {}, "no other is used"
        if ("namespaceSelector" in peer or same_namespace) and selects(
            peer.get("podSelector", {}), source["metadata"].get("labels", {})
        ):
            return True
    return False


def _to(rule: Document, target: Document, port: int) -> bool:
    if "ports" not in rule:
        return True
    named = {
        each["name"]: each["containerPort"]
        for container in target["spec"]["containers"]
        for each in container.get("ports", [])
        if "name" in each
    }
    return any(
        (named.get(each["port"]) if isinstance(each["port"], str) else each["port"]) == port for each in rule["ports"]
    )
