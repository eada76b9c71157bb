"""The settings of single studies: the sizes, lengths and tasks that they compare."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from lastmile.closed import Closed


class Scaling(Closed):
    """The policies for all tasks. `policy.size` on all data is always among them."""

    sizes: tuple[Literal["xs", "s", "m", "l"], ...] = Field(
        ("xs", "s", "m"), description="Sizes to compare, on all data."
    )
    frames: tuple[Annotated[int, Field(ge=1, le=10**12)], ...] = Field(
        (40_000,),
        min_length=1,
        description="Lengths of their trainings, over all tasks; pretraining has the longest.",
    )
    joint: Annotated[int, Field(ge=1, le=10**12)] | None = Field(
        None,
        description="Length of the policy that other studies measure, trained once; none: longest.",
    )
    episodes: tuple[int, ...] = Field(
        (50, 250),
        description="Smaller numbers of distinct episodes of each task, at `policy.size`.",
    )


class Transfer(Closed):
    """Fine-tuning on unseen tasks, against training from scratch."""

    held_out: tuple[tuple[str, ...], ...] = Field(
        (),
        description=(
            "Groups of tasks, each left out of one pretraining. Tasks that are not studied are "
            "ignored, unless they are kept for transfer."
        ),
    )
    frames: int = Field(
        8_000,
        ge=1,
        le=10**12,
        description="Frames of a fine-tuning, and of a training from scratch.",
    )
    episodes: tuple[Annotated[int, Field(ge=1, le=10**7)], ...] = Field(
        (100,),
        min_length=1,
        description="Numbers of distinct episodes of the new task; claims are on the most.",
    )


class Heads(Closed):
    """The published head and context against ours, on the same data."""

    tasks: tuple[str, ...] = Field(
        (), description="Tasks to compare on. Tasks that are not studied are ignored."
    )
    size: Literal["xs", "s", "m", "l"] = Field("xs", description="Size of both.")
    frames: int = Field(6_000, ge=1, le=10**12, description="Frames that both see.")


class Composition(Closed):
    """Policies that learn from demonstrations which differ in one thing."""

    tasks: tuple[str, ...] = Field(
        (), description="Tasks to compare on. Tasks that are not studied are ignored."
    )
    frames: int = Field(24_000, ge=1, le=10**12, description="Frames that each sees.")


class Repair(Closed):
    """Policies that are fine-tuned to demonstrations of how to go on from their own mistakes."""

    tasks: tuple[str, ...] = Field(
        (), description="Tasks to compare on. Tasks that are not studied are ignored."
    )
    frames: int = Field(8_000, ge=1, le=10**12, description="Frames that each sees in a round.")
    episodes: int = Field(
        200,
        ge=2,
        le=10**7,
        description="Demonstrations of each kind, by round; at most `episodes.train`.",
    )
    rounds: int = Field(
        1, ge=1, le=100, description="Times that demonstrations are made and learned from."
    )


class Memory(Closed):
    """Policies that see different numbers of screens."""

    tasks: tuple[str, ...] = Field(
        (), description="Tasks to compare on. Tasks that are not studied are ignored."
    )
    windows: tuple[Annotated[int, Field(ge=1, le=512)], ...] = Field(
        (1, 5, 20, 40),
        min_length=3,
        description="Screens that they see, ascending: the fewest, ..., the usual, the most.",
    )
    frames: int = Field(24_000, ge=1, le=10**12, description="Frames that each learns from.")

    @field_validator("windows")
    @classmethod
    def _windows(cls, windows: tuple[int, ...]) -> tuple[int, ...]:
        if list(windows) != sorted(set(windows)):
            raise ValueError(f"windows must be distinct and ascending, got {list(windows)}")
        return windows


class Layouts(Closed):
    """Policies that learn on some looks of the interface, and are tested on others."""

    tasks: tuple[str, ...] = Field(
        (), description="Tasks to compare on. Tasks that are not studied are ignored."
    )
    frames: int = Field(
        24_000, ge=4, le=10**12, description="Frames that each sees; a fine-tuning, a quarter."
    )
