"""Vision transformers as encoders: from scratch, or DINOv2 with its published weights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lastmile.errors import LastmileError
from lastmile.extras import needed_for
from lastmile.policy.context import Layer
from lastmile.policy.encoder import cut_cells, scale_pixels
from lastmile.policy.outline import small_parameter
from lastmile.policy.sizes import BACKBONES, PATCH, Size

REGISTERS = 4
"""Register tokens of DINOv2 with registers."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
"""Mean and standard deviation of the channels, on a scale of 0 to 1, with which DINOv2 was
trained."""


class WeightsError(LastmileError):
    """Pretrained weights that cannot be used; the message says how to get them."""


class FrameVector(nn.Module):
    """(N, rows, columns, C) features -> (N, D) frame vectors.

    A linear map of all cells, which keeps positions, plus one of their mean and maximum.
    """

    def __init__(self, channels: int, cells: int, size: Size) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, size.squeeze)
        self.everywhere_norm = nn.LayerNorm(cells * size.squeeze)
        self.everywhere = nn.Linear(cells * size.squeeze, size.width)
        self.anywhere_norm = nn.LayerNorm(2 * channels)
        self.anywhere = nn.Linear(2 * channels, size.width)

    def forward(self, cells: Tensor) -> Tensor:
        """(N, rows, columns, C) -> (N, D)."""
        pooled = torch.cat([cells.mean((1, 2)), cells.amax((1, 2))], 1)  # (N, 2 C)
        return self.everywhere(
            self.everywhere_norm(self.squeeze(cells).flatten(1))
        ) + self.anywhere(self.anywhere_norm(pooled))


