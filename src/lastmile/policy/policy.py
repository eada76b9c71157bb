"""The policy: the last screens and the last click in, the next click out."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor, nn

from lastmile.config import PolicySettings, canonical
from lastmile.errors import LastmileError
from lastmile.policy.context import Context
from lastmile.policy.encoder import ConvEncoder, pixels
from lastmile.policy.head import BinsHead, PointerHead
from lastmile.policy.sizes import PATCH, SIZES
from lastmile.policy.vit import Dinov2Encoder, ViTEncoder
from lastmile.policy.weights import (
    PolicyError,
    check_weights,
    read_tensors,
    restore,
    weights,
    write_tensors,
)
from lastmile.screen import HEIGHT, SMALL_HEIGHT, SMALL_WIDTH, WIDTH
from lastmile.storage import files

FORMAT = "lastmile.policy/2"
CHUNK = 64
"""Frames worked on at a time where a whole episode is given."""
TOGETHER = 512
"""Tokens of new frames, about, whose windows pass the transformer together there."""
COUNTS = 10
"""How many different numbers of frames, at most, are encoded for the losses of batches of one size."""
NOWHERE = (-1, -1)
"""The click before the first one."""


class Frames(NamedTuple):
    """What the encoder makes of N frames: cells (N, rows, columns, C), patches (N, rows, columns, pixels of a cell) uint8, vectors (N, D), tokens
    (N, P, D), the last of which stands for the frame."""

    cells: Tensor
    patches: Tensor
    vectors: Tensor
    tokens: Tensor


class Memory(NamedTuple):
    """The tokens of the last frames of some rollouts. tokens: (rows, window, P, D), from position 0 on; lengths: (rows,), how many frames there are."""

    tokens: Tensor
    lengths: Tensor

    def reset(self, rows: Tensor | list[int]) -> None:
        """Forget what these rows have seen: a new episode begins there."""
        self.lengths[rows] = 0

    def append(self, rows: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Add a frame's tokens, (B, P, D), to each of B rows; a full row drops its oldest. Returns windows (B, window, P, D) and lengths (B,)."""
        window = self.tokens.shape[1]
        full = rows[self.lengths[rows] == window]
        self.tokens[full, :-1] = self.tokens[full, 1:]
        self.lengths[rows] = (self.lengths[rows] + 1).clamp_(max=window)
        self.tokens[rows, self.lengths[rows] - 1] = tokens
        return self.tokens[rows], self.lengths[rows]


