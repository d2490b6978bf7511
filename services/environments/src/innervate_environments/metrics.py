"""What a server of environments counts, in the process's Prometheus registry."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge

STEPS: Final = Counter("innervate_environment_steps", "Steps taken, errors included.")
EPISODES: Final = Counter(
    "innervate_environment_episodes",
    "Episodes by how they ended: terminated, truncated, or void by the reason of their error.",
    ["outcome"],
)
LEASES: Final = Counter("innervate_environment_leases", "Leases by what became of them.", ["event"])
SLOTS: Final = Gauge("innervate_environment_slots", "Slots of this server.", ["state"])
LOST: Final = Counter(
    "innervate_environment_processes_lost", "Processes of instances that ended before their time.", ["reason"]
)
SCORES: Final = Counter(
    "innervate_environment_scores", "Scores asked for, by reward and outcome.", ["reward", "outcome"]
)
