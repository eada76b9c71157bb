"""Ways to make demonstrations with a policy. Imports no tables, so that a plan can name them."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

Way: TypeAlias = Literal["plain", "relabelled", "handed-over", "noise"]
"""How demonstrations are made.

- `plain`: the annotator works alone.
- `relabelled`: the policy works; at every step the annotator says what it would click, which is to
  be learned (DAgger; Ross, Gordon and Bagnell, 2011).
- `handed-over`: the policy works for a random number of steps, then the annotator works to the end.
  Only the annotator's steps are to be learned; the policy's are what it had before its eyes.
- `noise`: the annotator works, but now and then a mistake is made in the place of its step, which
  is to be learned nevertheless (DART; Laskey et al., 2017).
"""
WAYS: tuple[Way, ...] = get_args(Way)
WITH_POLICY: tuple[Way, ...] = ("relabelled", "handed-over")
"""Ways that need a policy. Every other of their demonstrations is a plain one."""
