"""Causal attention spelled out; scores are products of queries and keys, softmax makes them weights, values
are averaged.

Vaswani et al. 2017, Attention Is All You Need, section 3.2.1
"""

import torch
from einops import einsum, rearrange
from torch import nn


class StarterEinsumAttention(nn.Module):
    """Causal attention spelled out; scores are products of queries and keys, softmax makes them weights,
    values are averaged.

    x: float[B, T, 24]
    """

    def __init__(self):
        super().__init__()
        self.q = nn.Linear(24, 24)
        self.k = nn.Linear(24, 24)
        self.v = nn.Linear(24, 24)
        self.o = nn.Linear(24, 24)

    def forward(self, x):
        qh = rearrange(self.q(x), "B T (heads head_dim) -> B heads T head_dim", heads=3)  # [B, 3, T, 8]
        kh = rearrange(self.k(x), "B T (heads head_dim) -> B heads T head_dim", heads=3)  # [B, 3, T, 8]
        vh = rearrange(self.v(x), "B T (heads head_dim) -> B heads T head_dim", heads=3)  # [B, 3, T, 8]
        score = einsum(qh, kh, "B h T d, B h K d -> B h T K")  # [B, 3, T, T]
        place_t = torch.arange(x.shape[1], device=x.device)  # [T]
        place_k = torch.arange(x.shape[1], device=x.device)  # [T]
        later = place_k > place_t[:, None]  # [T, T]
        weight = torch.where(later, -1000000000.0, score / 2.8284271247461903).softmax(-1)  # [B, 3, T, T]
        mean = einsum(weight, vh, "B h T K, B h K d -> B h T d")  # [B, 3, T, 8]
        return self.o(rearrange(mean, "B h T d -> B T (h d)"))  # [B, T, 24]

    @torch.no_grad()
    def init_weights(self):
        """Initial values by the rules of the spec."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.kaiming_uniform_(module.weight, a=5**0.5)
                nn.init.zeros_(module.bias)
