"""The state of the cluster as far as it concerns the store, read in one go."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus

from kuberay import groups
from kuberay.api.errors import Refused
from kuberay.api.rayservice import FINALIZER, Document, condition
from kuberay.manifests import NAME
from kuberay.session import Session

SELECTOR = f"app.kubernetes.io/name={NAME}"
COMPONENT = "app.kubernetes.io/component"
GROUP = "ray.io/group"
NODE_TYPE = "ray.io/node-type"
_LAST_LINES = 20


@dataclass(frozen=True)
class Observation:
    """Documents as Kubernetes holds them. `last_lines`: by pod, what a container that ended had to say last."""

    service: Document | None
    ray_cluster: Document | None = None
    pods: list[Document] = field(default_factory=list)
    claims: list[Document] = field(default_factory=list)
    deployments: list[Document] = field(default_factory=list)
    events: list[Document] = field(default_factory=list)
    last_lines: dict[str, str] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        """Whether KubeRay has seen the RayService as it is now, and calls it ready."""
        return self._called_ready and self._seen_as_it_is

    @property
    def noticed(self) -> bool:
        """Whether some operator looks at the RayService. While it is not ready, KubeRay may leave observedGeneration
        behind; once it is ready, it does not for long."""
        if self.service is None:
            return False
        known = FINALIZER in (self.service["metadata"].get("finalizers") or ())
        return known and (self._seen_as_it_is or not self._called_ready)

    @property
    def _called_ready(self) -> bool:
        return self.service is not None and condition(self.service.get("status") or {}, "Ready")

    @property
    def _seen_as_it_is(self) -> bool:
        assert self.service is not None
        seen = (self.service.get("status") or {}).get("observedGeneration", 0)
        return bool(seen >= self.service["metadata"].get("generation", 0))

    @property
    def up(self) -> bool:
        """Whether KubeRay, Kubernetes and Serve have nothing left to do; the store may have."""
        serve = {application.get("status") for application in applications_of(self.service).values()}
        return self.ready and self.ready_pods >= self.expected_pods and serve == {"RUNNING"}

    @property
    def expected_pods(self) -> Counter[str]:
        """How many pods of each part there should be."""
        expected: Counter[str] = Counter()
        for deployment in self.deployments:
            expected[part_of(deployment["spec"]["template"])] += int(deployment["spec"].get("replicas", 1))
        if self.service is not None and not self.service["spec"].get("suspend"):
            expected["head"] = 1
            expected.update(groups.replicas(self.service))
        return +expected

    @property
    def ready_pods(self) -> Counter[str]:
        """How many pods of each part are ready."""
        return Counter(part_of(pod) for pod in self.pods if is_ready(pod))

    def waiting_for(self) -> str:
        """One line: what is there, and what is not there yet."""
        ready, expected = self.ready_pods, self.expected_pods
        missing = sorted(part for part, count in expected.items() if ready[part] < count)
        there = sum(min(ready[part], count) for part, count in expected.items())
        line = f"pods {there} of {expected.total()} ready"
        if missing:
            line += f" (waiting for {', '.join(self._said(part) for part in missing)})"
        bound = sum(claim_is_bound(claim) for claim in self.claims)
        if bound < len(self.claims):
            line += f", claims {bound} of {len(self.claims)} bound"
        return f"{line}, Serve: {self._serve()}"

    def _said(self, part: str) -> str:
        """A part, with how far its pods are."""
        states = sorted({pod_state(pod) for pod in self.pods if part_of(pod) == part and not is_ready(pod)})
        return f"{part}: {', '.join(states)}" if states else part

    def _serve(self) -> str:
        applications = applications_of(self.service)
        return ", ".join(sorted({app.get("status", "") for app in applications.values()} - {""})) or "not there yet"


def observe(session: Session) -> Observation:
    """Look at everything. Raises Failure where that is not permitted, or the API server is away."""
    cluster = session.cluster
    service = session.service()
    pods = [pod for pod in cluster.list_all("Pod", SELECTOR) if (pod.get("status") or {}).get("phase") != "Succeeded"]
    return Observation(
        service=service,
        ray_cluster=session.ray_cluster(service) if service else None,
        pods=pods,
        claims=cluster.list_all("PersistentVolumeClaim", SELECTOR),
        deployments=cluster.list_all("Deployment", SELECTOR),
        events=_events(session),
        last_lines={
            pod["metadata"]["name"]: _last_line(session, pod["metadata"]["name"]) for pod in pods if is_crashing(pod)
        },
    )


def applications_of(service: Document | None) -> dict[str, Document]:
    """What Serve says of its applications, as KubeRay passes it on."""
    status = (service or {}).get("status") or {}
    for part in ("pendingServiceStatus", "activeServiceStatus"):
        found = (status.get(part) or {}).get("applicationStatuses")
        if found:
            return dict(found)
    return {}


def part_of(pod: Document) -> str:
    """What a pod is to the store: `head`, `directory`, `bucket-0`, `redis`; or `redis-cleanup`, a job of KubeRay's with
    the head's labels."""
    labels = pod["metadata"].get("labels") or {}
    node_type = labels.get(NODE_TYPE)
    if node_type == "worker":
        return str(labels.get(GROUP, "worker"))
    return str(node_type or labels.get(COMPONENT, "other"))


def is_ready(pod: Document) -> bool:
    """Whether a pod is there, and says that it is ready."""
    return not pod["metadata"].get("deletionTimestamp") and condition(pod.get("status") or {}, "Ready")


def is_crashing(pod: Document) -> bool:
    """Whether a container of the pod ends again and again."""
    return any(waiting_reason(status) == "CrashLoopBackOff" for status in container_statuses(pod))


def container_statuses(pod: Document) -> list[Document]:
    """Of the init containers first, as they run first."""
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def waiting_reason(container: Document) -> str:
    """Why a container does not run yet; empty where it does."""
    return str(((container.get("state") or {}).get("waiting") or {}).get("reason", ""))


def pod_state(pod: Document) -> str:
    """A pod that is not ready, in a word or two."""
    if pod["metadata"].get("deletionTimestamp"):
        return "ending"
    status = pod.get("status") or {}
    reasons = [waiting_reason(container) for container in container_statuses(pod)]
    told = [reason for reason in reasons if reason and reason not in ("PodInitializing", "ContainerCreating")]
    if told:
        return told[0]
    if "ContainerCreating" in reasons or "PodInitializing" in reasons:
        return "starting"
    return {"Pending": "not scheduled yet", "Running": "starting"}.get(status.get("phase", ""), "not there yet")


def claim_is_bound(claim: Document) -> bool:
    """Whether a claim has its volume."""
    return bool((claim.get("status") or {}).get("phase") == "Bound")


def _events(session: Session) -> list[Document]:
    try:
        return session.cluster.list_all("Event")
    except Refused as refused:
        if refused.status == HTTPStatus.FORBIDDEN:
            return []  # they only explain what shows anyway
        raise


def _last_line(session: Session, pod: str) -> str:
    try:
        lines = [line.strip() for line in session.cluster.log_lines(pod, tail=_LAST_LINES, previous=True)]
    except Refused:
        return ""  # gone meanwhile, or nothing was written
    return next((line for line in reversed(lines) if line), "")
