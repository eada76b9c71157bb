"""Vision transformers as encoders: from scratch, or DINOv2 with the weights that it was published with."""

from __future__ import annotations

import re

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lastmile.errors import LastmileError
from lastmile.policy.context import Layer
from lastmile.policy.encoder import cut, pixels
from lastmile.policy.sizes import BACKBONES, PATCH, Size

REGISTERS = 4
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of the channels, on a scale of 0 to 1, that DINOv2 was trained with."""


class WeightsError(LastmileError):
    """Pretrained weights that cannot be had; the message says how to get them."""


class FrameVector(nn.Module):
    """(N, rows, columns, C) features -> (N, D): a linear map of all cells, which keeps positions, plus one of their mean and maximum."""

    def __init__(self, channels: int, cells: int, size: Size) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, size.squeeze)
        self.everywhere_norm = nn.LayerNorm(cells * size.squeeze)
        self.everywhere = nn.Linear(cells * size.squeeze, size.width)
        self.anywhere_norm = nn.LayerNorm(2 * channels)
        self.anywhere = nn.Linear(2 * channels, size.width)

    def forward(self, cells: Tensor) -> Tensor:
        pooled = torch.cat([cells.mean((1, 2)), cells.amax((1, 2))], 1)
        return self.everywhere(
            self.everywhere_norm(self.squeeze(cells).flatten(1))
        ) + self.anywhere(self.anywhere_norm(pooled))


class ViTEncoder(nn.Module):
    """A vision transformer from scratch: patches of 14 x 14 px, learned positions, pre-norm layers (Dosovitskiy et al., 2021).

    screen: (height, width) of the small screen in px. Raises ValueError if it cannot be cut into patches.
    """

    cell = PATCH

    def __init__(self, size: Size, screen: tuple[int, int]) -> None:
        super().__init__()
        self.screen, self.rows, self.columns = (*screen,), *grid(screen)
        self.channels = size.vit_width
        self.embed = nn.Linear(PATCH * PATCH * 3, self.channels)
        self.position = nn.Parameter(0.02 * torch.randn(self.rows * self.columns, self.channels))
        self.layers = nn.ModuleList(
            Layer(self.channels, size.vit_heads, size.vit_layers) for _ in range(size.vit_layers)
        )
        self.norm = nn.LayerNorm(self.channels)
        self.vector = FrameVector(self.channels, self.rows * self.columns, size)

    def forward(self, screens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, height, width, 3) uint8 -> the pixels of the patches (N, rows, columns, 14 * 14 * 3) uint8, their features (N, rows, columns, C), and
        frame vectors (N, D)."""
        patches = cut(screens, self.screen, PATCH)
        x = self.embed(pixels(patches)).flatten(1, 2) + self.position  # (N, H W, C)
        for layer in self.layers:
            x = layer(x)
        cells = self.norm(x).view(len(x), self.rows, self.columns, -1)
        return patches, cells, self.vector(cells)


