"""Packages written for the library ``verifiers``: loaded, looked over, and their rewards made to tell errors.

Such a package has ``load_environment``, which gives an environment of a dataset and a rubric of reward
functions. The library turns a reward function that raises into a reward of 0; here it is known by its error.
"""

from __future__ import annotations

import contextvars
import functools
import hashlib
import importlib
import inspect
import json
import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from innervate_environments.worker.instances import Unusable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from innervate_environments.tasks import Split

_LIBRARY: Final = "verifiers"
_CLIENTS: Final = frozenset({"openai", "anthropic"})
"""Modules whose errors tell that a package makes a client of a model for itself."""
_ELSEWHERE: Final = {
    "SandboxMixin": "runs in sandboxes of a service elsewhere",
    "SandboxEnv": "runs in sandboxes of a service elsewhere",
    "CliAgentEnv": "starts agents that call the model by themselves",
    "BrowserEnv": "needs a browser elsewhere",
    "MCPEnv": "needs MCP servers elsewhere",
    "OpenEnvEnv": "needs a server of OpenEnv elsewhere",
}
"""Environments of the library that need more than a policy's messages."""
_MAX_WORDS: Final = 500


class Function(NamedTuple):
    """A reward function."""

    name: str
    """Unique in the package."""
    weight: float


class Package(NamedTuple):
    """A package that can be served."""

    library: Any
    """The module ``verifiers``."""
    environment: Any
    """What ``load_environment`` gave."""
    functions: tuple[Function, ...]
    rows: Mapping[Split, Any]
    """Datasets; None for a split without tasks."""

    def count(self, split: Split) -> int:
        """How many tasks there are."""
        return 0 if self.rows[split] is None else len(self.rows[split])

    def digest(self) -> str:
        """Digest of all tasks, their answers included."""
        digest = hashlib.sha256()
        for split, rows in self.rows.items():
            for row in rows or ():
                line = json.dumps([split, row], sort_keys=True, separators=(",", ":"), default=str)
                digest.update(line.encode() + b"\n")
        return f"sha256:{digest.hexdigest()}"


def load(name: str, arguments: Mapping[str, Any], *, max_turns: int | None) -> Package:
    """Load a package.

    Parameters
    ----------
    name
        Of the package, as the library knows it.
    arguments
        Of its ``load_environment``.
    max_turns
        Turns after which an episode ends; None for what the package itself declares.

    Raises
    ------
    Unusable
        It cannot be served; the message names the reason.
    """
    library = _library(name)
    try:
        environment = library.load_environment(name, **arguments)
    except Exception as error:
        raise Unusable(f"the package {name} cannot be used: {_why_not_loaded(error)}") from error
    problem = _problem(library, environment)
    if problem:
        raise Unusable(f"the package {name} cannot be used: {problem}")
    try:
        rows: dict[Split, Any] = {
            "training": environment.build_dataset(),
            "evaluation": environment.build_eval_dataset(),
        }
    except Exception as error:
        raise Unusable(
            f"the dataset of the package {name} cannot be built: {type(error).__name__}: {error}; the image "
            "must hold it, because nothing is downloaded here"
        ) from error
    if not any(rows.values()):
        raise Unusable(f"the package {name} has no tasks")
    # The time that a policy takes is its trainer's matter; the server itself ends a step that hangs.
    environment.timeout_seconds = None
    if max_turns is not None and not 0 < environment.max_turns <= max_turns:
        environment.max_turns = max_turns
    return Package(library, environment, tuple(_record(environment.rubric)), rows)


_scores: contextvars.ContextVar[dict[str, float | str] | None] = contextvars.ContextVar(
    "scores", default=None
)


async def score(package: Package, state: Any) -> dict[str, float | str]:
    """Have a finished rollout scored by every reward function.

    Parameters
    ----------
    package
        Whose rollout it is.
    state
        What the rollout came to.

    Returns
    -------
    dict
        By name a value, or words on why there is none.
    """
    scores: dict[str, float | str] = {}
    token = _scores.set(scores)
    try:
        await package.environment.rubric.score_rollout(state)
        await package.environment.rubric.cleanup(state)
    finally:
        _scores.reset(token)
    return {
        function.name: scores.get(function.name, "the rubric did not call it")
        for function in package.functions
    }


def _module(name: str) -> str:
    return name.rsplit("/", 1)[-1].replace("-", "_")


