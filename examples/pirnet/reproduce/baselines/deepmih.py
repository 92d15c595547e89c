"""DeepMIH: hides one photo in another with sixteen blocks that scale and shift both.

Zhenyu Guan, Junpeng Jing, Xin Deng, Mai Xu, Lai Jiang, Zhou Zhang, Yipeng Li, "DeepMIH: Deep Invertible Network for
Multiple Image Hiding", IEEE Transactions on Pattern Analysis and Machine Intelligence 45(1), 2023.

Differences from the paper:

- Only its first stage is implemented: the second stage and the importance map are for further secrets, and PIRNet's
  comparison hides one.
- `reveal` replaces the lost part by zeros unless a normal draw is requested.
- Training is that of this example: mean squared errors with PIRNet's weights, crops and learning rates, a clipped
  gradient, and a stego image that is rounded to 8 bit before it is revealed.

Differences from the released code:

- It trains with Adam at 1e-5, betas 0.5 and 0.999, a weight decay of 1e-5, a learning rate multiplied by 0.98 every 200
  epochs, and summed squares weighted 2 (secrets), 1 (stegos) and 1 (their low frequencies) with 0.01 of a perceptual
  loss, on crops of 128.
"""

from pirnet.band_hider import BandHider, ScaleAndShift

from liftlayers import AffineCoupling, DensePredictor, Sequential, Swap


class DeepMIH(BandHider):
    r"""A `BandHider` of sixteen blocks, each an affine coupling of the cover and one of the secret.

    .. math::

        c' = c\,e^{\alpha(\psi(s))} + \varphi(s), \qquad s' = s\,e^{\alpha(\rho(c'))} + \eta(c'), \qquad
        \alpha(r) = 4\,(\sigma(r) - \tfrac12) = 2 \tanh(r / 2)

    with the bands :math:`c` of the cover and :math:`s` of the secret, the logistic :math:`\sigma`, and dense networks
    :math:`\psi, \varphi, \rho, \eta`::

        c ──(×)───(+)──┬───────────── c'
             │     │   ├─────┐
             ψ     φ   ρ     η
             ├─────┘   │     │
        s ───┴────────(×)───(+)────── s'

    At initialisation every block is the identity: stego is the cover and lost is the secret.

    Shape:
        - As of `BandHider`.

    Example:
        >>> with torch.device("meta"):
        ...     deepmih = DeepMIH()
        >>> sum(parameter.numel() for parameter in deepmih.parameters())
        5400320
    """

    def __init__(self) -> None:
        super().__init__(*(Sequential(Swap(), _coupling(), Swap(), _coupling()) for _ in range(16)))


def _coupling() -> AffineCoupling:
    return AffineCoupling(ScaleAndShift(DensePredictor(12, 12), DensePredictor(12, 12)), clamp=2.0)
