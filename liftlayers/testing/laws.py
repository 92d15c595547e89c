"""The laws as assertions."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from liftlayers._bands import as_tuple, require_log_det
from liftlayers._checks import require_condition, require_float
from liftlayers._random import RandomState
from liftlayers.accuracy import check_inverse
from liftlayers.invertible import Inverse, Invertible, require_invertible


def assert_inverts(module: Invertible, *bands: Tensor, bound: float = 32.0, condition: Tensor | None = None) -> None:
    r"""Asserts the laws of `Invertible` on given bands.

    .. math:: f^{-1}(f(x)) = x, \qquad f(f^{-1}(y)) = y

    1. Inverse after forward returns the bands, and forward after inverse returns the outputs.
    2. Neither direction writes into its inputs.

    The first law holds up to :math:`\text{bound} \cdot \varepsilon A \max(1, g / 4)`, with the unit roundoff
    :math:`\varepsilon` (:math:`2^{-24}` in float32, :math:`2^{-53}` in float64), the largest absolute value :math:`A`
    of any band and the growth :math:`g`, as `check_inverse` measures them. The growth matters because the inverse
    amplifies rounding errors by as much as forward amplified the bands.

    Args:
        module: The module; randomise it first.
        bands: Its input, floating-point or integers; integers must be returned exactly.
        bound: Rounding error allowed, in units of :math:`\varepsilon A`.
        condition: The condition for its networks in both directions, if they take one.

    Raises:
        AssertionError: If a law is broken; the message says which, by how much, and what is allowed.
        TypeError: If `module` is not `Invertible`, or the condition is no tensor.
        ValueError: If the inverse returns other shapes than the input's.

    References:
        `check_inverse`; [Behrmann2021]_.

    Example:
        >>> chain = Sequential(Haar(), LiftingBlock(ConvPredictor(3, 9), ConvPredictor(9, 3)))
        >>> assert_inverts(randomise_(chain), torch.rand(1, 3, 8, 8))
    """
    name = type(module).__name__
    require_condition("assert_inverts", condition)
    outputs = _untouched(name, module, bands, condition)
    _untouched(f"inverse of {name}", Inverse(module), outputs, condition)
    round_trips = ((module, bands, "inverse(forward(x))"), (Inverse(module), outputs, "forward(inverse(y))"))
    for direction, given, trip in round_trips:
        error, units, growth = check_inverse(direction, *given, condition=condition)
        allowed = bound * max(1.0, growth / 4)
        if not units <= allowed:  # so that nan fails too
            found = f"{error:.3g}, {units:.3g} units of eps A at growth {growth:.3g}"
            raise AssertionError(f"{trip} of {name} is off by {found}, where {allowed:.3g} are allowed")


@torch.no_grad()
def _untouched(who: str, module: Invertible, bands: tuple[Tensor, ...], condition: Tensor | None) -> tuple[Tensor, ...]:
    """Asserts that the module does not change its inputs, and returns its outputs."""
    options = {} if condition is None else {"condition": condition}
    inputs = {f"input {position}": band for position, band in enumerate(bands)} | options
    kept = {name: tensor.clone() for name, tensor in inputs.items()}
    outputs = as_tuple(module(*bands, **options))
    for name, tensor in inputs.items():
        if not torch.allclose(tensor, kept[name], rtol=0, atol=0, equal_nan=True):
            raise AssertionError(f"{who} writes into its {name}")
    return outputs


@torch.inference_mode(False)
@torch.enable_grad()
def assert_log_det(
    module: Invertible, *bands: Tensor, tolerance: float = 1e-6, condition: Tensor | None = None
) -> None:
    r"""Asserts that log-determinants are those of the Jacobian that autograd computes, in both directions.

    .. math::

        \left| \ell(x) - \log \left| \det \frac{\partial y}{\partial x} \right| \right|
        \le \text{tolerance} \cdot n

    for every sample, where :math:`\ell` is the log-determinant that ``forward_and_log_det`` or
    ``inverse_and_log_det`` returns and :math:`n` is the number of values in a sample. The bands that these return are
    compared with those of ``forward`` and ``inverse``. The Jacobian takes :math:`n` backward passes, so give small
    bands, in float64.

    Args:
        module: The module; randomise it first, and use evaluation mode if it draws random numbers. It has to map each
            sample of a batch on its own.
        bands: Its input, floating-point.
        tolerance: Difference allowed, for each value of a sample.
        condition: The condition for its networks, if they take one.

    Raises:
        AssertionError: If a log-determinant is wrong, the bands differ, or there are more or fewer outputs than inputs;
            the message says in which direction.
        ValueError: If a log-determinant is not of shape :math:`(B,)`, or the batch is empty.
        TypeError: If `module` is not `Invertible`, a band is not floating-point, or the condition is no tensor.
        NotImplementedError: If the module has no log-determinant.

    References:
        [Dinh2015]_, equation (3); [Behrmann2021]_.

    Example:
        >>> step = randomise_(AffineCoupling(nn.Linear(2, 6))).double()
        >>> assert_log_det(step, torch.rand(4, 2).double(), torch.rand(4, 3).double())
    """
    require_invertible("assert_log_det", module)
    require_float("assert_log_det", *bands)
    require_condition("assert_log_det", condition)
    if not all(len(band) for band in bands):
        raise ValueError("assert_log_det needs at least one sample, got an empty batch")
    options, name = {} if condition is None else {"condition": condition}, type(module).__name__
    with torch.no_grad():
        outputs = as_tuple(module(*bands, **options))
    for who, direction, given in ((name, module, bands), (f"the inverse of {name}", Inverse(module), outputs)):
        leaves = [x.detach().clone().requires_grad_() for x in given]
        returned, log_det = direction.forward_and_log_det(*leaves, **options)
        returned = as_tuple(returned)
        for x, y in zip(returned, as_tuple(direction(*leaves, **options)), strict=True):
            if x.shape != y.shape or not torch.allclose(x, y, rtol=tolerance, atol=tolerance):
                raise AssertionError(f"with the log-determinant, {who} returns other bands than without")
        log_det, jacobian = require_log_det(who, log_det, given[0]).detach(), _jacobian(leaves, returned)
        if jacobian.shape[1] != jacobian.shape[2]:
            raise AssertionError(f"{who} has {jacobian.shape[1]} outputs a sample for {jacobian.shape[2]} inputs")
        error = float((log_det - torch.linalg.slogdet(jacobian).logabsdet).abs().max())
        allowed = tolerance * jacobian.shape[-1]
        if not error <= allowed:  # so that nan fails too
            raise AssertionError(f"log-determinant of {who} is off by {error:.3g}, where {allowed:.3g} is allowed")


def _jacobian(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Tensor:
    """Returns the Jacobian of each sample, (B, n, n). The gradient of a sum over samples has a row of each of them."""
    columns = torch.cat([y.reshape(len(y), -1) for y in outputs], 1).unbind(1)
    gradients = (torch.autograd.grad(y.sum(), inputs, retain_graph=True, materialize_grads=True) for y in columns)
    return torch.stack([torch.cat([g.reshape(len(g), -1) for g in row], 1) for row in gradients], 1)


@torch.inference_mode(False)
@torch.enable_grad()
def assert_same_gradients(
    a: nn.Module, b: nn.Module, *bands: Tensor, tolerance: float = 1e-6, condition: Tensor | None = None
) -> None:
    r"""Asserts that two modules have the same gradients on given bands.

    .. math:: \lVert g_a - g_b \rVert \le \text{tolerance} \cdot \lVert g_a \rVert

    for every band, the condition and every parameter, where :math:`g` is the gradient of the outputs' inner product
    with fixed random numbers; dropout draws the same ones in both. `a` and `b` may be the same network in two memory
    modes, or one of them compiled by its method ``compile``, which keeps the names of parameters.

    Args:
        a: The reference module.
        b: The module to test, with parameters of the same names.
        bands: Their input, floating-point; neither it nor its gradients change.
        tolerance: Relative difference allowed.
        condition: The condition for their networks, if they take one; an integer condition has no gradient to compare.

    Raises:
        TypeError: If a band is not floating-point, or the condition is no tensor.
        AssertionError: If parameter names differ, a gradient is missing on one side only, or gradients differ; the
            message names the band or parameter.

    References:
        [Gomez2017]_, whose reconstructed activations need such a comparison; :doc:`/memory`.

    Example:
        >>> block = randomise_(LiftingBlock(ConvPredictor(3, 9), ConvPredictor(9, 3)))
        >>> assert_same_gradients(block, block, torch.rand(1, 3, 4, 4), torch.rand(1, 9, 4, 4))
    """
    require_float("assert_same_gradients", *bands)
    require_condition("assert_same_gradients", condition)
    random = RandomState(bands)
    reference = _gradients(a, bands, condition)
    with random.again():  # dropout draws the same numbers in both
        tested = _gradients(b, bands, condition)
    if reference.keys() != tested.keys():
        raise AssertionError(f"parameters differ: {sorted(reference.keys() ^ tested.keys())}")
    for name, expected in reference.items():
        actual = tested[name]
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
    if not total.requires_grad:  # nothing that needs a gradient reaches the outputs
        return dict.fromkeys(leaves)
    return dict(zip(leaves, torch.autograd.grad(total, list(leaves.values()), allow_unused=True), strict=True))
