"""Whole replicas on the real API server: election, trust, identity, health, metrics, drain."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import urllib.request

import grpc
import pytest
from cryptography import x509
from innervate_api.identity.v1 import identity_pb2, identity_pb2_grpc
from innervate_kinds.api.kind import (
    CONFIG_MAP,
    NAMESPACE,
    ROLE,
    ROLE_BINDING,
    SECRET,
    SERVICE_ACCOUNT,
    Kind,
    Reference,
)
from innervate_kinds.compute_pool.room import ROOM as POOLS
from innervate_operator.app import Operator
from innervate_operator.elector import LEASE
from innervate_operator.errors import StartupError
from innervate_operator.settings import Settings
from innervate_service.identity.request import signing_request

pytestmark = pytest.mark.contract
TOKEN_REQUEST = Kind("", "v1", "TokenRequest", "serviceaccounts")


@pytest.fixture
async def home(stage):
    """The operator's namespace, one for each test."""
    name = f"home-{stage.namespace}"
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    await stage.admin.create(Reference.of(NAMESPACE, manifest), manifest, manager="test")
    return name


@pytest.fixture
def replica(stage, home):
    @contextlib.asynccontextmanager
    async def run(name="one", **changes):
        settings = Settings(
            kubeconfig=stage.plane.kubeconfig,
            namespace=home,
            watch_namespaces=(stage.namespace,),
            pod_name=name,
            health_listen="127.0.0.1:0",
            metrics_listen="127.0.0.1:0",
            identity_listen="127.0.0.1:0",
            workers=4,
            **changes,
        )
        operator = Operator(settings, [stage.room])
        task = asyncio.create_task(operator.run())
        try:
            yield operator
        finally:
            operator.stop()
            await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), 30)

    return run


def ready(operator):
    return lambda: operator.health.unready() is None and operator.health.problem() is None


async def fetch(operator, port, path):
    url = f"http://127.0.0.1:{operator.ports[port]}{path}"
    return await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=10).read().decode())


async def test_a_replica_leads_works_and_tells_of_itself(stage, replica, wait):
    async with replica() as operator:
        await wait(ready(operator))
        await stage.declare(text="hello")
        await stage.ready()
        assert await fetch(operator, "health", "/livez") == "ok\n"
        assert await fetch(operator, "health", "/readyz") == "ok\n"
        metrics = await fetch(operator, "metrics", "/metrics")
        assert 'innervate_reconciles_total{kind="Gadget",result="done"}' in metrics
        assert 'innervate_api_writes_total{kind="ConfigMap",verb="apply"}' in metrics
        assert "innervate_leader 1.0" in metrics
        assert "innervate_queue_oldest_seconds" in metrics
        assert 'innervate_api_writes_total{kind="Lease"' not in metrics


async def test_of_two_replicas_one_writes_and_the_other_takes_over_when_it_drains(stage, home, replica, wait):
    lease = Reference(LEASE, home, "innervate-operator")

    async def holder():
        return (await stage.admin.get(lease))["spec"]["holderIdentity"].split("_")[0]

    async with contextlib.AsyncExitStack() as first_life, replica("second") as second:
        first = await first_life.enter_async_context(replica("first"))
        await wait(ready(first))
        await wait(ready(second))
        leader, standby = (first, second) if first.elector.leads else (second, first)
        assert not standby.elector.leads
        assert await holder() == leader.settings.pod_name
        await stage.declare(text="one")
        await stage.ready()
        assert standby.engine.queue.depth > 0
        leader.stop()
        await wait(lambda: standby.elector.leads)
        assert await holder() == standby.settings.pod_name
        await stage.declare(text="two")
        await stage.ready()


async def test_only_the_leader_makes_the_authority_and_every_replica_signs_with_it(
    stage, home, replica, wait
):
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "agent", "namespace": stage.namespace},
    }
    await stage.admin.create(Reference.of(SERVICE_ACCOUNT, account), account, manager="test")
    request = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"audiences": ["innervate"], "expirationSeconds": 600},
    }
    answer = await stage.admin.write(
        "create",
        "POST",
        Reference(TOKEN_REQUEST, stage.namespace, "agent"),
        body=request,
        subresource="token",
    )
    token = answer["status"]["token"]
    async with replica("first") as first, replica("second") as second:
        await wait(ready(first))
        await wait(ready(second))
        secret = await stage.admin.get(Reference(SECRET, home, "innervate-ca"))
        bundle = base64.b64decode(secret["data"]["ca.crt"])
        assert first.trust.trust == second.trust.trust
        assert first.trust.trust.ca_bundle.encode() == bundle
        assert first.trust.trust.issuer.startswith("https://kubernetes.default.svc")
        assert '"keys"' in first.trust.trust.jwks
        name = f"agent.{stage.namespace}.svc"
        for operator in (first, second):
            credentials = grpc.ssl_channel_credentials(bundle)
            target = f"localhost:{operator.ports['identity']}"
            async with grpc.aio.secure_channel(target, credentials) as channel:
                stub = identity_pb2_grpc.IdentityServiceStub(channel)
                asked = identity_pb2.IssueRequest(certificate_signing_request=signing_request([name]).der)
                issued = await stub.Issue(asked, metadata=(("authorization", f"Bearer {token}"),), timeout=10)
                leaf = x509.load_pem_x509_certificate(issued.certificate_chain.encode())
                names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
                assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
                    f"spiffe://innervate.local/ns/{stage.namespace}/sa/agent"
                ]
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await stub.Issue(asked, metadata=(("authorization", "Bearer nonsense"),), timeout=10)
                assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_changed_authority_reaches_every_resource(stage, home, replica, wait):
    async with replica() as operator:
        await wait(ready(operator))
        await stage.declare(text="x")
        await stage.ready()
        await wait(lambda: operator.engine.queue.depth == 0 and operator.engine.queue.running == 0)
        visited = []
        operator.engine.on_finished = lambda: visited.append(1)
        reference = Reference(SECRET, home, "innervate-ca")
        secret = await stage.admin.get(reference)
        before = operator.trust.trust
        await stage.admin.delete(reference, uid=secret["metadata"]["uid"])
        # Lost: the state that is in force is stored again, and nobody notices.
        await operator.trust.refresh()
        assert operator.trust.trust == before
        restored = await stage.admin.get(reference)
        assert restored["data"] == secret["data"]
        assert visited == []
        operator.trust._state = None
        await stage.admin.delete(reference, uid=restored["metadata"]["uid"])
        await operator.trust.refresh()
        assert operator.trust.trust.ca_bundle != before.ca_bundle
        assert operator._config.trust == operator.trust.trust
        await wait(lambda: visited)


