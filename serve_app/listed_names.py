"""By which name a record is listed: its key, or with a delimiter what it has in common with others."""

from __future__ import annotations


def name_of(key: bytes, prefix: bytes, delimiter: bytes) -> tuple[bytes, bool]:
    """The record's name, and whether others may have the same: the key up to the first delimiter behind the prefix, if it
    has one there (as S3's CommonPrefixes)."""
    if delimiter and key.startswith(prefix):
        at = key.find(delimiter, len(prefix))
        if at >= 0:
            return key[: at + len(delimiter)], True
    return key, False
