"""An API server in memory, behind real HTTP: so the official client, its errors and our paths are part of what is tested.

It records every call in order, holds objects, and can be told to refuse. `FakeOperator` (fake_operator.py) does KubeRay's
and Kubernetes' part on top of it, one step at a time.
"""

from __future__ import annotations

import copy
import itertools
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml
from kubernetes.client import ApiClient, Configuration
from urllib3 import Retry

from kuberay.clock import Clock

Document = dict[str, Any]

_OBJECT = re.compile(
    r"/(?:api/v1|apis/(?P<group>[^/]+)/[^/]+)(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+))?"
)
_PROXY = re.compile(r"/api/v1/namespaces/[^/]+/services/(?P<service>[^/]+)/proxy/(?P<path>.*)")
_LOG = re.compile(r"/api/v1/namespaces/[^/]+/pods/(?P<name>[^/]+)/log")
_SELECTED = re.compile(r"(?P<label>[^=,() ]+)(?:=(?P<value>[^,()]+)| in \((?P<values>[^)]*)\))")
START = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


class FakeKubernetes:
    """`objects` by (plural, namespace, name); a namespace's own namespace is empty."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Document] = {}
        #: Every call, like `apply rayservices/cloud-storage`; `writes` leaves out what changes nothing.
        self.calls: list[str] = []
        self.has_kuberay = True
        #: Answers of the store through the service proxy, by path.
        self.store: Callable[[str], tuple[int, Any]] = lambda path: (503, _status(503, "no endpoints available"))
        #: The headers, in lower case, that the store was shown last.
        self.shown: dict[str, str] = {}
        self.logs: dict[str, str] = {}
        #: Called with each call before it is done; what it returns is answered instead.
        self.refuse: Callable[[str], tuple[int, str] | None] = lambda call: None
        self.on_write: Callable[[], None] = lambda: None
        self._versions = itertools.count(1)
        self._lock = threading.RLock()

    @property
    def writes(self) -> list[str]:
        return [call for call in self.calls if call.split()[0] in ("apply", "patch", "delete", "create")]

    def get(self, plural: str, name: str, namespace: str = "cloud-storage") -> Document:
        return self.objects[plural, namespace, name]

    def all(self, plural: str) -> list[Document]:
        return [document for key, document in sorted(self.objects.items()) if key[0] == plural]

    def put(self, plural: str, document: Document, namespace: str = "cloud-storage") -> Document:
        """Place an object as if somebody else had made it."""
        with self._lock:
            document = copy.deepcopy(document)
            metadata = document["metadata"]
            metadata["resourceVersion"] = str(next(self._versions))
            metadata.setdefault("generation", 1)
            metadata.setdefault("uid", f"uid-{metadata['resourceVersion']}")
            if plural != "namespaces":
                metadata.setdefault("namespace", namespace)
            self.objects[plural, "" if plural == "namespaces" else namespace, metadata["name"]] = document
            return document

    def remove(self, plural: str, name: str, namespace: str = "cloud-storage") -> None:
        with self._lock:
            self.objects.pop((plural, namespace, name), None)

    # -- one request ---------------------------------------------------------------------------------------------

    def answer(self, method: str, url: str, content_type: str, body: bytes) -> tuple[int, Any]:
        with self._lock:
            split = urlsplit(url)
            path, query = unquote(split.path), {name: values[0] for name, values in parse_qs(split.query).items()}
            if match := _PROXY.fullmatch(path):
                self.calls.append(f"ask /{match['path']}")
                return self._refused(self.calls[-1]) or self.store(match["path"])
            if match := _LOG.fullmatch(path):
                self.calls.append(f"log pods/{match['name']}")
                refused = self._refused(self.calls[-1])
                return refused or (200, self.logs.get(match["name"], ""))
            match = _OBJECT.fullmatch(path)
            assert match, path
            namespace = match["namespace"] or ""
            plural, name = match["plural"], match["name"] or ""
            if plural == "namespaces":
                namespace = ""
            verb = _verb(method, name, content_type)
            if query.get("dryRun"):
                verb = f"dry-run {verb}"
            self.calls.append(f"{verb} {plural}/{name}" if name else f"{verb} {plural}")
            refused = self._refused(self.calls[-1])
            if refused:
                return refused
            if match["group"] == "ray.io" and not self.has_kuberay:
                return 404, _status(404, "the server could not find the requested resource")
            document = yaml.safe_load(body) if body else {}
            status, answer = self._do(verb, (plural, namespace, name), document or {}, query)
        if not verb.startswith(("get", "list", "dry-run")):
            self.on_write()
        return status, answer

    def _refused(self, call: str) -> tuple[int, Any] | None:
        refusal = self.refuse(call)
        return (refusal[0], _status(*refusal)) if refusal else None

    def _do(self, verb: str, key: tuple[str, str, str], body: Document, query: dict[str, str]) -> tuple[int, Any]:
        plural, namespace, name = key
        existing = self.objects.get(key)
        if verb == "list":
            found = [
                document
                for (its_plural, its_namespace, _), document in sorted(self.objects.items())
                if (its_plural, its_namespace) == (plural, namespace)
                and _selected(document, query.get("labelSelector", ""))
            ]
            bare = [{key: value for key, value in each.items() if key not in ("kind", "apiVersion")} for each in found]
            return 200, {"kind": "List", "apiVersion": "v1", "items": bare}
        if verb == "create":
            name = body["metadata"]["name"]
            if (plural, namespace, name) in self.objects:
                return 409, _status(409, f'{plural} "{name}" already exists')
            return 201, self.put(plural, body, namespace)
        if verb.endswith("apply"):
            merged = _merged(existing or {}, body)
            return 200, merged if verb.startswith("dry-run") else self._store(key, existing, merged)
        if existing is None:
            return 404, _status(404, f'{plural} "{name}" not found')
        if verb == "patch":
            version = body.get("metadata", {}).get("resourceVersion")
            if version not in (None, existing["metadata"]["resourceVersion"]):
                return 409, _status(
                    409, "the object has been modified; please apply your changes to the latest version"
                )
            return 200, self._store(key, existing, _merged(existing, body))
        if verb == "delete":
            if existing["metadata"].get("finalizers"):
                existing["metadata"]["deletionTimestamp"] = "2026-01-01T12:00:00Z"
            else:
                del self.objects[key]
            return 200, _status(200, "")
        return 200, existing

    def _store(self, key: tuple[str, str, str], existing: Document | None, merged: Document) -> Document:
        if existing is not None and existing.get("spec") != merged.get("spec"):
            merged["metadata"]["generation"] = existing["metadata"].get("generation", 1) + 1
        return self.put(key[0], merged, key[1])

    # -- over HTTP -----------------------------------------------------------------------------------------------

    @contextmanager
    def served(self) -> Iterator[ApiClient]:
        """A client of the real library that talks to this."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        configuration = Configuration()
        configuration.host = f"http://127.0.0.1:{server.server_port}"
        configuration.retries = Retry(total=0)
        client: Any = ApiClient(configuration)
        try:
            yield client
        finally:
            client.close()
            server.shutdown()
            server.server_close()
            thread.join()


