"""What the legacy exporter traces instead of the model itself."""

from __future__ import annotations

import torch
from transformers import GPT2LMHeadModel


class LogitsOnly(torch.nn.Module):  # type: ignore[misc]  # torch is followed as Any
    """input_ids -> logits, with an explicit mask of ones.

    Without a mask transformers looks for packed sequences, with operators the legacy exporter does not have.
    """

    def __init__(self, model: GPT2LMHeadModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        return self.model(input_ids, attention_mask=torch.ones_like(input_ids), use_cache=False).logits
