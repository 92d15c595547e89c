"""Chains that invert bit for bit: what they add is rounded to a grid on which sums are exact."""

from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from liftlayers._bands import as_tuple
from liftlayers._checks import require_condition
from liftlayers.exact._plan import Link, plan
from liftlayers.exact._ranges import Watch
from liftlayers.exact.grid import ToGrid
from liftlayers.functional.grid import require_bits, straight_through
from liftlayers.invertible import Invertible, VolumePreserving
from liftlayers.memory._leaves import Leaf
from liftlayers.memory.container import Memory, WithMemory, effective_mode, leaves_of, run


class Exact(VolumePreserving, WithMemory):
    r"""What `exact` returns: a chain whose inverse is exact.

    .. math:: f = s_n \circ \dots \circ s_1 \circ Q, \qquad f^{-1} = s_1^{-1} \circ \dots \circ s_n^{-1} \circ Q'

    with steps :math:`s_i` that stay on the grid, and roundings :math:`Q` and :math:`Q'` to it, as `exact` describes.

    Args:
        chain: The chain whose steps are evaluated on the grid. Its state dict is that of the exact chain, too.
        bits: Exponent of the grid of the inputs.
        batch_invariant: Whether networks are evaluated sample by sample.
        anywhere: Whether all networks have to be networks of integers.
        memory: As for `Sequential`; may be set later.

    Shape:
        - As `chain`, float32 or float64.

    Raises:
        TypeError: If a band is neither float32 nor float64, the condition is no tensor, or as for `exact`.
        ValueError: If a value leaves the range that `exact` states, or as for `exact`.

    References:
        [Hoogeboom2019]_; equation :eq:`grid` of :doc:`/mathematics`.

    Example:
        >>> chain = exact(Haar(), bits=12)
        >>> chain.memory = "reversible"
        >>> chain.to_grid, chain.depth
        (ToGrid(bits=12), 1)
    """

    def __init__(
        self,
        chain: Invertible,
        *,
        bits: int = 16,
        batch_invariant: bool = False,
        anywhere: bool = False,
        memory: Memory = "store",
    ) -> None:
        super().__init__(memory=memory)
        require_bits("exact", bits)
        self.chain = chain
        self.to_grid = ToGrid(bits)
        self.batch_invariant, self.anywhere = batch_invariant, anywhere
        self._plan()
        self.register_state_dict_post_hook(_without_prefix)
        self.register_load_state_dict_pre_hook(_with_prefix)

    @property
    def conditional(self) -> bool:
        return self.chain.conditional

    def _plan(self) -> None:
        bits, invariant, anywhere = self.to_grid.bits, self.batch_invariant, self.anywhere
        self._links, self.depth = plan(self.chain, bits, batch_invariant=invariant, anywhere=anywhere)

    def _run(self, bands: tuple[Tensor, ...], condition: Tensor | None, *, inverted: bool) -> tuple[Tensor, ...]:
        require_condition("exact", condition)
        if not torch.compiler.is_compiling():  # a compiler cannot follow the planning: it uses the last plan
            self._plan()  # in every pass, since the chain may have been given other steps or networks
        bands = self._to_reachable(bands) if inverted else as_tuple(self.to_grid(*bands))
        self.chain.require_bands(bands, inverted=inverted)
        leaves, links = self._planned(condition, inverted=inverted)
        watch = Watch(links, condition, bits=self.to_grid.bits, inverted=inverted)
        for leaf in leaves:
            leaf.observe = watch.observe
        outputs = run(leaves, bands, condition, mode=effective_mode(self.memory))
        watch.require_within()
        return outputs

    def _planned(self, condition: Tensor | None, *, inverted: bool) -> tuple[list[Leaf], list[Link]]:
        """Returns the steps in the order of a direction, on the grid, and what the plan says of them."""
        links = self._links[::-1] if inverted else self._links
        leaves = leaves_of(self.chain, condition, inverted=inverted, opens=lambda _step: True)
        for leaf, link in zip(leaves, links, strict=True):
            leaf.step = link.step
        return leaves, links

    def _to_reachable(self, bands: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Rounds outputs to the nearest that there are: as inputs, if the chain had no couplings."""
        if self.depth == 0:
            return as_tuple(self.to_grid(*bands))
        with torch.no_grad():
            inputs = as_tuple(self.to_grid(*self._without_couplings(bands, inverted=True)))
            rounded = self._without_couplings(inputs, inverted=False)
        return tuple(map(straight_through, rounded, bands))

    def _without_couplings(self, bands: tuple[Tensor, ...], *, inverted: bool) -> tuple[Tensor, ...]:
        planned = zip(*self._planned(None, inverted=inverted), strict=True)
        return run([leaf for leaf, link in planned if not link.adds], bands, None, mode="store")

    def named_modules(self, memo: Any = None, prefix: str = "", remove_duplicate: bool = True) -> Any:
        """Yields modules, and so parameters and buffers, by their names in the state dict."""
        outside = f"{prefix}." if prefix else ""
        for name, module in super().named_modules(memo, prefix, remove_duplicate):
            inside = name.removeprefix(f"{outside}chain.")
            yield name if inside == name else outside + inside, module

    def __getattr__(self, name: str) -> Any:
        """Finds the steps of the chain by their names in the state dict, as `torch.func.functional_call` does."""
        own = vars(self).get("_modules", {})
        inner = own["chain"]._modules if "chain" in own else {}
        return inner[name] if name in inner and name not in own else super().__getattr__(name)

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **options: Any) -> Any:
        """Loads the state dict of the chain or of its exact form; modules see the version that they were saved in."""
        versions = getattr(state_dict, "_metadata", None)
        if versions is not None:
            state_dict = OrderedDict(state_dict)
            state_dict._metadata = versions | _versions(versions, "", "chain")  # type: ignore[attr-defined]
        return super().load_state_dict(state_dict, *args, **options)

    def extra_repr(self) -> str:
        own = f"bits={self.to_grid.bits}, batch_invariant={self.batch_invariant}, anywhere={self.anywhere}"
        return ", ".join(filter(None, (own, super().extra_repr())))


# The state dict of an exact chain is that of the chain inside.


def _without_prefix(_module: nn.Module, state: Any, prefix: str, _metadata: object) -> None:
    _rename(state, f"{prefix}chain.", prefix)
    if hasattr(state, "_metadata"):  # versions of modules, which the exact chain looks up by its own names
        state._metadata.update(_versions(state._metadata, f"{prefix}chain", prefix.removesuffix(".")))


def _versions(versions: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    """Returns the versions of the modules below one name under another name."""
    inside = (name for name in versions if name == old or name.startswith(f"{old}." if old else ""))
    return {".".join(filter(None, (new, name.removeprefix(old).removeprefix(".")))): versions[name] for name in inside}


def _with_prefix(module: nn.Module, state: Any, prefix: str, *_others: object) -> None:
    own = {*module._parameters, *module._buffers, *module._modules} - {"chain"}  # of a subclass
    _rename(state, prefix, f"{prefix}chain.", keep=own)


def _rename(state: dict[str, Any], old: str, new: str, *, keep: Collection[str] = ()) -> None:
    """Replaces the beginning of all names, except of those that go on with a name to keep."""
    names = [name for name in state if name.startswith(old) and name.removeprefix(old).split(".")[0] not in keep]
    state.update({new + name.removeprefix(old): state.pop(name) for name in names})


def exact(chain: Invertible, *, bits: int = 16, batch_invariant: bool = False, anywhere: bool = False) -> Exact:
    r"""Makes a chain of additive couplings and Haar transforms invert bit for bit.

    .. math:: f^{-1}(f(x)) = Q(x), \qquad f(f^{-1}(y)) = Q'(y)

    Every network's output is rounded to a grid on which the additions have no rounding error, and so is what enters:
    :math:`Q` is ``ToGrid(bits)``, and :math:`Q'` rounds to what the chain can reach: to the same grid where its Haar
    transforms are undone by their inverses; else bands are rounded as the image that they are the transform of. Images
    of 8 bits come back when rounded to 8 bits.

    **The promise.** Both equations hold in every bit, and gradients with ``memory="reversible"`` equal those with
    ``"store"`` in every bit (except for tensors that several steps share: the modes sum their parts in another order,
    and under autocast in another precision). This holds in float32 and float64, under autocast too, for every layout
    of the input, provided that

    - both directions run on the same device with the same build, number of threads, autocast state and backend flags
      (on CUDA ``torch.backends.cudnn.deterministic``, without ``benchmark``), neither compiled or both; either may run
      with or without gradients, unless it is compiled or runs under `torch.func`;
    - networks are deterministic and keep no state: in evaluation mode, if they have dropout or batch norm;
    - both see the same batch, unless `batch_invariant`.

    With `anywhere`, whose networks return the same numbers on every device, the first and the last condition do not
    apply, and outputs are the same numbers wherever they are computed: one machine may go forward and another one back.
    :doc:`/exactness` lists where this was tested.

    **The range.** With :math:`p` digits (24 in float32, 53 in float64), bands that went through :math:`l` Haar
    transforms must stay below :math:`2^{p - k - l}`, and images before the next transform below a quarter of that:
    256 and 64 for 16 bits in float32. Every pass checks this, with one synchronisation, and raises.

    Networks are rounded to :math:`k - l` bits. The exact chain holds `chain` itself: training either trains both, their
    state dicts load into each other, and a network or step that is assigned later is part of both (but a compiled exact
    chain keeps those that it was compiled with). Hooks of `chain` and of its steps are not called, those of networks
    are.

    The laws of `liftlayers.testing` ask for an inverse that returns what went in: give them bands that are on the grid
    already, as in ``assert_inverts(exact(chain, bits=16), ToGrid(16)(x))``.

    Args:
        chain: Made of `AdditiveCoupling`, `Predict`, `Update`, `Haar`, `BlockScrambling` and steps that only move
            numbers to other places (they say so with a class attribute ``exact_on_grid = True``), in `Sequential`,
            `Parallel`, `LiftingBlock`, `LiftingPyramid` and `Inverse`; and of learned wavelets with ``scale=None``.
        bits: The exponent :math:`k` of the grid, up to 52. Sixteen cost a trained hiding chain less than 0.01 dB.
        batch_invariant: Whether the two directions may see a sample in different batches: networks are evaluated
            sample by sample. A condition then has one row for each sample, or a single row or no axes for all.
        anywhere: Whether the promise holds across devices, builds, numbers of threads and batches. All networks have
            to be an `IntegerNetwork`, such as `IntegerPredictor`.

    Returns:
        The exact chain; its `memory` is that of `chain` if `chain` has one.

    Raises:
        TypeError: If `chain` has a step of another kind, which is named, `bits` is no integer, or a network is no
            `IntegerNetwork` and `anywhere` is set; when used, if a subclass of one of these layers computes something
            else than the layer.
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
    memory = chain.memory if isinstance(chain, WithMemory) else "store"
    return Exact(chain, bits=bits, batch_invariant=batch_invariant, anywhere=anywhere, memory=memory)
