"""NetworkPolicies and pods in, the rules of one node out: ``input/x.yaml`` gives ``output/x.rules``.

``INNERVATE_UPDATE_GOLDEN=1 pytest tests/golden`` writes the outputs anew.
"""

import os
from pathlib import Path

import pytest
import yaml
from innervate_local.addons.network_policies import model, rules

HERE = Path(__file__).parent
UPDATE = os.environ.get("INNERVATE_UPDATE_GOLDEN") == "1"
NODE = "core"


def _world(text):
    objects = list(yaml.safe_load_all(text))
    by_kind = {
        kind: [each for each in objects if each["kind"] == kind]
        for kind in ("Pod", "Namespace", "NetworkPolicy")
    }
    assert sum(map(len, by_kind.values())) == len(objects)
    return rules.World(
        [pod for raw in by_kind["Pod"] if (pod := model.pod(raw))],
        {raw["metadata"]["name"]: raw["metadata"].get("labels", {}) for raw in by_kind["Namespace"]},
        by_kind["NetworkPolicy"],
    )


@pytest.mark.parametrize("path", sorted((HERE / "input").glob("*.yaml")), ids=lambda path: path.stem)
def test_rules(path):
    # Names of chains are digests: the pod's name in their place can be read.
    world = _world(path.read_text())
    names = {
        rules._chain(pod.key, side): f"{pod.key.namespace}/{pod.key.name}:{side.kind}"
        for pod in world.pods
        for side in rules.SIDES
    }
    text = rules.restore(rules.chains(world, NODE), [])
    for chain, name in names.items():
        text = text.replace(chain, name)
    output = HERE / "output" / f"{path.stem}.rules"
    if UPDATE:
        output.write_text(text)
    assert text == output.read_text(), "if this is meant: INNERVATE_UPDATE_GOLDEN=1 pytest tests/golden"
