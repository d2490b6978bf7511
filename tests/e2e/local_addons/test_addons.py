"""DNS, volumes, traces and metrics of the local cluster work for a pod as it is given them."""

import json
import secrets
import time

import pytest
from innervate_local.addons import OBSERVABILITY
from innervate_local.errors import LocalError
from pod_room import eventually, pod

pytestmark = pytest.mark.e2e

SEND = """
import sys, urllib.request
request = urllib.request.Request(sys.argv[1], sys.argv[2].encode(), {"content-type": "application/json"})
print(urllib.request.urlopen(request, timeout=10).status)
"""


def _ask(cluster, service, path):
    where = f"/api/v1/namespaces/{OBSERVABILITY}/services/{service}/proxy{path}"
    return json.loads(cluster.kubectl("get", "--raw", where))


def test_names_lead_to_services_and_pods_to_nothing_else(pods):
    resolve = "import socket, sys\nprint(socket.getaddrinfo(sys.argv[1], 0)[0][4][0])"
    service = pods.cluster.kubectl(
        "get", "service", "innervate-telemetry", "-n", OBSERVABILITY, "--output=jsonpath={.spec.clusterIP}"
    )
    for client in ("friend-core", "friend-edge"):
        for name in (f"innervate-telemetry.{OBSERVABILITY}.svc", f"innervate-telemetry.{OBSERVABILITY}"):
            assert pods.run(client, resolve, name) == service
    unknown = "import socket\ntry: socket.getaddrinfo('nobody.nowhere.svc', 0)\nexcept OSError: print('no')"
    assert pods.run("friend-edge", unknown) == "no"


def test_a_claim_gets_a_volume_that_keeps_data_and_goes_with_the_claim(room):
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }

    def user(name, command):
        made = pod(name, None, labels={}, command=["sh", "-c", command])
        made["spec"] |= {
            "restartPolicy": "Never",
            "securityContext": {"runAsUser": 65532, "runAsNonRoot": True},
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
        }
        made["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
        return made

    room.apply(claim, user("writer", "echo kept > /data/file"))
    room.kubectl("wait", "pod/writer", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    room.apply(user("reader", "cat /data/file"))
    room.kubectl("wait", "pod/reader", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    assert room.kubectl("logs", "reader") == "kept\n"
    volume = room.kubectl("get", "pvc", "data", "--output=jsonpath={.spec.volumeName}")
    held = [path for node in room.cluster.nodes for path in node.storage.glob(f"{volume}_*")]
    assert len(held) == 1
    room.kubectl("delete", "pod", "--all", "--wait=true")
    room.kubectl("delete", "pvc", "data")
    eventually(lambda: not held[0].exists())


def test_a_sent_span_is_found_and_counted(pods):
    trace, span = secrets.token_hex(16), secrets.token_hex(8)
    service = f"sender-{trace[:8]}"
    now = time.time_ns()
    spans = {
        "resourceSpans": [
            {
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
                "scopeSpans": [
                    {
                        "spans": [
                            {
                                "traceId": trace,
                                "spanId": span,
                                "name": "say hello",
                                "kind": 2,
                                "startTimeUnixNano": str(now - 10**7),
                                "endTimeUnixNano": str(now),
                            }
                        ]
                    }
                ],
            }
        ]
    }
    target = f"http://innervate-telemetry.{OBSERVABILITY}.svc:4318/v1/traces"
    assert pods.run("friend-edge", SEND, target, json.dumps(spans)) == "200"

    def found():
        try:
            return _ask(pods.cluster, "innervate-telemetry:16686", f"/api/traces/{trace}")["data"]
        except LocalError as error:
            if "NotFound" not in str(error):  # as it is until the trace was decided upon
                raise
            return None

    (stored,) = eventually(found)
    assert [each["operationName"] for each in stored["spans"]] == ["say hello"]

    query = f'/api/v1/query?query=traces_span_metrics_calls_total%7Bservice_name="{service}"%7D'
    (counted,) = eventually(lambda: _ask(pods.cluster, "prometheus:9090", query)["data"]["result"])
    assert counted["value"][1] == "1"


def test_a_pod_with_a_metrics_port_is_scraped(room):
    program = (
        "import http.server\n"
        "class Answer(http.server.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        self.send_response(200); self.end_headers(); self.wfile.write(b'answer 42\\n')\n"
        "http.server.HTTPServer(('', 9464), Answer).serve_forever()\n"
    )
    measured = pod("measured", None, labels={}, command=["python3", "-c", program])
    measured["spec"]["containers"][0]["ports"] = [{"name": "metrics", "containerPort": 9464}]
    room.apply(measured)
    query = f'/api/v1/query?query=answer%7Bnamespace="{room.namespace}"%7D'
    (found,) = eventually(lambda: _ask(room.cluster, "prometheus:9090", query)["data"]["result"])
    assert found["value"][1] == "42"
    assert found["metric"]["pod"] == "measured"
