"""Placement against an independent SHA256: the formula of the design, computed by another implementation."""

import subprocess

import pytest
from cryptography.hazmat.primitives import hashes
from hypothesis import given
from hypothesis import strategies as st

from serve_app import placement

keys = st.text(st.characters(codec="utf-8"), min_size=1, max_size=200).map(str.encode)


def openssl_sha256(data: bytes) -> str:
    hashed = hashes.Hash(hashes.SHA256())
    hashed.update(data)
    return hashed.finalize().hex()


@given(keys, st.integers(1, 64))
def test_a_keys_home_is_its_sha256_modulo_m(key: bytes, bucket_count: int) -> None:
    expected = int(openssl_sha256(key), 16)
    assert placement.stable_hash(key) == expected
    assert placement.digest(key) == f"{expected:064x}"
    assert placement.bucket_of(key, bucket_count) == expected % bucket_count
    assert placement.place(key, bucket_count) == (expected % bucket_count, f"{expected:064x}")


def test_against_the_command_line_tool() -> None:
    out = subprocess.run(["sha256sum"], input="schlüssel/€ 1".encode(), capture_output=True, check=True).stdout
    assert placement.digest("schlüssel/€ 1".encode()) == out.split()[0].decode()


@pytest.mark.parametrize("bucket_count", [0, -1])
def test_no_buckets_is_a_mistake(bucket_count: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        placement.bucket_of(b"key", bucket_count)


def test_keys_spread_evenly() -> None:
    counts = [0] * 8
    for number in range(8000):
        counts[placement.bucket_of(b"key%d" % number, 8)] += 1
    assert min(counts) > 850  # 1,000 expected; 5 standard deviations are 148
    assert max(counts) < 1150
