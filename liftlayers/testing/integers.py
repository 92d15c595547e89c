"""The law of integer networks: the same numbers with every kernel, layout, batch and number of threads."""

import contextlib
import copy
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.backends import mkldnn
from torch.overrides import TorchFunctionMode

from liftlayers._bands import Bands, as_tuple
from liftlayers.nn.integer import frozen

T = TypeVar("T")
Outputs = tuple[Tensor, ...]
Path = Callable[[nn.Module, Outputs], Bands]
FRACTION = 2**30  # weights and biases are multiples of its inverse


def assert_same_integers(module: nn.Module, *bands: Tensor, paths: Sequence[str] | None = None) -> None:
    r"""Asserts that a module of integer networks returns the same numbers in every way to evaluate it.

    .. math:: f_{\text{path}}(x) = f_{\text{int64}}(x)

    The reference is a copy on the CPU that computes every convolution in int64. The paths are ``"as it is"``,
    ``"frozen"``, ``"one thread"``, ``"two threads"``, ``"batch of 8"``, ``"batch of 16"``, ``"channels last"``,
    ``"float64"``, ``"without oneDNN"`` (with a batch of 16, for which torch would use Winograd's transform),
    ``"matrix products"`` (instead of convolutions) and ``"autocast"``. Two more take seconds: ``"compiled"`` needs a
    C++ compiler, and ``"onnxruntime"``, on the CPU, the packages onnx, onnxscript and onnxruntime.

    Args:
        module: The network or chain; randomise it first. Pass ``Inverse(chain)`` to test the other direction.
        bands: Its input, integers or floats on its grid, with the batch as the first axis.
        paths: The names of the paths; by default all except the last two, and float64 on Apple's GPU, which has none.

    Raises:
        AssertionError: If a path returns other numbers: the message names the path, how many differ and by how
            much; or if a convolution is not one of integers.
        ValueError: If a path is unknown.

    References:
        [Balle2019]_; :doc:`/exactness`.

    Example:
        >>> block = LiftingBlock(IntegerPredictor(1, 3), IntegerPredictor(3, 1))
        >>> approx, detail = torch.randint(256, (2, 1, 8, 8)), torch.randint(-99, 99, (2, 3, 8, 8))
        >>> assert_same_integers(randomise_(block), approx, detail)
    """
    left_out = (*SLOW, "float64") if any(band.device.type == "mps" for band in bands) else SLOW
    chosen = tuple(name for name in PATHS if name not in left_out) if paths is None else tuple(paths)
    for name in chosen:
        if name not in PATHS:
            raise ValueError(f"assert_same_integers needs paths among {', '.join(map(repr, PATHS))}, got {name!r}")
    with torch.no_grad():
        with _Convolutions(_in_int64):
            expected = as_tuple(copy.deepcopy(module).cpu()(*(band.cpu() for band in bands)))
        for name in chosen:
            outputs = as_tuple(PATHS[name](module, bands))
            for position, (expectation, output) in enumerate(zip(expected, outputs, strict=True)):
                x, y = expectation.double(), output[: len(expectation)].cpu().double()
                wrong = x != y  # nan differs, too
                if wrong.any():
                    largest = float((x - y).abs().max())
                    found = f"{int(wrong.sum())} of {wrong.numel()} numbers, by {largest:g} at most"
                    raise AssertionError(f"output {position} of {type(module).__name__} differs in {found}: {name}")


class _Convolutions(TorchFunctionMode):
    """Inside, another function computes all two-dimensional convolutions."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return (self.function if func is torch.conv2d else func)(*args, **(kwargs or {}))


def _in_int64(x: Tensor, weight: Tensor, bias: Tensor, *options: Any, **named: Any) -> Tensor:
    scaled = [numbers.double() * FRACTION for numbers in (weight, bias)]
    if any(bool((numbers != numbers.round()).any()) for numbers in (*scaled, x)):
        raise AssertionError("a convolution has inputs, weights or biases that are no integers, up to a power of two")
    sums = torch.conv2d(x.long(), scaled[0].long(), scaled[1].long(), *options, **named)
    return (sums.double() / FRACTION).to(x.dtype)


def _as_products(x: Tensor, weight: Tensor, bias: Tensor, *, padding: int) -> Tensor:
    columns = nn.functional.unfold(x, weight.shape[-1], padding=padding)
    return (weight.flatten(1) @ columns + bias[:, None]).unflatten(-1, x.shape[-2:])


def _autocast(module: nn.Module, bands: Outputs) -> Bands:
    with torch.autocast(bands[0].device.type, torch.bfloat16):
        return module(*bands)


def _onnxruntime(module: nn.Module, bands: Outputs) -> Outputs:
    import onnxruntime

    with _ignore_warnings(), contextlib.redirect_stderr(io.StringIO()):
        bands = tuple(band.cpu() for band in bands)
        program = torch.onnx.export(frozen(module).eval().cpu(), bands, dynamo=True, verbose=False)
    assert program is not None
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    given = {node.name: band.numpy() for node, band in zip(session.get_inputs(), bands, strict=True)}
    return tuple(torch.from_numpy(output) for output in session.run(None, given))


def _itself(x: T) -> T:
    return x


def _path(
    prepare: Callable[[nn.Module], Callable[..., Bands]] = _itself, convert: Callable[[Tensor], Tensor] = _itself
) -> Path:
    """A path with another form of the module, and of the bands."""
    return lambda module, bands: prepare(module)(*map(convert, bands))


def _batch_of(size: int) -> Path:
    """A path with repeated bands; what the given ones lead to comes first."""
    return _path(convert=lambda x: torch.cat([x] * -(-size // len(x)))[:size] if len(x) < size else x)


def _inside(context: Callable[[], AbstractContextManager[object]], path: Path) -> Path:
    """A path inside a context."""

    def evaluate(module: nn.Module, bands: Outputs) -> Bands:
        with context():
            return path(module, bands)

    return evaluate


@contextlib.contextmanager
def _num_threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _ignore_warnings() -> AbstractContextManager[object]:
    """Hides warnings of PyTorch about its own code: deprecated parts of compilers, flags of other devices."""
    return warnings.catch_warnings(record=False, action="ignore")


PATHS: dict[str, Path] = {
    "as it is": _path(),
    "frozen": _path(frozen),
    "one thread": _inside(partial(_num_threads, 1), _path()),
    "two threads": _inside(partial(_num_threads, 2), _path()),
    "batch of 8": _batch_of(8),
    "batch of 16": _batch_of(16),
    "channels last": _path(convert=partial(Tensor.contiguous, memory_format=torch.channels_last)),
    "float64": _path(
        lambda module: copy.deepcopy(module).double(), lambda x: x.double() if x.dtype.is_floating_point else x
    ),
    "without oneDNN": _inside(_ignore_warnings, _inside(partial(mkldnn.flags, enabled=False), _batch_of(16))),
    "matrix products": _inside(partial(_Convolutions, _as_products), _path()),
    "autocast": _autocast,
    "compiled": _inside(_ignore_warnings, _path(lambda module: torch.compile(copy.deepcopy(module)))),
    "onnxruntime": _onnxruntime,
}
SLOW = ("compiled", "onnxruntime")
