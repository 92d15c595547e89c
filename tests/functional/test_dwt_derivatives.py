"""Derivatives: first and second order, forward mode, vmap, compiled; nothing is saved for them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from liftlayers.functional._inplace_lifting import lift_in_place, unlift_in_place
from liftlayers.functional.dwt import dwt2d, idwt2d
from liftlayers.functional.lifting import lift, unlift
from liftlayers.functional.schemes import SCHEMES, scheme
from liftlayers.functional.wavedec import wavedec2, waverec2
from tests.functional.wavelets import BOUNDARIES, EXPANSIVE, NON_EXPANSIVE, flat
from tests.strategies import seeds, tensor

names = st.sampled_from(list(SCHEMES))
boundaries = pytest.mark.parametrize("boundary", BOUNDARIES)
deprecated = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's own, on the first jvp
SIZE = (5, 6)


def bands_of(name: str, boundary: str) -> Callable[[Tensor], tuple[Tensor, ...]]:
    return lambda x: tuple(flat(dwt2d(x, name, boundary=boundary)))


def image_of(name: str, boundary: str) -> Callable[..., Tensor]:
    size = SIZE if boundary in EXPANSIVE else None
    return lambda a, h, v, d: idwt2d((a, (h, v, d)), name, boundary=boundary, size=size)


# The fast form is the plain one


@given(name=names, size=st.integers(1, 24), axis=st.sampled_from([-1, -2]), rule=st.sampled_from(NON_EXPANSIVE))
def test_both_forms_agree(name: str, size: int, axis: int, rule: str) -> None:
    shape = (2, size, 3) if axis == -2 else (2, 3, size)
    x = tensor(size, *shape, dtype=torch.float64)
    bands = lift(x, scheme(name), dim=axis, boundary=rule)
    for band, expected in zip(lift_in_place(x, scheme(name), dim=axis, boundary=rule), bands, strict=True):
        torch.testing.assert_close(band, expected, rtol=0, atol=1e-13)
    approx, detail = bands
    for back in (unlift, unlift_in_place):
        torch.testing.assert_close(back(approx, detail, scheme(name), dim=axis, boundary=rule), x, rtol=0, atol=1e-13)


@given(name=names, size=st.integers(1, 24), rule=st.sampled_from(NON_EXPANSIVE), seed=seeds())
def test_both_forms_have_the_same_gradients(name: str, size: int, rule: str, seed: int) -> None:
    x = tensor(seed, 2, size, dtype=torch.float64).requires_grad_()
    weights = [tensor(seed + i, 2, (size + 1 - i) // 2, dtype=torch.float64) for i in range(2)]
    gradients = []
    for forth, back in ((lift, unlift), (lift_in_place, unlift_in_place)):
        bands = forth(x, scheme(name), dim=-1, boundary=rule)
        approx, detail = (w * band for w, band in zip(weights, bands, strict=True))
        again = back(approx, detail, scheme(name), dim=-1, boundary=rule)
        gradients.append(torch.autograd.grad(again.square().sum(), x)[0])
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-10)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x = tensor(0, 3, 40, 200)
    expected = flat(dwt2d(x, "9/7")), idwt2d(dwt2d(x, "9/7"), "9/7")
    monkeypatch.setattr("liftlayers.functional._inplace_lifting.BLOCK", 2**12)
    assert all(map(torch.equal, flat(dwt2d(x, "9/7")), expected[0]))
    assert torch.equal(idwt2d(dwt2d(x, "9/7"), "9/7"), expected[1])


# Derivatives


@boundaries
@deprecated
@pytest.mark.parametrize(
    "name", ["db2", "bior3.1", *(pytest.param(name, marks=pytest.mark.slow) for name in ("haar", "bior4.4"))]
)
def test_gradients_of_first_and_second_order(name: str, boundary: str) -> None:
    x = tensor(0, *SIZE, dtype=torch.float64).requires_grad_()
    forth, back = bands_of(name, boundary), image_of(name, boundary)
    bands = tuple(band.detach().requires_grad_() for band in forth(x))
    assert torch.autograd.gradcheck(forth, (x,), check_forward_ad=True, fast_mode=True)
    assert torch.autograd.gradcheck(back, bands, check_forward_ad=True, fast_mode=True)
    assert torch.autograd.gradgradcheck(forth, (x,), fast_mode=True)
    assert torch.autograd.gradgradcheck(back, bands, fast_mode=True)


@boundaries
def test_gradients_in_batches(boundary: str) -> None:
    x = tensor(0, *SIZE, dtype=torch.float64)
    forth, back = bands_of("db2", boundary), image_of("db2", boundary)
    for function, inputs in ((forth, x), (lambda x: forth(x)[1], x), (back, forth(x))):
        derivatives = [torch.autograd.functional.jacobian(function, inputs, vectorize=each) for each in (True, False)]
        torch.testing.assert_close(*derivatives)

    def energy(x: Tensor) -> Tensor:
        return (forth(x)[0] ** 4).sum()

    hessian = torch.autograd.functional.hessian(energy, x, vectorize=True)
    torch.testing.assert_close(hessian, torch.func.hessian(energy)(x))


@boundaries
@deprecated
def test_forward_mode_derivative_is_the_transform_itself(boundary: str) -> None:
    x, direction = tensor(0, *SIZE, dtype=torch.float64), tensor(1, *SIZE, dtype=torch.float64)
    forth, back = bands_of("9/7", boundary), image_of("9/7", boundary)
    for actual, expected in zip(torch.func.jvp(forth, (x,), (direction,))[1], forth(direction), strict=True):
        assert torch.equal(actual, expected)
    assert torch.equal(torch.func.jvp(back, forth(x), forth(direction))[1], back(*forth(direction)))


@boundaries
def test_vmap_maps_over_a_further_axis(boundary: str) -> None:
    stack = tensor(0, 3, *SIZE, 4)
    forth, back = bands_of("db2", boundary), image_of("db2", boundary)
    bands = torch.func.vmap(forth, in_dims=3)(stack)
    for band, expected in zip(bands, forth(stack.movedim(3, 0)), strict=True):
        assert torch.equal(band, expected)
    assert torch.equal(torch.func.vmap(back)(*bands), back(*bands))
    detail_shared = torch.func.vmap(back, in_dims=(0, None, 0, None))(bands[0], bands[1][0], bands[2], bands[3][0])
    assert torch.equal(detail_shared[0], back(*(band[0] for band in bands)))


def test_function_transforms_nest() -> None:
    x = tensor(0, 3, *SIZE, dtype=torch.float64)

    def energy(x: Tensor) -> Tensor:
        return torch.stack([(band**4).sum() for band in bands_of("9/7", "reflect")(x)]).sum()

    mapped = torch.func.vmap(torch.func.grad(energy))(x)
    torch.testing.assert_close(mapped, torch.func.grad(energy)(x))
    hessian = torch.func.hessian(energy)(x[0]).reshape(30, 30)
    torch.testing.assert_close(hessian, hessian.T)


def test_nothing_is_saved_for_the_backward_pass() -> None:
    saved: list[Tensor] = []
    x = tensor(0, 3, 16, 16).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        waverec2(wavedec2(x, "9/7", level=2), "9/7").sum().backward()
    assert saved == []
    assert x.grad is not None


def test_orthogonal_wavelets_have_their_inverse_as_gradient() -> None:
    x = tensor(0, 8, 12, dtype=torch.float64).requires_grad_()
    bands = flat(dwt2d(x, "db3"))
    weights = [tensor(i, *band.shape, dtype=torch.float64) for i, band in enumerate(bands)]
    gradient = torch.autograd.grad(bands, x, weights)[0]
    torch.testing.assert_close(gradient, image_of("db3", "periodization")(*weights), rtol=0, atol=1e-13)


# Compilation


@pytest.mark.slow
def test_compiles_as_one_graph() -> None:
    assert_compiles("haar", "reflect", dynamic=False)


@pytest.mark.slow
@boundaries
def test_every_rule_compiles_as_one_graph_for_any_size(boundary: str) -> None:
    assert_compiles("bior2.2", boundary, dynamic=True)


def assert_compiles(name: str, boundary: str, *, dynamic: bool) -> None:
    torch._dynamo.reset()  # else all of these tests count as recompilations of one function

    def there_and_back(x: Tensor) -> tuple[Any, Tensor]:
        bands = dwt2d(x, name, boundary=boundary)
        size = (x.shape[-2], x.shape[-1]) if boundary in EXPANSIVE else None
        return bands, idwt2d(bands, name, boundary=boundary, size=size)

    compiled = torch.compile(there_and_back, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    x = tensor(0, 2, 7, 6).requires_grad_()
    bands, returned = compiled(x)
    for band, other in zip(flat(bands), flat(dwt2d(x, name, boundary=boundary)), strict=True):
        torch.testing.assert_close(band, other)
    torch.testing.assert_close(returned, x, rtol=0, atol=5e-6)
    torch.testing.assert_close(torch.autograd.grad(returned.sum(), x)[0], torch.ones_like(x), rtol=0, atol=1e-5)
