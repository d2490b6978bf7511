"""Stable-Baselines3 with the zoo's settings: a line ``{"seed": n}`` in, a line with figures out.

It runs in an environment of its own, with one thread.
"""

# mypy: ignore-errors
from __future__ import annotations

import json
import sys
import time

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy

STEPS, EPISODES = 100_000, 100


def run(seed):
    """Train and evaluate one seed."""
    environments = make_vec_env("CartPole-v1", n_envs=8, seed=seed)
    model = PPO(
        "MlpPolicy",
        environments,
        n_steps=32,
        batch_size=256,
        gae_lambda=0.8,
        gamma=0.98,
        n_epochs=20,
        ent_coef=0.0,
        learning_rate=lambda left: 0.001 * left,
        clip_range=lambda left: 0.2 * left,
        seed=seed,
        device="cpu",
    )
    begun = time.perf_counter()
    model.learn(STEPS)
    seconds = time.perf_counter() - begun
    fresh = make_vec_env("CartPole-v1", n_envs=8, seed=seed + 1000)
    reward, _ = evaluate_policy(model, fresh, n_eval_episodes=EPISODES, deterministic=True)
    return {"seconds": seconds, "reward": float(reward), "steps": model.num_timesteps}


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line)["seed"])), flush=True)
