"""Another user of the machine: neither the sockets of Ray and HAProxy nor the data are open to them."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.running_store import RunningStore
from tests.support.exposure import assert_nothing_is_open, sensitive

pytestmark = pytest.mark.ray

_NOBODY = 65534
#: Prints the paths among its arguments that it gets into: a folder's list, a file's bytes, a socket's other end.
_TRY = """
import os, socket, stat, sys
for path in sys.argv[1:]:
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode): os.listdir(path)
        elif stat.S_ISSOCK(mode): socket.socket(socket.AF_UNIX).connect(path)
        else: open(path, "rb").close()
    except OSError:
        continue
    print(path)
"""


@contextmanager
def reachable_by_all(folder: Path) -> Iterator[None]:
    """Open the way to a test's folder, which is the test runner's alone."""
    before = {path: stat.S_IMODE(path.stat().st_mode) for path in folder.parents if path.stat().st_uid == os.getuid()}
    for path, mode in before.items():
        path.chmod(mode | 0o011)
    try:
        yield
    finally:
        for path, mode in before.items():
            path.chmod(mode)


@pytest.mark.skipif(
    os.getuid() != 0, reason="only root can try as another user; the modes are looked at below by anyone"
)
def test_another_user_gets_into_nothing(store: RunningStore) -> None:
    with reachable_by_all(store.data_dir):
        tried = subprocess.run(
            ["/usr/bin/env", "-i", _python(), "-c", _TRY, *map(str, [store.folder, *sensitive(store)])],
            user=_NOBODY,
            group=_NOBODY,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            text=True,
            check=True,
        )
    assert tried.stdout.split() == []


def _python() -> str:
    """An interpreter that another user may run: this one may be in somebody's home."""
    return next(
        (path for path in ("/usr/bin/python3", "/usr/local/bin/python3") if Path(path).exists()), sys.executable
    )


def test_nothing_is_open_to_others(store: RunningStore) -> None:
    assert_nothing_is_open(store)