class PreviousClick(nn.Module):
    """The last click as part of the token: where it was, and what lies there now. The latter is how a mistake shows.

    What lies there is seen twice: as the feature of the cell, and as the pixels around the click. These are cut out so that the click is always in
    their middle: what a marker looks like that missed its target is then learned once, and not anew for every place of the screen.
    """

    FREQUENCIES = 8
    REACH = 12
    """Pixels of the small screen cut out on each side of the click."""

    def __init__(self, fine: int, width: int) -> None:
        super().__init__()
        self.place = nn.Linear(4 * self.FREQUENCIES, width)
        self.found = nn.Linear(fine, width)
        self.near = nn.Conv2d(3, 24, 5, stride=2)
        self.far = nn.Conv2d(24, 48, 3, stride=2)
        self.looked = nn.Linear(48 * 4 * 4, width)
        self.start = nn.Parameter(0.02 * torch.randn(width))
        self.register_buffer(
            "octaves", torch.pi * 2.0 ** torch.arange(self.FREQUENCIES), persistent=False
        )

    def forward(self, cells: Tensor, screens: Tensor, previous: Tensor) -> Tensor:
        """cells: (N, rows, columns, C). screens: (N, 126, 168, 3) uint8. previous: (N, 2) logical px, negative before the first click. Returns
        (N, D)."""
        rows, columns = cells.shape[1:3]
        first = previous[:, :1] < 0  # (N, 1)
        at = previous.clamp_min(0)
        index = torch.arange(len(at), device=at.device)
        x, y = at[:, 0], at[:, 1]
        angles = (at.float() / at.new_tensor([WIDTH, HEIGHT]).float())[
            :, :, None
        ] * self.octaves  # (N, 2, F)
        where = self.place(torch.cat([angles.sin(), angles.cos()], -1).flatten(1))
        found = self.found(cells[index, y * rows // HEIGHT, x * columns // WIDTH])
        height, width = screens.shape[1:3]
        reach = torch.arange(-self.REACH, self.REACH, device=at.device)
        # Past the edge of the screen its last pixel is repeated.
        down = ((y * height // HEIGHT)[:, None] + reach).clamp(0, height - 1)[
            :, :, None
        ]  # (N, 24, 1)
        across = ((x * width // WIDTH)[:, None] + reach).clamp(0, width - 1)[:, None]  # (N, 1, 24)
        around = pixels(screens[index[:, None, None], down, across]).permute(
            0, 3, 1, 2
        )  # (N, 3, 24, 24)
        looked = self.looked(F.relu(self.far(F.relu(self.near(around)))).flatten(1))
        return torch.where(first, self.start, where + found + looked)


class PatchTokens(nn.Module):
    """The cells of a frame as tokens of the transformer, one for each 14 x 14 px: (N, rows, columns, C) -> (N, P, D). Smaller cells are merged."""

    def __init__(self, rows: int, columns: int, cell: int, channels: int, width: int) -> None:
        super().__init__()
        self.merged = PATCH // cell
        self.project = nn.Linear(self.merged**2 * channels, width)
        self.position = nn.Parameter(
            0.02 * torch.randn(rows // self.merged * (columns // self.merged), width)
        )

    def forward(self, cells: Tensor) -> Tensor:
        n, rows, columns, channels = cells.shape
        k = self.merged
        x = cells.reshape(n, rows // k, k, columns // k, k, channels).permute(0, 1, 3, 2, 4, 5)
        return self.project(x.reshape(n, -1, k * k * channels)) + self.position


class Policy(nn.Module):
    """Predicts the next click from the last `settings.window` screens and the last click.

    Screens are (126, 168, 3) uint8, clicks (x, y) in logical px, 0 <= x < 448, 0 <= y < 336; the click before an episode's first is (-1, -1).
    Each frame is encoded once. Without a click head that sees the frame (`bins`) the frame vector is all there is.

    With one token a frame (context `frame`) that token is the frame vector with the last click. In the context `patch`, as published, the transformer
    sees the screens alone, without the last click: a token for each 14 x 14 px of each frame, and one more, the frame vector, which is read out.
    A pretrained encoder begins with random weights; `begin_weights` fetches the others.
    """

    def __init__(
        self, settings: PolicySettings, screen: tuple[int, int] = (SMALL_HEIGHT, SMALL_WIDTH)
    ) -> None:
        super().__init__()
        size = SIZES[settings.size]
        self.settings, self.size = settings, size
        if settings.encoder == "conv":
            self.encoder = ConvEncoder(size, screen)
        elif settings.encoder == "vit":
            self.encoder = ViTEncoder(size, screen)
        else:
            self.encoder = Dinov2Encoder(size, screen, settings.backbone)
        of_cells = (
            self.encoder.rows,
            self.encoder.columns,
            self.encoder.cell,
            self.encoder.channels,
        )
        if settings.context == "frame":
            self.previous = PreviousClick(self.encoder.channels, size.width)
        else:
            self.tokens = PatchTokens(*of_cells, size.width)
        self.context = Context(size)
        self.head = PointerHead(size, *of_cells) if settings.head == "pointer" else BinsHead(size)

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def tokens_per_frame(self) -> int:
        return 1 if self.settings.context == "frame" else len(self.tokens.position) + 1

    def begin_weights(self) -> None:
        """Fetch what the settings say that the encoder begins with. Raises WeightsError if it cannot be had."""
        if self.settings.encoder == "dinov2" and self.settings.weights != "random":
            self.encoder.load_pretrained(self.settings.weights)

    def encode(self, screens: Tensor, previous: Tensor) -> Frames:
        """screens: (N, 126, 168, 3) uint8. previous: (N, 2), the click before each screen."""
        patches, cells, vectors = self.encoder(screens)
        if self.settings.context == "frame":
            tokens = (vectors + self.previous(cells, screens, previous.long()))[:, None]
        else:
            tokens = torch.cat([self.tokens(cells), vectors[:, None]], 1)
        return Frames(cells, patches, vectors, tokens)

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        """Negative log-likelihood of every click, (B, T) nats, 0 where the mask is off.

        batch: screens (B, T, 126, 168, 3) uint8, targets and previous (B, T, 2), mask (B, T) bool: real frames, from position 0 on.
        """
        mask = batch["mask"]
        b, t = mask.shape
        chosen = worth_encoding(mask)
        screens, previous, targets = (
            batch[name].flatten(0, 1).index_select(0, chosen)
            for name in ("screens", "previous", "targets")
        )
        frames = self.encode(screens, previous)
        tokens = frames.tokens.new_zeros(b * t, *frames.tokens.shape[1:]).index_copy(
            0, chosen, frames.tokens
        )
        context = self.context(tokens.unflatten(0, (b, t))).flatten(0, 1)[chosen]
        nll = self.head.loss(context, frames.cells, frames.patches, targets)
        return nll.new_zeros(b * t).index_copy(0, chosen, nll).view(b, t).where(mask, 0.0)

    def begin(self, rows: int) -> Memory:
        """The memory of `rows` rollouts that have seen nothing yet."""
        tokens = torch.zeros(
            rows, self.settings.window, self.tokens_per_frame, self.size.width, device=self.device
        )
        return Memory(tokens, torch.zeros(rows, dtype=torch.long, device=self.device))

    @torch.inference_mode()
    def remember(self, memory: Memory, row: int, screens: Tensor, previous: Tensor) -> None:
        """Let one rollout take in screens (n, 126, 168, 3) uint8, oldest first, with the clicks before them, (n, 2), without acting on them."""
        index = torch.tensor([row], device=self.device)
        for token in self.encode(screens.to(self.device), previous.to(self.device)).tokens:
            memory.append(index, token[None])

    @torch.inference_mode()
    def act(
        self,
        memory: Memory,
        rows: Tensor,
        screens: Tensor,
        previous: Tensor,
        temperature: float | None = None,
        uniforms: Tensor | None = None,
    ) -> Tensor:
        """One step of B rollouts: the next clicks, (B, 2) int64 logical px. The memory takes in the screens.

        rows: (B,) which rows of the memory these are, no row twice. screens: (B, 126, 168, 3) uint8. previous: (B, 2).
        Without a temperature the mode; else a sample, from uniforms (B, 2) in [0, 1).
        """
        rows, screens, previous = (value.to(self.device) for value in (rows, screens, previous))
        frames = self.encode(screens, previous)
        context, _ = self.context.last(*memory.append(rows, frames.tokens))
        if temperature is None:
            return self.head.mode(context, frames.cells, frames.patches)
        if uniforms is None or temperature <= 0:
            raise LastmileError(
                f"a sample needs a temperature above 0 and uniforms, got {temperature} and {uniforms}"
            )
        return self.head.sample(
            context, frames.cells, frames.patches, temperature, uniforms.to(self.device)
        )

    @torch.inference_mode()
    def predict_episode(
        self,
        screens: np.ndarray | Tensor,
        clicks: np.ndarray | Tensor,
        targets: np.ndarray | Tensor,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Teacher-forced prediction of an episode, each step from exactly the screens that a rollout would remember.

        screens: (n, 126, 168, 3) uint8. clicks: (n, 2), what the annotator did; targets: (n, 2), what is to be predicted. Returns modes (n, 2) int64
        and the nats of the targets, (n,).
        """
        modes, nlls, wanted = [], [], iter(torch.as_tensor(targets).long().split(CHUNK))
        for frames, context, _ in self._teach(screens, clicks):
            truth = next(wanted).to(self.device)
            modes.append(self.head.mode(context, frames.cells, frames.patches).cpu())
            nlls.append(self.head.loss(context, frames.cells, frames.patches, truth).cpu())
        return torch.cat(modes).numpy(), torch.cat(nlls).numpy()

    @torch.inference_mode()
    def activations(
        self, screens: np.ndarray | Tensor, clicks: np.ndarray | Tensor
    ) -> dict[str, np.ndarray]:
        """Activations at every step of an episode, (n, D) float32 by name: `encoder` (frame vector), `token` (what of it enters the
        transformer, with the previous click if that is an input), `layer1` and so on (residual stream of the transformer at the newest frame)."""
        found: dict[str, list[Tensor]] = {}
        for frames, _, layers in self._teach(screens, clicks):
            named = {
                "encoder": frames.vectors,
                "token": frames.tokens[:, -1],
                **{f"layer{i}": x for i, x in enumerate(layers, 1)},
            }
            for name, values in named.items():
                found.setdefault(name, []).append(values.float().cpu())
        return {name: torch.cat(values).numpy() for name, values in found.items()}

    def _teach(self, screens, clicks):
        """Chunks of an episode: frames, context (N, D) and layer outputs."""
        screens, clicks = torch.as_tensor(screens), torch.as_tensor(clicks).long()
        if len(screens) != len(clicks) or not len(clicks):
            raise LastmileError(
                f"an episode needs as many clicks as screens, at least one; got {len(clicks)} and {len(screens)}"
            )
        previous = torch.cat([torch.tensor([NOWHERE]), clicks[:-1]])
        window, past = (
            self.settings.window,
            torch.zeros(0, self.tokens_per_frame, self.size.width, device=self.device),
        )
        together = max(1, TOGETHER // self.tokens_per_frame)
        for start in range(0, len(clicks), CHUNK):
            part = slice(start, start + CHUNK)
            frames = self.encode(screens[part].to(self.device), previous[part].to(self.device))
            tokens = torch.cat([past, frames.tokens])
            begun = 0 if start else min(window, len(tokens))  # frames that see all that came before
            steps = torch.arange(len(past) + begun, len(tokens), device=self.device)
            first = (steps - window + 1).clamp_min(0)
            # Places past the newest token hold some other one; the causal mask hides them.
            index = (first[:, None] + torch.arange(window, device=self.device)).clamp_max(
                len(tokens) - 1
            )  # (N, window)
            parts = []
            if begun:
                context, outputs = self.context.each(tokens[None, :begun])
                parts.append((context[0], [output[0] for output in outputs]))
            parts += [
                self.context.last(tokens[i], n)
                for i, n in zip(index.split(together), (steps - first + 1).split(together))
                if len(n)
            ]
            layers = [torch.cat(each) for each in zip(*(outputs for _, outputs in parts))]
            yield frames, torch.cat([context for context, _ in parts]), layers
            past = tokens[len(tokens) - min(window - 1, len(tokens)) :]

    def save(self, folder: str | Path) -> None:
        """Write config.json and policy.safetensors, each whole or not at all."""
        with files.writing(Path(folder) / "policy.safetensors") as temporary:
            write_tensors(temporary, weights(self), {"config": self.config()})
        files.write_text(Path(folder) / "config.json", canonical(self.config()) + "\n")

    def config(self) -> dict:
        """What config.json holds."""
        bins = (
            [WIDTH * 3 // 4, HEIGHT * 3 // 4]
            if self.settings.head == "pointer"
            else [WIDTH // BinsHead.PX, HEIGHT // BinsHead.PX]
        )
        return {
            "format": FORMAT,
            "settings": self.settings.model_dump(mode="json"),
            "screen": list(self.encoder.screen),
            "bins": bins,
        }

    @classmethod
    def load(cls, folder: str | Path, device: str | torch.device = "cpu") -> Policy:
        """The policy in a folder.

        Raises PolicyError naming the file at fault: missing, unreadable, of another format, with unknown keys, truncated, or of other shapes.
        """
        path = Path(folder) / "config.json"
        config = read_config(path)
        with torch.device(
            "meta"
        ):  # nothing of that size is made before the file is known to hold it
            wanted = cls.from_config(config, path).state_dict()
        path = Path(folder) / "policy.safetensors"
        state, meta = read_tensors(path, "the weights of a policy")
        check_weights(wanted, state, path)
        if meta.get("config") != config:
            raise PolicyError(
                f"{path}: belongs to another config.json, with {json.dumps(meta.get('config'))}"
            )
        policy = cls.from_config(config, path)
        restore(policy, state, path)
        return policy.eval().to(device)

    @classmethod
    def from_config(cls, config: dict, source: str | Path) -> Policy:
        """An untrained policy from what config.json holds. Raises PolicyError naming `source`."""
        expected = {"format", "settings", "screen", "bins"}
        if not isinstance(config, dict) or config.get("format") != FORMAT:
            raise PolicyError(
                f"{source}: expected a policy of format '{FORMAT}', got {_format(config)}"
            )
        if set(config) != expected:
            raise PolicyError(
                f"{source}: expected the keys {', '.join(sorted(expected))}, got {', '.join(sorted(config))}"
            )
        try:
            policy = cls(PolicySettings.model_validate(config["settings"]), tuple(config["screen"]))
        except ValidationError as error:
            item = error.errors()[0]
            raise PolicyError(
                f"{source}: setting '{'.'.join(map(str, item['loc']))}': {item['msg']}, got {item['input']!r}"
            ) from None
        except (TypeError, ValueError, RuntimeError, OverflowError) as error:
            raise PolicyError(f"{source}: {error}") from None
        if policy.config() != config:
            raise PolicyError(
                f"{source}: expected bins {policy.config()['bins']} and all settings, got {json.dumps(config)}"
            )
        return policy


def worth_encoding(mask: Tensor) -> Tensor:
    """Indices into the flattened mask, (B, T) bool: of all real frames, and then of as much padding as makes their number a round one.

    oneDNN compiles its kernels anew for each number of frames, which takes about as long as the step itself.
    """
    grain = math.ceil(mask.numel() / COUNTS)
    count = min(math.ceil(int(mask.sum()) / grain) * grain, mask.numel())
    return (~mask.flatten()).byte().argsort(stable=True)[:count]


def initial(settings: PolicySettings, seed: int) -> Policy:
    """The policy as it is before training with that seed. Raises WeightsError if pretrained weights cannot be had."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy = Policy(settings)
    policy.begin_weights()
    return policy.eval()


def read_config(path: Path) -> dict:
    """config.json. Raises PolicyError naming the file if it is missing or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PolicyError(f"{path}: no such file; expected the config.json of a policy") from None
    except (OSError, ValueError, RecursionError) as error:
        raise PolicyError(f"{path}: not readable as JSON ({error})") from None


def read_settings(folder: str | Path) -> PolicySettings:
    """The settings of the policy in a folder, without its weights. Raises PolicyError naming config.json if it cannot be used."""
    path = Path(folder) / "config.json"
    with torch.device("meta"):
        return Policy.from_config(read_config(path), path).settings


def _format(config: object) -> str:
    return repr(config.get("format")) if isinstance(config, dict) else type(config).__name__