def _library(name: str) -> Any:
    """The library, with the package imported."""
    # Nothing can be downloaded where this runs; then it is better said at once.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    library = _imported(_LIBRARY, "install it in the image")
    if not all(hasattr(library, each) for each in ("load_environment", "MultiTurnEnv", "Client")):
        raise Unusable(
            f"{_LIBRARY} in the image has no MultiTurnEnv: it is too old, or 0.4 or newer, whose tasks run "
            f"programs of their own; install {_LIBRARY} 0.3.0"
        )
    _imported(name.rsplit("/", 1)[-1].replace("-", "_"), "name an image that holds it")
    return library


def _imported(module: str, cure: str) -> Any:
    try:
        return importlib.import_module(module)
    except Exception as error:
        raise Unusable(
            f"the module {module} cannot be imported: {type(error).__name__}: {error}; {cure}"
        ) from error


def _why_not_loaded(error: BaseException) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if type(cause).__module__.split(".")[0] in _CLIENTS:
            return (
                f"load_environment makes a client of a model, and there is none here ({cause}); rewards that "
                "need a judge model are not supported"
            )
        last, cause = cause, cause.__cause__
    return f"load_environment raises {type(last).__name__}: {last}; correct it or its arguments (options)"


def _problem(library: Any, environment: Any) -> str | None:
    """Why an environment cannot be served; None when it can."""
    kind = type(environment)
    for base in kind.__mro__:
        if base.__name__ in _ELSEWHERE and base.__module__.split(".")[0] == _LIBRARY:
            return (
                f"its {kind.__name__} {_ELSEWHERE[base.__name__]} ({base.__name__}), which is not supported"
            )
    if not isinstance(environment, library.MultiTurnEnv):
        return (
            f"its environment is a {kind.__name__}; only SingleTurnEnv, MultiTurnEnv, ToolEnv and what is "
            "derived from them are supported; of a group, name one member"
        )
    if kind.rollout is not library.MultiTurnEnv.rollout:
        return f"its {kind.__name__} runs episodes in a way of its own (rollout), which is not supported"
    return _problem_of_rewards(library, environment)


def _problem_of_rewards(library: Any, environment: Any) -> str | None:
    for rubric in _rubrics(environment.rubric):
        name = type(rubric).__name__
        if isinstance(rubric, library.JudgeRubric) or "judge" in rubric.class_objects:
            return f"its rewards need a judge model ({name}), which is not supported"
        if type(rubric).score_rollout is not library.Rubric.score_rollout:
            return f"its {name} combines rewards in a way of its own (score_rollout), which is not supported"
        if rubric.has_group_rewards or getattr(rubric, "has_advantages", False):
            return f"its {name} judges several answers at once, which is not supported"
    functions = [each for rubric in _rubrics(environment.rubric) for each in rubric.funcs]
    weights = [each for rubric in _rubrics(environment.rubric) for each in rubric.weights]
    if not functions or not any(weights) or not environment.score_rollouts:
        return "it has no reward function with a weight, so that there is nothing to learn"
    return None


def _rubrics(rubric: Any) -> Iterator[Any]:
    """The rubrics that have functions of their own."""
    if hasattr(rubric, "rubrics"):
        for each in rubric.rubrics:
            yield from _rubrics(each)
    else:
        yield rubric


def _record(rubric: Any) -> Iterator[Function]:
    """Have every reward function put down what it gave, or why not."""
    taken: set[str] = set()
    for each in _rubrics(rubric):
        for at, (function, weight) in enumerate(zip(each.funcs, each.weights, strict=True)):
            own = getattr(function, "__name__", type(function).__name__)
            name, number = own, 1
            while name in taken:
                number += 1
                name = f"{own}-{number}"
            taken.add(name)
            each.funcs[at] = _recording(function, own, name)
            yield Function(name, float(weight))


def _put_down(name: str, score: float | str) -> None:
    scores = _scores.get()
    # A package may call its functions for itself, too.
    if scores is not None:
        scores[name] = score


def _recording(function: Callable[..., Any], own: str, name: str) -> Callable[..., Any]:
    @functools.wraps(function)
    async def recording(*arguments: Any, **named: Any) -> float:
        try:
            value = function(*arguments, **named)
            if inspect.isawaitable(value):
                value = await value
            number = float(value)
        except Exception as error:
            _put_down(name, f"{type(error).__name__}: {error}"[:_MAX_WORDS])
            raise
        _put_down(name, number)
        return number

    recording.__name__ = own
    return recording
