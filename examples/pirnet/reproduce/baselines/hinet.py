"""HiNet: hides one photo in another with sixteen affine blocks on their Haar bands.

Junpeng Jing, Xin Deng, Mai Xu, Jianyi Wang, Zhenyu Guan, "HiNet: Deep Image Hiding by Invertible Network", ICCV 2021.

Differences from the paper:

- `reveal` replaces the lost part by zeros unless a normal draw, the paper's choice, is requested.
- Training is that of this example: mean squared errors with PIRNet's weights, crops and learning rates, a clipped
  gradient, and a stego image that is rounded to 8 bit before it is revealed, while the paper keeps floats.

Differences from the released code:

- Its second Haar band is our third and its third is our second, both with the opposite sign.
- It trains with Adam at 10^-4.5, betas 0.5 and 0.999, a weight decay of 1e-5, a learning rate halved every 1000 epochs
  and lowered by hand after spikes, and summed squares weighted 5 (secret), 1 (stego) and 1 (its low frequencies).
"""

from pirnet.band_hider import BandHider, ScaleAndShift

from liftlayers import AffineCoupling, DensePredictor, Sequential, Update


class HiNet(BandHider):
    r"""A `BandHider` of sixteen blocks, each an update of the cover and an affine coupling of the secret.

    .. math::

        c' = c + \varphi(s), \qquad s' = s\,e^{\alpha(\rho(c'))} + \eta(c'), \qquad
        \alpha(r) = 4\,(\sigma(r) - \tfrac12) = 2 \tanh(r / 2)

    with the bands :math:`c` of the cover and :math:`s` of the secret, the logistic :math:`\sigma`, and dense networks
    :math:`\varphi, \rho, \eta`::

        c ──(+)──┬───────────── c'
             │   ├─────┐
             φ   ρ     η
             │   │     │
        s ───┴──(×)───(+)────── s'

    At initialisation every block is the identity: stego is the cover and lost is the secret.

    Shape:
        - As of `BandHider`.

    Example:
        >>> with torch.device("meta"):
        ...     hinet = HiNet()
        >>> sum(parameter.numel() for parameter in hinet.parameters())
        4050240
    """

    def __init__(self) -> None:
        super().__init__(*(_block() for _ in range(16)))


def _block() -> Sequential:
    phi, rho, eta = (DensePredictor(12, 12) for _ in range(3))
    return Sequential(Update(phi), AffineCoupling(ScaleAndShift(rho, eta), clamp=2.0))
