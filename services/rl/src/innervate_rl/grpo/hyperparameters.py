"""Settings of GRPO, by the names that an RLRun gives them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Self

from innervate_service.config import ConfigModel
from pydantic import Field, model_validator

from innervate_rl.grpo.puzzles import PUZZLES


class LossNormalization(StrEnum):
    """How the tokens of a batch share its loss."""

    SEQUENCE = "Sequence"
    """Every answer weighs the same, its tokens share that (GRPO, arXiv:2402.03300): long wrong answers
    are punished less for each token."""
    TOKEN = "Token"  # noqa: S105  a unit of text
    """Every token of the batch weighs the same (DAPO, arXiv:2503.14476)."""
    CONSTANT = "Constant"
    """Every token weighs one part in `answerTokens` of an answer, whatever its answer's length
    (Dr. GRPO, arXiv:2503.20783)."""


class Hyperparameters(ConfigModel):
    """Settings of GRPO."""

    prompts: Annotated[int, Field(ge=2, le=4096)] = 8
    """Prompts of one update."""
    group: Annotated[int, Field(ge=2, le=1024)] = 8
    """Answers to each prompt, which are compared with each other."""
    prompt_tokens: Annotated[int, Field(ge=1, le=1 << 20)] = 48
    """Most tokens of a prompt; a task with a longer one is set aside."""
    answer_tokens: Annotated[int, Field(ge=1, le=1 << 20)] = 16
    """Most tokens of an answer, its end included."""
    temperature: Annotated[float, Field(gt=0, le=10)] = 1.0
    """Of the draws while training; the policy that is improved is the one at this temperature."""
    evaluation_temperature: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Of evaluations; 0 takes the likeliest token each time."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 3e-4
    """Of AdamW, after `warmup`."""
    warmup: Annotated[int, Field(ge=1, le=100_000)] = 5
    """Optimizer steps until the learning rate is reached."""
    gradient_clip: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    """Largest norm of a gradient."""
    epochs: Annotated[int, Field(ge=1, le=64)] = 1
    """Times that each batch of answers is learned from."""
    minibatches: Annotated[int, Field(ge=1, le=256)] = 1
    """Optimizer steps of an epoch; must divide `prompts`."""
    clip_low: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """How far below 1 a token's ratio may fall before it stops to count."""
    clip_high: Annotated[float, Field(gt=0, le=10)] = 0.2
    """How far above 1 it may rise."""
    normalize_advantages: bool = True
    """Whether advantages are divided by the deviation of their group's rewards."""
    loss_normalization: LossNormalization = LossNormalization.SEQUENCE
    """How tokens share the loss."""
    kl_coefficient: Annotated[float, Field(ge=0, le=100)] = 0.01
    """Weight of the divergence from the policy that training began with."""
    entropy_coefficient: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Weight of the entropy, which is then sought."""
    importance_correction: bool = True
    """Whether experience of older policies is weighted by how likely the newer one is to make it."""
    importance_cap: Annotated[float, Field(ge=1, le=100)] = 2.0
    """Largest such weight of a token."""
    lora_rank: Annotated[int, Field(ge=0, le=1024)] = 0
    """Rank of the matrices that are learned beside the model's own; 0 learns the whole model."""
    lora_alpha: Annotated[float, Field(gt=0, le=4096)] = 16.0
    """Their product is scaled by this over the rank."""
    warm_start_steps: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Steps of supervised learning before the first reward; they count in no budget of steps."""
    warm_start_puzzle: Annotated[str, Field(max_length=64)] = "reversal"
    """What those show: a kind of puzzle that comes with the trainer, its training half."""
    warm_start_batch: Annotated[int, Field(ge=1, le=4096)] = 32
    """Demonstrations a step."""
    warm_start_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    """Peak of the learning rate of those steps."""
    rollout_tries: Annotated[int, Field(ge=1, le=100)] = 3
    """Times that an answer is handed in which gets no reward; a task of which then no answer has one
    is set aside."""
    slots: Annotated[int, Field(ge=1, le=4096)] = 64
    """Slots of the environment that are leased, as far as it has them: as many answers are judged at once."""
    rollout_seconds: Annotated[float, Field(gt=0, le=86_400)] = 120.0
    """Time for a batch of answers to be judged; then its connection is given up."""
    outage_seconds: Annotated[float, Field(gt=0, le=86_400)] = 300.0
    """Time without any environment after which this attempt ends."""
    evaluate_every: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    """Updates between evaluations for the curves; 0 evaluates only at the end."""

    @model_validator(mode="after")
    def _fit(self) -> Self:
        if self.prompts % self.minibatches:
            raise ValueError(f"minibatches = {self.minibatches} must divide prompts = {self.prompts}")
        if self.warm_start_puzzle not in PUZZLES:
            raise ValueError(
                f"warmStartPuzzle = {self.warm_start_puzzle!r} is not known; known are {', '.join(PUZZLES)}"
            )
        return self

    @property
    def rows(self) -> int:
        """Answers of one update."""
        return self.prompts * self.group

    def texts(self) -> dict[str, str]:
        """Every setting as text, for manifests."""
        return {name: str(value) for name, value in self.model_dump(mode="json", by_alias=True).items()}
