"""`deploy`: apply the store's objects, and wait until it answers, saying what for."""

from __future__ import annotations

import dataclasses
from http import HTTPStatus
from typing import Any

from kuberay import groups, tokens
from kuberay.address import addresses, open_command
from kuberay.api.errors import Refused
from kuberay.api.rayservice import Document
from kuberay.diagnosis import troubles
from kuberay.drift import described, differences
from kuberay.live_options import VARIANT_ANNOTATION, live_options, options
from kuberay.manifests import NAME, Options, render, to_yaml
from kuberay.observation import Observation, observe
from kuberay.session import Session
from kuberay.store import SERVICE
from kuberay.upgrade_state import upgrade_of
from kuberay.waiting import Look, Trouble, wait
from serve_app.command_output.failure import Failure
from serve_app.command_output.terminal import Terminal

#: An operator that runs looks at a RayService within a second or two.
_NOTICED_WITHIN_S = 20.0


def dry_run(terminal: Terminal, namespace: str, asked: dict[str, Any]) -> int:
    """Print what would be applied to an empty cluster. Asks no cluster."""
    chosen = options(namespace, {}, asked)
    objects = _objects(chosen)
    tokens.check_who_gets_in(chosen, asked.get("tokens"))
    terminal.raw(to_yaml(objects))
    return 0


def deploy(session: Session, asked: dict[str, Any], *, until_ready: bool, timeout_s: float) -> int:
    """Apply everything; with `until_ready`, wait until every bucket serves.

    Raises:
        Failure: it can't be applied, would not do what was asked for, or does not come up.
    """
    session.check_kuberay()
    service = session.service()
    if service is not None:
        _check_at_rest(session, service)
    live = live_options(session.cluster, service)
    typed = asked.get("tokens")
    chosen = options(session.namespace, live, {**asked, "tokens": tokens.wanted(session.cluster, service, typed)})
    if service is not None:
        _check_bucket_count(service, chosen.buckets)
    kept = live.get("buckets", 0) if service is None else 0
    if kept:
        _say_kept_claims(session, kept, chosen.buckets)
    objects = _objects(chosen, kept)
    tokens.check_who_gets_in(chosen, typed, tokens.ingresses_of(session.cluster))
    if service is not None:
        objects = [groups.with_groups_kept(each, service) if _is_service(each) else each for each in objects]
        for each in filter(_is_service, objects):
            _check_drift(session, service, each)
    for each in objects:
        _apply(session, each)
    session.terminal.say(f"Applied {len(objects)} objects to the namespace {session.namespace}.")
    if service is not None:
        _set_what_kuberay_leaves(session, next(filter(_is_service, objects)))
    if not until_ready:
        session.terminal.say("It comes up by itself; `python -m kuberay status` shows how far it is.")
        return 0
    wait_until_up(session, what="deploying", timeout_s=timeout_s)
    _say_up(session, chosen.buckets)
    for line in addresses(session):
        session.terminal.say(f"  {line}")
    session.terminal.say(f"To try it from here: {open_command(session)}")
    return 0


def wait_until_up(session: Session, *, what: str, timeout_s: float) -> None:
    """Wait until KubeRay calls the RayService ready, all its pods are, and every bucket serves. Raises Failure."""
    started_s = session.clock.monotonic_s()

    def look() -> Look:
        seen = observe(session)
        found = troubles(seen)
        if not found and not seen.noticed and session.clock.monotonic_s() - started_s >= _NOTICED_WITHIN_S:
            found = (_no_operator(session),)
        if not seen.up:
            return Look(seen.waiting_for(), troubles=found)
        return _look_at_buckets(session, seen, found)

    wait(look, what=what, timeout_s=timeout_s, terminal=session.terminal, clock=session.clock)


def _look_at_buckets(session: Session, seen: Observation, found: tuple[Trouble, ...]) -> Look:
    try:
        reply = session.store.topology()
    except Refused as refused:  # whoever may deploy may not always ask
        session.terminal.warn(f"{refused}; so the buckets were not looked at")
        return Look("", done=True)
    if reply.topology is None:
        return Look(f"{seen.waiting_for()}; the store: {reply.trouble}", troubles=found)
    if reply.unreachable:
        away = ", ".join(f"bucket-{bucket.bucket_id}: {bucket.last_error}" for bucket in reply.unreachable)
        return Look(f"waiting for buckets ({away})", troubles=found)
    if reply.topology.problem:
        session.terminal.warn(reply.topology.problem)
    return Look("", done=True)


def _no_operator(session: Session) -> Trouble:
    return Trouble(
        "operator",
        "no KubeRay operator acts on the RayService: is one running, and does it watch the namespace "
        f"{session.namespace}? (kubectl get pods -A -l app.kubernetes.io/name=kuberay-operator)",
        heals=True,
    )


def _check_at_rest(session: Session, service: Document) -> None:
    """Refuse while the RayService is on its way somewhere else."""
    if service["metadata"].get("deletionTimestamp"):
        raise Failure(f"the store in the namespace {session.namespace} is being deleted; deploy again when it is gone")
    upgrade = upgrade_of(service)
    if upgrade is not None:
        raise Failure(upgrade.how_to_go_on())
    if service["spec"].get("suspend"):
        raise Failure(
            "the store is suspended: spec.suspend of its RayService is true. To resume it: "
            f"kubectl patch rayservice {NAME} -n {session.namespace} --type merge -p "
            '\'{"spec":{"suspend":false}}\''
        )


