"""A bucket's entry in the topology: which storages are its copies, which of them serves, and whether the other may."""

from __future__ import annotations

import msgspec


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """epoch: b, that of the topology with which this entry became what it is: one bucket's fail-over leaves those of others
    as they were. primary, standby: identities of storages; the standby is empty where there is one copy.
    in_sync: whether the standby holds every acknowledged write, and so may be promoted.
    """

    epoch: int
    primary: str
    standby: str = ""
    in_sync: bool = False

    def drop(self, epoch: int) -> Entry:
        """The primary goes on without its standby, as of this epoch."""
        return Entry(epoch, self.primary, self.standby)

    def promote(self, epoch: int) -> Entry:
        """The standby takes over, alone; what was primary has to be joined anew."""
        return Entry(epoch, self.standby, self.primary)

    def renew(self, epoch: int) -> Entry:
        """The same, decided anew: whatever was proposed before is overtaken by it."""
        return Entry(epoch, self.primary, self.standby, self.in_sync)

    def join(self, epoch: int, identity: str) -> Entry:
        """This storage is the standby, and holds every acknowledged write."""
        return Entry(epoch, self.primary, identity, True)

    def switch(self, epoch: int) -> Entry:
        """The two exchange their parts, both in sync."""
        return Entry(epoch, self.standby, self.primary, True)


class Known(msgspec.Struct, frozen=True, array_like=True):
    """What a storage goes by: the epoch of the topology that it has installed, and the bucket's entry there."""

    epoch: int
    entry: Entry
