"""What the clients of a crash test saw, judged and summed up."""

from __future__ import annotations

from tests.support.linearizability import violation
from tests.support.load import Load


def check(load: Load) -> tuple[int, str]:
    """Every key is read once more, and the history has an explanation and says something.

    Returns how many of its keys are there, and a line on what it was.
    """
    present = load.read_all()
    assert not load.surprises, load.surprises[:5]
    said = (
        f"{len(load.events):,} operations ({dict(load.outcomes)}), {load.overlapping():.0%} overlapping, "
        f"longest wait {load.longest_wait_s:.1f} s"
    )
    print(said)
    unknown = load.outcomes["unknown"] / sum(load.outcomes.values())
    assert load.overlapping() > 0.5, "too few overlap for the check to mean much"
    assert unknown < 0.1, "too many of unknown fate for the check to mean much"
    assert violation(load.events) is None
    return present, said
