"""The command and the SDK on a real API server."""

from __future__ import annotations

import base64
import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from innervate import NotFound, PermissionDenied, Retry, Unavailable, waiting
from innervate.cli.output import Exit
from innervate.kubectl import Kubectl
from innervate.memory import MemoryClient
from innervate.route import Forwarded
from innervate_kinds.memory_store.model import MEMORY_STORE
from redis_process import free_port

from tests.contract.client.conftest import ready, store

if TYPE_CHECKING:
    from collections.abc import Callable

    from command import Innervate
    from innervate_local.control_plane import ControlPlane

    Tell = Callable[..., None]

pytestmark = pytest.mark.contract


def test_get_tells_state_reason_and_message(innervate: Innervate, kubectl: Kubectl, tell: Tell) -> None:
    assert "there are no" in innervate("get").stderr
    kubectl.run("apply", "--filename", "-", stdin=store("support"))
    assert "Unseen" in innervate("get", "mem").stdout
    tell(
        "support",
        conditions=[ready("False", "Unschedulable", "no node has [gpu] left")],
        endpoint="grpcs://support-memorystore.shop.svc:7443",
    )
    header, row = innervate("get").stdout.splitlines()
    assert header.split() == ["kind", "name", "ready", "reason", "age", "endpoint", "message"]
    assert row.split()[:4] == ["MemoryStore", "support", "False", "Unschedulable"]
    assert "no node has [gpu] left" in row
    assert "grpcs://support-memorystore.shop.svc:7443" in row


def test_get_as_json_is_what_kubectl_would_give(innervate: Innervate, kubectl: Kubectl) -> None:
    kubectl.run("apply", "--filename", "-", stdin=store("support"))
    one = json.loads(innervate("get", "memorystore/support", "-o", "json").stdout)
    assert one["metadata"]["name"] == "support"
    many = json.loads(innervate("get", "memorystores", "-o", "json").stdout)
    assert [item["metadata"]["name"] for item in many["items"]] == ["support"]


def test_get_shows_children_as_a_tree(innervate: Innervate, kubectl: Kubectl) -> None:
    kubectl.run("apply", "--filename", "-", stdin=store("support"))
    uid = kubectl.run("get", "memorystore", "support", "-o", "jsonpath={.metadata.uid}")
    child = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "support-child", "labels": {"innervate.dev/owner-uid": uid}},
    }
    kubectl.run("apply", "--filename", "-", stdin=json.dumps(child))
    assert "└── ConfigMap support-child" in innervate("get", "mem", "support", "--tree").stdout


def test_what_is_not_there_is_told(innervate: Innervate) -> None:
    done = innervate("get", "memorystore", "nowhere")
    assert done.returncode == Exit.NOT_FOUND
    assert "there is no MemoryStore nowhere" in done.stderr
    assert "innervate get memorystores -A" in done.stderr


def test_a_cluster_without_our_kinds_is_told(cluster: Kubectl) -> None:
    with pytest.raises(NotFound, match="innervate install"):
        cluster.read("/apis/innervate.dev/v1alpha1/dreams")


@pytest.mark.usefixtures("cluster")
def test_who_may_not_is_told(api_server: ControlPlane) -> None:
    nobody = Kubectl(kubeconfig=str(api_server.kubeconfig_for("nobody")))
    with pytest.raises(PermissionDenied, match="nobody"):
        nobody.read(MEMORY_STORE.path("default"))


def test_a_cluster_that_does_not_answer_is_told(
    innervate: Innervate, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "gone",
        "contexts": [{"name": "gone", "context": {"cluster": "gone", "user": "gone"}}],
        "clusters": [{"name": "gone", "cluster": {"server": f"https://127.0.0.1:{free_port()}"}}],
        "users": [{"name": "gone", "user": {}}],
    }
    (tmp_path / "config").write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    done = innervate("get")
    assert done.returncode == Exit.UNAVAILABLE
    assert "the cluster does not answer" in done.stderr
    assert "kubectl config get-contexts" in done.stderr


def test_a_context_that_is_not_there_is_told(innervate: Innervate) -> None:
    done = innervate("get", "--context", "nowhere")
    assert done.returncode == Exit.FAILED
    assert "kubectl config get-contexts" in done.stderr


