"""An upgrade under way, as the RayService itself remembers it: in an annotation, so that any machine can go on with it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from kuberay.api.rayservice import Document
from serve_app.command_output.failure import Failure

ANNOTATION = "cloud-storage/upgrade"


@dataclass(frozen=True)
class UpgradeState:
    """`image` takes the place of `old_images`: the one that ran, and those of upgrades that were given up. Times are
    ISO 8601 in UTC; `last_answer` is the store's last before it went, empty while that is not known."""

    image: str
    old_images: list[str]
    started: str
    last_answer: str = ""

    def annotation(self) -> dict[str, str]:
        """The annotation that keeps it."""
        return {ANNOTATION: json.dumps(asdict(self))}

    def how_to_go_on(self) -> str:
        """The sentence for whoever wants something else meanwhile."""
        return (
            f"an upgrade to {self.image}, started {self.started}, is under way; "
            f"finish it first with `python -m kuberay upgrade --image {self.image}`"
        )


def upgrade_of(service: Document) -> UpgradeState | None:
    """The upgrade that is under way. Raises Failure where the annotation is not one of ours."""
    text = (service["metadata"].get("annotations") or {}).get(ANNOTATION)
    if text is None:
        return None
    try:
        return UpgradeState(**json.loads(text))
    except (ValueError, TypeError):
        raise Failure(f"the RayService's annotation {ANNOTATION} can't be understood: {text}") from None
