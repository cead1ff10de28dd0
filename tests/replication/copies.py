"""What happens to two copies of one bucket, by the product's own rules: writes, reads, the stream, decisions, crashes.

Decisions about the entry are abstract: what has been proposed may be decided at any later time, or never (the authority's own
simulation is tests/simulation with --several). What the rules say is durable is; what a crash may take away it takes.
"""

from __future__ import annotations

import random

from serve_app.replication.entry import Entry, Known
from serve_app.replication.following import NOTHING, Following, Label
from serve_app.replication.primary import Greeting, Joining, Primary, Proposal
from serve_app.replication.standby import Standby, Verdict
from serve_app.replication.stream import Acknowledged, Beat, End, Group, Sent, Window
from tests.replication.history import History
from tests.replication.parts import Channel, Copy, Data, Reading, Storage

KEYS = (b"a", b"b")
_MOST_IN_FLIGHT = 4


class TwoCopies:
    """See the module. `problem` says what is wrong, if anything is."""

    def __init__(self, rng: random.Random, *, alone: bool, rates: tuple[float, float]) -> None:
        """alone: the primary begins without a standby in sync. rates: of the two clocks."""
        self.rng = rng
        self.time_s = 0.0
        first = Known(1, Entry(1, "A0", "B0", not alone))
        self.chain = [first]
        #: What may yet be decided to follow the last of the chain.
        self.proposals: list[Entry] = []
        self.copies = [Copy(name, Storage(f"{name}0", first)) for name in "AB"]
        self.channels: list[Channel] = []
        self._streams = 0
        self.history = History()
        self._writing: dict[str, tuple[bytes, int]] = {}
        self._highest_answered = 0
        self.answered = 0
        self.happened: dict[str, int] = {}
        self.problem = ""
        for copy, rate in zip(self.copies, rates, strict=True):
            copy.rate = rate
            self._start(copy, restarted=False)

    # -- time, processes, topologies -----------------------------------------------------------------------------------

    def now_s(self, copy: Copy) -> float:
        """On the monotonic clock of its process."""
        return (self.time_s - copy.born_s) * copy.rate

    def _pause(self, seconds: float) -> None:
        self.time_s += seconds

    def other(self, copy: Copy) -> Copy:
        return self.copies[1] if copy is self.copies[0] else self.copies[0]

    def _start(self, copy: Copy, *, restarted: bool) -> None:
        copy.up, copy.born_s = True, self.time_s
        storage = copy.storage
        if storage.known.entry.primary == storage.identity:
            label = storage.following.label
            copy.primary = Primary(storage.identity, storage.known, label, restarted=restarted)
        else:
            copy.standby = Standby(storage.identity, storage.known, storage.following, self.now_s(copy))

    def _crash(self, copy: Copy) -> None:
        copy.up, copy.primary, copy.standby, copy.reading = False, None, None, None
        self._drop_channel(copy)
        self._writing.pop(copy.name, None)
        for channel in [channel for channel in self.channels if channel.to is copy]:
            self._cut(channel)

    def _lose(self, copy: Copy) -> None:
        """Its volume; what comes in its place is empty, and has another identity."""
        self._crash(copy)
        number = int(copy.storage.identity[1:]) + 1
        copy.storage = Storage(f"{copy.name}{number}", self.chain[0])

    def _install(self, copy: Copy, known: Known) -> None:
        storage = copy.storage
        storage.known = known
        if copy.primary is not None:
            if copy.primary.install(known):
                if copy.primary.stream == 0:
                    self._drop_channel(copy)
                if copy.primary.flight is None:
                    self._writing.pop(copy.name, None)
                if copy.primary.recovering:
                    copy.reading = None
                return
            copy.primary, copy.reading = None, None
            self._drop_channel(copy)
            self._writing.pop(copy.name, None)  # of unknown fate
            copy.standby = Standby(storage.identity, known, storage.following, self.now_s(copy))
        elif copy.standby is not None:
            storage.following = copy.standby.install(known)
            if known.entry.primary == storage.identity:
                copy.standby = None
                copy.primary = Primary(storage.identity, known, storage.following.label, restarted=False)

    # -- clients -------------------------------------------------------------------------------------------------------

    def _write(self, copy: Copy, key: bytes) -> None:
        primary = copy.primary
        assert primary is not None
        value = self.history.begin(key)
        self._writing[copy.name] = (key, value)
        copy.changes = {key: value}
        primary.begin((key,))
        self._send_group(copy, learners=copy.walked)

    def _send_group(self, copy: Copy, learners: int = len(KEYS)) -> None:
        """learners: how many keys a learner has."""
        primary = copy.primary
        assert primary is not None
        assert primary.flight is not None
        below = all(KEYS.index(key) < learners for key in copy.changes)
        if copy.channel is not None and (primary.joining is not Joining.WALKING or below):
            self._send(copy, Group(primary.flight.label, dict(copy.changes)))

    def _sync(self, copy: Copy) -> None:
        primary = copy.primary
        assert primary is not None
        assert primary.flight is not None
        copy.storage.data.update(copy.changes)
        copy.storage.following = Following(primary.flight.label)
        primary.synced()

    def _answer(self, copy: Copy) -> None:
        primary = copy.primary
        assert primary is not None
        key, value = self._writing.pop(copy.name)
        primary.finish()
        self.answered += 1
        self.history.answer(key, value)
        self._highest_answered = max(self._highest_answered, copy.storage.known.epoch)
        entry = self.chain[-1].entry
        other = self.other(copy)
        follows = entry.in_sync and entry.standby == other.storage.identity
        if entry.primary == copy.storage.identity and follows and other.storage.data.get(key) != value:
            self.problem = f"{value} is answered, and {other.name}, which is in sync, does not have it"

    def _look(self, copy: Copy, key: bytes) -> None:
        copy.reading = Reading(key, copy.storage.data.get(key, 0), self.history.seen(key))

    def _read(self, copy: Copy) -> None:
        reading, copy.reading = copy.reading, None
        assert reading is not None
        self.history.read(reading.key, reading.value, reading.seen)
        answered = next((known for known in self.chain if known.epoch == self._highest_answered), None)
        deposed = answered is not None and answered.entry.primary != copy.storage.identity
        if deposed and copy.storage.known.epoch < self._highest_answered:
            self.problem = f"{copy.name} answers a read after its successor has answered a write"

    # -- the stream ----------------------------------------------------------------------------------------------------

    def _connect(self, copy: Copy) -> None:
        primary, other = copy.primary, self.other(copy)
        assert primary is not None
        if other.storage.known.epoch < copy.storage.known.epoch:
            self._install(other, copy.storage.known)
        standby = other.standby
        if standby is None:
            return
        self._streams += 1
        following = standby.greet(self._streams)
        greeting = primary.greeted(self._streams, other.storage.identity, following)
        if greeting is None:
            return
        copy.channel = Channel(self._streams, other, copy)
        self.channels.append(copy.channel)
        if greeting is Greeting.LEARN:
            copy.walked = 0
            standby.wrote(following._replace(learning=True))
            other.storage.following = standby.following
        elif greeting is Greeting.SEND_AGAIN:
            self._send_group(copy)

    def _send(self, copy: Copy, body: Group[Data] | Window[Data] | End | Beat) -> None:
        channel = copy.channel
        assert channel is not None
        if len(channel.messages) >= _MOST_IN_FLIGHT:
            self._break(copy)
            return
        sent = Sent(copy.storage.known, copy.storage.identity, channel.number, self.now_s(copy), body)
        channel.messages.append(sent)

    def _walk(self, copy: Copy) -> None:
        primary = copy.primary
        assert primary is not None
        if copy.walked < len(KEYS):
            key = KEYS[copy.walked]
            copy.walked += 1
            self._send(copy, Window({key: copy.storage.data.get(key, 0)}))
        else:
            self._send(copy, End(primary.ending()))

    def _deliver(self, channel: Channel) -> None:
        copy = channel.to
        sent = channel.messages.pop(0)
        if sent.known.epoch > copy.storage.known.epoch:
            self._install(copy, sent.known)
        standby, storage = copy.standby, copy.storage
        verdict = Verdict.REJECT if standby is None else standby.judge(sent)
        if standby is None or verdict is Verdict.REJECT:
            self._cut(channel)
            return
        body = sent.body
        if verdict in (Verdict.TAKE, Verdict.APPLY) and isinstance(body, Group | Window):
            storage.data.update({key: value for key, value in body.payload.items() if value})
            for key in [key for key, value in body.payload.items() if not value]:
                storage.data.pop(key, None)  # the primary does not have it
        label: Label | None = None
        if isinstance(body, Group | End) and verdict is not Verdict.APPLY:
            label = body.label
            if verdict is not Verdict.ACKNOWLEDGE:
                standby.wrote(Following(label))
                storage.following = standby.following
        if verdict is not Verdict.APPLY:
            standby.acknowledging(self.now_s(copy))
            answer = Acknowledged(storage.identity, channel.number, sent.sent_s, label, verdict is Verdict.END)
            channel.answers.append(answer)

    def _hear(self, channel: Channel) -> None:
        copy = channel.of
        answer = channel.answers.pop(0)
        if copy.primary is None:
            return
        before = copy.primary.joining
        copy.primary.acknowledged(answer)
        if before is Joining.ENDING and copy.primary.joining is Joining.ENDED:
            self._check_joined(copy)

    def _check_joined(self, copy: Copy) -> None:
        other = self.other(copy)
        flying = () if copy.primary is None or copy.primary.flight is None else copy.primary.flight.keys
        for key in KEYS:
            mine, theirs = copy.storage.data.get(key, 0), other.storage.data.get(key, 0)
            if key not in flying and mine != theirs and copy.channel is not None and not copy.channel.messages:
                self.problem = f"{other.name} has joined with {theirs} for {key!r}, and the primary has {mine}"

    def _break(self, copy: Copy) -> None:
        """The primary notices; what it carries may still arrive, some of it, or nothing."""
        channel = copy.channel
        self._drop_channel(copy)
        if channel is not None:
            keep = self.rng.randint(0, len(channel.messages))
            del channel.messages[keep:]
            channel.answers.clear()
        if copy.primary is not None:
            copy.primary.broke()

    def _drop_channel(self, copy: Copy) -> None:
        copy.channel = None

    def _cut(self, channel: Channel) -> None:
        """The other end closes it."""
        self.channels.remove(channel)
        if channel.of.channel is channel:
            channel.of.channel = None
            if channel.of.primary is not None:
                channel.of.primary.broke()

    # -- decisions -----------------------------------------------------------------------------------------------------

    def _propose(self, copy: Copy, proposal: Proposal) -> None:
        assert copy.primary is not None
        self._offer(copy.storage.known, copy.primary.proposing(proposal))

    def _propose_promotion(self, copy: Copy) -> None:
        standby = copy.standby
        assert standby is not None
        following, entry = standby.promoting()
        standby.wrote(following)
        copy.storage.following = following
        self._offer(copy.storage.known, entry)

    def _offer(self, known: Known, entry: Entry) -> None:
        if known.epoch == self.chain[-1].epoch and entry not in self.proposals:
            self.proposals.append(entry)

    def _decide(self, entry: Entry) -> None:
        before = self.chain[-1].entry
        if entry.primary != before.primary and not (before.in_sync and entry.primary == before.standby):
            self.problem = f"{entry.primary} is promoted, and was not in sync"
        self.chain.append(Known(self.chain[-1].epoch + 1, entry))
        self.proposals.clear()

    def _decide_elsewhere(self) -> None:
        self.chain.append(Known(self.chain[-1].epoch + 1, self.chain[-1].entry))
        self.proposals.clear()

    # -- what must be true ---------------------------------------------------------------------------------------------

    def _check(self) -> None:
        self.channels = [
            channel for channel in self.channels if channel.messages or channel.answers or channel.of.channel is channel
        ]
        self.problem = self.problem or self.history.problem
        one, two = (copy.storage for copy in self.copies)
        same = one.following.label == two.following.label != NOTHING
        if same and not one.following.learning and not two.following.learning and one.data != two.data:
            self.problem = self.problem or f"both copies are at {one.following.label}, with {one.data} and {two.data}"