def _check_bucket_count(service: Document, buckets: int) -> None:
    running = groups.bucket_count(service)
    if buckets != running:
        raise Failure(
            f"the store has {running} buckets, and --buckets asks for {buckets}: "
            f"use `python -m kuberay scale {buckets}` to change their number"
        )


def _say_kept_claims(session: Session, kept: int, buckets: int) -> None:
    """Say what becomes of an earlier store's data. How many buckets that store had is written on its volumes alone: some
    claims may be of buckets that it had given up."""
    text = f"There are claims of {kept} buckets from an earlier store; they are taken over with all that is on them."
    if kept == buckets:
        session.terminal.say(f"{text} Should that store have had fewer buckets in the end, its keys move to {kept}.")
        return
    text += f" That store's keys move to {buckets} buckets once it is up"
    if kept > buckets:
        text += f", so all {kept} get a pod; `python -m kuberay scale {buckets}` then ends those that are left over"
    session.terminal.warn(text)


def _say_up(session: Session, buckets: int) -> None:
    """Say with how many buckets the store came up: its own number, which may be another than the configured one."""
    try:
        known = session.store.topology().topology
    except Refused:  # whoever may deploy may not always ask
        known = None
    if known is None or (known.bucket_count, known.phase) == (buckets, "stable"):
        session.terminal.good(f"The store is up with {buckets} buckets.")
    else:
        session.terminal.good(
            f"The store is up with {known.bucket_count} buckets, and its keys move to {buckets}: "
            f"`python -m kuberay scale {buckets}` shows how far they are."
        )


def _check_drift(session: Session, service: Document, wanted: Document) -> None:
    """Refuse what KubeRay would ignore. The API server says what the RayService would be, its own defaults included."""
    ray_cluster = session.ray_cluster(service)
    if ray_cluster is None:
        return
    found = differences(session.services.apply_ray_service(wanted, session.namespace, dry_run=True), ray_cluster)
    if found:
        raise Failure(
            f"KubeRay would ignore this: {described(found)}. A new image goes through `python -m kuberay upgrade "
            "--image …`; anything else takes effect when the store is upgraded or deleted and deployed again"
        )


def _apply(session: Session, document: Document) -> None:
    if _is_service(document):
        session.services.apply_ray_service(document, session.namespace)
    elif document["kind"] == "Namespace":
        apply_namespace(session, document)
    else:
        session.cluster.apply(document)


def apply_namespace(session: Session, document: Document) -> None:
    """Make the namespace, or bring ours up to date. One that somebody else made is left as it is."""
    try:
        existing = session.cluster.get("Namespace", session.namespace)
        if existing is None or is_ours(existing):
            session.cluster.apply(document)
    except Refused as refused:
        if refused.status != HTTPStatus.FORBIDDEN:
            raise
        session.terminal.warn(f"{refused}; going on with the namespace {session.namespace} as it is")


def is_ours(document: Document) -> bool:
    """Whether the object carries the store's label."""
    return bool((document["metadata"].get("labels") or {}).get("app.kubernetes.io/name") == NAME)


def _set_what_kuberay_leaves(session: Session, wanted: Document) -> None:
    """KubeRay hands on the RayService's numbers of pods only with a new group, and its service only with a new cluster."""
    ray_cluster = session.ray_cluster(session.deployed())
    if ray_cluster is not None and groups.with_replicas_of(ray_cluster, wanted) != ray_cluster:
        session.change_ray_cluster(
            ray_cluster["metadata"]["name"],
            lambda found: {"spec": {"workerGroupSpecs": groups.worker_groups(groups.with_replicas_of(found, wanted))}},
        )
    service, spec = session.cluster.get("Service", SERVICE), wanted["spec"]["serveService"]["spec"]
    if service is not None and not _opens_the_same(service["spec"], spec):
        session.cluster.patch("Service", SERVICE, {"spec": {"type": spec["type"], "ports": spec["ports"]}})


def _opens_the_same(running: Document, wanted: Document) -> bool:
    """Whether a service has the type, and where one is named the node port, that are wanted."""
    node_port = wanted["ports"][0].get("nodePort")
    return running["type"] == wanted["type"] and node_port in (None, running["ports"][0].get("nodePort"))


def _objects(chosen: Options, kept: int = 0) -> list[Document]:
    """What is applied. The RayService remembers its variant, which can't be read off a cluster for sure. kept: the number
    of buckets that there is data of, which have to run, whatever number is asked for."""
    objects = render(dataclasses.replace(chosen, buckets=max(chosen.buckets, kept)))
    for index, document in enumerate(objects):
        if _is_service(document):
            document["metadata"].setdefault("annotations", {})[VARIANT_ANNOTATION] = chosen.variant
            objects[index] = groups.with_bucket_count(document, chosen.buckets)
    return objects


def _is_service(document: Document) -> bool:
    return bool(document["kind"] == "RayService")
