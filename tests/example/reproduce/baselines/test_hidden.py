"""HiDDeN with a photo as its message: its number of parameters and its two networks."""

import pytest
import torch
from reproduce.baselines.hidden import HiDDeN
from torch import Tensor
from torch.nn import functional as F

from liftlayers.testing import randomise_
from tests.example.reproduce.baselines.helpers import (
    images,
    num_parameters,
)


def test_it_is_of_the_adaptations_size() -> None:
    hidden = HiDDeN()
    assert num_parameters(hidden.features) + num_parameters(hidden.join) == 153_795
    assert num_parameters(hidden.decoder) == 224_451
    assert num_parameters(hidden) == 153_795 + 224_451


@pytest.mark.parametrize(("height", "width"), [(16, 16), (7, 12), (1, 3)])
def test_images_keep_their_size(height: int, width: int) -> None:
    hidden = HiDDeN().eval()
    cover, secret = images(2, 2, 3, height, width, dtype=torch.float32)
    stego = hidden.conceal(cover, secret)
    assert stego.shape == hidden.reveal(stego).shape == cover.shape


def blocks(weights: dict[str, Tensor], name: str, count: int, x: Tensor) -> Tensor:
    """Applies `count` blocks of a convolution, a normalisation by the running averages, and a ReLU."""
    for number in range(count):
        conv, norm = f"{name}.{number}.0", f"{name}.{number}.1"
        x = F.conv2d(x, weights[f"{conv}.weight"], weights[f"{conv}.bias"], padding=1)
        averages = weights[f"{norm}.running_mean"], weights[f"{norm}.running_var"]
        x = F.batch_norm(x, *averages, weights[f"{norm}.weight"], weights[f"{norm}.bias"]).clamp(min=0)
    return x


def test_it_is_encoder_and_decoder_as_described() -> None:
    """The output equals a second implementation, with the cover's features between secret and cover."""
    hidden = randomise_(HiDDeN().double())
    cover, secret = images(2, 2, 3, 6, 9)
    hidden.reveal(hidden.conceal(cover, secret))  # in training mode, which changes the running averages
    hidden.eval()
    weights = hidden.state_dict()
    signed_cover, signed_secret = 2 * cover - 1, 2 * secret - 1
    joined = torch.cat([signed_secret, blocks(weights, "features", 4, signed_cover), signed_cover], dim=1)
    encoded = F.conv2d(blocks(weights, "join", 1, joined), weights["join.1.weight"], weights["join.1.bias"])
    torch.testing.assert_close(hidden.conceal(cover, secret), (encoded + 1) / 2)
    decoded = blocks(weights, "decoder", 7, signed_cover)
    decoded = F.conv2d(decoded, weights["decoder.7.weight"], weights["decoder.7.bias"])
    torch.testing.assert_close(hidden.reveal(cover), (decoded + 1) / 2)
