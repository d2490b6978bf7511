"""GGUF, the format of llama.cpp: the same model, laid out as its llama architecture wants it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gguf
import numpy as np

from innervate_models.tokenizer import SPECIAL

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from innervate_models.model import ModelConfig
    from innervate_models.tokenizer import Tokenizer


def write_gguf(
    target: Path,
    *,
    config: ModelConfig,
    weights: Mapping[str, np.ndarray[Any, Any]],
    tokenizer: Tokenizer,
    template: str,
) -> None:
    """Write a model as GGUF: matrices in float16, norms in float32; no time, name or path gets into it.

    Parameters
    ----------
    target
        The file.
    config, weights, tokenizer, template
        The model.
    """
    writer = gguf.GGUFWriter(target, gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.LLAMA])
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.width)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.hidden)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.key_value_heads)
    writer.add_rope_dimension_count(config.head_width)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.norm_epsilon)
    writer.add_vocab_size(config.vocabulary)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    _add_tokenizer(writer, tokenizer, template)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.layers)
    for name, weight in weights.items():
        own = names.get_name(name, (".weight",))
        if own is None:
            raise ValueError(f"GGUF has no name for {name}")
        writer.add_tensor(own, _laid_out(name, weight, config))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Tokenizer, template: str) -> None:
    plain = len(tokenizer) - len(SPECIAL)
    kinds = [gguf.TokenType.NORMAL] * plain + [gguf.TokenType.CONTROL] * len(SPECIAL)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(list(tokenizer.vocabulary))
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(merge) for merge in tokenizer.merges])
    # llama.cpp wants to know a first token even where none is put before a text.
    writer.add_bos_token_id(tokenizer.end)
    writer.add_eos_token_id(tokenizer.end)
    writer.add_eot_token_id(tokenizer.end)
    writer.add_pad_token_id(tokenizer.end)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(template)


def _laid_out(name: str, weight: np.ndarray[Any, Any], config: ModelConfig) -> np.ndarray[Any, Any]:
    if weight.ndim == 1:
        return weight.astype(np.float32)
    if name.endswith("q_proj.weight"):
        weight = _interleaved(weight, config.heads)
    elif name.endswith("k_proj.weight"):
        weight = _interleaved(weight, config.key_value_heads)
    return np.ascontiguousarray(weight.astype(np.float16))


def _interleaved(weight: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """Rotary pairs side by side, as llama.cpp rotates them, instead of half a head apart."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)
