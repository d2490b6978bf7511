"""A package written for the library ``verifiers``, with an environment of each kind.

It is loaded only where that library is; the tests themselves have it not.
"""

import os
from typing import Any

import verifiers as vf
from datasets import Dataset
from openai import AsyncOpenAI

_SUMS = [("2 + 2", "4"), ("3 + 4", "7"), ("5 + 5", "10")]


def load_environment(kind: str = "single", **arguments: Any) -> vf.Environment:
    return _KINDS[kind](**arguments)


def _rows(sums: list[tuple[str, str]]) -> Dataset:
    return Dataset.from_list([{"question": f"{sum_} =", "answer": answer} for sum_, answer in sums])


def _data() -> dict[str, Any]:
    return {"dataset": _rows(_SUMS), "eval_dataset": _rows([("1 + 1", "2")]), "system_prompt": "Add."}


def right(completion: list[Any], answer: str) -> float:
    return float(completion[-1].content == answer)


async def short(completion: list[Any], **_: Any) -> float:
    return 1.0 if len(completion[-1].content) <= 2 else 0.0


def _single() -> vf.Environment:
    return vf.SingleTurnEnv(rubric=vf.Rubric(funcs=[right, short], weights=[2.0, 0.5]), **_data())


class Hints(vf.MultiTurnEnv):
    """Says whether an answer is too low or too high; ``break``, ``crash`` and ``pass`` do what they say."""

    async def setup_state(self, state: vf.State) -> None:
        state["told"] = 0

    async def env_response(self, messages: vf.Messages, state: vf.State, **_: Any) -> vf.Messages:
        said = messages[-1].content
        match said:
            case "break":
                raise vf.InfraError("the lamp broke")
            case "crash":
                os._exit(3)
            case "pass":
                state["final_env_response"] = [vf.UserMessage(content="as you like")]
                return []
        state["told"] += 1
        if said == state["answer"]:
            state["final_env_response"] = [vf.UserMessage(content="yes")]
            return []
        hint = "more" if int(said) < int(state["answer"]) else "less"
        return [vf.UserMessage(content=f"{hint} ({state['told']})")]


def found(state: vf.State, answer: str) -> float:
    """Raises where the last answer is no number."""
    return float(int(state["trajectory"][-1]["completion"][-1].content) == int(answer))


async def soon(state: vf.State, **_: Any) -> float:
    return 1.0 if len(state["trajectory"]) == 1 else 0.0


def told(state: vf.State) -> int:
    return state["told"]


def _turns() -> vf.Environment:
    rubric = vf.Rubric(funcs=[found, soon], weights=[2.0, 0.5])
    rubric.add_metric(told)
    return Hints(max_turns=4, rubric=rubric, **_data())


def add(first: int, second: int) -> int:
    """Add two numbers.

    Args:
        first: One of them.
        second: The other.
    """
    return first + second


def _tools() -> vf.Environment:
    return vf.ToolEnv(tools=[add], max_turns=5, rubric=vf.Rubric(funcs=[right]), **_data())


def _judge() -> vf.Environment:
    return vf.SingleTurnEnv(rubric=vf.JudgeRubric(), **_data())


def best(completions: list[Any]) -> list[float]:
    return [1.0 for _ in completions]


def _group() -> vf.Environment:
    return vf.SingleTurnEnv(rubric=vf.Rubric(funcs=[best]), **_data())


def _client() -> vf.Environment:
    client = AsyncOpenAI(api_key="none", base_url="http://localhost:1")
    return vf.SingleTurnEnv(rubric=vf.JudgeRubric(judge_client=client), **_data())


class Box(vf.SandboxEnv):
    """Would need sandboxes as soon as an episode begins."""

    def __init__(self) -> None:
        self.active_sandboxes: set[str] = set()
        vf.MultiTurnEnv.__init__(self, rubric=vf.Rubric(funcs=[right]), **_data())


def _worthless() -> vf.Environment:
    return vf.SingleTurnEnv(rubric=vf.Rubric(funcs=[right], weights=[0.0]), **_data())


def _empty() -> vf.Environment:
    return vf.SingleTurnEnv(dataset=lambda: _rows([]), rubric=vf.Rubric(funcs=[right]))


class Product(vf.Rubric):
    """Multiplies what its functions give."""

    async def score_rollout(self, state: vf.State) -> None:
        await super().score_rollout(state)
        state["reward"] = state["metrics"]["right"] * state["metrics"]["short"]


def _product() -> vf.Environment:
    return vf.SingleTurnEnv(rubric=Product(funcs=[right, short]), **_data())


_KINDS = {
    "single": _single,
    "turns": _turns,
    "tools": _tools,
    "judge": _judge,
    "group": _group,
    "client": _client,
    "sandbox": Box,
    "product": _product,
    "worthless": _worthless,
    "empty": _empty,
}
