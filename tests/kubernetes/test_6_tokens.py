"""Tokens on a cluster: a way in from outside is refused without them; they come and go without a restart.

Last, for meanwhile the store asks for tokens, which the other tests have none of.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from kuberay.manifests import REDIS_API_PORT
from tests.kubernetes.cluster import until
from tests.kubernetes.load_pod import NAME as LOAD_POD
from tests.kubernetes.store import SERVICE, Store
from tests.kubernetes.test_4_commands import opened

#: The kubelet hands a changed secret on within its sync period and its cache's time to live: some 90 s.
_HANDED_ON_S = 180
#: As long as a pod takes to go and another one to come, and more.
_REDIS_S = 80.0
_REDIS_LOAD = Path(__file__).with_name("redis_load.py")
_GET_HEALTH = """
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], timeout=5).status)
"""


@pytest.mark.timeout(1200)
def test_tokens_open_the_store_to_the_outside_and_are_revoked_without_a_restart(store: Store) -> None:
    buckets = store.topology()["bucket_count"]
    store.wait_until_whole(buckets)
    said = store.command("deploy", "--service-type", "NodePort", status=1)
    assert "--no-tokens" in said
    assert "token create" in said
    assert store.kubectl.get("service", SERVICE)["spec"]["type"] == "ClusterIP"

    app = token_of(store.command("token", "create", "app", "--scope", "read,write", "--prefix", "app/"))
    ops = token_of(store.command("token", "create", "ops", "--scope", "read,write,admin"))
    secret = json.dumps(store.kubectl.get("secret", "cloud-storage-tokens"))
    assert app not in secret
    assert ops not in secret
    listed = store.command("token", "list")
    assert "app/" in listed
    assert app not in listed

    store.command("deploy", "--service-type", "NodePort", timeout_s=400, token=ops)
    until(lambda: asks_for_tokens(store), "the store to ask for tokens")
    assert "reach the store" not in store.command("status", token=ops)
    assert health_by_node_port(store) == "200"
    pods = store.lives()
    with opened(store) as url:
        anonymous, by_app, by_ops = (httpx.Client(base_url=url, headers=headers(token)) for token in ("", app, ops))
        assert status_of(anonymous, "/v1/kv/app/x") == 401
        until(lambda: status_of(by_app, "/v1/kv/app/x") == 404, "directories to have the tokens", _HANDED_ON_S)
        assert by_app.put("/v1/kv/app/x", content=b"1").status_code == 201
        assert by_app.put("/v1/kv/other", content=b"1").status_code == 403
        assert status_of(by_app, "/topology") == 403
        assert by_ops.get("/topology").json()["bucket_count"] == buckets
        assert by_ops.get("/v1/kv/app/x").content == b"1"
        store.command("token", "revoke", "app")
        started_s = time.monotonic()
        until(lambda: always(by_app, "/v1/kv/app/x", 401), "the token to be revoked everywhere", _HANDED_ON_S)
        print(f"revoked everywhere after {time.monotonic() - started_s:.0f} s")
        assert by_ops.get("/v1/kv/app/x").content == b"1"
    assert store.lives() == pods, "no pod and no bucket was started anew"

    speaks_redis_while_a_directory_goes(store, ops)

    # An update that does not say so opens nothing; --no-tokens does.
    store.command("deploy", "--service-type", "ClusterIP", timeout_s=400, token=ops)
    assert asks_for_tokens(store)
    assert "only where tokens are asked for" in store.command("deploy", "--no-tokens", status=1, token=ops)
    store.command("deploy", "--no-tokens", "--no-redis", timeout_s=400, token=ops)
    until(lambda: not asks_for_tokens(store), "the store to be open inside the cluster again")
    store.wait_until_whole(buckets)


def speaks_redis_while_a_directory_goes(store: Store, token: str) -> None:
    """The same store by the Redis protocol: no command fails where a directory's pod is deleted, for a client that connects
    anew."""
    store.command("deploy", "--redis", timeout_s=400, token=token)
    until(lambda: all_speak_redis(store, token), "directories to speak the Redis protocol", _HANDED_ON_S)
    with ThreadPoolExecutor(4) as pool:
        loads = [pool.submit(by_redis, store, token, _REDIS_S) for _ in range(4)]
        time.sleep(_REDIS_S / 4)  # in the middle of that load
        gone = store.kubectl.pods("ray.io/group=directory")[0]["metadata"]["name"]
        store.kubectl.run("delete", "pod", gone, "--wait=false")
        accounts = [each.result() for each in loads]
    print(f"by the Redis protocol: {accounts}")
    assert [account["wrong"] for account in accounts] == [[]] * 4
    assert max(account["connections"] for account in accounts) > 7, "none was on the pod that went"
    assert min(account["commands"] for account in accounts) > 500
    until(lambda: store.kubectl.ready("ray.io/group=directory", 2), "another directory", 300)


def all_speak_redis(store: Store, token: str) -> bool:
    """Each directory by itself."""
    pods = store.kubectl.pods("ray.io/group=directory")
    addresses = [(pod["status"].get("podIP", ""), str(REDIS_API_PORT)) for pod in pods]
    return len(addresses) == 2 and all(by_redis(store, token, 0.1, *each)["wrong"] == [] for each in addresses)


def by_redis(
    store: Store, token: str, seconds: float, host: str = "cloud-storage-redis-api", port: str = "6379"
) -> dict[str, Any]:
    """The account of a load inside the cluster."""
    arguments = (host, port, token, str(seconds))
    said = store.kubectl.exec(
        LOAD_POD, "python", "-", *arguments, stdin=_REDIS_LOAD.read_text(), timeout_s=seconds + 60
    )
    account: dict[str, Any] = json.loads(said.splitlines()[-1])
    return account


def token_of(said: str) -> str:
    """The token that `token create` printed."""
    (found,) = {word for word in said.split() if word.startswith("cs_")}
    return found


def headers(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def status_of(client: httpx.Client, path: str) -> int:
    return client.get(path, timeout=30).status_code


def always(client: httpx.Client, path: str, status: int) -> bool:
    """Whether all of some requests over connections of their own, so to both directories, are answered so."""
    return all(
        httpx.get(str(client.base_url).rstrip("/") + path, headers=client.headers, timeout=30).status_code == status
        for _ in range(12)
    )


def asks_for_tokens(store: Store) -> bool:
    """Whether the store lets nobody in who has no token."""
    try:
        store.http("/topology")
    except AssertionError as error:
        return "Unauthorized" in str(error) or "logged in" in str(error)
    return False


def health_by_node_port(store: Store) -> str:
    """What a pod gets at the address of its node."""
    (port,) = (each["nodePort"] for each in store.kubectl.get("service", SERVICE)["spec"]["ports"])
    node = store.kubectl.get("pod", LOAD_POD)["status"]["hostIP"]
    return store.kubectl.exec(LOAD_POD, "python", "-c", _GET_HEALTH, f"http://{node}:{port}/health").strip()