class ViTEncoder(nn.Module):
    """Encode screens with a vision transformer from scratch (Dosovitskiy et al., 2021).

    Patches of 14 x 14 px, learned positions, pre-norm layers.

    Args:
        size: Widths and depths.
        screen: (height, width) of the small screen in px.

    Raises:
        LastmileError: If the screen cannot be cut into patches.
    """

    cell = PATCH

    def __init__(self, size: Size, screen: tuple[int, int]) -> None:
        super().__init__()
        self.rows, self.columns = patch_grid(screen)
        self.screen = screen
        self.channels = size.vit_width
        self.embed = nn.Linear(PATCH * PATCH * 3, self.channels)
        self.position = small_parameter(self.rows * self.columns, self.channels)
        self.layers = nn.ModuleList(
            Layer(self.channels, size.vit_heads, size.vit_layers) for _ in range(size.vit_layers)
        )
        self.norm = nn.LayerNorm(self.channels)
        self.vector = FrameVector(self.channels, self.rows * self.columns, size)

    def forward(self, screens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode screens.

        Args:
            screens: (N, height, width, 3) uint8.

        Returns:
            The pixels of the patches, (N, rows, columns, 14 * 14 * 3) uint8; their features,
            (N, rows, columns, C); and frame vectors, (N, D).
        """
        patches = cut_cells(screens, self.screen, PATCH)
        x = self.embed(scale_pixels(patches)).flatten(1, 2) + self.position  # (N, H W, C)
        for layer in self.layers:
            x = layer(x)
        cells = self.norm(x).view(len(x), self.rows, self.columns, -1)
        return patches, cells, self.vector(cells)


class Dinov2Encoder(nn.Module):
    """Encode screens with DINOv2 with registers (Oquab et al., 2024; Darcet et al., 2024).

    All of it is trained on, as published. The initial weights are random; `load_pretrained`
    replaces them by the published ones. The screen is cut into patches of 14 x 14 px without
    resizing it, and the position embeddings are resampled once to this grid.

    Args:
        size: Widths and depths.
        screen: (height, width) of the small screen in px.
        backbone: `small`, `base` or `large`.

    Raises:
        LastmileError: If the screen cannot be cut into patches.
        MissingExtraError: If the package transformers is not installed.
    """

    cell = PATCH
    mean: Tensor
    deviation: Tensor

    def __init__(self, size: Size, screen: tuple[int, int], backbone: str) -> None:
        super().__init__()
        self.rows, self.columns = patch_grid(screen)
        self.screen = screen
        self.backbone = backbone
        shape = BACKBONES[backbone]
        self.channels = shape.width
        config_class, model_class = _dinov2_classes()
        self.model = model_class(
            config_class(
                hidden_size=shape.width,
                num_hidden_layers=shape.layers,
                num_attention_heads=shape.heads,
                num_register_tokens=REGISTERS,
                patch_size=PATCH,
                image_size=[self.rows * PATCH, self.columns * PATCH],
            )
        )
        # Without masked patches the mask token gets no gradient.
        self.model.embeddings.mask_token.requires_grad_(False)
        self.vector = FrameVector(self.channels, self.rows * self.columns, size)
        for name, values in (("mean", IMAGENET_MEAN), ("deviation", IMAGENET_DEVIATION)):
            self.register_buffer(
                name, 255 * torch.tensor(values).repeat(PATCH * PATCH), persistent=False
            )

    def forward(self, screens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode screens.

        Args:
            screens: (N, height, width, 3) uint8.

        Returns:
            The pixels of the patches, (N, rows, columns, 14 * 14 * 3) uint8; their features,
            (N, rows, columns, C); and frame vectors, (N, D).
        """
        patches = cut_cells(screens, self.screen, PATCH)
        n = len(patches)
        embeddings = self.model.embeddings
        project = embeddings.patch_embeddings.projection

        # A convolution whose stride is its size is a matrix product of the patches.
        kernel = project.weight.permute(0, 2, 3, 1).flatten(1)
        x = F.linear(
            (patches.flatten(1, 2).float() - self.mean) / self.deviation, kernel, project.bias
        )  # (N, H W, C)
        x = torch.cat([embeddings.cls_token.expand(n, -1, -1), x], 1)
        x = x + embeddings.position_embeddings
        x = torch.cat([x[:, :1], embeddings.register_tokens.expand(n, -1, -1), x[:, 1:]], 1)

        x = self.model.layernorm(self.model.encoder(x).last_hidden_state)
        cells = x[:, 1 + REGISTERS :].reshape(n, self.rows, self.columns, -1)
        return patches, cells, self.vector(cells)

    def load_pretrained(self, weights: str) -> None:
        """Replace the weights by pretrained ones.

        Args:
            weights: `pretrained` for the published weights, a local folder, or a name on the
                Hugging Face hub, as `owner/name` or `owner/name@revision`.

        Raises:
            WeightsError: If they cannot be fetched, or belong to another network.
        """
        published = f"facebook/dinov2-with-registers-{self.backbone}"
        source, revision = published if weights == "pretrained" else weights, ""
        if not Path(source).is_dir():
            source, _, revision = source.partition("@")
        try:
            pretrained = _dinov2_classes()[1].from_pretrained(
                source, revision=revision or "main", use_safetensors=True
            )
        except (OSError, ValueError) as error:
            name = source if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", source) else published
            raise WeightsError(
                f"policy.weights: '{source}' cannot be fetched or read "
                f"({str(error).splitlines()[0]}). On a machine with a network, run\n"
                f"  hf download {name} --local-dir FOLDER\n"
                "and set policy.weights to that folder; or train from scratch with "
                "policy.weights: random"
            ) from None

        state = pretrained.state_dict()
        own = self.model.state_dict()
        name = "embeddings.position_embeddings"
        if name in state and state[name].shape[2] == own[name].shape[2]:
            state[name] = resample_positions(state[name], self.rows, self.columns)
        for key in sorted(own.keys() | state.keys()):
            shape = tuple(state[key].shape) if key in state else "missing"
            expected = tuple(own[key].shape) if key in own else "nothing of this name"
            if shape != expected:
                raise WeightsError(
                    f"policy.weights: '{source}' is not DINOv2 with registers of size "
                    f"'{self.backbone}': {key} is {shape}, expected {expected}"
                )
        self.model.load_state_dict(state)


def resample_positions(positions: Tensor, rows: int, columns: int) -> Tensor:
    """Resample position embeddings from a square grid to another grid, as DINOv2 itself does.

    Args:
        positions: (1, 1 + n * n, C); the first is that of the class token and stays.
        rows: Rows of the new grid.
        columns: Columns of the new grid.

    Returns:
        (1, 1 + rows * columns, C).
    """
    side = round((positions.shape[1] - 1) ** 0.5)
    square = positions[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    resampled = F.interpolate(
        square.float(), size=(rows, columns), mode="bicubic", align_corners=False, antialias=True
    )
    return torch.cat(
        [positions[:, :1], resampled.permute(0, 2, 3, 1).flatten(1, 2).to(positions.dtype)], 1
    )


def patch_grid(screen: tuple[int, int]) -> tuple[int, int]:
    """Return the rows and columns of patches of a screen.

    Raises:
        LastmileError: If the screen cannot be cut into patches.
    """
    height, width = screen
    if height <= 0 or width <= 0 or height % PATCH or width % PATCH:
        raise LastmileError(
            f"screen: the encoder needs a height and width divisible by {PATCH} px, "
            f"got {height} x {width}"
        )
    return height // PATCH, width // PATCH


def _dinov2_classes() -> tuple[Any, Any]:
    """Return the configuration and model classes of DINOv2 with registers.

    They are imported here, since transformers is optional and slow to import.
    """
    with needed_for("policy.encoder: dinov2"):
        from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel
        from transformers.utils import logging
    logging.disable_progress_bar()
    return Dinov2WithRegistersConfig, Dinov2WithRegistersModel
