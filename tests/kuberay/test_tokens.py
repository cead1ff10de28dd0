"""Tokens on Kubernetes: the secret, when a store asks for them, and what can be reached without."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from kuberay import groups, tokens
from kuberay.commands import deploy as deploy_command
from kuberay.commands import token as token_command
from kuberay.commands.delete import delete
from kuberay.commands.deploy import deploy
from kuberay.commands.scale import scale
from kuberay.commands.status import status
from kuberay.manifests import FOLDER, REDIS_API_PORT, TOKENS_FILE, Options
from serve_app.auth.secret import digest_of
from serve_app.auth.tokens_file import parse
from serve_app.command_output.failure import Failure
from serve_app.command_output.token import VARIABLE
from tests.kuberay.stage import Stage, stage


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    monkeypatch.delenv(VARIABLE, raising=False)
    with stage() as made:
        yield made


def run(cluster: Stage, **asked: Any) -> int:
    return deploy(cluster.session, asked, until_ready=True, timeout_s=100.0)


def create(cluster: Stage, name: str = "app", scopes: str = "read,write", prefix: str = "") -> str:
    """The token that was printed."""
    before = len(cluster.out.getvalue())
    assert token_command.create(cluster.session, name, scopes, prefix) == 0
    return cluster.out.getvalue()[before:].strip()


def text(cluster: Stage) -> bytes:
    secret = cluster.fake.get("secrets", "cloud-storage-tokens")
    return base64.b64decode(secret["data"]["tokens"])


def asks(cluster: Stage) -> bool:
    return groups.tokens_file(cluster.fake.get("rayservices", "cloud-storage")) == TOKENS_FILE


# -- the secret ------------------------------------------------------------------------------------------------------


def test_a_token_is_shown_once_and_the_secret_has_its_hash(cluster: Stage) -> None:
    token = create(cluster, "app", "read,write", "team é/")
    assert token.startswith("cs_")
    assert cluster.out.getvalue() == token + "\n", "so it can be piped"
    (line,) = parse(text(cluster))
    assert (line.name, line.scopes, line.prefix) == ("app", ("read", "write"), "team é/".encode())
    assert line.digest == digest_of(token.encode())
    assert token not in str(cluster.fake.objects)
    assert "This is shown once" in cluster.err.getvalue()
    assert token not in cluster.err.getvalue()


def test_the_first_token_may_come_before_the_store(cluster: Stage) -> None:
    create(cluster)
    assert cluster.fake.writes == ["apply namespaces/cloud-storage", "create secrets"]
    assert "`python -m kuberay deploy` starts a store that asks for tokens" in cluster.err.getvalue()
    create(cluster, "other")
    assert cluster.fake.writes[2:] == ["patch secrets/cloud-storage-tokens"]
    assert [line.name for line in parse(text(cluster))] == ["app", "other"]


def test_what_else_is_in_the_file_and_the_secret_stays(cluster: Stage) -> None:
    create(cluster)
    secret = cluster.fake.get("secrets", "cloud-storage-tokens")
    secret["data"]["tokens"] = base64.b64encode(b"# mine\n" + text(cluster)).decode()
    secret["data"]["other"] = "eA=="
    create(cluster, "other")
    assert text(cluster).startswith(b"# mine\napp ")
    assert cluster.fake.get("secrets", "cloud-storage-tokens")["data"]["other"] == "eA=="


@pytest.mark.parametrize("exists", [False, True])
def test_two_edits_at_once_both_get_in(cluster: Stage, exists: bool) -> None:
    if exists:
        create(cluster, "before")
    raced = False

    def race(call: str) -> None:
        nonlocal raced
        if call.split()[0] in ("create", "patch") and "secrets" in call and not raced:
            raced = True
            theirs = b"theirs read sha256:" + b"0" * 64 + b"\n"
            data = {"tokens": base64.b64encode((text(cluster) if exists else b"") + theirs).decode()}
            metadata = {"name": "cloud-storage-tokens"}
            cluster.fake.put("secrets", {"metadata": metadata, "data": data})

    cluster.fake.refuse = race
    create(cluster, "ours")
    assert [line.name for line in parse(text(cluster))] == [*(["before"] if exists else []), "theirs", "ours"]


def test_one_who_always_loses_gives_up(cluster: Stage) -> None:
    create(cluster)
    cluster.fake.refuse = lambda call: (409, "modified") if call.startswith("patch secrets") else None
    with pytest.raises(Failure, match="can't change the secret cloud-storage-tokens: modified"):
        create(cluster, "other")
    assert [line.name for line in parse(text(cluster))] == ["app"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("app", "read", ""), "there is a token named 'app' already"),
        (("new", "all", ""), "'all' is no scope"),
        (("a b", "read", ""), "is no name of a token"),
    ],
)
def test_what_can_not_be_made_is_one_sentence(cluster: Stage, arguments: tuple[str, str, str], sentence: str) -> None:
    create(cluster)
    before = cluster.out.getvalue()
    with pytest.raises(Failure, match=sentence):
        create(cluster, *arguments)
    assert cluster.out.getvalue() == before
    assert [line.name for line in parse(text(cluster))] == ["app"]


def test_missing_permission_is_one_sentence_and_no_token_is_shown(cluster: Stage) -> None:
    cluster.fake.refuse = lambda call: (403, "secrets is forbidden") if call == "create secrets" else None
    with pytest.raises(Failure, match="no permission to create the secret cloud-storage-tokens"):
        create(cluster)
    assert cluster.out.getvalue() == ""


def test_tokens_are_listed_without_themselves(cluster: Stage) -> None:
    assert token_command.show(cluster.session) == 0
    assert "There are no tokens in the namespace cloud-storage." in cluster.out.getvalue()
    shown = create(cluster, "zoe", "admin"), create(cluster, "abel", "read", "a b/")
    cluster.out.truncate(0)
    token_command.show(cluster.session)
    output = cluster.out.getvalue()
    assert [line.split() for line in output.strip("\0").splitlines()][1:] == [
        ["abel", "read", "a%20b/"],
        ["zoe", "admin"],
    ]
    for token in shown:
        assert token not in output
        assert digest_of(token.encode()).hex() not in output


def test_a_token_is_revoked(cluster: Stage) -> None:
    with pytest.raises(Failure, match="there are no tokens in the namespace"):
        token_command.revoke(cluster.session, "app")
    assert cluster.fake.writes == [], "no secret is made for that: it would turn tokens on"
    create(cluster)
    with pytest.raises(Failure, match="the secret cloud-storage-tokens: there is no token named 'other'"):
        token_command.revoke(cluster.session, "other")
    assert token_command.revoke(cluster.session, "app") == 0
    assert parse(text(cluster)) == ()


@pytest.mark.parametrize("data", [{"tokens": "!"}, {"tokens": base64.b64encode(b"nonsense").decode()}])
def test_a_secret_that_is_wrong_is_said_and_left_alone(cluster: Stage, data: dict[str, str]) -> None:
    cluster.fake.put("secrets", {"metadata": {"name": "cloud-storage-tokens"}, "data": data})
    with pytest.raises(Failure, match="the secret cloud-storage-tokens"):
        token_command.show(cluster.session)
    with pytest.raises(Failure, match="the secret cloud-storage-tokens"):
        create(cluster)
    with pytest.raises(Failure, match="the secret cloud-storage-tokens"):
        token_command.revoke(cluster.session, "app")
    assert cluster.fake.writes == []


# -- when a store asks for them --------------------------------------------------------------------------------------


def test_a_store_without_the_secret_is_open_inside_the_cluster(cluster: Stage) -> None:
    run(cluster)
    assert not asks(cluster)


def test_a_store_with_the_secret_asks_for_tokens(cluster: Stage) -> None:
    create(cluster)
    run(cluster)
    assert asks(cluster)
    create(cluster, "other")
    assert "The store takes it within a minute or so" in cluster.err.getvalue()


def test_tokens_are_turned_on_by_the_next_deploy_and_the_rest_stays(cluster: Stage) -> None:
    run(cluster, buckets=3)
    before = yaml.safe_load(cluster.fake.get("rayservices", "cloud-storage")["spec"]["serveConfigV2"])
    create(cluster)
    assert "asks for no tokens yet: `python -m kuberay deploy` turns that on" in cluster.err.getvalue()
    run(cluster)
    text = cluster.fake.get("rayservices", "cloud-storage")["spec"]["serveConfigV2"]
    assert "# bucket i runs where" in text, "comments stay"
    after = yaml.safe_load(text)
    assert after["applications"][0]["args"].pop("auth") == {"tokens_file": TOKENS_FILE}
    assert after == before
    assert cluster.operator.clusters_made == 1, "in place"


def test_a_store_goes_on_asking_until_no_tokens_is_typed(cluster: Stage) -> None:
    run(cluster, tokens=True)
    assert asks(cluster)
    run(cluster)
    assert asks(cluster), "though there is no secret"
    create(cluster)
    run(cluster, tokens=False)
    assert not asks(cluster)
    assert parse(text(cluster)), "the tokens themselves stay"


def test_a_secret_whose_last_token_was_revoked_opens_nothing(cluster: Stage) -> None:
    create(cluster)
    token_command.revoke(cluster.session, "app")
    run(cluster)
    assert asks(cluster)


def test_who_may_not_see_the_secret_says_what_is_wanted(cluster: Stage) -> None:
    cluster.fake.refuse = lambda call: (403, "secrets is forbidden") if "secrets" in call else None
    with pytest.raises(Failure, match=r"secrets is forbidden; .*: type --tokens or --no-tokens"):
        run(cluster)
    assert cluster.fake.writes == []
    run(cluster, tokens=True)
    assert asks(cluster)
    run(cluster)
    assert asks(cluster), "which the RayService says"


def test_tokens_outlive_the_store_like_its_records(cluster: Stage) -> None:
    """Else the store that is deployed next, on the same claims, would let everybody in."""
    create(cluster)
    run(cluster)
    delete(cluster.session, delete_data=False, confirm=None, dry_run=False, timeout_s=100.0)
    assert parse(text(cluster))
    run(cluster)
    assert asks(cluster)
    delete(cluster.session, delete_data=True, confirm=None, dry_run=False, timeout_s=100.0)
    assert not cluster.fake.all("secrets")


@pytest.mark.parametrize("path", [TOKENS_FILE, "/elsewhere"])
@pytest.mark.parametrize("written", ["as ours", "in another way"])
def test_the_configuration_takes_a_tokens_file_and_gives_it_up(path: str, written: str) -> None:
    service = next(
        each
        for each in yaml.safe_load_all((FOLDER / "base" / "rayservice.yaml").read_text())
        if each["kind"] == "RayService"
    )
    if written == "in another way":
        flow = yaml.safe_dump(yaml.safe_load(service["spec"]["serveConfigV2"]), default_flow_style=True)
        service["spec"]["serveConfigV2"] = flow
    before = yaml.safe_load(service["spec"]["serveConfigV2"])
    changed = groups.with_tokens_file(service, path)
    assert groups.tokens_file(changed) == path
    assert groups.tokens_file(groups.with_tokens_file(changed, "/other")) == "/other"
    again = groups.with_tokens_file(changed, "")
    assert groups.tokens_file(again) == ""
    assert yaml.safe_load(again["spec"]["serveConfigV2"]) == before
    if written == "as ours":
        assert again == service, "down to the comments"


# -- what can be reached without -------------------------------------------------------------------------------------


OUTSIDE = [{"service_type": "NodePort"}, {"service_type": "LoadBalancer"}]


@pytest.mark.parametrize("asked", OUTSIDE)
def test_a_store_that_others_reach_does_not_start_without_tokens(cluster: Stage, asked: dict[str, Any]) -> None:
    sentence = (
        f"by a service of the type {asked['service_type']} others than the cluster reach the store, and it has no"
    )
    with pytest.raises(Failure, match=re.escape(sentence) + ".*or type --no-tokens"):
        run(cluster, **asked)
    with pytest.raises(Failure, match=re.escape(sentence)):
        deploy_command.dry_run(cluster.session.terminal, "cloud-storage", asked)
    assert cluster.fake.writes == []
    create(cluster)
    run(cluster, **asked)
    assert asks(cluster)


@pytest.mark.parametrize("asked", OUTSIDE)
def test_unless_that_is_typed_each_time(cluster: Stage, asked: dict[str, Any]) -> None:
    run(cluster, **asked, tokens=False)
    assert not asks(cluster)
    with pytest.raises(Failure, match="or type --no-tokens"):
        run(cluster)
    deploy_command.dry_run(cluster.session.terminal, "cloud-storage", {**asked, "tokens": False})


def ingress(cluster: Stage, service: str) -> None:
    document = yaml.safe_load((FOLDER / "ingress.yaml").read_text())
    document["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"] = service
    cluster.fake.put("ingresses", document)


def test_an_ingress_that_leads_to_the_store_is_a_way_in(cluster: Stage) -> None:
    ingress(cluster, "somebody-elses")
    run(cluster)
    ingress(cluster, "cloud-storage-serve-svc")
    with pytest.raises(Failure, match="by the ingress cloud-storage others than the cluster reach the store"):
        run(cluster)
    run(cluster, tokens=True)
    cluster.fake.get("ingresses", "cloud-storage")["spec"] = {
        "defaultBackend": {"service": {"name": "cloud-storage-serve-svc"}}
    }
    with pytest.raises(Failure, match="by the ingress cloud-storage"):
        tokens.check_who_gets_in(Options(), None, tokens.ingresses_of(cluster.session.cluster))


def test_who_may_not_list_ingresses_deploys_as_if_there_were_none(cluster: Stage) -> None:
    ingress(cluster, "cloud-storage-serve-svc")
    cluster.fake.refuse = lambda call: (403, "ingresses is forbidden") if call == "list ingresses" else None
    assert run(cluster) == 0


def test_the_status_says_whether_tokens_are_asked_for(cluster: Stage) -> None:
    run(cluster)
    status(cluster.session)
    assert "tokens     none: the API is open" in cluster.out.getvalue()
    assert "asks for no tokens" not in cluster.err.getvalue()
    ingress(cluster, "cloud-storage-serve-svc")
    status(cluster.session)
    assert "by the ingress cloud-storage others than the cluster reach the store, and it asks for no" in (
        cluster.err.getvalue()
    )
    run(cluster, tokens=True)
    cluster.err.truncate(0)
    status(cluster.session)
    assert "tokens     asked for" in cluster.out.getvalue()
    assert "reach the store" not in cluster.err.getvalue()


# -- the commands' own token -----------------------------------------------------------------------------------------


def test_the_commands_show_the_token_of_the_environment(cluster: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a header of its own: the API server passes no Authorization on."""
    run(cluster, tokens=True)
    monkeypatch.setenv(VARIABLE, "cs_admin")
    assert cluster.session.store.topology().all_reachable
    status(cluster.session)
    assert "2 buckets, epoch 1, stable" in cluster.out.getvalue()
    assert scale(cluster.session, 3, dry_run=False, timeout_s=100.0) == 0


