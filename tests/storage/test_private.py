"""A bucket's folder is its user's alone, also one that an earlier release left open."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from serve_app.errors import StorageForeign
from serve_app.storage import private
from serve_app.storage.folder import OpenedStorage, open_folder


def opened(folder: Path) -> OpenedStorage:
    return open_folder(folder, 0, cache_bytes=1 << 20, write_buffer_bytes=1 << 20)


def modes(folder: Path) -> set[tuple[str, int]]:
    """What there is (a folder or a file), and its mode."""
    return {
        ("folder" if path.is_dir() else "file", stat.S_IMODE(path.stat().st_mode))
        for path in (folder, *folder.rglob("*"))
    }


def test_what_an_earlier_release_left_open_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "bucket-0"
    opened(folder).close()
    (folder / "set-aside").mkdir()
    (folder / "set-aside" / "tail").touch()
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o775 if path.is_dir() else 0o664)
    before = os.umask(0o022)
    private.keep()
    try:
        opened(folder).close()
    finally:
        os.umask(before)
    assert modes(folder) == {("folder", 0o700), ("file", 0o600)}


def test_what_a_link_leads_to_is_left_as_it_is(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "bucket-0", tmp_path / "elsewhere"
    opened(folder).close()
    elsewhere.mkdir()
    elsewhere.chmod(0o755)
    (elsewhere / "file").touch()
    (elsewhere / "file").chmod(0o644)
    before = modes(elsewhere)
    (folder / "set-aside").symlink_to(elsewhere)
    (folder / "link").symlink_to(elsewhere / "file")
    opened(folder).close()
    assert modes(elsewhere) == before


def test_what_is_no_bucket_of_ours_is_left_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "bucket-0"
    folder.mkdir(mode=0o755)
    (folder / "somebody's").touch(mode=0o644)
    before = modes(folder)
    with pytest.raises(StorageForeign):
        opened(folder)
    assert modes(folder) == before


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make another user's files")
def test_what_belongs_to_another_user_is_no_fault(tmp_path: Path) -> None:
    """A volume that Kubernetes hands over by group."""
    folder = tmp_path / "bucket-0"
    opened(folder).close()
    for path in (folder, *folder.rglob("*")):
        os.chown(path, 65534, 65534)
        path.chmod(0o2775 if path.is_dir() else 0o664)
    opened(folder).close()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o2775
