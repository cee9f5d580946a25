"""Causal attention spelled out; scores are products of queries and keys, softmax makes them weights, values
are averaged.

Vaswani et al. 2017, Attention Is All You Need, section 3.2.1
"""

import torch
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
        qh = self.q(x).unflatten(-1, (3, 8)).transpose(1, 2)  # [B, 3, T, 8]
        kh = self.k(x).unflatten(-1, (3, 8)).transpose(1, 2)  # [B, 3, T, 8]
        vh = self.v(x).unflatten(-1, (3, 8)).transpose(1, 2)  # [B, 3, T, 8]
        score = torch.einsum("BhTd, BhKd -> BhTK", qh, kh)  # [B, 3, T, T]
        place_t = torch.arange(x.shape[1], device=x.device)  # [T]
        place_k = torch.arange(x.shape[1], device=x.device)  # [T]
        later = place_k > place_t[:, None]  # [T, T]
        weight = torch.where(later, -1000000000.0, score / 2.8284271247461903).softmax(-1)  # [B, 3, T, T]
        return self.o(torch.einsum("BhTK, BhKd -> BhTd", weight, vh).transpose(1, 2).flatten(2))  # [B, T, 24]

    @torch.no_grad()
    def init_weights(self):
        """Initial values by the rules of the spec."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.kaiming_uniform_(module.weight, a=5**0.5)
                nn.init.zeros_(module.bias)
