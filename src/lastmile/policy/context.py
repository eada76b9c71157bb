"""A causal transformer over the tokens of the last frames, one token per frame or many."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lastmile.policy.sizes import Size


class Layer(nn.Module):
    """A pre-norm transformer layer, with rotary positions where angles are passed in.

    Args:
        width: Width of the tokens.
        heads: Number of attention heads.
        depth: Number of layers of the whole transformer, by which the initial weights scale.
        feed_forward: Width of the two-layer perceptron, in multiples of `width`; 0 for attention
            alone.
    """

    def __init__(self, width: int, heads: int, depth: int, feed_forward: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.feed_forward = feed_forward
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
        # What is added to the residual stream starts small enough that the sum over all layers
        # keeps its scale.
        for linear in (self.out, *([self.down] if feed_forward else [])):
            nn.init.normal_(linear.weight, std=(linear.in_features * 2 * depth) ** -0.5)
            nn.init.zeros_(linear.bias)

    def forward(
        self,
        x: Tensor,
        angles: Tensor | None = None,
        mask: Tensor | None = None,
        causal: bool = False,
        queries: Tensor | None = None,
    ) -> Tensor:
        """Apply the layer.

        Args:
            x: (B, T, D).
            angles: (T, D / heads / 2), rotary angles of the positions.
            mask: bool, broadcast to (B, heads, Q, T), True where a query sees a key.
            causal: Let each position see itself and those before it; instead of `mask`.
            queries: (B, Q), the positions whose output is needed; without it all, Q = T.

        Returns:
            (B, Q, D).
        """
        b, t, d = x.shape
        normed = self.attention_norm(x)
        # Each (B, T, heads, D / heads).
        key, value = self.key_value(normed).view(b, t, 2, self.heads, -1).unbind(2)
        query_angles = angles
        if queries is None:
            query = self.query(normed)
        else:
            x = pick(x, queries)
            query = self.query(pick(normed, queries))
            query_angles = None if angles is None else angles[queries]
        query = query.view(b, -1, self.heads, d // self.heads)  # (B, Q, heads, D / heads)
        if angles is not None and query_angles is not None:
            query = rotate(query, query_angles)
            key = rotate(key, angles)

        y = F.scaled_dot_product_attention(
            query.transpose(1, 2),
            key.transpose(1, 2),
            value.transpose(1, 2),
            attn_mask=mask,
            is_causal=causal,
        )  # (B, heads, Q, D / heads)
        x = x + self.out(y.transpose(1, 2).reshape(b, -1, d))
        return x + self.down(F.gelu(self.up(self.mlp_norm(x)))) if self.feed_forward else x


class Context(nn.Module):
    """The context vector of each frame, from its own tokens and those of the frames before it.

    Maps (B, T, P, D), P tokens per frame, to (B, T, D): the transformer's output at the last token
    of each frame. A token sees all tokens of its own frame and of earlier frames. Positions are
    relative times, so that a window may begin anywhere in an episode.
    """

    speeds: Tensor

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            Layer(size.width, size.heads, size.layers, size.feed_forward)
            for _ in range(size.layers)
        )
        self.norm = nn.LayerNorm(size.width)
        half = size.width // size.heads // 2
        steps = torch.arange(half, device="cpu")
        self.register_buffer("speeds", 100.0 ** (-steps / half), persistent=False)

    def _angles(self, frames: int, tokens: int) -> Tensor:
        """Return the rotary angles, (T P, D / heads / 2); all tokens of a frame share theirs."""
        time = torch.arange(frames, device=self.speeds.device)[:, None].expand(-1, tokens).flatten()
        return time[:, None] * self.speeds

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, T, P, D) -> (B, T, D)."""
        return self.each(tokens)[0]

    def each(self, tokens: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Compute the context of every frame.

        Args:
            tokens: (B, T, P, D).

        Returns:
            The context vectors, (B, T, D), and for each layer its output at the last token of
            each frame, (B, T, D).
        """
        b, t, p, d = tokens.shape
        x = tokens.reshape(b, t * p, d)
        angles = self._angles(t, p)
        outputs = []
        if p == 1:
            for layer in self.layers:
                x = layer(x, angles, causal=True)
                outputs.append(x)
            return self.norm(x), outputs

        mask = _block_causal(t, p, x.device)
        last_tokens = torch.arange(p - 1, t * p, p, device=x.device)  # (T,)
        for layer in self.layers[:-1]:
            x = layer(x, angles, mask)
            outputs.append(x[:, last_tokens])
        # Nothing but the last tokens of the frames is read from the last layer.
        outputs.append(
            self.layers[-1](x, angles, mask[last_tokens], queries=last_tokens.expand(b, -1))
        )
        return self.norm(outputs[-1]), outputs

    def last(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Compute the context of the newest frame of each window.

        Args:
            tokens: (B, T, P, D), the frames of each window from position 0 on.
            lengths: (B,), number of frames in each window.

        Returns:
            The context vectors, (B, D), and for each layer its output at the last token of the
            newest frame, (B, D).
        """
        b, t, p, d = tokens.shape
        x = tokens.reshape(b, t * p, d)
        angles = self._angles(t, p)
        newest = (lengths * p - 1)[:, None]  # (B, 1)
        outputs = []

        mask = None if p == 1 else _block_causal(t, p, x.device)
        for layer in self.layers[:-1]:
            x = layer(x, angles, mask, causal=p == 1)
            outputs.append(pick(x, newest)[:, 0])
        # Positions past the newest token hold anything; its query must not see them.
        visible = torch.arange(t * p, device=x.device) <= newest  # (B, T P)
        outputs.append(self.layers[-1](x, angles, visible[:, None, None], queries=newest)[:, 0])
        return self.norm(outputs[-1]), outputs


def _block_causal(frames: int, tokens: int, device: torch.device) -> Tensor:
    """Return the block-causal mask, (T P, T P) bool."""
    frame = torch.arange(frames, device=device).repeat_interleave(tokens)
    return frame[:, None] >= frame


def pick(x: Tensor, index: Tensor) -> Tensor:
    """Select positions of each row: (B, T, D) and (B, Q) -> (B, Q, D)."""
    return x.gather(1, index[:, :, None].expand(-1, -1, x.shape[2]))


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Apply rotary position embedding (Su et al., 2021).

    Args:
        x: (B, T, heads, E).
        angles: (T, E / 2) or (B, T, E / 2).
    """
    cos = angles.cos().unsqueeze(-2)
    sin = angles.sin().unsqueeze(-2)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1).to(x.dtype)
