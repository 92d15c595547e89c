"""Chains that invert bit for bit: what they add is rounded to a grid on which sums are exact."""

__all__ = ["Exact", "OnGrid", "ToGrid", "exact"]

import torch
from torch import Tensor, nn

from liftlayers._bands import Bands, as_tuple, bare
from liftlayers.chains.sequential import Memory, Sequential
from liftlayers.exact._lattice import plan
from liftlayers.exact._range_checked import Watched, checked_ranges
from liftlayers.functional.grid import require_bits, round_to_grid
from liftlayers.invertible import Invertible, VolumePreserving
from liftlayers.nn._networks import require_network, takes_condition


class OnGrid(nn.Module):
    r"""Rounds what a network returns to a grid, and evaluates it such that it returns the same bits every time.

    .. math:: g(x) = 2^{-k} \operatorname{round}(2^k f(x))

    The rounding passes the gradient on as it is. Kernels are chosen by memory layout, so the network sees its input
    (and condition) contiguous, whatever was given; the output is float32, also under autocast, or float64 for a
    float64 input.

    Args:
        network: The network :math:`f`.
        bits: The exponent :math:`k`, from 0 to 52.
        batch_invariant: Whether to evaluate sample by sample, so that the result for a sample does not depend on the
            others in its batch.

    Shape:
        - As `network`; with `batch_invariant` the first axis of its input and output is the batch. A condition with as
          many rows as the batch is cut along with it.

    Raises:
        TypeError: If `network` is no module or is `Invertible`, `bits` is no integer, or the network returns no
            floating-point tensor.
        ValueError: If `bits` is out of range, or there is a condition and the network's forward names none.

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
        self._conditional = takes_condition(network)

    @property
    def conditional(self) -> bool:
        """Whether the network has a use for ``condition=``."""
        return self._conditional

    def forward(self, x: Tensor, *, condition: Tensor | None = None) -> Tensor:
        if condition is not None and not self._conditional:
            raise ValueError(f"OnGrid got a condition, but its network, {type(self.network).__name__}, takes none")
        if self.batch_invariant and len(x) > 1:
            output = torch.cat([self._evaluate(x[i : i + 1], _row(condition, i, len(x))) for i in range(len(x))])
        else:
            output = self._evaluate(x, condition)
        return round_to_grid(output.to(x.dtype if x.dtype == torch.float64 else torch.float32), self.bits)

    def _evaluate(self, x: Tensor, condition: Tensor | None) -> Tensor:
        options = {} if condition is None else {"condition": canonical(condition)}
        output = self.network(canonical(x), **options)
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


class Exact(VolumePreserving):
    r"""What `exact` returns: a chain whose inverse is exact.

    .. math:: f = s_n \circ \dots \circ s_1 \circ Q, \qquad f^{-1} = s_1^{-1} \circ \dots \circ s_n^{-1} \circ Q'

    with steps :math:`s_i` that stay on the grid, and :math:`Q` and :math:`Q'` which round to it as `exact` says.

    Args:
        steps: The steps :math:`s_i`, which keep to the grid and tell how far they go.
        bits: Exponent of the grid of what goes in.
        depth: Number of Haar transforms that are not undone in the end.
        memory: As for `Sequential`; may be set later.

    Shape:
        - As the chain it was made of, float32 or float64.

    Raises:
        TypeError: If a band is neither float32 nor float64.
        ValueError: When used, if a value leaves the range that `exact` states.

    References:
        [Hoogeboom2019]_; equation :eq:`grid` of :doc:`/mathematics`.

    Example:
        >>> chain = exact(Haar(), bits=12)
        >>> chain.memory = "reversible"
        >>> chain.to_grid, chain.depth
        (ToGrid(bits=12), 1)
    """

    def __init__(self, steps: list[Watched], *, bits: int, depth: int, memory: Memory = "store") -> None:
        super().__init__()
        self.chain = Sequential(*steps, memory=memory)
        self.to_grid = ToGrid(bits)
        self.depth = depth

    @property
    def memory(self) -> Memory:
        """What is kept for the gradient: ``"store"``, ``"reversible"`` or ``"checkpoint"``."""
        return self.chain.memory

    @memory.setter
    def memory(self, memory: Memory) -> None:
        self.chain.memory = memory

    @property
    def conditional(self) -> bool:
        return self.chain.conditional

    def forward(self, *bands: Tensor, condition: Tensor | None = None) -> Bands:
        with checked_ranges(self.to_grid.bits):
            return self.chain(*as_tuple(self.to_grid(*bands)), condition=condition)

    def inverse(self, *bands: Tensor, condition: Tensor | None = None) -> Bands:
        with checked_ranges(self.to_grid.bits):
            return self.chain.inverse(*self._to_reachable(*bands), condition=condition)

    def _to_reachable(self, *bands: Tensor) -> tuple[Tensor, ...]:
        """Rounds outputs to the nearest that there are: as inputs, if the couplings were not there."""
        if self.depth == 0:
            return as_tuple(self.to_grid(*bands))
        with torch.no_grad():
            skeleton = [step for step in self.chain if isinstance(step, Watched) and not step.adds]
            rounded = bands
            for step in reversed(skeleton):
                rounded = as_tuple(step.inverse(*rounded))
            rounded = as_tuple(self.to_grid(*rounded))
            for step in skeleton:
                rounded = as_tuple(step(*rounded))
        return tuple(r + (band - band.detach()) for r, band in zip(rounded, bands, strict=True))


def exact(chain: Invertible, *, bits: int = 16, batch_invariant: bool = False) -> Exact:
    r"""Makes a chain of additive couplings and Haar transforms invert bit for bit.

    .. math:: f^{-1}(f(x)) = Q(x), \qquad f(f^{-1}(y)) = Q'(y)

    Every network's output is rounded to a grid on which the additions have no rounding error, and so is what enters:
    :math:`Q` is ``ToGrid(bits)``, and :math:`Q'` rounds to what the chain can reach: to the same grid where its Haar
    transforms are undone by their inverses; else bands are rounded as the image that they are the transform of. Images
    of 8 bits come back when rounded to 8 bits.

    **The promise.** Both equations hold in every bit, and gradients with ``memory="reversible"`` equal those with
    ``"store"`` in every bit (but for tensors that several steps share: the modes sum their parts in another order, and
    under autocast in another precision). It is so in float32 and float64, under autocast too, for every layout of the
    input, provided that

    - both directions run on the same device with the same build, number of threads, autocast state and backend flags
      (on CUDA ``torch.backends.cudnn.deterministic``, without ``benchmark``), neither compiled or both;
    - networks are deterministic and keep no state: in evaluation mode, if they have dropout or batch norm;
    - both see the same batch, unless `batch_invariant`.

    **The range.** With :math:`p` digits (24 in float32, 53 in float64), bands that went through :math:`l` Haar
    transforms must stay below :math:`2^{p - k - l}`, and images before the next transform below a quarter of that:
    256 and 64 for 16 bits in float32. Every pass checks this, with one synchronisation, and raises.

    Networks are rounded to :math:`k - l` bits. They are shared with `chain`, not copied: training either trains both.
    But it is another chain, flat: parameters have other names, as in ``chain.0.step.network.network.weight``; a network
    that `chain` is given later is not in it; and hooks of `chain` and its steps are not called.

    The laws of `liftlayers.testing` ask for an inverse that returns what went in: give them bands that are on the grid
    already, as in ``assert_inverts(exact(chain, bits=16), ToGrid(16)(x))``.

    Args:
        chain: Made of `AdditiveCoupling`, `Predict`, `Update`, `Haar` and steps that only move numbers about (those
            say so with a class attribute ``exact_on_grid = True``), in `Sequential`, `Parallel`, `LiftingBlock`,
            `LiftingPyramid` and `Inverse`; and of learned wavelets with ``scale=None``.
        bits: The exponent :math:`k` of the grid, up to 52. Sixteen cost a trained hiding chain less than 0.01 dB.
        batch_invariant: Whether the two directions may see a sample in different batches: networks are evaluated
            sample by sample.

    Returns:
        The exact chain; its `memory` is that of `chain` if that is a `Sequential`.

    Raises:
        TypeError: If `chain` has a step of another kind, which is named, or `bits` is no integer.
        ValueError: If there are not more bits than nested Haar transforms, or more than 52, or a step in `Parallel`
            returns several bands; when used, if a value leaves the range.

    References:
        [Hoogeboom2019]_; [Calderbank1998]_ on wavelets from integers to integers; equation :eq:`grid` of
        :doc:`/mathematics`.

    Example:
        >>> chain = exact(Sequential(Haar(), LiftingBlock(ConvPredictor(3, 9), ConvPredictor(9, 3)), Inverse(Haar())))
        >>> x = torch.rand(1, 3, 8, 8)
        >>> torch.equal(chain.inverse(chain(x)), ToGrid(16)(x))
        True
    """
    require_bits("exact", bits)
    links, depth = plan(chain)
    deepest = max([depth, *(link.depth + abs(link.transform) for link in links)])
    if bits <= deepest:
        raise ValueError(f"exact needs more bits than there are nested Haar transforms, got {bits} for {deepest}")
    steps = []
    for number, link in enumerate(links):
        step = link.step
        if link.network is not None:
            step = link.with_network(OnGrid(link.network, bits=bits - link.depth, batch_invariant=batch_invariant))
        steps.append(Watched(step, link, bits=bits, number=number, total=len(links)))
    return Exact(steps, bits=bits, depth=depth, memory=chain.memory if isinstance(chain, Sequential) else "store")


def canonical(x: Tensor) -> Tensor:
    """The same numbers in a layout that is a function of the shape alone: strides of axes of length one included."""
    if not torch.compiler.is_compiling() and x.storage_offset():  # alignment may choose the kernel too
        x = x.clone(memory_format=torch.contiguous_format)
    if not torch.is_grad_enabled():
        x = x.detach()  # else a view seems to need a gradient that nothing gives it, and torch's counters stumble
    return x.contiguous().flatten().view(x.shape)


def _row(condition: Tensor | None, position: int, batch: int) -> Tensor | None:
    """A sample's part of a condition; all of it, if it is common to the batch."""
    if condition is None or condition.ndim == 0 or len(condition) != batch:
        return condition
    return condition[position : position + 1]