def test_diff_creates_first_and_then_tells_what_changes(innervate: Innervate, kubectl: Kubectl) -> None:
    written = store("support")
    first = innervate("plan", "-f", "-", "--diff", stdin=written)
    assert first.returncode == Exit.OK, first.stderr
    assert "+ Deployment support-memorystore" in first.stdout
    assert "✗" not in first.stdout
    kubectl.run("apply", "--filename", "-", stdin=written)
    plan = innervate("plan", "-f", "-", "--diff", "-o", "json", stdin=written)
    items = [_as_applied(manifest) for manifest in json.loads(plan.stdout)[0]["apply"]]
    applied = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    kubectl.run("apply", "--server-side", "--field-manager=innervate", "--filename", "-", stdin=applied)
    again = innervate("plan", "-f", "-", "--diff", stdin=written)
    marks = {line.split()[1] for line in again.stdout.splitlines() if line.startswith(("├", "└"))}
    assert marks == {"+", "="}
    changed = innervate("plan", "-f", "-", "--diff", stdin=store("support", service={"replicas": 3}))
    assert "~ Deployment support-memorystore" in changed.stdout
    assert "spec.replicas: 2 → 3" in changed.stdout
    assert "= Service support-memorystore" in changed.stdout


def _as_applied(manifest: dict[str, Any]) -> dict[str, Any]:
    """Manifest with what the operator would fill in."""
    text = json.dumps(manifest).replace("<filled in by the operator>", "filled in")
    return dict(json.loads(text))


def test_diff_tells_what_the_cluster_refuses(innervate: Innervate, kubectl: Kubectl) -> None:
    kubectl.run("apply", "--filename", "-", stdin=store("support"))
    taken = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "support-memorystore-config"},
        "immutable": True,
    }
    kubectl.run("apply", "--filename", "-", stdin=json.dumps(taken))
    done = innervate("plan", "-f", "-", "--diff", stdin=store("support"))
    assert "✗ ConfigMap support-memorystore-config" in done.stdout
    assert "immutable" in done.stdout
    assert "+ Deployment support-memorystore" in done.stdout


def test_diff_knows_rules_about_changes(innervate: Innervate, kubectl: Kubectl) -> None:
    kubectl.run("apply", "--filename", "-", stdin=store("support", storage={"redis": {"size": "8Gi"}}))
    done = innervate("plan", "-f", "-", "--diff", stdin=store("support", storage={"redis": {"size": "4Gi"}}))
    assert done.returncode == Exit.FAILED
    assert "spec.storage.redis.size = '4Gi': the size may grow but never shrink" in done.stderr


def test_diff_finds_pools_in_the_cluster(innervate: Innervate, kubectl: Kubectl) -> None:
    placed = store("support", service={"placement": {"computePoolRef": {"name": str(kubectl.namespace)}}})
    assert "Deployment" not in innervate("plan", "-f", "-", "--diff", stdin=placed).stdout
    pool = {
        "apiVersion": "innervate.dev/v1alpha1",
        "kind": "ComputePool",
        "metadata": {"name": kubectl.namespace},
        "spec": {"class": "cpu", "costPerHour": "0.13"},
    }
    kubectl.run("apply", "--filename", "-", stdin=json.dumps(pool))
    found = innervate("plan", "-f", "-", "--diff", stdin=placed).stdout
    assert "Deployment" in found
    assert "0.13 per hour" in found


def test_apply_waits_until_ready(innervate: Innervate, tell: Tell) -> None:
    def operate() -> None:
        while True:
            try:
                tell("support", conditions=[ready("False", "Starting", "pods are starting")])
                break
            except NotFound:
                continue
        traceparent = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01"
        tell(
            "support",
            conditions=[ready("True", "Serving", "")],
            trace={"generation": 1, "traceparent": traceparent},
        )

    operator = threading.Thread(target=operate)
    operator.start()
    done = innervate("apply", "-f", "-", "--timeout", "60", stdin=store("support"))
    operator.join()
    assert done.returncode == Exit.OK, done.stderr
    assert "MemoryStore support is ready" in done.stderr
    assert "innervate trace show memorystore/support -n client-" in done.stderr


def test_apply_tells_what_did_not_get_ready(innervate: Innervate) -> None:
    done = innervate("apply", "-f", "-", "--timeout", "1", stdin=store("support"))
    assert done.returncode == Exit.FAILED
    assert "no operator has looked at it yet" in done.stderr
    assert "innervate get memorystore support -n client-" in done.stderr


def test_apply_refuses_before_the_cluster_does(innervate: Innervate, kubectl: Kubectl) -> None:
    done = innervate("apply", "-f", "-", stdin=store("support", storge={}))
    assert done.returncode == Exit.FAILED
    assert "did you mean storage?" in done.stderr
    assert kubectl.attempt("get", "memorystore", "support").returncode != 0


def test_settled_means_of_this_generation(kubectl: Kubectl, tell: Tell) -> None:
    kubectl.run("apply", "--filename", "-", stdin=store("support"))
    tell("support", conditions=[ready("True", "Serving", "")])
    path = MEMORY_STORE.path(kubectl.namespace, "support")
    assert waiting.settled(kubectl.read(path)) is True
    kubectl.run("apply", "--filename", "-", stdin=store("support", service={"replicas": 3}))
    assert waiting.settled(kubectl.read(path)) is None


