"""`upgrade`: another image, by suspending the store and resuming it.

KubeRay changes running pods only by starting a second cluster beside the first, and two can't share the claims. So: suspend,
wait until the pods are gone, put in the new image, resume. How far that is, is read from the cluster each time (an
annotation, spec.suspend, the conditions, the images), so an upgrade that was interrupted goes on, from any machine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import datetime

from kuberay import groups
from kuberay.api.rayservice import Document, condition
from kuberay.commands.deploy import wait_until_up
from kuberay.drift import described, differences
from kuberay.manifests import to_yaml
from kuberay.observation import NODE_TYPE, SELECTOR
from kuberay.session import Session
from kuberay.upgrade_state import ANNOTATION, UpgradeState, upgrade_of
from kuberay.waiting import Look, wait
from serve_app.command_output.failure import Failure


def upgrade(session: Session, image: str, *, replace: bool, dry_run: bool, timeout_s: float) -> int:
    """Run the store on `image`. With `replace`, another upgrade under way is given up for this one.

    Raises:
        Failure: it can't be done, or the store does not come up again; running it again goes on.
    """
    if not image or any(character.isspace() for character in image):
        raise Failure(f"{image!r} is not the name of an image")
    service = session.deployed()
    if service["metadata"].get("deletionTimestamp"):
        raise Failure("the store is being deleted")
    state = upgrade_of(service)
    if state is not None and state.image != image and not replace:
        raise Failure(
            f"{state.how_to_go_on()}, or give it up for this one with `python -m kuberay upgrade --image {image} --replace`"
        )
    old_image = groups.image(service)
    if dry_run:
        session.terminal.raw(to_yaml(_plan(session, service, old_image, image)))
        return 0
    if state is None or state.image != image:
        if state is None and old_image == image and not _also_takes_effect(session, service):
            session.terminal.say(f"The store runs {image} already.")
            return 0
        old_images = [old_image, *(state.old_images if state else ()), *([state.image] if state else ())]
        state = UpgradeState(
            image,
            old_images=[name for name in dict.fromkeys(old_images) if name != image],
            started=session.clock.now().isoformat(timespec="seconds"),
            last_answer=_now_if_it_answers(session) or (state.last_answer if state else ""),
        )
        service = _begin(session, state)
    elif not service["spec"].get("suspend") and old_image != image:
        service = _begin(session, state)  # somebody resumed it half-way
    else:
        session.terminal.say(f"Going on with the upgrade to {image} that was started {state.started}.")
    if service["spec"].get("suspend"):
        state = _wait_until_suspended(session, state, timeout_s)
        _put_in_image(session, state)
        session.change_service(lambda found: {"spec": {"suspend": False}})
        session.terminal.say("Resumed the store.")
    wait_until_up(session, what=f"starting the store on {image}", timeout_s=timeout_s)
    answered = session.clock.now()
    state = upgrade_of(session.deployed()) or state
    session.change_service(lambda found: {"metadata": {"annotations": {ANNOTATION: None}}})
    session.terminal.good(f"The store runs {image}.")
    session.terminal.say(_downtime(state, answered))
    return 0


def _also_takes_effect(session: Session, service: Document) -> bool:
    """Whether the RayService holds changes that only a new cluster brings about; they are said."""
    ray_cluster = session.ray_cluster(service)
    found = differences(service, ray_cluster) if ray_cluster else []
    if found:
        session.terminal.say(f"Changes of the RayService that take effect with this: {described(found)}")
    return bool(found)


def _begin(session: Session, state: UpgradeState) -> Document:
    """Write down what is under way and suspend the store, in one step."""
    changed = session.change_service(
        lambda found: {"metadata": {"annotations": state.annotation()}, "spec": {"suspend": True}}
    )
    session.terminal.say(f"Suspended the store to bring it to {state.image}.")
    return changed


def _now_if_it_answers(session: Session) -> str:
    return session.clock.now().isoformat() if session.store.answers() else ""


def _wait_until_suspended(session: Session, state: UpgradeState, timeout_s: float) -> UpgradeState:
    """Wait until the store's pods are gone and their volumes with them; when it last answered is noted on the way."""
    last_answer = state.last_answer

    def look() -> Look:
        nonlocal last_answer
        last_answer = _now_if_it_answers(session) or last_answer
        pods = session.cluster.list_all("Pod", f"{SELECTOR},{NODE_TYPE} in (head,worker)")
        suspended = condition((session.service() or {}).get("status") or {}, "Suspended")
        line = f"waiting for {len(pods)} pods to end" if pods else "waiting for KubeRay to call the store suspended"
        return Look(line, done=suspended and not pods)

    wait(look, what="suspending", timeout_s=timeout_s, terminal=session.terminal, clock=session.clock)
    return dataclasses.replace(state, last_answer=last_answer)


def _put_in_image(session: Session, state: UpgradeState) -> None:
    """Change the image, in the RayService last: that it has the new one says that this step is done."""
    for deployment in session.cluster.list_all("Deployment", SELECTOR):
        changed = _with_new_image(deployment, state)
        if changed != deployment:
            containers = {
                kind: changed["spec"]["template"]["spec"][kind]
                for kind in ("initContainers", "containers")
                if kind in changed["spec"]["template"]["spec"]
            }
            name = deployment["metadata"]["name"]
            session.cluster.patch("Deployment", name, {"spec": {"template": {"spec": containers}}})
    session.change_service(_image_patch(state))


def _image_patch(state: UpgradeState) -> Callable[[Document], Document]:
    def patch_for(found: Document) -> Document:
        changed = groups.cluster_spec(_with_new_image(found, state))
        inner = {name: changed[name] for name in ("headGroupSpec", "workerGroupSpecs") if name in changed}
        return {"metadata": {"annotations": state.annotation()}, "spec": {"rayClusterConfig": inner}}

    return patch_for


def _with_new_image(document: Document, state: UpgradeState) -> Document:
    for old_image in state.old_images:
        document = groups.with_image(document, old_image, state.image)
    return document


def _downtime(state: UpgradeState, answered: datetime) -> str:
    if not state.last_answer:
        return f"How long it did not answer is not known; the upgrade was started {state.started}."
    down_s = (answered - datetime.fromisoformat(state.last_answer)).total_seconds()
    return f"It did not answer for {down_s:.0f} s."


def _plan(session: Session, service: Document, old_image: str, image: str) -> list[Document]:
    """The objects as they will be, in the order in which they are changed while the store is suspended."""
    documents = [*session.cluster.list_all("Deployment", SELECTOR), service]
    return [groups.to_apply(groups.with_image(document, old_image, image)) for document in documents]
