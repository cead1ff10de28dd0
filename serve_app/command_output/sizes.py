"""Sizes for people."""

from __future__ import annotations


def size_text(size_bytes: int) -> str:
    """In MB, or in bytes where that would be nothing; 1 MB is 1,000,000 bytes.

    >>> size_text(1_234_567), size_text(99_999)
    ('1.2 MB', '99,999 bytes')
    """
    return f"{size_bytes / 1e6:,.1f} MB" if size_bytes >= 1e5 else f"{size_bytes:,} bytes"
