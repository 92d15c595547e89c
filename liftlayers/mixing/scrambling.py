"""Block scrambling as a layer."""

from torch import Tensor

from liftlayers._checks import require_positive
from liftlayers.functional.scrambling import Key, require_key, scramble_blocks, unscramble_blocks
from liftlayers.invertible import VolumePreserving


class BlockScrambling(VolumePreserving):
    r"""Scrambles images block by block with a secret key; the inverse needs the same key.

    .. math:: y_i = p_i \bigl( T_i \, C_i \, x_{\sigma(i)} \bigr)

    The key chooses the order :math:`\sigma` of the blocks, and for each of them an order :math:`C_i` of channels, a
    turn or reflection :math:`T_i` and a polarity :math:`p_i`; `liftlayers.functional.scramble_blocks` describes them
    and what they protect. The key is a plain attribute: it is neither in the state dict nor in what the layer prints,
    but in pickles and copies of the module.

    Args:
        key: At least 16 random bytes, such as ``secrets.token_bytes(32)``; or one such key for each image.
        block: Height and width :math:`t` of a block in pixels.

    Shape:
        - Input and output: :math:`(B, C, H, W)`, of any size; integers, booleans, or floating-point images in
          :math:`[0, 1]` of at least 16 bits.

    Raises:
        TypeError: If a number is no integer, `key` is neither bytes nor a sequence of bytes, or the input has another
            dtype.
        ValueError: If a key is shorter than 16 bytes, there are not as many keys as images, `block` is less than 1, or
            the input does not have four axes.

    References:
        [Kurihara2015]_; [Chuman2018]_ on attacks.

    Example:
        >>> layer = BlockScrambling(bytes(range(32)), block=8)
        >>> photo = torch.randint(256, (2, 3, 37, 50), dtype=torch.uint8)
        >>> torch.equal(layer.inverse(layer(photo)), photo)
        True
    """

    exact_on_grid = True  # polarity takes a number from one, which exact checks

    def __init__(self, key: Key, *, block: int = 16) -> None:
        super().__init__()
        require_key("BlockScrambling", key)
        require_positive("BlockScrambling", block=block)
        self.key, self.block = key, block

    def forward(self, x: Tensor) -> Tensor:
        return scramble_blocks(x, self.key, block=self.block)

    def inverse(self, x: Tensor) -> Tensor:
        return unscramble_blocks(x, self.key, block=self.block)

    def extra_repr(self) -> str:
        return f"block={self.block}"
