# ruff: noqa: INP001  a script of an image, no package
"""GRPO by TRL's trainer, in an Environment of tasks: the program of ../external.yaml."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from datasets import Dataset
from practice import Practice, report
from transformers import AutoTokenizer, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

CONFIG = json.loads(Path("/etc/innervate/config/config.json").read_text(encoding="utf-8"))
ATTEMPT = int(os.environ.get("INNERVATE_ATTEMPT") or 0)
OUTPUT = Path(f"/var/lib/innervate/run/seeds/{CONFIG['seed']}/trl")
BASE = Path("/tmp/base")  # noqa: S108  the pod's own
BATCH, LONGEST = 16, 64


def fetch() -> None:
    """Fetch the base release, which is refused unless its digest and its signature are right."""
    release = CONFIG["policy"]["release"]
    where = [f"--uri={release['uri']}", f"--digest={release['digest']}"]
    files = [f"--file={name}" for name in ("config.json", "model.safetensors", "tokenizer.json")]
    files += ["--file=tokenizer_config.json", "--file=chat_template.jinja"]
    keys = ["--keys=/etc/innervate/release-keys", f"--into={BASE}"]
    command = [sys.executable, "-m", "innervate_releases", "fetch", *where, *keys, *files]
    subprocess.run(command, check=True)


class Reporter(TrainerCallback):
    """Tells how training goes; one process of all does."""

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Report the newest figures."""
        del args, control
        if state.is_world_process_zero:
            named = {"reward": "reward", "kl": "kl", "entropy": "entropy"}
            metrics = {ours: float(logs[name]) for name, ours in named.items() if name in (logs or {})}
            report(ATTEMPT, state.global_step * BATCH, metrics=metrics, checkpoint=str(state.global_step))


def main() -> None:
    """Train, evaluate, and report."""
    fetch()
    practice = Practice(CONFIG["environment"]["endpoint"], slots=BATCH)
    prompts = practice.prompts("training")
    chosen = CONFIG["algorithm"]["hyperparameters"]

    def reward(completions: list[str], task: list[int], **_: Any) -> list[float]:
        return practice.rewards("training", task, [text.strip() for text in completions])

    arguments = GRPOConfig(
        output_dir=str(OUTPUT),
        max_steps=CONFIG["budget"]["steps"] // BATCH,
        per_device_train_batch_size=BATCH,
        num_generations=int(chosen.get("generations", "8")),
        learning_rate=float(chosen.get("learningRate", "1e-6")),
        max_completion_length=LONGEST,
        save_steps=max(CONFIG["checkpoint"]["everySteps"] // BATCH, 1),
        save_total_limit=2,
        seed=CONFIG["seed"],
        report_to=[],
    )
    data = Dataset.from_list([{"prompt": text, "task": number} for number, text in enumerate(prompts)])
    trainer = GRPOTrainer(
        model=str(BASE), reward_funcs=reward, args=arguments, train_dataset=data, callbacks=[Reporter()]
    )
    trainer.train(resume_from_checkpoint=any(OUTPUT.glob("checkpoint-*")) or None)
    if trainer.accelerator.is_main_process:
        questions = practice.prompts("evaluation")[: CONFIG["evaluation"]["episodes"]]
        answers = [answer(trainer, text) for text in questions]
        worth = practice.rewards("evaluation", range(len(answers)), answers)
        steps = trainer.state.global_step * BATCH
        result = {
            "steps": steps,
            "episodes": len(worth),
            "reward": sum(worth) / len(worth),
            "rollouts": practice.rollouts,
        }
        report(ATTEMPT, steps, result=result)


def answer(trainer: Any, question: str) -> str:
    """The likeliest answer of the trained model."""
    tokenizer = AutoTokenizer.from_pretrained(BASE)
    model = trainer.accelerator.unwrap_model(trainer.model)
    tokens = tokenizer(question, return_tensors="pt").to(model.device)
    made = model.generate(**tokens, max_new_tokens=LONGEST, do_sample=False)
    text: str = tokenizer.decode(made[0][tokens["input_ids"].shape[1] :], skip_special_tokens=True)
    return text.strip()


if __name__ == "__main__":
    main()
