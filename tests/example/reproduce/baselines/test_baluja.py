"""Baluja's three networks: their sizes, odd image sizes, equations, and which loss trains which network."""

import pytest
import torch
from reproduce.baselines.baluja import Baluja
from torch import Tensor
from torch.nn import functional as F

from liftlayers.testing import randomise_
from tests.example.reproduce.baselines.helpers import (
    images,
    num_parameters,
)


def test_its_networks_are_of_the_known_sizes() -> None:
    baluja = Baluja()
    assert num_parameters(baluja.preparation) == 798_300
    assert num_parameters(baluja.hiding) == 1_173_753
    assert num_parameters(baluja.revealing) == 798_753
    assert num_parameters(baluja) == 2_770_806


@pytest.mark.parametrize(("height", "width"), [(16, 16), (7, 12), (2, 3)])
def test_images_keep_their_size(height: int, width: int) -> None:
    baluja = Baluja()
    cover, secret = images(2, 2, 3, height, width, dtype=torch.float32)
    stego = baluja.conceal(cover, secret)
    assert stego.shape == baluja.reveal(stego).shape == cover.shape


def stages(weights: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    """Two stages of three rows of convolutions and ReLUs; kernels of 4 are padded by 1, then by 2."""
    for stage, lengths in enumerate(((4, 4, 4), (1, 2, 1))):
        rows = []
        for row, (kernel, length) in enumerate(zip((3, 4, 5), lengths, strict=True)):
            y = x
            for number in range(length):
                conv = f"{name}.{stage}.rows.{row}.{2 * number}"
                padding = {3: 1, 4: 1 if number in (0, 2) else 2, 5: 2}[kernel]
                y = F.conv2d(y, weights[f"{conv}.weight"], weights[f"{conv}.bias"], padding=padding).clamp(min=0)
            rows.append(y)
        x = torch.cat(rows, dim=1)
    return x


def test_it_is_three_networks_as_described() -> None:
    """The output equals a second implementation, with the secret's features before the normalised cover."""
    baluja = randomise_(Baluja().double())
    cover, secret = images(2, 1, 3, 6, 9)
    weights = baluja.state_dict()
    mean = torch.tensor([0.485, 0.456, 0.406]).double().view(3, 1, 1)  # rounded to float32, as the buffers are
    std = torch.tensor([0.229, 0.224, 0.225]).double().view(3, 1, 1)
    prepared = stages(weights, "preparation", (secret - mean) / std)
    hidden = stages(weights, "hiding.0", torch.cat([prepared, (cover - mean) / std], dim=1))
    hidden = F.conv2d(hidden, weights["hiding.1.weight"], weights["hiding.1.bias"])
    torch.testing.assert_close(baluja.conceal(cover, secret), hidden * std + mean)
    revealed = stages(weights, "revealing.0", (cover - mean) / std)
    revealed = F.conv2d(revealed, weights["revealing.1.weight"], weights["revealing.1.bias"])
    torch.testing.assert_close(baluja.reveal(cover), revealed * std + mean)


def test_the_secrets_error_reaches_all_three_networks() -> None:
    """The error of the secret trains all three networks; in the PyTorch code on the web it trains only the last one."""
    baluja = randomise_(Baluja())
    cover, secret = images(2, 1, 3, 8, 8, dtype=torch.float32)
    (baluja.reveal(baluja.conceal(cover, secret)) - secret).square().mean().backward()
    for part in (baluja.preparation, baluja.hiding, baluja.revealing):
        assert all(parameter.grad is not None and parameter.grad.any() for parameter in part.parameters())
