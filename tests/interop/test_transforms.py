"""Invertible modules as transforms of torch.distributions, and the reverse; zuko's flows compose with ours."""

import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributions import Independent, Normal, Transform, TransformedDistribution
from torch.distributions import transforms as torch_transforms

from liftlayers import (
    ActNorm,
    AffineCoupling,
    ConvPredictor,
    Haar,
    IntegerPredictor,
    Inverse,
    Invertible,
    InvertibleConv1x1,
    LiftingBlock,
    LiftingPyramid,
    Sequential,
    Split,
)
from liftlayers.interop import as_transform, from_transform
from liftlayers.testing import assert_inverts, assert_same_gradients, randomise_
from tests.laws import assert_log_dets
from tests.strategies import seeds, tensor


def mapped(transform: Transform, x: Tensor) -> Tensor:
    y = transform(x)
    assert y is not None
    return y


def flow(seed: int = 0) -> Sequential:
    """From an image to one tensor of the same shape, with a log-determinant."""
    split = Split(1, 2)
    coupling = AffineCoupling(ConvPredictor(1, 4))
    chain = Sequential(ActNorm(3), InvertibleConv1x1(3), split, coupling, Inverse(split)).double()
    chain(tensor(0, 2, 3, 4, 2, dtype=torch.float64))  # the norm has seen its first batch
    return randomise_(chain, seed)


def pyramid() -> LiftingPyramid:
    return randomise_(
        LiftingPyramid([Sequential(Haar(), LiftingBlock(ConvPredictor(1, 3), ConvPredictor(3, 1))), Haar()])
    ).double()


CASES: list[tuple[Invertible, tuple[tuple[int, ...], ...]]] = [
    (flow(), ((3, 4, 2),)),
    (pyramid(), ((1, 8, 4),)),
    (Inverse(pyramid()), ((1, 2, 1), (3, 2, 1), (3, 4, 2))),
    (Split(1, 2), ((3,),)),
]
cases = pytest.mark.parametrize(("module", "shapes"), CASES, ids=lambda value: type(value).__name__)


@cases
@pytest.mark.parametrize("batch", [(), (2,), (3, 2)])
def test_transforms_invert_and_have_the_jacobian_of_autograd(
    module: Invertible, shapes: tuple[tuple[int, ...], ...], batch: tuple[int, ...]
) -> None:
    transform = as_transform(module, *shapes)
    event = shapes[0] if len(shapes) == 1 else (sum(torch.Size(shape).numel() for shape in shapes),)
    x = tensor(0, *batch, *event, dtype=torch.float64)
    y = mapped(transform, x)
    assert y.shape == transform.forward_shape(x.shape)
    assert transform.inverse_shape(y.shape) == x.shape
    torch.testing.assert_close(mapped(transform.inv, y), x, rtol=0, atol=1e-10)
    log_det = transform.log_abs_det_jacobian(x, y)
    assert log_det.shape == batch
    torch.testing.assert_close(transform.inv.log_abs_det_jacobian(y, x), -log_det)
    assert all(torch.equal(a, b) for a, b in zip(transform.call_and_ladj(x), (y, log_det), strict=True))
    first = x.reshape(-1, *event)[0]
    jacobian = torch.autograd.functional.jacobian(lambda x: mapped(transform, x.view(event)).flatten(), first.flatten())
    assert isinstance(jacobian, Tensor)
    torch.testing.assert_close(torch.linalg.slogdet(jacobian).logabsdet, log_det.flatten()[0].detach())


@cases
def test_event_dimensions_are_declared(module: Invertible, shapes: tuple[tuple[int, ...], ...]) -> None:
    transform = as_transform(module, *shapes)
    assert transform.domain.event_dim == (len(shapes[0]) if len(shapes) == 1 else 1)
    outputs = module(*(torch.zeros(1, *shape).double() for shape in shapes))
    assert transform.codomain.event_dim == (outputs.ndim - 1 if isinstance(outputs, Tensor) else 1)


