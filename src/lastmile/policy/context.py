"""A causal transformer over the tokens of the last frames."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lastmile.policy.sizes import Size


class Layer(nn.Module):
    """A pre-norm transformer layer with rotary positions: only distances in time count, so a window may begin anywhere in an episode."""

    def __init__(self, width: int, heads: int, depth: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        for linear in (self.query, self.key_value, self.up):
            nn.init.normal_(linear.weight, std=width**-0.5)
            nn.init.zeros_(linear.bias)
        for linear in (self.out, self.down):  # scaled so that the sum over the layers keeps its size
            nn.init.normal_(linear.weight, std=(linear.in_features * 2 * depth) ** -0.5)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor, angles: Tensor, last: Tensor | None = None) -> Tensor:
        """x: (B, T, D). angles: (T, D / heads / 2). Returns (B, T, D); with `last`, (B,) positions, only theirs, (B, 1, D)."""
        b, t, d = x.shape
        normed = self.attention_norm(x)
        key, value = self.key_value(normed).view(b, t, 2, self.heads, -1).unbind(2)  # each (B, T, heads, D / heads)
        if last is None:
            query, turns, mask = self.query(normed), angles, None
        else:
            x = pick(x, last)
            query, turns = self.query(pick(normed, last)), angles[last][:, None]
            mask = (torch.arange(t, device=x.device) <= last[:, None])[:, None, None]  # (B, 1, 1, T)
        query = rotate(query.view(b, -1, self.heads, d // self.heads), turns)
        y = F.scaled_dot_product_attention(
            query.transpose(1, 2), rotate(key, angles).transpose(1, 2), value.transpose(1, 2), attn_mask=mask, is_causal=mask is None
        )
        x = x + self.out(y.transpose(1, 2).reshape(b, -1, d))
        return x + self.down(F.gelu(self.up(self.mlp_norm(x))))


class Context(nn.Module):
    """(B, T, D) tokens -> (B, T, D) context vectors; position t sees positions 0 to t."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(size.width, size.heads, size.layers) for _ in range(size.layers))
        self.norm = nn.LayerNorm(size.width)
        half = size.width // size.heads // 2
        self.register_buffer("speeds", 100.0 ** (-torch.arange(half) / half), persistent=False)

    def _angles(self, steps: int) -> Tensor:
        return torch.arange(steps, device=self.speeds.device)[:, None] * self.speeds  # (T, D / heads / 2)

    def forward(self, tokens: Tensor) -> Tensor:
        angles = self._angles(tokens.shape[1])
        for layer in self.layers:
            tokens = layer(tokens, angles)
        return self.norm(tokens)

    def last(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The context vector of the last token of each window, and what each layer made of that token.

        tokens: (B, T, D), each row's tokens from position 0 on. lengths: (B,), how many there are. Returns (B, D) and a list of (B, D).
        """
        angles, last, outputs = self._angles(tokens.shape[1]), lengths - 1, []
        for layer in self.layers[:-1]:
            tokens = layer(tokens, angles)
            outputs.append(pick(tokens, last)[:, 0])
        outputs.append(self.layers[-1](tokens, angles, last)[:, 0])
        return self.norm(outputs[-1]), outputs


def pick(x: Tensor, index: Tensor) -> Tensor:
    """(B, T, D), (B,) -> (B, 1, D): one position of each row."""
    return x.gather(1, index[:, None, None].expand(-1, 1, x.shape[2]))


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Rotary position embedding (Su et al., 2021). x: (B, T, heads, E). angles: (T, E / 2) or (B, T, E / 2)."""
    cos, sin = angles.cos().unsqueeze(-2), angles.sin().unsqueeze(-2)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1).to(x.dtype)
