"""The command line: help that explains itself, one sentence for what is wrong, and a clean end on Ctrl-C."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from kuberay import main
from kuberay.main import app
from tests.kuberay.fake_kubernetes import FakeKubernetes
from tests.kuberay.fake_operator import FakeOperator

COMMANDS = ["deploy", "status", "open", "scale", "upgrade", "logs", "delete", "token"]
CHANGING = {"deploy": [], "scale": ["3"], "upgrade": ["--image", "x:2"], "delete": []}


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKubernetes]:
    """A cluster that the kubeconfig names."""
    fake = FakeKubernetes()
    with fake.served() as client:
        path = tmp_path / "kubeconfig"
        document: Any = {
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": client.configuration.host}}],
            "users": [{"name": "u", "user": {}}],
        }
        path.write_text(yaml.safe_dump(document))
        monkeypatch.setenv("KUBECONFIG", str(path))
        yield fake


_WITHOUT_THE_EXTRA = """
import runpy, sys
sys.modules["kubernetes"] = None
sys.argv = ["kuberay", "status"]
runpy.run_module("kuberay", run_name="__main__")
"""


def test_without_what_its_extra_installs_it_says_so() -> None:
    done = subprocess.run([sys.executable, "-c", _WITHOUT_THE_EXTRA], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "error: kubernetes is not installed: pip install 'cloud-storage[kuberay]'\n"


def invoke(*arguments: str, answers: str | None = None) -> Any:
    return CliRunner().invoke(app, list(arguments), input=answers, env={"COLUMNS": "200"})


@pytest.mark.parametrize(
    "command", [*COMMANDS[:-1], *(f"token {each}" for each in ("create", "list", "revoke"))], ids=lambda name: name
)
def test_each_command_explains_itself(command: str) -> None:
    result = invoke(*command.split(), "--help")
    assert result.exit_code == 0
    for option in ("--namespace", "--context"):
        assert option in result.output
    assert ("--dry-run" in result.output) == (command in CHANGING)


def test_without_a_command_they_are_listed() -> None:
    assert all(command in invoke("--help").output for command in COMMANDS)


@pytest.mark.parametrize("command", [["status"], ["logs"], ["open"], ["scale", "3"], ["upgrade", "--image", "x:2"]])
def test_without_a_store_it_is_one_sentence(fake: FakeKubernetes, command: list[str]) -> None:
    result = invoke(*command)
    assert result.exit_code == 1
    assert result.stderr.strip() == (
        "error: there is no store in the namespace cloud-storage: start one with `python -m kuberay deploy`, "
        "or name its --namespace"
    )


@pytest.mark.parametrize("command", [["status"], ["deploy"], ["delete"], ["logs"], ["open"], ["scale", "3"]])
def test_without_a_cluster_it_is_one_sentence(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    result = invoke(*command)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: there is no kubeconfig: ")
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--buckets", "0"], "the number of buckets is 1 to 64, not 0"),
        (["--namespace", "No Such"], "'No Such' can't be a namespace's name"),
        (["--variant", "huge"], "the variant is one of default, small, recommended, not 'huge'"),
        (["--service-type", "Magic"], "the service type is one of ClusterIP, NodePort, LoadBalancer, not 'Magic'"),
        (["--storage", "lots"], "'lots' is no size of a volume"),
    ],
)
@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]])
def test_bad_options_are_one_sentence(
    fake: FakeKubernetes, options: list[str], sentence: str, dry_run: list[str]
) -> None:
    result = invoke("deploy", *options, *dry_run)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {sentence}")
    assert fake.writes == []


def test_deploy_and_delete_from_the_command_line(fake: FakeKubernetes) -> None:
    assert invoke("deploy", "--no-wait").exit_code == 0
    operator = FakeOperator(fake)
    for _ in range(10):
        operator.step()
    result = invoke("status")
    assert result.exit_code == 0
    assert "ready" in result.output
    result = invoke("delete", "--delete-data", answers="no\n")
    assert result.exit_code == 1
    assert "error: nothing was deleted: 'no' is not 'cloud-storage'" in result.stderr
    for command, arguments in CHANGING.items():
        before = list(fake.writes)
        result = invoke(command, *arguments, "--dry-run")
        assert fake.writes == before
        if command != "scale":  # which refuses, as without --dry-run
            assert result.exit_code == 0
            assert any(each["kind"] == "RayService" for each in yaml.safe_load_all(result.stdout))


def test_no_answer_is_no_agreement(fake: FakeKubernetes) -> None:
    assert invoke("deploy", "--no-wait").exit_code == 0
    result = invoke("delete", "--delete-data", answers="")
    assert result.exit_code == 1
    assert not [call for call in fake.writes if call.startswith("delete")]


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["deploy"], "Stopped waiting. What was applied stays; deploying again goes on."),
        (["status"], "Stopped."),
        (["scale", "3"], "Stopped following. What was asked for stays; `scale 3` again goes on."),
        (["upgrade", "--image", "x:2"], "Stopped half-way. Go on with `python -m kuberay upgrade --image x:2`."),
        (["delete"], "Stopped half-way. Deleting again goes on."),
    ],
)
def test_ctrl_c_ends_cleanly(command: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "open_session", interrupted)
    result = invoke(*command)
    assert result.exit_code == 130
    assert result.stderr.strip() == sentence
