"""A bucket's files are for its own user alone: folders 0700, files 0600.

What is made from now on is private by the process's umask (`keep`). What earlier releases made is closed when a bucket is
opened (`close`). A volume may have been handed to this user by other means than ownership (Kubernetes' fsGroup): what is not
ours to change stays as it is.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

_OTHERS = 0o077


def keep() -> None:
    """Let this process make nothing that others may read. It holds for all of its threads."""
    os.umask(_OTHERS)


def close(folder: Path) -> None:
    """Revoke everybody else's rights to a folder that a bucket was in, and to all that is in it. Never fails."""
    for path in _everything(folder):
        try:
            found = path.lstat()
            mode = stat.S_IMODE(found.st_mode)
            if found.st_uid == os.geteuid() and mode & _OTHERS and not stat.S_ISLNK(found.st_mode):
                path.chmod(mode & ~_OTHERS)
        except OSError:
            pass  # it is gone, or on a file system that knows no modes


def _everything(folder: Path) -> Iterator[Path]:
    """The folder itself first: nobody can enter it any more while the rest is gone through."""
    yield folder
    for parent, folders, files in os.walk(folder):
        yield from (Path(parent, name) for name in (*folders, *files))
