"""Two copies of one bucket under every order of events that a seed draws, or that is told.

Clocks of processes go up to 10 % too fast or too slow.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from serve_app.replication.primary import Joining, Primary, Proposal
from serve_app.replication.stream import Beat
from tests.replication.copies import KEYS, TwoCopies
from tests.replication.parts import Copy

_RATES = (0.9, 1.0, 1.1)


class World(TwoCopies):
    """See the module. `step` does one thing that may happen now."""

    def __init__(self, rng: random.Random, *, alone: bool = False, rates: tuple[float, float] | None = None) -> None:
        """alone: the primary begins without a standby in sync. rates: of the two clocks; drawn where they are not given."""
        super().__init__(rng, alone=alone, rates=rates or (rng.choice(_RATES), rng.choice(_RATES)))
        #: How often what goes wrong does, and what else makes runs differ: one that knows everything at once hides what shows
        #: when little else goes on.
        about = rng.choice(("switches", "crashes", "joins", "everything"))
        rare = 0.005
        self._often = {
            "crash": {"switches": rare, "joins": 0.03}.get(about, rng.choice((0.03, 0.15))),
            "lose": {"joins": 0.02, "everything": 0.02}.get(about, 0.0),
            "break": {"switches": 0.01, "crashes": 0.01}.get(about, rng.choice((0.03, 0.3))),
            "elsewhere": rng.choice((0.0, 0.1)),
            "drop": {"switches": 0.05, "joins": 0.2, "everything": 0.05}.get(about, rare),
            "switch": {"switches": 2.0, "everything": 0.2}.get(about, 0.0),
            "beat": rng.choice((0.5, 2.0)),
            "deliver": rng.choice((2.0, 6.0)),
            "hear": rng.choice((1.0, 6.0)),
            "decide": rng.choice((0.1, 1.0, 4.0)),
            "restart": rng.choice((1.0, 6.0)),
        }
        #: By copy: how soon it hears of decisions.
        self._hears = {name: rng.choice((0.02, 1.0)) for name in "AB"}

    def step(self, *, calm: bool = False) -> str:
        """One of the things that may happen now, and which it was. calm: nothing goes wrong."""
        able = self._able(calm=calm)
        name = self.rng.choices(list(able), [weight for weight, _ in able.values()])[0]
        self._do(name, able[name][1])
        return name

    def do(self, name: str) -> bool:
        """Have this happen, if it may happen now; whether it may. `time 0.5` is so many seconds."""
        if name.startswith("time "):
            self.time_s += float(name.removeprefix("time "))
            return True
        able = self._able(calm=False)
        if name not in able:
            return False
        self._do(name, able[name][1])
        return True

    def _do(self, name: str, action: Callable[[], None]) -> None:
        self.happened[name.split(" ")[0]] = self.happened.get(name.split(" ")[0], 0) + 1
        action()
        self._check()

    def _able(self, *, calm: bool) -> dict[str, tuple[float, Callable[[], None]]]:
        """By name: how likely it is beside others, and how it is done."""
        able: dict[str, tuple[float, Callable[[], None]]] = {}

        def may(name: str, action: Callable[[], None], weight: float = 1.0) -> None:
            able[name] = (self._often.get(name.split(" ")[0], weight), action)

        for seconds in (0.01, 0.03, 0.1, 0.3, 1.15):
            may(f"pause {seconds}", partial(self._pause, seconds), 0.1)
        for copy in self.copies:
            self._add_steps_of(copy, may, calm=calm)
        seen = dict.fromkeys("AB", 0)
        for channel in self.channels:
            name = f"{channel.of.name} {seen[channel.of.name]}"
            seen[channel.of.name] += 1
            if channel.messages and channel.to.up:
                may(f"deliver {name}", partial(self._deliver, channel))
            if channel.answers and channel.of.up:
                may(f"hear {name}", partial(self._hear, channel))
        for number, entry in enumerate(self.proposals):
            may(f"decide {number}", partial(self._decide, entry))
        if not calm:
            may("elsewhere", self._decide_elsewhere)
        return able

    def _add_steps_of(self, copy: Copy, may: Callable[..., None], *, calm: bool) -> None:
        if not copy.up:
            may(f"restart {copy.name}", lambda: self._start(copy, restarted=True))
            return
        if not calm:
            may(f"crash {copy.name}", partial(self._crash, copy))
            may(f"lose {copy.name}", partial(self._lose, copy))
            if copy.channel is not None:
                may(f"break {copy.name}", partial(self._break, copy))
        if copy.storage.known.epoch < self.chain[-1].epoch:
            for known in self.chain:
                if known.epoch > copy.storage.known.epoch:
                    often = 1.0 if calm else self._hears[copy.name]
                    may(
                        f"install {copy.name} +{known.epoch - copy.storage.known.epoch}",
                        partial(self._install, copy, known),
                        often,
                    )
        if copy.primary is not None:
            self._add_steps_of_primary(copy, copy.primary, may, calm=calm)
        elif copy.standby is not None and copy.standby.may_promote(self.now_s(copy)):
            marked = copy.standby.following.marked  # its proposal is under way, or is made again
            may(f"promote {copy.name}", partial(self._propose_promotion, copy), 0.1 if marked else 1.0)

    def _add_steps_of_primary(self, copy: Copy, primary: Primary, may: Callable[..., None], *, calm: bool) -> None:
        other = self.other(copy)
        if primary.may_write():
            for key in KEYS:
                may(f"write {copy.name} {key.decode()}", partial(self._write, copy, key), 2)
        if primary.flight is not None and not primary.flight.synced:
            may(f"sync {copy.name}", partial(self._sync, copy), 3)
        if primary.may_answer():
            may(f"answer {copy.name}", partial(self._answer, copy), 3)
        if copy.reading is None and not primary.recovering:
            for key in KEYS:
                if not primary.read_waits(key):
                    may(f"look {copy.name} {key.decode()}", partial(self._look, copy, key))
        if copy.reading is not None and primary.may_read(self.now_s(copy)):
            may(f"read {copy.name}", partial(self._read, copy), 2)
        if copy.channel is None and other.up and other.storage.known.epoch <= copy.storage.known.epoch:
            may(f"connect {copy.name}", partial(self._connect, copy))
        if copy.channel is not None:
            may(f"beat {copy.name}", lambda: self._send(copy, Beat()))
            whole = primary.flight is None or primary.flight.synced
            if primary.joining is Joining.WALKING and whole:
                may(f"walk {copy.name}", partial(self._walk, copy), 3)
        for proposal in Proposal:
            if primary.may_propose(proposal) and (not calm or proposal is not Proposal.SWITCH):
                may(f"{proposal.value} {copy.name}", partial(self._propose, copy, proposal))
        standby = other.standby
        if primary.recovering and primary.entry.in_sync and other.up and standby is not None:
            may(f"ask {copy.name}", lambda: standby.asked_to_take_over(primary.entry.epoch))
