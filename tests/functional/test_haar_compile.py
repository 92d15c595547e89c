"""The compiled and the exported Haar transform take images of any batch and any even size."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from liftlayers.functional import haar_analysis, haar_synthesis
from liftlayers.testing import randomise_
from tests.strategies import tensor

SHAPES = [(2, 3, 8, 12), (3, 3, 16, 20), (4, 3, 10, 6), (5, 3, 32, 64)]

# The compiler's own warnings.
warns = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


class OneLevel(nn.Module):
    """Both transforms around an additive coupling."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Conv2d(3, 9, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        approx, detail = haar_analysis(x)
        detail = detail + self.network(approx)
        return approx, detail, haar_synthesis(approx, detail.sin())


def results(run: Callable[[Tensor], tuple[Tensor, ...]], x: Tensor) -> list[Tensor]:
    """Outputs, and the gradient of a loss of them all."""
    x = x.clone().requires_grad_()
    outputs = run(x)
    (gradient,) = torch.autograd.grad(torch.stack([y.square().mean() for y in outputs]).sum(), x)
    return [*(y.detach() for y in outputs), gradient]


def assert_compiles(backend: str, shapes: list[tuple[int, ...]]) -> None:
    """It compiles for the first shape, again for the second, from which torch learns that sizes change, and no more."""
    torch._dynamo.reset()
    model = randomise_(OneLevel().double())
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    for number, shape in enumerate(shapes):
        x = tensor(number, *shape, dtype=torch.float64)
        with torch.compiler.set_stance("fail_on_recompile" if number > 1 else "default"):
            actual = results(compiled, x)
        for y, expected in zip(actual, results(model, x), strict=True):
            torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-12)


@warns
@pytest.mark.slow
def test_compiles_for_changing_shapes() -> None:
    assert_compiles("aot_eager", SHAPES)


@warns
@pytest.mark.slow
def test_compiles_for_changing_shapes_with_inductor() -> None:
    assert_compiles("inductor", SHAPES[:2])  # it compiles a convolution's derivative again for every size


@pytest.mark.slow
@warns
def test_exports_with_dynamic_batch_and_even_sizes() -> None:
    batch, height, width = (torch.export.Dim(name, min=1, max=512) for name in ("batch", "height", "width"))
    model = randomise_(OneLevel().double())
    given = tensor(0, *SHAPES[0], dtype=torch.float64)
    sizes = {0: batch, 2: 2 * height, 3: 2 * width}
    exported = torch.export.export(model, (given,), dynamic_shapes={"x": sizes}).module()
    for shape in SHAPES:
        x = tensor(1, *shape, dtype=torch.float64)
        for y, expected in zip(exported(x), model(x), strict=True):
            torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