def test_a_flow_is_a_distribution() -> None:
    module = flow()
    transform = as_transform(module, (3, 4, 2))
    base = Independent(Normal(torch.zeros(3, 4, 2).double(), 1.0), 3)
    density, x = TransformedDistribution(base, transform.inv), tensor(1, 5, 3, 4, 2, dtype=torch.float64)
    _, log_det = module.forward_and_log_det(x)
    torch.testing.assert_close(density.log_prob(x), base.log_prob(mapped(transform, x)) + log_det)
    assert density.rsample(torch.Size((2, 5))).shape == (2, 5, 3, 4, 2)
    (-density.log_prob(x)).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


def test_torch_composes_transforms() -> None:
    logit, module = torch_transforms.SigmoidTransform().inv, flow()
    both = torch_transforms.ComposeTransform([logit, as_transform(module, (3, 4, 2))])
    chain = Sequential(from_transform(logit), module)
    x = tensor(0, 2, 3, 4, 2, dtype=torch.float64).sigmoid()
    z, log_det = chain.forward_and_log_det(x)
    torch.testing.assert_close(mapped(both, x), z)
    torch.testing.assert_close(both.log_abs_det_jacobian(x, z), log_det)


def test_nothing_is_cached() -> None:
    module = flow()
    transform = as_transform(module, (3, 4, 2)).with_cache(1)
    x = tensor(0, 1, 3, 4, 2, dtype=torch.float64)
    y = mapped(transform, x)
    randomise_(module, seed=1)
    assert not torch.equal(mapped(transform, x), y)