def test_the_kubeconfigs_own_credentials_are_shown_as_well(cluster: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    run(cluster, tokens=True)
    monkeypatch.setenv(VARIABLE, "cs_admin")
    cluster.session.client.configuration.api_key = {"authorization": "Bearer of-the-kubeconfig"}
    sent: dict[str, str] = {}
    call = cluster.session.client.call_api

    def noting(method: str, url: str, header_params: Any = None, *rest: Any, **options: Any) -> Any:
        sent.update(header_params)
        return call(method, url, header_params, *rest, **options)

    monkeypatch.setattr(cluster.session.client, "call_api", noting)
    assert cluster.session.store.topology().all_reachable
    shown = {name.lower(): value for name, value in sent.items()}
    assert shown["x-cloud-storage-token"] == "cs_admin"
    assert shown["authorization"] == "Bearer of-the-kubeconfig"


@pytest.mark.parametrize("token", ["", "cs_other"])
def test_without_the_right_one_each_command_says_so(
    cluster: Stage, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, token)
    said = (
        "the store refuses the token of CLOUD_STORAGE_TOKEN: the request's token is not one of this store's"
        if token
        else "the store wants a token with the scope admin, and CLOUD_STORAGE_TOKEN is not set"
    )
    assert run(cluster, tokens=True) == 0
    assert f"warning: {said}" in cluster.err.getvalue()
    assert "so the buckets were not looked at" in cluster.err.getvalue()
    assert status(cluster.session) == 0
    assert f"topology   unknown: {said}" in cluster.out.getvalue()
    with pytest.raises(Failure, match=f"{said}.*python -m kuberay token create NAME --scope admin"):
        scale(cluster.session, 3, dry_run=False, timeout_s=100.0)
    assert cluster.session.store.answers(), "whether it is up is told to all"


def test_the_redis_protocol_is_spoken_where_there_are_tokens_until_it_is_taken_out(cluster: Stage) -> None:
    with pytest.raises(Failure, match="only where tokens are asked for"):
        run(cluster, redis=True)
    assert cluster.session.service() is None, "nothing was applied"
    create(cluster)
    for asked, port in (({"redis": True}, REDIS_API_PORT), ({}, REDIS_API_PORT), ({"redis": False}, 0), ({}, 0)):
        run(cluster, **asked)
        service = cluster.session.service()
        assert service is not None
        assert groups.redis_port(service) == port, asked
    run(cluster, redis=True)
    with pytest.raises(Failure, match="only where tokens are asked for"):
        run(cluster, tokens=False)