class Dinov2Encoder(nn.Module):
    """DINOv2 with registers (Oquab et al., 2024; Darcet et al., 2024), all of it trained on, as published: the features of its patches.

    Made with random weights; `load_pretrained` fetches the published ones. Position embeddings are resampled once to the grid of the screen,
    which is cut into patches of 14 x 14 px without resizing.

    backbone: small, base or large. Raises ValueError if the screen cannot be cut into patches, WeightsError without the package transformers.
    """

    cell = PATCH

    def __init__(self, size: Size, screen: tuple[int, int], backbone: str) -> None:
        super().__init__()
        self.screen, self.rows, self.columns = (*screen,), *grid(screen)
        self.backbone = backbone
        shape = BACKBONES[backbone]
        self.channels = shape.width
        config, model = _transformers()
        self.model = model(
            config(
                hidden_size=shape.width,
                num_hidden_layers=shape.layers,
                num_attention_heads=shape.heads,
                num_register_tokens=REGISTERS,
                patch_size=PATCH,
                image_size=[self.rows * PATCH, self.columns * PATCH],
            )
        )
        self.model.embeddings.mask_token.requires_grad_(False)  # not used without masked patches
        self.vector = FrameVector(self.channels, self.rows * self.columns, size)
        for name, values in zip(("mean", "deviation"), IMAGENET):
            self.register_buffer(
                name, 255 * torch.tensor(values).repeat(PATCH * PATCH), persistent=False
            )

    def forward(self, screens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, height, width, 3) uint8 -> the pixels of the patches (N, rows, columns, 14 * 14 * 3) uint8, their features (N, rows, columns, C), and
        frame vectors (N, D)."""
        patches = cut(screens, self.screen, PATCH)
        n, parts = len(patches), self.model.embeddings
        project = parts.patch_embeddings.projection
        # A convolution whose stride is its size is a matrix product of the patches.
        kernel = project.weight.permute(0, 2, 3, 1).flatten(1)
        x = F.linear(
            (patches.flatten(1, 2).float() - self.mean) / self.deviation, kernel, project.bias
        )  # (N, H W, C)
        x = torch.cat([parts.cls_token.expand(n, -1, -1), x], 1) + parts.position_embeddings
        x = torch.cat([x[:, :1], parts.register_tokens.expand(n, -1, -1), x[:, 1:]], 1)
        x = self.model.layernorm(self.model.encoder(x).last_hidden_state)
        cells = x[:, 1 + REGISTERS :].reshape(n, self.rows, self.columns, -1)
        return patches, cells, self.vector(cells)

    def load_pretrained(self, weights: str) -> None:
        """Take the published weights, or those in a local folder, or of another name on the Hugging Face hub.

        weights: `pretrained`, a folder or a name. Raises WeightsError if they cannot be fetched or are those of another network.
        """
        published = f"facebook/dinov2-with-registers-{self.backbone}"
        source = published if weights == "pretrained" else weights
        try:
            given = _transformers()[1].from_pretrained(source)
        except (OSError, ValueError) as error:
            name = source if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", source) else published
            raise WeightsError(
                f"policy.weights: '{source}' cannot be fetched or read ({str(error).splitlines()[0]}). Where there is a network, run\n"
                f"  hf download {name} --local-dir FOLDER\n"
                "and set policy.weights to that folder; policy.weights: random trains from scratch"
            ) from None
        state, own = given.state_dict(), self.model.state_dict()
        name = "embeddings.position_embeddings"
        if name in state and state[name].shape[2] == own[name].shape[2]:
            state[name] = resample(state[name], self.rows, self.columns)
        for key in sorted(own.keys() | state.keys()):
            there, wanted = (
                tuple(part[key].shape) if key in part else "nothing" for part in (state, own)
            )
            if there != wanted:
                raise WeightsError(
                    f"policy.weights: '{source}' is no DINOv2 with registers of size '{self.backbone}': {key} is {there}, expected {wanted}"
                )
        self.model.load_state_dict(state)


def resample(positions: Tensor, rows: int, columns: int) -> Tensor:
    """Position embeddings of a square grid, (1, 1 + n * n, C), as those of another grid, (1, 1 + rows * columns, C), as DINOv2 itself does it."""
    side = round((positions.shape[1] - 1) ** 0.5)
    square = positions[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    square = F.interpolate(
        square.float(), size=(rows, columns), mode="bicubic", align_corners=False, antialias=True
    )
    return torch.cat(
        [positions[:, :1], square.permute(0, 2, 3, 1).flatten(1, 2).to(positions.dtype)], 1
    )


def grid(screen: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of patches. Raises ValueError if the screen cannot be cut into them."""
    height, width = screen
    if height <= 0 or width <= 0 or height % PATCH or width % PATCH:
        raise LastmileError(
            f"screen: the encoder needs a height and width divisible by {PATCH} px, got {height} x {width}"
        )
    return height // PATCH, width // PATCH


def _transformers():
    """Configuration and model classes of DINOv2 with registers."""
    try:
        from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel
        from transformers.utils import logging
    except ImportError as error:
        raise WeightsError(
            f"policy.encoder: dinov2 needs the package transformers ({error}); install it with: pip install 'lastmile[dinov2]'"
        ) from None
    logging.disable_progress_bar()
    return Dinov2WithRegistersConfig, Dinov2WithRegistersModel
