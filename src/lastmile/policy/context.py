"""A causal transformer over the tokens of the last frames: one token a frame, or many."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lastmile.policy.sizes import Size


class Layer(nn.Module):
    """A pre-norm transformer layer, with rotary positions where angles are given: then only distances count.

    feed_forward: width of the two-layer perceptron in multiples of the layer's; 0 for attention alone. depth: layers in all.
    """

    def __init__(self, width: int, heads: int, depth: int, feed_forward: int = 4) -> None:
        super().__init__()
        self.heads, self.feed_forward = heads, feed_forward
        self.attention_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        if feed_forward:
            self.mlp_norm = nn.LayerNorm(width)
            self.up = nn.Linear(width, feed_forward * width)
            self.down = nn.Linear(feed_forward * width, width)
        for linear in (self.query, self.key_value, *([self.up] if feed_forward else [])):
            nn.init.normal_(linear.weight, std=width**-0.5)
            nn.init.zeros_(linear.bias)
        for linear in (
            self.out,
            *([self.down] if feed_forward else []),
        ):  # scaled so that the sum over the layers keeps its size
            nn.init.normal_(linear.weight, std=(linear.in_features * 2 * depth) ** -0.5)
            nn.init.zeros_(linear.bias)

    def forward(
        self,
        x: Tensor,
        angles: Tensor | None = None,
        mask: Tensor | None = None,
        causal: bool = False,
        chosen: Tensor | None = None,
    ) -> Tensor:
        """x: (B, T, D). angles: (T, D / heads / 2). mask: bool, broadcast to (B, heads, Q, T), what is seen. causal: the usual mask.

        Returns (B, T, D), Q = T; with `chosen`, (B, Q) positions, only theirs, (B, Q, D).
        """
        b, t, d = x.shape
        normed = self.attention_norm(x)
        key, value = (
            self.key_value(normed).view(b, t, 2, self.heads, -1).unbind(2)
        )  # each (B, T, heads, D / heads)
        turns = angles
        if chosen is None:
            query = self.query(normed)
        else:
            x, query = pick(x, chosen), self.query(pick(normed, chosen))
            turns = None if angles is None else angles[chosen]
        query = query.view(b, -1, self.heads, d // self.heads)
        if angles is not None:
            query, key = rotate(query, turns), rotate(key, angles)
        y = F.scaled_dot_product_attention(
            query.transpose(1, 2),
            key.transpose(1, 2),
            value.transpose(1, 2),
            attn_mask=mask,
            is_causal=causal,
        )
        x = x + self.out(y.transpose(1, 2).reshape(b, -1, d))
        return x + self.down(F.gelu(self.up(self.mlp_norm(x)))) if self.feed_forward else x


class Context(nn.Module):
    """(B, T, P, D), P tokens a frame -> (B, T, D), a context vector for each frame: what becomes of its last token.

    Every token sees all tokens of its own frame and of those before it, and of time only distances: a window may begin anywhere in an episode.
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            Layer(size.width, size.heads, size.layers, size.feed_forward)
            for _ in range(size.layers)
        )
        self.norm = nn.LayerNorm(size.width)
        half = size.width // size.heads // 2
        self.register_buffer("speeds", 100.0 ** (-torch.arange(half) / half), persistent=False)

    def _angles(self, frames: int, tokens: int) -> Tensor:
        time = torch.arange(frames, device=self.speeds.device).repeat_interleave(tokens)
        return time[:, None] * self.speeds  # (T P, D / heads / 2)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.each(tokens)[0]

    def each(self, tokens: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The context vector of every frame from those before it, (B, T, D), and what each layer made of the frames' last tokens, a list of (B, T, D)."""
        b, t, p, d = tokens.shape
        x, angles, outputs = tokens.reshape(b, t * p, d), self._angles(t, p), []
        if p == 1:
            for layer in self.layers:
                x = layer(x, angles, causal=True)
                outputs.append(x)
            return self.norm(x), outputs
        mask = _seen(t, p, x.device)
        newest = torch.arange(p - 1, t * p, p, device=x.device)
        for layer in self.layers[:-1]:
            x = layer(x, angles, mask)
            outputs.append(x[:, newest])
        outputs.append(
            self.layers[-1](x, angles, mask[newest], chosen=newest.expand(b, -1))
        )  # the last layer is only needed where it is read
        return self.norm(outputs[-1]), outputs

    def last(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The context vector of the newest frame of each window, and what each layer made of that frame's last token.

        tokens: (B, T, P, D), each row's frames from position 0 on. lengths: (B,), how many there are. Returns (B, D) and a list of (B, D).
        """
        b, t, p, d = tokens.shape
        x, angles, last, outputs = (
            tokens.reshape(b, t * p, d),
            self._angles(t, p),
            (lengths * p - 1)[:, None],
            [],
        )
        mask = None if p == 1 else _seen(t, p, x.device)
        for layer in self.layers[:-1]:
            x = layer(x, angles, mask, causal=p == 1)
            outputs.append(pick(x, last)[:, 0])
        there = (torch.arange(t * p, device=x.device) <= last)[:, None, None]  # (B, 1, 1, T P)
        outputs.append(self.layers[-1](x, angles, there, chosen=last)[:, 0])
        return self.norm(outputs[-1]), outputs


def _seen(frames: int, tokens: int, device: torch.device) -> Tensor:
    """Block-causal mask, (T P, T P) bool."""
    frame = torch.arange(frames, device=device).repeat_interleave(tokens)
    return frame[:, None] >= frame


def pick(x: Tensor, index: Tensor) -> Tensor:
    """(B, T, D), (B, Q) -> (B, Q, D): some positions of each row."""
    return x.gather(1, index[:, :, None].expand(-1, -1, x.shape[2]))


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Rotary position embedding (Su et al., 2021). x: (B, T, heads, E). angles: (T, E / 2) or (B, T, E / 2)."""
    cos, sin = angles.cos().unsqueeze(-2), angles.sin().unsqueeze(-2)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1).to(x.dtype)
