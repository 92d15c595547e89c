"""Thresholding functions: PyWavelets, gradients, and what they refuse."""

import re
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from liftlayers.functional import garrote_threshold, hard_threshold, soft_threshold
from tests.functional.wavelets import assert_equals
from tests.strategies import seeds, tensor

pywt = pytest.importorskip("pywt", reason="needs PyWavelets, from the extra `test`")

MODES = {"soft": soft_threshold, "hard": hard_threshold, "garrote": garrote_threshold}
modes = pytest.mark.parametrize("mode", list(MODES))


@modes
@given(threshold=st.floats(1e-3, 3), seed=seeds())
def test_thresholding_agrees_with_pywavelets(mode: str, threshold: float, seed: int) -> None:
    x = tensor(seed, 4, 5, dtype=torch.float64)
    x[0, 0] = threshold
    assert_equals(MODES[mode](x, threshold), pywt.threshold(x.numpy(), threshold, mode))
    assert torch.equal(MODES[mode](x, 0), x)
    thresholds = torch.full((5,), threshold, dtype=x.dtype)
    torch.testing.assert_close(MODES[mode](x, thresholds), MODES[mode](x, threshold), rtol=0, atol=1e-12)


@modes
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's own, on the first jvp
def test_gradients_of_numbers_and_thresholds(mode: str) -> None:
    x = tensor(0, 4, 5, dtype=torch.float64).requires_grad_()
    threshold = torch.full((5,), 0.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(MODES[mode], (x, threshold), check_forward_ad=True)
    zeros = torch.zeros(3, requires_grad=True)
    MODES[mode](zeros, torch.tensor(0.5)).sum().backward()
    assert zeros.grad is not None
    assert torch.equal(zeros.grad, torch.zeros(3))


@modes
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_the_dtype_is_kept(mode: str, dtype: torch.dtype) -> None:
    for threshold in (0.5, torch.tensor(0.5), torch.tensor(1), torch.ones(3, dtype=dtype)):
        assert MODES[mode](torch.ones(3, dtype=dtype), threshold).dtype == dtype


@modes
def test_every_sample_may_have_its_threshold(mode: str) -> None:
    x, thresholds = tensor(0, 3, 4), torch.rand(3)
    mapped = torch.func.vmap(MODES[mode])(x, thresholds)
    torch.testing.assert_close(mapped, MODES[mode](x, thresholds[:, None]))


@modes
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_as_one_graph_with_thresholds(mode: str, dynamic: bool) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(MODES[mode], fullgraph=True, backend="eager", dynamic=dynamic)
    x = tensor(0, 3, 4)
    for thresholds in (torch.rand(4), torch.rand(3, 1)):
        assert torch.equal(compiled(x, thresholds), MODES[mode](x, thresholds))


def test_hard_thresholds_get_no_gradient() -> None:
    assert not hard_threshold(torch.ones(3), torch.tensor(0.5, requires_grad=True)).requires_grad


@pytest.mark.parametrize("function", MODES.values())
def test_negative_thresholds_and_integers_are_refused(function: Callable[..., Tensor]) -> None:
    with pytest.raises(ValueError, match=rf"{function.__name__} needs a threshold of at least 0, got -0\.5$"):
        function(torch.zeros(2), -0.5)
    with pytest.raises(ValueError, match=rf"{function.__name__} needs a threshold of at least 0, got -0\.5$"):
        function(torch.zeros(2), torch.tensor([1.0, -0.5]))
    with pytest.raises(ValueError, match=rf"{function.__name__} needs a threshold of at least 0, got nan$"):
        function(torch.zeros(2), torch.tensor(torch.nan))
    with pytest.raises(TypeError, match=rf"{function.__name__} needs floating-point tensors, got torch\.int64"):
        function(torch.zeros(2).long(), 0.5)


@pytest.mark.parametrize("function", MODES.values())
@pytest.mark.parametrize("shape", [(2, 3), (2,), (1, 3)])
def test_thresholds_that_change_the_shape_or_dtype_are_refused(
    function: Callable[..., Tensor], shape: tuple[int, ...]
) -> None:
    message = rf"{function.__name__} needs a threshold that broadcasts to the shape \(3,\), got {re.escape(str(shape))}"
    with pytest.raises(ValueError, match=message):
        function(torch.ones(3), torch.ones(shape))
    message = rf"{function.__name__} needs a threshold in torch\.float32, got torch\.float64"
    with pytest.raises(TypeError, match=message):
        function(torch.ones(shape), torch.ones(shape, dtype=torch.float64))


def test_garrote_in_half_precision_has_no_squares() -> None:
    """The square of a threshold may overflow or vanish, and so may its inverse."""
    for number, threshold, expected in ((400.0, 300.0, 175.0), (1.2e-5, 1e-5, 3.7e-6), (1.5e-4, 1e-4, 8.3e-5)):
        x = torch.tensor([number], dtype=torch.float16)
        for form in (threshold, torch.tensor([threshold], dtype=torch.float16)):
            found = garrote_threshold(x, form)
            assert abs(float(found) - expected) <= 2**-8 * expected + 2**-24 * 4


@pytest.mark.parametrize("function", [garrote_threshold, hard_threshold, soft_threshold])
def test_nan_stays_nan(function: Callable[..., Tensor]) -> None:
    assert function(torch.tensor([torch.nan, 0.1]), 0.5).isnan().tolist() == [True, False]
