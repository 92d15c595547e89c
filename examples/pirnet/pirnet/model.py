"""PIRNet, assembled from lifting blocks: the client's network (LIH), the cloud's network (LSR), and both together.

Equations of the paper: :math:`d' = d - P(c)`, :math:`c' = c + U(d')`; the inverse undoes them in the opposite order.
Each block receives the output of the block before it, so the chain is invertible for all weights.
"""

from collections.abc import Iterator
from collections.abc import Sequence as Names
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from liftlayers import (
    ConvPredictor,
    Haar,
    LiftingBlock,
    LiftingPyramid,
    MultiTaskNAFUNet,
    ResidualPredictor,
    Sequential,
)
from pirnet.band_hider import BandHider, Z, in_layout_of
from pirnet.config import Config, LIHConfig, LSRConfig
from pirnet.pixels import Pipeline, as_sent, check_images
from pirnet.support.registry import baseline
from pirnet.support.taskless import Taskless
from pirnet.tasks import TASKS


def predictor(config: LIHConfig | LSRConfig, in_channels: int, out_channels: int, *, dilation: int) -> nn.Module:
    """The network inside a predict or update step."""
    if config.predictor == "conv":
        return ConvPredictor(in_channels, out_channels, hidden_channels=config.hidden_channels)
    return ResidualPredictor(in_channels, out_channels, hidden_channels=config.hidden_channels, dilation=dilation)


def lifting_blocks(config: LIHConfig | LSRConfig, approx: int, detail: int, *, dilation: int) -> Iterator[LiftingBlock]:
    """The lifting blocks of a chain on bands of `approx` and `detail` channels."""
    for _ in range(config.num_blocks):
        predict = predictor(config, approx, detail, dilation=dilation)
        yield LiftingBlock(predict, predictor(config, detail, approx, dilation=dilation))


class LIH(BandHider):
    """Hides a secret image in a cover: lifting-based invertible hiding.

    A `BandHider` of lifting blocks; the bands of the cover are the approximation, those of the secret the detail. At
    initialisation every block is the identity: stego is the cover and lost is the secret.

    Args:
        config: Number and kind of the blocks, and the headroom.

    References:
        Deng, Gao, Xu, "PIRNet: Privacy-Preserving Image Restoration Network via Wavelet Lifting", ICCV 2023,
        equations (1) and (2).
    """

    def __init__(self, config: LIHConfig) -> None:
        super().__init__(*lifting_blocks(config, 12, 12, dilation=1), headroom=config.headroom)


class LSR(nn.Module):
    r"""Restores the secret inside a stego image without revealing it: lifting-based secure restoration.

    A lifting pyramid of K scales; its detail bands are restored before the inverse::

        stego ── level 1 ── level 2 ── … ── level K ── approx ── … ── level 2⁻¹ ── level 1⁻¹ ── restored stego
                    └ detail ─┼─ SRM 1 ────────────────────────────────────┼────────────┘
                              └ detail ── SRM 2 ───────────────────────────┘

    Each level is a Haar transform and some lifting blocks; each SRM is a `MultiTaskNAFUNet` on nine detail bands. At
    initialisation LSR is the identity. It knows the first tasks of `TASKS`, one for each number in `config.middles`.

    Args:
        config: Number of scales, their blocks and their restorers.

    Shape:
        - Stego (B, 3, H, W), nominally in [0, 1], H and W divisible by 2^K, to an image of the same shape. `task` is
          the name of a task, or a list with one name for each image.

    Raises:
        ValueError: If the image is not RGB, its sides are not divisible by 2^K, or the task is unknown.

    References:
        Deng, Gao, Xu, ICCV 2023, figure 4 for the restorer.
    """

    def __init__(self, config: LSRConfig) -> None:
        super().__init__()
        dilations = (1 if scale == 0 else 2 for scale in range(config.num_scales))
        levels = (Sequential(Haar(), *lifting_blocks(config, 3, 9, dilation=dilation)) for dilation in dilations)
        self.pyramid = LiftingPyramid(levels)
        self.tasks = tuple(TASKS)[: len(config.middles)]
        depths = {"encoder": config.encoder, "middles": config.middles, "decoder": config.decoder}
        self.restorers = nn.ModuleList(
            MultiTaskNAFUNet(9, config.width, **depths, decoder_middle=config.decoder_middle, tasks=self.tasks)
            for _ in range(config.num_scales)
        )

    def forward(self, stego: Tensor, task: str | Names[str]) -> Tensor:
        check_images("LSR", stego, multiple=2 ** len(self.restorers))
        approx, *details = self.pyramid(stego)
        restored = [restorer(detail, task) for restorer, detail in zip(reversed(self.restorers), details, strict=True)]
        return in_layout_of(stego, self.pyramid.inverse(approx, *restored))


