"""Every manifest is what Kubernetes and KubeRay take, down to the last field's name."""

from __future__ import annotations

from functools import cache
from typing import Any

import jsonschema
import pytest
import yaml
from kubernetes import client

from kuberay.manifests import FOLDER, VARIANTS, Options, render

CRDS = FOLDER.parent.parent / "shared" / "kube" / "crds"
Document = dict[str, Any]


def objects() -> list[Any]:
    found = []
    for variant in VARIANTS:
        for each in render(Options(variant=variant, buckets=3, storage_class="fast")):
            found.append(pytest.param(each, id=f"{variant}-{each['kind']}-{each['metadata']['name']}"))
    found.append(pytest.param(yaml.safe_load((FOLDER / "ingress.yaml").read_text()), id="ingress"))
    return found


@pytest.mark.parametrize("document", [each for each in objects() if each.values[0]["kind"] != "RayService"])
def test_kubernetes_knows_every_field(document: Document) -> None:
    """The official client's models drop fields that they don't know and refuse missing ones."""
    api: Any = client.ApiClient()
    read = api._ApiClient__deserialize(document, f"V1{document['kind']}")
    assert api.sanitize_for_serialization(read) == document


@pytest.mark.parametrize("document", [each for each in objects() if each.values[0]["kind"] == "RayService"])
def test_kuberays_definition_knows_every_field(document: Document) -> None:
    jsonschema.validate(document, strict_schema("rayservices"))


def test_the_check_of_fields_can_fail() -> None:
    document = render(Options())[-1]
    document["spec"]["rayClusterConfig"]["workerGroupSpecs"][1]["template"]["spec"]["volumes"][0]["claim"] = "x"
    with pytest.raises(jsonschema.ValidationError, match="'claim' was unexpected"):
        jsonschema.validate(document, strict_schema("rayservices"))


@cache
def strict_schema(plural: str) -> Document:
    """The definition's own schema, which besides takes no field that it does not name."""
    path = CRDS / f"ray.io_{plural}.yaml"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    versions = yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))["spec"]["versions"]
    schema: Document = next(each for each in versions if each["name"] == "v1")["schema"]["openAPIV3Schema"]
    schema["properties"]["metadata"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    _close(schema)
    return schema


def _close(schema: Any) -> None:
    if isinstance(schema, dict):
        open_on_purpose = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
        if isinstance(schema.get("properties"), dict) and not open_on_purpose:
            schema["additionalProperties"] = False
        for each in schema.values():
            _close(each)
    elif isinstance(schema, list):
        for each in schema:
            _close(each)
