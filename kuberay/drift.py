"""Names what KubeRay would silently ignore.

With `upgradeStrategy: None` the operator takes over a changed RayService only where nothing but appended worker groups
differs from what it made the RayCluster of. It compares hashes, so one ignored difference makes it ignore everything that
comes later, without a word. Replicas, tolerations, scheduling gates, upgradeStrategy and suspend are not in the hash.
(ray-operator/controllers/ray: GenerateHashWithoutReplicasAndWorkersToDelete and isClusterSpecHashEqual, v1.7.0.)
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any

from kuberay.api.rayservice import Document
from kuberay.groups import cluster_spec

_MUTED_IN_CLUSTER = frozenset({"upgradeStrategy", "suspend"})
_MUTED_IN_GROUP = frozenset({"replicas", "minReplicas", "maxReplicas"})
_MUTED_IN_POD = frozenset({"tolerations", "schedulingGates"})
#: Where Kubernetes writes quantities, which may be written in several ways ("1000m" is "1").
_QUANTITIES = frozenset({"limits", "requests", "sizeLimit", "divisor", "overhead"})
#: Where Kubernetes tells false and 0 from nothing at all; elsewhere the operator leaves them out when it writes.
_TELLS_ZERO_FROM_NOTHING = frozenset(
    {
        "allowPrivilegeEscalation",
        "automountServiceAccountToken",
        "enableInTreeAutoscaling",
        "enableServiceLinks",
        "fsGroup",
        "hostUsers",
        "optional",
        "privileged",
        "readOnlyRootFilesystem",
        "runAsGroup",
        "runAsNonRoot",
        "runAsUser",
        "shareProcessNamespace",
        "terminationGracePeriodSeconds",
    }
)
_SHOWN_CHARACTERS = 100
_FACTORS = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal(1000),
    "": Decimal(1),
    **{unit: Decimal(1000) ** power for power, unit in enumerate("MGTPE", 2)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", 1)},
}


def differences(service: Document, ray_cluster: Document) -> list[str]:
    """What the RayService asks for and the running RayCluster does not have, and KubeRay would not bring about."""
    wanted, running = _hashed(cluster_spec(service)), _hashed(cluster_spec(ray_cluster))
    ours, theirs = wanted.pop("workerGroupSpecs", []), running.pop("workerGroupSpecs", [])
    found = list(_compare("", wanted, running, quantity=False))
    for index, group in enumerate(theirs):
        if index >= len(ours):
            found.append(f"workerGroupSpecs[{index}]: not in the RayService, {_shown(group['groupName'])} running")
            continue
        found += _compare(f"workerGroupSpecs[{index}]", ours[index], group, quantity=False)
    return found


def described(found: list[str], shown: int = 3) -> str:
    """The differences as part of a sentence."""
    more = f"; and {len(found) - shown} more" if len(found) > shown else ""
    return "; ".join(found[:shown]) + more


def _hashed(spec: Document) -> Document:
    """What of a cluster's spec goes into KubeRay's hash."""
    kept = {name: value for name, value in spec.items() if name not in _MUTED_IN_CLUSTER}
    if "headGroupSpec" in kept:
        kept["headGroupSpec"] = _hashed_group(kept["headGroupSpec"], frozenset())
    kept["workerGroupSpecs"] = [_hashed_group(group, _MUTED_IN_GROUP) for group in kept.get("workerGroupSpecs") or ()]
    return kept


def _hashed_group(group: Document, muted: frozenset[str]) -> Document:
    kept = {name: value for name, value in group.items() if name not in muted}
    if "scaleStrategy" in kept:
        kept["scaleStrategy"] = {
            name: value for name, value in (kept["scaleStrategy"] or {}).items() if name != "workersToDelete"
        }
    template = kept.get("template") or {}
    pod = {name: value for name, value in (template.get("spec") or {}).items() if name not in _MUTED_IN_POD}
    return {**kept, "template": {**template, "spec": pod}}


def _compare(path: str, wanted: Any, running: Any, *, quantity: bool) -> Iterator[str]:
    if _same(wanted, running, quantity, strictly=path.rpartition(".")[2] in _TELLS_ZERO_FROM_NOTHING):
        return
    if isinstance(wanted, dict) and isinstance(running, dict):
        for name in [*wanted, *(name for name in running if name not in wanted)]:
            inside = f"{path}.{name}" if path else name
            of_quantities = quantity or name in _QUANTITIES
            yield from _compare(inside, wanted.get(name), running.get(name), quantity=of_quantities)
    elif isinstance(wanted, list) and isinstance(running, list):
        for index in range(max(len(wanted), len(running))):
            ours = wanted[index] if index < len(wanted) else None
            theirs = running[index] if index < len(running) else None
            yield from _compare(f"{path}[{index}]", ours, theirs, quantity=quantity)
    else:
        yield f"{path}: {_shown(wanted)} in the RayService, {_shown(running)} running"


def _same(wanted: Any, running: Any, quantity: bool, strictly: bool) -> bool:
    if wanted == running or (not wanted and not running and not strictly):
        return True
    if quantity and not isinstance(wanted, dict | list) and not isinstance(running, dict | list):
        ours, theirs = _quantity(wanted), _quantity(running)
        return ours is not None and ours == theirs
    return False


def _quantity(value: Any) -> Decimal | None:
    text = str(value)
    number = text.rstrip("KMGTPEimkun")
    try:
        return Decimal(number) * _FACTORS[text[len(number) :]]
    except (InvalidOperation, KeyError):
        return None


def _shown(value: Any) -> str:
    if value is None or value in ("", [], {}):
        return "nothing"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
