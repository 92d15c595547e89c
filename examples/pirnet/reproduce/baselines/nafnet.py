"""NAFNet: a U-Net without activation functions, for noise (SIDD) and for blur (GoPro).

Liangyu Chen, Xiaojie Chu, Xiangyu Zhang, Jian Sun, "Simple Baselines for Image Restoration", ECCV 2022. The network is
the library's `NAFUNet`. PIRNet's paper states no width: these are the published models of width 32.

Differences from the paper:

- The last convolution starts at zero, so that the network starts as the identity.
- Training is that of this example, with mean squared errors; the paper uses the PSNR as its loss, AdamW with betas of
  0.9 and 0.9, 200,000 steps on 32 crops of 256 pixels, and gradients clipped to a norm of 0.01.

Differences from the released code:

- The attention averages over the whole image at every size; the released tests average over local windows.
"""

from liftlayers import NAFUNet


def nafnet() -> NAFUNet:
    """NAFNet as published for the noise of phone cameras.

    Example:
        >>> with torch.device("meta"):
        ...     sum(parameter.numel() for parameter in nafnet().parameters())
        29159715
    """
    return NAFUNet(3, 32, encoder=(2, 2, 4, 8), middle=12, decoder=(2, 2, 2, 2))


def nafnet_gopro() -> NAFUNet:
    """NAFNet as published for the blur of moving cameras.

    Example:
        >>> with torch.device("meta"):
        ...     sum(parameter.numel() for parameter in nafnet_gopro().parameters())
        17111907
    """
    return NAFUNet(3, 32, encoder=(1, 1, 1, 28), middle=1, decoder=(1, 1, 1, 1))
