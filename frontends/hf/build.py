"""Building the PyTorch model: a preset with random weights, a local checkpoint, or one from the Hugging Face hub."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from frontends.hf.configs import PRESETS, GptConfig
from runtime.errors import InputError

if TYPE_CHECKING:
    from transformers import GPT2Config, GPT2LMHeadModel

INIT_STD = 0.02  # GPT-2's initialisation scale


def build_model(name: str, *, seed: int, overrides: dict[str, int]) -> GPT2LMHeadModel:
    """A `GPT2LMHeadModel` in eval mode with eager attention and no cache.

    `name` is a preset of `frontends.hf.configs` (random weights from `seed`, `overrides` replace fields of its
    `GptConfig`), a folder with a checkpoint, or the name of one on the Hugging Face hub.

    Raises InputError for a configuration that makes no sense, or a checkpoint that is not there or not a GPT-2.
    """
    config = preset_config(name, overrides)
    return pretrained_model(name) if config is None else random_model(config, seed)


def model_config(name: str, *, overrides: dict[str, int]) -> GPT2Config:
    """The configuration of what `build_model` would build, without any weights. Raises InputError likewise."""
    preset = preset_config(name, overrides)
    return pretrained_config(name) if preset is None else hf_config(preset)


def preset_config(name: str, overrides: dict[str, int]) -> GptConfig | None:
    """The shape of a preset, None if `name` is none. Raises InputError for one that makes no sense."""
    config = PRESETS.get(name.lower())
    if config is not None:
        return checked(replace(config, **overrides))
    if overrides:
        raise InputError(
            f"--{next(iter(overrides))} changes the shape of a preset; {name} is a checkpoint, whose shape is fixed",
            code="fixed-shape",
            where=name,
            hint=f"presets: {', '.join(PRESETS)}",
        )
    return None


def checked(config: GptConfig) -> GptConfig:
    """`config`, if a model of that shape can exist. Raises InputError otherwise."""
    for field in ("layers", "width", "heads", "vocab", "ctx"):
        if getattr(config, field) < (2 if field in ("vocab", "ctx") else 1):
            raise InputError(f"{field} = {getattr(config, field)} is too small", code="bad-config")
    if config.width % config.heads:
        raise InputError(
            f"width {config.width} is not a multiple of heads {config.heads}",
            code="bad-config",
            hint="every head has width / heads columns",
        )
    return config


def hf_config(config: GptConfig) -> GPT2Config:
    """`config` in transformers' words."""
    from transformers import GPT2Config

    return GPT2Config(
        n_layer=config.layers,
        n_embd=config.width,
        n_head=config.heads,
        vocab_size=config.vocab,
        n_positions=config.ctx,
        activation_function="gelu",
        layer_norm_epsilon=config.layer_norm_epsilon,
        tie_word_embeddings=True,
        bos_token_id=config.vocab - 1,
        eos_token_id=config.vocab - 1,
        attn_implementation="eager",
    )


def random_model(config: GptConfig, seed: int) -> GPT2LMHeadModel:
    """The model of that shape with random weights; the same seed gives the same weights."""
    from transformers import GPT2LMHeadModel

    model = GPT2LMHeadModel(hf_config(config))
    randomise(model, seed)
    return ready(model)


def randomise(model: GPT2LMHeadModel, seed: int) -> None:
    """Fill every parameter at GPT-2's initialisation scale; biases and norms too, so that losing one shows."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    residual_std = INIT_STD / math.sqrt(2 * model.config.n_layer)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            is_norm_scale = ".ln_" in name and name.endswith(".weight")
            std = residual_std if name.endswith("c_proj.weight") else INIT_STD
            parameter.normal_(1.0 if is_norm_scale else 0.0, std, generator=generator)


def pretrained_config(name: str) -> GPT2Config:
    """The configuration of a checkpoint in a folder or on the hub. Raises InputError if it cannot be had."""
    from transformers import AutoConfig

    local = Path(name).is_dir()
    try:
        config = AutoConfig.from_pretrained(name, local_files_only=local, attn_implementation="eager")
    except (OSError, ValueError) as error:
        raise _checkpoint_error(name, local, error) from error
    if config.model_type != "gpt2":
        raise InputError(
            f"this checkpoint is a {config.model_type} model; only gpt2 can be exported",
            code="not-gpt2",
            where=name,
        )
    return config


def pretrained_model(name: str) -> GPT2LMHeadModel:
    """A checkpoint from a folder or from the hub, safetensors only. Raises InputError if it cannot be had."""
    from transformers import GPT2LMHeadModel

    config, local = pretrained_config(name), Path(name).is_dir()
    try:
        model = GPT2LMHeadModel.from_pretrained(
            name, config=config, local_files_only=local, use_safetensors=True, attn_implementation="eager"
        )
    except (OSError, ValueError) as error:
        raise _checkpoint_error(name, local, error) from error
    return ready(model.float())


def ready(model: GPT2LMHeadModel) -> GPT2LMHeadModel:
    """The model set to return logits alone, deterministically."""
    model.config.use_cache = False
    return model.eval()


def _checkpoint_error(name: str, local: bool, error: Exception) -> InputError:
    reason = str(error).strip().splitlines()[0]
    if local:
        return InputError(
            f"no usable checkpoint in this folder: {reason}",
            code="bad-checkpoint",
            where=name,
            hint="it must hold config.json and model.safetensors (pickled weights are not loaded)",
        )
    return InputError(
        f"{name} is neither a preset nor a local folder, and it cannot be had from the Hugging Face hub: {reason}",
        code="hub-unreachable",
        where=name,
        hint=f"offline, give a local checkpoint folder or a preset: {', '.join(PRESETS)}",
    )
