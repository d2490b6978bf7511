"""A model that says one letter for ever, whatever it is asked: as small as one can be, in every file.

So a test sees in an answer's text which release gave it, and how much text there is to come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp
from innervate_models import artifact, model
from innervate_models.tokenizer import learn

if TYPE_CHECKING:
    from pathlib import Path


def write(directory: Path, letter: str, *, context: int = 4096) -> Path:
    """Write the model of a letter to a directory, and give it."""
    tokenizer = learn(["hello", "world"])
    config = model.ModelConfig(
        vocabulary=len(tokenizer), width=64, layers=1, heads=2, key_value_heads=1, hidden=32, context=context
    )
    parameters = {name: jnp.zeros(shape) for name, shape in model.shapes(config).items()}
    parameters |= {name: jnp.ones(shape) for name, shape in model.shapes(config).items() if len(shape) == 1}
    # Nothing is added to the embeddings, which point all one way: the longest one is always the likeliest.
    embeddings = jnp.zeros((config.vocabulary, config.width)).at[:, 0].set(0.1)
    (token,) = tokenizer.encode(letter)
    parameters["model.embed_tokens.weight"] = embeddings.at[token, 0].set(10.0)
    artifact.save(artifact.Model(config, parameters, tokenizer), directory)
    return directory