def test_finding_the_shapes_changes_nothing() -> None:
    norm, fresh, random = ActNorm(3), ActNorm(3).state_dict(), torch.get_rng_state()
    as_transform(Sequential(norm), (3, 4, 4))
    assert all(torch.equal(value, fresh[name]) for name, value in norm.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


TRANSFORMS = {
    "affine": torch_transforms.AffineTransform(0.5, torch.tensor([2.0, -3.0, 0.5]).view(3, 1, 1).double()),
    "logit": torch_transforms.SigmoidTransform().inv,
    "composed": torch_transforms.ComposeTransform(
        [torch_transforms.TanhTransform(), torch_transforms.AffineTransform(0.0, 2.0)]
    ),
    "reshape": torch_transforms.ReshapeTransform(torch.Size((3, 2, 2)), torch.Size((12,))),
}


@pytest.mark.parametrize("name", TRANSFORMS)
@given(seed=seeds(), batch=st.integers(1, 3))
def test_layers_of_transforms_keep_the_laws(name: str, seed: int, batch: int) -> None:
    x = tensor(seed, batch, 3, 2, 2, dtype=torch.float64).sigmoid()
    layer = from_transform(TRANSFORMS[name])
    assert_inverts(layer, x, bound=1e4)
    assert_log_dets(layer, x)


def test_integers_and_positive_numbers_are_transformed() -> None:
    """Neither a network of integers nor a logarithm takes the numbers that suit the other."""
    block = randomise_(LiftingBlock(IntegerPredictor(1, 1), IntegerPredictor(1, 1)))
    whole = torch.arange(24.0).view(3, 8)
    joined = torch.cat([band.flatten(1) for band in block(*whole.view(3, 2, 1, 2, 2).unbind(1))], dim=1)
    assert torch.equal(mapped(as_transform(block, (1, 2, 2), (1, 2, 2)), whole), joined)
    chain = Sequential(from_transform(torch_transforms.ExpTransform().inv), ActNorm(1))
    transform, x = as_transform(chain, (1, 2, 2)), tensor(0, 3, 1, 2, 2).exp()
    torch.testing.assert_close(mapped(transform, x).var(correction=0), torch.tensor(1.0))  # x was its first batch


class Shift(nn.Module):
    """Like zuko's LazyTransform: a module that returns a transform, here one of a condition."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, condition: Tensor) -> Transform:
        return torch_transforms.AffineTransform(condition, self.scale)


def test_a_module_that_returns_a_transform_is_trained_and_gets_the_condition() -> None:
    chain = Sequential(from_transform(Shift()), Haar())
    x, condition = tensor(0, 2, 1, 4, 4), tensor(1, 2, 1, 1, 1)
    assert_inverts(chain, x, condition=condition)
    assert [name for name, _ in chain.named_parameters()] == ["0.transform.scale"]
    kept = Sequential(chain[0], Haar(), memory="reversible")
    assert_same_gradients(chain, kept, x, condition=condition, tolerance=1e-5)


def test_zuko_flows_compose_with_ours() -> None:
    zuko = pytest.importorskip("zuko")
    spline = zuko.flows.NSF(features=6, transforms=1, hidden_features=[8]).double()
    chain = Sequential(from_transform(spline.transform), from_transform(zuko.transforms.SoftclipTransform(bound=9)))
    x = tensor(0, 4, 6, dtype=torch.float64)
    z, log_det = chain.forward_and_log_det(x)
    assert isinstance(z, Tensor)
    torch.testing.assert_close(chain.inverse(z), x, rtol=1e-6, atol=1e-6)
    expected, ladj = spline.transform().call_and_ladj(x)
    torch.testing.assert_close(
        log_det, ladj + zuko.transforms.SoftclipTransform(bound=9).log_abs_det_jacobian(expected, z).sum(1)
    )
    base = Independent(Normal(torch.zeros(3, 4, 2).double(), 1.0), 3)
    ours = as_transform(flow(), (3, 4, 2))
    density = zuko.distributions.NormalizingFlow(ours, base)
    images = density.sample((5,))
    assert images.shape == (5, 3, 4, 2)
    torch.testing.assert_close(density.log_prob(images), TransformedDistribution(base, ours.inv).log_prob(images))


def test_layers_of_inverses_can_be_copied_and_pickled() -> None:
    """Torch loses the inverse of a transform when it is copied."""
    layer, x = from_transform(torch_transforms.SigmoidTransform().inv), tensor(0, 2, 3).sigmoid()
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(x), layer(x))
        assert torch.equal(other.inverse(layer(x)), layer.inverse(layer(x)))


# Refusals


def test_wrong_modules_are_refused() -> None:
    with pytest.raises(TypeError, match="as_transform needs an Invertible module, got Linear"):
        as_transform(nn.Linear(1, 1), (1,))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"as_transform needs the shape of each input band, .* got none"):
        as_transform(Haar())
    with pytest.raises(TypeError, match="from_transform needs a transform, or a module that returns one, got int"):
        from_transform(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="from_transform needs a module that returns a transform, got Tensor"):
        from_transform(nn.Linear(1, 1))(torch.zeros(1, 1), condition=torch.zeros(1, 1))
    with pytest.raises(ValueError, match="from_transform needs a bijective transform, got AbsTransform"):
        from_transform(torch_transforms.AbsTransform())(torch.zeros(1, 2))
    with pytest.raises(TypeError, match=r"from_transform needs floating-point tensors, got torch\.int64"):
        from_transform(torch_transforms.ExpTransform())(torch.zeros(1, 2, dtype=torch.int64))


def test_other_events_are_refused() -> None:
    transform = as_transform(Haar(), (1, 4, 4))
    with pytest.raises(
        ValueError, match=r"as_transform needs events of shape \(1, 4, 4\), got a tensor of shape \(2, 1, 4, 6\)"
    ):
        transform(torch.zeros(2, 1, 4, 6))
    with pytest.raises(ValueError, match=r"the inverse of as_transform needs events of shape \(16,\), got .* \(4,\)"):
        transform.inv(torch.zeros(4))
