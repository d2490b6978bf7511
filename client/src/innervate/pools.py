"""What the clients of inference pools have in common."""

from __future__ import annotations

from innervate_kinds.api.names import child_name

from innervate.route import Served

INFERENCE_POOL = Served(
    "InferencePool", "inferencepools", lambda name: child_name(name, "inferencepool-trust")
)
