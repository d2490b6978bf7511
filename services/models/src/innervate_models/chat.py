"""The chat format: every turn is one special token, the text and the end token."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from innervate_models.tokenizer import ASSISTANT, END, USER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from innervate_models.tokenizer import Tokenizer

TEMPLATE = (
    "{% for message in messages %}"
    f"{{{{ '{ASSISTANT}' if message['role'] == 'assistant' else '{USER}' }}}}"
    f"{{{{ message['content'] + '{END}' }}}}"
    "{% endfor %}"
    f"{{% if add_generation_prompt %}}{{{{ '{ASSISTANT}' }}}}{{% endif %}}"
)
"""The same as a Jinja template. There is no system token: instructions are read as a user's."""


class Turns(NamedTuple):
    """A conversation as the model reads it in training."""

    tokens: list[int]
    learned: list[bool]
    """Which tokens the model is to predict: the answers and their ends."""


def prompt_tokens(tokenizer: Tokenizer, prompt: str) -> list[int]:
    """What the model reads before it answers one question."""
    return [tokenizer.user, *tokenizer.encode_plain(prompt), tokenizer.end, tokenizer.assistant]


def conversation_tokens(tokenizer: Tokenizer, turns: Sequence[tuple[str, str]], *, limit: int) -> Turns:
    """Tokens of a conversation, as many whole turns of it as fit the limit.

    Parameters
    ----------
    tokenizer
        The model's.
    turns
        Prompts and answers.
    limit
        Most tokens.
    """
    tokens: list[int] = []
    learned: list[bool] = []
    for prompt, answer in turns:
        asked = prompt_tokens(tokenizer, prompt)
        answered = [*tokenizer.encode_plain(answer), tokenizer.end]
        if len(tokens) + len(asked) + len(answered) > limit:
            break
        tokens += asked + answered
        learned += [False] * len(asked) + [True] * len(answered)
    return Turns(tokens, learned)
