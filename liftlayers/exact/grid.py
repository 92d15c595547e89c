"""Networks and bands on a grid, where sums have no rounding error."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from liftlayers._bands import Bands, bare, is_differentiable
from liftlayers._graphs import leaves_of_graph, temporary_leaf
from liftlayers.functional.grid import require_bits, round_to_grid
from liftlayers.invertible import VolumePreserving
from liftlayers.nn._networks import input_is_written, require_network, takes_condition


class OnGrid(nn.Module):
    r"""Rounds the output of a network to a grid, and evaluates it so that it returns the same bits every time.

    .. math:: g(x) = 2^{-k} \operatorname{round}(2^k f(x))

    The rounding passes the gradient on unchanged. Kernels are chosen by memory layout, so the network sees its input
    (and condition) contiguous in memory for any layout that is given. The output is float32, also under autocast, or
    float64 for a float64 input.

    Args:
        network: The network :math:`f`.
        bits: The exponent :math:`k`, from 0 to 52.
        batch_invariant: Whether to evaluate sample by sample, so that the result for a sample does not depend on the
            others in its batch.

    Shape:
        - As `network`; with `batch_invariant` the first axis of its input and output is the batch. A condition with as
          many rows as the batch is cut along with it; one without axes or with a single row is shared by all samples.

    Raises:
        TypeError: If `network` is no module or is `Invertible`, `bits` is no integer, or the network returns no
            floating-point tensor.
        ValueError: If `bits` is out of range, there is a condition and the network's forward names none, or the
            condition has another number of rows and `batch_invariant` is set.
        RuntimeError: If the network writes into its input.

    References:
        [Hoogeboom2019]_, who round additive couplings; `round_to_grid`.

    Example:
        >>> OnGrid(nn.Tanh(), bits=3)(torch.tensor([0.1, 0.2, 0.3]))
        tensor([0.1250, 0.2500, 0.2500])
    """

    def __init__(self, network: nn.Module, *, bits: int = 16, batch_invariant: bool = False) -> None:
        super().__init__()
        require_network("OnGrid", network)
        require_bits("OnGrid", bits)
        self.network = network
        self.bits = bits
        self.batch_invariant = batch_invariant

    @property
    def conditional(self) -> bool:
        """Whether the network takes ``condition=``."""
        return takes_condition(self.network)

    def forward(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        if condition is not None and not self.conditional:
            raise ValueError(f"OnGrid got a condition, but its network, {type(self.network).__name__}, takes none")
        if self.batch_invariant and condition is not None and condition.ndim and len(condition) not in (1, len(x)):
            needed = f"one row, which all samples share, or {len(x)} rows"
            raise ValueError(f"batch_invariant=True needs a condition with {needed}, got {len(condition)}")
        if self.batch_invariant and len(x) > 1:
            output = torch.cat([self._evaluate(x[i : i + 1], _row(condition, i, len(x))) for i in range(len(x))])
        else:
            output = self._evaluate(x, condition)
        return round_to_grid(output.to(x.dtype if x.dtype == torch.float64 else torch.float32), self.bits)

    def _evaluate(self, x: Tensor, condition: Tensor | None) -> Tensor:
        """Evaluates the network while autograd records; the output has a graph only if a gradient may be needed.

        Kernels may depend on whether autograd records: attention has a fast path without gradients, and a product of
        matrices may be folded in another way.
        """
        given = [x] if condition is None else [x, condition]
        if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():  # these record on their own
            return self._call(*map(_canonical, given))
        try:
            output = self._call_recording(given)
        except RuntimeError as error:
            if "leaf Variable that requires grad" in str(error):
                raise input_is_written("OnGrid", self.network) from error
            raise
        if torch.is_grad_enabled() and (any(x.requires_grad for x in given) or any(leaves_of_graph([output]))):
            return output
        return output.detach()

    def _call_recording(self, given: Sequence[Tensor]) -> Tensor:
        """Calls the network while autograd records, as it does in the other direction if that is trained."""
        records = torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
        if not records and any(parameter.is_inference() for parameter in self.network.parameters()):
            return self._call(*map(_canonical, given))  # a network that can never be trained
        recorded = [_recorded(tensor) for tensor in given]
        if records:
            return self._call(*recorded)
        try:
            with _recording(), saved_tensors_hooks(lambda _: None, lambda _: None):  # type: ignore[arg-type]
                return self._call(*recorded)  # what autograd would keep is dropped
        except (TypeError, RuntimeError) as error:
            if not any(words in str(error) for words in ("unpack_hook", "saved tensor hooks")):
                raise
        with _recording():  # the network differentiates something itself
            return self._call(*recorded)

    def _call(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        output = self.network(x) if condition is None else self.network(x, condition=condition)
        if not isinstance(output, Tensor) or not output.is_floating_point():
            got = output.dtype if isinstance(output, Tensor) else type(output).__name__
            raise TypeError(f"OnGrid needs a network that returns a floating-point tensor, got {got}")
        return output

    def extra_repr(self) -> str:
        return f"bits={self.bits}, batch_invariant={self.batch_invariant}"


class ToGrid(VolumePreserving):
    r"""Rounds every band to a grid on the way in, and leaves it alone on the way back.

    .. math:: y = 2^{-k} \operatorname{round}(2^k x), \qquad x = y

    It inverts what is on the grid already. ``Sequential(ToGrid(), chain, Inverse(ToGrid()))`` rounds what enters the
    chain, from either end, and nothing that leaves it.

    Args:
        bits: The exponent :math:`k`, from 0 to 52.

    Shape:
        - Bands of any shapes, float32 or float64 and of any range, and back again.

    Raises:
        TypeError: If `bits` is no integer, or a band is neither float32 nor float64.
        ValueError: If `bits` is out of range.

    References:
        `round_to_grid`, which passes the gradient on as [Bengio2013]_ do; equation :eq:`grid` of :doc:`/mathematics`.

    Example:
        >>> ToGrid(bits=2)(torch.tensor([0.3, 0.4]))
        tensor([0.2500, 0.5000])
    """

    def __init__(self, bits: int = 16) -> None:
        super().__init__()
        require_bits("ToGrid", bits)
        self.bits = bits

    def forward(self, *bands: Tensor) -> Bands:
        return bare(tuple(round_to_grid(band, self.bits) for band in bands))

    def inverse(self, *bands: Tensor) -> Bands:
        return bare(bands)

    def extra_repr(self) -> str:
        return f"bits={self.bits}"


def _canonical(x: Tensor) -> Tensor:
    """Returns the same numbers in a layout that depends on the shape alone, strides of axes of length one included."""
    if not torch.compiler.is_compiling():
        if x.storage_offset() or x.is_inference():  # alignment may choose kernels
            x = x.clone(memory_format=torch.contiguous_format)
        elif x.is_contiguous() and 1 not in x.shape:
            return x[...]  # a view: gradients of the network are summed before others are added, in every memory mode
    return x.contiguous().flatten().view(x.shape)


@contextmanager
def _recording() -> Iterator[None]:
    """Inside, autograd records."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def _recorded(x: Tensor) -> Tensor:
    """Returns the same numbers in the canonical layout, as a tensor that needs a gradient."""
    with torch.inference_mode(False):
        x = _canonical(x)
        return x if x.requires_grad or not is_differentiable(x) else temporary_leaf(x)


def _row(condition: Tensor | None, position: int, batch: int) -> Tensor | None:
    """Returns a sample's part of a condition, or all of it if the batch shares it."""
    if condition is None or condition.ndim == 0 or len(condition) != batch:
        return condition
    return condition[position : position + 1]
