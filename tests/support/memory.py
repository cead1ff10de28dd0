"""How this process gets large blocks of memory."""

from __future__ import annotations

import ctypes

from harness.memory import MIB


def maps_large_blocks_alone() -> bool:
    """Whether this process gets a block of 2 MiB from the system by itself, also after it has freed a larger one.

    glibc keeps a chunk's size before its block, and in that the bit IS_MMAPPED (malloc/malloc.c).
    """
    larger = bytes(20 * MIB)
    del larger
    block = bytes(2 * MIB)
    size_at = id(block) - ctypes.sizeof(ctypes.c_size_t)
    return bool(ctypes.c_size_t.from_address(size_at).value & 2)
