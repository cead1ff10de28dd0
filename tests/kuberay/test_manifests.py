"""What is applied is what the files say, and what the options ask for."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from dotenv import dotenv_values

from kuberay import groups
from kuberay.manifests import FOLDER, REDIS_API_PORT, TOKENS_FILE, VARIANTS, Options, render, to_yaml
from kuberay.tokens import KEY, SECRET
from serve_app.command_output.failure import Failure

ROOT = FOLDER.parent
Document = dict[str, Any]


def rayservice(options: Options) -> Document:
    return next(each for each in render(options) if each["kind"] == "RayService")


def pod_templates(objects: list[Document]) -> dict[str, Document]:
    """Every pod template by the name of what makes it."""
    found = {}
    for each in objects:
        if each["kind"] == "Deployment":
            found[each["metadata"]["name"]] = each["spec"]["template"]
        if each["kind"] == "RayService":
            cluster = each["spec"]["rayClusterConfig"]
            found["head"] = cluster["headGroupSpec"]["template"]
            found.update({group["groupName"]: group["template"] for group in cluster["workerGroupSpecs"]})
    return found


def containers(template: Document) -> list[Document]:
    return [*template["spec"]["containers"], *template["spec"].get("initContainers", [])]


def test_the_defaults_are_the_file() -> None:
    by_hand = list(yaml.safe_load_all((ROOT / "kuberay" / "rayservice.yaml").read_text()))
    assert list(yaml.safe_load_all(to_yaml(render(Options())))) == by_hand


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("buckets", [1, 2, 5])
def test_every_bucket_has_a_group_a_claim_and_a_resource_of_its_own(variant: str, buckets: int) -> None:
    objects = render(Options(variant=variant, buckets=buckets))
    service = rayservice(Options(variant=variant, buckets=buckets))
    assert list(groups.bucket_groups(service)) == list(range(buckets))
    claims = {each["metadata"]["name"] for each in objects if each["kind"] == "PersistentVolumeClaim"}
    for bucket_id, group in groups.bucket_groups(service).items():
        assert group["resources"] == {"CPU": "0", f"bucket-{bucket_id}": "1"}
        assert (group["replicas"], group["maxReplicas"]) == (1, 1)
        volumes = group["template"]["spec"]["volumes"]
        assert volumes == [
            {"name": "data", "persistentVolumeClaim": {"claimName": f"cloud-storage-bucket-{bucket_id}"}}
        ]
        assert f"cloud-storage-bucket-{bucket_id}" in claims
    assert {name for name in claims if "bucket" in name} == {f"cloud-storage-bucket-{n}" for n in range(buckets)}
    assert groups.bucket_count(service) == buckets
    budgets = {each["metadata"]["name"]: each for each in objects if each["kind"] == "PodDisruptionBudget"}
    assert budgets["cloud-storage-buckets"]["spec"]["minAvailable"] == buckets - 1


def test_the_directories_group_comes_first_and_alone_names_the_serve_port() -> None:
    service = rayservice(Options(directories=3))
    directory, *buckets = groups.worker_groups(service)
    assert directory["groupName"] == "directory"
    assert directory["replicas"] == directory["maxReplicas"] == groups.directories(service) == 3
    assert directory["resources"] == {"CPU": "0", "directory": "1"}
    templates = pod_templates(render(Options(directories=3)))
    naming = {
        name
        for name, template in templates.items()
        if any(port["name"] == "serve" for container in containers(template) for port in container.get("ports", []))
    }
    assert naming == {"directory"}
    assert len(buckets) == 2


def test_the_small_variant_has_its_directory_on_the_head_and_no_redis() -> None:
    objects = render(Options(variant="small"))
    service = rayservice(Options(variant="small"))
    assert not groups.has_directory_group(service)
    assert groups.directories(service) == 1
    head = service["spec"]["rayClusterConfig"]["headGroupSpec"]
    assert head["resources"] == {"CPU": "0", "directory": "1"}
    assert service["spec"]["excludeHeadPodFromServeSvc"] is False
    assert "gcsFaultToleranceOptions" not in service["spec"]["rayClusterConfig"]
    of_redis = [each["metadata"]["name"] for each in objects if "redis" in each["metadata"]["name"]]
    assert of_redis == ["cloud-storage-redis-api"], "the store's own, by that protocol"
    assert "redis" not in str(service).lower()


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_serve_configuration_is_the_local_one_but_for_what_a_cluster_needs(variant: str) -> None:
    local = yaml.safe_load((ROOT / "serve_config.yaml").read_text())
    here = yaml.safe_load(rayservice(Options(variant=variant))["spec"]["serveConfigV2"])
    local["http_options"]["host"] = "0.0.0.0"
    local["applications"][0]["args"] = {"data_dir": "/data", "pin_buckets": True}
    deployment = local["applications"][0]["deployments"][0]
    deployment["num_replicas"] = 1 if variant == "small" else 2
    deployment["ray_actor_options"] = {"num_cpus": 0, "resources": {"directory": 1}}
    assert here == local
    with_tokens = yaml.safe_load(rayservice(Options(variant=variant, tokens=True))["spec"]["serveConfigV2"])
    assert with_tokens["applications"][0]["args"].pop("auth") == {"tokens_file": TOKENS_FILE}
    assert with_tokens == local


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_redis_protocol_is_a_line_of_the_configuration_and_a_service_that_leads_to_directories(
    variant: str,
) -> None:
    options = Options(variant=variant, tokens=True, redis=True)
    objects = render(options)
    configuration = yaml.safe_load(rayservice(options)["spec"]["serveConfigV2"])
    assert configuration["applications"][0]["args"]["redis"] == {"port": REDIS_API_PORT}
    assert groups.redis_port(rayservice(options)) == REDIS_API_PORT
    without = groups.with_redis_port(rayservice(options), 0)
    assert without == rayservice(Options(variant=variant, tokens=True))
    (service,) = [each for each in objects if each["metadata"]["name"] == "cloud-storage-redis-api"]
    assert [(port["port"], port["targetPort"]) for port in service["spec"]["ports"]] == [(6379, REDIS_API_PORT)]
    selected = {
        name
        for name, template in pod_templates(objects).items()
        if service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    }
    assert selected == {"head" if variant == "small" else "directory"}


@pytest.mark.parametrize("variant", VARIANTS)
def test_pods_with_directories_and_no_others_see_the_tokens(variant: str) -> None:
    """The secret need not be there, so that a store without tokens starts; it appears in running pods when it is made."""
    seeing = set()
    for name, template in pod_templates(render(Options(variant=variant))).items():
        for volume in template["spec"].get("volumes", []):
            if volume["name"] == "tokens":
                seeing.add(name)
                assert volume["secret"] == {"secretName": SECRET, "optional": True, "defaultMode": 0o440}
                (mount,) = [each for each in containers(template)[0]["volumeMounts"] if each["name"] == "tokens"]
                assert mount == {"name": "tokens", "mountPath": str(Path(TOKENS_FILE).parent), "readOnly": True}
                assert Path(TOKENS_FILE).name == KEY
    assert seeing == {"head" if variant == "small" else "directory"}


def test_image_and_pods_have_serve_env_word_for_word() -> None:
    settings = dotenv_values(ROOT / "serve.env")
    dockerfile = (ROOT / "kuberay" / "Dockerfile").read_text()
    block = re.search(r"# serve\.env.*?\nENV (.*?)\n(?:#|ENV) ", dockerfile, re.DOTALL)
    assert block is not None
    assert dict(pair.split("=") for pair in block[1].replace("\\\n", " ").split()) == settings
    for name, template in pod_templates(render(Options())).items():
        if name != "cloud-storage-redis":
            environment = {each["name"]: each.get("value") for each in template["spec"]["containers"][0]["env"]}
            assert {key: environment[key] for key in settings} == settings, name
            assert "RAY_AUTH_MODE" not in environment, "KubeRay sets it only where the container does not"


@pytest.mark.parametrize("variant", VARIANTS)
def test_pods_satisfy_the_restricted_level(variant: str) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted"""
    objects = render(Options(variant=variant))
    namespace = next(each for each in objects if each["kind"] == "Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for name, template in pod_templates(objects).items():
        pod = template["spec"]["securityContext"]
        assert pod["runAsNonRoot"] is True, name
        assert pod["runAsUser"] > 0, name
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert template["spec"]["automountServiceAccountToken"] is False, name
        for container in containers(template):
            context = container["securityContext"]
            assert context == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}, name
            for bound in ("requests", "limits"):
                assert set(container["resources"][bound]) == {"cpu", "memory"}, name
            assert container.get("imagePullPolicy") != "Always", "there may be nothing to pull from"


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_secret_is_in_a_manifest(variant: str) -> None:
    objects = render(Options(variant=variant))
    assert not [each for each in objects if each["kind"] == "Secret"]
    for template in pod_templates(objects).values():
        for container in containers(template):
            for variable in container.get("env", []):
                secret = re.search("PASSWORD|TOKEN|SECRET", variable["name"])
                assert not secret or "secretKeyRef" in variable["valueFrom"], variable


