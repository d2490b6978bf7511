"""What the clients of inference pools have in common."""

from __future__ import annotations

from innervate_kinds.inference_pool.names import Names

from innervate.route import Served

INFERENCE_POOL = Served("InferencePool", "inferencepools", lambda name: Names.of(name).trust)
