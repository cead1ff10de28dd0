"""`scale`: another number of buckets.

Growing makes claims and pods first, and then tells the store; shrinking tells the store first, and lowers the groups when
their keys have moved. Every step looks at what is there, so it may be interrupted anywhere and typed again. Groups and
claims are never removed: KubeRay leaves the pods of a removed group running, and what is on a claim is for its owner to
delete.
"""

from __future__ import annotations

from kuberay import groups
from kuberay.api.rayservice import Document, cluster_name
from kuberay.diagnosis import troubles
from kuberay.drift import described, differences
from kuberay.manifests import NAME, to_yaml
from kuberay.move import SETTLED_S, Move
from kuberay.observation import is_ready, observe, part_of
from kuberay.session import Session
from kuberay.upgrade_state import upgrade_of
from kuberay.waiting import Look, wait
from serve_app.command_output.failure import Failure
from serve_app.http.models import TopologyAnswer
from serve_app.topology import MAX_BUCKET_COUNT

_BUDGET = f"{NAME}-buckets"


def scale(session: Session, count: int, *, dry_run: bool, timeout_s: float) -> int:
    """Bring the store to `count` buckets and wait until it is there.

    Raises:
        Failure: it can't be done, or not now; it says why.
    """
    if not 1 <= count <= MAX_BUCKET_COUNT:
        raise Failure(f"a store has 1 to {MAX_BUCKET_COUNT} buckets, not {count}")
    service = session.deployed()
    _check_at_rest(session, service)
    reply = session.store.topology()
    if reply.topology is None:
        raise Failure(f"the store does not answer ({reply.trouble}): how many buckets it has is not known")
    known = reply.topology
    if dry_run:
        session.terminal.raw(to_yaml(_plan(session, service, known, count)))
        return 0
    move = Move(session, count, known)
    if count >= max(known.bucket_count, known.target_count) and not _is_on_its_way(known, count):
        _make_room(session, service, count)
        if count > known.bucket_count:
            _wait_for_pods(session, count, timeout_s)
            session.cluster.patch("PodDisruptionBudget", _BUDGET, groups.budget(count))
    if groups.bucket_count(service) != count:
        _configure(session, count)
    left_over = _has_left_over(session, count)
    move.follow(timeout_s, settled_s=SETTLED_S if left_over else 0.0)
    if left_over:
        _lower(session, count, timeout_s)
    session.terminal.good(f"The store has {count} buckets.")
    _say_kept(session, count)
    return 0


def _is_on_its_way(known: TopologyAnswer, count: int) -> bool:
    """Whether keys move to just that number of buckets: then their pods are there, or are being made again."""
    return known.phase == "moving" and known.target_count == count


def _check_at_rest(session: Session, service: Document) -> None:
    """Refuse while something else is under way, or where KubeRay would not follow."""
    if service["metadata"].get("deletionTimestamp"):
        raise Failure("the store is being deleted")
    upgrade = upgrade_of(service)
    if upgrade is not None:
        raise Failure(upgrade.how_to_go_on())
    if service["spec"].get("suspend"):
        raise Failure("the store is suspended: spec.suspend of its RayService is true")
    ray_cluster = session.ray_cluster(service)
    if ray_cluster is None:
        raise Failure("the store is not up: KubeRay has made no RayCluster of the RayService yet")
    found = differences(service, ray_cluster)
    if found:
        raise Failure(
            f"the running cluster has drifted from the RayService, so KubeRay would ignore new buckets: {described(found)}. "
            f"Undo that in the RayService, or bring it about with `python -m kuberay upgrade --image {groups.image(service)}`"
        )


def _plan(session: Session, service: Document, known: TopologyAnswer, count: int) -> list[Document]:
    """The objects as they will be at the end."""
    grown = groups.with_bucket_count(groups.with_bucket_groups(service, count), count)
    objects = [*_missing_claims(session, service, count), groups.to_apply(groups.with_lowered_groups(grown, count))]
    if count != known.bucket_count:
        metadata = {"name": _BUDGET, "namespace": session.namespace}
        objects.append(
            {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, **groups.budget(count)}
        )
    return objects


# -- making room -----------------------------------------------------------------------------------------------------


def _missing_claims(session: Session, service: Document, count: int) -> list[Document]:
    """Claims for the buckets that have none, like that of the last bucket."""
    existing = groups.bucket_groups(service)
    last = max(existing)
    missing = []
    for bucket_id in range(count):
        name = groups.renamed(groups.claim_name(existing[last]), last, bucket_id)
        if session.cluster.get("PersistentVolumeClaim", name) is None:
            model = session.cluster.get("PersistentVolumeClaim", groups.claim_name(existing[last]))
            if model is None:
                raise Failure(
                    f"the claim {groups.claim_name(existing[last])} is missing: there is none to make others like"
                )
            missing.append(groups.claim_like(model, last, bucket_id))
    return missing


