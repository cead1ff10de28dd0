"""The commands one by one, by redis-py, over both protocols: answers and errors as Redis has them."""

from __future__ import annotations

import time
from typing import Any

import pytest
import redis

from tests.redis.faced import Faced


def refused(call: Any) -> str:
    with pytest.raises(redis.ResponseError) as error:
        call()
    return str(error.value)


def test_values_are_set_and_got(client: Any) -> None:
    assert client.get("a") is None
    assert client.set("a", b"\x00\xff\r\n") is True
    assert client.get("a") == b"\x00\xff\r\n"
    assert client.set("a", "")
    assert client.get("a") == b""
    assert client.strlen("a") == 0
    assert client.mset({"b": "1", "c": "2"})
    assert client.mget("a", "b", "nowhere", "c", "b") == [b"", b"1", None, b"2", b"1"]
    assert client.exists("a", "b", "nowhere", "b") == 3
    assert client.delete("a", "b", "b", "nowhere") == 2
    assert client.unlink("c") == 1
    assert client.dbsize() == 0


def test_set_has_all_its_options(client: Any) -> None:
    assert client.set("a", "1", xx=True) is None
    assert client.set("a", "1", nx=True) is True
    assert client.set("a", "2", nx=True) is None
    assert client.set("a", "2", xx=True) is True
    assert client.set("a", "3", get=True) == b"2"
    assert client.set("b", "1", get=True) is None
    assert client.set("a", "4", nx=True, get=True) == b"3"
    assert client.get("a") == b"3"
    assert client.set("a", "5", ex=100)
    assert 98 < client.ttl("a") <= 100
    assert client.set("a", "6", keepttl=True)
    assert 98 < client.ttl("a") <= 100
    assert client.set("a", "7")
    assert client.ttl("a") == -1
    assert client.set("a", "8", px=50_000)
    assert 48_000 < client.pttl("a") <= 50_000
    at = int(time.time()) + 1000
    assert client.set("a", "9", exat=at)
    assert client.expiretime("a") == at
    assert client.set("a", "9", pxat=at * 1000 + 5)
    assert client.pexpiretime("a") == at * 1000 + 5
    assert client.set("a", "10", exat=1)
    assert client.get("a") is None, "its time has passed"
    assert client.set("a", "10", exat=1, xx=True) is None
    for words in ("ex", "nx xx", "ex 5 px 5", "keepttl ex 5", "ex 5 keepttl", "what"):
        assert refused(lambda words=words: client.execute_command("set", "a", "b", *words.split())) == "syntax error"
    for words in ("ex 0", "px -1", "ex 9223372036854775807", "exat 0"):
        said = refused(lambda words=words: client.execute_command("set", "a", "b", *words.split()))
        assert said == "invalid expire time in 'set' command"
    assert refused(lambda: client.execute_command("set", "a", "b", "ex", "x")) == (
        "value is not an integer or out of range"
    )


def test_the_older_ways_to_set(client: Any) -> None:
    assert client.setnx("a", "1") is True
    assert client.setnx("a", "2") is False
    assert client.setex("a", 100, "3") is True
    assert client.psetex("a", 100_000, "4") is True
    assert 98 < client.ttl("a") <= 100
    assert client.getset("a", "5") == b"4"
    assert client.ttl("a") == -1
    assert client.getset("b", "5") is None
    assert client.getdel("a") == b"5"
    assert client.getdel("a") is None
    assert refused(lambda: client.setex("a", 0, "x")) == "invalid expire time in 'setex' command"


def test_getex_reads_and_touches(client: Any) -> None:
    assert client.getex("a", ex=10) is None
    client.set("a", "1")
    assert client.getex("a") == b"1"
    assert client.ttl("a") == -1
    assert client.getex("a", ex=100) == b"1"
    assert 98 < client.ttl("a") <= 100
    assert client.getex("a", persist=True) == b"1"
    assert client.ttl("a") == -1
    assert client.getex("a", pxat=1) == b"1"
    assert client.get("a") is None
    assert refused(lambda: client.execute_command("getex", "a", "ex")) == "syntax error"


