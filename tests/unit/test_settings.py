"""Settings: unknown and wrong ones are refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from serve_app import events
from serve_app.app import build
from serve_app.cluster import bucket_actor
from serve_app.cluster.build import build_of
from serve_app.cluster.deployment import gate_of, redis_of
from serve_app.directory.directory import Directory
from serve_app.settings import MIB, Auth, Limits, Redis, Settings, UserConfig, explain


@pytest.mark.parametrize(
    ("args", "named"),
    [
        ({}, "args.data_dir"),
        ({"data_dir": ""}, "args.data_dir"),
        ({"data_dir": "d", "data_dri": "d"}, "args.data_dri: unknown setting"),
        ({"data_dir": "d", "pin_buckets": "perhaps"}, "args.pin_buckets"),
        ({"data_dir": "d", "limits": {"max_value_bytes": 26 * 1024 * 1024}}, "args.limits.max_value_bytes"),
        ({"data_dir": "d", "limits": {"max_uploads": 0}}, "args.limits.max_uploads"),
        ({"data_dir": "d", "limits": {"request_timeout_s": float("inf")}}, "args.limits.request_timeout_s"),
        ({"data_dir": "d", "limits": {"cache_bytes": 2**64}}, "args.limits.cache_bytes"),
        ({"data_dir": "d", "limits": {"write_buffer_bytes": 2**62}}, "args.limits.write_buffer_bytes"),
        ({"data_dir": "d", "limits": {"max_group_bytes": 10**40}}, "args.limits.max_group_bytes"),
        ({"data_dir": "d", "limits": {"disk_reserve_bytes": 10**30}}, "args.limits.disk_reserve_bytes"),
        ({"data_dir": "d", "limits": {"max_group_writes": True}}, "args.limits.max_group_writes"),
        ({"data_dir": "d", "allowed_hosts": [":::::"]}, "':::::' is no host"),
        ({"data_dir": "d", "auth": {"tokens": "t"}}, "args.auth.tokens: unknown setting"),
        ({"data_dir": "d", "redis": {}}, "args.redis.port"),
        ({"data_dir": "d", "redis": {"port": 0}}, "args.redis.port"),
        ({"data_dir": "d", "redis": {"port": "6379"}}, "args.redis.port"),
        ({"data_dir": "d", "redis": {"port": 6379, "password": "x"}}, "args.redis.password: unknown setting"),
        ({"data_dir": "d", "redis": {"port": 6379, "host": "a b"}}, "'a b' is no host to listen on"),
        ({"data_dir": "d", "redis": {"port": 6379, "host": "0.0.0.0"}}, "redis.host is reached from other machines"),
        ({"data_dir": "d", "redis": {"port": 6379, "host": "store.example.com"}}, "redis.host is reached from other"),
        ({"data_dir": "d", "auth": {"tokens_file": " "}}, "args.auth.tokens_file: must name a file"),
        ({"data_dir": "d", "auth": {"tokens_file": "a\0b"}}, "args.auth.tokens_file: must name a file"),
        ({"data_dir": "d", "auth": {"tokens_file": "~nosuchuser/t"}}, "args.auth.tokens_file: names the home folder"),
    ],
)
def test_wrong_args_are_refused_by_name_when_the_application_is_built(args: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError) as refused:
        build(args)
    assert named in str(refused.value)


@pytest.mark.parametrize("count", [0, 65, -1, "2", 2.0, None, True])
def test_a_bucket_count_is_a_whole_number_from_1_to_64(count: Any) -> None:
    with pytest.raises(ValidationError) as refused:
        UserConfig.model_validate({"bucket_count": count})
    assert "user_config.bucket_count" in explain(refused.value, "user_config")


def test_a_relative_data_dir_is_made_absolute() -> None:
    assert Settings(data_dir=Path("data")).data_dir == Path.cwd() / "data"


def test_a_relative_tokens_file_is_made_absolute_and_there_is_none_by_default() -> None:
    assert (
        Settings(data_dir=Path("data"), auth=Auth(tokens_file=Path("tokens"))).auth.tokens_file == Path.cwd() / "tokens"
    )
    assert Settings(data_dir=Path("data")).auth.tokens_file is None


def test_buckets_are_not_replaced_where_tokens_are_turned_on() -> None:
    without = build_of(Settings(data_dir=Path("data")))
    tokens = build_of(Settings(data_dir=Path("data"), auth=Auth(tokens_file=Path("tokens"))))
    assert tokens.fingerprint == without.fingerprint
    assert tokens.settings.auth.tokens_file == Path.cwd() / "tokens"
    assert build_of(Settings(data_dir=Path("other"))).fingerprint != without.fingerprint
    redis = build_of(Settings(data_dir=Path("data"), redis=Redis(port=6379)))
    assert redis.fingerprint == without.fingerprint, "nor where the Redis protocol is spoken"


@pytest.mark.parametrize(
    ("tokens", "named", "host"),
    [
        (False, None, "127.0.0.1"),
        (False, "::1", "::1"),
        (False, "localhost", "localhost"),
        (True, None, "0.0.0.0"),
        (True, "10.0.0.1", "10.0.0.1"),
        (True, "127.0.0.1", "127.0.0.1"),
    ],
)
def test_without_tokens_the_redis_protocol_is_spoken_on_loopback_alone(
    tokens: bool, named: str | None, host: str, tmp_path: Path
) -> None:
    (tmp_path / "tokens").touch()
    auth = Auth(tokens_file=tmp_path / "tokens") if tokens else Auth()
    build = build_of(Settings(data_dir=Path("data"), auth=auth, redis=Redis(port=6379, host=named)), "127.0.0.1")
    face = redis_of(build, Directory.__new__(Directory), gate_of(build))
    assert face is not None
    assert (face.host, face.port, face.tokens is not None) == (host, 6379, tokens)
    assert redis_of(build_of(Settings(data_dir=Path("data"))), Directory.__new__(Directory), None) is None


@pytest.mark.parametrize(
    ("tokens", "loopback", "said"), [(False, False, True), (True, False, False), (False, True, False)]
)
def test_an_open_api_is_said_where_others_reach_it(
    tokens: bool, loopback: bool, said: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tokens").touch()
    auth = Auth(tokens_file=tmp_path / "tokens") if tokens else Auth()
    warned: list[str] = []
    monkeypatch.setattr(events, "warning", lambda event, **fields: warned.append(event))
    gate = gate_of(build_of(Settings(data_dir=Path("data"), auth=auth), "127.0.0.1" if loopback else ""))
    assert (gate is not None) == tokens
    assert warned == ["api open"] * said


def test_the_limits_that_ship_are_within_their_bounds() -> None:
    assert Limits.model_validate(Limits().model_dump()) == Limits()


def test_a_buckets_limits_reach_its_storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest group too: by it a torn end of the log is told from a loss."""

    class Opened(Exception):
        pass

    def opening(folder: Path, bucket_id: int, **sizes: int) -> None:
        raise Opened(folder, bucket_id, sizes)

    monkeypatch.setattr(bucket_actor, "open_folder", opening)
    actor = bucket_actor.BucketActor.__new__(bucket_actor.BucketActor)  # without its thread
    actor._bucket_id = 3
    with pytest.raises(Opened) as opened:
        actor._open(tmp_path, Limits(cache_bytes=11 * MIB, write_buffer_bytes=12 * MIB, max_group_bytes=99 * MIB))
    sizes = {"cache_bytes": 11 * MIB, "write_buffer_bytes": 12 * MIB, "max_group_bytes": 99 * MIB}
    assert opened.value.args == (tmp_path, 3, sizes)
