"""Published NAFNet weights in our `NAFUNet`, the same network with other names for its parts."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from liftlayers.interop._weights import misfits
from liftlayers.nn.unet import NAFUNet

# Our names to theirs: parts of the network, then parts of a block. Norms, beta and gamma have the same names.
# fmt: off
NAMES = {
    "encoder.first": "intro", "encoder.levels": "encoders", "encoder.downs": "downs", "middle": "middle_blks",
    "decoder.ups": "ups", "decoder.levels": "decoders", "decoder.last": "ending",
    "expand1": "conv1", "depthwise": "conv2", "project1": "conv3", "attention": "sca.1",
    "expand2": "conv4", "project2": "conv5",
}
# fmt: on


def load_nafnet(state_dict: Mapping[str, Any]) -> NAFUNet:
    r"""Returns a `NAFUNet` with the weights of a published NAFNet.

    .. math:: y = x + D(M(E(x)))

    with encoder, middle blocks and decoder as in `NAFUNet`, all with the published weights.

    The width and the numbers of blocks follow from the names and shapes, and each weight is copied:

    ========================================== ============================================================
    published names                            ours
    ========================================== ============================================================
    ``intro``, ``encoders.l.b``, ``downs.l``   ``encoder.first``, ``encoder.levels.l.b``, ``encoder.downs.l``
    ``middle_blks.b``                          ``middle.b``
    ``ups.l``, ``decoders.l.b``, ``ending``    ``decoder.ups.l``, ``decoder.levels.l.b``, ``decoder.last``
    ``conv1``, ``conv2``, ``sca.1``, ``conv3`` ``expand1``, ``depthwise``, ``attention``, ``project1``
    ``conv4``, ``conv5``                       ``expand2``, ``project2``
    ========================================== ============================================================

    On an image of any size the network computes what the published one does, up to rounding::

        net = load_nafnet(torch.load("NAFNet-SIDD-width32.pth", map_location="cpu"))

    The published figures on large photos come from a variant with the same weights, whose attention averages over
    windows. Ours averages over the whole image.

    Args:
        state_dict: Weights by their published names, or the content of a published file, a dict that holds them under
            ``"params"``, ``"params_ema"`` or ``"state_dict"``. Prefixes that all names share (``module.``,
            ``_orig_mod.``, ``net.``, ``net_g.``), as wrappers add them, are left out.

    Returns:
        The network, in PyTorch's default dtype.

    Raises:
        TypeError: If `state_dict` is not a mapping.
        ValueError: If a weight is missing or unknown, or its shape differs from that of the parameter.

    References:
        [Chen2022]_.

    Example:
        >>> from liftlayers.interop import load_nafnet
        >>> shapes = {"intro.weight": (4, 3, 3, 3), "intro.bias": (4,), "downs.0.weight": (8, 4, 2, 2)}
        >>> shapes |= {"downs.0.bias": (8,), "ups.0.0.weight": (16, 8, 1, 1)}
        >>> shapes |= {"ending.weight": (3, 4, 3, 3), "ending.bias": (3,)}  # a network without blocks
        >>> net = load_nafnet({"params": {name: torch.rand(shape) for name, shape in shapes.items()}})
        >>> net(torch.rand(1, 3, 5, 7)).shape
        torch.Size([1, 3, 5, 7])
    """
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"load_nafnet needs a dict of weights by name, got {type(state_dict).__name__}")
    weights = _unwrapped(state_dict)
    net = _unet_for(weights)
    ours = net.state_dict()
    batched = {name: own[None] if own.ndim == 3 else own for name, own in ours.items()}  # beta and gamma
    published = {_published(name): own for name, own in batched.items()}
    if problems := misfits(weights, published):
        raise ValueError(f"load_nafnet needs the weights of a NAFNet, but {problems}")
    net.load_state_dict({name: weights[_published(name)].view_as(own) for name, own in ours.items()})
    return net


def _unwrapped(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the weights inside the content of a file, without the prefixes that wrappers have added to all names."""
    for key in ("params", "params_ema", "state_dict"):
        if isinstance(content.get(key), Mapping):
            return _unwrapped(content[key])
    for prefix in ("module.", "_orig_mod.", "net.", "net_g."):
        if content and all(name.startswith(prefix) for name in content):
            return _unwrapped({name.removeprefix(prefix): weight for name, weight in content.items()})
    return content


def _unet_for(weights: Mapping[str, Tensor]) -> NAFUNet:
    """Makes a network with the width and the numbers of blocks that the names and the first shape determine."""
    first = weights.get("intro.weight")
    if first is None or first.ndim != 4:
        got = f"{len(weights)} other names" if first is None else f"shape {tuple(first.shape)}"
        raise ValueError(f"load_nafnet needs intro.weight of shape (width, channels, 3, 3), got {got}")
    width, channels = first.shape[:2]
    encoder = [_count(weights, f"encoders.{level}.") for level in range(_count(weights, "downs."))]
    decoder = [_count(weights, f"decoders.{level}.") for level in range(_count(weights, "ups."))]
    return NAFUNet(channels, width, encoder=encoder, middle=_count(weights, "middle_blks."), decoder=decoder)


def _count(names: Iterable[str], prefix: str) -> int:
    """Returns how many modules are numbered right after a prefix, given that the numbers start at 0 without a gap."""
    numbers = (name.removeprefix(prefix).split(".")[0] for name in names if name.startswith(prefix))
    return 1 + max((int(number) for number in numbers if number.isdigit()), default=-1)


def _published(name: str) -> str:
    for ours, theirs in NAMES.items():
        name = name.replace(ours, theirs)
    return name
