"""Makes the password of the store's Redis, once, inside the cluster: no manifest holds a secret.

Runs as an init container of the Redis pod, in the store's image, with nothing but Python's standard library and the pod's
service account, which may create secrets. A secret that is there already is kept, so a Redis pod that comes back finds the
password that Ray's head knows.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import secrets
import ssl
import sys
from pathlib import Path
from typing import Any

#: Where a pod finds its service account (https://kubernetes.io/docs/tasks/run-application/access-api-from-pod).
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TIMEOUT_S = 20.0
_PASSWORD_BYTES = 32


def main(name: str) -> None:
    """Create the secret `name` with a random `password`, unless it exists.

    Raises:
        SystemExit: the API server refused; its answer says why.
    """
    namespace = (SERVICE_ACCOUNT / "namespace").read_text().strip()
    password = base64.b64encode(secrets.token_hex(_PASSWORD_BYTES).encode()).decode()
    labels = {"app.kubernetes.io/name": "cloud-storage", "app.kubernetes.io/component": "redis"}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": labels},
        "data": {"password": password},
    }
    status, answer = _post(f"/api/v1/namespaces/{namespace}/secrets", secret)
    if status == http.HTTPStatus.CREATED:
        sys.stdout.write(f"made the secret {name}\n")
    elif status == http.HTTPStatus.CONFLICT:
        sys.stdout.write(f"the secret {name} is there already\n")
    else:
        sys.exit(f"the secret {name} could not be made: {status} {answer.get('message', '')}")


def _post(path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPSConnection(
        os.environ["KUBERNETES_SERVICE_HOST"],
        int(os.environ["KUBERNETES_SERVICE_PORT"]),
        timeout=_TIMEOUT_S,
        context=ssl.create_default_context(cafile=str(SERVICE_ACCOUNT / "ca.crt")),
    )
    token = (SERVICE_ACCOUNT / "token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    connection.request("POST", path, json.dumps(body), headers)
    response = connection.getresponse()
    return response.status, json.loads(response.read() or b"{}")


if __name__ == "__main__":
    main(*sys.argv[1:])
