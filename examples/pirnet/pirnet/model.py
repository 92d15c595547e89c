"""PIRNet, assembled from lifting blocks: what the client hides with, what the cloud restores with, and both together.

Equations of the paper: :math:`d' = d - P(c)`, :math:`c' = c + U(d')`; the inverse undoes them in the opposite order.
Every block receives what the block before it returned, so that the chain inverts whatever its weights.
"""

__all__ = ["LIH", "LSR", "PIRNet", "PIRNetOutput"]

from collections.abc import Sequence as Names
from typing import Literal, NamedTuple, cast

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
from pirnet.band_hider import BandHider, Z
from pirnet.config import Config, LIHConfig, LSRConfig
from pirnet.degrade import TASKS
from pirnet.images import quantise_uint8
from pirnet.support.registry import Taskless, hider


def predictor(
    kind: Literal["residual", "conv"], in_channels: int, out_channels: int, *, hidden_channels: int, dilation: int = 1
) -> nn.Module:
    """The network inside a predict or update step, as a config names it."""
    if kind == "conv":
        return ConvPredictor(in_channels, out_channels, hidden_channels=hidden_channels)
    return ResidualPredictor(in_channels, out_channels, hidden_channels=hidden_channels, dilation=dilation)


class LIH(BandHider):
    """Hides a secret image in a cover: lifting-based invertible hiding.

    A `BandHider` of lifting blocks, in which the cover's bands are the approximation and the secret's the detail. At
    the start every block is the identity: stego is the cover and lost is the secret.

    Args:
        config: Number and kind of the blocks.

    References:
        Deng, Gao, Xu, "PIRNet: Privacy-Preserving Image Restoration Network via Wavelet Lifting", ICCV 2023,
        equations (1) and (2).
    """

    def __init__(self, config: LIHConfig) -> None:
        super().__init__(
            *(
                LiftingBlock(
                    predictor(config.predictor, 12, 12, hidden_channels=config.hidden_channels),
                    predictor(config.predictor, 12, 12, hidden_channels=config.hidden_channels),
                )
                for _ in range(config.num_blocks)
            )
        )


class LSR(nn.Module):
    r"""Restores the secret inside a stego image without revealing it: lifting-based secure restoration.

    A lifting pyramid of K scales, whose detail bands are restored on the way back::

        stego ── level 1 ── level 2 ── … ── level K ── approx ── … ── level 2⁻¹ ── level 1⁻¹ ── restored stego
                    └ detail ─┼─ SRM 1 ────────────────────────────────────┼────────────┘
                              └ detail ── SRM 2 ───────────────────────────┘

    Each level is a Haar transform and some lifting blocks; each SRM is a `MultiTaskNAFUNet` on nine detail bands. At
    the start the whole is the identity.

    Args:
        config: Number of scales, their blocks and their restorers.

    Shape:
        - Stego (B, 3, H, W), nominally in [0, 1], H and W divisible by 2^K, to an image of the same shape. `task` is
          one of "denoise", "deblur", "sr", or one name an image.

    Raises:
        ValueError: If the image is not RGB, its sides are not divisible by 2^K, or the task is unknown.

    References:
        Deng, Gao, Xu, ICCV 2023, figure 4 for the restorer.
    """

    def __init__(self, config: LSRConfig) -> None:
        super().__init__()
        self.pyramid = LiftingPyramid(self._level(config, scale) for scale in range(config.num_scales))
        self.restorers = nn.ModuleList(
            MultiTaskNAFUNet(
                9,
                config.width,
                encoder=config.encoder,
                middles=config.middles,
                decoder_middle=config.decoder_middle,
                decoder=config.decoder,
                tasks=TASKS,
            )
            for _ in range(config.num_scales)
        )

    @staticmethod
    def _level(config: LSRConfig, scale: int) -> Sequential:
        dilation = 1 if scale == 0 else 2
        blocks = (
            LiftingBlock(
                predictor(config.predictor, 3, 9, hidden_channels=config.hidden_channels, dilation=dilation),
                predictor(config.predictor, 9, 3, hidden_channels=config.hidden_channels, dilation=dilation),
            )
            for _ in range(config.num_blocks)
        )
        return Sequential(Haar(), *blocks)

    def forward(self, stego: Tensor, task: str | Names[str]) -> Tensor:
        multiple = 2 ** len(self.restorers)
        if stego.ndim != 4 or stego.shape[1] != 3 or stego.shape[-2] % multiple or stego.shape[-1] % multiple:
            raise ValueError(
                f"LSR needs a (B, 3, H, W) image with sides divisible by {multiple}, got {tuple(stego.shape)}"
            )
        approx, *details = self.pyramid(stego)
        restored = [restorer(detail, task) for restorer, detail in zip(reversed(self.restorers), details, strict=True)]
        return self.pyramid.inverse(approx, *restored)


