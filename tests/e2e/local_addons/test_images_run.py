"""Every image starts its program as the restricted user that the product's pods give it."""

import json

import pytest
from innervate_local import binaries, images
from innervate_local.images import containerfile
from pod_room import pod

pytestmark = pytest.mark.e2e

RESTRICTED = {
    "runAsNonRoot": True,
    "readOnlyRootFilesystem": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
IMPORT = """
import importlib, importlib.metadata, json, os, sys
module, package = sys.argv[1:]
try:
    importlib.import_module(f"{module}.__main__")
except ModuleNotFoundError as error:
    if error.name != f"{module}.__main__":
        raise
    importlib.import_module(module)
compiled = importlib.util.find_spec(module).cached
print(json.dumps([os.getuid(), importlib.metadata.version(package), os.path.exists(compiled)]))
"""


def _run(room, name, command):
    made = pod(name, None, labels={}, command=command)
    made["spec"]["restartPolicy"] = "Never"
    made["spec"]["containers"][0] |= {
        "image": f"innervate/{name}:{images.VERSION}",
        "securityContext": RESTRICTED,
    }
    room.apply(made)
    room.kubectl("wait", f"pod/{name}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    return room.kubectl("logs", name)


@pytest.mark.parametrize("name", sorted(name for name, each in images.SERVICES.items() if each.package))
def test_a_python_image_imports_its_program_with_everything_it_needs(room, name):
    path = images.workspace() / "deploy" / "images" / name / "Containerfile"
    module = containerfile.last_stage(path).config["Entrypoint"][-1]
    printed = _run(room, name, ["python3", "-c", IMPORT, module, images.SERVICES[name].package])
    assert json.loads(printed) == [65532, images.VERSION, True]


def test_the_redis_image_has_a_server_that_speaks_tls(room):
    tell = "redis-server --version; id -un; ldd $(command -v redis-server)"
    version, user, *libraries = _run(room, "redis", ["sh", "-c", tell]).splitlines()
    assert version.startswith("Redis server v=7.")
    assert user == "nonroot"
    assert any("libssl.so" in line for line in libraries)


def test_the_llama_cpp_image_has_a_server_and_its_licence_but_no_source_package(room):
    tell = (
        "llama-server --version 2>&1; id -un; ls /opt/llama.cpp; grep -c 'MIT License' /opt/llama.cpp/LICENSE"
    )
    version, _compiler, user, *files, licences = _run(room, "llama-cpp", ["sh", "-c", tell]).splitlines()
    assert version == f"version: {binaries.CATALOG['llama-server'].version.split('.')[0]} (source)"
    assert user == "nonroot"
    assert {each for each in files if not each.endswith(".so")} == {"LICENSE", "llama-server"}
    assert {"libggml-cpu-sse42.so", "libggml-cpu-haswell.so"} <= set(files)
    assert licences == "1"
