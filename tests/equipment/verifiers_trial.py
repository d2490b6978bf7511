"""Tries `practice_verifiers` without a server: run by Python with the library, once for all of its kinds.

Writes one JSON object: why kinds are refused, and what answers given by tools led to.
"""

import json
import sys
from typing import Any

from innervate_environments.worker.instances import Unusable
from innervate_environments.worker.rollouts import PackageMaker

REFUSED = ("judge", "client", "group", "sandbox", "product", "worthless", "empty", "unknown")
SAID = (
    'I add. <tool_call>{"name": "add", "arguments": {"first": 2, "second": 2}}</tool_call>',
    '<tool_call>{"name": "sub", "arguments": {}}</tool_call>\n<tool_call>{"name": "add"}</tool_call>',
    "4",
)


def _refusal(package: str, **arguments: Any) -> str:
    try:
        PackageMaker(package, arguments, max_turns=None).describe()
    except Unusable as refusal:
        return str(refusal)
    return ""


def _tools() -> dict[str, Any]:
    episodes = PackageMaker("practice-verifiers", {"kind": "tools"}, max_turns=None).make()
    episodes.begin(1, {"split": "training", "task": 1})
    # The episode that there is is given up.
    told, info = episodes.begin(1, {"split": "training", "task": 0})
    moves = [episodes.step(text) for text in SAID]
    return {
        "told": told,
        "tools": info["tools"],
        "roles": [message["role"] for message in info["messages"]],
        "texts": [move.observation for move in moves],
        "terminated": [move.terminated for move in moves],
        "scores": moves[-1].info["scores"],
    }


def _single() -> dict[str, Any]:
    maker = PackageMaker("practice-verifiers", {}, max_turns=None)
    episodes = maker.make()
    told, _ = episodes.begin(1, {"split": "evaluation", "task": 0})
    move = episodes.step("0002")
    return {
        "told": told,
        "turns": maker.describe().max_episode_steps,
        "terminated": move.terminated,
        "scores": move.info["scores"],
    }


def _shortened() -> int:
    maker = PackageMaker("practice-verifiers", {"kind": "turns"}, max_turns=1)
    episodes = maker.make()
    episodes.begin(1, {"split": "training", "task": 0})
    assert episodes.step("1").terminated
    return maker.describe().max_episode_steps


def main() -> None:
    refusals = {kind: _refusal("practice-verifiers", kind=kind) for kind in REFUSED}
    refusals["missing"] = _refusal("practice-elsewhere")
    # The library writes to the standard output as it likes.
    tried = {"single": _single(), "tools": _tools(), "shortened": _shortened()}
    document = {"refusals": refusals, **tried}
    sys.stdout.write("\n" + json.dumps(document) + "\n")


if __name__ == "__main__":
    main()
