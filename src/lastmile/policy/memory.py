"""What a policy remembers during rollouts: the tokens of the last frames of each."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Memory(NamedTuple):
    """The tokens of the last frames of several rollouts, one row per rollout.

    Attributes:
        tokens: (rows, window, P, D), P tokens per frame, oldest frame first, from position 0 on.
        lengths: (rows,), number of frames that each row holds.
    """

    tokens: Tensor
    lengths: Tensor

    def reset(self, rows: Tensor | list[int]) -> None:
        """Forget the frames of these rows, where new episodes begin."""
        self.lengths[rows] = 0

    def append(self, rows: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Add one frame to each of B rows; a full row drops its oldest frame.

        Args:
            rows: (B,), no row twice.
            tokens: (B, P, D), the tokens of the new frames.

        Returns:
            The windows of these rows, (B, window, P, D), and their lengths, (B,).
        """
        window = self.tokens.shape[1]
        full = rows[self.lengths[rows] == window]
        self.tokens[full, :-1] = self.tokens[full, 1:]
        self.lengths[rows] = (self.lengths[rows] + 1).clamp_(max=window)
        # Under autocast tokens may come in bfloat16.
        self.tokens[rows, self.lengths[rows] - 1] = tokens.to(self.tokens.dtype)
        return self.tokens[rows], self.lengths[rows]