async def test_a_lost_lease_ends_the_replica_and_its_liveness(stage, home, replica, wait):
    lease = Reference(LEASE, home, "innervate-operator")
    async with replica() as operator:
        await wait(ready(operator))
        await wait(lambda: operator.elector.leads)

        async def stolen():
            found = await stage.admin.get(lease)
            spec = {**found["spec"], "holderIdentity": "thief"}
            with contextlib.suppress(Exception):
                await stage.admin.replace(lease, {**found, "spec": spec})
            return operator.health.failure

        # The holder's own renewals come in between: tried until one is lost.
        assert "took the lease" in await wait(stolen, seconds=40)


async def test_static_compute_pools_are_read_from_a_file(stage, tmp_path):
    path = tmp_path / "pools.yaml"
    path.write_text(
        "apiVersion: innervate.dev/v1alpha1\nkind: ComputePool\nmetadata: {name: edge}\nspec: {class: edge}\n"
    )
    settings = Settings(kubeconfig=stage.plane.kubeconfig, watch_namespaces=("shop",))
    operator = Operator(settings, [POOLS])
    operator.engine.load_static(path)
    reader = operator.engine.caches
    assert reader.get(Reference(POOLS.kind, None, "edge"))["spec"] == {"class": "edge"}
    path.write_text("kind: Secret\n")
    with pytest.raises(StartupError, match="expected one of ComputePool"):
        operator.engine.load_static(path)
    await operator._transport.close()


def role(namespace, *rules):
    keys = ("apiGroups", "resources", "verbs")
    return [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": "operator", "namespace": namespace},
            "rules": [dict(zip(keys, map(str.split, rule), strict=True)) for rule in rules],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "operator", "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "operator"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "restricted"}],
        },
    ]


async def test_a_namespaced_operator_works_with_rights_in_its_namespaces_alone(stage, home, wait, tmp_path):
    verbs = "get list watch create patch delete"
    grants = [
        *role(
            home,
            ("coordination.k8s.io", "leases", "get create update"),
            ("core", "secrets", "get create patch"),
        ),
        *role(
            stage.namespace,
            ("test.innervate.dev", "gadgets gadgets/status gadgets/finalizers widgets", verbs + " update"),
            ("core", "configmaps", verbs),
            ("apps", "deployments", verbs),
            ("core", "secrets", "create"),
            ("events.k8s.io", "events", "create"),
        ),
    ]
    for grant in grants:
        for rule in grant.get("rules", ()):
            rule["apiGroups"] = [group for group in rule["apiGroups"] if group != "core"] or [""]
        kind = ROLE if grant["kind"] == "Role" else ROLE_BINDING
        await stage.admin.create(Reference.of(kind, grant), grant, manager="test")
    pools = tmp_path / "pools.yaml"
    pools.write_text(
        "apiVersion: innervate.dev/v1alpha1\nkind: ComputePool\nmetadata: {name: edge}\nspec: {class: edge}\n"
    )
    settings = Settings(
        # The signing keys are readable to every service account by default, and to this group.
        kubeconfig=stage.plane.kubeconfig_for("restricted", groups=["system:serviceaccounts"]),
        namespace=home,
        watch_namespaces=(stage.namespace,),
        compute_pools=pools,
        health_listen="127.0.0.1:0",
        metrics_listen="127.0.0.1:0",
        identity_listen="127.0.0.1:0",
    )
    operator = Operator(settings, [stage.room, POOLS])
    task = asyncio.create_task(operator.run())
    await wait(ready(operator))
    await stage.declare(text="one", secret=True)
    await stage.ready()
    await stage.declare(text="two", secret=True)
    await stage.ready()
    assert not task.done()
    operator.stop()
    await asyncio.wait_for(task, 30)


async def test_the_gate_is_closed_before_the_lease_is_taken(stage, home):
    operator = Operator(Settings(kubeconfig=stage.plane.kubeconfig, namespace=home), [stage.room])
    with pytest.raises(Exception, match="does not hold the lease"):
        await operator.client.delete(Reference(CONFIG_MAP, home, "x"), uid="x")
    await operator._transport.close()