def test_parts_of_values(client: Any) -> None:
    assert client.getrange("a", 0, -1) == b""
    assert client.append("a", "Hello ") == 6
    assert client.append("a", "World") == 11
    assert client.getrange("a", 0, 4) == b"Hello"
    assert client.getrange("a", -5, -1) == b"World"
    assert client.getrange("a", -3, -5) == client.getrange("a", 5, 3) == client.getrange("a", 100, 200) == b""
    assert client.getrange("a", -100, 100) == b"Hello World"
    assert client.substr("a", 6, 6) == b"W"
    assert client.setrange("a", 6, "Redis") == 11
    assert client.setrange("a", 13, "!") == 14
    assert client.get("a") == b"Hello Redis\0\0!"
    assert client.setrange("nowhere", 5, "") == 0
    assert client.exists("nowhere") == 0
    assert client.setrange("b", 2, "x") == 3
    assert client.get("b") == b"\0\0x"
    assert refused(lambda: client.setrange("a", -1, "x")) == "offset is out of range"
    for call in (lambda: client.setrange("a", 512 * 1024 * 1024, "x"), lambda: client.setrange("a", 2**62, "x")):
        assert refused(call) == "string exceeds maximum allowed size (proto-max-bulk-len)"


def test_numbers(client: Any) -> None:
    assert [client.incr("a"), client.incrby("a", 10), client.decr("a"), client.decrby("a", 20)] == [1, 11, 10, -10]
    client.set("a", 2**63 - 1, ex=100)
    assert refused(lambda: client.incr("a")) == "increment or decrement would overflow"
    assert 98 < client.ttl("a") <= 100, "a number keeps its time"
    assert client.decr("a") == 2**63 - 2
    assert refused(lambda: client.decrby("a", -(2**63))) == "decrement would overflow"
    for value in ("x", " 1", "1 ", "1.0", "", "00", "+1"):
        client.set("a", value)
        assert refused(lambda: client.incr("a")) == "value is not an integer or out of range"
        assert client.get("a") == value.encode()
    assert refused(lambda: client.execute_command("incrby", "b", "x")) == "value is not an integer or out of range"
    assert client.exists("b") == 0


@pytest.mark.parametrize(
    ("before", "by", "after"),
    [(None, "1.5", b"1.5"), ("3", "1.1", b"4.1"), ("10.50", "0.1", b"10.6"), ("5.0e3", "2.0e2", b"5200"),
     ("1", "-1.1", b"-0.1"), ("0.1", "-0.1", b"0"), ("17179869184", "1.5", b"17179869185.5"), ("1.23", "-1.23", b"0"),
     ("0.1", "0.2", b"0.3"), ("-5", "5", b"0")],
)  # fmt: skip
def test_decimal_numbers_are_exact(client: Any, before: str | None, by: str, after: bytes) -> None:
    if before is not None:
        client.set("a", before)
    assert client.execute_command("incrbyfloat", "a", by) in (after, float(after))
    assert client.get("a") == after


def test_what_is_no_decimal_number(client: Any) -> None:
    for by in ("inf", "-infinity"):
        said = refused(lambda by=by: client.execute_command("incrbyfloat", "a", by))
        assert said == "increment would produce NaN or Infinity"
    for by in ("x", "nan", " 1", "1 ", "", "1e400000", "+-inf"):
        assert refused(lambda by=by: client.execute_command("incrbyfloat", "a", by)) == "value is not a valid float"
    for value in ("x", "", "1 ", "nan"):
        client.set("a", value)
        assert refused(lambda: client.incrbyfloat("a", 1)) == "value is not a valid float"


def test_expiry(client: Any) -> None:
    assert (client.ttl("a"), client.expire("a", 10), client.persist("a")) == (-2, False, False)
    client.set("a", "1")
    assert (client.ttl("a"), client.pttl("a"), client.expiretime("a"), client.pexpiretime("a")) == (-1, -1, -1, -1)
    assert client.expire("a", 100, xx=True) is False
    assert client.expire("a", 100, nx=True) is True
    assert client.expire("a", 200, nx=True) is False
    assert client.expire("a", 50, gt=True) is False
    assert client.expire("a", 200, gt=True) is True
    assert client.expire("a", 300, lt=True) is False
    assert client.expire("a", 100, lt=True) is True
    assert 98 < client.ttl("a") <= 100
    assert client.pexpire("a", 50_000) is True
    assert 48_000 < client.pttl("a") <= 50_000
    at = int(time.time()) + 1000
    assert client.expireat("a", at) is True
    assert client.expiretime("a") == at
    assert client.pexpireat("a", at * 1000 + 7) is True
    assert client.pexpiretime("a") == at * 1000 + 7
    assert client.persist("a") is True
    assert client.persist("a") is False
    assert client.expire("a", 100, gt=True) is False, "nothing is later than never"
    assert client.expire("a", 100, lt=True) is True
    for words in (("expire", 0), ("pexpire", -5), ("expireat", 1), ("pexpireat", 1)):
        client.set("a", "1")
        assert client.execute_command(words[0], "a", words[1]) in (1, True)
        assert client.get("a") is None
    assert "Unsupported option" in refused(lambda: client.execute_command("expire", "a", 1, "what"))
    assert "not compatible" in refused(lambda: client.expire("a", 1, nx=True, gt=True))
    assert "invalid expire time" in refused(lambda: client.expire("a", 2**62))


