"""What one run does, drawn from its seed.

Each run enables some kinds of faults and not others, and draws how often they come and how fast things are ("swarm testing",
Groce et al., 2012): a run that does everything at once hides what only shows when, say, nothing but slow disks goes wrong.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from itertools import accumulate

from serve_app.settings import MIB, Limits
from tests.simulation.bounds import Bounds, draw_bounds, draw_limits
from tests.simulation.machine import Speed
from tests.simulation.network import Weather

FAULTS = (
    "break",
    "cut",
    "crash-bucket",
    "crash-in-window",
    "crash-directory",
    "sleep-directory",
    "sleep-bucket",
    "slow",
    "disk-full",
    "disk-fails",
    "disk-damaged",
    "read-error",
    "power-cut",
    "volume-lost",
    "accept-loss",
    "control-plane-away",
    "repeat",
    "clock-steps",
)

#: An accepted loss is planned (`Loss`).
_RANDOM_FAULTS = tuple(kind for kind in FAULTS if kind != "accept-loss")

#: How often a run about moves has them: most often those that do most harm where keys move, and let moves go on.
_FAULTS_ABOUT_MOVES = {
    "crash-in-window": 0.85,
    "clock-steps": 0.4,
    **dict.fromkeys(("break", "cut", "crash-bucket", "sleep-directory", "slow", "repeat"), 0.6),
}

#: How many runs lose a volume for good: those can't tell whether its records would have been lost anyway.
_LOSSES_SHARE = 1 / 6

#: How many runs are trials of availability, and of what: see trials.py.
_TRIALS_SHARE = 1 / 8
TRIALS = ("full-source", "full-target", "target-away", "damaged-source", "quick-changes")

#: After this a bucket that has left the store has ended.
_ENDED_S = 4.0
_THERE_AND_BACK_S = 12.0
#: Of the runs about moves, how many have reads that take as long as a key is away.
_STALLED_SHARE = 0.1
#: And how many have reading threads that stand still wherever they look at what others change.
_PREEMPTED_SHARE = 0.2
#: Who is left when directories start anew may be a volume that was given up.
_FORGETTING = frozenset({"crash-directory", "power-cut"})


@dataclass(frozen=True)
class Moving:
    """What a move does at a time, and what makes it begin: small, so that a few keys move in many steps."""

    window_bytes: int
    part_bytes: int
    max_scanned: int
    bytes_per_s: int
    #: How long a mover rests after a window, as a multiple of the time that took.
    rest: float
    refresh_s: float
    agreed_s: float
    lately_s: float


@dataclass(frozen=True)
class Change:
    """All directories are configured with another number of buckets.

    settled: whether that waits for the change before it to be carried out.
    """

    settled: bool
    after_s: float
    bucket_count: int


@dataclass(frozen=True)
class Loss:
    """A volume is lost for good, and an operator accepts that.

    after_s: since the one before was accepted. who: the part that its bucket plays then; see losses.py. again: whether the
    volume in its place is lost too, as soon as the store has gone on with that.
    """

    after_s: float
    who: str
    accepted_after_s: float
    again: bool = False


@dataclass(frozen=True)
class Plan:
    """The shape of one run."""

    bucket_count: int
    directory_count: int
    client_count: int
    #: When the bursts begin, and how many operations each client does in one.
    bursts_s: tuple[float, ...]
    burst_operations: int
    #: How many of the keys are put before anything else, 0 to 1.
    first_keys: float
    hot_keys: int
    cold_keys: int
    #: Between a client's operations in a burst, on average.
    think_s: float
    puts: float
    deletes: float
    #: How many of the writes leave a record that expires soon, 0 to 1.
    mortal_share: float
    #: Kinds of faults that happen in this run, and the average time between two.
    faults: frozenset[str]
    #: One after the other, for as long as clients are at work.
    changes: tuple[Change, ...]
    #: How many of the bursts wait for keys to move, and how many operations are on keys that are just being moved, 0 to 1.
    bursts_in_moves: float
    follows_moves: float
    moving: Moving
    fault_every_s: float
    #: What is lost for good, and whether such a volume may come back when its bucket joins the store again.
    losses: tuple[Loss, ...]
    old_volumes_return: bool
    #: Whether all volumes are folders of one disk, as without Kubernetes.
    shared_disk: bool
    #: How far the clocks of two machines may be from the right time, in milliseconds.
    clocks_off_ms: int
    #: How many follow what changes.
    watchers: int
    #: Whether an operator runs `verify` all the time.
    verifies: bool
    #: How often a bucket crashes when it has begun, taken or moved a window, where that is among the faults.
    crash_in_window_share: float
    cold_share: float
    weather: Weather
    speed: Speed
    limits: Limits
    bounds: Bounds
    #: How long it takes, at most, until a link is closed whose tasks have been ended.
    closing_s: float
    #: How likely each other bucket restarts when a volume is lost for good, before that is accepted.
    restarts_at_losses: float
    #: Between two times that acceptors are named, on average; 0: bucket 0 decides alone.
    elections_every_s: float = 0.0
    #: The trouble that the run is about, and nothing else (trials.py); empty for most.
    trial: str = ""


def draw(rng: random.Random) -> Plan:
    """A plan for one run."""
    share = rng.choice((0.0, 0.3, 0.6, 1.0))
    client_count = rng.randint(4, 8)
    burst_operations = rng.choice((1, 2, 3, 6))
    bursts = max(1, round(rng.randint(110, 200) / client_count / burst_operations))
    gap_s = rng.choice((0.1, 0.5, 1.5))
    starts_s = tuple(
        accumulate((rng.expovariate(1 / gap_s) for _ in range(bursts - 1)), initial=rng.choice((0.0, 0.5)))
    )
    moving = _draw_moving(rng)
    plan = Plan(
        bucket_count=rng.choice((1, 2, 2, 3, 3, 4, 5)),
        directory_count=rng.choice((1, 2, 2, 3)),
        client_count=client_count,
        bursts_s=starts_s,
        burst_operations=burst_operations,
        first_keys=0.7,
        hot_keys=rng.randint(1, 4),
        cold_keys=rng.choice((0, 6, 12, 16)),
        think_s=rng.choice((0.0005, 0.005, 0.02)),
        puts=rng.uniform(0.2, 0.6),
        deletes=rng.uniform(0.05, 0.3),
        mortal_share=rng.choice((0.05, 0.15, 0.4)),
        faults=frozenset(kind for kind in _RANDOM_FAULTS if rng.random() < share),
        changes=_draw_changes(rng),
        bursts_in_moves=rng.choice((0.3, 1.0, 1.0)),
        follows_moves=rng.choice((0.0, 0.6, 0.9)),
        moving=moving,
        fault_every_s=rng.choice((0.1, 0.4, 1.2)),
        losses=(),
        old_volumes_return=False,
        shared_disk=rng.random() < 0.3,
        clocks_off_ms=rng.choice((0, 1000, 3_600_000, 3_600_000)),
        watchers=rng.choice((1, 2, 3)),
        verifies=rng.random() < 0.25,
        crash_in_window_share=rng.choice((0.05, 0.1, 0.2)),
        cold_share=rng.choice((0.0, 0.1, 0.6)),
        weather=Weather(
            delay_s=rng.choice((0.0002, 0.001, 0.01)),
            straggler_share=rng.choice((0.0, 0.02, 0.1)),
            straggler_s=rng.choice((0.05, 0.5, 2.0)),
            split_share=rng.choice((0.0, 0.2)),
            join_share=rng.choice((0.0, 0.2)),
            window_bytes=rng.choice((1 << 20, 500)),
            high_water_bytes=rng.choice((1 << 30, 200)),
        ),
        speed=Speed(
            read_s=rng.choice((0.001, 0.03)),
            sync_s=rng.choice((0.002, 0.02, 0.05)),
            wake_s=rng.choice((0.0002, 0.01, 0.03)),
            slow_sync_share=rng.choice((0.0, 0.05)),
            slow_sync_s=rng.choice((0.3, 1.0)),
            stalled_read_share=rng.choice((0.0, 0.05)),
            stalled_read_s=rng.choice((0.3, 3.0)),
            preempted_share=rng.choice((0.0, 0.1, 0.5)),
        ),
        limits=draw_limits(rng, moving.bytes_per_s),
        bounds=draw_bounds(rng),
        closing_s=rng.choice((0.0, 0.02, 0.3)),
        restarts_at_losses=rng.choice((0.3, 0.9)),
    )
    if rng.random() < _TRIALS_SHARE:
        return _trial(rng, _about_moves(rng, plan))
    if rng.random() < 0.6:
        plan = _about_moves(rng, plan)
        share = rng.random()
        if share < _STALLED_SHARE:
            plan = _with_stalled_reads(rng, plan)
        elif share < _STALLED_SHARE + _PREEMPTED_SHARE:
            plan = _with_preempted_readers(plan)
    return _with_losses(rng, plan) if rng.random() < _LOSSES_SHARE else plan


def _trial(rng: random.Random, plan: Plan) -> Plan:
    """The plan, which is about moves, with one kind of trouble, and so well otherwise that the store must go on."""
    trial = rng.choice(TRIALS)
    quick = trial == "quick-changes"
    return replace(
        plan,
        trial=trial,
        faults=frozenset(),
        # While a mover looks whether there is anything to move, the next move begins.
        changes=tuple(replace(change, after_s=rng.random() * 0.1 if quick else 0.1) for change in plan.changes),
        closing_s=0.4 if quick else plan.closing_s,
        moving=replace(plan.moving, rest=0.0, agreed_s=0.01 if quick else 0.05),
        weather=replace(plan.weather, delay_s=0.001, straggler_share=0.0),
        speed=Speed(sync_s=rng.choice((0.002, 0.01)), slow_sync_share=0.0),
        limits=plan.limits.model_copy(
            update={"request_timeout_s": 1.0, "max_call_bytes_per_bucket": 128 * MIB, "max_held_bytes": 256 * MIB}
        ),
    )


def _with_stalled_reads(rng: random.Random, plan: Plan) -> Plan:
    """The plan, which is about moves, with little else than reads, some of which take as long as a key is away and back."""
    speed = Speed(sync_s=0.001, slow_sync_share=0.0, stalled_read_share=0.4, stalled_read_s=2.0, scans_stall=False)
    return replace(
        plan,
        faults=frozenset(),
        cold_share=1.0,
        puts=0.1,
        deletes=0.02,
        think_s=0.02,
        burst_operations=6,
        moving=replace(plan.moving, window_bytes=1 << 20, max_scanned=20_000, rest=0.0),
        weather=Weather(straggler_share=0.0),
        speed=speed,
        limits=plan.limits.model_copy(update={"request_timeout_s": 3.0, "max_queued_writes": 4096}),
    )


def _with_preempted_readers(plan: Plan) -> Plan:
    """The plan, which is about moves, with mostly reads, all by threads that rarely get far before others run."""
    speed = replace(plan.speed, preempted_share=0.9, wake_s=0.03, read_s=0.03)
    limits = plan.limits.model_copy(update={"request_timeout_s": 3.0})
    return replace(plan, cold_share=1.0, puts=0.15, deletes=0.02, follows_moves=0.95, speed=speed, limits=limits)


def _with_losses(rng: random.Random, plan: Plan) -> Plan:
    """The plan with some volumes lost for good."""
    kind = rng.random()
    if kind < 0.35:
        return _there_and_back(rng, _about_moves(rng, plan))
    if kind < 0.65:
        return _with_a_target_replaced(rng, _about_moves(rng, plan))
    parts = (
        "stable",
        "zero",
        "zero",
        "asked",
        "asked",
        "joining",
        "joined-in-vain",
        "leaving",
        "leaving",
        "staying",
        "staying",
        "any",
    )
    losses = tuple(
        Loss(rng.expovariate(1), rng.choice(parts), rng.choice((0.1, 1.0)), rng.random() < 0.5)
        for _ in range(rng.randint(1, 3))
    )
    return replace(plan, losses=losses, old_volumes_return=not plan.faults & _FORGETTING)


def _there_and_back(rng: random.Random, plan: Plan) -> Plan:
    """The plan, which is about moves, with a joining bucket's volume lost while it is empty still; it is back when the bucket
    has left and joins again."""
    low, high = plan.bucket_count, plan.changes[0].bucket_count
    and_back = (Change(True, _ENDED_S, high), Change(True, rng.expovariate(20), low))
    return replace(
        plan,
        # For as long as that takes.
        bursts_s=tuple(0.5 + _THERE_AND_BACK_S * number / len(plan.bursts_s) for number in range(len(plan.bursts_s))),
        changes=(Change(True, rng.expovariate(20), high), Change(True, rng.expovariate(20), low), *and_back, *and_back),
        first_keys=rng.choice((0.0, 0.3)),
        faults=plan.faults - _FORGETTING - {"sleep-directory"},
        losses=(Loss(0.0, "joined-in-vain", 0.1),),
        old_volumes_return=True,
    )


def _with_a_target_replaced(rng: random.Random, plan: Plan) -> Plan:
    """The plan, which is about moves, with targets lost whose window waits for another target still."""
    low, high = rng.choice(((2, 3), (3, 5)))
    return replace(
        plan,
        bucket_count=low,
        changes=tuple(Change(True, rng.expovariate(20), count) for _ in range(8) for count in (high, low)),
        faults=plan.faults & {"break", "repeat", "slow"},
        losses=tuple(Loss(rng.expovariate(2), "taker", 0.05) for _ in range(3)),
        restarts_at_losses=0.0,  # the source is to go on with what it knows
    )


def _about_moves(rng: random.Random, plan: Plan) -> Plan:
    """The plan with little else than moves: to and fro, key by key, with clients at the keys that are just being moved."""
    low, high = rng.choice(((1, 2), (2, 3), (2, 3), (3, 5)))
    moving = replace(plan.moving, window_bytes=rng.choice((1, 1, 100)), refresh_s=0.2, agreed_s=0.05, lately_s=0.6)
    client_count, burst_operations = rng.randint(4, 8), rng.choice((3, 6))
    bursts = round(260 / client_count / burst_operations)
    speed = replace(plan.speed, sync_s=rng.choice((0.005, 0.02, 0.05)), read_s=rng.choice((0.001, 0.03, 0.1)))
    return replace(
        plan,
        bucket_count=low,
        directory_count=rng.choice((2, 3)),
        client_count=client_count,
        bursts_s=tuple(0.5 + 0.5 * number for number in range(bursts)),
        burst_operations=burst_operations,
        cold_keys=rng.choice((4, 10)),
        think_s=rng.choice((0.002, 0.01, 0.03)),
        faults=frozenset(kind for kind in _RANDOM_FAULTS if rng.random() < _FAULTS_ABOUT_MOVES.get(kind, 0.15)),
        fault_every_s=rng.choice((0.4, 1.2)),
        changes=tuple(Change(True, rng.expovariate(20), count) for _ in range(8) for count in (high, low)),
        bursts_in_moves=1.0,
        puts=rng.uniform(0.2, 0.45),
        deletes=rng.uniform(0.05, 0.2),
        cold_share=rng.choice((0.0, 0.6)),
        speed=speed,
        follows_moves=rng.choice((0.6, 0.95)),
        moving=moving,
        limits=plan.limits.model_copy(
            update={
                "request_timeout_s": rng.choice((1.0, 3.0)),
                "max_calls_per_bucket": 1024,
                "move_bytes_per_s": 1 << 26,
            }
        ),
    )


def _draw_moving(rng: random.Random) -> Moving:
    refresh_s = rng.choice((0.2, 0.2, 1.0))
    return Moving(
        window_bytes=rng.choice((1, 1, 100, 300, 1 << 20)),
        part_bytes=rng.choice((1, 100, 1 << 23)),
        max_scanned=rng.choice((1, 4, 20_000)),
        bytes_per_s=rng.choice((1 << 26, 1 << 26, 5000)),
        rest=rng.choice((0.0, 0.0, 3.0)),
        refresh_s=refresh_s,
        agreed_s=rng.choice((0.05, 0.3)),
        lately_s=refresh_s * 3,
    )


def _draw_changes(rng: random.Random) -> tuple[Change, ...]:
    """Up and down, to and fro, several in a row or now and then."""
    counts = rng.choice(((1, 2, 3, 4, 5), (1, 2, 3, 4, 5), (2, 3), (1, 2), (2, 3, 5)))
    gap_s = rng.choice((0.02, 0.2, 1.0))
    settled = rng.choice((0.5, 1.0))
    changes: list[Change] = []
    for _ in range(rng.choice((0, 4, 10, 10, 10))):
        others = [count for count in counts if not changes or count != changes[-1].bucket_count]
        changes.append(Change(rng.random() < settled, rng.expovariate(1 / gap_s), rng.choice(others)))
    return tuple(changes)
