"""The files of `export` and `import`: whatever else a name may be of, what somebody has changed, two at once, no room."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import os
import pty
import socket
import threading
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloud_storage import Store, transfer
from cloud_storage.commands import export as export_module
from cloud_storage.commands import files
from cloud_storage.commands.statuses import Ended, Status
from tests.client.commands import run
from tests.client.served import Served

NOBODY = "http://127.0.0.1:1"
COUNT = 30


@pytest.fixture(scope="module")
def whole(http_store: Served) -> bytes:
    """What an export of the prefix has to be."""
    with Store(http_store.url) as store:
        store.put_many((f"files/{number:02}", "v" * number) for number in range(COUNT))
        file = io.BytesIO()
        assert store.export(file, "files/") == COUNT
    return file.getvalue()


@pytest.fixture
def source(whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The export, to be imported in parts of a few records."""
    monkeypatch.setattr(transfer, "PART_BYTES", 600)
    path = tmp_path / "records.ndjson"
    path.write_bytes(whole)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# -- where an export goes ------------------------------------------------------------------------------------------------


def test_a_pipe_with_a_name_is_written_to_and_stays_one(http_store: Served, whole: bytes, tmp_path: Path) -> None:
    pipe, found = tmp_path / "pipe", list[bytes]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reader.start()
    assert run(http_store, "export", str(pipe), "--prefix", "files/").exit_code == 0
    reader.join(60)
    assert found == [whole]
    assert pipe.is_fifo()
    assert names(tmp_path) == ["pipe"]
    done = run(NOBODY, "export", str(pipe), "--resume")
    assert (done.exit_code, done.stderr) == (2, "error: what is written once can't be resumed: name a file\n")


def test_a_device_is_written_to_and_stays_one(http_store: Served, tmp_path: Path) -> None:
    """A terminal is one that needs no root, and where none can be made in its place."""
    leader, follower = pty.openpty()
    tty.setraw(follower)
    try:
        assert run(http_store, "export", os.ttyname(follower), "--prefix", "files/00").exit_code == 0
        assert Path(os.ttyname(follower)).is_char_device()
        first, last = os.read(leader, 65536).splitlines()
        assert (json.loads(first)["key"], json.loads(last)) == ("files/00", {"exported": 1})
    finally:
        os.close(leader)
        os.close(follower)


def test_a_link_stays_one_and_its_file_is_written(http_store: Served, whole: bytes, tmp_path: Path) -> None:
    for there in (True, False):
        real, link = tmp_path / "real", tmp_path / "link"
        if there:
            real.write_text("of before")
        link.symlink_to("real")
        assert run(http_store, "export", str(link), "--prefix", "files/").exit_code == 0
        assert (link.is_symlink(), real.read_bytes()) == (True, whole)
        assert names(tmp_path) == ["link", "real"]
        real.unlink()
        link.unlink()


