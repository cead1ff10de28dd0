"""The demo's parts: reading data sets, and saying what is lost."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table

from cloud_storage import Forbidden, SomeFailed, StoreError, Unauthorized, Unavailable
from serve_app.cli import dataset, demo_report
from serve_app.cli.dataset import parse_packages, read_json_lines
from serve_app.cli.demo import demo, failure_of
from serve_app.command_output.failure import Failure
from serve_app.http.models import BucketStatus, TopologyAnswer
from serve_app.placement import bucket_of
from tests.unit.test_status_command import topology

# -- Debian's package list -------------------------------------------------------------------------------------------

_PACKAGES = """Package: zebra
Version: 2
Description: stripes
 and more stripes, with Package: in a line
 .
 Größe: ß

Package: ant
Version: 1

Package: zebra
Version: 1
Description: fewer stripes
"""


def test_packages_are_paragraphs_under_their_names() -> None:
    found = list(parse_packages(_PACKAGES))
    assert [name for name, _ in found] == ["zebra", "ant", "zebra"]
    assert found[0][1].startswith("Package: zebra\nVersion: 2\n")
    assert found[0][1].endswith("Größe: ß")
    assert found[1][1] == "Package: ant\nVersion: 1"
    assert found[2][1] == "Package: zebra\nVersion: 1\nDescription: fewer stripes"


@pytest.mark.parametrize("text", ["", "\n\n\n", "Version: 1\n", "Package:\nVersion: 1\n", "no field at all"])
def test_what_has_no_package_name_is_no_package(text: str) -> None:
    assert list(parse_packages(text)) == []


def test_the_order_of_fields_does_not_matter() -> None:
    assert list(parse_packages("\n\nVersion: 1\nPackage: ant\n\n\n\n")) == [("ant", "Version: 1\nPackage: ant")]


def apt_answers(monkeypatch: pytest.MonkeyPatch, answer: Callable[..., Any]) -> None:
    monkeypatch.setattr(subprocess, "run", answer)


def test_of_a_package_that_comes_twice_the_last_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    apt_answers(monkeypatch, lambda *a, **k: subprocess.CompletedProcess(a, 0, _PACKAGES.encode(), b""))
    found = dataset.load(None)
    assert list(found.records) == ["zebra", "ant"]
    assert "fewer stripes" in found.records["zebra"]
    assert found.replaced == 1
    assert "2 records" in demo_report.headline(found)
    assert "1 more had a key that came again, of which the last is kept" in demo_report.headline(found)


def test_without_apt_cache_another_data_set_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*args: object, **options: object) -> None:
        raise FileNotFoundError

    apt_answers(monkeypatch, missing)
    with pytest.raises(Failure, match=r"apt-cache.*not on this machine.*--data FILE"):
        dataset.load(None)


def test_an_empty_package_list_asks_for_an_update(monkeypatch: pytest.MonkeyPatch) -> None:
    apt_answers(monkeypatch, lambda *a, **k: subprocess.CompletedProcess(a, 0, b"\n", b""))
    with pytest.raises(Failure, match=r"apt-get update.*--data FILE"):
        dataset.load(None)


def test_apt_caches_own_error_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*args: object, **options: object) -> None:
        raise subprocess.CalledProcessError(100, "apt-cache", b"", b"E: the cache is locked\n")

    apt_answers(monkeypatch, failing)
    with pytest.raises(Failure, match=r"E: the cache is locked.*--data FILE"):
        dataset.load(None)


# -- JSON Lines ------------------------------------------------------------------------------------------------------


def lines(tmp_path: Path, *content: bytes) -> Path:
    path = tmp_path / "data.jsonl"
    path.write_bytes(b"\n".join(content))
    return path


def test_json_lines_are_records(tmp_path: Path) -> None:
    path = lines(
        tmp_path,
        b'{"key": "a", "value": "1"}',
        b"",
        b'{"value": "\\u00e4\\n", "key": "\xc3\xa4/ \\u0000"}\r',
        b'{"key": "a", "value": ""}',
        b"",
    )
    found = dataset.load(path)
    assert found.records == {"a": "", "ä/ \0": "ä\n"}
    assert found.replaced == 1
    assert found.size_bytes == 1 + 5 + 3


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"{", "not JSON: Expecting property name"),
        (b"key,value", "not JSON"),
        (b'{"key": "a", "value": "1"} x', "not JSON: Extra data at column 28"),
        (b'{"key": "a\xff", "value": "1"}', "byte 11 of the line is not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", 'not an object of exactly "key" and "value"'),
        (b'"a"', "not an object"),
        (b"null", "not an object"),
        (b'{"key": "a"}', "not an object"),
        (b'{"key": "a", "value": "1", "ttl": 2}', "not an object"),
        (b'{"key": 1, "value": "1"}', '"key" is not a string'),
        (b'{"key": "a", "value": {}}', '"value" is not a string'),
        (b'{"key": "a", "value": null}', '"value" is not a string'),
        (b'{"key": "", "value": "1"}', "the key is empty"),
        (b'{"key": "' + b"k" * 1025 + b'", "value": "1"}', "1,025 bytes"),
        (b'{"key": "\\ud800", "value": "1"}', "surrogate"),
        (b'{"key": "a", "value": "\\ud800"}', "surrogate"),
        (b'{"key": "a", "value": "' + b"v" * (25 * 1024 * 1024 + 1) + b'"}', "26,214,401 bytes"),
    ],
    ids=lambda value: repr(value[:40]),
)
def test_a_line_that_is_no_record_is_named(tmp_path: Path, line: bytes, says: str) -> None:
    path = lines(tmp_path, b'{"key": "a", "value": "1"}', b"", line)
    with pytest.raises(Failure) as failure:
        list(read_json_lines(path))
    assert str(failure.value).startswith(f"{path}, line 3: ")
    assert says in str(failure.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"nowhere\.jsonl can't be read: No such file"):
        list(read_json_lines(tmp_path / "nowhere.jsonl"))
    with pytest.raises(Failure, match="can't be read: Is a directory"):
        list(read_json_lines(tmp_path))


# -- where it asks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["http://host:port", "127.0.0.1:8000", "ftp://host", ""])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(Failure, match=r"no store answers at|is no address"):
        demo(url, None, 1, check_only=True)


@pytest.mark.parametrize("error", [Unauthorized("why"), Forbidden("why")])
def test_a_token_that_does_not_do_is_said_once_for_all_keys(error: StoreError, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUD_STORAGE_TOKEN", "cs_mine")
    for raised in (error, SomeFailed({"a": error, "b": error})):
        assert str(failure_of(raised)).startswith("the store refuses the token of CLOUD_STORAGE_TOKEN: why (it takes")
    assert str(failure_of(SomeFailed({"a": Unavailable("away")}))) == "1 of the keys failed; the first is 'a': away"


# -- what it says ----------------------------------------------------------------------------------------------------


def test_the_verdict_names_the_first_ten_lost() -> None:
    assert "nothing lost" in demo_report.verdict([], 5)
    lost = [f"'key-{number:02}': no such key" for number in range(12)]
    text = demo_report.verdict(lost, 20)
    assert "12 of 20 records are lost" in text
    assert text.count("no such key") == 10
    assert "… and 2 more" in text


@pytest.mark.parametrize(
    ("expected", "got", "says"),
    [
        ("abc", "abd", "3 bytes instead of 3, different from byte 2 on"),
        ("abc", "ab", "2 bytes instead of 3, different from byte 2 on"),
        ("", "a", "1 bytes instead of 0, different from byte 0 on"),
        ("ä", "Ä", "2 bytes instead of 2, different from byte 1 on"),
    ],
)
def test_a_difference_says_where(expected: str, got: str, says: str) -> None:
    assert demo_report.difference(expected.encode(), got.encode()) == says


def known(bucket_count: int, target_count: int, keys: list[int | None]) -> TopologyAnswer:
    buckets = [{"bucket_id": number, "reachable": held is not None, "keys": held} for number, held in enumerate(keys)]
    return TopologyAnswer.model_validate(
        {**topology(), "bucket_count": bucket_count, "target_count": target_count, "buckets": []}
        | {"phase": "stable" if bucket_count == target_count else "moving"}
    ).model_copy(update={"buckets": [BucketStatus.model_construct(None, **bucket) for bucket in buckets]})


def rows(table: Table) -> list[tuple[str, str, str]]:
    first, second, _, last = ([str(cell) for cell in column.cells] for column in table.columns)
    return list(zip(first, second, last, strict=True))


def test_where_records_are_is_what_the_hash_says_beside_what_buckets_count() -> None:
    keys = [f"key-{number}" for number in range(1_000)]
    found = rows(demo_report.spread(keys, known(2, 2, [600, None])))
    count = sum(bucket_of(key.encode(), 2) == 0 for key in keys)
    assert found == [("bucket-0", str(count), "600"), ("bucket-1", str(1_000 - count), "away")]


def test_while_keys_move_it_says_where_they_will_be() -> None:
    keys = [f"key-{number}" for number in range(1_000)]
    table = demo_report.spread(keys, known(3, 2, [400, 400, 200]))
    assert str(table.title) == "Where they will be, when all have moved to 2 buckets"
    assert [(name, held) for name, _, held in rows(table)] == [
        ("bucket-0", "400"), ("bucket-1", "400"), ("bucket-2", "200"),
    ]  # fmt: skip
    assert rows(table)[2][1] == "0"


def test_of_many_reasons_to_send_again_the_most_frequent_are_told() -> None:
    retries = Counter({f"reason {number}": number for number in range(1, 9)})
    text = demo_report.summary("Loaded", 10, 2.0, retries)
    assert text.startswith(
        "Loaded 10 records in 2.0 s, 5 a second; 36 requests were sent again: reason 8 (8), reason 7 (7)"
    )
    assert text.endswith("and for 5 other reasons")
