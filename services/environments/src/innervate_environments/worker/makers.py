"""The maker of what a server's configuration names."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from innervate_environments.worker.instances import DialogueMaker, GymnasiumMaker
from innervate_environments.worker.rollouts import PackageMaker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from innervate_environments.worker.instances import Maker


def maker_of(document: Mapping[str, Any]) -> Maker:
    """The maker of what a server's configuration names."""
    if "dialogue" in document:
        return DialogueMaker(document["dialogue"])
    options = {name: json.loads(text) for name, text in document["options"].items()}
    if "package" in document:
        return PackageMaker(document["package"], options, max_turns=document["maxEpisodeSteps"])
    return GymnasiumMaker(document["id"], options, max_episode_steps=document["maxEpisodeSteps"])
