"""RIDNet: its number of parameters, a second implementation of its equation, and its fixed mean colour."""

from dataclasses import replace
from typing import cast

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pirnet.config import cleared
from pirnet.trainer import Trainer
from reproduce.baselines.ridnet import RIDNet
from torch import Tensor
from torch.nn import functional as F

from liftlayers.testing import randomise_
from tests.example.helpers import smooth_photos, tiny
from tests.example.reproduce.baselines.unets import (
    image,
    num_parameters,
)

MEAN = torch.tensor([0.4488, 0.4371, 0.4040], dtype=torch.float64).view(3, 1, 1)


def trained(net: RIDNet) -> dict[str, Tensor]:
    return {name: parameter for name, parameter in net.named_parameters() if not name.startswith(("off.", "on."))}


def random_ridnet(seed: int = 0) -> RIDNet:
    """A network with random weights and its own mean colour."""
    net = RIDNet()
    fixed = {name: tensor.clone() for name, tensor in net.state_dict().items() if name.startswith(("off.", "on."))}
    randomise_(net, seed).load_state_dict(fixed, strict=False)
    return net.double()


def written_out(net: RIDNet, x: Tensor) -> Tensor:
    """Computes the network from its weights and the mean colour by its equation."""
    weights = net.state_dict()

    def conv(name: str, x: Tensor, *, dilation: int = 1) -> Tensor:
        kernel, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        return F.conv2d(x, kernel, bias, padding=dilation * (kernel.shape[-1] // 2), dilation=dilation)

    h = conv("head.0", x - MEAN).relu()
    for number in range(4):
        module = f"body.{number}"
        near = conv(f"{module}.near.2", conv(f"{module}.near.0", h).relu(), dilation=2).relu()
        far = conv(f"{module}.far.2", conv(f"{module}.far.0", h, dilation=3).relu(), dilation=4).relu()
        h = h + conv(f"{module}.merge.0", torch.cat([near, far], dim=1)).relu()
        h = (h + conv(f"{module}.residual.2", conv(f"{module}.residual.0", h).relu())).relu()
        y = conv(f"{module}.enhanced.2", conv(f"{module}.enhanced.0", h).relu()).relu()
        h = (h + conv(f"{module}.enhanced.4", y)).relu()
        gate = conv(f"{module}.gate.3", conv(f"{module}.gate.1", h.mean(dim=(2, 3), keepdim=True)).relu())
        h = h / (1 + (-gate).exp())
    return x + MEAN + conv("tail", h)


def test_it_is_of_the_published_size() -> None:
    with torch.device("meta"):
        net = RIDNet()
    assert num_parameters(net) == 1_499_371
    assert num_parameters(net) - sum(parameter.numel() for parameter in trained(net).values()) == 24
    assert num_parameters(net.body[0]) == 373_956


@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 2**31), height=st.integers(1, 12), width=st.integers(1, 12))
def test_it_is_what_its_equation_says(seed: int, height: int, width: int) -> None:
    """The output equals the equation."""
    net, x = random_ridnet(seed), image(2, 3, height, width, seed=seed)
    torch.testing.assert_close(net(x), written_out(net, x), rtol=1e-7, atol=1e-7)  # the mean colour is float32


def test_every_weight_but_the_mean_colour_has_a_finite_gradient() -> None:
    net = random_ridnet()
    (net(image(2, 3, 16, 24)) - image(2, 3, 16, 24, seed=1)).square().mean().backward()
    for name, parameter in net.named_parameters():
        if name in trained(net):
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), name
        else:
            assert parameter.grad is None, name


def test_training_leaves_the_mean_colour_alone() -> None:
    config = cleared(replace(tiny(), restorer="ridnet"))
    trainer = Trainer(config, smooth_photos(), device=torch.device("cpu"))
    net = cast(RIDNet, trainer.model.lsr.network)
    start = {name: parameter.clone() for name, parameter in net.named_parameters()}
    trainer.take_step()
    frozen = {name for name, parameter in net.named_parameters() if not parameter.requires_grad}
    assert frozen == start.keys() - trained(net).keys()
    for name, parameter in net.named_parameters():
        assert not torch.equal(parameter, start[name]) or name in frozen or ".gate." in name  # its ReLU may be 0