@pytest.mark.parametrize("command", ["export", "import"])
def test_what_is_no_file_is_refused_before_the_store_is_asked(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for name, says in (
            ("folder", "folder is a folder"),
            (".", ". is a folder"),
            ("..", ".. is a folder"),
            ("", "the file's name is empty"),
            ("socket", "socket is no file that can be read or written from end to end"),
        ):
            done = run(NOBODY, command, name)
            assert (done.exit_code, done.stderr) == (Status.USAGE, f"error: {says}\n")
    assert names(tmp_path) == ["folder", "socket"]
    done = run(NOBODY, command, "nowhere/records")
    assert (done.exit_code, done.stderr.count("\n"), "nowhere" in done.stderr) == (4, 1, True)


def test_no_room_is_told_with_the_name(http_store: Served, whole: bytes) -> None:
    done = run(http_store, "export", "/dev/full", "--prefix", "files/")
    assert (done.exit_code, done.stderr) == (4, "error: /dev/full: No space left on device\n")
    done = run(http_store, "get", "files/03", "--output", "/dev/full")
    assert (done.exit_code, done.stderr) == (4, "error: /dev/full: No space left on device\n")


# -- two at once ---------------------------------------------------------------------------------------------------------


def test_an_export_to_a_file_that_another_one_is_writing_is_refused(http_store: Served, tmp_path: Path) -> None:
    target, part = tmp_path / "records", tmp_path / "records.part"
    part.write_bytes(b'{"key":"files/00","value":""}\n')
    (tmp_path / "records.part.prefix").write_text("files/")
    with part.open("r+b") as others:
        fcntl.flock(others, fcntl.LOCK_EX)
        for options in ([], ["--prefix", "files/", "--resume"]):
            done = run(http_store, "export", str(target), *options)
            assert done.stderr == f"error: {part} is being written: another export to it is under way\n"
            assert done.exit_code == Status.USAGE
        assert part.stat().st_size == 30
        assert (tmp_path / "records.part.prefix").read_text() == "files/"
    assert run(http_store, "export", str(target), "--prefix", "files/", "--resume").exit_code == 0


def test_a_file_that_has_got_its_name_since_it_was_opened_is_not_written_to(tmp_path: Path) -> None:
    """The other export has ended between the two."""
    part = tmp_path / "records.part"
    part.write_text("whole")
    with part.open("r+b") as opened:
        part.rename(tmp_path / "records")
        with pytest.raises(Ended, match="is being written"):
            files.lock(opened, part, "another export to it")
        part.write_text("of a third one")
        with pytest.raises(Ended, match="is being written"):
            files.lock(opened, part, "another export to it")


def test_an_import_of_a_file_that_another_one_is_reading_is_refused(http_store: Served, source: Path) -> None:
    with source.open("rb") as others:
        fcntl.flock(others, fcntl.LOCK_EX)
        done = run(http_store, "import", str(source))
    assert done.stderr == f"error: {source} is being written: another import of it is under way\n"
    assert done.exit_code == Status.USAGE


# -- what somebody has changed -------------------------------------------------------------------------------------------

A, B = b'{"key":"p/a","value":""}\n', b'{"key":"p/b","value":""}\n'


@pytest.mark.parametrize(
    "then",
    [b'{"key":"p/c', b'{"key":"p/c","value":""}', b'{"key":"broken\n', b'{"key":5}\n', b'{"key":null}\n', B, A, b"\n",
     b'{"key":"q","value":""}\n', b'["p/c"]\n', b"\xff\n", b'{"exported":2}\n', b'{"key":"p/\xff"}\n', b"\0" * 100],
)  # fmt: skip
def test_a_part_is_gone_on_with_behind_what_can_have_been_exported(then: bytes, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_bytes(A + B + then)
    with part.open("r+b") as opened:
        assert export_module.whole_lines(opened, "p/") == (2, "p/b")
    assert part.read_bytes() == A + B


def test_the_prefix_of_a_part_is_compared_byte_for_byte(http_store: Served, tmp_path: Path) -> None:
    target = tmp_path / "records"
    with Store(http_store.url) as store:
        store.put("line\r\nend", "")
    for held, wanted, status in (("\r\n", "\r\n", 0), ("\r\n", "\n", 2), (b"\xff", "\r\n", 2)):
        tmp_path.joinpath("records.part").write_bytes(b"")
        tmp_path.joinpath("records.part.prefix").write_bytes(
            held if isinstance(held, bytes) else f"line{held}".encode()
        )
        done = run(http_store, "export", str(target), "--prefix", f"line{wanted}", "--resume")
        assert done.exit_code == status, done.stderr
        assert done.stderr.count("\n") == (1 if status else 2)
    with Store(http_store.url) as store:
        store.delete("line\r\nend")


DONE = {"size": 0, "offset": 0, "sha256": "", "records": 0}


@pytest.mark.parametrize(
    "changed",
    [{"offset": "x"}, {"offset": 1.5}, {"offset": None}, {"records": None}, {"offset": -1}, {"records": -1}, {"size": "x"},
     {"offset": 10**9}, {"sha256": 5}],
)  # fmt: skip
def test_a_state_that_can_not_be_is_told(source: Path, changed: dict[str, object]) -> None:
    state = source.with_name(source.name + ".progress")
    state.write_text(json.dumps({**DONE, "size": source.stat().st_size, **changed}))
    done = run(NOBODY, "import", str(source), "--resume")
    assert (done.exit_code, done.stderr) == (2, f"error: {state} can't be read: remove it to begin anew\n")


# -- what an import finds ------------------------------------------------------------------------------------------------


@pytest.fixture
def emptied(http_store: Served, whole: bytes) -> Iterator[Store]:
    """The store without the records, which are there again afterwards."""
    with Store(http_store.url) as store:
        store.delete_many(listed.name for listed in store.list("files/"))
        yield store
        store.import_(io.BytesIO(whole))


def test_no_room_for_its_state_is_found_before_anything_is_stored(
    http_store: Served, source: Path, emptied: Store
) -> None:
    source.with_name(source.name + ".progress.new").mkdir()
    done = run(http_store, "import", str(source))
    assert (done.exit_code, done.stderr) == (4, f"error: {source}.progress: Is a directory\n")
    assert list(emptied.list("files/")) == []


def test_no_room_for_its_state_later_leaves_what_is_stored(
    http_store: Served, source: Path, emptied: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, written = files.write_synced, list[bytes]()

    def write(file: Path, content: bytes) -> None:
        if len(written) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))
        written.append(content)
        real(file, content)

    monkeypatch.setattr(files, "write_synced", write)
    done = run(http_store, "import", str(source))
    assert done.exit_code == 4
    assert f"What was stored stays: go on with `import {source} --resume`." in done.stderr
    assert f"error: {source}.progress: No space left on device\n" in done.stderr
    monkeypatch.setattr(files, "write_synced", real)
    assert run(http_store, "import", str(source), "--resume").exit_code == 0
    assert len(list(emptied.list("files/"))) == COUNT
    assert names(source.parent) == [source.name]


def test_an_import_that_did_not_begin_leaves_nothing(source: Path) -> None:
    assert run(NOBODY, "import", str(source), "--timeout", "0.01").exit_code == Status.UNAVAILABLE
    assert names(source.parent) == [source.name]


@pytest.mark.parametrize("as_stream", [False, True])
def test_a_file_that_may_be_cut_off_is_told(http_store: Served, source: Path, whole: bytes, as_stream: bool) -> None:
    cut = 'note: the file does not end with {"exported": …}, as an export does: it may have been cut off.\n'
    lines = whole.splitlines(keepends=True)
    for content, records, note in (
        (whole, COUNT, ""),
        (whole + whole, 2 * COUNT, ""),
        (whole + b"\n\n", COUNT, ""),
        (b"".join(lines[:-1]), COUNT, cut),
        (b"".join(lines[:5]), 5, cut),
        (b"", 0, cut),
        (
            b"".join(lines[1:]),
            COUNT - 1,
            f"note: the file says that {COUNT} records were exported to it, and has 29.\n",
        ),
    ):
        source.write_bytes(content)
        done = run(http_store, "import", "-" if as_stream else str(source), stdin=content)
        assert (done.exit_code, done.stderr) == (0, f"{note}Imported {records:,} records.\n")


def test_a_line_is_named_once(http_store: Served, source: Path, whole: bytes) -> None:
    for at in (0, 20):
        lines = whole.splitlines(keepends=True)
        lines[at] = b"rubbish\n"
        source.write_bytes(b"".join(lines))
        done = run(http_store, "import", str(source))
        assert f"error: line {at + 1}: it is no record: " in done.stderr
        assert done.stderr.count("line ") == 1
        source.with_name(source.name + ".progress").unlink(missing_ok=True)
