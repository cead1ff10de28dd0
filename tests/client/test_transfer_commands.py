"""`export` and `import`: files that are whole or not there, and that go on where they broke off."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cloud_storage import Interrupted, Store, Unavailable, transfer
from cloud_storage.commands import export as export_module
from cloud_storage.commands.statuses import Status
from tests.client.commands import run
from tests.client.served import Served

COUNT = 60


@pytest.fixture(scope="module")
def whole(http_store: Served) -> bytes:
    """What an export of the prefix has to be."""
    with Store(http_store.url) as store:
        store.put_many((f"moved/{number:02}ä\n", b"\xff" * number if number % 7 else "é") for number in range(COUNT))
        file = io.BytesIO()
        assert store.export(file, "moved/") == COUNT
    return file.getvalue()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "records.ndjson"


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def breaking_after(count: int, monkeypatch: pytest.MonkeyPatch, error: BaseException | None = None) -> None:
    """Have the next export end after so many bytes."""
    real = Store.export

    def export(store: Store, file: Any, prefix: str = "", **options: Any) -> int:
        monkeypatch.setattr(Store, "export", real)
        found = io.BytesIO()
        real(store, found, prefix, **options)
        file.write(found.getvalue()[:count])
        raise error or Interrupted("the export is not whole: away")

    monkeypatch.setattr(Store, "export", export)


def test_an_export_is_a_file_once_it_is_whole(http_store: Served, whole: bytes, target: Path) -> None:
    target.write_text("of before")
    done = run(http_store, "export", str(target), "--prefix", "moved/")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", f"Exported {COUNT} records to {target}.\n")
    assert target.read_bytes() == whole
    assert files(target.parent) == [target.name]


def test_an_export_to_standard_output_is_that_alone(http_store: Served, whole: bytes) -> None:
    done = run(http_store, "export", "-", "--prefix", "moved/")
    assert (done.exit_code, done.stdout_bytes, done.stderr) == (0, whole, "")


def test_an_export_that_broke_off_anywhere_goes_on_and_is_the_same(
    http_store: Served, whole: bytes, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target.write_text("of before")
    edges = [at + 1 for at, byte in enumerate(whole) if byte == 10]
    for count in {
        1,
        5,
        edges[0] - 1,
        edges[0],
        edges[0] + 1,
        edges[30],
        edges[30] + 9,
        edges[-2],
        len(whole) - 1,
        len(whole),
    }:
        breaking_after(count, monkeypatch)
        done = run(http_store, "export", str(target), "--prefix", "moved/")
        assert done.exit_code == Status.UNAVAILABLE
        assert f"It is not whole: go on with `export {target} --prefix moved/ --resume`." in done.stderr
        assert target.read_text() == "of before"
        again = run(http_store, "export", str(target), "--prefix", "moved/")
        assert again.exit_code == Status.USAGE, "it is not thrown away by mistake"
        assert "--resume" in again.stderr
        other = run(http_store, "export", str(target), "--prefix", "other/", "--resume")
        assert (other.exit_code, other.stderr.count("\n")) == (Status.USAGE, 1)
        done = run(http_store, "export", str(target), "--prefix", "moved/", "--resume")
        assert done.exit_code == 0, done.stderr
        assert "Going on behind" in done.stderr
        assert target.read_bytes() == whole, count
        assert files(target.parent) == [target.name]
        target.write_text("of before")


def test_ctrl_c_leaves_what_can_be_resumed(
    http_store: Served, whole: bytes, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaking_after(500, monkeypatch, KeyboardInterrupt())
    done = run(http_store, "export", str(target), "--prefix", "moved/")
    assert (done.exit_code, done.stdout) == (Status.INTERRUPTED, "")
    assert run(http_store, "export", str(target), "--prefix", "moved/", "--resume").exit_code == 0
    assert target.read_bytes() == whole


def test_an_export_that_did_not_begin_leaves_nothing(
    http_store: Served, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaking_after(0, monkeypatch, Unavailable("away"))
    done = run(http_store, "export", str(target))
    assert (done.exit_code, done.stderr) == (Status.UNAVAILABLE, "error: away\n")
    assert files(target.parent) == []
    done = run(http_store, "export", str(target), "--resume")
    assert (done.exit_code, "no export" in done.stderr) == (Status.USAGE, True)
    assert run(http_store, "export", "-", "--resume").exit_code == Status.USAGE


def test_what_is_not_whole_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "part"
    record = b'{"key":"%d"}\n'
    for rest in (b"", b'{"key":', b'{"exported":2}\n', b'{"failed":{}}\n', b'{"exported":2}\n{"ex', b"\0\0\0"):
        path.write_bytes(record % 1 + record % 2 + rest)
        with path.open("r+b") as file:
            assert export_module.whole_lines(file, "") == (2, "2")
            assert file.tell() == path.stat().st_size == 2 * len(record) - 2
    path.write_bytes(b'{"key"')
    with path.open("r+b") as file:
        assert export_module.whole_lines(file, "") == (0, "")


# -- import --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def source(whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The export, to be imported in parts of a few records."""
    monkeypatch.setattr(transfer, "PART_BYTES", 600)
    path = tmp_path / "records.ndjson"
    path.write_bytes(whole)
    return path


