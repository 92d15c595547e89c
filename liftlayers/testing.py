"""The laws of invertible modules as assertions, for the layers here and for your own.

Randomise the parameters first: many networks start at zero, where every block is the identity and every law holds.
"""

__all__ = ["assert_inverts", "assert_same_gradients", "randomise_"]

import math
from typing import TypeVar

import torch
from torch import Tensor, nn

from liftlayers._bands import as_tuple
from liftlayers._checks import require_float
from liftlayers.accuracy import check_inverse
from liftlayers.invertible import Inverse, Invertible

M = TypeVar("M", bound=nn.Module)
WEIGHTED = nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d
TRANSPOSED = nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d


@torch.no_grad()
def randomise_(module: M, seed: int = 0) -> M:
    r"""Draws every parameter anew, in place, at a scale that keeps activations of order one.

    .. math:: w \sim \mathcal N\left(0, \tfrac{1}{3 n_{in}}\right), \qquad v \sim \mathcal N(v_0, 0.1^2)

    for weights :math:`w` of two or more dimensions with :math:`n_{in}` inputs an output (the variance of PyTorch's own
    initialisation, but for transposed convolutions), and for vectors and scales :math:`v`, around :math:`v_0 = 1` if
    they are all one, as the scales of norms are at first, else around zero. What is no weight of a linear layer or a
    convolution is a scale if it has one number an output. Three times the variance makes a correct chain of 24 blocks
    grow a hundredfold and lose its digits; the zeros that many networks start with make a broken one pass.

    Args:
        module: Any module.
        seed: Seed of the draw; the global random state is left alone.

    Returns:
        The same module.

    Raises:
        ValueError: If a parameter has no values yet, as in a new `torch.nn.LazyConv2d`; then nothing is drawn.

    References:
        [LeCun1998]_, section 4.6, on variances that keep activations of order one.

    Example:
        >>> randomise_(nn.Conv2d(16, 16, 3), seed=1).weight.std().item()
        0.04...
    """
    for name, parameter in module.named_parameters():
        if nn.parameter.is_lazy(parameter):
            raise ValueError(f"randomise_ needs parameters that have values, got {name}, which waits for a first batch")
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64, device="cpu")
        fan_in = _fan_in(module.get_submodule(name.rpartition(".")[0]), parameter)
        centre = float((parameter == 1).all())
        parameter.copy_(noise * (3 * fan_in) ** -0.5 if fan_in else centre + 0.1 * noise)
    return module