class FakeClock(Clock):
    """Time passes only when somebody sleeps; `on_sleep` is what happens meanwhile."""

    def __init__(self, on_sleep: Callable[[], None] = lambda: None) -> None:
        self.passed_s = 0.0
        self.on_sleep = on_sleep

    def monotonic_s(self) -> float:
        return self.passed_s

    def now(self) -> datetime:
        return START + timedelta(seconds=self.passed_s)

    def sleep(self, seconds: float) -> None:
        self.passed_s += seconds
        self.on_sleep()


def _handler(fake: FakeKubernetes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            # As the API server does, which keeps to itself what it was shown.
            fake.shown = {name.lower(): value for name, value in self.headers.items() if name != "Authorization"}
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, answer = fake.answer(self.command, self.path, self.headers.get("Content-Type", ""), body)
            text = answer if isinstance(answer, str) else json.dumps(answer)
            self.send_response(status)
            self.send_header("Content-Length", str(len(text.encode())))
            self.send_header("Content-Type", "text/plain" if isinstance(answer, str) else "application/json")
            self.end_headers()
            self.wfile.write(text.encode())

        do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    return Handler


def _verb(method: str, name: str, content_type: str) -> str:
    if method == "GET":
        return "get" if name else "list"
    if method == "PATCH":
        return "apply" if "apply-patch" in content_type else "patch"
    return {"POST": "create", "DELETE": "delete"}[method]


def _merged(old: Any, new: Any) -> Any:
    """RFC 7386."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return copy.deepcopy(new)
    merged = copy.deepcopy(old)
    for key, value in new.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged(merged.get(key), value)
    return merged


def _selected(document: Document, selector: str) -> bool:
    labels = document["metadata"].get("labels") or {}
    for match in _SELECTED.finditer(selector):
        wanted = [match["value"]] if match["value"] else [value.strip() for value in match["values"].split(",")]
        if labels.get(match["label"]) not in wanted:
            return False
    return True


def _status(code: int, message: str) -> Document:
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}
