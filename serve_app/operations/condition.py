"""A condition: what must be true of a key's record for an operation to be carried out (RFC 9110, 13.1), and its judgement.

The selected representation's strong entity tag is the record's revision, and its Last-Modified the record's modification
time in whole seconds. `http/conditions.py` makes a condition of a request's headers.
"""

from __future__ import annotations

from enum import Enum

import msgspec

#: Among a condition's tags: the `*` of If-Match and If-None-Match.
ANY = -1
#: How many entity tags a list may have.
MAX_TAGS = 64
#: Revisions are u64.
MAX_REVISION = 2**64 - 1
#: The years 1 to 9999, which is what an HTTP-date (5.6.7) has digits for, in seconds since the Unix epoch.
EARLIEST_S = -62_135_596_800
LATEST_S = 253_402_300_799


class Condition(msgspec.Struct, array_like=True, gc=False, frozen=True, omit_defaults=False):
    """What must be true of a key's record for an operation to be carried out (RFC 9110, 13.1). Travels on the data plane.

    Of tags: None where the header is absent; with ANY among them any record at all; empty where it names none that a record
    could have, and so matches nothing. Dates are seconds since the Unix epoch.
    """

    if_match: tuple[int, ...] | None = None
    if_none_match: tuple[int, ...] | None = None
    #: If-Modified-Since. Asked of reads only.
    modified_since_s: int | None = None
    #: If-Unmodified-Since.
    unmodified_since_s: int | None = None

    def problem(self) -> str:
        """What makes it no condition that a directory could have sent, as a sentence, or empty."""
        for tags in (self.if_match, self.if_none_match):
            if tags is None:
                continue
            if len(tags) > MAX_TAGS:
                return f"a condition has at most {MAX_TAGS} entity tags"
            if tags and not ANY <= min(tags) <= max(tags) <= MAX_REVISION:
                return "a condition's entity tag is no revision"
        for date_s in (self.modified_since_s, self.unmodified_since_s):
            if date_s is not None and not EARLIEST_S <= date_s <= LATEST_S:
                return "a condition's date is not in the years 1 to 9999"
        return ""


#: Nothing is asked.
NO_CONDITION = Condition()


class Verdict(Enum):
    """What a condition makes of an operation."""

    GO_ON = "go on"
    #: A read that is answered 304.
    NOT_MODIFIED = "not modified"
    #: 412. Nothing may be changed.
    FAILED = "failed"


def judge(condition: Condition, revision: int | None, modified_ms: int, reading: bool) -> Verdict:
    """Evaluate a condition in the order of RFC 9110, 13.2.2.

    A read of no record goes on, whatever is asked: it would be a 404 without the condition, and 13.2.1 has a server ignore
    all preconditions where the answer without them is neither a 2xx nor a 412. A write of another kind that such a key
    answers by 404 (a deletion) has to say so before it asks here; one that would create the record asks.

    Args:
        revision: the record's, or None where there is no record.
        modified_ms: the record's modification time, milliseconds since the Unix epoch; not looked at without a record.
        reading: whether the method is GET or HEAD.
    """
    if condition is NO_CONDITION:
        return Verdict.GO_ON
    if revision is None:
        # No current representation: If-Match is false (13.1.1, 1 to 3) and If-None-Match true (13.1.2, 1 to 3).
        # If-Unmodified-Since MUST be ignored "if the resource does not have a modification date available" (13.1.4).
        return Verdict.GO_ON if reading or condition.if_match is None else Verdict.FAILED
    modified_s = modified_ms // 1000
    # Steps 1 and 2. If-Match, where it is present, replaces If-Unmodified-Since.
    if condition.if_match is not None:
        if not _names(condition.if_match, revision):
            return Verdict.FAILED
    elif condition.unmodified_since_s is not None and modified_s > condition.unmodified_since_s:
        return Verdict.FAILED
    # Steps 3 and 4. If-None-Match, where it is present, replaces If-Modified-Since.
    if condition.if_none_match is not None:
        if _names(condition.if_none_match, revision):
            return Verdict.NOT_MODIFIED if reading else Verdict.FAILED
    elif reading and condition.modified_since_s is not None and modified_s <= condition.modified_since_s:
        return Verdict.NOT_MODIFIED
    # Step 5, If-Range, only decides how much of a value is sent: `http/ranges.py`.
    return Verdict.GO_ON


def _names(tags: tuple[int, ...], revision: int) -> bool:
    return revision in tags or ANY in tags
