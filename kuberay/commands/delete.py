"""`delete`: take the store off the cluster. Its records stay on their claims, unless they are to go as well."""

from __future__ import annotations

from collections.abc import Callable

from kuberay import tokens
from kuberay.address import open_command
from kuberay.api.rayservice import Document
from kuberay.commands.deploy import is_ours
from kuberay.manifests import NAME, to_yaml
from kuberay.observation import NODE_TYPE, SELECTOR
from kuberay.session import Session
from kuberay.waiting import Look, Trouble, wait
from serve_app.command_output.failure import Failure

#: What is deleted after the RayService, in this order. Redis outlives Ray's head, since KubeRay empties it at the end.
_KINDS = (
    "PodDisruptionBudget",
    "Deployment",
    "Service",
    "NetworkPolicy",
    "RoleBinding",
    "Role",
    "ServiceAccount",
    "Secret",
)
_CLAIM = "PersistentVolumeClaim"
_GONE_WITHIN_S = 30.0


def delete(
    session: Session, *, delete_data: bool, confirm: Callable[[str], str] | None, dry_run: bool, timeout_s: float
) -> int:
    """Delete it. `confirm` asks a question and returns the answer; without it nothing is asked.

    Raises:
        Failure: it can't be, or whoever was asked did not agree.
    """
    session.check_kuberay()
    service = session.service()
    doomed = {kind: session.cluster.list_all(kind, SELECTOR) for kind in _KINDS}
    if not delete_data:  # who may use the records is kept with them: the next deploy would let everybody in
        doomed["Secret"] = [secret for secret in doomed["Secret"] if not tokens.is_tokens(secret)]
    claims = session.cluster.list_all(_CLAIM, SELECTOR)
    namespace = session.cluster.get("Namespace", session.namespace) if delete_data else None
    ours = namespace is not None and is_ours(namespace)
    if service is None and not any(doomed.values()) and not (delete_data and (claims or ours)):
        session.terminal.say(f"There is no store in the namespace {session.namespace}.")
        _say_kept(session, claims)
        return 0
    if dry_run:
        last = [*(claims if delete_data else ()), *([namespace] if namespace and ours else [])]
        listed = [*([service] if service else []), *(each for kind in _KINDS for each in doomed[kind]), *last]
        session.terminal.raw(to_yaml([_reference(each) for each in listed]))
        return 0
    if delete_data and confirm is not None:
        _ask(session, claims, confirm)
    _delete_service(session, timeout_s)
    for kind in _KINDS:
        for each in doomed[kind]:
            session.cluster.delete(kind, each["metadata"]["name"])
    if not delete_data:
        session.terminal.good("The store is deleted.")
        _say_kept(session, claims)
        return 0
    for claim in claims:
        session.cluster.delete(_CLAIM, claim["metadata"]["name"])
    if ours:
        session.cluster.delete("Namespace", session.namespace)
    session.terminal.good(f"The store is deleted, with the data of {_buckets(claims)}.")
    return 0


def _ask(session: Session, claims: list[Document], confirm: Callable[[str], str]) -> None:
    answer = confirm(
        f"This deletes {_buckets(claims)} with all their records, for good. "
        f"Type the name of the namespace ({session.namespace}) to go on"
    )
    if answer.strip() != session.namespace:
        raise Failure(f"nothing was deleted: {answer.strip()!r} is not {session.namespace!r}")


def _delete_service(session: Session, timeout_s: float) -> None:
    """Delete the RayService and wait until its pods are gone: until then they need everything else."""
    if not session.services.delete_ray_service(NAME, session.namespace):
        return
    started_s = session.clock.monotonic_s()

    def look() -> Look:
        service = session.service()
        pods = session.cluster.list_all("Pod", f"{SELECTOR},{NODE_TYPE} in (head,worker)")
        if service is None and not pods:
            return Look("", done=True)
        late = service is not None and session.clock.monotonic_s() - started_s >= _GONE_WITHIN_S
        stuck = Trouble(
            "RayService",
            "the RayService is not gone yet: KubeRay empties Redis first, which takes a minute at most; or its operator "
            "does not run: it has to let it go",
            heals=True,
        )
        return Look(f"waiting for {len(pods)} pods to end", troubles=(stuck,) if late and not pods else ())

    wait(look, what="deleting", timeout_s=timeout_s, terminal=session.terminal, clock=session.clock)


def _say_kept(session: Session, claims: list[Document]) -> None:
    if not claims:
        return
    names = ", ".join(sorted(claim["metadata"]["name"] for claim in claims))
    hint = open_command(session).replace(" open", " delete --delete-data", 1)
    session.terminal.say(
        f"These claims are kept, with all records: {names}. `python -m kuberay deploy` takes them up again; "
        f"`{hint}` deletes them."
    )


def _buckets(claims: list[Document]) -> str:
    count = sum(f"{NAME}-bucket-" in claim["metadata"]["name"] for claim in claims)
    return "1 bucket" if count == 1 else f"{count} buckets"


def _reference(document: Document) -> Document:
    """What `kubectl delete -f` needs of an object."""
    metadata = {name: document["metadata"][name] for name in ("name", "namespace") if name in document["metadata"]}
    return {"apiVersion": document["apiVersion"], "kind": document["kind"], "metadata": metadata}