@pytest.mark.parametrize("variant", VARIANTS)
def test_names_images_and_sizes_are_taken_everywhere(variant: str) -> None:
    options = Options(
        namespace="elsewhere",
        image="registry.example/store:2",
        redis_image="registry.example/redis:8",
        storage="7Gi",
        storage_class="fast",
        access_mode="ReadWriteOnce",
        service_type="NodePort",
        node_port=30080,
        variant=variant,
    )
    objects = render(options)
    for each in objects:
        metadata = each["metadata"]
        assert (metadata["name"] if each["kind"] == "Namespace" else metadata["namespace"]) == "elsewhere"
        for subject in each.get("subjects", []):
            assert subject["namespace"] == "elsewhere"
    images = {container["image"] for template in pod_templates(objects).values() for container in containers(template)}
    assert images <= {"registry.example/store:2", "registry.example/redis:8"}
    claims = [each["spec"] for each in objects if each["kind"] == "PersistentVolumeClaim"]
    assert {claim["storageClassName"] for claim in claims} == {"fast"}
    assert {claim["accessModes"][0] for claim in claims} == {"ReadWriteOnce"}
    assert [claim["resources"]["requests"]["storage"] for claim in claims[:2]] == ["7Gi", "7Gi"]
    service = rayservice(options)["spec"]["serveService"]["spec"]
    assert service["type"] == "NodePort"
    assert service["ports"] == [
        {"name": "serve", "port": 8000, "targetPort": "serve", "protocol": "TCP", "nodePort": 30080}
    ]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"namespace": "No Name"}, "'No Name' can't be a namespace's name"),
        ({"buckets": 0}, "the number of buckets is 1 to 64, not 0"),
        ({"buckets": 65}, "the number of buckets is 1 to 64, not 65"),
        ({"directories": 0}, "the number of directories is 1 to 64, not 0"),
        ({"directories": 2, "variant": "small"}, "the small variant has one directory"),
        ({"variant": "huge"}, "the variant is one of default, small, recommended, not 'huge'"),
        ({"service_type": "ExternalName"}, "the service type is one of ClusterIP, NodePort, LoadBalancer"),
        ({"access_mode": "ReadWriteMany"}, "the access mode is one of ReadWriteOncePod, ReadWriteOnce"),
        ({"storage": "much"}, "'much' is no size of a volume; write for example 20Gi"),
        ({"node_port": 30080}, "a node port goes with the service type NodePort, not ClusterIP"),
        ({"node_port": 80, "service_type": "NodePort"}, "a node port is 30000 to 32767, not 80"),
        ({"image": "two words"}, "'two words' is no image's name"),
        ({"redis": True}, "only where tokens are asked for"),
    ],
)
def test_a_wrong_option_is_named(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(Failure, match=re.escape(said)):
        render(Options(**wrong))


def test_the_dockerfile_leaves_nothing_to_the_running_user() -> None:
    dockerfile = (ROOT / "kuberay" / "Dockerfile").read_text()
    assert dockerfile.count("ARG BASE_IMAGE=rayproject/ray:2.60.0-py311\nFROM ${BASE_IMAGE}") == 1
    users = re.findall(r"^USER (.*)$", dockerfile, re.MULTILINE)
    assert users == ["root", "1000:100"], "what is copied belongs to root, and what runs does not run as root"
    assert "chown" not in dockerfile
    constraints = Path(ROOT / "constraints.txt").read_text()
    assert "ray==2.60.0" in constraints
    assert "--constraint constraints.txt" in dockerfile
    assert "--only-binary :all:" in dockerfile, "so no compiler is needed, and none is there"
