"""The published Cerebras-GPT configurations (arXiv 2304.03208), by name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GptConfig:
    """The shape of one GPT-2 style model: pre-LayerNorm, learned positions, erf GELU, tied embeddings."""

    layers: int
    width: int
    heads: int
    vocab: int = 50257
    ctx: int = 2048
    layer_norm_epsilon: float = 1e-5


PRESETS = {
    "cerebras-gpt-111m": GptConfig(layers=10, width=768, heads=12),
    "cerebras-gpt-256m": GptConfig(layers=14, width=1088, heads=17),
    "cerebras-gpt-590m": GptConfig(layers=18, width=1536, heads=12),
    "cerebras-gpt-1.3b": GptConfig(layers=24, width=2048, heads=16),
    # 32 heads of 80: the model card and the training configuration agree, one old table says 20 of 128.
    "cerebras-gpt-2.7b": GptConfig(layers=32, width=2560, heads=32),
    "cerebras-gpt-6.7b": GptConfig(layers=32, width=4096, heads=32),
    "cerebras-gpt-13b": GptConfig(layers=40, width=5120, heads=40),
}
