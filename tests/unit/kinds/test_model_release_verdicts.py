"""A release is verified only by the words of the Job that was asked for last, whatever else is there."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from innervate_kinds.api.kind import JOB, Reference
from innervate_kinds.model_release import names
from innervate_kinds.model_release.model import ModelRelease, is_verified
from innervate_kinds.model_release.room import ROOM
from innervate_kinds.parts import releases
from kinds_cluster import CONFIG, Cluster

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
UID = "u"
DIGEST = f"sha256:{7:064x}"


def release(asked: str = "", status: dict[str, Any] | None = None, uri: str = "pvc://models") -> ModelRelease:
    return ModelRelease.model_validate(
        {
            "apiVersion": "innervate.dev/v1alpha1",
            "kind": "ModelRelease",
            "metadata": {
                "name": "assistant",
                "namespace": "shop",
                "uid": UID,
                "generation": 1,
                "annotations": {names.ASK: asked} if asked else {},
            },
            "spec": {"artifact": {"uri": uri, "digest": DIGEST}},
            **({"status": status} if status else {}),
        }
    )


def job(name: str, ended: str | None, *, age: float = 60) -> dict[str, Any]:
    then = (NOW - timedelta(seconds=age)).isoformat()
    condition = {"type": ended, "status": "True", "lastTransitionTime": then}
    labels = {"innervate.dev/owner-uid": UID}
    return {
        "kind": "Job",
        "metadata": {"name": name, "namespace": "shop", "labels": labels},
        "status": {
            "conditions": [condition] if ended else [],
            **({"completionTime": then} if ended == "Complete" else {}),
        },
    }


def pod(name: str, job_name: str, message: str, code: int, *, seconds: float) -> dict[str, Any]:
    labels = {
        "innervate.dev/owner-uid": UID,
        "app.kubernetes.io/component": names.VERIFIER,
        "batch.kubernetes.io/job-name": job_name,
    }
    ended = {"terminated": {"exitCode": code, "reason": "Error" if code else "Completed", "message": message}}
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "labels": labels,
            "creationTimestamp": (NOW - timedelta(seconds=seconds)).isoformat(),
        },
        "status": {"containerStatuses": [{"name": names.VERIFY, "state": ended}]},
    }


def words(result: str) -> str:
    return json.dumps(
        {
            "result": result,
            "part": "Blob",
            "subject": "model.gguf",
            "message": "blob of model.gguf was changed",
            "keyId": "team",
            "sizeBytes": 3,
        }
    )


def told(resource: ModelRelease, objects: list[dict[str, Any]]) -> ModelRelease:
    observed = ROOM.observe(resource, Cluster(objects), {})
    plan = ROOM.plan(resource, observed, CONFIG, NOW)
    return resource.model_copy(update={"status": ROOM.status(resource, observed, plan, (), NOW)})


MESSAGES = st.sampled_from(
    [words("Verified"), words("Refused"), words("Failed"), "", "Killed", "[]", '"Verified"', '{"result": 1}']
)


@given(
    asked=st.sampled_from(["", "again"]),
    pods=st.lists(st.tuples(MESSAGES, st.sampled_from([0, 1, 3, 137]), st.booleans()), max_size=4),
    ended=st.sampled_from([None, "Complete", "Failed"]),
)
def test_verified_only_by_words_of_the_wanted_job(
    asked: str, pods: list[tuple[str, int, bool]], ended: str | None
) -> None:
    resource = release(asked)
    wanted, other = names.job(resource.metadata), names.job(release("earlier").metadata)
    objects: list[dict[str, Any]] = [job(wanted, ended), job(other, "Complete")]
    for number, (message, code, own) in enumerate(pods):
        objects.append(pod(f"p{number}", wanted if own else other, message, code, seconds=100 - number))
    said = [message for message, _, own in pods if own and message in {words("Verified"), words("Refused")}]
    found = told(resource, objects)
    assert found.status is not None
    if is_verified(found):
        assert words("Verified") in said
        assert found.status.job == wanted
    if words("Verified") not in said:
        condition = found.status.condition("Verified")
        assert condition is not None
        assert condition.status != "True"


@given(asked=st.text(max_size=20), name=st.from_regex(r"[a-z]([-a-z0-9]{0,240}[a-z0-9])?", fullmatch=True))
def test_each_request_has_a_job_of_its_own_with_a_valid_name(asked: str, name: str) -> None:
    metadata = release(asked).metadata.model_copy(update={"name": name})
    plain = release().metadata.model_copy(update={"name": name})
    assert len(names.job(metadata)) <= 63
    assert (names.job(metadata) == names.job(plain)) == (not asked)


def test_a_verdict_outlives_its_job() -> None:
    resource = release()
    name = names.job(resource.metadata)
    first = told(resource, [job(name, "Complete"), pod("p", name, words("Verified"), 0, seconds=90)])
    assert is_verified(first)
    # The Job's time is over: it is not made again, and the verdict stays.
    later = told(first, [])
    assert later.status == first.status
    assert ROOM.plan(first, ROOM.observe(first, Cluster([]), {}), CONFIG, NOW).apply == ()


def test_words_that_were_lost_are_asked_for_again() -> None:
    resource = release()
    name = names.job(resource.metadata)
    observed = ROOM.observe(resource, Cluster([job(name, "Complete")]), {})
    plan = ROOM.plan(resource, observed, CONFIG, NOW)
    assert plan.delete == (Reference(JOB, "shop", name),)
    # A pod's end may be heard a moment after its Job's.
    observed = ROOM.observe(resource, Cluster([job(name, "Complete", age=5)]), {})
    assert ROOM.plan(resource, observed, CONFIG, NOW).delete == ()


@pytest.mark.parametrize(
    ("uri", "endpoint", "port"),
    [
        ("s3://models/a", None, 443),
        ("s3://models/a", "http://s3.svc", 80),
        ("s3://models/a", "https://s3.svc:9000", 9000),
        ("oci://registry.example/a", None, 443),
        ("oci://registry.example:5000/a", None, 5000),
    ],
)
def test_the_store_alone_may_be_reached(uri: str, endpoint: str | None, port: int) -> None:
    artifact = release(uri=uri).spec.artifact.model_copy(update={"endpoint": endpoint})
    names_, store = releases.egress(artifact)
    assert {each["port"] for each in names_["ports"]} == {53}
    assert store["ports"] == [{"port": port, "protocol": "TCP"}]
    # Wherever it is, but not where a node gives out credentials.
    pods, *blocks = store["to"]
    assert pods == {"namespaceSelector": {}}
    assert [each["ipBlock"]["cidr"] for each in blocks] == ["0.0.0.0/0", "::/0"]
    excepted = [ip_network(text) for each in blocks for text in each["ipBlock"]["except"]]
    for metadata in ("169.254.169.254", "fe80::1", "fd00:ec2::254"):
        assert any(ip_address(metadata) in network for network in excepted)


def test_a_volume_needs_no_network() -> None:
    assert releases.egress(release().spec.artifact) == []