def test_states_end_with_the_time(kubectl: Kubectl) -> None:
    kubectl.run("apply", "--filename", "-", stdin=store("support"))
    seen = list(waiting.states(kubectl, MEMORY_STORE, kubectl.namespace, "support", timeout=1))
    assert seen
    assert {each["metadata"]["name"] for each in seen} == {"support"}


def test_tokens_are_for_our_audience_and_short(kubectl: Kubectl) -> None:
    kubectl.run("create", "serviceaccount", "agent")
    route = Forwarded(kubectl, "support", "agent")
    token = route.token()
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["aud"] == ["innervate"]
    assert claims["sub"] == f"system:serviceaccount:{kubectl.namespace}:agent"
    assert claims["exp"] - claims["iat"] == 600
    assert route.token() == token
    route.renew_token()
    assert route.token() != token


def test_a_missing_account_is_told(kubectl: Kubectl) -> None:
    with pytest.raises(NotFound, match="create serviceaccount nobody") as refused:
        Forwarded(kubectl, "support", "nobody").token()
    assert refused.value.field == "service_account"


def test_who_may_not_request_tokens_is_told(api_server: ControlPlane, kubectl: Kubectl) -> None:
    nobody = Kubectl(namespace=kubectl.namespace, kubeconfig=str(api_server.kubeconfig_for("nobody")))
    with pytest.raises(PermissionDenied, match="serviceaccounts/token"):
        Forwarded(nobody, "support", "agent").token()


def test_a_missing_store_is_told_at_once(kubectl: Kubectl) -> None:
    with (
        MemoryClient(Forwarded(kubectl, "nowhere", "default")) as client,
        pytest.raises(NotFound, match="nowhere"),
    ):
        client.search("anything")


def test_a_store_that_is_not_ready_says_why_at_once(kubectl: Kubectl, tell: Tell) -> None:
    kubectl.run("apply", "--filename", "-", stdin=store("support"))
    tell("support", conditions=[ready("False", "ImagePull", "the image cannot be pulled")])
    with (
        MemoryClient(Forwarded(kubectl, "support", "default")) as client,
        pytest.raises(Unavailable, match="the image cannot be pulled"),
    ):
        client.search("anything")


def test_a_service_without_pods_is_waited_for(kubectl: Kubectl, tell: Tell) -> None:
    kubectl.run("apply", "--filename", "-", stdin=store("support"))
    kubectl.run("create", "serviceaccount", "agent")
    host = f"support-memorystore.{kubectl.namespace}.svc"
    tell("support", endpoint=f"grpcs://{host}:7443", conditions=[ready("True", "Serving", "")])
    trust = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "support-memorystore-trust"},
        "data": {"ca.crt": "pem"},
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "support-memorystore"},
        "spec": {"selector": {"app": "none"}, "ports": [{"port": 7443}]},
    }
    for manifest in (trust, service):
        kubectl.run("apply", "--filename", "-", stdin=json.dumps(manifest))
    with (
        MemoryClient(Forwarded(kubectl, "support", "agent"), retry=Retry(timeout=3)) as client,
        pytest.raises(Unavailable, match="no pod that can be reached") as refused,
    ):
        client.search("anything")
    assert "attempts" in str(refused.value)


def test_a_trace_that_is_not_there_is_told(innervate: Innervate, kubectl: Kubectl) -> None:
    kubectl.run("apply", "--filename", "-", stdin=store("support"))
    done = innervate("trace", "show", "memorystore/support")
    assert done.returncode == Exit.NOT_FOUND
    assert "has no trace yet" in done.stderr


def test_uninstall_refuses_while_something_holds_on(innervate: Innervate, kubectl: Kubectl) -> None:
    held = json.loads(store("held"))
    held["metadata"]["finalizers"] = ["innervate.dev/cleanup"]
    kubectl.run("apply", "--filename", "-", stdin=json.dumps(held))
    done = innervate("uninstall", "--yes", namespace=False)
    release = {"metadata": {"finalizers": None}}
    kubectl.run("patch", "memorystore", "held", "--type=merge", f"--patch={json.dumps(release)}")
    assert done.returncode == Exit.FAILED
    assert f"MemoryStore {kubectl.namespace}/held" in done.stderr
    assert "innervate.dev/abandon" in done.stderr


def test_wrong_words_for_a_kind_are_refused(innervate: Innervate) -> None:
    done = innervate("trace", "show", "memorystroe/x")
    assert done.returncode == Exit.FAILED
    assert "did you mean memorystore?" in done.stderr