def _make_room(session: Session, service: Document, count: int) -> None:
    """Have a claim and a worker group for each of `count` buckets."""
    for claim in _missing_claims(session, service, count):
        session.cluster.apply(claim)
        session.terminal.say(f"Made the claim {claim['metadata']['name']}.")
    if groups.with_bucket_groups(service, count) != service:
        session.change_service(lambda found: _groups_patch(groups.with_bucket_groups(found, count)))


def _wait_for_pods(session: Session, count: int, timeout_s: float) -> None:
    """Wait until the pod of each of `count` buckets is ready. Others may be missing: those of a larger number that was asked
    for before."""
    _wait_for_groups(session, timeout_s)
    names = {f"bucket-{bucket_id}" for bucket_id in range(count)}

    def look() -> Look:
        seen = observe(session)
        there = {part_of(pod) for pod in seen.pods if is_ready(pod)}
        return Look(seen.waiting_for(), done=names <= there, troubles=troubles(seen))

    what = f"starting the pods of {count} buckets"
    wait(look, what=what, timeout_s=timeout_s, terminal=session.terminal, clock=session.clock)


def _wait_for_groups(session: Session, timeout_s: float) -> None:
    """Wait until the RayCluster has every group of the RayService, then give it the RayService's replicas: KubeRay hands
    those on only along with a new group."""

    def look() -> Look:
        service = session.deployed()
        ray_cluster = session.ray_cluster(service)
        missing = set(groups.replicas(service)) - set(groups.replicas(ray_cluster) if ray_cluster else ())
        return Look(f"waiting for KubeRay to take up {', '.join(sorted(missing))}", done=not missing)

    wait(look, what="adding worker groups", timeout_s=timeout_s, terminal=session.terminal, clock=session.clock)
    service = session.deployed()
    ray_cluster = session.ray_cluster(service)
    if ray_cluster is not None and groups.with_replicas_of(ray_cluster, service) != ray_cluster:
        session.change_ray_cluster(
            cluster_name(service), lambda found: _groups_patch(groups.with_replicas_of(found, service))
        )


def _groups_patch(document: Document) -> Document:
    """The merge patch that gives a RayService or RayCluster the document's worker groups."""
    inner = {"workerGroupSpecs": groups.worker_groups(document)}
    return {"spec": {"rayClusterConfig": inner} if "rayClusterConfig" in document["spec"] else inner}


# -- moving ----------------------------------------------------------------------------------------------------------


def _configure(session: Session, count: int) -> None:
    def patch_for(found: Document) -> Document:
        return {"spec": {"serveConfigV2": groups.with_bucket_count(found, count)["spec"]["serveConfigV2"]}}

    session.change_service(patch_for)
    session.terminal.say(f"Asked the store for {count} buckets.")


# -- lowering --------------------------------------------------------------------------------------------------------


def _has_left_over(session: Session, count: int) -> bool:
    """Whether there are pods, or are to be, of buckets beyond that number."""
    service = session.deployed()
    ray_cluster = session.ray_cluster(service)
    return any(
        document is not None and groups.with_lowered_groups(document, count) != document
        for document in (service, ray_cluster)
    )


def _lower(session: Session, count: int, timeout_s: float) -> None:
    """End the pods of buckets that own no keys any more: in the RayService, and on the RayCluster that runs."""
    service = session.deployed()
    session.cluster.patch("PodDisruptionBudget", _BUDGET, groups.budget(count))
    session.change_service(lambda found: _groups_patch(groups.with_lowered_groups(found, count)))
    session.change_ray_cluster(
        cluster_name(service), lambda found: _groups_patch(groups.with_lowered_groups(found, count))
    )

    def look() -> Look:
        seen = observe(session)
        names = {f"bucket-{bucket_id}" for bucket_id in groups.bucket_groups(service) if bucket_id >= count}
        ending = sorted(part_of(pod) for pod in seen.pods if part_of(pod) in names)
        return Look(f"waiting for the pods of {', '.join(ending)} to end", done=not ending, troubles=troubles(seen))

    wait(look, what="ending pods", timeout_s=timeout_s, terminal=session.terminal, clock=session.clock)


def _say_kept(session: Session, count: int) -> None:
    """Name the claims that nothing uses any more."""
    kept = [
        groups.claim_name(group)
        for bucket_id, group in sorted(groups.bucket_groups(session.deployed()).items())
        if bucket_id >= count and session.cluster.get("PersistentVolumeClaim", groups.claim_name(group)) is not None
    ]
    if kept:
        session.terminal.say(
            f"The claims {', '.join(kept)} are kept; their keys have moved. To delete them: "
            f"kubectl delete pvc -n {session.namespace} {' '.join(kept)}"
        )