class PIRNetOutput(NamedTuple):
    """Every image that training looks at, all (B, 3, H, W).

    Both stego images are as they were *before* they were clamped and rounded to be sent: a loss on them must feel
    values that leave [0, 1], or nothing holds these back, and training on dark photos blows up.
    """

    stego: Tensor
    """Cover with the degraded secret inside."""
    revealed: Tensor | None
    """What the client reveals of it without the cloud: the degraded secret, if all is well."""
    restored_stego: Tensor | None
    """Stego after the cloud."""
    restored: Tensor | None
    """What the client reveals of that: the restored secret."""


class PIRNet(nn.Module):
    """The client's network and the cloud's, joined for training.

    In use they are apart: the client holds `lih`, its key, and the cloud holds `lsr`::

        client:  cover, secret ── conceal ── stego ┐            ┌ restored stego ── reveal ── restored secret
        cloud:                                     └─ restore ──┘

    Either may be one of the paper's other systems instead, which is used in the same way.

    Args:
        config: The whole run's config; `hider`, `lih`, `restorer`, `lsr`, `stego` and `z` are read.

    Raises:
        ValueError: If there is no hider or no restorer of that name.

    References:
        Deng, Gao, Xu, ICCV 2023.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.lih = LIH(config.lih) if config.hider == "lih" else cast(LIH, hider(config.hider))
        self.lsr = LSR(config.lsr) if config.restorer == "lsr" else cast(LSR, Taskless(config.restorer))
        self.stego = config.stego
        self.z: Z = config.z

    def forward(
        self,
        cover: Tensor,
        secret: Tensor,
        task: str | Names[str],
        *,
        revealing: bool = True,
        restoring: bool = True,
    ) -> PIRNetOutput:
        """Hides a degraded secret, reveals it again and restores it: (B, 3, H, W) images all the way."""
        stego = self.lih.conceal(cover, secret)
        sent = self._as_sent(stego)
        revealed = self.reveal(sent) if revealing else None
        restored_stego = self.lsr(sent, task) if restoring else None
        restored = None if restored_stego is None else self.reveal(self._as_sent(restored_stego))
        return PIRNetOutput(stego, revealed, restored_stego, restored)

    def conceal(self, cover: Tensor, secret: Tensor) -> Tensor:
        """The client hides: cover and secret (B, 3, H, W) to stego, which is in [0, 1] and 8 bit if so configured."""
        return self._as_sent(self.lih.conceal(cover, secret))

    def restore(self, stego: Tensor, task: str | Names[str]) -> Tensor:
        """The cloud restores: stego (B, 3, H, W) to stego, 8 bit if so configured."""
        return self._as_sent(self.lsr(stego, task))

    def reveal(self, stego: Tensor, z: Z | None = None) -> Tensor:
        """The client reveals: stego (B, 3, H, W) to secret, with zeros or noise in the place of the lost part."""
        return self.lih.reveal(stego, z or self.z)

    def _as_sent(self, stego: Tensor) -> Tensor:
        return quantise_uint8(stego) if self.stego == "uint8" else stego