def _fan_in(owner: nn.Module, parameter: nn.Parameter) -> int:
    """How many inputs one output of a weight sees; none if it is a vector or a scale."""
    if parameter.ndim < 2:
        return 0
    if isinstance(owner, TRANSPOSED):  # inputs come first, and a stride spreads the kernel over as many outputs
        return max(1, parameter.numel() // (owner.out_channels * math.prod(owner.stride)))
    inputs = parameter[0].numel()
    return inputs if inputs > 1 or isinstance(owner, WEIGHTED) else 0


def assert_inverts(module: Invertible, *bands: Tensor, bound: float = 32.0, condition: Tensor | None = None) -> None:
    r"""Asserts the laws of `Invertible` on given bands.

    .. math:: f^{-1}(f(x)) = x, \qquad f(f^{-1}(y)) = y

    1. Inverse after forward gives the bands back, and forward after inverse the outputs.
    2. Neither direction writes into its inputs.

    The first law holds up to :math:`\text{bound} \cdot \varepsilon A \max(1, g / 4)`, with the unit roundoff
    :math:`\varepsilon` (:math:`2^{-24}` in float32, :math:`2^{-53}` in float64), the largest absolute value :math:`A`
    of any band and the growth :math:`g`, as `check_inverse` measures them: what rounding does at the far end of a
    chain is magnified on the way back as much as the bands grew on the way there.

    Args:
        module: The module; randomise it first.
        bands: Its input, floating-point or integers; the latter have to come back in every bit.
        bound: Rounding allowed.
        condition: What its networks see beside the bands, in both directions, if they take one.

    Raises:
        AssertionError: If a law is broken, saying which, by how much and what was allowed.
        TypeError: If `module` is not `Invertible`.
        ValueError: If no band is given, or the inverse returns other shapes than it was to rebuild.

    References:
        `check_inverse`; [Behrmann2021]_.

    Example:
        >>> chain = Sequential(Haar(), LiftingBlock(ConvPredictor(3, 9), ConvPredictor(9, 3)))
        >>> assert_inverts(randomise_(chain), torch.rand(1, 3, 8, 8))
    """
    name = type(module).__name__
    outputs = _untouched(name, module, bands, condition)
    _untouched(f"inverse of {name}", Inverse(module), outputs, condition)
    round_trips = ((module, bands, "inverse(forward(x))"), (Inverse(module), outputs, "forward(inverse(y))"))
    for direction, given, trip in round_trips:
        error, units, growth = check_inverse(direction, *given, condition=condition)
        allowed = bound * max(1.0, growth / 4)
        if not units <= allowed:  # so that nan fails too
            raise AssertionError(
                f"{trip} of {name} is off by {error:.3g}, {units:.3g} units of eps A "
                f"at growth {growth:.3g}, where {allowed:.3g} are allowed"
            )


@torch.no_grad()
def _untouched(who: str, module: Invertible, bands: tuple[Tensor, ...], condition: Tensor | None) -> tuple[Tensor, ...]:
    """Returns the module's outputs, once it is known that its inputs are as they were."""
    options = {} if condition is None else {"condition": condition}
    inputs = {f"input {position}": band for position, band in enumerate(bands)} | options
    kept = {name: tensor.clone() for name, tensor in inputs.items()}
    outputs = as_tuple(module(*bands, **options))
    for name, tensor in inputs.items():
        if not torch.allclose(tensor, kept[name], rtol=0, atol=0, equal_nan=True):
            raise AssertionError(f"{who} writes into its {name}")
    return outputs


def assert_same_gradients(
    a: nn.Module, b: nn.Module, *bands: Tensor, tolerance: float = 1e-6, condition: Tensor | None = None
) -> None:
    r"""Asserts that two modules have the same gradients on given bands.

    .. math:: \lVert g_a - g_b \rVert \le \text{tolerance} \cdot \lVert g_a \rVert

    for every band, the condition and every parameter, where :math:`g` is the gradient of the outputs' inner product
    with fixed random numbers. `a` and `b` may be the same network in two memory modes, or compiled and not.

    Args:
        a: The module to trust.
        b: The module to judge, with parameters of the same names.
        bands: Their input, floating-point; it is left as it is, its gradients too.
        tolerance: Relative difference allowed.
        condition: What their networks see beside the bands, if they take one; integers have no gradient to compare.

    Raises:
        TypeError: If a band is not floating-point.
        AssertionError: If parameters have other names, or a gradient is missing on one side only, or differs; the
            band or parameter is named.

    References:
        [Gomez2017]_, whose rebuilt activations are what such a comparison is for; :doc:`/memory`.

    Example:
        >>> block = randomise_(LiftingBlock(ConvPredictor(3, 9), ConvPredictor(9, 3)))
        >>> assert_same_gradients(block, block, torch.rand(1, 3, 4, 4), torch.rand(1, 9, 4, 4))
    """
    require_float("assert_same_gradients", *bands)
    trusted, judged = _gradients(a, bands, condition), _gradients(b, bands, condition)
    if trusted.keys() != judged.keys():
        raise AssertionError(f"parameters differ: {sorted(trusted.keys() ^ judged.keys())}")
    for name, expected in trusted.items():
        actual = judged[name]
        if expected is None and actual is None:
            continue
        if expected is None or actual is None:
            raise AssertionError(f"gradient of {name} is missing on one side")
        error, scale = float((expected - actual).norm()), float(expected.norm())
        if not error <= tolerance * scale:  # so that nan fails too
            raise AssertionError(f"gradient of {name} differs by {error:.3g}, where {tolerance * scale:.3g} is allowed")


def _gradients(module: nn.Module, bands: tuple[Tensor, ...], condition: Tensor | None) -> dict[str, Tensor | None]:
    leaves = {f"band {position}": band.detach().clone().requires_grad_() for position, band in enumerate(bands)}
    options = {} if condition is None else {"condition": condition.detach().clone()}
    options = {name: x.requires_grad_(x.is_floating_point()) for name, x in options.items()}
    outputs = as_tuple(module(*leaves.values(), **options))
    leaves |= {name: x for name, x in options.items() if x.requires_grad}
    leaves |= {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(y.shape, generator=generator, dtype=torch.float64, device="cpu").to(y) for y in outputs]
    total = torch.stack([(w * y).sum() for w, y in zip(weights, outputs, strict=True)]).sum()
    if not total.requires_grad:  # cut off from everything: no gradient at all
        return dict.fromkeys(leaves)
    return dict(zip(leaves, torch.autograd.grad(total, list(leaves.values()), allow_unused=True), strict=True))