class PIRNetOutput(NamedTuple):
    """The images that the losses compare, all (B, 3, H, W).

    Both stego images are those *before* clamping and rounding: the loss has to see values outside [0, 1], otherwise
    nothing holds them back and training on dark photos diverges.
    """

    stego: Tensor
    """The cover with the degraded secret inside."""
    revealed: Tensor | None
    """The secret revealed from it without the cloud: ideally the degraded secret."""
    restored_stego: Tensor | None
    """The stego image after the cloud."""
    restored: Tensor | None
    """The secret revealed from that: the restored secret."""


class PIRNet(nn.Module):
    """The client's network and the cloud's network, joined for training.

    In use they are separate: the client has `lih`, and a key for each photo; the cloud has `lsr`::

        client:  cover, secret ── conceal ── stego ┐            ┌ restored stego ── reveal ── restored secret
        cloud:                                     └─ restore ──┘

    Each may be replaced by another system of the paper, which is used in the same way.

    Args:
        config: The whole run's config; `hider`, `lih`, `restorer`, `lsr`, `stego` and `z` are read.

    Raises:
        ValueError: If there is no hider or no restorer of that name, or `reproduce/` is missing.

    References:
        Deng, Gao, Xu, ICCV 2023.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.lih = LIH(config.lih) if config.hider == "lih" else cast(LIH, baseline("hider", config.hider))
        self.lsr = LSR(config.lsr) if config.restorer == "lsr" else cast(LSR, Taskless(config.restorer))
        self.stego: Pipeline = config.stego
        self.z: Z = config.z

    def forward(
        self, cover: Tensor, secret: Tensor, task: str | Names[str], *, revealing: bool = True, restoring: bool = True
    ) -> PIRNetOutput:
        """Hides a degraded secret, reveals it again and restores it; all images are (B, 3, H, W)."""
        stego = self.lih.conceal(cover, secret)
        sent = as_sent(stego, self.stego)
        restored_stego = self.lsr(sent, task) if restoring else None
        shown = [sent] if revealing else []
        shown += [] if restored_stego is None else [as_sent(restored_stego, self.stego)]
        secrets = list(self.reveal(torch.cat(shown)).chunk(len(shown))) if shown else []  # one pass is faster than two
        revealed = secrets.pop(0) if revealing else None
        return PIRNetOutput(stego, revealed, restored_stego, secrets.pop() if restoring else None)

    def conceal(self, cover: Tensor, secret: Tensor) -> Tensor:
        """The client hides: cover and secret (B, 3, H, W) to stego, rounded to 8 bit if the config says so."""
        return as_sent(self.lih.conceal(cover, secret), self.stego)

    def restore(self, stego: Tensor, task: str | Names[str]) -> Tensor:
        """The cloud restores: stego (B, 3, H, W) to stego, rounded to 8 bit if the config says so."""
        return as_sent(self.lsr(stego, task), self.stego)

    def reveal(self, stego: Tensor, z: Z | None = None) -> Tensor:
        """The client reveals: stego (B, 3, H, W) to secret; zeros or noise replace the lost part."""
        return self.lih.reveal(stego, z or self.z)