@pytest.fixture
def emptied(http_store: Served, whole: bytes) -> Iterator[Store]:
    """The store without the records, which are there again afterwards."""
    with Store(http_store.url) as store:
        store.delete_many(listed.name for listed in store.list("moved/"))
        yield store
        store.import_(io.BytesIO(whole))


def stored(store: Store) -> list[tuple[str, bytes | None]]:
    return [(listed.name, listed.value) for listed in store.list("moved/", values=True)]


def test_what_was_exported_is_imported(http_store: Served, source: Path, emptied: Store) -> None:
    done = run(http_store, "import", str(source))
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", f"Imported {COUNT} records.\n")
    assert len(stored(emptied)) == COUNT
    assert files(source.parent) == [source.name]
    emptied.delete_many(key for key, _ in stored(emptied))
    done = run(http_store, "import", "-", stdin=source.read_bytes())
    assert (done.exit_code, done.stderr) == (0, f"Imported {COUNT} records.\n")
    assert len(stored(emptied)) == COUNT


class Away:
    """Lets so many parts of an import pass."""

    def __init__(self, parts: int, monkeypatch: pytest.MonkeyPatch, error: BaseException | None = None) -> None:
        self.left, self.real, self.seen = parts, transfer.import_call, list[bytes]()
        self.error = error or Unavailable("away")
        monkeypatch.setattr(transfer, "import_call", self)

    def __call__(self, part: bytes, lines_before: int = 0) -> Any:
        if not self.left:
            raise self.error
        self.left -= 1
        self.seen.append(part)
        return self.real(part, lines_before)


@pytest.mark.parametrize("error", [Unavailable("away"), KeyboardInterrupt()])
def test_an_import_that_broke_off_goes_on_behind_what_is_stored(
    http_store: Served, source: Path, emptied: Store, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    for parts in (1, 3):
        first = Away(parts, monkeypatch, error)
        done = run(http_store, "import", str(source))
        assert done.exit_code == (Status.INTERRUPTED if isinstance(error, KeyboardInterrupt) else Status.UNAVAILABLE)
        assert f"What was stored stays: go on with `import {source} --resume`." in done.stderr
        assert run(http_store, "import", str(source)).exit_code == Status.USAGE, "it is not begun anew by mistake"
        rest = Away(1000, monkeypatch)
        rest.real = first.real
        done = run(http_store, "import", str(source), "--resume")
        assert done.exit_code == 0
        assert "of before" in done.stderr
        assert b"".join(first.seen + rest.seen) == source.read_bytes(), "nothing is sent twice"
        assert len(stored(emptied)) == COUNT
        assert files(source.parent) == [source.name]
        monkeypatch.setattr(transfer, "import_call", first.real)


def test_another_file_is_not_gone_on_with(
    http_store: Served, source: Path, whole: bytes, emptied: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = Away(2, monkeypatch)
    run(http_store, "import", str(source))
    monkeypatch.setattr(transfer, "import_call", away.real)
    other = whole.replace(b"moved/00", b"moved/xx")
    for content in (whole + b"\n", other):
        source.write_bytes(content)
        done = run(http_store, "import", str(source), "--resume")
        assert (done.exit_code, done.stderr.count("\n")) == (Status.USAGE, 1)
        assert "the file is another than the one" in done.stderr
    state = source.with_name(source.name + ".progress")
    state.write_text("{")
    done = run(http_store, "import", str(source), "--resume")
    assert (done.exit_code, "remove it to begin anew" in done.stderr) == (Status.USAGE, True)
    state.unlink()
    done = run(http_store, "import", str(source), "--resume")
    assert (done.exit_code, "no import of this file broke off" in done.stderr) == (Status.USAGE, True)
    assert run(http_store, "import", "-", "--resume").exit_code == Status.USAGE


def test_a_refused_record_is_named_by_its_line_in_the_file(http_store: Served, source: Path, emptied: Store) -> None:
    lines = source.read_bytes().splitlines(keepends=True)
    lines[40] = b'{"key":"","value":""}\n'
    source.write_bytes(b"".join(lines))
    done = run(http_store, "import", str(source))
    assert done.exit_code == Status.REFUSED
    assert "error: line 41: " in done.stderr
    assert len(stored(emptied)) >= 30


def test_what_has_expired_is_left_out_and_told(http_store: Served, tmp_path: Path) -> None:
    path = tmp_path / "records"
    records = [{"key": "moved/a", "value": "", "expires": "2020-01-01T00:00:00Z"}, {"key": "moved/b", "value": ""}]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in [*records, {"exported": 2}]))
    assert run(http_store, "import", str(path)).stderr == "Imported 1 records; 1 had expired.\n"
    run(http_store, "delete", "moved/b")
