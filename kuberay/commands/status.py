"""`status`: the store on one screen."""

from __future__ import annotations

from collections import Counter

from rich.markup import escape
from rich.table import Table

from kuberay import groups, tokens
from kuberay.address import addresses
from kuberay.api.rayservice import Document, condition
from kuberay.diagnosis import troubles
from kuberay.drift import differences
from kuberay.observation import Observation, claim_is_bound, is_ready, observe, part_of, pod_state
from kuberay.session import Session
from kuberay.store import Reply
from kuberay.upgrade_state import upgrade_of
from serve_app.command_output import move_progress
from serve_app.command_output.failure import Failure
from serve_app.http.models import BucketStatus


def status(session: Session) -> int:
    """Show it. Raises Failure where there is no store, or it may not be looked at."""
    session.deployed()
    seen = observe(session)
    service = seen.service
    if service is None:
        raise Failure("the store was deleted just now")
    reply, not_asked = _ask(session)
    terminal = session.terminal
    terminal.say(f"RayService {service['metadata']['name']} in the namespace {session.namespace}: {_state(service)}")
    terminal.say(f"  image      {groups.image(service)}")
    terminal.say(f"  topology   {_topology(reply, not_asked)}")
    terminal.say(f"  tokens     {'asked for' if groups.tokens_file(service) else 'none: the API is open'}")
    for line in addresses(session):
        terminal.say(f"  {line}")
    terminal.say("")
    terminal.draw(_pods(seen))
    terminal.say("")
    terminal.draw(_buckets(seen, reply))
    if reply.topology is not None and reply.topology.phase == "moving":
        terminal.say("")
        terminal.draw(
            move_progress.drawn(
                "keys on their way", move_progress.MoveProgress().share(reply.topology, session.clock.now())
            )
        )
    for warning in [*warnings(seen, reply), tokens.warning(service, tokens.ingresses_of(session.cluster))]:
        if not warning:
            continue
        terminal.warn(warning)
    return 0


def warnings(seen: Observation, reply: Reply) -> list[str]:
    """What an operator should look into."""
    found = [trouble.sentence for trouble in troubles(seen)]
    service = seen.service
    assert service is not None
    if seen.ray_cluster is not None:
        found += [
            f"KubeRay ignores a change of the RayService: {text}" for text in differences(service, seen.ray_cluster)
        ]
    upgrade = upgrade_of(service)
    if upgrade is not None:
        found.append(upgrade.how_to_go_on())
    if reply.topology is not None:
        found += move_progress.warnings(reply.topology)
    return found


def _ask(session: Session) -> tuple[Reply, str]:
    try:
        return session.store.topology(), ""
    except Failure as failure:
        return Reply(None), str(failure)


def _state(service: Document) -> str:
    if service["metadata"].get("deletionTimestamp"):
        return "being deleted"
    said = service.get("status") or {}
    for kind, word in (("Suspending", "suspending"), ("Suspended", "suspended"), ("Ready", "ready")):
        if condition(said, kind):
            return word
    for entry in said.get("conditions") or ():
        if entry["type"] == "Ready":
            return f"not ready ({entry.get('reason', '')})"
    return "not looked at by KubeRay yet"


def _topology(reply: Reply, not_asked: str) -> str:
    known = reply.topology
    if known is None:
        return f"unknown: {not_asked or reply.trouble}"
    phase = f"moving to {known.target_count}" if known.phase == "moving" else "stable"
    return f"{known.bucket_count} buckets, epoch {known.epoch}, {phase}"


def _pods(seen: Observation) -> Table:
    table = _table("pod of", "state", "restarts", "node", "name")
    for pod in sorted(seen.pods, key=lambda pod: (part_of(pod), pod["metadata"]["name"])):
        table.add_row(part_of(pod), *_pod_cells(pod), escape(pod["metadata"]["name"]))
    missing = seen.expected_pods - Counter(part_of(pod) for pod in seen.pods)
    for part in sorted(missing.elements()):
        table.add_row(part, "[yellow]missing[/]", "", "", "")
    return table


def _buckets(seen: Observation, reply: Reply) -> Table:
    assert seen.service is not None
    table = _table("bucket", "serves", "keys", "bytes", "claim", "volume")
    claims = {claim["metadata"]["name"]: claim for claim in seen.claims}
    reported = {bucket.bucket_id: bucket for bucket in reply.topology.buckets} if reply.topology else {}
    for bucket_id, group in sorted(groups.bucket_groups(seen.service).items()):
        content = ("retired", "", "") if not group.get("replicas") else _content(reported.get(bucket_id))
        claim = groups.claim_name(group)
        table.add_row(f"bucket-{bucket_id}", *content, claim, _volume(claims.get(claim)))
    return table


def _content(bucket: BucketStatus | None) -> tuple[str, str, str]:
    if bucket is None:
        return "?", "", ""
    serves = "yes" if bucket.reachable else "[bold red]no[/]"
    return (
        serves,
        "?" if bucket.keys is None else f"{bucket.keys:,}",
        "?" if bucket.bytes is None else f"{bucket.bytes:,}",
    )


def _pod_cells(pod: Document) -> tuple[str, str, str]:
    containers = (pod.get("status") or {}).get("containerStatuses") or ()
    restarts = sum(int(container.get("restartCount", 0)) for container in containers)
    state = "ready" if is_ready(pod) else f"[yellow]{escape(pod_state(pod))}[/]"
    return state, str(restarts), escape(pod["spec"].get("nodeName", ""))


def _volume(claim: Document | None) -> str:
    if claim is None:
        return "[bold red]no such claim[/]"
    if not claim_is_bound(claim):
        return f"[yellow]{(claim.get('status') or {}).get('phase', 'not bound')}[/]"
    size = ((claim.get("status") or {}).get("capacity") or {}).get("storage", "")
    return escape(f"{claim['spec'].get('volumeName', '')} {size}".strip())


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in ("keys", "bytes", "restarts") else "left")
    return table
