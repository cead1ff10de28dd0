"""KubeRay's part, and the kubelet's, on a FakeKubernetes: each `step` brings the cluster one step closer to its documents.

It follows KubeRay 1.7 (ray-operator/controllers/ray/rayservice_controller.go) where the commands depend on it: the in-place
update of appended groups and of nothing else, replicas that reach a RayCluster only along with those, the states of a
suspended RayService, and status.observedGeneration.
"""

from __future__ import annotations

import copy
from typing import Any

from kuberay import groups
from kuberay.api.rayservice import FINALIZER
from kuberay.store import SERVICE
from tests.kuberay.fake_kubernetes import Document, FakeKubernetes

NAMESPACE = "cloud-storage"
_MUTED = ("replicas", "minReplicas", "maxReplicas")


class FakeOperator:
    """`store_count` is the number of buckets that the store has; `keys` what each holds. While it moves to another number,
    one of `move_steps` is done with each step. `admin_token` is taken where the store asks for one."""

    def __init__(self, fake: FakeKubernetes) -> None:
        self.fake = fake
        self.runs = True
        self.store_count: int | None = None
        self.keys = 10
        self.moves = True
        self.target_count: int | None = None
        self.epoch = 1
        self.move_steps = 4
        self.steps_done = 0
        self.bucket_errors: dict[int, str] = {}
        self.problem = ""
        self.admin_token = "cs_admin"
        self.clusters_made = 0
        self.keys_per_s = 2.0
        self.expected_end_s: float | None = 7.0
        fake.store = self.store

    # -- the store -----------------------------------------------------------------------------------------------

    def store(self, path: str) -> tuple[int, Any]:
        service = self.fake.objects.get(("rayservices", NAMESPACE, "cloud-storage"))
        if service is None or ("services", NAMESPACE, SERVICE) not in self.fake.objects or not self._ready(service):
            return 503, {"kind": "Status", "message": "no endpoints available for service", "code": 503}
        configured = groups.bucket_count(service)
        count = self.store_count or configured
        self.store_count = count
        if path == "health":
            return 200, {"bucket_count": count}
        if groups.tokens_file(service) and self.fake.shown.get("x-cloud-storage-token") != self.admin_token:
            detail = "the request's token is not one of this store's"
            return 401, {"type": "urn:cloud-storage:unauthorized", "title": "t", "status": 401, "detail": detail}
        target = self.target_count or count
        problem = self.problem
        if not problem and target == count != configured:
            problem = f"the store has {count} buckets, and is about to move to {configured}"
        return 200, {
            "epoch": self.epoch,
            "bucket_count": count,
            "target_count": target,
            "phase": "stable" if count == target else "moving",
            "configured_count": configured,
            "expected_end_s": self.expected_end_s,
            "problem": problem,
            "buckets": [self._bucket(bucket_id) for bucket_id in range(max(count, target))],
        }

    def _bucket(self, bucket_id: int) -> Document:
        error = self.bucket_errors.get(bucket_id, "")
        moved = None if error else self._moved(bucket_id)
        remaining = None if moved is None else self.keys - moved if self._moves_from(bucket_id) else 0
        return {
            "bucket_id": bucket_id,
            "reachable": not error,
            "keys": None if error else self.keys,
            "bytes": None if error else 100 * self.keys,
            "moved": moved,
            "moved_bytes": None if moved is None else 100 * moved,
            "remaining": remaining,
            "remaining_bytes": None if remaining is None else 100 * remaining,
            "keys_per_s": None if error else self.keys_per_s,
            "bytes_per_s": None if error else 100 * self.keys_per_s,
            "free_bytes": 10**9,
            "disk_full": False,
            "waiting_for": "",
            "last_error": error,
        }

    def _moves_from(self, bucket_id: int) -> bool:
        return self.target_count is not None and self.store_count is not None and bucket_id < self.store_count

    def _moved(self, bucket_id: int) -> int:
        return self.keys * self.steps_done // self.move_steps if self._moves_from(bucket_id) else 0

    # -- one step ------------------------------------------------------------------------------------------------

    def step(self) -> None:
        for claim in self.fake.all("persistentvolumeclaims"):
            claim["status"] = {"phase": "Bound", "capacity": {"storage": "1Gi"}}
            claim["spec"]["volumeName"] = f"pv-{claim['metadata']['name']}"
        self._make_pods_ready()
        self._run_deployments()
        service = self.fake.objects.get(("rayservices", NAMESPACE, "cloud-storage"))
        if not self.runs or service is None:
            return
        if service["metadata"].get("deletionTimestamp"):
            self._take_down()
            if not self._ray_pods():
                self.fake.remove("rayservices", "cloud-storage")
        elif FINALIZER not in service["metadata"].setdefault("finalizers", []):
            service["metadata"]["finalizers"].append(FINALIZER)
        elif self._is_true(service, "Suspended"):
            if not service["spec"].get("suspend"):
                self._set(service, Suspended=False, Ready=False)
        elif self._is_true(service, "Suspending"):
            if self._take_down():
                self._set(service, Suspending=False, Suspended=True)
        elif service["spec"].get("suspend"):
            self._set(service, Suspending=True, Ready=False)
        else:
            self._reconcile(service)
        self._move(service)

    def _reconcile(self, service: Document) -> None:
        clusters = self.fake.all("rayclusters")
        if not clusters:
            self.clusters_made += 1
            name = f"cloud-storage-{self.clusters_made}"
            spec = copy.deepcopy(service["spec"]["rayClusterConfig"])
            self.fake.put("rayclusters", {"metadata": {"name": name}, "spec": spec})
            service.setdefault("status", {})["pendingServiceStatus"] = {"rayClusterName": name}
            self._set(service, Ready=False)
            return
        cluster = clusters[0]
        name = cluster["metadata"]["name"]
        if self._only_appended(service, cluster):
            cluster["spec"] = copy.deepcopy(service["spec"]["rayClusterConfig"])
        self._make_pods(cluster)
        if all(self._pod_ready(pod) for pod in self._ray_pods()):
            application = {"cloud-storage": {"status": "RUNNING"}}
            service["status"]["activeServiceStatus"] = {"rayClusterName": name, "applicationStatuses": application}
            service["status"].pop("pendingServiceStatus", None)
            if ("services", NAMESPACE, SERVICE) not in self.fake.objects:
                wanted = service["spec"]["serveService"]
                self.fake.put("services", {"metadata": {"name": SERVICE}, "spec": copy.deepcopy(wanted["spec"])})
            self._set(service, Ready=True)
            service["status"]["observedGeneration"] = service["metadata"]["generation"]

    @staticmethod
    def _only_appended(service: Document, cluster: Document) -> bool:
        wanted, running = copy.deepcopy(service["spec"]["rayClusterConfig"]), copy.deepcopy(cluster["spec"])
        ours, theirs = wanted.pop("workerGroupSpecs"), running.pop("workerGroupSpecs")
        for group in [*ours, *theirs]:
            for name in _MUTED:
                group.pop(name, None)
        return wanted == running and len(ours) > len(theirs) and ours[: len(theirs)] == theirs

    def _make_pods(self, cluster: Document) -> None:
        wanted = {f"{cluster['metadata']['name']}-head": ("head", cluster["spec"]["headGroupSpec"])}
        for group in cluster["spec"]["workerGroupSpecs"]:
            for number in range(group["replicas"]):
                wanted[f"{cluster['metadata']['name']}-{group['groupName']}-{number}"] = (group["groupName"], group)
        for pod in self._ray_pods():
            if pod["metadata"]["name"] not in wanted:
                self.fake.remove("pods", pod["metadata"]["name"])
        for name, (part, group) in wanted.items():
            if ("pods", NAMESPACE, name) not in self.fake.objects:
                labels = {
                    **group["template"]["metadata"]["labels"],
                    "ray.io/node-type": "head" if part == "head" else "worker",
                    "ray.io/group": "headgroup" if part == "head" else part,
                }
                spec = copy.deepcopy(group["template"]["spec"])
                self.fake.put("pods", {"metadata": {"name": name, "labels": labels}, "spec": spec, "status": {}})

    def _run_deployments(self) -> None:
        for deployment in self.fake.all("deployments"):
            name = f"{deployment['metadata']['name']}-1"
            if ("pods", NAMESPACE, name) not in self.fake.objects:
                template = copy.deepcopy(deployment["spec"]["template"])
                labels = template["metadata"]["labels"]
                self.fake.put(
                    "pods", {"metadata": {"name": name, "labels": labels}, "spec": template["spec"], "status": {}}
                )

    def _make_pods_ready(self) -> None:
        for pod in self.fake.all("pods"):
            if not pod["status"]:
                pod["spec"]["nodeName"] = "node-1"
                pod["status"] = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}

    def _take_down(self) -> bool:
        """The RayCluster and what belongs to it; whether nothing was left to take down."""
        left = [*self.fake.all("rayclusters"), *self._ray_pods()]
        for cluster in self.fake.all("rayclusters"):
            self.fake.remove("rayclusters", cluster["metadata"]["name"])
        self.fake.remove("services", SERVICE)
        for pod in self._ray_pods():
            self.fake.remove("pods", pod["metadata"]["name"])
        return not left

    def _move(self, service: Document) -> None:
        """With `moves`: from the number of buckets that there is to the one that is configured. None begins while `problem`
        says what is in the way, or before all pods are there; none goes on while a bucket is away."""
        if not self.moves or self.store_count is None or not self._ready(service):
            return
        configured = groups.bucket_count(service)
        if self.target_count is None:
            if configured != self.store_count and not self.problem and self._has_pods(configured):
                self.target_count, self.steps_done = configured, 0
                self.epoch += 1
        elif not self.bucket_errors:
            self.steps_done += 1
            if self.steps_done == self.move_steps:
                self.store_count, self.target_count = self.target_count, None
                self.epoch += 1

    def _has_pods(self, count: int) -> bool:
        there = {pod["metadata"]["labels"].get("ray.io/group") for pod in self._ray_pods() if self._pod_ready(pod)}
        return {f"bucket-{bucket_id}" for bucket_id in range(count)} <= there

    # -- small things --------------------------------------------------------------------------------------------

    def _ray_pods(self) -> list[Document]:
        return [pod for pod in self.fake.all("pods") if "ray.io/node-type" in pod["metadata"]["labels"]]

    @staticmethod
    def _pod_ready(pod: Document) -> bool:
        return bool(pod["status"])

    def _ready(self, service: Document) -> bool:
        return self._is_true(service, "Ready")

    @staticmethod
    def _is_true(service: Document, kind: str) -> bool:
        conditions = service.get("status", {}).get("conditions", [])
        return any(entry["type"] == kind and entry["status"] == "True" for entry in conditions)

    @staticmethod
    def _set(service: Document, **states: bool) -> None:
        status = service.setdefault("status", {})
        known = {entry["type"]: entry["status"] for entry in status.get("conditions", [])}
        known |= {kind: "True" if state else "False" for kind, state in states.items()}
        status["conditions"] = [{"type": kind, "status": state} for kind, state in known.items()]
