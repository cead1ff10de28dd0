"""What can be wrong with a run, by kind: a put-in bug has to be caught by the check that is there for it.

| kind | |
| --- | --- |
| history | no order explains what clients saw of a key |
| repeats | a request that came once more had another answer than before |
| revisions | a key's revision fell, or two writes share one |
| disks | a record is elsewhere than at home, or in two places, or not what was read; or the counts are wrong |
| due | a bucket's index of what is to be deleted names something else than there is |
| outcomes | the outcomes of requests are counted wrong, or elsewhere than their keys |
| feed | a bucket's feed on its disk is not in order, or reaches beyond what it says |
| lists | a list has a key twice or not at all, out of order, or one that is not there |
| watches | a watch has missed a change, heard of one too late, or lost its history without a reason |
| served | a bucket serves by, or starts with, what its disk does not hold; or somebody tells of what no disk holds |
| epochs | two topologies of one store have the same epoch |
| votes | an acceptor has taken back what it said, or accepted something else than others under one ballot |
| facts | a disk holds cursor or markers of another epoch than its topology's, or a topology that does not list it |
| commits | the numbers of a bucket's commits have a gap or repeat, or a commit is not what the disk was given |
| volumes | the store went on without records that nobody gave up |
| verify | `verify` finds fault with a store that is whole, or does not get done |
| expired | a bucket tells of a record whose time had come when it was asked |
| held | an operation waits for a window, and no window is open |
| answers | an answer came after its deadline, or says what it must not |
| available | what must go on beside a trouble did not, or not in time |
| whole | the store did not become whole when nothing was wrong any more, or a key could not be read then |
| surprise | the product met something that it did not expect, or the simulation did |
"""

from __future__ import annotations

from typing import NamedTuple


class Failure(NamedTuple):
    """One thing that is wrong with a run."""

    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"
