"""The commands of one key, lists and watches: what they print, and the status that each ends with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cloud_storage import Event, Store, errors
from cloud_storage.commands import shown, values
from cloud_storage.commands.statuses import Ended, Status, status_of
from tests.client.commands import run
from tests.client.served import Served

ODD = 'odd/ two\nlines\x1b[2J"ä\u202e'


def test_a_value_comes_back_byte_for_byte(http_store: Served, tmp_path: Path) -> None:
    for number, value in enumerate([b"", b"hello", b"\xff\0\r\n", b"line\n", bytes(range(256)) * 300]):
        key = f"commands/bytes/{number}"
        assert run(http_store, "put", key, "-", stdin=value).exit_code == 0
        assert run(http_store, "get", key).stdout_bytes == value
        source, target = tmp_path / "source", tmp_path / "target"
        source.write_bytes(value)
        done = run(http_store, "put", key, "--file", str(source))
        assert (done.exit_code, done.stdout_bytes) == (0, b"")
        done = run(http_store, "get", key, "--output", str(target))
        assert (done.exit_code, done.stdout_bytes) == (0, b"")
        assert target.read_bytes() == value


def test_a_record_in_json_has_text_or_base64(http_store: Served) -> None:
    assert run(http_store, "put", "commands/empty", "", stdin=b"not this").exit_code == 0
    assert run(http_store, "get", "commands/empty").stdout_bytes == b""
    run(http_store, "put", "commands/json", "é", "--ttl", "1h", "--content-type", "text/x-note")
    told = json.loads(run(http_store, "get", "commands/json", "--json").stdout)
    assert (told["key"], told["value"], told["content_type"]) == ("commands/json", "é", "text/x-note")
    assert told["revision"] >= 1
    assert told["modified"] < told["expires"]
    run(http_store, "put", "commands/json", stdin=b"\xff")
    told = json.loads(run(http_store, "get", "commands/json", "--json").stdout)
    assert told["value_base64"] == "/w=="
    assert told["content_type"] == "application/octet-stream"
    assert (told["expires"], "value" in told) == (None, False)


def test_the_status_says_what_happened(http_store: Served) -> None:
    key = "commands/status"
    assert run(http_store, "get", key).exit_code == Status.NO
    assert run(http_store, "touch", key, "--persist").exit_code == Status.NO
    assert run(http_store, "delete", key).exit_code == Status.NO
    done = run(http_store, "get", key)
    assert (done.stdout, done.stderr) == ("", 'error: no record has the key "commands/status"\n')
    written = json.loads(run(http_store, "create", key, "1", "--json").stdout)
    assert (written["key"], written["created"]) == (key, True)
    done = run(http_store, "create", key, "2")
    assert (done.exit_code, done.stdout) == (Status.CONDITION_FAILED, "")
    stale = str(written["revision"] + 1)
    assert run(http_store, "put", key, "2", "--if-revision", stale).exit_code == Status.CONDITION_FAILED
    assert run(http_store, "delete", key, "--if-revision", stale).exit_code == Status.CONDITION_FAILED
    assert run(http_store, "put", key, "2", "--if-revision", str(written["revision"])).exit_code == Status.DONE
    assert run(http_store, "put", key, "x" * 10, "--content-type", "ä").exit_code == Status.REFUSED
    assert run(http_store, "increment", key, str(2**63)).exit_code == Status.REFUSED
    assert run(http_store, "put", "k" * 1025, "x").exit_code == Status.REFUSED
    assert run(http_store, "delete", key).exit_code == Status.DONE
    away = run("http://127.0.0.1:1", "get", key, "--timeout", "0.01")
    assert (away.exit_code, away.stdout) == (Status.UNAVAILABLE, "")
    assert away.stderr.startswith("error: GET /v1/kv was not answered in time: ")
    assert away.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.InvalidRequest("x"), Status.REFUSED),
        (errors.Unauthorized("x"), Status.REFUSED),
        (errors.Forbidden("x"), Status.REFUSED),
        (errors.NotANumber("x"), Status.REFUSED),
        (errors.ValueTooLarge("x"), Status.REFUSED),
        (errors.DiskFull("x"), Status.REFUSED),
        (errors.HistoryLost("x"), Status.REFUSED),
        (errors.ConditionFailed("x"), Status.CONDITION_FAILED),
        (errors.Unavailable("x"), Status.UNAVAILABLE),
        (errors.Interrupted("x"), Status.UNAVAILABLE),
        (errors.OutcomeUnknown("x"), Status.UNKNOWN),
        (errors.SomeFailed({"a": errors.DiskFull("x"), "b": errors.Unavailable("x")}), Status.UNAVAILABLE),
        (errors.SomeFailed({"a": errors.OutcomeUnknown("x"), "b": errors.Unavailable("x")}), Status.UNKNOWN),
        (errors.SomeFailed({"a": errors.DiskFull("x")}), Status.REFUSED),
    ],
)
def test_every_error_has_a_status(error: errors.StoreError, status: Status) -> None:
    assert status_of(error) is status


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["get", "a", "--url", "http://host:port"], "'http://host:port' is not the URL of a store"),
        (["get", "a", "--url", "store"], "'store' is not the URL of a store"),
        (["get", "a", "--timeout", "0"], "a timeout is more than 0"),
        (["get", "a", "--token-file", "/nowhere"], "the token's file /nowhere can't be read: No such file"),
        (["get", "a", "--token-file", "/dev/zero"], "the token's file /dev/zero holds more than a token"),
        (["put", "a", "b", "--file", "c"], "a value and --file: which one is meant?"),
        (["put", "a", "b", "--ttl", "soon"], "'soon' is no duration"),
        (["put", "a", "b", "--ttl", "0"], "'0' is no duration"),
        (["put", "a", "b", "--expires-at", "2027-01-01T00:00:00"], "is no moment"),
        (["put", "a", "b", "--ttl", "1s", "--expires-at", "2099-01-01T00:00:00Z"], "not both"),
        (["touch", "a"], "say one of --ttl, --expires-at and --persist"),
        (["touch", "a", "--ttl", "1s", "--persist"], "say one of --ttl, --expires-at and --persist"),
        (["delete", "a", "b", "--if-revision", "1"], "--if-revision is for one key"),
        (["ls", "--long", "--json"], "say one of --long, --null and --json"),
        (["get", "\udcff"], "not valid UTF-8"),
    ],
)
def test_what_can_not_be_meant_is_one_sentence(http_store: Served, words: list[str], says: str) -> None:
    done = run(http_store, *words)
    assert (done.exit_code, done.stdout) == (Status.USAGE, "")
    assert done.stderr.startswith("error: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_file_that_can_not_be_read_or_written_is_named(http_store: Served, tmp_path: Path) -> None:
    done = run(http_store, "put", "a", "--file", str(tmp_path / "nowhere"))
    assert (done.exit_code, done.stderr) == (Status.REFUSED, f"error: {tmp_path}/nowhere: No such file or directory\n")
    run(http_store, "put", "commands/file", "x")
    done = run(http_store, "get", "commands/file", "--output", str(tmp_path))
    assert (done.exit_code, done.stderr) == (Status.REFUSED, f"error: {tmp_path}: Is a directory\n")


def test_more_than_the_longest_value_is_not_read(http_store: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "LONGEST", 10)
    assert run(http_store, "put", "commands/long", "-", stdin=b"x" * 10).exit_code == 0
    done = run(http_store, "put", "commands/long", "--file", "/dev/zero")
    assert (done.exit_code, done.stderr) == (
        Status.REFUSED,
        "error: a value has at most 10 bytes, and this one has more\n",
    )


def test_numbers_are_counted_up_and_down(http_store: Served) -> None:
    said = [
        run(http_store, "increment", "commands/n", *words).stdout
        for words in ([], ["5"], ["-3"], ["--", "-3"], ["0", "--ttl", "1h"])
    ]
    assert said == ["1\n", "6\n", "3\n", "0\n", "0\n"]
    done = run(http_store, "increment", "commands/n", "-3", "--json")
    assert json.loads(done.stdout) == {"key": "commands/n", "value": -3}
    assert run(http_store, "increment", "commands/n", "--odd").exit_code == Status.USAGE


def test_times_to_live_are_set_and_taken_away(http_store: Served) -> None:
    def expires() -> str | None:
        told = json.loads(run(http_store, "get", "commands/ttl", "--json").stdout)["expires"]
        return None if told is None else str(told)

    run(http_store, "put", "commands/ttl", "x", "--expires-at", "2099-01-02T03:04:05Z")
    assert expires() == "2099-01-02T03:04:05.000Z"
    assert run(http_store, "touch", "commands/ttl", "--persist").exit_code == 0
    assert expires() is None
    run(http_store, "touch", "commands/ttl", "--expires-at", "4070908800.5")
    assert expires() == "2099-01-01T00:00:00.500Z"
    run(http_store, "touch", "commands/ttl", "--ttl", "7d")
    assert expires() is not None


def test_many_keys_are_deleted_at_once(http_store: Served) -> None:
    keys = [f"commands/many/{number}" for number in range(5)]
    with Store(http_store.url) as store:
        store.put_many((key, "") for key in keys)
    done = run(http_store, "delete", *keys[:3], keys[0])
    assert (done.exit_code, done.stderr) == (0, "")
    done = run(http_store, "delete", *keys)
    assert (done.exit_code, done.stderr) == (1, "error: 3 of the 5 keys were not there; the others are deleted\n")


def test_lists_are_in_order_and_quote_what_could_upset_a_terminal(http_store: Served) -> None:
    names = ["odd/a", "odd/b/1", "odd/b/2", ODD]
    with Store(http_store.url) as store:
        store.put_many((name, "12345") for name in names)
    plain = run(http_store, "ls", "odd/").stdout.splitlines()
    assert plain == [r'"odd/ two\nlines\u001b[2J\"ä\u202e"', "odd/a", "odd/b/1", "odd/b/2"]
    assert json.loads(plain[0]) == ODD
    assert run(http_store, "ls", "odd/", "--null").stdout.split("\0") == [ODD, *names[:3], ""]
    told = [json.loads(line) for line in run(http_store, "ls", "odd/", "--json").stdout.splitlines()]
    assert [each["key"] for each in told] == [ODD, *names[:3]]
    assert {each["size"] for each in told} == {5}
    assert run(http_store, "ls", "odd/a", "--limit", "9" * 30).stdout == "odd/a\n"
    assert run(http_store, "ls", "odd/a", "--delimiter", "/").stdout == "odd/a\n"
    together = run(http_store, "ls", "odd/", "--delimiter", "/", "--start-after", ODD).stdout
    assert together == "odd/a\nodd/b/\n"
    told = run(http_store, "ls", "odd/", "--delimiter", "/", "--json").stdout.splitlines()
    assert json.loads(told[-1]) == {"prefix": "odd/b/"}
    assert run(http_store, "ls", "odd/", "--limit", "2", "--start-after", "odd/a").stdout == "odd/b/1\nodd/b/2\n"
    long = run(http_store, "ls", "odd/", "--long", "--delimiter", "/").stdout.splitlines()
    assert long[1].split()[0] == "5"
    assert long[1].endswith(" odd/a")
    assert long[2].split() == ["-", "-", "-", "-", "odd/b/"]


@pytest.mark.parametrize("name", ["a", "a b", "ä", 'x"', "a\\n"])
def test_an_ordinary_name_is_shown_as_it_is(name: str) -> None:
    assert shown.name(name) == name


@pytest.mark.parametrize(
    "name", ["", '"a"', " a", "a ", "a\n", "\x9b", "\u202e", "\u00a0", "\ue000", "\0", "\u3164", "a\ufe0f", "\u2800x"]
)
def test_any_other_is_quoted_and_can_be_read_back(name: str) -> None:
    assert shown.name(name).isascii() or name == ""
    assert json.loads(shown.quoted(name)) == name
    assert shown.name(name).startswith('"') or name == ""


@pytest.mark.parametrize("text", ["", "x", "-1", "1w", "1 h", "nan", "inf", "1e3", "0s", "٣"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(Ended, match="is no duration"):
        values.seconds(text)


@pytest.mark.parametrize("text", ["", "soon", "2027-01-01", "2027-13-01T00:00:00Z", "1" * 30, "5m"])
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(Ended, match="is no moment"):
        values.moment(text)


def test_the_token_is_taken_from_a_file_and_never_from_the_arguments(
    http_store: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(http_store, "put", "commands/token", "x")
    file = tmp_path / "token"
    file.write_text("cs_mine\n")
    assert run(http_store, "get", "commands/token", "--token-file", str(file)).stdout == "x"
    monkeypatch.setenv("CLOUD_STORAGE_TOKEN", "cs_mine\n")
    with Store(http_store.url) as store:
        assert store.get_text("commands/token") == "x"
    file.write_text("two words")
    done = run(http_store, "get", "commands/token", "--token-file", str(file))
    assert (done.exit_code, done.stderr) == (Status.USAGE, "error: a token has visible ASCII characters alone\n")
    assert run(http_store, "get", "a", "--token", "x").exit_code == Status.USAGE


def test_events_are_shown_as_they_come(http_store: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    told = [
        Event("put", "a\n", 3, b"x\n", "text/plain"),
        Event("put", "b", 4, b"\xff", "x/y", "id-1"),
        Event("expire", "b", 5),
    ]
    monkeypatch.setattr(Store, "watch", lambda store, prefix, *, values, since: iter(told))
    assert run(http_store, "watch").stdout.splitlines() == [
        r'put           3 "a\n" "x\n"',
        "put           4 b base64:/w==",
        "expire        5 b",
    ]
    lines = [json.loads(line) for line in run(http_store, "watch", "--json", "--values").stdout.splitlines()]
    assert lines == [
        {"event": "put", "key": "a\n", "revision": 3, "value": "x\n", "content_type": "text/plain"},
        {"event": "put", "key": "b", "revision": 4, "value_base64": "/w==", "content_type": "x/y", "id": "id-1"},
        {"event": "expire", "key": "b", "revision": 5},
    ]


def test_a_watch_of_what_is_not_known_any_more_says_so(http_store: Served) -> None:
    done = run(http_store, "watch", "--since", "nonsense")
    assert (done.exit_code, done.stdout) == (Status.REFUSED, "")
    assert done.stderr.startswith("error: ")
