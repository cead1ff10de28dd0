"""The cluster that KUBECONFIG names, with a store of its own in it for the session.

IMAGE is the store's image (cloud-storage:0.1.0), REDIS_IMAGE another Redis, STORAGE_CLASS another class than the default.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Iterator

import pytest

from tests.kubernetes import load_pod
from tests.kubernetes.cluster import Kubectl
from tests.kubernetes.report import ROWS, table
from tests.kubernetes.store import Store

IMAGE = os.environ.get("IMAGE", "cloud-storage:0.1.0")
DEPLOY_TIMEOUT_S = 300.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/kubernetes/" in item.nodeid:
            item.add_marker(pytest.mark.kubernetes)
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def kubectl() -> Kubectl:
    """A namespace that nobody else has."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("KUBECONFIG names no cluster: nothing was tested on Kubernetes")
    assert shutil.which("kubectl"), "these tests need kubectl"
    return Kubectl(f"cloud-storage-test-{secrets.token_hex(3)}")


@pytest.fixture(scope="session")
def store(kubectl: Kubectl) -> Iterator[Store]:
    """The store, deployed by the command, and deleted with its data afterwards."""
    settings = ["--image", IMAGE, "--storage", "1Gi"]
    for option, variable in (("--redis-image", "REDIS_IMAGE"), ("--storage-class", "STORAGE_CLASS")):
        if os.environ.get(variable):
            settings += [option, os.environ[variable]]
    store = Store(kubectl, IMAGE)
    try:
        output = store.command("deploy", *settings, timeout_s=DEPLOY_TIMEOUT_S)
        assert "cloud-storage-serve-svc" in output
        load_pod.start_pod(kubectl, IMAGE)
        yield store
    finally:
        if os.environ.get("KEEP"):
            sys.stderr.write(f"\nKEEP is set: the namespace {kubectl.namespace} is left as it is\n")
        else:
            store.command("delete", "--delete-data", "--yes", timeout_s=DEPLOY_TIMEOUT_S)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if ROWS:
        terminalreporter.section("availability")
        terminalreporter.write_line(table())
