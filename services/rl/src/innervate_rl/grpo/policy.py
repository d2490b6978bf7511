"""What is trained of a model: all of it, or an adapter beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from innervate_rl.grpo import lora, objective
from innervate_rl.grpo.objective import State

if TYPE_CHECKING:
    from innervate_models.artifact import Model
    from innervate_models.model import Parameters

    from innervate_rl.grpo.hyperparameters import Hyperparameters


class Policy(NamedTuple):
    """A model in training."""

    reference: Parameters
    """The parameters that training began with."""
    state: State


class Learner:
    """Makes policies, and improves them.

    Parameters
    ----------
    model
        The base.
    chosen
        The settings.
    seed
        Of an adapter's first numbers.
    """

    def __init__(self, model: Model, chosen: Hyperparameters, *, seed: int) -> None:
        self._chosen, self._seed = chosen, seed
        self._programs = objective.programs(model.config, chosen)

    def begin(self, parameters: Parameters) -> Policy:
        """The policy before its first update."""
        trained: Any = parameters
        if self._chosen.lora_rank:
            trained = lora.initial(parameters, rank=self._chosen.lora_rank, seed=self._seed)
        return Policy(parameters, State(trained, self._programs.begin(trained)))

    def parameters(self, policy: Policy) -> Parameters:
        """The model that the policy is: an adapter is merged into it."""
        if not self._chosen.lora_rank:
            parameters: Parameters = policy.state.trained
            return parameters
        return self._programs.merge(policy.state.trained, policy.reference)

    def improve(
        self, policy: Policy, experience: objective.Experience
    ) -> tuple[Policy, list[objective.Metrics]]:
        """Learn from a batch; its proximal and reference log-probabilities are computed here."""
        measure = self._programs.measure
        tokens, lengths = experience.tokens, experience.lengths
        experience = experience._replace(
            proximal=measure(self.parameters(policy), tokens, lengths).logprobs,
            reference=measure(policy.reference, tokens, lengths).logprobs,
        )
        rows = len(tokens) // self._chosen.minibatches
        state, told = policy.state, []
        for _ in range(self._chosen.epochs):
            for number in range(self._chosen.minibatches):
                part = objective.Experience(
                    *(field[number * rows : (number + 1) * rows] for field in experience)
                )
                state, metrics = self._programs.update(state, policy.reference, part)
                told.append(metrics)
        return policy._replace(state=state), told
