"""What a process does with the memory of large values when they are gone: it is to be given back to the system."""

from __future__ import annotations

import ctypes

#: M_MMAP_THRESHOLD of mallopt(3).
_MMAP_THRESHOLD = -3
_LARGE_BYTES = 1024 * 1024


def give_large_blocks_back() -> bool:
    """Let blocks of 1 MiB and more be mapped one by one, so that each is unmapped when freed. Whether that could be set.

    glibc begins like that, but raises the bound to the size of each such block that is freed, up to 32 MiB (mallopt(3)):
    after the first large value they all come from the heaps of the threads, whose holes are kept. A fixed bound turns this
    off. At 256 KiB memory rests lower still, but puts take twice as long, in page faults.
    """
    try:
        return bool(ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE_BYTES))
    except (OSError, AttributeError):
        return False  # another C library, with another allocator
