"""A model's files: the layout of Hugging Face, which is the canonical one, and the GGUF derived from it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file, save_file

from innervate_models import chat
from innervate_models.gguf_format import write_gguf
from innervate_models.model import ModelConfig, shapes
from innervate_models.tokenizer import ASSISTANT, END, SPECIAL, USER, Tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from innervate_models.model import Parameters

WEIGHTS, CONFIG, TOKENIZER = "model.safetensors", "config.json", "tokenizer.json"
TOKENIZER_CONFIG, TEMPLATE, GGUF = "tokenizer_config.json", "chat_template.jinja", "model.gguf"
FILES = (TEMPLATE, CONFIG, WEIGHTS, TOKENIZER, TOKENIZER_CONFIG)
"""The canonical files."""


class ArtifactError(ValueError):
    """A directory holds no model of this kind; the message names the file and what is wrong in it."""


class Model(NamedTuple):
    """A model in memory."""

    config: ModelConfig
    parameters: Parameters
    tokenizer: Tokenizer


def save(model: Model, directory: Path, *, gguf: bool = True) -> None:
    """Write a model's files, weights as float16: the same model gives the same bytes.

    Parameters
    ----------
    model
        What to write.
    directory
        Is made where it does not exist.
    gguf
        Write `GGUF` as well.
    """
    directory.mkdir(parents=True, exist_ok=True)
    weights = {name: np.asarray(model.parameters[name], np.float16) for name in shapes(model.config)}
    save_file(weights, directory / WEIGHTS, metadata={"format": "pt"})
    _write_json(directory / CONFIG, _config_json(model.config, model.tokenizer))
    _write_json(directory / TOKENIZER, model.tokenizer.to_json())
    _write_json(directory / TOKENIZER_CONFIG, _tokenizer_config_json(model.config))
    (directory / TEMPLATE).write_text(chat.TEMPLATE, encoding="utf-8")
    if gguf:
        convert(directory, directory / GGUF)


def load(directory: Path) -> Model:
    """Read a model's files.

    Raises
    ------
    ArtifactError
        A file is missing or holds something else.
    """
    config = _read_config(directory / CONFIG)
    try:
        tokenizer = Tokenizer.from_json(_read_json(directory / TOKENIZER))
    except ValueError as error:
        raise ArtifactError(f"{directory / TOKENIZER}: {error}") from error
    weights = _read_weights(directory / WEIGHTS, config)
    if len(tokenizer) != config.vocabulary:
        raise ArtifactError(
            f"{directory / TOKENIZER} has {len(tokenizer)} tokens, the weights have {config.vocabulary}"
        )
    parameters = {name: jnp.asarray(weight, jnp.float32) for name, weight in weights.items()}
    return Model(config, parameters, tokenizer)


def convert(directory: Path, target: Path) -> None:
    """Derive the GGUF from the canonical files: the same files give the same bytes.

    Raises
    ------
    ArtifactError
        A canonical file is missing or holds something else.
    """
    config = _read_config(directory / CONFIG)
    weights = _read_weights(directory / WEIGHTS, config)
    try:
        tokenizer = Tokenizer.from_json(_read_json(directory / TOKENIZER))
        template = (directory / TEMPLATE).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{directory}: {error}") from error
    write_gguf(target, config=config, weights=weights, tokenizer=tokenizer, template=template)


def _config_json(config: ModelConfig, tokenizer: Tokenizer) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "bos_token_id": None,
        "dtype": "float16",
        "eos_token_id": tokenizer.end,
        "head_dim": config.head_width,
        "hidden_act": "silu",
        "hidden_size": config.width,
        "intermediate_size": config.hidden,
        "max_position_embeddings": config.context,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": config.heads,
        "num_hidden_layers": config.layers,
        "num_key_value_heads": config.key_value_heads,
        "pad_token_id": tokenizer.end,
        "rms_norm_eps": config.norm_epsilon,
        "rope_theta": config.rope_theta,
        "tie_word_embeddings": True,
        "vocab_size": config.vocabulary,
    }


def _tokenizer_config_json(config: ModelConfig) -> dict[str, Any]:
    return {
        "add_bos_token": False,
        "add_eos_token": False,
        "additional_special_tokens": [USER, ASSISTANT],
        "clean_up_tokenization_spaces": False,
        "eos_token": END,
        "model_max_length": config.context,
        "pad_token": END,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }


def _read_config(path: Path) -> ModelConfig:
    content = _read_json(path)
    try:
        config = ModelConfig(
            vocabulary=content["vocab_size"],
            width=content["hidden_size"],
            layers=content["num_hidden_layers"],
            heads=content["num_attention_heads"],
            key_value_heads=content["num_key_value_heads"],
            hidden=content["intermediate_size"],
            context=content["max_position_embeddings"],
            rope_theta=float(content["rope_theta"]),
            norm_epsilon=float(content["rms_norm_eps"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f"{path}: {error!r} is missing or wrong") from error
    if content.get("architectures") != ["LlamaForCausalLM"] or content.get("tie_word_embeddings") is not True:
        raise ArtifactError(f"{path}: only LlamaForCausalLM with tied embeddings is known")
    if config.vocabulary < len(SPECIAL) + 256 or config.width % config.heads:
        raise ArtifactError(f"{path}: these sizes fit no model: {config}")
    return config


def _read_weights(path: Path, config: ModelConfig) -> dict[str, np.ndarray[Any, Any]]:
    try:
        weights = load_file(path)
    # safetensors raises an exception of its own for a broken file, which it does not export for types.
    except Exception as error:
        raise ArtifactError(f"{path} cannot be read: {error}") from error
    expected = shapes(config)
    found = {name: weight.shape for name, weight in weights.items()}
    if found != expected:
        wrong = min({*found.items()} ^ {*expected.items()})[0]
        raise ArtifactError(
            f"{path}: {wrong} is missing, not expected, or of another shape than {CONFIG} says"
        )
    return {name: weights[name] for name in expected}


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path} cannot be read: {error}") from error


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(
        json.dumps(content, ensure_ascii=False, indent=1, sort_keys=False) + "\n", encoding="utf-8"
    )
