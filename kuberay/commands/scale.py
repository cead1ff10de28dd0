"""`scale`: another number of buckets.

Growing makes claims and pods first, and then tells the store; shrinking tells the store first, and lowers the groups when
their keys have moved. Groups and claims are never removed: KubeRay leaves the pods of a removed group running, and what is
on a claim is for its owner to delete.
"""

from __future__ import annotations

from kuberay import groups
from kuberay.api.rayservice import Document, cluster_name
from kuberay.commands.deploy import wait_until_up
from kuberay.diagnosis import troubles
from kuberay.drift import described, differences
from kuberay.manifests import NAME, to_yaml
from kuberay.observation import observe, part_of
from kuberay.session import Session
from kuberay.store import Reply
from kuberay.upgrade_state import upgrade_of
from kuberay.waiting import Look, Trouble, wait
from serve_app.cli.failure import Failure
from serve_app.http.models import TopologyAnswer
from serve_app.topology import MAX_BUCKET_COUNT

_BUDGET = f"{NAME}-buckets"
#: A directory takes a new configuration within seconds of KubeRay's passing it on; a refusal that lasts longer stays.
_STARTED_WITHIN_S = 60.0


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
    refuse_resharding(known, count)
    if dry_run:
        session.terminal.raw(to_yaml(_plan(session, service, known, count)))
        return 0
    _make_room(session, service, count, timeout_s)
    if (known.bucket_count, known.phase, groups.bucket_count(service)) == (count, "stable", count):
        _lower(session, count, timeout_s)
        session.terminal.say(f"The store has {count} buckets.")
        return 0
    if count > known.bucket_count:
        session.cluster.patch("PodDisruptionBudget", _BUDGET, groups.budget(count))
    _configure(session, count)
    _follow(session, count, timeout_s)
    _lower(session, count, timeout_s)
    session.terminal.good(f"The store has {count} buckets.")
    _say_kept(session, count)
    return 0


def refuse_resharding(known: TopologyAnswer, count: int) -> None:
    """Refuse another number of buckets for a store that has one: nothing moves the keys yet.

    Raises:
        Failure: with what the store holds.
    """
    if count == known.bucket_count:
        return
    keys = sum(bucket.keys or 0 for bucket in known.buckets)
    raise Failure(
        f"the store was founded with {known.bucket_count} buckets and holds {keys:,} keys; changing the number of buckets "
        "of a store that has data is not built yet. To start over with another number: "
        "`python -m kuberay delete --delete-data`, then `deploy --buckets N`"
    )


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


def _make_room(session: Session, service: Document, count: int, timeout_s: float) -> None:
    """Have a claim and a running pod for each of `count` buckets: in the RayService, and on the RayCluster that runs."""
    for claim in _missing_claims(session, service, count):
        session.cluster.apply(claim)
        session.terminal.say(f"Made the claim {claim['metadata']['name']}.")
    if groups.with_bucket_groups(service, count) != service:
        session.change_service(lambda found: _groups_patch(groups.with_bucket_groups(found, count)))
    _wait_for_groups(session, timeout_s)
    wait_until_up(session, what=f"starting the pods of {count} buckets", timeout_s=timeout_s)


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


def _follow(session: Session, count: int, timeout_s: float) -> None:
    """Show the move until it has ended."""
    started_s = session.clock.monotonic_s()

    def look() -> Look:
        reply = session.store.topology()
        known = reply.topology
        if known is None:
            return Look(f"the store does not answer just now: {reply.trouble}")
        if known.phase == "stable" and known.bucket_count == count:
            return Look("", done=True)
        late = session.clock.monotonic_s() - started_s >= _STARTED_WITHIN_S
        refused = known.problem if late and known.phase == "stable" else ""
        found = (Trouble("store", f"the store does not take {count} buckets: {refused}"),) if refused else ()
        return Look(_progress(known, reply, count), troubles=found)

    wait(look, what=f"moving to {count} buckets", timeout_s=timeout_s, terminal=session.terminal, clock=session.clock)


def _progress(known: TopologyAnswer, reply: Reply, count: int) -> str:
    if known.phase == "stable":
        return f"waiting for the store to start moving to {count} buckets" + (
            f": {known.problem}" if known.problem else ""
        )
    moved = sum(bucket.moved for bucket in known.buckets)
    remaining = sum(bucket.remaining for bucket in known.buckets)
    away = ", ".join(f"bucket-{bucket.bucket_id} is away" for bucket in reply.unreachable)
    line = (
        f"moving from {known.bucket_count} to {known.target_count} buckets: {moved:,} keys moved, {remaining:,} to go"
    )
    return f"{line} ({away})" if away else line


# -- lowering --------------------------------------------------------------------------------------------------------


def _lower(session: Session, count: int, timeout_s: float) -> None:
    """End the pods of buckets that own no keys any more: in the RayService, and on the RayCluster that runs."""
    service = session.deployed()
    lowered = groups.with_lowered_groups(service, count)
    ray_cluster = session.ray_cluster(service)
    running = ray_cluster is not None and groups.with_lowered_groups(ray_cluster, count) != ray_cluster
    if lowered == service and not running:
        return
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
        if bucket_id >= count
    ]
    if kept:
        session.terminal.say(
            f"The claims {', '.join(kept)} are kept; their keys have moved. To delete them: "
            f"kubectl delete pvc -n {session.namespace} {' '.join(kept)}"
        )
