"""The calls on Kubernetes, with the real client: what they send, and every way in which they fail."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.client import ApiClient, Configuration
from urllib3 import Retry

from kuberay.api.cluster import Cluster
from kuberay.api.connect import connect
from kuberay.api.errors import Refused, Unreachable
from kuberay.api.rayservice import RayServiceApi, cluster_name, condition
from kuberay.session import Session
from kuberay.store import Store
from serve_app.command_output.failure import Failure
from tests.kuberay.fake_kubernetes import FakeKubernetes


@pytest.fixture
def fake() -> FakeKubernetes:
    return FakeKubernetes()


@pytest.fixture
def client(fake: FakeKubernetes) -> Iterator[ApiClient]:
    with fake.served() as served:
        yield served


def service(name: str = "a", **status: Any) -> dict[str, Any]:
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": name},
        "spec": {"x": 1},
        "status": status,
    }


READY: dict[str, Any] = {"conditions": [{"type": "Ready", "status": "True"}]}


# -- RayServiceApi ---------------------------------------------------------------------------------------------------


def test_a_rayservice_lives_and_dies(fake: FakeKubernetes, client: ApiClient) -> None:
    api = RayServiceApi(client)
    assert api.get_ray_service("a", "n") is None
    assert api.create_ray_service(service(), "n")["metadata"]["name"] == "a"
    with pytest.raises(Refused, match=r"can't create the rayservice: .*already exists") as refused:
        api.create_ray_service(service(), "n")
    assert refused.value.status == 409
    assert [each["metadata"]["name"] for each in api.list_ray_services("n")] == ["a"]
    assert api.patch_ray_service("a", {"spec": {"y": 2}}, "n")["spec"] == {"x": 1, "y": 2}
    assert api.apply_ray_service(service(), "n", dry_run=True)["spec"] == {"x": 1, "y": 2}
    assert api.apply_ray_service({**service(), "spec": {"x": 3}}, "n")["spec"] == {"x": 3, "y": 2}
    assert api.delete_ray_service("a", "n") is True
    assert api.delete_ray_service("a", "n") is False
    assert fake.calls == [
        "get rayservices/a",
        "create rayservices",
        "create rayservices",
        "list rayservices",
        "patch rayservices/a",
        "dry-run apply rayservices/a",
        "apply rayservices/a",
        "delete rayservices/a",
        "delete rayservices/a",
    ]


def test_its_status(fake: FakeKubernetes, client: ApiClient) -> None:
    api = RayServiceApi(client)
    assert api.get_ray_service_status("a", "n") == {}
    fake.put("rayservices", service(**READY), "n")
    assert condition(api.get_ray_service_status("a", "n"), "Ready")
    assert not condition(api.get_ray_service_status("a", "n"), "Suspended")


def test_waiting_until_it_runs(fake: FakeKubernetes, client: ApiClient) -> None:
    api, slept = RayServiceApi(client), []
    fake.put("rayservices", service(), "n")

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            fake.put("rayservices", service(**READY), "n")

    assert api.wait_until_ray_service_running("a", "n", timeout=60, delay_between_attempts=5, sleep=sleep)
    assert slept == [5, 5, 5]


def test_waiting_ends(fake: FakeKubernetes, client: ApiClient) -> None:
    slept: list[float] = []
    fake.put("rayservices", service(), "n")
    api = RayServiceApi(client)
    assert not api.wait_until_ray_service_running("a", "n", timeout=12, delay_between_attempts=5, sleep=slept.append)
    assert sum(slept) == 12


def test_the_cluster_that_runs_is_the_active_one() -> None:
    assert cluster_name({}) == ""
    assert cluster_name(service(pendingServiceStatus={"rayClusterName": "new"})) == "new"
    both = service(pendingServiceStatus={"rayClusterName": "new"}, activeServiceStatus={"rayClusterName": "old"})
    assert cluster_name(both) == "old"


def test_a_change_that_keeps_losing_is_given_up(fake: FakeKubernetes, client: ApiClient) -> None:
    fake.put("rayservices", service("cloud-storage"))
    fake.refuse = lambda call: (409, "modified") if call.startswith("patch") else None
    with pytest.raises(Refused, match="can't change the rayservice cloud-storage: modified"):
        Session(client, "cloud-storage").change_service(lambda found: {})
    assert len(fake.writes) == 5


def test_a_cluster_that_is_gone_is_said(client: ApiClient) -> None:
    with pytest.raises(Failure, match="the raycluster x is gone: somebody else is at work on this store"):
        Session(client, "cloud-storage").change_ray_cluster("x", lambda found: {})


# -- failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (401, "the API server does not know who you are (401): log in again, or name another --context"),
        (403, "no permission to list pods: pods is forbidden"),
        (422, "can't list pods: pods is forbidden (422)"),
        (500, "can't list pods: pods is forbidden (500)"),
    ],
)
def test_refusals_are_sentences(fake: FakeKubernetes, client: ApiClient, status: int, sentence: str) -> None:
    fake.refuse = lambda call: (status, "pods is\n forbidden")
    with pytest.raises(Refused) as refused:
        Cluster(client, "n").list_all("Pod")
    assert str(refused.value) == sentence


def test_long_refusals_are_cut(fake: FakeKubernetes, client: ApiClient) -> None:
    fake.refuse = lambda call: (422, "x" * 5000)
    with pytest.raises(Refused) as refused:
        Cluster(client, "n").list_all("Pod")
    assert len(str(refused.value)) < 700


def client_of(host: str) -> ApiClient:
    configuration = Configuration()
    configuration.host, configuration.retries = host, Retry(total=1)
    return ApiClient(configuration)


def test_an_api_server_that_is_away_is_said() -> None:
    with pytest.raises(Unreachable, match=r"can't list pods: the API server does not answer: .*refused"):
        Cluster(client_of("http://127.0.0.1:9"), "n").list_all("Pod")
    with pytest.raises(Unreachable, match="does not answer"):
        RayServiceApi(client_of("http://127.0.0.1:9")).list_ray_services("n")


def test_an_api_server_that_nobody_can_find_is_said() -> None:
    with pytest.raises(Unreachable, match="does not answer"):
        Cluster(client_of("http://no-such-host.invalid"), "n").list_all("Pod")


def test_no_tls_where_it_is_expected_is_said(client: ApiClient) -> None:
    host = client.configuration.host.replace("http:", "https:")
    with pytest.raises(Unreachable, match="can't list pods: the API server does not answer: "):
        Cluster(client_of(host), "n").list_all("Pod")


@pytest.fixture
def login_page() -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>please log in</html>")

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_something_that_is_no_api_server_is_said(login_page: str) -> None:
    with pytest.raises(Refused, match="the answer is not from a Kubernetes API server; look at --context"):
        Cluster(client_of(login_page), "n").list_all("Pod")
    with pytest.raises(Refused, match="the answer is not from a Kubernetes API server"):
        RayServiceApi(client_of(login_page)).list_ray_services("n")
    with pytest.raises(Refused, match="the answer is not from a Kubernetes API server"):
        RayServiceApi(client_of(login_page)).get_ray_service("a", "n")


# -- the store through the API server --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "trouble"),
    [
        ((503, {"kind": "Status", "message": "no endpoints available"}), "no endpoints available"),
        ((503, {"title": "Unavailable", "detail": "bucket-1 is away"}), "bucket-1 is away"),
        ((500, "Internal Server Error"), "something answers 500, and it is not the store"),
        ((200, [1]), "something answers 200, and it is not the store"),
        ((502, {}), "it answers 502"),
        ((200, {"epoch": 1}), "its /topology is of another version than this command"),
    ],
)
def test_a_store_that_does_not_answer_says_why(
    fake: FakeKubernetes, client: ApiClient, answer: tuple[int, Any], trouble: str
) -> None:
    fake.store = lambda path: answer
    reply = Store(Cluster(client, "n")).topology()
    assert reply.topology is None
    assert reply.trouble == trouble
    assert not reply.all_reachable
    assert reply.unreachable == []


def test_a_store_behind_an_api_server_that_is_away() -> None:
    store = Store(Cluster(client_of("http://127.0.0.1:9"), "n"))
    assert "can't be reached through the API server" in store.topology().trouble
    assert not store.answers()


# -- kubeconfigs -----------------------------------------------------------------------------------------------------


@pytest.fixture
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "kubeconfig"
    path.write_text(
        yaml.safe_dump(
            {
                "current-context": "here",
                "contexts": [
                    {"name": "here", "context": {"cluster": "c", "user": "u"}},
                    {"name": "there", "context": {"cluster": "d", "user": "u"}},
                ],
                "clusters": [
                    {"name": "c", "cluster": {"server": "http://127.0.0.1:1111"}},
                    {"name": "d", "cluster": {"server": "http://127.0.0.1:2222"}},
                ],
                "users": [{"name": "u", "user": {"token": "secret"}}],
            }
        )
    )
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    return path


@pytest.mark.parametrize(("context", "port"), [(None, 1111), ("here", 1111), ("there", 2222)])
def test_the_context_says_which_cluster(kubeconfig: Path, context: str | None, port: int) -> None:
    assert connect(context).configuration.host == f"http://127.0.0.1:{port}"


def test_a_context_that_is_not_there_is_said_with_those_that_are(kubeconfig: Path) -> None:
    with pytest.raises(Failure, match=r"the kubeconfig .* can't be used: .*nowhere.*; it has the contexts here, there"):
        connect("nowhere")


def test_a_kubeconfig_that_is_missing_is_said(kubeconfig: Path) -> None:
    kubeconfig.unlink()
    with pytest.raises(Failure, match=r"there is no kubeconfig: .* is missing; set KUBECONFIG"):
        connect(None)


@pytest.mark.parametrize("text", ["", "{", "[1]", "a: 1", "contexts: 3", "current-context: x\ncontexts: [{}]"])
def test_a_kubeconfig_that_is_none_is_said(kubeconfig: Path, text: str) -> None:
    kubeconfig.write_text(text)
    with pytest.raises(Failure, match=r"^the kubeconfig "):
        connect(None)


def test_a_kubeconfig_that_can_not_be_read_is_said(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(**options: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("kuberay.api.connect.config.load_kube_config", denied)
    with pytest.raises(Failure, match=r"^the kubeconfig .* can't be read: Permission denied$"):
        connect(None)


def test_in_a_pod_without_a_service_account(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kubeconfig.unlink()
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    with pytest.raises(Failure, match="the pod's service account can't be used"):
        connect(None)