def test_a_value_expires(client: Any) -> None:
    client.set("a", "1", px=30)
    until_s = time.monotonic() + 20
    while client.get("a") is not None:
        assert time.monotonic() < until_s
    assert (client.ttl("a"), client.exists("a"), client.type("a")) == (-2, 0, b"none")
    client.set("a", "1")
    assert client.type("a") == b"string"


def test_scans_find_every_key_once(client: Any) -> None:
    names = {f"scan/{number}".encode() for number in range(300)}
    client.mset(dict.fromkeys(names, "x") | {"other": "x"})
    found = list(client.scan_iter("scan/*", count=7))
    assert len(found) == len(set(found)) == 300
    assert set(found) == names
    assert sorted(client.scan_iter("scan/[12]?")) == sorted(
        name for name in names if len(name) == 7 and name[5:6] in b"12"
    )
    assert list(client.scan_iter("scan/*", _type="string", count=1000)) != []
    assert list(client.scan_iter("*", _type="hash")) == []
    assert set(client.keys("*")) == names | {b"other"}
    assert client.keys("scan/1") == [b"scan/1"]
    assert client.randomkey() in names | {b"other"}
    assert client.dbsize() == 301
    assert "does not know the cursor" in refused(lambda: client.scan(5))
    assert refused(lambda: client.execute_command("scan", "x")) == "invalid cursor"
    assert client.flushdb() is True
    assert (client.keys("*"), client.randomkey(), client.dbsize()) == ([], None, 0)


def test_a_pipeline_is_carried_out_in_order_for_each_key(client: Any) -> None:
    with client.pipeline(transaction=False) as pipeline:
        for number in range(300):
            pipeline.set("a", number).get("a").incr("b").ping()
        pipeline.execute_command("nonsense").append("a", "!").get("a")
        answers = pipeline.execute(raise_on_error=False)
    assert answers[1:1200:4] == [b"%d" % number for number in range(300)]
    assert answers[2:1200:4] == list(range(1, 301))
    assert isinstance(answers[1200], redis.ResponseError)
    assert answers[1201:] == [4, b"299!"]


def test_what_is_not_there_is_refused_with_the_alternative(client: Any) -> None:
    for words, says in (
        ("rename a b", "SET the new one"),
        ("multi", "nothing holds several keys together"),
        ("eval x 0", "scripts are not run here"),
        ("hset a b c", "all values are strings here"),
        ("publish a b", "/v1/watch"),
        ("select 1", "one database"),
        ("config set save x", "serve_config.yaml"),
    ):
        assert says in refused(lambda words=words: client.execute_command(*words.split()))
    assert refused(lambda: client.execute_command("what", "a", "b")) == (
        "unknown command 'what', with args beginning with: 'a' 'b' "
    )
    assert refused(lambda: client.execute_command("get")) == "wrong number of arguments for 'get' command"
    assert (
        refused(lambda: client.execute_command("mset", "a", "b", "c")) == "wrong number of arguments for 'mset' command"
    )


def test_keys_are_text_of_1_to_1024_bytes(client: Any) -> None:
    assert client.set("k" * 1024, "x")
    assert client.set("ä€", "x")
    for key in (b"", b"k" * 1025, b"\xff"):
        assert "a key" in refused(lambda key=key: client.set(key, "x"))
        assert "a key" in refused(lambda key=key: client.get(key))


def test_the_connection_tells_of_itself(client: Any, faced: Faced) -> None:
    assert client.ping() is True
    assert client.echo("a\r\n") == b"a\r\n"
    assert client.client_setname("tests") is True
    assert client.client_getname() in ("tests", b"tests")
    assert client.client_info()["name"] == "tests"
    assert isinstance(client.client_id(), int)
    assert client.time()[0] >= int(time.time()) - 1
    assert client.info("server")["redis_mode"] == "standalone"
    assert client.config_get("append*")["appendonly"] == "yes"
    assert client.command_count() == len(faced.face.commands)
    assert client.command_getkeys("mset", "a", "1", "b", "2") in (["a", "b"], [b"a", b"b"])
    assert "get" in client.command()
