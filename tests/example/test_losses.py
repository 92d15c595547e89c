"""The losses are compared with equations (4) to (11), written in NumPy."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from pirnet.config import LossConfig
from pirnet.losses import hiding_loss, restoration_loss
from torch import Tensor

ZERO = dict.fromkeys((field.name for field in fields(LossConfig)), 0.0)


def images(seed: int = 0) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.rand(2, 3, 6, 8, generator=generator, dtype=torch.float64) for _ in range(4))


def mean_square(a: np.ndarray, b: np.ndarray) -> float:
    return float(((a - b) ** 2).mean())


def low_frequency(x: np.ndarray) -> np.ndarray:
    """The orthonormal Haar approximation: half of the sum of each 2 x 2 block."""
    return (x[..., ::2, ::2] + x[..., 1::2, ::2] + x[..., ::2, 1::2] + x[..., 1::2, 1::2]) / 2


def test_hiding_loss_is_the_equation() -> None:
    stego, cover, revealed, secret = images()
    s, c, r, d = (image.numpy() for image in images())
    weights = LossConfig(conceal=2.0, reveal=3.0, low_frequency=0.5)
    expected = 2 * mean_square(s, c) + 3 * mean_square(r, d) + 0.5 * mean_square(low_frequency(s), low_frequency(c))
    assert hiding_loss(stego, cover, revealed, secret, weights).item() == pytest.approx(expected, rel=1e-12)


def test_restoration_loss_is_the_equation() -> None:
    restored_stego, cover, restored, truth = images(1)
    s, c, x, t = (image.numpy() for image in images(1))
    weights = LossConfig(secret=3.0, stego=0.7)
    expected = 3 * mean_square(x, t) + 0.7 * mean_square(s, c)
    assert restoration_loss(restored_stego, cover, restored, truth, weights).item() == pytest.approx(
        expected, rel=1e-12
    )


def test_a_stego_image_that_is_close_enough_costs_nothing() -> None:
    """Each image is compared with the limit on its own: here the first is at 20 dB, the second at 40 dB."""
    cover = torch.zeros(2, 3, 6, 8, dtype=torch.float64)
    stego = cover + torch.tensor([0.1, 0.01]).double().view(2, 1, 1, 1)
    for enough, expected in ((0.0, (1e-2 + 1e-4) / 2), (30.0, (1e-2 - 1e-3) / 2), (15.0, 0.0)):
        weights = LossConfig(secret=0.0, stego=3.0, stego_enough=enough)
        assert restoration_loss(stego, cover, cover, cover, weights).item() == pytest.approx(3 * expected, rel=1e-6)


@pytest.mark.parametrize("name", ["conceal", "reveal", "low_frequency"])
def test_each_hiding_weight_has_its_own_term(name: str) -> None:
    stego, cover, revealed, secret = images(2)
    s, c, r, d = (image.numpy() for image in images(2))
    terms = {
        "conceal": mean_square(s, c),
        "reveal": mean_square(r, d),
        "low_frequency": mean_square(low_frequency(s), low_frequency(c)),
    }
    weights = LossConfig(**(ZERO | {name: 1.5}))
    assert hiding_loss(stego, cover, revealed, secret, weights).item() == pytest.approx(1.5 * terms[name], rel=1e-12)
    assert restoration_loss(stego, cover, revealed, secret, weights).item() == 0


@pytest.mark.parametrize("name", ["secret", "stego"])
def test_each_restoration_weight_has_its_own_term(name: str) -> None:
    restored_stego, cover, restored, truth = images(3)
    s, c, x, t = (image.numpy() for image in images(3))
    terms = {"secret": mean_square(x, t), "stego": mean_square(s, c)}
    weights = LossConfig(**(ZERO | {name: 1.5}))
    loss = restoration_loss(restored_stego, cover, restored, truth, weights)
    assert loss.item() == pytest.approx(1.5 * terms[name], rel=1e-12)
    assert hiding_loss(restored_stego, cover, restored, truth, weights).item() == 0


def test_perfection_costs_nothing() -> None:
    """Both losses are 0 if every image equals its target."""
    cover, secret, *_ = images()
    assert hiding_loss(cover, cover, secret, secret, LossConfig()).item() == 0
    assert restoration_loss(cover, cover, secret, secret, LossConfig()).item() == 0
